/*
 * test_check.c - the job check: counts what is there, finds damage of content,
 * of segment headers and of the index, and changes nothing. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

static struct unit u;

static void setup(void)
{
    unit_new(&u, 0);
    unit_mkdir(&u, "d");
    for (int i = 0; i < 10; i++)
        unit_file(&u, (char[]){(char)('A' + i), 0}, 20000, (uint64_t)i);
    struct eng_attr attr;
    cr_assert_eq(eng_create(u.eng, NULL, 1, "s", S_IFLNK | 0777, 0, "target", &attr), 0);
    cr_assert_eq(eng_link(u.eng, NULL, unit_lookup(&u, "A"), unit_lookup(&u, "d"), "hard", &attr), 0);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(check, .init = setup, .fini = teardown);

struct lines {
    unsigned n;
    char last[512];
};

static void record(void *arg, const char *line)
{
    struct lines *l = arg;
    l->n++;
    (void)snprintf(l->last, sizeof(l->last), "%s", line);
}

static struct eng_job_report check(struct lines *l)
{
    struct eng_job_report rep;
    *l = (struct lines){0};
    int r = eng_job_run(u.eng, ENG_JOB_CHECK,
                        &(struct eng_job_options){.on_problem = record, .problem_arg = l}, &rep);
    cr_assert_eq(r, 0, "%s; %s", strerror(-r), l->last);
    cr_assert_eq(rep.check.problems, l->n, "a line for each");
    return rep;
}

Test(check, counts_what_is_there)
{
    struct lines l;
    struct eng_job_report rep = check(&l);
    cr_assert_eq(rep.check.problems, 0, "%s", l.last);
    cr_assert_eq(rep.check.inodes, 13);
    cr_assert_eq(rep.check.dentries, 13);
    cr_assert_eq(rep.check.extents, 10);
    cr_assert_eq(rep.check.bytes, 200000);
    cr_assert_eq(rep.check.segments, unit_files(&u, ".seg", NULL));
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_CHECK, NULL, &rep), 0, "nobody has to listen");
}

Test(check, changes_nothing_in_a_store_opened_for_reading)
{
    struct lines l;
    unit_kill(&u, SIM_KEEP_ALL, 0);
    u.opt.read_only = true;
    simdisk_power_on(u.disk, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(check(&l).check.problems, 0);
    cr_assert_eq(simdisk_calls(u.disk, false), 0);
}

Test(check, names_damaged_content)
{
    struct lines l;
    struct locator loc;
    char where[64];
    cr_assert(unit_locator(&u, unit_lookup(&u, "C"), 0, &loc));
    unit_damage(&u, &loc, 19999);
    cr_assert_eq(check(&l).check.problems, 1);
    (void)snprintf(where, sizeof(where), "s%08x.seg, offset %llu", loc.seg,
                   (unsigned long long)locator_offset(&loc));
    cr_assert(strstr(l.last, "C (inode") && strstr(l.last, where) && strstr(l.last, "checksum"), "%s",
              l.last);
}

Test(check, damage_stays_known_while_its_extent_is_cut)
{
    struct lines l;
    struct locator loc;
    struct eng_attr attr = {.size = 19000};
    uint64_t ino = unit_lookup(&u, "C");
    cr_assert(unit_locator(&u, ino, 0, &loc));
    unit_damage(&u, &loc, 17000);
    cr_assert_eq(check(&l).check.problems, 1);
    unit_write(&u, ino, 100, 1, 0); /* what is left of the extent is as damaged as before */
    cr_assert_eq(check(&l).check.problems, 1);
    cr_assert_eq(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL), 0);
    cr_assert_eq(check(&l).check.problems, 1);
    attr.size = 16000;
    cr_assert_eq(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL), 0);
    cr_assert_eq(check(&l).check.problems, 0, "the damaged block is not part of the file any more");
    cr_assert_eq(unit_stats(&u).damaged_extents, 1);
}

Test(check, names_damaged_segment_headers)
{
    struct lines l;
    cr_assert_eq(simdisk_flip(u.disk, "s00000002.seg", 40, 1), 0);
    cr_assert_eq(check(&l).check.problems, 1);
    cr_assert(strstr(l.last, "s00000002.seg") && strstr(l.last, "header"), "%s", l.last);
}

/* Each kind of wrong record is found. What is wrong is put right again, since the store is closed
 * afterwards. */
Test(check, finds_wrong_records)
{
    struct index *idx = &u.eng->idx;
    uint64_t file = unit_lookup(&u, "B"), dir = unit_lookup(&u, "d"), parts = unit_file(&u, "P", 100, 3);
    unit_write(&u, parts, 100, 4, 8192);
    struct inode_rec *parted = table_mut(&idx->inodes, ino_slot(parts));
    struct inode_rec *inode = table_mut(&idx->inodes, ino_slot(file));
    struct inode_rec *dir_inode = table_mut(&idx->inodes, ino_slot(dir));
    struct dentry_rec *dentry = table_mut(&idx->dentries, inode->dentry);
    struct seg_rec *seg = table_mut(&idx->segs, 1);
    const struct {
        const char *what;
        void *field;
        size_t size;
    } cases[] = {{"nlink", &inode->nlink, 4},
                 {"size", &inode->first.len, 4},
                 {"extent count", &parted->extents.n, 4},
                 {"bytes", &parted->extents.bytes, 8},
                 {"segment", &inode->first.seg, 4},
                 {"skip", &inode->first.skip, 4},
                 {"extent length", &inode->first.ext_len, 4},
                 {"name", &inode->dentry, 4},
                 {"entries", &dir_inode->size, 8},
                 {"directory links", &dir_inode->nlink, 4},
                 {"parent", &dentry->parent, 4},
                 {"child", &dentry->child, 4},
                 {"cookie", &dentry->cookie, 8},
                 {"hash", &dentry->hash, 4},
                 {"name length", &dentry->name_len, 2},
                 {"name place", &dentry->name, 4},
                 {"live bytes", &seg->live, 8},
                 {"live count", &seg->n_live, 8},
                 {"total bytes", &seg->total, 8},
                 {"store total", &idx->s.total, 8},
                 {"store live", &idx->s.live, 8},
                 {"files", &idx->s.n_files, 8},
                 {"directories", &idx->s.n_dirs, 8},
                 {"names", &idx->s.n_names, 8},
                 {"next cookie", &idx->s.next_cookie, 8},
                 {"entries in order", &idx->dirs.count, 8},
                 {"free inodes", &idx->inodes.n_free, 4},
                 {"extent tree", &idx->extents.depth, 4}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t saved[8];
        struct lines l;
        memcpy(saved, cases[i].field, cases[i].size);
        for (int value = 0; value < 2; value++) { /* one too many, and all bits */
            if (value)
                memset(cases[i].field, 0xff, cases[i].size);
            else
                ++*(uint8_t *)cases[i].field;
            if (strcmp(cases[i].what, "next cookie") == 0)
                memset(cases[i].field, 0, cases[i].size); /* greater is allowed */
            (void)check(&l);
            cr_assert_gt(l.n, 0, "%s, %s", cases[i].what, value ? "all bits" : "one more");
            memcpy(cases[i].field, saved, cases[i].size);
        }
        (void)check(&l);
        cr_assert_eq(l.n, 0, "%s restored: %s", cases[i].what, l.last);
    }
}

/* What the engine's caller does while it is told of a finding, which is in the midst of the walk. */
static struct {
    unsigned n;
    bool locked;
} beside;

static void go_on_writing(void *arg, const char *line)
{
    char name[32];
    struct eng_attr attr;
    record(arg, line);
    if (pthread_mutex_trylock(&u.eng->log.lock) != 0) {
        beside.locked = true; /* by this very thread: to go on would be a deadlock */
        return;
    }
    pthread_mutex_unlock(&u.eng->log.lock);
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "beside%u", beside.n++);
        cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0644, 0, NULL, &attr), 0);
        cr_assert_eq(eng_write(u.eng, attr.ino, "new", 3, 0), 3);
    }
}

Test(check, others_write_while_the_index_is_walked, .timeout = 60)
{
    struct index *idx = &u.eng->idx;
    struct lines l = {0};
    struct eng_job_report rep;
    uint32_t slot = ino_slot(unit_lookup(&u, "B"));
    const struct eng_job_options options = {.on_problem = go_on_writing, .problem_arg = &l};
    ((struct inode_rec *)table_mut(&idx->inodes, slot))->nlink++;
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_CHECK, &options, &rep), 0);
    cr_assert(!beside.locked, "log.lock is held while the index is walked");
    cr_assert_eq(beside.n, 20);
    cr_assert_eq(l.n, 1, "what was written meanwhile is no finding: %s", l.last);
    cr_assert_eq(rep.check.inodes, 13, "the index of one moment");
    cr_assert_eq(rep.check.dentries, 13);
    ((struct inode_rec *)table_mut(&idx->inodes, slot))->nlink--; /* perhaps another chunk by now */
    cr_assert_eq(check(&l).check.inodes, 33);
    cr_assert_eq(l.n, 0, "%s", l.last);
}

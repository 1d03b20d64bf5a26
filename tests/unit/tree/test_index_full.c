/*
 * test_index_full.c - an index that can take no more: of names, inodes or entries. A table holds 2^32
 * records; here the limit is lowered. What needs another is refused with -ENOSPC and changes nothing; what
 * removes works as ever, and makes room for what is like it. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

#define FILES 40u

static struct unit u;

static void name_of(unsigned i, char out[16])
{
    (void)snprintf(out, 16, "file%02u", i);
}

static void setup(void)
{
    char name[16];
    unit_new(&u, 0);
    uint64_t dir = unit_mkdir(&u, "dir");
    (void)dir;
    for (unsigned i = 0; i < FILES; i++) {
        name_of(i, name);
        uint64_t ino = unit_file(&u, name, 300, i);
        cr_assert_eq(eng_setxattr(u.eng, ino, "user.x", "value", 5, 0), 0);
    }
}

static void teardown(void)
{
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_eq(chunk_pool_overdrafts(u.eng->idx.pool), 0);
    unit_reopen(&u);
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(index_full, .init = setup, .fini = teardown);

static uint64_t n_inodes(void)
{
    const struct index_scalars *s = &u.eng->idx.s;
    return s->n_files + s->n_dirs + s->n_others;
}

static int create(const char *name)
{
    struct eng_attr attr;
    return eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0644, 0, NULL, &attr);
}

/* Everything that adds is refused, is not written, and is not taken for a full disk. */
static void expect_full(const char *what)
{
    struct eng_attr attr;
    struct eng_record rec = {.parent = ENG_ROOT_INO, .name = "bulk", .mode = S_IFREG | 0644};
    uint64_t seq = log_seq(&u.eng->log), left = n_inodes();
    cr_assert_eq(create("another"), -ENOSPC, "%s", what);
    cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, "folder", S_IFDIR | 0755, 0, NULL, &attr), -ENOSPC);
    cr_assert_leq(eng_put_many(u.eng, &rec, 1), 0);
    cr_assert_eq(rec.result, -ENOSPC);
    cr_assert_eq(log_seq(&u.eng->log), seq, "%s: nothing was written", what);
    cr_assert_eq(n_inodes(), left);
    cr_assert(!reserve_is_short(u.eng), "%s: the disk has room", what);
    cr_assert(!report_is_read_only(&u.eng->report));
}

static void remove_file(unsigned i)
{
    char name[16];
    name_of(i, name);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name), 0, "%s", name);
}

/* Whatever removes, with orphans waiting that each batch takes along. */
static void expect_removals(void)
{
    struct eng_attr attr = {.size = 100};
    uint64_t inodes = n_inodes();
    remove_file(0);
    remove_file(1);
    remove_file(2); /* takes the first two along */
    cr_assert_eq(eng_setattr(u.eng, unit_lookup(&u, "file03"), &attr, ENG_SET_SIZE, NULL), 0);
    cr_assert_eq(eng_setattr(u.eng, unit_lookup(&u, "file03"), &attr, ENG_SET_MODE, NULL), 0);
    cr_assert_eq(
        eng_fallocate(u.eng, unit_lookup(&u, "file04"), ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 10, 20),
        0);
    cr_assert_eq(eng_removexattr(u.eng, unit_lookup(&u, "file05"), "user.x"), 0);
    cr_assert_eq(eng_rmdir(u.eng, ENG_ROOT_INO, "dir"), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "file06", ENG_ROOT_INO, "file07", 0), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "file08", ENG_ROOT_INO, "file09", ENG_RENAME_EXCHANGE),
                 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_eq(n_inodes(), inodes - 5);
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
}

/* As many as fit, and not one more. */
static void expect_room_for(struct table *t, unsigned n)
{
    static unsigned made;
    char name[16];
    t->limit = t->used + n;
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(name, sizeof(name), "new%u", made++);
        cr_assert_eq(create(name), 0, "the %u. of %u", i + 1, n);
    }
    expect_full("full");
}

Test(index_full, names)
{
    struct table *cells = &u.eng->idx.names.cells;
    uint64_t f = unit_lookup(&u, "file10");
    expect_room_for(cells, 0);
    expect_room_for(cells, 1);
    expect_room_for(cells, 2);
    struct eng_attr attr;
    cr_assert_eq(eng_setxattr(u.eng, f, "user.y", "value", 5, 0), -ENOSPC);
    cr_assert_eq(eng_link(u.eng, NULL, f, ENG_ROOT_INO, "link", &attr), -ENOSPC);
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "file10", ENG_ROOT_INO, "other", 0), -ENOSPC);
    cr_assert_eq(eng_append(u.eng, f, "more", 4, NULL), 4, "content is no name");
    expect_removals();
    for (unsigned i = 0; i < 3; i++) { /* of the names of five files and a folder, at least three */
        char name[16];
        (void)snprintf(name, sizeof(name), "again%u", i);
        cr_assert_eq(create(name), 0, "what was freed is used again");
    }
    char longer[ENG_NAME_MAX + 1] = {0};
    memset(longer, 'n', ENG_NAME_MAX); /* than what stood side by side and is free */
    cr_assert_eq(create(longer), -ENOSPC);
}

Test(index_full, inodes)
{
    struct eng_attr attr;
    expect_room_for(&u.eng->idx.inodes, 0);
    expect_room_for(&u.eng->idx.inodes, 1);
    expect_room_for(&u.eng->idx.inodes, 2);
    cr_assert_eq(eng_link(u.eng, NULL, unit_lookup(&u, "file10"), ENG_ROOT_INO, "link", &attr), 0);
    expect_removals();
    cr_assert_eq(create("again"), 0);
}

Test(index_full, entries)
{
    struct eng_attr attr;
    expect_room_for(&u.eng->idx.dentries, 0);
    expect_room_for(&u.eng->idx.dentries, 1);
    expect_room_for(&u.eng->idx.dentries, 2);
    cr_assert_eq(eng_link(u.eng, NULL, unit_lookup(&u, "file10"), ENG_ROOT_INO, "link", &attr), -ENOSPC);
    expect_removals();
    cr_assert_eq(create("again"), 0);
}

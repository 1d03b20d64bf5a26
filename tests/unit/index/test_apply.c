/*
 * test_apply.c - ops that do not fit what is there: a log from disk may hold
 * anything (I10), so each is refused with -EBADMSG. And ops that fit: the live
 * store and its replay agree. */
#include "inside.h"

#include "rng.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define LOC                                                                                                  \
    {                                                                                                        \
        1, 10, 0, 100, 100                                                                                   \
    }

static struct index idx;
static uint64_t dir, file, sym, orphan;

static int apply(struct op op)
{
    cr_assert_eq(index_reserve(&idx, &op, 1), 0);
    return index_apply(&idx, &op, 5);
}

static uint64_t make(uint32_t mode)
{
    uint64_t ino = index_predict_ino(&idx, NULL);
    cr_assert_eq(apply((struct op){.type = OP_CREATE,
                                   .ino = ino,
                                   .mode = mode,
                                   .value = "target",
                                   .value_len = S_ISLNK(mode) ? 6 : 0}),
                 0);
    return ino;
}

static void name(uint64_t parent, const char *text, uint64_t ino)
{
    cr_assert_eq(apply((struct op){.type = OP_LINK,
                                   .parent = parent,
                                   .ino = ino,
                                   .cookie = idx.s.next_cookie,
                                   .name = text,
                                   .name_len = (uint16_t)strlen(text)}),
                 0);
}

/* /dir/, /dir/file with one extent and one xattr, /sym, and an inode without a name. */
static void setup(void)
{
    cr_assert_eq(index_init(&idx, 1), 0);
    (void)make(S_IFDIR | 0755);
    name(1, "dir", dir = make(S_IFDIR | 0755));
    name(dir, "file", file = make(S_IFREG | 0644));
    name(1, "sym", sym = make(S_IFLNK | 0777));
    orphan = make(S_IFREG | 0600);
    cr_assert_eq(index_touch_segment(&idx, 1, SEGMENT_LOG, 1), 0);
    cr_assert_eq(apply((struct op){.type = OP_EXTENT, .ino = file, .loc = LOC}), 0);
    cr_assert_eq(apply((struct op){.type = OP_XATTR_SET, .ino = file, .name = "x", .name_len = 1}), 0);
}

static void teardown(void)
{
    index_free(&idx);
}

TestSuite(apply, .init = setup, .fini = teardown);

#define NAME(text) .name = text, .name_len = sizeof(text) - 1

Test(apply, ops_that_do_not_fit_are_refused)
{
    static char n256[257], big[5000];
    memset(n256, 'n', 256);
    const uint64_t stale = file | UINT64_C(1) << 32, next = index_predict_ino(&idx, NULL),
                   big_off = ENG_FILE_SIZE_MAX;
    const struct locator skipped = {1, 10, 5, 95, 100}, empty = {1, 10, 0, 0, 100},
                         beyond = {1, 10, 0, 101, 100}, huge = {1, 10, 0, EXTENT_MAX + 1, EXTENT_MAX + 1},
                         lost = {7, 10, 0, 100, 100}, good = LOC, wrap = {1, 10, UINT32_MAX, 2, 100};
    const struct op cases[] = {
        {.type = 0},
        {.type = OP_TYPES},
        {.type = 255},
        /* another number than the next, no type, a target too long */
        {.type = OP_CREATE, .ino = next + 1, .mode = S_IFREG},
        {.type = OP_CREATE, .ino = file, .mode = S_IFREG},
        {.type = OP_CREATE, .ino = next, .mode = 0644},
        {.type = OP_CREATE, .ino = next, .mode = S_IFMT},
        {.type = OP_CREATE, .ino = next, .mode = S_IFLNK, .value = big, .value_len = ENG_SYMLINK_MAX + 1},
        {.type = OP_LINK, .parent = file, .ino = sym, .cookie = 50, NAME("a")},
        {.type = OP_LINK, .parent = 99, .ino = sym, .cookie = 50, NAME("a")},
        {.type = OP_LINK, .parent = 1, .ino = stale, .cookie = 50, NAME("a")},
        {.type = OP_LINK, .parent = 1, .ino = sym, .cookie = 2, NAME("a")},
        {.type = OP_LINK, .parent = 1, .ino = sym, .cookie = 50, NAME("dir")},
        {.type = OP_LINK, .parent = 1, .ino = sym, .cookie = 50, NAME("")},
        {.type = OP_LINK, .parent = 1, .ino = sym, .cookie = 50, NAME(".")},
        {.type = OP_LINK, .parent = 1, .ino = sym, .cookie = 50, NAME("..")},
        {.type = OP_LINK, .parent = 1, .ino = sym, .cookie = 50, NAME("a/b")},
        {.type = OP_LINK, .parent = 1, .ino = sym, .cookie = 50, NAME("a\0b")},
        {.type = OP_LINK, .parent = 1, .ino = sym, .cookie = 50, .name = n256, .name_len = 256},
        {.type = OP_UNLINK, .parent = 1, .ino = file, NAME("nothing")},
        {.type = OP_UNLINK, .parent = 1, .ino = file, NAME("dir")}, /* another inode's name */
        {.type = OP_UNLINK, .parent = sym, .ino = file, NAME("file")},
        {.type = OP_REPOINT, .parent = 1, .ino = file, .other = dir, NAME("nothing")},
        {.type = OP_REPOINT, .parent = 1, .ino = file, .other = sym, NAME("dir")},
        {.type = OP_REPOINT, .parent = 1, .ino = 99, .other = dir, NAME("dir")},
        {.type = OP_ATTR, .ino = 99},
        {.type = OP_TRUNCATE, .ino = dir},
        {.type = OP_TRUNCATE, .ino = sym},
        {.type = OP_TRUNCATE, .ino = file, .len = big_off + 1},
        {.type = OP_EXTENT, .ino = dir, .loc = good},
        {.type = OP_EXTENT, .ino = 99, .loc = good},
        {.type = OP_EXTENT, .ino = file, .loc = skipped},
        {.type = OP_EXTENT, .ino = file, .loc = empty},
        {.type = OP_EXTENT, .ino = file, .loc = beyond},
        {.type = OP_EXTENT, .ino = file, .loc = huge},
        {.type = OP_EXTENT, .ino = file, .loc = lost},
        {.type = OP_EXTENT, .ino = file, .loc = wrap},
        {.type = OP_EXTENT, .ino = file, .loc = good, .off = big_off - 99},
        {.type = OP_EXTENT, .ino = file, .loc = good, .off = UINT64_MAX - 10},
        {.type = OP_PUNCH, .ino = dir, .len = 1},
        {.type = OP_XATTR_SET, .ino = 99, NAME("y")},
        {.type = OP_XATTR_SET, .ino = file, NAME("")},
        {.type = OP_XATTR_SET, .ino = file, .name = n256, .name_len = 256},
        {.type = OP_XATTR_SET, .ino = file, NAME("y"), .value = big, .value_len = XATTR_INLINE_MAX + 1},
        {.type = OP_XATTR_EXTENT, .ino = file, NAME("y"), .loc = skipped},
        {.type = OP_XATTR_EXTENT, .ino = file, NAME("y"), .loc = lost},
        {.type = OP_XATTR_DEL, .ino = file, NAME("y")},
        {.type = OP_XATTR_DEL, .ino = 99, NAME("x")},
        {.type = OP_RELOCATE, .ino = file, .old = good, .loc = lost},
        {.type = OP_RELOCATE, .ino = file, .old = empty, .loc = good}, /* of another length */
        {.type = OP_FREE, .ino = file},                                /* it has a name */
        {.type = OP_FREE, .ino = 1},
        {.type = OP_FREE, .ino = 99},
        {.type = OP_DROP_NAME, .parent = dir, .ino = file, .cookie = 4, .end = 5}, /* it has not ended */
        {.type = OP_DROP_NAME, .parent = 99, .ino = file},
        {.type = OP_SEGMENT, .ino = 0},
        {.type = OP_SEGMENT, .ino = UINT64_C(1) << 32},
        {.type = OP_SEGMENT, .ino = 1, .len = 5}, /* a segment of the log */
        {.type = OP_SEGMENT, .ino = 8, .len = UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(apply(cases[i]), -EBADMSG, "case %zu, type %u", i, cases[i].type);
        cr_assert(index_inode(&idx, file) && index_inode(&idx, dir), "case %zu", i);
    }
}

Test(apply, relocations_that_come_too_late_are_no_error)
{
    const struct locator other = {1, 11, 0, 100, 100}, good = LOC;
    cr_assert_eq(apply((struct op){.type = OP_RELOCATE, .ino = file, .old = other, .loc = good}), 1);
    cr_assert_eq(apply((struct op){.type = OP_RELOCATE, .ino = 99, .old = good, .loc = other}), 1);
    cr_assert_eq(apply((struct op){.type = OP_RELOCATE, .ino = file, .off = 7, .old = good, .loc = other}),
                 1);
    cr_assert_eq(apply((struct op){
                     .type = OP_RELOCATE, .ino = file, .off = EXTENT_XATTR_OFF, .old = good, .loc = other}),
                 1);
    cr_assert_eq(apply((struct op){.type = OP_RELOCATE, .ino = file, .old = good, .loc = other}), 0);
    cr_assert_eq(index_verify(&idx, true, NULL, NULL), 0);
}

#define XATTRS 300u /* of each of two files: more than are moved at once */

/* The i-th lies in segment `seg`. */
static struct locator xattr_place(uint32_t seg, unsigned i)
{
    return (struct locator){seg, 10 + 100 * i, 0, 100 + i, 100 + i};
}

/* An xattr of one of the files, and what moves it; each seventh is not where that believes it to be. */
static struct op set_xattr(unsigned i)
{
    char text[8];
    const uint64_t ino = i % 2 ? file : orphan;
    (void)snprintf(text, sizeof text, "%u", i);
    cr_assert_eq(apply((struct op){.type = OP_XATTR_EXTENT,
                                   .ino = ino,
                                   .loc = xattr_place(1, i),
                                   .name = text,
                                   .name_len = (uint16_t)strlen(text)}),
                 0);
    return (struct op){.type = OP_RELOCATE,
                       .ino = ino,
                       .off = EXTENT_XATTR_OFF,
                       .old = xattr_place(1, i % 7 ? i : i + 1),
                       .loc = xattr_place(2, i % 7 ? i : i + 1)};
}

static bool xattr_lies(unsigned i, struct locator loc)
{
    char text[8];
    struct xattr_view view;
    (void)snprintf(text, sizeof text, "%u", i);
    uint32_t x = index_find_xattr(&idx, index_inode(&idx, i % 2 ? file : orphan), text, strlen(text));
    return x && index_xattr(&idx, x, &view) && view.is_extent && locator_equal(&view.loc, &loc);
}

static uint64_t generations(void)
{
    return index_inode(&idx, file)->generation + index_inode(&idx, orphan)->generation;
}

/* In whatever order they come, and although one comes twice. */
Test(apply, xattrs_that_are_moved_together)
{
    struct op ops[2 * XATTRS + 1];
    uint64_t rng = 7, before;
    size_t n, lost, all_lost = 0, moved = 0;
    cr_assert_eq(apply((struct op){.type = OP_SEGMENT, .ino = 2, .len = 1 << 20}), 0);
    for (unsigned i = 0; i < 2 * XATTRS; i++) {
        ops[i] = set_xattr(i);
        moved += i % 7 != 0;
    }
    for (unsigned i = 2 * XATTRS; i-- > 1;) {
        struct op other = ops[i];
        uint64_t k = rng_below(&rng, i + 1);
        ops[i] = ops[k];
        ops[k] = other;
    }
    ops[2 * XATTRS] = ops[0];
    before = generations();
    cr_assert_eq(index_reserve(&idx, ops, ARRAY_LEN(ops)), 0);
    for (size_t at = 0; at < ARRAY_LEN(ops); at += n, all_lost += lost)
        cr_assert_eq(index_apply_next(&idx, ops + at, ARRAY_LEN(ops) - at, 6, &n, &lost), 0);
    cr_assert_eq(all_lost, ARRAY_LEN(ops) - moved);
    cr_assert_eq(generations() - before, moved);
    for (unsigned i = 0; i < 2 * XATTRS; i++)
        cr_assert(xattr_lies(i, xattr_place(i % 7 ? 2 : 1, i)), "%u", i);
    ops[3].loc.seg = 7;
    cr_assert_eq(index_apply_next(&idx, ops, ARRAY_LEN(ops), 6, &n, &lost), -EBADMSG);
}

Test(apply, counts_follow_every_kind_of_inode)
{
    cr_assert(idx.s.n_files == 2 && idx.s.n_dirs == 2 && idx.s.n_others == 1 && idx.n_orphans == 1);
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = orphan}), 0);
    cr_assert(idx.s.n_files == 1 && idx.n_orphans == 0);
    cr_assert_eq(apply((struct op){.type = OP_UNLINK, .parent = 1, .ino = sym, NAME("sym")}), 0);
    cr_assert_eq(idx.n_orphans, 1);
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = sym}), 0);
    cr_assert_eq(apply((struct op){.type = OP_UNLINK, .parent = dir, .ino = file, NAME("file")}), 0);
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = file}), 0);
    cr_assert(idx.s.n_others == 0 && idx.s.n_files == 0 && idx.s.live == 0 && idx.s.total == 100);
    cr_assert_eq(index_verify(&idx, true, NULL, NULL), 0);
}

Test(apply, one_change_in_several_ops_is_one_version)
{
    const struct locator more = {1, 30, 0, 50, 50};
    uint64_t version = index_inode(&idx, file)->version;
    cr_assert_eq(apply((struct op){.type = OP_EXTENT, .ino = file, .off = 200, .loc = more}), 0);
    cr_assert_eq(
        apply((struct op){.type = OP_EXTENT, .ino = file, .off = 300, .loc = more, .flags = OP_CONTINUES}),
        0);
    cr_assert_eq(index_inode(&idx, file)->version, version + 1);
}

/* ---- the live index and the replayed one ---------------------------------------------------- */

struct sum {
    uint64_t value;
};

static struct unit u;

static int add_entry(void *arg, const struct eng_dirent *entry)
{
    struct sum *s = arg;
    s->value = s->value * 1000003 + codec_hash(entry->name, entry->name_len) + entry->cookie;
    if (strcmp(entry->name, "..") != 0)
        s->value += codec_hash(&entry->attr, sizeof(entry->attr));
    return 0;
}

static uint64_t digest(uint64_t sub)
{
    struct sum s = {0};
    cr_assert_eq(eng_readdir(u.eng, NULL, ENG_ROOT_INO, 0, add_entry, &s), 0);
    cr_assert_eq(eng_readdir(u.eng, NULL, sub, 0, add_entry, &s), 0);
    return s.value;
}

Test(apply, replay_leads_to_the_same_index)
{
    uint64_t rng = 5, seq;
    unit_new(&u, 0);
    uint64_t sub = unit_mkdir(&u, "sub");
    for (unsigned i = 0; i < 3000; i++) {
        char a[8], b[8];
        struct eng_attr attr = {.size = rng_below(&rng, 3000), .mode = 0600, .mtime = 77};
        uint64_t from = rng_below(&rng, 2) ? sub : 1, to = rng_below(&rng, 2) ? sub : 1;
        (void)snprintf(a, sizeof(a), "n%u", (unsigned)rng_below(&rng, 30));
        (void)snprintf(b, sizeof(b), "n%u", (unsigned)rng_below(&rng, 30));
        uint64_t ino = eng_lookup(u.eng, NULL, from, a, &attr) == 0 ? attr.ino : 0;
        attr.size = rng_below(&rng, 3000);
        switch (rng_below(&rng, 9)) { /* many of these are refused, which is as good */
        case 0:
        case 1:
            (void)eng_create(u.eng, NULL, from, a, S_IFREG | 0644, 0, NULL, &attr);
            break;
        case 2:
            (void)eng_unlink(u.eng, from, a);
            break;
        case 3:
            (void)eng_rename(u.eng, NULL, from, a, to, b, (unsigned)rng_below(&rng, 5));
            break;
        case 4:
            (void)eng_link(u.eng, NULL, ino, to, b, &attr);
            break;
        case 5:
            (void)eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE | ENG_SET_MTIME, NULL);
            break;
        case 6:
            (void)eng_write(u.eng, ino, "some content of a file", 22, rng_below(&rng, 2000));
            break;
        case 7:
            (void)eng_fallocate(u.eng, ino, ENG_FALLOC_PUNCH_HOLE | 1, rng_below(&rng, 2000), 500);
            break;
        default:
            (void)eng_setxattr(u.eng, ino, b, a, rng_below(&rng, 3), 0);
        }
        if (i % 700 == 350)
            cr_assert_eq(checkpoint_write(u.eng), 0);
        if (i % 900 == 800)
            cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    }
    cr_assert_eq(commit_orphans(u.eng), 0);
    uint64_t live = digest(sub);
    struct eng_stats before = unit_stats(&u), after;
    seq = log_seq(&u.eng->log);
    cr_assert_eq(chunk_pool_overdrafts(u.eng->idx.pool), 0);
    for (int pass = 0; pass < 2; pass++) {
        unit_kill(&u, SIM_KEEP_ALL, 0);
        if (pass) { /* from the older checkpoint, over a longer log */
            char newest[64];
            (void)unit_files(&u, ".ckp", newest);
            cr_assert_eq(simdisk_remove(u.disk, newest), 0);
        }
        unit_open(&u);
        cr_assert_eq(log_seq(&u.eng->log), seq);
        cr_assert_eq(digest(sub), live, "pass %d", pass);
        after = unit_stats(&u);
        cr_assert(after.live_bytes == before.live_bytes && after.memories == before.memories);
        cr_assert_eq(unit_problems(&u), 0);
    }
    unit_done(&u);
}

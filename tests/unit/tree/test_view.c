/*
 * test_view.c - frozen views: they show the store as it was, byte for byte, whatever happens to the live one;
 * and what belongs to the live view alone (access times beside the index, references, generations) is not
 * taken from it. */
#include "hook.h"
#include "inside.h"
#include "tree/attr.h"
#include "tree/content.h"
#include "tree/entries.h"
#include "tree/xattrs.h"

#include "sight.h"
#include "unit_store.h"

#include <criterion/criterion.h>

static struct unit u;
static uint64_t big, hole, grow, small, dir, deep, lost; /* lost: has a reference and no name */
static uint64_t watched[3];                              /* for sight_of(): what has no name */

static const struct eng_caller referring = {.ref = true};

static void set_xattr(uint64_t ino, const char *name, size_t size, uint64_t seed)
{
    uint8_t *value = unit_bytes(size, seed);
    cr_assert_eq(eng_setxattr(u.eng, ino, name, value, size, 0), 0);
    free(value);
}

static void set_size(uint64_t ino, uint64_t size)
{
    struct eng_attr attr = {.size = size};
    cr_assert_eq(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL), 0);
}

static void make(uint64_t parent, const char *name, uint32_t mode, uint64_t rdev, const char *target)
{
    struct eng_attr attr;
    cr_assert_eq(eng_create(u.eng, NULL, parent, name, mode, rdev, target, &attr), 0);
}

/* Something of each kind, each with what it can have. */
static void setup(void)
{
    static char far[3001];
    struct eng_attr attr;
    unit_new(&u, 0);
    big = unit_file(&u, "big", 600000, 1);
    hole = unit_file(&u, "hole", 5000, 2);
    unit_write(&u, hole, 300, 3, 70000);
    set_size(hole, 100000);
    grow = unit_file(&u, "grow", 100, 4);
    small = unit_file(&u, "small", 1000, 5);
    unit_create(&u, "empty");
    unit_file(&u, "gone", 9000, 6);
    unit_file(&u, "moved", 9000, 7);
    unit_file(&u, "target", 9000, 8);
    cr_assert_eq(eng_link(u.eng, NULL, small, ENG_ROOT_INO, "alias", NULL), 0);
    dir = unit_mkdir(&u, "dir");
    cr_assert_eq(eng_create(u.eng, NULL, dir, "deep", S_IFREG | 0600, 0, NULL, &attr), 0);
    deep = attr.ino;
    unit_write(&u, deep, 20000, 9, 0);
    unit_mkdir(&u, "void");
    make(ENG_ROOT_INO, "link", S_IFLNK | 0777, 0, "where it was");
    memset(far, 'x', sizeof far - 1);
    make(dir, "far", S_IFLNK | 0777, 0, far);
    make(ENG_ROOT_INO, "fifo", S_IFIFO | 0640, 0, NULL);
    make(ENG_ROOT_INO, "device", S_IFCHR | 0600, 0x0103, NULL);
    set_xattr(big, "user.inline", 60, 10);
    set_xattr(big, "user.extent", 5000, 11);
    set_xattr(small, "user.both", 64, 12);
    set_xattr(dir, "user.dir", 65, 13);
    cr_assert_eq(eng_create(u.eng, &referring, ENG_ROOT_INO, NULL, S_IFREG | 0600, 0, NULL, &attr), 0);
    lost = attr.ino;
    unit_write(&u, lost, 8000, 14, 0);
    watched[0] = lost;
    watched[1] = deep;
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(view, .init = setup, .fini = teardown, .timeout = 100);

/* What whoever holds the store gets. */
static struct view *freeze(void)
{
    struct view *view = NULL;
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(view_freeze(u.eng, &view), 0);
    return view;
}

static void thaw(struct view *view)
{
    view_thaw(view);
    cr_assert_eq(eng_release(u.eng), 0);
}

static void expect_sight(const struct view *view, const char *want, const char *when)
{
    char *is = sight_of(u.eng, view, watched);
    size_t at = 0;
    while (is[at] && is[at] == want[at])
        at++;
    cr_assert(!is[at] && !want[at], "%s: differs at byte %zu: \"%.80s\" in place of \"%.80s\"", when, at,
              is + at, want + at);
    cr_assert_null(strstr(is, SIGHT_DIFFERENT), "%s: read whole and in pieces", when);
    free(is);
}

/* ---- each kind of change ---------------------------------------------------------------- */

static void overwrite(void)
{
    unit_write(&u, big, 600000, 101, 0);
    unit_write(&u, small, 10, 102, 500); /* the old first extent is cut in two */
}

static void append(void)
{
    uint64_t at;
    char line[50] = "a line";
    for (int i = 0; i < 40; i++)
        cr_assert_eq(eng_append(u.eng, grow, line, sizeof line, &at), (ssize_t)sizeof line);
    cr_assert_eq(at, 100 + 39 * sizeof line);
}

static void truncate_and_punch(void)
{
    set_size(hole, 3);
    set_size(hole, 50000);
    unit_write(&u, hole, 7000, 103, 20000);
    cr_assert_eq(eng_fallocate(u.eng, big, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 100000, 300000), 0);
    set_size(deep, 0);
}

static void rename_names(void)
{
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "moved", dir, "came", 0), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "empty", ENG_ROOT_INO, "target", 0), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "fifo", ENG_ROOT_INO, "device", ENG_RENAME_EXCHANGE),
                 0);
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "dir", ENG_ROOT_INO, "folder", 0), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, dir, "deep", ENG_ROOT_INO, "shallow", 0), 0);
}

static void remove_names(void)
{
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "gone"), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "link"), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "alias"), 0);
    cr_assert_eq(eng_rmdir(u.eng, ENG_ROOT_INO, "void"), 0);
    cr_assert_eq(eng_forget(u.eng, lost, 1), 0); /* the last reference: it is freed */
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_null(index_inode(&u.eng->idx, lost));
}

/* Takes the slots, cells and names that were freed, and splits buckets and nodes. */
static void create_names(void)
{
    char name[32];
    make(ENG_ROOT_INO, "link", S_IFLNK | 0777, 0, "elsewhere");
    unit_file(&u, "gone", 100, 104);
    for (uint64_t i = 0; i < 400; i++) {
        (void)snprintf(name, sizeof name, "new %llu", (unsigned long long)i);
        unit_file(&u, name, 1 + i * 7 % 500, i);
    }
}

static void set_fields(void)
{
    struct eng_attr attr = {.mode = 0400, .uid = 7, .gid = 8, .mtime = 9, .atime = 10};
    cr_assert_eq(eng_setattr(u.eng, big, &attr, ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID, NULL), 0);
    cr_assert_eq(eng_setattr(u.eng, dir, &attr, ENG_SET_MTIME | ENG_SET_ATIME, NULL), 0);
}

static void change_xattrs(void)
{
    set_xattr(big, "user.inline", 60, 105);
    set_xattr(big, "user.extent", 5000, 106);
    set_xattr(small, "user.both", 4000, 107); /* from the index into a segment */
    set_xattr(small, "user.new", 1, 108);
    cr_assert_eq(eng_removexattr(u.eng, dir, "user.dir"), 0);
}

static void write_checkpoints(void)
{
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
}

static void compact(void)
{
    struct locator before, after;
    cr_assert(unit_locator(&u, grow, 0, &before));
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert(unit_locator(&u, grow, 0, &after));
    cr_assert_neq(before.seg, after.seg, "what lives was moved");
}

static const struct {
    const char *what;
    void (*change)(void);
} steps[] = {
    {"overwrite", overwrite},
    {"append", append},
    {"truncate", truncate_and_punch},
    {"rename", rename_names},
    {"xattrs", change_xattrs},
    {"fields", set_fields},
    {"compact", compact},
    {"remove", remove_names},
    {"create", create_names},
    {"checkpoint", write_checkpoints},
    {"compact again", compact},
};

/* ---- what each kind of view shows ---------------------------------------------------------- */

static bool shows(const struct view *view, uint64_t ino, size_t size, uint64_t seed)
{
    uint8_t *want = unit_bytes(size, seed), *is = malloc(size + 1);
    ssize_t n = 0;
    int r = content_read_range(view, ino, is, size + 1, 0, &n);
    bool same = !r && n == (ssize_t)size && !memcmp(want, is, size);
    free(want);
    free(is);
    return same;
}

static bool has_xattr(const struct view *view, uint64_t ino, const char *name, size_t size, uint64_t seed)
{
    uint8_t *want = unit_bytes(size, seed), *is = malloc(size);
    bool same = xattrs_get(view, ino, name, is, size) == (ssize_t)size && !memcmp(want, is, size);
    free(want);
    free(is);
    return same;
}

static uint64_t found(const struct view *view, uint64_t parent, const char *name)
{
    struct eng_attr attr;
    int r = entries_lookup(view, false, parent, name, &attr);
    cr_assert(!r || r == -ENOENT);
    return r ? 0 : attr.ino;
}

/* Said once more without sight.h, in numbers that do not come from the engine. */
static void expect_old(const struct view *view)
{
    char target[100], names[100];
    uint64_t at;
    struct eng_attr attr;
    cr_assert(shows(view, big, 600000, 1) && shows(view, small, 1000, 5) && shows(view, grow, 100, 4));
    cr_assert(shows(view, deep, 20000, 9) && shows(view, lost, 8000, 14));
    cr_assert(shows(view, found(view, ENG_ROOT_INO, "gone"), 9000, 6));
    cr_assert(shows(view, found(view, ENG_ROOT_INO, "moved"), 9000, 7));
    cr_assert(shows(view, found(view, ENG_ROOT_INO, "target"), 9000, 8));
    cr_assert_eq(found(view, ENG_ROOT_INO, "alias"), small);
    cr_assert_eq(found(view, ENG_ROOT_INO, "dir"), dir);
    cr_assert_eq(found(view, dir, "deep"), deep);
    cr_assert(found(view, ENG_ROOT_INO, "void"));
    cr_assert_eq(found(view, dir, "came") + found(view, ENG_ROOT_INO, "folder"), 0);
    cr_assert_eq(found(view, ENG_ROOT_INO, "new 17"), 0);
    ssize_t n = entries_readlink(view, found(view, ENG_ROOT_INO, "link"), target, sizeof target);
    cr_assert_eq(n, 12);
    cr_assert_str_eq(target, "where it was");
    cr_assert(has_xattr(view, big, "user.inline", 60, 10) && has_xattr(view, big, "user.extent", 5000, 11));
    cr_assert(has_xattr(view, small, "user.both", 64, 12) && has_xattr(view, dir, "user.dir", 65, 13));
    cr_assert_eq(xattrs_list(view, small, names, sizeof names), 10);
    cr_assert_str_eq(names, "user.both");
    cr_assert_eq(content_seek(view, hole, 5000, 3, &at), 0);
    cr_assert_eq(at, 70000);
    cr_assert_eq(content_seek(view, hole, 0, 4, &at), 0);
    cr_assert_eq(at, 5000);
    cr_assert_eq(attr_get(view, big, &attr), 0);
    cr_assert(attr.mode == (S_IFREG | 0644) && attr.uid == 0 && attr.bytes == 600000);
    cr_assert_eq(attr_get(view, small, &attr), 0);
    cr_assert_eq(attr.nlink, 2);
}

static void expect_new(const struct view *view)
{
    char target[100], names[100];
    uint64_t at;
    struct eng_attr attr;
    cr_assert_eq(attr_get(view, big, &attr), 0);
    cr_assert(attr.mode == (S_IFREG | 0400) && attr.uid == 7 && attr.gid == 8 && attr.bytes == 300000);
    cr_assert_eq(attr_get(view, small, &attr), 0);
    cr_assert(attr.nlink == 1 && attr.size == 1000);
    cr_assert_eq(attr_get(view, grow, &attr), 0);
    cr_assert_eq(attr.size, 2100);
    cr_assert_eq(attr_get(view, lost, &attr), -ESTALE);
    cr_assert(shows(view, deep, 0, 0));
    cr_assert(shows(view, found(view, ENG_ROOT_INO, "gone"), 100, 104));
    cr_assert(shows(view, found(view, dir, "came"), 9000, 7));
    cr_assert(shows(view, found(view, ENG_ROOT_INO, "target"), 0, 0));
    cr_assert(shows(view, found(view, ENG_ROOT_INO, "new 17"), 1 + 17 * 7, 17));
    cr_assert_eq(found(view, ENG_ROOT_INO, "alias") + found(view, ENG_ROOT_INO, "void"), 0);
    cr_assert_eq(found(view, ENG_ROOT_INO, "folder"), dir);
    cr_assert_eq(found(view, ENG_ROOT_INO, "shallow"), deep);
    cr_assert_eq(found(view, dir, "deep") + found(view, ENG_ROOT_INO, "moved"), 0);
    ssize_t n = entries_readlink(view, found(view, ENG_ROOT_INO, "link"), target, sizeof target);
    cr_assert_eq(n, 9);
    cr_assert_str_eq(target, "elsewhere");
    cr_assert(has_xattr(view, big, "user.inline", 60, 105) && has_xattr(view, big, "user.extent", 5000, 106));
    cr_assert(has_xattr(view, small, "user.both", 4000, 107));
    cr_assert_eq(xattrs_list(view, small, names, sizeof names), 19);
    cr_assert_eq(xattrs_get(view, dir, "user.dir", NULL, 0), -ENODATA);
    cr_assert_eq(content_seek(view, hole, 10, 3, &at), 0);
    cr_assert_eq(at, 20000);
    cr_assert_eq(content_seek(view, big, 0, 4, &at), 0);
    cr_assert_eq(at, 100000);
}

Test(view, a_frozen_view_stays_while_the_live_one_changes)
{
    struct view live = view_live(u.eng), *view = freeze();
    char *old = sight_of(u.eng, NULL, watched);
    expect_sight(&live, old, "the live view");
    expect_sight(view, old, "at once");
    expect_old(view);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        char *before = sight_of(u.eng, NULL, watched);
        steps[i].change();
        char *after = sight_of(u.eng, NULL, watched);
        cr_assert(steps[i].change == write_checkpoints || strcmp(before, after) != 0, "%s is seen",
                  steps[i].what);
        expect_sight(view, old, steps[i].what);
        expect_sight(&live, after, steps[i].what);
        free(before);
        free(after);
    }
    expect_old(view);
    expect_new(&live);
    thaw(view);
    expect_new(&live);
    free(old);
    char *now = sight_of(u.eng, NULL, watched);
    unit_reopen(&u);
    expect_sight(NULL, now, "from the log"); /* so the freeze has left nothing in the live index */
    free(now);
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_eq(unit_stats(&u).damaged_extents, 0);
}

Test(view, several_live_at_once_and_are_thawed_in_any_order)
{
    enum { N = 3 };
    static const unsigned order[][N] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (unsigned run = 0; run < ARRAY_LEN(order); run++) {
        struct view *views[N];
        char *want[N];
        for (unsigned i = 0; i < N; i++) {
            unit_write(&u, big, 50000, run * 10 + i, 40000 * i);
            set_xattr(small, "user.both", 60 + i * 5, run * 10 + i);
            views[i] = freeze();
            want[i] = sight_of(u.eng, NULL, watched);
        }
        cr_assert(strcmp(want[0], want[1]) != 0 && strcmp(want[1], want[2]) != 0);
        for (unsigned gone = 0; gone <= N; gone++) {
            cr_assert_eq(u.eng->idx.n_freezes, N - gone);
            for (unsigned i = gone; i < N; i++)
                expect_sight(views[order[run][i]], want[order[run][i]], "one of several");
            if (gone == N)
                break;
            unit_write(&u, big, 3000, run * 100 + gone, 1000);
            cr_assert_eq(gone ? checkpoint_write(u.eng) : eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
            thaw(views[order[run][gone]]);
        }
        for (unsigned i = 0; i < N; i++)
            free(want[i]);
    }
    cr_assert(!chunk_pool_frozen(u.eng->idx.pool));
    cr_assert_eq(chunk_pool_overdrafts(u.eng->idx.pool), 0, "room for the copies was made first");
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- what belongs to the live view alone ------------------------------------------------------ */

Test(view, access_times_beside_the_index_are_of_the_live_view)
{
    u.opt.relatime = true;
    unit_reopen(&u);
    struct eng_attr attr, old = unit_attr(&u, big);
    eng_accessed(u.eng, big);
    struct eng_attr noted = unit_attr(&u, big);
    cr_assert_gt(noted.atime, old.atime);
    cr_assert_eq(index_inode(&u.eng->idx, big)->atime, old.atime, "beside the index");
    struct view *view = freeze();
    cr_assert_eq(attr_get(view, big, &attr), 0);
    cr_assert_eq(attr.atime, noted.atime, "what callers saw when it was frozen");
    unit_write(&u, big, 1, 1, 0); /* so that the next access is noted */
    eng_accessed(u.eng, big);
    cr_assert_gt(unit_attr(&u, big).atime, noted.atime);
    cr_assert_eq(attr_get(view, big, &attr), 0);
    cr_assert_eq(attr.atime, noted.atime, "and no later access");
    cr_assert_eq(entries_lookup(view, false, ENG_ROOT_INO, "big", &attr), 0);
    cr_assert_eq(attr.atime, noted.atime);
    thaw(view);
}

static int count(void *arg, const struct eng_dirent *entry)
{
    (void)entry;
    ++*(unsigned *)arg;
    return 0;
}

Test(view, references_are_counted_in_the_live_view)
{
    struct view live = view_live(u.eng), *view = freeze();
    struct eng_attr attr;
    unsigned n = 0;
    cr_assert_eq(entries_lookup(view, true, ENG_ROOT_INO, "big", &attr), 0);
    cr_assert_eq(entries_list(view, true, dir, 0, count, &n), 0);
    cr_assert_eq(n, 4);
    cr_assert_eq(index_refs(&u.eng->idx, ino_slot(big)) + index_refs(&u.eng->idx, ino_slot(deep)), 0);
    cr_assert_eq(entries_lookup(&live, false, ENG_ROOT_INO, "big", &attr), 0);
    cr_assert_eq(index_refs(&u.eng->idx, ino_slot(big)), 0, "it was not asked for");
    cr_assert_eq(entries_lookup(&live, true, ENG_ROOT_INO, "big", &attr), 0);
    cr_assert_eq(entries_list(&live, true, dir, 0, count, &n), 0);
    cr_assert_eq(index_refs(&u.eng->idx, ino_slot(big)), 1);
    cr_assert_eq(index_refs(&u.eng->idx, ino_slot(deep)), 1);
    thaw(view);
}

static unsigned overtaken;

static void overtake(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_READ_COLLECTED && point != FP_READ_PINNED)
        return;
    hook_set(u.eng, NULL, NULL);
    unit_write(&u, big, 600000, 200 + ++overtaken, 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    hook_set(u.eng, overtake, NULL);
}

/* I2 has no meaning where nothing changes: the live generation must not make the reader start again. */
Test(view, a_reader_of_a_frozen_view_is_never_overtaken)
{
    struct view *view = freeze();
    hook_set(u.eng, overtake, NULL);
    cr_assert(shows(view, big, 600000, 1));
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(overtaken, 2, "once after collecting, once after pinning");
    cr_assert_eq(unit_stats(&u).read_restarts, 0);
    cr_assert(unit_holds(&u, big, 600000, 202));
    thaw(view);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(unit_stats(&u).pinned_segments, u.eng->log.active != NULL, "readers leave no pin behind");
}

/* ---- what keeps the content of a frozen view ----------------------------------------------------- */

Test(view, the_hold_keeps_its_segments_and_without_it_no_other_bytes_come)
{
    struct locator old;
    uint8_t byte;
    ssize_t n;
    struct view *view = freeze();
    cr_assert(unit_locator(&u, big, 0, &old));
    overwrite();
    compact();
    cr_assert(unit_has_segment(&u, old.seg), "emptied, but held");
    cr_assert(shows(view, big, 600000, 1));
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_not(unit_has_segment(&u, old.seg), "so the hold was what kept it");
    cr_assert_eq(content_read_range(view, big, &byte, 1, 0, &n), -EIO);
    cr_assert_eq(xattrs_get(view, big, "user.inline", &byte, 1), -ERANGE, "what is in the index is there");
    view_thaw(view);
    cr_assert(unit_holds(&u, big, 600000, 101));
}

Test(view, damage_is_not_served_from_a_frozen_view_either)
{
    uint8_t buf[4096];
    ssize_t n;
    struct locator old;
    struct view *view = freeze();
    cr_assert(unit_locator(&u, big, 0, &old));
    overwrite();
    unit_damage(&u, &old, 5000);
    cr_assert_eq(content_read_range(view, big, buf, sizeof buf, 4096, &n), -EIO);
    cr_assert_eq(content_read_range(view, big, buf, sizeof buf, 0, &n), 0, "the block before is sound");
    cr_assert_eq(unit_stats(&u).damaged_extents, 1);
    cr_assert(unit_holds(&u, big, 600000, 101), "the live one has other bytes");
    thaw(view);
}

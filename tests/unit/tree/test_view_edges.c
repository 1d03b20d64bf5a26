/*
 * test_view_edges.c - views of a batch, case by case: which batches have one, what is shown at the borders of
 * lives, readers that are overtaken at the worst moment (I1), damage, what was dropped, and views in use. */
#include "past_tree.h"

#include "core/views.h"
#include "hook.h"
#include "must.h"

#define SIZE 30000u

#define BESIDE 40u

static uint64_t f, beside[BESIDE]; /* small files in the same segment */
static uint64_t made;              /* the batch in which f was whole, and these were not there yet */

static void setup(void)
{
    tree_begin(false, 1);
    f = unit_file(&u, "f", SIZE, 1);
    made = last_batch();
    for (unsigned i = 0; i < BESIDE; i++)
        beside[i] = unit_file(&u, (char[]){'g', (char)('0' + i), 0}, 300, 1);
}

static void teardown(void)
{
    hook_set(u.eng, NULL, NULL);
    tree_end();
}

TestSuite(view_edges, .init = setup, .fini = teardown, .timeout = 100);

static uint64_t write_kept(uint64_t seed)
{
    uint64_t before = last_batch();
    tree_keep(f);
    unit_write(&u, f, SIZE, seed, 0);
    return before;
}

static void compact(void)
{
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
}

static bool shows(struct eng_view *view, uint64_t ino, size_t size, uint64_t seed)
{
    uint8_t *want = unit_bytes(size, seed), *is = malloc(size + 1);
    ssize_t n = eng_view_read(view, ino, is, size + 1, 0);
    bool same = n == (ssize_t)size && memcmp(want, is, size) == 0;
    free(want);
    free(is);
    return same;
}

static int read_error(struct eng_view *view, uint64_t off)
{
    uint8_t buf[4096];
    ssize_t n = eng_view_read(view, f, buf, sizeof buf, off);
    return n < 0 ? (int)n : 0;
}

/* ---- which batches ------------------------------------------------------------------ */

static int open_error(uint64_t at)
{
    struct eng_view *view = NULL;
    int r = eng_view_open(u.eng, at, &view);
    cr_assert((r == 0) == (view != NULL));
    eng_view_close(view);
    return r;
}

Test(view_edges, has_what_is_whole_and_what_is_a_snapshot)
{
    uint64_t now = last_batch();
    cr_assert_eq(open_error(now), -ENOENT, "there never was a history");
    u.eng->idx.s.floor = now;
    cr_assert_eq(open_error(now), 0);
    cr_assert_eq(open_error(now - 1), -ENOENT, "before the floor");
    cr_assert_eq(open_error(now + 1), -ENOENT, "the future");
    cr_assert_eq(open_error(UINT64_MAX), -ENOENT);
    exact = true; /* each batch with a moment is a snapshot */
    times[now + 1] = times[now - 1] = 1;
    times[now - 2] = 0;
    cr_assert_eq(open_error(now - 1), 0);
    cr_assert_eq(open_error(now + 1), -ENOENT, "the future");
    cr_assert_eq(open_error(now - 2), -ENOENT);
    cr_assert_eq(views_count(u.eng), 0);
    u.eng->idx.s.floor = 0;
}

Test(view_edges, refuse_what_is_missing)
{
    struct eng_attr attr;
    struct eng_view *view = tree_open(last_batch());
    char buf[8];
    cr_assert_eq(eng_view_open(NULL, 1, &view), -EINVAL);
    cr_assert_eq(eng_view_open(u.eng, 1, NULL), -EINVAL);
    cr_assert_eq(eng_view_getattr(NULL, 1, &attr) + eng_view_getattr(view, 1, NULL), -2 * EINVAL);
    cr_assert_eq(eng_view_lookup(NULL, 1, "f", &attr) + eng_view_lookup(view, 1, NULL, &attr), -2 * EINVAL);
    cr_assert_eq(eng_view_lookup(view, 1, "f", NULL), -EINVAL);
    cr_assert_eq(eng_view_readdir(NULL, 1, 0, add_entry, NULL), -EINVAL);
    cr_assert_eq(eng_view_readdir(view, 1, 0, NULL, NULL), -EINVAL);
    cr_assert_eq(eng_view_readlink(NULL, 1, buf, 8) + eng_view_readlink(view, 1, NULL, 8), -2 * EINVAL);
    cr_assert_eq(eng_view_read(NULL, f, buf, 8, 0) + eng_view_read(view, f, NULL, 8, 0), -2 * EINVAL);
    uint64_t place;
    cr_assert_eq(eng_view_seek(NULL, f, 0, 3, &place) + eng_view_seek(view, f, 0, 3, NULL), -2 * EINVAL);
    cr_assert_eq(eng_view_seek(view, f, 0, 9, &place), -EINVAL);
    cr_assert_eq(eng_view_getxattr(NULL, f, "a", buf, 8) + eng_view_getxattr(view, f, "a", NULL, 8),
                 -2 * EINVAL);
    cr_assert_eq(eng_view_getxattr(view, f, NULL, buf, 8), -EINVAL);
    cr_assert_eq(eng_view_listxattr(NULL, f, buf, 8) + eng_view_listxattr(view, f, NULL, 8), -2 * EINVAL);
    eng_view_close(NULL);
    tree_close(view);
}

/* Errors are those of the store, and what was not there then is not there. */
Test(view_edges, have_the_errors_of_the_store)
{
    struct eng_attr attr;
    char buf[100];
    uint64_t before = last_batch(), dir = unit_mkdir(&u, "dir"), late = unit_file(&u, "late", 10, 2);
    struct eng_view *view = tree_open(before), *now = tree_open(last_batch());
    cr_assert_eq(eng_view_lookup(view, ENG_ROOT_INO, "dir", &attr), -ENOENT);
    cr_assert_eq(eng_view_getattr(view, dir, &attr), -ESTALE);
    cr_assert_eq(eng_view_readdir(view, dir, 0, add_entry, NULL), -ESTALE);
    cr_assert_eq(eng_view_lookup(view, dir, "x", &attr), -ESTALE);
    cr_assert_eq(eng_view_lookup(view, late, ".", &attr), -ESTALE);
    cr_assert_eq(eng_view_read(view, late, buf, sizeof buf, 0), -ESTALE);
    cr_assert_eq(eng_view_listxattr(view, late, NULL, 0), -ESTALE);
    cr_assert_eq(eng_view_getxattr(view, late, "user.a", NULL, 0), -ESTALE);
    cr_assert_eq(eng_view_readlink(view, late, buf, sizeof buf), -ESTALE);
    cr_assert_eq(eng_view_getattr(view, 12345678, &attr), -ESTALE);
    cr_assert_eq(eng_view_read(now, dir, buf, sizeof buf, 0), -EISDIR);
    cr_assert_eq(eng_view_readlink(now, late, buf, sizeof buf), -EINVAL);
    cr_assert_eq(eng_view_readdir(now, late, 0, add_entry, NULL), -ENOTDIR);
    cr_assert_eq(eng_view_lookup(now, late, "x", &attr), -ENOTDIR);
    cr_assert_eq(eng_view_lookup(now, ENG_ROOT_INO, "", &attr), -ENOENT);
    cr_assert_eq(eng_view_lookup(now, ENG_ROOT_INO, "a/b", &attr), -EINVAL);
    cr_assert_eq(eng_view_lookup(now, late, ".", &attr), 0);
    cr_assert_eq(eng_view_lookup(now, dir, "..", &attr), 0);
    cr_assert_eq(attr.ino, ENG_ROOT_INO);
    eng_view_close(now);
    tree_close(view);
}

/* A state begins with its batch and ends before the next one. */
Test(view_edges, show_each_batch_at_the_borders_of_a_life)
{
    uint64_t first = write_kept(2), kept = last_batch() - 1, second = last_batch();
    (void)write_kept(3);
    for (uint64_t at = first; at <= last_batch(); at++) {
        struct eng_view *view = tree_open(at);
        uint64_t seed = at == last_batch() ? 3 : at >= second ? 2 : 1;
        cr_assert(shows(view, f, SIZE, seed), "batch %llu", (unsigned long long)at);
        tree_close(view);
    }
    cr_assert_lt(kept, second);
}

/* ---- views in use ------------------------------------------------------------------- */

Test(view_edges, are_in_use_until_they_are_closed)
{
    struct eng_view *views[VIEWS_MAX], *more = NULL;
    uint64_t now = last_batch();
    for (unsigned i = 0; i < VIEWS_MAX; i++)
        views[i] = tree_open(now);
    cr_assert_eq(eng_view_open(u.eng, now, &more), -ENFILE);
    cr_assert(views_see(u.eng, now, now + 1, false) && views_see(u.eng, 0, UINT64_MAX, false));
    cr_assert_not(views_see(u.eng, now + 1, UINT64_MAX, false));
    cr_assert_not(views_see(u.eng, 0, now, false), "a life ends before its end");
    cr_assert_not(views_see(u.eng, now, now + 1, true), "it is none of a snapshot");
    for (unsigned i = 0; i < VIEWS_MAX; i++) {
        cr_assert_eq(views_count(u.eng), VIEWS_MAX - i);
        eng_view_close(views[i]);
    }
    cr_assert_not(views_see(u.eng, 0, UINT64_MAX, false));
    exact = true;
    times[now] = 1;
    more = tree_open(now);
    cr_assert(views_see(u.eng, now, now + 1, true));
    tree_close(more);
}

/* A snapshot goes, and a view of it stays as it is: what is there is not let go, and what is changed is kept,
 * until it is closed. */
Test(view_edges, of_a_dropped_snapshot_stay_until_they_are_closed)
{
    struct eng_view *view = NULL;
    uint64_t at;
    by_itself = exact = true;
    uint64_t dir = unit_mkdir(&u, "dir");
    MUST(eng_snapshot_create(u.eng, "s", &at) == 0);
    MUST(eng_view_open(u.eng, at, &view) == 0);
    char *want = tree_sight(NULL);
    unit_write(&u, f, SIZE, 2, 0);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    cr_assert_gt(u.eng->idx.s.n_past, 0);
    unit_write(&u, f, SIZE, 3, 0);
    unit_write(&u, beside[0], 100, 4, 0);
    unit_write(&u, beside[0], 100, 5, 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "g1") == 0);
    MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "g2", dir, "moved", 0) == 0);
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    compact();
    char *is = tree_sight(view);
    cr_assert_str_eq(is, want);
    eng_view_close(view);
    cr_assert_eq(u.eng->idx.s.n_past + u.eng->idx.s.n_past_names, 0, "all of it went with the view");
    cr_assert_eq(unit_problems(&u), 0);
    free(is);
    free(want);
}

static struct eng_view *overtaken;

static void drop_floor(void *arg, enum fault_point point)
{
    (void)arg;
    if (point == FP_READ_COLLECTED)
        u.eng->idx.s.floor = last_batch();
}

Test(view_edges, end_where_the_floor_passes_them)
{
    struct eng_attr attr;
    uint64_t at = write_kept(2);
    overtaken = tree_open(at);
    cr_assert_eq(read_error(overtaken, 0), 0);
    hook_set(u.eng, drop_floor, NULL);
    cr_assert_eq(read_error(overtaken, 0), 0, "it was whole when the places were taken");
    cr_assert_eq(read_error(overtaken, 0), -ESTALE);
    cr_assert_eq(eng_view_getattr(overtaken, ENG_ROOT_INO, &attr), -ESTALE);
    cr_assert_eq(eng_view_lookup(overtaken, ENG_ROOT_INO, "f", &attr), -ESTALE);
    cr_assert_eq(eng_view_listxattr(overtaken, f, NULL, 0), -ESTALE);
    cr_assert_eq(open_error(at), -ENOENT);
    tree_close(overtaken);
}

/* Other bytes are never in place of those of a state that is not there any more. */
Test(view_edges, of_a_state_that_was_dropped_are_stale)
{
    struct eng_attr attr;
    uint64_t at = last_batch();
    tree_keep(f);
    uint64_t number = index_ino(index_slot(&u.eng->idx, index_inode(&u.eng->idx, f)->past),
                                index_inode(&u.eng->idx, f)->past);
    unit_write(&u, f, SIZE, 2, 0);
    struct eng_view *view = tree_open(at);
    cr_assert(shows(view, f, SIZE, 1));
    drop_state(&u, number);
    cr_assert_eq(read_error(view, 0), -ESTALE);
    cr_assert_eq(eng_view_getattr(view, f, &attr), -ESTALE);
    cr_assert_eq(eng_view_lookup(view, ENG_ROOT_INO, "f", &attr), -ENOENT);
    struct tree_entries e = {.stop = SIZE_MAX};
    cr_assert_eq(eng_view_readdir(view, ENG_ROOT_INO, 2, add_entry, &e), 0);
    cr_assert_eq(e.n, BESIDE);
    cr_assert_str_eq(e.all[0].name, "g0");
    free(e.all);
    tree_close(view);
}

/* ---- readers that are overtaken -------------------------------------------------------- */

static struct {
    enum fault_point at;
    unsigned times, done, garbage;
    uint64_t seed;
    bool keep;
} over;

/* The state that is read gets a newer one behind it, and all that it has moves to other segments. */
static void overtake(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != over.at || over.done == over.times)
        return;
    over.done++;
    hook_set(u.eng, NULL, NULL);
    if (over.keep)
        (void)write_kept(++over.seed);
    else
        unit_write(&u, f, SIZE, ++over.seed, 0);
    MUST(over.garbage < BESIDE);
    unit_write(&u, beside[over.garbage++], 300, over.seed, 0); /* what it had is garbage beside */
    compact();
    hook_set(u.eng, overtake, NULL);
}

static void expect_overtaken(struct eng_view *view, uint64_t seed, unsigned how_often)
{
    static const enum fault_point points[] = {FP_READ_COLLECTED, FP_READ_PINNED};
    for (unsigned i = 0; i < ARRAY_LEN(points); i++) {
        uint64_t restarts = unit_stats(&u).read_restarts;
        over.at = points[i];
        over.times = how_often;
        over.done = 0;
        hook_set(u.eng, overtake, NULL);
        cr_assert(shows(view, f, SIZE, seed), "point %u", i);
        hook_set(u.eng, NULL, NULL);
        restarts = unit_stats(&u).read_restarts - restarts;
        cr_assert(over.at == FP_READ_COLLECTED ? restarts == MIN_OF(how_often, 8u) : !restarts,
                  "pins keep what was found, wherever it has come to since");
    }
    cr_assert_eq(unit_stats(&u).damaged_extents, 0);
}

/* It was the head when the reader began, and is a past state when it begins anew. */
Test(view_edges, overtaken_readers_of_a_head_go_to_its_past)
{
    struct eng_view *view = tree_open(made); /* which does not see what is beside */
    over.seed = 10;
    over.keep = true;
    expect_overtaken(view, 1, 1);
    expect_overtaken(view, 1, 100);
    tree_close(view);
}

Test(view_edges, overtaken_readers_of_a_past_state_find_it_again)
{
    (void)write_kept(2);
    struct eng_view *view = tree_open(made);
    over.seed = 10;
    over.keep = false;
    expect_overtaken(view, 1, 1);
    expect_overtaken(view, 1, 100);
    tree_close(view);
}

/* ---- holes ------------------------------------------------------------------------------ */

#define PLACES 200u
#define APART 10000u

/* Of what the file has still, and of what went to the past, piece by piece. */
Test(view_edges, of_a_sparse_file_find_its_holes)
{
    uint64_t ino = unit_create(&u, "sparse"), at = 0;
    for (unsigned i = 0; i < PLACES; i++)
        unit_write(&u, ino, 100, i, (uint64_t)i * APART);
    uint64_t before = last_batch();
    tree_keep(ino);
    for (unsigned i = 0; i < PLACES; i += 3)
        unit_write(&u, ino, 9000, i, (uint64_t)i * APART);
    struct eng_view *view = tree_open(before);
    for (unsigned i = 0; i < PLACES; i++) {
        uint64_t data = (uint64_t)i * APART;
        cr_assert_eq(eng_view_seek(view, ino, i ? data - APART + 100 : 0, 3, &at), 0);
        cr_assert_eq(at, data);
        cr_assert_eq(eng_view_seek(view, ino, data, 4, &at), 0);
        cr_assert_eq(at, data + 100, "the hole behind %u", i);
    }
    cr_assert_eq(eng_view_seek(view, ino, at, 3, &at), -ENXIO);
    tree_close(view);
}

/* ---- damage --------------------------------------------------------------------------- */

struct found {
    unsigned n;
    struct eng_damage last;
};

static void note_damage(void *arg, const struct eng_damage *d)
{
    struct found *found = arg;
    found->n++;
    found->last = *d;
}

static struct found damaged(void)
{
    struct found found = {0};
    MUST(eng_damaged(u.eng, note_damage, &found) == 0);
    return found;
}

/* What is read through a past state is told as whose it is, and as long as it is there. */
Test(view_edges, meet_damage_as_other_readers_do)
{
    struct locator loc;
    char path[64];
    unit_write(&u, f, 4096, 9, 0);
    uint64_t at = last_batch();
    tree_keep(f);
    uint64_t number = index_ino(index_slot(&u.eng->idx, index_inode(&u.eng->idx, f)->past),
                                index_inode(&u.eng->idx, f)->past);
    unit_write(&u, f, 4096, 10, 0);
    struct eng_view *view = tree_open(at);
    MUST(past_locator(&u, number, 0, &loc));
    unit_damage(&u, &loc, 100);
    cr_assert_eq(read_error(view, 0), -EIO);
    cr_assert_eq(read_error(view, 8192), 0, "what is not damaged");
    cr_assert_eq(unit_read_error(&u, f), 0, "what the file has now");
    cr_assert_eq(read_error(view, 100), -EIO);
    struct found found = damaged();
    cr_assert_eq(found.n, 1);
    (void)snprintf(path, sizeof path, "f@%llu",
                   (unsigned long long)past_begin(past_state(&u.eng->idx, number)));
    cr_assert_str_eq(found.last.path, path);
    cr_assert_eq(found.last.ino, f);
    /* What the past state reads of the file as it is now. */
    MUST(unit_locator(&u, f, 1, &loc));
    unit_damage(&u, &loc, 20000);
    cr_assert_eq(read_error(view, 4096 + 18000), -EIO);
    found = damaged();
    cr_assert_eq(found.n, 2);
    cr_assert_str_eq(found.last.path, "f");
    tree_close(view);
}

Test(view_edges, meet_damaged_values_as_other_readers_do)
{
    struct xattr_view xattr;
    uint8_t *value = unit_bytes(5000, 3), buf[5000];
    MUST(eng_setxattr(u.eng, f, "user.a", value, 5000, 0) == 0);
    uint64_t at = last_batch();
    tree_keep(f);
    MUST(eng_setxattr(u.eng, f, "user.a", "now", 3, 0) == 0);
    struct eng_view *view = tree_open(at);
    cr_assert_eq(eng_view_getxattr(view, f, "user.a", buf, sizeof buf), 5000);
    cr_assert_eq(memcmp(buf, value, 5000), 0);
    cr_assert_eq(eng_view_getxattr(view, f, "user.a", buf, 4999), -ERANGE);
    cr_assert_eq(eng_view_listxattr(view, f, (char *)buf, 6), -ERANGE);
    MUST(past_xattr(&u.eng->idx, index_inode(&u.eng->idx, f)->past, "user.a", 6, &xattr) == 0);
    unit_damage(&u, &xattr.loc, 100);
    cr_assert_eq(eng_view_getxattr(view, f, "user.a", buf, sizeof buf), -EIO);
    cr_assert_eq(damaged().n, 1);
    cr_assert_not_null(strstr(damaged().last.path, "f@"));
    tree_close(view);
    free(value);
}

/* ---- long listings ---------------------------------------------------------------------- */

#define MANY 3000u

static void rename_some(void *arg, enum fault_point point)
{
    static unsigned n;
    char name[16], to[16];
    (void)arg;
    if (point != FP_LIST_SLICE)
        return;
    for (unsigned i = 0; i < 20; i++) {
        unsigned k = n++ * 37 % MANY;
        (void)snprintf(name, sizeof name, "n%u", k);
        (void)snprintf(to, sizeof to, "m%u", k);
        tree_rename(ENG_ROOT_INO, name, unit_lookup(&u, name), ENG_ROOT_INO, to, 0, false);
    }
}

/* A folder that has lost most of its names is listed in slices, each name once, whatever happens between. */
Test(view_edges, list_long_folders_in_slices)
{
    struct tree_entries e = {.stop = SIZE_MAX};
    struct eng_attr attr;
    char name[16];
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        (void)unit_create(&u, name);
    }
    uint64_t at = last_batch();
    struct eng_view *view = tree_open(at);
    hook_set(u.eng, rename_some, NULL);
    cr_assert_eq(eng_view_readdir(view, ENG_ROOT_INO, 0, add_entry, &e), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(e.n, MANY + 3 + BESIDE);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        cr_assert_str_eq(e.all[i + 3 + BESIDE].name, name);
    }
    cr_assert_eq(eng_view_getattr(view, ENG_ROOT_INO, &attr), 0);
    cr_assert(attr.nlink == 2 && attr.size == MANY + 1 + BESIDE);
    free(e.all);
    tree_close(view);
}

static uint64_t bytes_of(struct eng_view *view, uint64_t ino)
{
    uint64_t bytes = 1;
    cr_assert_eq(eng_view_bytes(view, ino, &bytes), 0);
    return bytes;
}

/* What a copier looks at before it looks for holes. */
Test(view_edges, count_what_is_no_hole)
{
    uint64_t few = unit_file(&u, "few", 4096, 2), many = unit_file(&u, "many", 4096, 3), bytes;
    const uint64_t size = UINT64_C(1) << 30;
    unit_write(&u, few, 4096, 4, size - 4096);
    for (uint64_t i = 1; i <= 200; i++)
        unit_write(&u, many, 4096, i, i * 65536);
    tree_moment();
    struct eng_view *view = tree_open(last_batch());
    tree_keep(few);
    unit_write(&u, few, 100000, 5, 1 << 20);
    tree_keep(many);
    unit_write(&u, many, 4096, 6, 65536);
    tree_keep(f);
    unit_write(&u, f, 100, 7, 10000);
    bytes = bytes_of(view, few);
    cr_assert(bytes == 8192, "%llu bytes", (unsigned long long)bytes);
    bytes = bytes_of(view, many);
    cr_assert(bytes >= UINT64_C(201 * 4096) && bytes <= UINT64_C(202 * 4096), "%llu",
              (unsigned long long)bytes);
    cr_assert_eq(bytes_of(view, f), SIZE);
    cr_assert_eq(bytes_of(view, beside[0]), 300, "not changed since");
    cr_assert_eq(bytes_of(view, ENG_ROOT_INO), 0);
    cr_assert_eq(eng_view_bytes(view, 12345678, &bytes), -ESTALE);
    cr_assert_eq(eng_view_bytes(view, f, NULL) + eng_view_bytes(NULL, f, &bytes), -2 * EINVAL);
    tree_close(view);
}

/* A folder with more names than are looked at: its links are not known, its times no later than the view. */
Test(view_edges, of_a_huge_folder_know_no_count)
{
    struct eng_attr attr;
    char name[16];
    for (unsigned i = 0; i < 4200; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        (void)unit_create(&u, name);
    }
    tree_moment();
    (void)unit_create(&u, "last");
    struct eng_view *view = tree_open(last_batch());
    (void)unit_mkdir(&u, "later");
    cr_assert_eq(eng_view_getattr(view, ENG_ROOT_INO, &attr), 0);
    cr_assert_eq(attr.nlink, 1);
    cr_assert(attr.mtime == times[last_batch() - 1] && attr.ctime == attr.mtime);
    tree_close(view);
}

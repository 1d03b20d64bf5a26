/*
 * test_slices.c - truncating, removing, punching and seeking in files of many extents: in slices, so that
 * nobody waits long; and what others see, and a crash leaves, between two slices. */
#include "commit/orphans.h"
#include "hook.h"
#include "inside.h"

#include "must.h"
#include "one_file.h"
#include "rng.h"

#include <criterion/criterion.h>

/* ---- how many extents one hold of the lock frees ------------------------------------------- */

#define PIECE 16u

static void roomy(void)
{
    unit_new(&u, 32u << 20);
    f = unit_create(&u, "f");
}

TestSuite(slices, .init = roomy, .fini = teardown);
TestSuite(slices_seen, .init = setup, .fini = teardown);

/* A file without gaps, of n extents: it is written backwards, so that no append takes others along. */
static void fragment(uint64_t ino, uint32_t n)
{
    uint8_t data[PIECE];
    hook_block_extents(u.eng, UINT32_MAX);
    for (uint32_t i = n; i-- > 0;) {
        memset(data, (int)(1 + i % 251), PIECE);
        MUST(eng_write(u.eng, ino, data, PIECE, (uint64_t)i * PIECE) == PIECE);
        if (i % 65536 == 0)
            MUST(eng_sync(u.eng) == 0);
    }
    hook_block_extents(u.eng, 0);
    MUST(inode_n_extents(index_inode(&u.eng->idx, ino)) == n);
}

/* Of the batches that a call makes: before each, all before it are applied. */
static struct held {
    uint64_t last, most;
    unsigned batches;
} held;

static void at_batch(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_LOG_WRITTEN)
        return;
    held.most = MAX_OF(held.most, u.eng->idx.n_taken - held.last);
    held.last = u.eng->idx.n_taken;
    held.batches++;
}

static void hold_begin(void)
{
    held = (struct held){.last = u.eng->idx.n_taken};
    hook_set(u.eng, at_batch, NULL);
}

/* The most extents that one batch took out of the index. */
static uint64_t hold_end(void)
{
    hook_set(u.eng, NULL, NULL);
    return MAX_OF(held.most, u.eng->idx.n_taken - held.last);
}

static void expect_slices(uint32_t n, const char *what)
{
    uint64_t most = hold_end();
    cr_assert_leq(most, 4097, "%s: one batch freed %llu extents", what, (unsigned long long)most);
    cr_assert_geq(held.batches, n / 4097, "%s", what);
}

static void set_size(uint64_t size)
{
    const struct eng_attr attr = {.size = size};
    struct eng_attr got;
    MUST(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, &got) == 0);
    MUST(got.size == size);
}

Test(slices, a_truncation_of_262144_extents, .timeout = 200)
{
    const uint32_t n = 262144;
    fragment(f, n);
    hold_begin();
    set_size(PIECE * 10 + 3);
    expect_slices(n, "truncate");
    cr_assert_eq(inode_n_extents(index_inode(&u.eng->idx, f)), 11, "when it returns all is freed");
    cr_assert_eq(unit_attr(&u, f).bytes, PIECE * 10 + 3);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(slices, removing_and_replacing, .timeout = 200)
{
    const uint32_t n = 20000;
    struct eng_record rec = {.parent = ENG_ROOT_INO, .name = "h", .content = "new", .size = 3, .mode = 0644};
    char name[16];
    fragment(f, n);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t ino = unit_create(&u, i == 0 ? "g" : i == 1 ? "h" : "small");
        fragment(ino, i == 2 ? 3000 : n);
    }
    hold_begin();
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "small"), 0);
    for (unsigned i = 0; i < 5; i++) { /* take some along */
        (void)snprintf(name, sizeof name, "d%u", i);
        (void)unit_mkdir(&u, name);
    }
    cr_assert_null(index_inode(&u.eng->idx, f), "each batch took some of it along, until it was gone");
    expect_slices(n, "unlink");
    uint64_t over = unit_create(&u, "over");
    hold_begin();
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "over", ENG_ROOT_INO, "g", 0), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    expect_slices(n, "rename over");
    cr_assert_eq(unit_lookup(&u, "g"), over);
    hold_begin();
    cr_assert_eq(eng_put_many(u.eng, &rec, 1), 1);
    uint64_t h = unit_lookup(&u, "h");
    cr_assert_eq(unit_attr(&u, h).size, 3);
    cr_assert_eq(commit_orphans(u.eng), 0);
    expect_slices(n, "put_many");
    cr_assert_eq(inode_n_extents(index_inode(&u.eng->idx, h)), 1);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(slices, many_files_replaced_at_once, .timeout = 200)
{
    struct eng_record recs[10];
    char names[10][16];
    for (unsigned i = 0; i < 10; i++) {
        (void)snprintf(names[i], sizeof names[i], "r%u", i);
        recs[i] = (struct eng_record){
            .parent = ENG_ROOT_INO, .name = names[i], .content = "new", .size = 3, .mode = 0644};
        fragment(unit_create(&u, names[i]), 1500);
    }
    hold_begin();
    cr_assert_eq(eng_put_many(u.eng, recs, 10), 10);
    expect_slices(15000, "put_many of ten");
    cr_assert_eq(unit_problems(&u), 0);
}

Test(slices, holes, .timeout = 200)
{
    const uint32_t n = 20000;
    fragment(f, n);
    uint64_t version = unit_attr(&u, f).version;
    hold_begin();
    cr_assert_eq(eng_fallocate(u.eng, f, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 8, PIECE * (n / 2)),
                 0);
    expect_slices(n / 2, "punch");
    cr_assert_gt(unit_attr(&u, f).version, version);
    hold_begin();
    cr_assert_eq(eng_fallocate(u.eng, f, ENG_FALLOC_ZERO_RANGE, PIECE * (n / 2), PIECE * n), 0);
    expect_slices(n / 2, "zero range");
    cr_assert_eq(unit_attr(&u, f).size, PIECE * (n / 2 + n));
    uint8_t *want = calloc(1, PIECE * (n / 2 + n));
    memset(want, 1, 8);
    cr_assert(unit_holds_bytes(&u, f, want, PIECE * (n / 2 + n)));
    free(want);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- what is written over many extents ------------------------------------------------------------ */

/* A state of the file that must be seen until it is changed as a whole. */
static struct whole {
    uint8_t *want;
    size_t size;
    struct eng_attr attr;
    unsigned looks;
} whole;

static void expect_whole(struct unit *v, const char *when)
{
    struct eng_attr now = unit_attr(v, f);
    cr_assert(unit_holds_bytes(v, f, whole.want, whole.size), "%s", when);
    cr_assert_eq(now.version, whole.attr.version, "%s", when);
    cr_assert_eq(now.mtime, whole.attr.mtime, "%s", when);
    cr_assert_eq(now.ctime, whole.attr.ctime, "%s", when);
}

/* Before each batch: what was there before is there, and is what a crash leaves. */
static void before_batch(void *arg, enum fault_point point)
{
    at_batch(arg, point);
    if (point != FP_WRITE_DRAFTED)
        return;
    hook_set(u.eng, NULL, NULL);
    expect_whole(&u, "before a batch");
    if (whole.looks++ < 3) {
        struct unit v;
        unit_clone(&v, &u);
        unit_open(&v);
        expect_whole(&v, "after a crash");
        cr_assert_eq(unit_problems(&v), 0);
        unit_done(&v);
    }
    hook_set(u.eng, before_batch, NULL);
}

/* f has n extents, and is watched. */
static void watch(uint32_t n)
{
    fragment(f, n);
    whole = (struct whole){.want = malloc((size_t)n * PIECE), .size = (size_t)n * PIECE};
    MUST(whole.want);
    for (uint32_t i = 0; i < n; i++)
        memset(whole.want + (size_t)i * PIECE, (int)(1 + i % 251), PIECE);
    whole.attr = unit_attr(&u, f);
    hold_begin();
    hook_set(u.eng, before_batch, NULL);
}

Test(slices, overwriting, .timeout = 200)
{
    const uint32_t n = 65536;
    watch(n);
    uint8_t *data = unit_bytes(whole.size, 7);
    cr_assert_eq(eng_write(u.eng, f, data + 5, whole.size - 9, 5), (ssize_t)whole.size - 9);
    expect_slices(n, "overwrite");
    cr_assert_geq(whole.looks, 16, "before each of the batches, and not only before the last");
    memcpy(whole.want + 5, data + 5, whole.size - 9);
    cr_assert(unit_holds_bytes(&u, f, whole.want, whole.size));
    cr_assert_eq(unit_attr(&u, f).version, whole.attr.version + 1);
    cr_assert_leq(unit_extents(&u, f), 8);
    cr_assert_eq(unit_problems(&u), 0);
    free(data);
    free(whole.want);
}

Test(slices, putting_over_many_extents, .timeout = 200)
{
    const uint32_t n = 65536;
    watch(n);
    uint8_t *data = unit_bytes(whole.size, 7);
    struct eng_record recs[2] = {
        {.parent = ENG_ROOT_INO, .name = "e", .content = "x", .size = 1, .mode = 0644},
        {.parent = ENG_ROOT_INO, .name = "f", .mode = 0644, .content = data, .size = whole.size}};
    cr_assert_eq(eng_put_many(u.eng, recs, 2), 2);
    expect_slices(n, "put_many");
    cr_assert_geq(whole.looks, 16);
    cr_assert(unit_holds_bytes(&u, f, data, whole.size));
    cr_assert_leq(unit_extents(&u, f), 8);
    cr_assert_eq(unit_problems(&u), 0);
    free(data);
    free(whole.want);
}

Test(slices, appending_behind_many_small_extents, .timeout = 200)
{
    fragment(f, 20000); /* to be merged down to 256 KiB, if it were for their size */
    hold_begin();
    const uint8_t data[PIECE] = "as long as those"; /* shorter ones take no longer ones along */
    cr_assert_eq(eng_append(u.eng, f, data, PIECE, NULL), (ssize_t)PIECE);
    uint64_t most = hold_end();
    cr_assert_gt(most, 6, "some are taken along");
    cr_assert_leq(most, 1024, "%llu", (unsigned long long)most);
    cr_assert_eq(unit_problems(&u), 0);
}

/* What is damaged goes with the last batch, and hides nothing that was written. */
Test(slices, overwriting_what_is_damaged, .timeout = 200)
{
    const uint32_t n = 20000;
    struct locator loc;
    fragment(f, n);
    cr_assert(unit_locator(&u, f, 777, &loc));
    unit_damage(&u, &loc, 0);
    uint8_t *data = unit_bytes((size_t)n * PIECE, 7);
    hold_begin();
    cr_assert_eq(eng_write(u.eng, f, data, (size_t)n * PIECE, 0), (ssize_t)n * (ssize_t)PIECE);
    uint64_t most = hold_end();
    cr_assert_leq(most, 2 * 4097, "a part that cannot be read, and what is left: %llu",
                  (unsigned long long)most);
    cr_assert(unit_holds_bytes(&u, f, data, (size_t)n * PIECE));
    cr_assert_eq(unit_problems(&u), 0);
    free(data);
}

/* Another who makes many extents all the time holds nobody up for ever. */
static void fragment_again(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_WRITE_DRAFTED)
        return;
    hook_set(u.eng, NULL, NULL);
    fragment(f, 40);
    hook_set(u.eng, fragment_again, NULL);
}

Test(slices, overwriting_what_others_fragment_all_the_time, .timeout = 200)
{
    char data[40 * PIECE + 1] = {0};
    struct eng_record rec = {
        .parent = ENG_ROOT_INO, .name = "f", .content = data, .size = sizeof data, .mode = 0644};
    fragment(f, 40);
    hook_slice(u.eng, 4);
    hook_set(u.eng, fragment_again, NULL);
    cr_assert_eq(eng_write(u.eng, f, data, sizeof data - 1, 1), (ssize_t)sizeof data - 1);
    cr_assert_eq(eng_put_many(u.eng, &rec, 1), 1);
    hook_set(u.eng, NULL, NULL);
    cr_assert(unit_holds_bytes(&u, f, (const uint8_t *)data, sizeof data));
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- attributes count as extents do --------------------------------------------------------------- */

#define ATTRIBUTES 1000u

static void attribute(uint64_t ino, unsigned n)
{
    char name[16];
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "user.%u", i);
        MUST(eng_setxattr(u.eng, ino, name, "v", 1, 0) == 0);
    }
}

/* Files of 1000 attributes each, some with content as well. */
static void attributed(unsigned n, char names[][16])
{
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(names[i], 16, "a%u", i);
        uint64_t ino = unit_create(&u, names[i]);
        if (i % 2)
            fragment(ino, 1 + 700 * (i % 4));
        attribute(ino, ATTRIBUTES);
    }
}

/* Unlinks them all, and only then lets go of them: they are queued together. */
static void orphan(unsigned n, char names[][16])
{
    const struct eng_caller who = {.ref = true};
    struct eng_attr attr;
    uint64_t inos[32];
    for (unsigned i = 0; i < n; i++) {
        MUST(eng_lookup(u.eng, &who, ENG_ROOT_INO, names[i], &attr) == 0);
        inos[i] = attr.ino;
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, names[i]) == 0);
    }
    for (unsigned i = 0; i < n; i++)
        MUST(eng_forget(u.eng, inos[i], 1) == 0);
    MUST(u.eng->idx.n_orphans == n);
}

/* Whoever may read them all reads them while a stranger's large file waits to be freed. */
Test(slices, who_reads_figures_frees_some, .timeout = 200)
{
    char names[1][16] = {"f"};
    struct eng_stats stats;
    struct eng_space space;
    fragment(f, 3000);
    orphan(1, names);
    hook_slice(u.eng, 100);
    for (unsigned i = 0; i < 2; i++) {
        hold_begin();
        cr_assert_eq(i ? eng_space(u.eng, &space) : eng_stats(u.eng, &stats), 0);
        cr_assert_gt(held.batches, 1);
        cr_assert_leq(held.batches, 8, "%u of 30", held.batches);
    }
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_eq(u.eng->idx.s.n_files, 0);
}

Test(slices, removing_what_has_many_attributes, .timeout = 200)
{
    char names[21][16] = {[20] = "f"};
    attributed(20, names);
    attribute(f, 1000);
    fragment(f, 3500); /* more than a slice only together */
    hold_begin();
    orphan(21, names);
    cr_assert_eq(commit_orphans(u.eng), 0);
    expect_slices(20 * ATTRIBUTES, "unlink");
    cr_assert_eq(u.eng->idx.s.n_files, 0, "all are freed");
    cr_assert_eq(u.eng->idx.n_orphans, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* Those that an inode has beyond a slice go before it. */
Test(slices, removing_what_has_more_attributes_than_a_slice, .timeout = 200)
{
    char names[3][16] = {"m0", "m1", "m2"};
    hook_slice(u.eng, 100);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t ino = unit_create(&u, names[i]);
        attribute(ino, 150 + i);
        if (i)
            unit_write(&u, ino, 5, 1, 0); /* its only extent stands in the inode */
    }
    orphan(3, names);
    hold_begin();
    cr_assert_eq(commit_orphans(u.eng), 0);
    uint64_t most = hold_end();
    cr_assert_eq(most, 100, "%llu", (unsigned long long)most);
    cr_assert_eq(u.eng->idx.s.n_files, 1, "f");
    cr_assert_eq(u.eng->idx.n_orphans, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(slices, replacing_what_has_many_attributes, .timeout = 200)
{
    struct eng_record recs[12];
    char names[12][16];
    attributed(12, names);
    for (unsigned i = 0; i < 12; i++)
        recs[i] = (struct eng_record){
            .parent = ENG_ROOT_INO, .name = names[i], .content = "new", .size = 3, .mode = 0644};
    hold_begin();
    cr_assert_eq(eng_put_many(u.eng, recs, 12), 12);
    expect_slices(12 * ATTRIBUTES, "put_many");
    cr_assert_eq(unit_problems(&u), 0);
}

/* The walk of a scrub or a compaction lets go of the index between two inodes with many. */
Test(slices, collecting_what_has_many_attributes, .timeout = 200)
{
    char names[20][16];
    attributed(20, names);
    struct extent_ref *refs = NULL;
    size_t n = 0;
    uint64_t before = atomic_load(&u.eng->looks);
    cr_assert_eq(extent_refs_collect(u.eng, NULL, &refs, &n), 0);
    free(refs);
    cr_assert_geq(atomic_load(&u.eng->looks) - before, 20 + n / 256, "a slice for each of them");
}

/* So does the receipt of what was removed and is still open. */
Test(slices, adding_up_what_has_many_attributes, .timeout = 200)
{
    const struct eng_caller who = {.ref = true};
    char names[20][16];
    struct eng_attr attr;
    struct eng_space space;
    attributed(20, names);
    for (unsigned i = 0; i < 20; i++) {
        MUST(eng_lookup(u.eng, &who, ENG_ROOT_INO, names[i], &attr) == 0);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, names[i]) == 0);
    }
    uint64_t before = atomic_load(&u.eng->looks);
    cr_assert_eq(eng_space(u.eng, &space), 0);
    cr_assert_eq(space.n_orphans, 20);
    cr_assert_geq(atomic_load(&u.eng->looks) - before, 20 * ATTRIBUTES / (4096 + ATTRIBUTES),
                  "no hold of the lock looks at more than 4096, and one inode");
}

static unsigned n_looks;

/* Between two slices others may change the store. */
static void between_looks(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_SEEK_SLICE)
        return;
    n_looks++;
    MUST(eng_setxattr(u.eng, f, "user.x", "y", 1, 0) == 0);
}

Test(slices, seeking, .timeout = 200)
{
    const uint32_t n = 50000;
    uint64_t at = 0;
    fragment(f, n);
    hook_set(u.eng, between_looks, NULL);
    cr_assert_eq(eng_seek(u.eng, f, 5, SEEK_HOLE, &at), 0);
    cr_assert_eq(at, PIECE * n);
    cr_assert_eq(n_looks, n / 4096);
    hook_set(u.eng, NULL, NULL);
    hook_block_extents(u.eng, UINT32_MAX);
    cr_assert_eq(eng_fallocate(u.eng, f, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, PIECE * 30000, 5), 0);
    cr_assert_eq(eng_seek(u.eng, f, PIECE * 3, SEEK_HOLE, &at), 0);
    cr_assert_eq(at, PIECE * 30000);
    cr_assert_eq(eng_seek(u.eng, f, at, SEEK_DATA, &at), 0);
    cr_assert_eq(at, PIECE * 30000 + 5);
    cr_assert_eq(eng_seek(u.eng, f, PIECE * n, SEEK_HOLE, &at), -ENXIO);
}

/* Whoever asks may say how many extents may be looked at, in all slices together. */
Test(slices, seeking_some)
{
    const uint32_t n = 100;
    uint64_t at = 7, looks = n - 1;
    fragment(f, n);
    hook_slice(u.eng, 16);
    cr_assert_eq(eng_seek_some(u.eng, f, 0, SEEK_HOLE, &looks, &at), -EAGAIN);
    cr_assert_eq(looks, 0);
    cr_assert_eq(at, 7);
    looks = n + 10;
    cr_assert_eq(eng_seek_some(u.eng, f, 0, SEEK_HOLE, &looks, &at), 0);
    cr_assert_eq(at, PIECE * n);
    cr_assert_eq(looks, 10);
    cr_assert_eq(eng_seek_some(u.eng, f, 0, SEEK_DATA, &looks, &at), 0);
    cr_assert_eq(looks, 9);
    cr_assert_eq(eng_seek_some(u.eng, f, PIECE * n, SEEK_DATA, &looks, &at), -ENXIO);
    looks = 0;
    cr_assert_eq(eng_seek_some(u.eng, f, 0, SEEK_DATA, &looks, &at), -EAGAIN);
}

/* ---- between two slices ---------------------------------------------------------------------- */

#define N 40u
#define BYTES (N * PIECE)
#define ROOM (4 * BYTES)

static struct seen {
    uint8_t want[ROOM];
    size_t size;
    void (*act)(void);
    unsigned slices;
    bool gone;
} seen;

static void cut(size_t size)
{
    memset(seen.want + size, 0, ROOM - size);
    seen.size = size;
    set_size(size);
}

static void put(size_t off, size_t size)
{
    memset(seen.want + off, 0xee, size);
    seen.size = MAX_OF(seen.size, off + size);
    cr_assert_eq(eng_write(u.eng, f, seen.want + off, size, off), (ssize_t)size);
}

static void grow_a_little(void)
{
    cut(seen.size + PIECE * 4);
}
static void grow_far(void)
{
    cut(BYTES + 100);
}
static void cut_again(void)
{
    cut(seen.size / 2);
}
static void cut_all(void)
{
    cut(0);
}
static void put_at_the_end(void)
{
    put(seen.size, 5);
}
static void put_in_the_tail(void)
{
    put(BYTES / 2, 40);
}
static void put_behind(void)
{
    put(BYTES + 50, 40);
}
static void nothing(void)
{
}

static void append(void)
{
    memset(seen.want + seen.size, 0x55, 7);
    cr_assert_eq(eng_append(u.eng, f, seen.want + seen.size, 7, NULL), 7);
    seen.size += 7;
}

static void allocate(void)
{
    seen.size = BYTES;
    cr_assert_eq(eng_fallocate(u.eng, f, 0, 0, BYTES), 0);
}

static void zero_range(void)
{
    memset(seen.want + 30, 0, BYTES);
    seen.size = MAX_OF(seen.size, 30u + BYTES / 2);
    cr_assert_eq(eng_fallocate(u.eng, f, ENG_FALLOC_ZERO_RANGE, 30, BYTES / 2), 0);
}

static void punch_all(void)
{
    memset(seen.want, 0, ROOM);
    cr_assert_eq(eng_fallocate(u.eng, f, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, ROOM), 0);
}

static void replace(void)
{
    struct eng_record rec = {
        .parent = ENG_ROOT_INO, .name = "f", .content = seen.want, .size = PIECE * 3, .mode = 0644};
    memset(seen.want, 0, ROOM);
    memset(seen.want, 0x77, PIECE * 3);
    seen.size = PIECE * 3;
    cr_assert_eq(eng_put_many(u.eng, &rec, 1), 1);
}

static void compact(void)
{
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
}

static void scrub(void)
{
    struct eng_job_report report;
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &report), 0);
    cr_assert_eq(report.scrub.damaged, 0);
}

static void checkpoint(void)
{
    cr_assert_eq(checkpoint_write(u.eng), 0);
}

static void sync_all(void)
{
    cr_assert_eq(eng_sync(u.eng), 0);
}

static void remove_it(void)
{
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    (void)unit_mkdir(&u, "takes-it-along");
    seen.gone = true;
}

static void expect_seen(struct unit *v, const char *when)
{
    if (seen.gone) {
        cr_assert_eq(unit_lookup(v, "f"), 0, "%s", when);
    } else {
        cr_assert_eq(unit_attr(v, f).size, seen.size, "%s", when);
        cr_assert(unit_holds_bytes(v, f, seen.want, seen.size), "%s", when);
    }
    cr_assert_eq(unit_problems(v), 0, "%s", when);
}

/* What a crash leaves at this moment: the truncation is there whole, and what is left of the tail goes. */
static void expect_after_crash(enum sim_survival mode, const char *when)
{
    struct unit v;
    unit_clone(&v, &u);
    unit_open(&v);
    hook_slice(v.eng, 3);
    expect_seen(&v, when);
    if (!seen.gone) { /* over the tail, before it is freed */
        const struct eng_attr attr = {.size = BYTES};
        cr_assert_eq(eng_setattr(v.eng, f, &attr, ENG_SET_SIZE, NULL), 0);
        uint8_t *want = calloc(1, ROOM);
        memcpy(want, seen.want, MIN_OF(seen.size, (size_t)BYTES));
        cr_assert(unit_holds_bytes(&v, f, want, BYTES), "%s: a hole, not the old bytes", when);
        free(want);
    }
    cr_assert_eq(eng_sync(v.eng), 0);
    for (uint32_t slot = 1; slot < v.eng->idx.inodes.used; slot++)
        cr_assert(!index_slot(&v.eng->idx, slot) || !(index_slot(&v.eng->idx, slot)->flags & INODE_TAIL));
    unit_kill(&v, mode, 1);
    unit_open(&v);
    cr_assert_eq(unit_problems(&v), 0, "%s", when);
    unit_done(&v);
}

static void at_slice(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_TAIL_SLICE)
        return;
    hook_set(u.eng, NULL, NULL);
    seen.slices++;
    expect_seen(&u, "between two slices");
    expect_after_crash(SIM_KEEP_ALL, "after a crash between two slices");
    if (seen.slices == 1) {
        seen.act();
        if (u.eng)
            expect_seen(&u, "after the act");
        expect_after_crash(SIM_KEEP_ALL, "after a crash after the act");
    }
    hook_set(u.eng, at_slice, NULL);
}

static const struct act {
    const char *name;
    void (*run)(void);
} acts[] = {
    {"nothing", nothing},
    {"grow a little", grow_a_little},
    {"grow far", grow_far},
    {"cut again", cut_again},
    {"cut all", cut_all},
    {"write at the end", put_at_the_end},
    {"write in it", put_in_the_tail},
    {"write behind", put_behind},
    {"append", append},
    {"allocate", allocate},
    {"zero range", zero_range},
    {"punch", punch_all},
    {"put_many", replace},
    {"compact", compact},
    {"scrub", scrub},
    {"checkpoint", checkpoint},
    {"sync", sync_all},
    {"unlink", remove_it},
};

static void truncate_against(const struct act *act, size_t size)
{
    unit_done(&u);
    setup();
    seen = (struct seen){.act = act->run};
    fragment(f, N);
    for (unsigned i = 0; i < N; i++)
        memset(seen.want + (size_t)i * PIECE, (int)(1 + i % 251), PIECE);
    seen.size = BYTES;
    hook_slice(u.eng, 3);
    memset(seen.want + size, 0, BYTES - size);
    seen.size = size;
    hook_set(u.eng, at_slice, NULL);
    const struct eng_attr attr = {.size = size};
    int r = eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL);
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(r, 0, "%s", act->name);
    cr_assert_gt(seen.slices, 0, "%s", act->name);
    expect_seen(&u, act->name);
    const struct inode_rec *inode = index_inode(&u.eng->idx, f);
    cr_assert(!inode || !(inode->flags & INODE_TAIL), "%s: nothing is left", act->name);
    expect_after_crash(SIM_DROP_ALL, act->name);
    unit_reopen(&u);
    expect_seen(&u, act->name);
}

Test(slices_seen, others_come_between, .timeout = 200)
{
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        truncate_against(&acts[i], 0);
        truncate_against(&acts[i], PIECE * 7 + 5);
    }
}

/* ---- a tail that cannot be freed ------------------------------------------------------------------ */

static struct eng_io_ops refusing;
static ssize_t (*disk_pwritev)(struct io_file *file, const struct iovec *iov, int n, uint64_t offset);
static bool refuses;

static ssize_t refuse(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    return refuses ? -EIO : disk_pwritev(file, iov, n, offset);
}

static void refuse_the_rest(void *arg, enum fault_point point)
{
    (void)arg;
    refuses = refuses || point == FP_TAIL_SLICE;
}

Test(slices_seen, a_tail_that_cannot_be_freed_is_queued_once, .timeout = 200)
{
    const struct eng_io_ops *plain = simdisk_io(u.disk)->ops;
    char data[PIECE * 10] = {1};
    refusing = *plain;
    disk_pwritev = plain->pwritev;
    refusing.pwritev = refuse;
    simdisk_io(u.disk)->ops = &refusing;
    fragment(f, N);
    hook_slice(u.eng, 3);
    hook_set(u.eng, refuse_the_rest, NULL);
    set_size(0);
    cr_assert(refuses);
    cr_assert_eq(orphans_queued(u.eng), 1);
    for (unsigned i = 0; i < 100; i++) { /* each finds it in the way */
        const struct eng_attr attr = {.size = BYTES};
        cr_assert_eq(eng_write(u.eng, f, data, sizeof data, PIECE), -EIO);
        cr_assert_eq(eng_append(u.eng, f, data, sizeof data, NULL), -EIO);
        cr_assert_eq(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL), -EIO);
        cr_assert_eq(eng_fallocate(u.eng, f, 0, 0, BYTES), -EIO);
    }
    cr_assert_eq(orphans_queued(u.eng), 1, "%zu", orphans_queued(u.eng));
    refuses = false;
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_eq(unit_extents(&u, f), 0);
    cr_assert_eq(orphans_queued(u.eng), 0);
    cr_assert_eq(unit_problems(&u), 0);
    simdisk_io(u.disk)->ops = plain;
}

/* ---- random operations against a plain buffer ---------------------------------------------------- */

static void random_step(uint64_t *rng)
{
    size_t off = (size_t)rng_below(rng, ROOM - 50);
    switch (rng_below(rng, 8)) {
    case 0:
        cut(off);
        break;
    case 1:
        cut(seen.size / 2);
        break;
    case 2:
        punch_all();
        break;
    case 3:
        if (seen.size + 7 <= ROOM)
            append();
        break;
    case 4:
        replace();
        break;
    default:
        put(off, 1 + (size_t)rng_below(rng, 40));
    }
}

Test(slices_seen, random_histories_agree_with_a_buffer, .timeout = 200)
{
    uint64_t rng = test_seed();
    seen = (struct seen){.size = 0};
    hook_slice(u.eng, 2);
    for (unsigned i = 0; i < 4000; i++) {
        random_step(&rng);
        if (i % 50 == 49) {
            MUST(unit_holds_bytes(&u, f, seen.want, seen.size));
            MUST(unit_problems(&u) == 0);
        }
        if (i % 400 == 399) {
            unit_kill(&u, SIM_KEEP_ALL, 0);
            unit_open(&u);
            hook_slice(u.eng, 1 + (uint32_t)rng_below(&rng, 4));
        }
    }
    expect_seen(&u, "at the end");
}

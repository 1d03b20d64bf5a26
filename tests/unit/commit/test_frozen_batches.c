/*
 * test_frozen_batches.c - what one batch copies of the index while a view is frozen, a checkpoint's, say: for
 * so long everybody waits. Chunks that are born in the present period of freezes are counted, from batch to
 * batch. */
#include "hook.h"
#include "inside.h"

#include "must.h"
#include "tree/view.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define FILES 60000u /* in 117 chunks of inodes */
#define MANY 500u
#define MOST 26u
#define FAR 3583u /* from file to file: each is in another chunk than the one before */
#define FARTHER 7177u

static struct unit u;
static struct view *frozen;
static unsigned copied, worst, batches;

static unsigned born_now(void)
{
    unsigned n = 0;
    for (unsigned t = 0; t < INDEX_TABLES; t++) {
        const struct table *table = index_table(&u.eng->idx, t);
        for (uint32_t c = 0; c < table->n_chunks; c++)
            n += table->births[c] == pool_clock(table->pool);
    }
    return n;
}

static void count_batch(void)
{
    unsigned n = born_now();
    worst = MAX_OF(worst, n - copied);
    copied = n;
}

/* What the batch before this one has copied; and what is copied for a batch to come. */
static void look(void *arg, enum fault_point point)
{
    (void)arg;
    if ((point == FP_LOG_WRITTEN && batches++) || point == FP_XATTRS_COPIED)
        count_batch();
}

static const char *name_of(unsigned i)
{
    static _Thread_local char name[16];
    (void)snprintf(name, sizeof name, "%08u", i);
    return name;
}

static void put(unsigned n, unsigned step, size_t size)
{
    static char names[MANY][16];
    static struct eng_record records[MANY];
    for (unsigned i = 0; i < n; i += MANY) {
        for (unsigned k = 0; k < MANY; k++) {
            memcpy(names[k], name_of((i + k) * step % FILES), 16);
            records[k] = (struct eng_record){
                .parent = ENG_ROOT_INO, .name = names[k], .content = "content", .size = size, .mode = 0644};
        }
        MUST(eng_put_many(u.eng, records, MANY) == MANY);
    }
}

static void freeze(void)
{
    MUST(eng_hold(u.eng) == 0 && view_freeze(u.eng, &frozen) == 0);
    copied = worst = batches = 0;
    u.eng->hook.arg = NULL;
    atomic_store(&u.eng->hook.fn, look);
}

static void thaw(void)
{
    atomic_store(&u.eng->hook.fn, NULL);
    count_batch(); /* the last */
    view_thaw(frozen);
    MUST(eng_release(u.eng) == 0 && unit_problems(&u) == 0);
}

static void setup(void)
{
    unit_new(&u, 4 << 20);
    u.opt.relatime = true;
    unit_reopen(&u);
    put(FILES, 1, 7);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(frozen_batches, .init = setup, .fini = teardown, .timeout = 120);

static void expect_few(void)
{
    cr_assert(worst > 10 && worst <= MOST, "%u chunks were copied for one of %u batches", worst, batches);
    cr_assert_geq(copied, 117u);
}

/* An import. */
Test(frozen_batches, records_come_a_few_at_a_time)
{
    freeze();
    put(MANY, FAR, 5);
    thaw();
    expect_few();
}

/* A compaction: what is left of a segment is what was written at random. */
Test(frozen_batches, survivors_are_installed_a_few_at_a_time)
{
    put(FILES, FAR, 6);
    put(FILES / 2, FARTHER, 5);
    MUST(checkpoint_write(u.eng) == 0);
    freeze();
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    thaw();
    expect_few();
}

/* Times of files that were read. */
Test(frozen_batches, times_are_written_a_few_at_a_time)
{
    freeze(); /* which writes all that is pending */
    for (unsigned i = 0; i < MANY; i++)
        eng_accessed(u.eng, unit_lookup(&u, name_of(i * FAR % FILES)));
    atimes_flush(u.eng);
    thaw();
    expect_few();
}

/* Files that were removed while somebody had them open, who lets go of them all at once. */
Test(frozen_batches, orphans_go_a_few_at_a_time)
{
    const struct eng_caller who = {.ref = true};
    static uint64_t inos[MANY];
    struct eng_attr attr;
    for (unsigned i = 0; i < MANY; i++) {
        const char *name = name_of(i * FAR % FILES);
        MUST(eng_lookup(u.eng, &who, ENG_ROOT_INO, name, &attr) == 0);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0);
        inos[i] = attr.ino;
    }
    freeze();
    for (unsigned i = 0; i < MANY; i++)
        MUST(eng_forget(u.eng, inos[i], 1) == 0);
    MUST(commit_orphans(u.eng) == 0);
    thaw();
    expect_few();
    cr_assert_eq(u.eng->idx.n_orphans, 0);
}

/* ---- one file of many extents, or of many attributes ------------------------------------------------- */

#define PIECES 60000u /* in 2,500 leaves or so, in 45 chunks */
#define PIECE 256u
#define ATTRIBUTES 100u /* each in another chunk of names than the one before */
#define NAMES 300u      /* between two of them */
#define MOST_OF_SLICE 22u

static uint64_t file;

static uint32_t extents_of_file(void)
{
    return inode_n_extents(index_inode(&u.eng->idx, file));
}

/* Written in random order, so that neighbours lie in leaves that lie anywhere. */
static void setup_pieces(void)
{
    static const uint8_t data[PIECE] = {1};
    unit_new(&u, 4 << 20);
    file = unit_create(&u, "file");
    hook_block_extents(u.eng, UINT32_MAX);
    for (unsigned i = 0; i < PIECES; i++) {
        uint64_t off = (PIECES - 1 + i * UINT64_C(7919) * 101) % PIECES * PIECE;
        MUST(eng_write(u.eng, file, data, PIECE, off) ==
             PIECE); /* the last first: no append takes others along */
    }
    hook_block_extents(u.eng, 0);
    MUST(extents_of_file() == PIECES);
}

TestSuite(frozen_slices, .init = setup_pieces, .fini = teardown, .timeout = 120);

static void expect_slices(void)
{
    cr_assert(worst >= 5 && worst <= MOST_OF_SLICE, "%u chunks were copied for one of %u batches", worst,
              batches);
    cr_assert_geq(copied, 30, "%u of the chunks in which it lay, in %u batches, %u at most", copied, batches,
                  worst);
}

Test(frozen_slices, a_truncation)
{
    const struct eng_attr attr = {.size = 3};
    freeze();
    cr_assert_eq(eng_setattr(u.eng, file, &attr, ENG_SET_SIZE, NULL), 0);
    thaw();
    expect_slices();
    cr_assert_leq(extents_of_file(), 1, "%u", extents_of_file());
    cr_assert_leq(batches, 2 * PIECES / 128, "and it ends: %u", batches);
}

Test(frozen_slices, a_removal)
{
    freeze();
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "file"), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    thaw();
    expect_slices();
    cr_assert_eq(u.eng->idx.extents.count, 0);
    cr_assert_leq(batches, 2 * PIECES / 128, "and it ends: %u", batches);
}

Test(frozen_slices, a_hole)
{
    freeze();
    cr_assert_eq(eng_fallocate(u.eng, file, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, PIECES * PIECE),
                 0);
    thaw();
    expect_slices();
    cr_assert_leq(extents_of_file(), 1, "%u", extents_of_file());
    cr_assert_leq(batches, 2 * PIECES / 128, "and it ends: %u", batches);
}

/* What is there is written anew in slices, as where it has more than 4,096 extents. */
Test(frozen_slices, what_is_written_over_it)
{
    uint8_t *data = unit_bytes(PIECES * PIECE, 7);
    freeze();
    cr_assert_eq(eng_write(u.eng, file, data, PIECES * PIECE, 0), (ssize_t)(PIECES * PIECE));
    thaw();
    expect_slices();
    cr_assert(unit_holds_bytes(&u, file, data, PIECES * PIECE));
    free(data);
}

/* Another who makes the file grow, in between, over a part of what a truncation has left. */
static unsigned grown;

static void grow(void *arg, enum fault_point point)
{
    static const uint8_t data[BLOCK_SIZE] = {7};
    look(arg, point);
    if (point != FP_TAIL_SLICE || grown++)
        return;
    cr_assert_eq(eng_write(u.eng, file, data, BLOCK_SIZE, 200 * PIECE), BLOCK_SIZE);
    cr_assert_eq(extents_of_file(), 1, "what was left is freed before, not with it: %u", extents_of_file());
}

Test(frozen_slices, what_grows_over_a_tail)
{
    const struct eng_attr attr = {.size = 0};
    static uint8_t want[200 * PIECE + BLOCK_SIZE];
    want[200 * PIECE] = 7;
    freeze();
    hook_set(u.eng, grow, NULL);
    cr_assert_eq(eng_setattr(u.eng, file, &attr, ENG_SET_SIZE, NULL), 0);
    thaw();
    expect_slices();
    cr_assert(unit_holds_bytes(&u, file, want, sizeof want));
}

static void setup_attributes(void)
{
    static char names[NAMES][256];
    struct eng_record records[NAMES];
    char name[256], value[60] = {1};
    unit_new(&u, 4 << 20);
    file = unit_create(&u, "file");
    for (unsigned i = 0; i < ATTRIBUTES; i++) {
        for (unsigned k = 0; k < NAMES; k++) {
            (void)snprintf(names[k], sizeof names[k], "%0240u", i * NAMES + k);
            records[k] = (struct eng_record){.parent = ENG_ROOT_INO, .name = names[k], .mode = 0644};
        }
        MUST(eng_put_many(u.eng, records, NAMES) == NAMES);
        (void)snprintf(name, sizeof name, "user.%0200u", i); /* too long for what names leave of a chunk */
        MUST(eng_setxattr(u.eng, file, name, value, sizeof value, 0) == 0);
    }
}

TestSuite(frozen_attributes, .init = setup_attributes, .fini = teardown, .timeout = 120);

Test(frozen_attributes, go_with_their_file_a_few_at_a_time)
{
    freeze();
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "file"), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    thaw();
    expect_slices();
    cr_assert_eq(u.eng->idx.n_orphans, 0);
    cr_assert_eq(u.eng->idx.s.n_files, ATTRIBUTES * NAMES);
}

/* A record that replaces the file takes them out in one batch, but their chunks were copied before. */
Test(frozen_attributes, are_replaced_when_they_were_copied)
{
    struct eng_record record = {
        .parent = ENG_ROOT_INO, .name = "file", .content = "new", .size = 3, .mode = 0644};
    freeze();
    cr_assert_eq(eng_put_many(u.eng, &record, 1), 1);
    thaw();
    expect_slices();
    cr_assert_eq(eng_listxattr(u.eng, file, NULL, 0), 0);
}

/* What is copied the next checkpoint has to write. */
Test(frozen_attributes, are_not_copied_on_a_full_disk)
{
    struct eng_record record = {
        .parent = ENG_ROOT_INO, .name = "file", .content = "new", .size = 3, .mode = 0644};
    MUST(checkpoint_write(u.eng) == 0);
    simdisk_limit(u.disk, simdisk_used(u.disk));
    reserve_set_short(u.eng);
    freeze();
    cr_assert_eq(eng_put_many(u.eng, &record, 1), -ENOSPC);
    cr_assert_eq(u.eng->idx.names.cells.n_changed, 0);
    simdisk_limit(u.disk, 0);
    thaw();
}

/*
 * test_refused_removals.c - on a full disk removals leave what the next checkpoint needs, also where the disk
 * does not tell its space; those that are refused begin no compaction each. */
#include "inside.h"

#include "hook.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define N_FILES 20000u
#define N_REFUSED 2000u
/* What the disk has besides the image of the index, when the removals begin. */
#define BESIDE (UINT64_C(600) << 10)

static struct unit u;

static void setup(void)
{
    unit_new(&u, 0);
}

static void teardown(void)
{
    simdisk_fail_always(u.disk, SIM_SPACE, 0);
    simdisk_tell_space(u.disk, SIM_TELLS_TRUTH);
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(refused_removals, .init = setup, .fini = teardown, .timeout = 60);

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    return name;
}

/* No garbage, no reserve, and little room: with that much free a checkpoint fits, and some removals. */
static void make_full(void)
{
    for (unsigned i = 0; i < N_FILES; i++)
        cr_assert_eq(eng_create(u.eng, NULL, 1, name_of(i), S_IFREG | 0600, 0, NULL, NULL), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_spend_reserve(&u);
    simdisk_limit(u.disk, simdisk_used(u.disk) + reserve_for_checkpoint(u.eng) + BESIDE);
}

static uint64_t compactions(void)
{
    struct eng_stats stats = unit_stats(&u);
    return stats.compactions_ok + stats.compactions_failed;
}

/* The nth that is removed: from all parts of the index, so that none of it becomes empty. */
static const char *nth_removed(unsigned n)
{
    return name_of(n * 7919 % N_FILES);
}

/* Removes until that is refused; how many were removed. */
static unsigned remove_until_refused(void)
{
    unsigned n = 0;
    int r = 0;
    while (n < N_FILES && (r = eng_unlink(u.eng, 1, nth_removed(n))) == 0)
        n++;
    cr_assert_lt(n, N_FILES);
    cr_assert_eq(r, -ENOSPC, "%d", r);
    return n;
}

static struct eng_io_ops ops;
static const struct eng_io_ops *disk_ops;

static int open_no_image(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    return (flags & IO_CREATE) && name[0] == 'c' && name[1] == '0'
               ? -ENOSPC
               : disk_ops->open(io, name, flags, ret_file);
}

/* Without checkpoints nothing of the log is garbage, so that compactions are in vain. */
static void refuse_checkpoints(bool on)
{
    struct eng_io *io = simdisk_io(u.disk);
    if (on) {
        disk_ops = io->ops;
        ops = *disk_ops;
        ops.open = open_no_image;
    }
    io->ops = on ? &ops : disk_ops;
}

/* The disk is full, and others take what is given back: a segment that is emptied waits for a mark, which
 * needs a block. */
Test(refused_removals, a_mark_leaves_the_reserve_to_removals)
{
    uint8_t block[4096] = {1};
    for (unsigned i = 0; i < 400; i++)
        unit_file(&u, name_of(i), 3000, i);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(checkpoint_write(u.eng), 0);
        unit_create(&u, i ? "x" : "y");
    }
    uint64_t last = unit_file(&u, "last", 100, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    simdisk_limit(u.disk, simdisk_used(u.disk));
    while (eng_write(u.eng, last, block, sizeof block, 0) > 0)
        ;
    for (unsigned i = 0; i < 160; i++) {
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0, "%u", i);
        if (i % 40 == 39) {
            cr_assert_eq(eng_sync(u.eng), 0);
            simdisk_limit(u.disk, simdisk_used(u.disk));
            cr_assert_geq(retire_segments(u.eng), 0);
            simdisk_limit(u.disk, simdisk_used(u.disk));
        }
    }
    simdisk_limit(u.disk, 0);
}

Test(refused_removals, each_begins_no_compaction)
{
    make_full();
    refuse_checkpoints(true);
    unsigned n = remove_until_refused();
    uint64_t runs = compactions(), seq = unit_stats(&u).log_seq, start = mono_ns();
    cr_assert_gt(runs, 1, "a removal makes room, too");
    for (unsigned i = 0; i < N_REFUSED; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, nth_removed(n + i % 7)), -ENOSPC, "%u", i);
    uint64_t allowed = 1 + (mono_ns() - start) / MARKS_RETRY_NS;
    runs = compactions() - runs;
    cr_assert_eq(unit_stats(&u).log_seq, seq);
    cr_assert_leq(runs, allowed, "%llu compactions in vain for %u refused removals", (unsigned long long)runs,
                  N_REFUSED);
    refuse_checkpoints(false);
    cr_assert_eq(checkpoint_write(u.eng), 0);
}

/* ---- what a removal changes of the index --------------------------------------------------------- */

#define N_OPEN 100u
#define N_FULL 5000u /* files with content */

static unsigned scattered(unsigned i, unsigned n)
{
    return (i * 7919 + 1) % n;
}

/* Two checkpoints of the whole, and `room` bytes beside them: neither a reserve nor anything to compact. */
static void leave_only(struct unit *unit, uint64_t room)
{
    cr_assert_eq(checkpoint_write(unit->eng), 0);
    cr_assert_eq(checkpoint_write(unit->eng), 0);
    (void)retire_segments(unit->eng);
    unit_spend_reserve(unit);
    reserve_set_short(unit->eng);
    simdisk_limit(unit->disk, simdisk_used(unit->disk) + room);
    cr_assert_eq(eng_hold(unit->eng), 0);
}

static void make_files(unsigned n, size_t size)
{
    for (unsigned i = 0; i < n; i++)
        (void)unit_file(&u, name_of(i), size, i);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
}

/* Has a checkpoint with deltas of nearly half of each chunk: with one unit more the next writes an image. */
static void make_deltas_long(struct eng *eng)
{
    cr_assert_eq(checkpoint_write(eng), 0);
    for (unsigned i = 0; i < INDEX_TABLES_PLAIN; i++) {
        struct table *t = index_table(&eng->idx, i);
        uint32_t step = 2 * MAX_OF(TABLE_UNIT / t->record_size, 1u);
        uint32_t last = (TABLE_UNITS - 2) * TABLE_UNIT / t->record_size;
        for (uint32_t c = 0; c + 1 < t->n_chunks; c++)
            for (uint32_t k = step / 2; k < last; k += step)
                (void)table_mut(t, (c << t->chunk_shift) + k);
    }
    cr_assert_eq(checkpoint_write(eng), 0);
}

/* However much room there is: what a removal is let do leaves enough for a checkpoint of what it changed. */
Test(refused_removals, each_leaves_room_for_what_it_changes)
{
    unsigned n = 0;
    make_files(N_FULL, BLOCK_SIZE);
    make_deltas_long(u.eng);
    for (uint64_t room = UINT64_C(256) << 10; room <= UINT64_C(4) << 20; room += UINT64_C(128) << 10) {
        struct unit copy;
        unit_clone(&copy, &u);
        unit_open(&copy);
        leave_only(&copy, room);
        for (unsigned i = 0; i < 8; i++)
            n += eng_unlink(copy.eng, 1, name_of(scattered(i, N_FULL))) == 0;
        int r = checkpoint_write(copy.eng);
        cr_expect_eq(r, 0, "%d with %llu bytes, after %u removals", r, (unsigned long long)room, n);
        (void)eng_release(copy.eng);
        simdisk_limit(copy.disk, 0);
        unit_done(&copy);
    }
    cr_expect_gt(n, 40, "%u were removed", n);
}

/* Files that were removed while they were open are freed many in a batch: each changes a place of its own. */
static void free_many(uint64_t room)
{
    uint64_t inos[N_OPEN];
    make_files(N_FILES, 0);
    for (unsigned i = 0; i < N_OPEN; i++) {
        struct eng_attr attr;
        const struct eng_caller who = {.ref = true};
        cr_assert_eq(eng_lookup(u.eng, &who, 1, name_of(scattered(i, N_FILES)), &attr), 0);
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(scattered(i, N_FILES))), 0);
        inos[i] = attr.ino;
    }
    leave_only(&u, room);
    for (unsigned i = 0; i < N_OPEN; i++)
        cr_assert_eq(eng_forget(u.eng, inos[i], 1), 0);
    for (unsigned i = 0; i < 8; i++)
        (void)eng_tick(u.eng);
    size_t left = orphans_queued(u.eng);
    int r = checkpoint_write(u.eng);
    cr_expect_eq(r, 0, "%d, with %zu left", r, left);
    cr_expect_lt(left, N_OPEN, "none was freed");
    cr_assert_eq(eng_release(u.eng), 0);
    simdisk_limit(u.disk, 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_expect_eq(orphans_queued(u.eng), 0);
}

Test(refused_removals, freeing_many_leaves_room_for_what_they_change)
{
    free_many(UINT64_C(1) << 20);
}

/* The next removal, while a checkpoint is under way. */
struct beside {
    const char *name;
    unsigned times;
    int result;
};

static void remove_beside(void *arg, enum fault_point point)
{
    struct beside *beside = arg;
    if (point != FP_CHECKPOINT_FROZEN || beside->times++)
        return;
    beside->result = eng_unlink(u.eng, 1, beside->name);
}

/* What a checkpoint under way has taken over may come back, and has to be written in any case. */
Test(refused_removals, a_checkpoint_under_way_needs_its_room)
{
    make_full();
    cr_assert_eq(eng_hold(u.eng), 0);
    reserve_set_short(u.eng);
    struct beside beside = {.name = nth_removed(remove_until_refused()), .result = 1};
    hook_set(u.eng, remove_beside, &beside);
    cr_assert_eq(checkpoint_write(u.eng), 0, "%s", u.last_warning);
    hook_set(u.eng, NULL, NULL);
    cr_expect_eq(beside.times, 1);
    cr_expect_eq(beside.result, -ENOSPC, "%d", beside.result);
    cr_assert_eq(eng_release(u.eng), 0);
    simdisk_limit(u.disk, 0);
}

/* ---- a disk that does not tell its space ------------------------------------------------------- */

static void fail(bool on)
{
    simdisk_fail_always(u.disk, SIM_SPACE, on ? EIO : 0);
}

/* As file systems do that know nothing of blocks. */
static void hide(bool on)
{
    simdisk_tell_space(u.disk, on ? SIM_TELLS_NOTHING : SIM_TELLS_TRUTH);
}

/* As where a quota is met. */
static void boast(bool on)
{
    simdisk_tell_space(u.disk, on ? SIM_TELLS_PLENTY : SIM_TELLS_TRUTH);
}

static void tell(bool on)
{
    (void)on;
}

static void leave_room_for_a_checkpoint(void (*silence)(bool on))
{
    make_full();
    cr_assert_eq(eng_hold(u.eng), 0); /* no compaction helps */
    silence(true);
    reserve_set_short(u.eng);
    unsigned n = remove_until_refused();
    cr_assert_gt(n, 100, "%u were removed", n);
    cr_assert_eq(checkpoint_write(u.eng), 0, "after %u removals: %s", n, u.last_warning);
    cr_assert_eq(eng_release(u.eng), 0);
    simdisk_limit(u.disk, 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_not(reserve_is_short(u.eng));
    cr_assert_eq(eng_unlink(u.eng, 1, nth_removed(n)), 0);
    unit_file(&u, "after", 6000, 7);
    cr_assert_eq(eng_sync(u.eng), 0);
    silence(false);
}

Test(refused_removals, room_for_a_checkpoint_is_left_where_the_disk_cannot_be_asked)
{
    leave_room_for_a_checkpoint(fail);
}

Test(refused_removals, room_for_a_checkpoint_is_left)
{
    leave_room_for_a_checkpoint(tell);
}

Test(refused_removals, where_it_says_nothing)
{
    leave_room_for_a_checkpoint(hide);
}

Test(refused_removals, where_it_says_that_there_is_plenty)
{
    leave_room_for_a_checkpoint(boast);
}

/* What it does not tell is no full disk. */
static void can_be_used(void (*silence)(bool on))
{
    silence(true);
    unit_reopen(&u);
    for (unsigned i = 0; i < 100; i++)
        unit_file(&u, name_of(i), 6000, i);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_not(reserve_is_short(u.eng));
    cr_assert_geq(unit_stats(&u).reserve_bytes, 1 << 20, "set aside all the same");
    silence(false);
}

Test(refused_removals, a_disk_that_cannot_be_asked_can_be_used)
{
    can_be_used(fail);
}

Test(refused_removals, and_one_that_says_nothing)
{
    can_be_used(hide);
}

/* Nor can it set anything aside, and all the same nothing is refused that it takes. */
Test(refused_removals, without_preallocation_removing_goes_on)
{
    unit_file(&u, "a", 6000, 1);
    simdisk_tell_space(u.disk, SIM_TELLS_NOTHING);
    simdisk_fail_always(u.disk, SIM_ALLOCATE, EOPNOTSUPP);
    unit_reopen(&u);
    reserve_set_short(u.eng);
    cr_assert_eq(eng_unlink(u.eng, 1, "a"), 0);
    unit_file(&u, "b", 6000, 2);
    simdisk_fail_always(u.disk, SIM_ALLOCATE, 0);
}

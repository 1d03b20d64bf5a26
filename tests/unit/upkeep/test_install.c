/*
 * test_install.c - the second thread of a compaction: one output segment is installed and retired by it
 * while the next is filled. In many orders of the two, with failing calls, cancelled, while held. */
#include "hook.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define FILES 14
#define SIZE 30000u

static struct unit u;
static uint64_t inos[FILES];

/* Survivors for six segments, garbage between them. */
static void setup(void)
{
    unit_new(&u, 0);
    for (int i = 0; i < FILES; i++) {
        inos[i] = unit_file(&u, (char[]){(char)('a' + i), 0}, SIZE, (uint64_t)i);
        unit_file(&u, "garbage", 9000, 0);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "garbage"), 0);
    }
    u.eng->installs_beside = true;
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(install, .init = setup, .fini = teardown, .timeout = 120);

static void expect_all(void)
{
    for (int i = 0; i < FILES; i++)
        cr_assert(unit_holds(&u, inos[i], SIZE, (uint64_t)i), "file %d", i);
}

static void expect_no_file_without_an_owner(void)
{
    cr_assert_eq(unit_files(&u, ".seg", NULL), unit_stats(&u).segments);
}

/* ---- turns ---------------------------------------------------------------- */

Test(install, any_order_of_the_two_moves_everything)
{
    struct unit whole = u;
    unit_close(&whole);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct eng_job_report rep;
        unit_clone(&u, &whole);
        unit_open(&u);
        uint64_t given = schedules_given();
        struct schedule *s = schedule_new(u.eng, seed);
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
        cr_assert_geq(schedules_given() - given, 5, "checkpoints, and an output segment each");
        cr_assert_leq(rep.compact.fragmentation_after, 0.01);
        cr_assert_eq(rep.done, rep.total);
        cr_assert_eq(rep.compact.extents_moved, FILES);
        expect_all();
        cr_assert_eq(unit_problems(&u), 0);
        expect_no_file_without_an_owner();
        unit_kill(&u, SIM_DROP_ALL, seed); /* what it returned from is durable */
        schedule_free(s);
        unit_open(&u);
        expect_all();
        unit_done(&u);
    }
    u = whole;
}

/* ---- nothing to move --------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool awaited; /* protected by lock */

static void begin_when_awaited(void *arg, enum fault_point point)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    if (point == FP_INSTALLER_AWAITED) {
        awaited = true;
        pthread_cond_broadcast(&changed);
    }
    while (point == FP_INSTALLER_RUNS && !awaited)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

/* Their metadata must age, which is the installer's work, before they may go (I4). */
Test(install, empty_segments_go_although_nothing_has_to_be_moved)
{
    struct eng_job_report rep;
    for (int i = 0; i < FILES; i++)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, (char[]){(char)('a' + i), 0}), 0);
    cr_assert_eq(unit_stats(&u).live_bytes, 0);
    cr_assert_gt(unit_stats(&u).total_bytes, FILES * SIZE / 2);
    hook_set(u.eng, begin_when_awaited, NULL);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.fragmentation_after, 0);
    cr_assert_gt(rep.compact.bytes_reclaimed, FILES * SIZE / 2);
}

/* ---- failing calls -------------------------------------------------------------- */

/* False: there was no such call. */
static bool fail_call(const struct unit *whole, uint64_t nth, int error)
{
    struct eng_job_report rep;
    unit_clone(&u, whole);
    unit_open(&u);
    struct schedule *s = schedule_new(u.eng, nth);
    uint64_t before = simdisk_calls(u.disk, false);
    simdisk_fail(u.disk, SIM_ANY_CALL, nth, error);
    int r = eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep);
    simdisk_fail(u.disk, SIM_ANY_CALL, 0, 0);
    bool struck = simdisk_calls(u.disk, false) - before >= nth;
    cr_assert_eq(rep.error, r);
    expect_all();
    if (is_read_only(u.eng)) { /* a flush failed (I11) */
        unit_kill(&u, SIM_KEEP_ALL, 0);
        schedule_free(s);
        unit_open(&u);
        s = schedule_new(u.eng, nth);
    }
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0, "it can be tried again");
    cr_assert_leq(rep.compact.fragmentation_after, 0.01);
    unit_kill(&u, SIM_DROP_ALL, 0);
    schedule_free(s);
    unit_open(&u);
    expect_all();
    expect_no_file_without_an_owner(); /* not even where unlinking failed */
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
    return struck;
}

Test(install, any_call_of_either_may_fail)
{
    static const int errors[] = {EIO, ENOSPC};
    struct unit whole = u;
    unit_close(&whole);
    for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
        uint64_t n = 1;
        while (fail_call(&whole, n, errors[e]))
            n++;
        cr_assert_gt(n, 40);
    }
    u = whole;
}

/* Splits two files, once, and lets the n-th write from then on fail. */
static void split_when_copied(void *arg, enum fault_point point)
{
    uint64_t *nth = arg;
    if (point != FP_COMPACT_COPIED || !*nth)
        return;
    for (int i = FILES - 2; i < FILES; i++)
        unit_write(&u, inos[i], 10, 1000, 4000);
    simdisk_fail(u.disk, SIM_PWRITEV, *nth, EIO);
    *nth = 0;
}

/* A second round, for what was split meanwhile, goes on in an output segment that is in use already. */
Test(install, a_failure_drops_no_copy_that_was_installed)
{
    struct unit whole = u;
    uint8_t *want = unit_bytes(SIZE, FILES - 1), *part = unit_bytes(10, 1000);
    memcpy(want + 4000, part, 10);
    unit_close(&whole);
    bool struck = true; /* a summary that cannot be written is no failure */
    for (uint64_t nth = 1; struck; nth++) {
        uint64_t left = nth;
        unit_clone(&u, &whole);
        unit_open(&u);
        hook_set(u.eng, split_when_copied, &left);
        (void)eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL);
        struck = !simdisk_fault_waits(u.disk);
        simdisk_fail(u.disk, SIM_PWRITEV, 0, 0);
        for (int i = 0; i < FILES - 2; i++)
            cr_assert(unit_holds(&u, inos[i], SIZE, (uint64_t)i), "file %d, call %llu", i,
                      (unsigned long long)nth);
        cr_assert_eq(left, 0);
        cr_assert(unit_holds_bytes(&u, inos[FILES - 1], want, SIZE));
        cr_assert_eq(unit_problems(&u), 0);
        unit_done(&u);
    }
    free(want);
    free(part);
    u = whole;
}

/* ---- cancelled, and while held ------------------------------------------------------ */

static unsigned cancel_at, given; /* the n-th handing over; so many were there. Of the compaction's thread */

static void cancel_when_given(void *arg, enum fault_point point)
{
    struct unit *unit = arg;
    if (point != FP_INSTALLER_GIVEN || given++ != cancel_at)
        return;
    cr_assert_eq(eng_job_cancel(unit->eng, ENG_JOB_COMPACT), 0);
}

Test(install, cancelling_installs_what_was_handed_over_and_drops_the_rest)
{
    struct unit whole = u;
    unit_close(&whole);
    for (cancel_at = 0; cancel_at < 4; cancel_at++) {
        struct eng_job_report rep;
        unit_clone(&u, &whole);
        unit_open(&u);
        u.eng->installs_beside = true;
        given = 0;
        hook_set(u.eng, cancel_when_given, &u);
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), -ECANCELED);
        cr_assert_leq(given, cancel_at + 2, "the one being filled, and no other");
        cr_assert_geq(rep.compact.extents_moved, given - 1, "what was handed over is installed");
        cr_assert_lt(rep.compact.extents_moved, FILES);
        expect_no_file_without_an_owner();
        expect_all();
        hook_set(u.eng, NULL, NULL);
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
        cr_assert_leq(rep.compact.fragmentation_after, 0.01);
        unit_kill(&u, SIM_DROP_ALL, 0);
        unit_open(&u);
        expect_all();
        unit_done(&u);
    }
    u = whole;
}

Test(install, while_the_store_is_held_no_copy_is_dropped_either)
{
    unsigned before = unit_files(&u, ".seg", NULL), unneeded = 0;
    bool struck = true;
    struct schedule *s = schedule_new(u.eng, 1);
    cr_assert_eq(eng_sync(u.eng), 0); /* the log's second copy has all: what fails is the compaction's */
    cr_assert_eq(eng_hold(u.eng), 0);
    for (uint64_t nth = 2; struck; nth++) { /* the first may be one that nothing hangs on */
        simdisk_fail(u.disk, SIM_PWRITEV, nth, EIO);
        (void)eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL);
        struck = !simdisk_fault_waits(u.disk);
        simdisk_fail(u.disk, SIM_PWRITEV, 0, 0);
        unsigned after = unit_files(&u, ".seg", NULL);
        cr_assert_geq(after, before);
        unneeded += after > unit_stats(&u).segments;
        before = after;
    }
    cr_assert_gt(unneeded, 0);
    cr_assert_eq(eng_release(u.eng), 0);
    expect_no_file_without_an_owner(); /* what was given up goes when the hold ends, not when the store is
                                          opened */
    unit_reopen(&u);
    schedule_free(s);
    expect_no_file_without_an_owner();
    expect_all();
}

/*
 * test_compact_interleave.c - what interleaves with a compaction: changes of what it
 * has just copied, readers, a second compaction, a cancel, failing calls. */
#include "compact_files.h"
#include "hook.h"

#include "upkeep/runner.h"

TestSuite(compact_interleave, .init = setup, .fini = teardown);

static enum fault_point interleave_at;
static void (*other)(void);

static void on_fault(void *arg, enum fault_point point)
{
    (void)arg;
    void (*fn)(void) = other;
    if (point != interleave_at || !fn)
        return;
    other = NULL; /* once */
    fn();
}

static void compact_interleaved(enum fault_point point, void (*fn)(void), int expect,
                                struct eng_job_report *ret_rep)
{
    hook_set(u.eng, on_fault, NULL);
    interleave_at = point;
    other = fn;
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, ret_rep), expect);
    cr_assert_null(other, "it came by");
}

static void change_things(void)
{
    struct eng_attr attr = {.size = 1000};
    char grown[] = "grown";
    unit_write(&u, inos[1], size_of(1), 101, 0);                                       /* overwrite */
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "d"), 0);                             /* inos[3] */
    cr_assert_eq(eng_setattr(u.eng, inos[9], &attr, ENG_SET_SIZE, NULL), 0);           /* truncate */
    cr_assert_eq(eng_append(u.eng, inos[5], grown, 5, NULL), 5);                       /* append */
    unit_write(&u, inos[11], 10, 111, 4000);                                           /* split */
    cr_assert_eq(eng_setxattr(u.eng, inos[7], "user.confidence", "0.5", 3, 0), 0);     /* another field */
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "p", ENG_ROOT_INO, "z", 0), 0); /* inos[15] */
}

static void expect_changed(void)
{
    uint8_t *five = unit_bytes(size_of(5) + 8, 5), *eleven = unit_bytes(size_of(11), 11),
            *ten = unit_bytes(10, 111);
    memcpy(five + size_of(5), "grown", 5);
    memcpy(eleven + 4000, ten, 10);
    cr_assert(unit_holds(&u, inos[1], size_of(1), 101), "the overwrite wins, not the old content");
    cr_assert_eq(unit_lookup(&u, "d"), 0);
    uint8_t *nine = unit_bytes(size_of(9), 9);
    cr_assert(unit_holds_bytes(&u, inos[9], nine, 1000));
    cr_assert(unit_holds_bytes(&u, inos[5], five, size_of(5) + 5), "no append is lost");
    cr_assert(unit_holds_bytes(&u, inos[11], eleven, size_of(11)));
    char value[4];
    cr_assert_eq(eng_getxattr(u.eng, inos[7], "user.confidence", value, 4), 3);
    cr_assert(unit_holds(&u, inos[7], size_of(7), 7));
    cr_assert_eq(unit_lookup(&u, "z"), inos[15]);
    cr_assert_eq(unit_problems(&u), 0);
    free(nine);
    free(five);
    free(eleven);
    free(ten);
}

Test(compact_interleave, what_changes_while_it_is_copied_keeps_the_change)
{
    static const enum fault_point points[] = {FP_COMPACT_READ, FP_COMPACT_COPIED, FP_COMPACT_INSTALLED};
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        struct eng_job_report rep;
        if (i) {
            unit_done(&u);
            setup();
        }
        compact_interleaved(points[i], change_things, 0, &rep);
        cr_assert_eq(rep.compact.extents_damaged, 0);
        cr_assert(points[i] != FP_COMPACT_COPIED || rep.compact.extents_lost >= 3);
        expect_changed();
        unit_kill(&u, SIM_KEEP_ALL, 0);
        unit_open(&u);
        expect_changed();
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
        cr_assert_leq(rep.compact.fragmentation_after, 0.01);
        expect_changed();
    }
}

/* ---- what salvage makes of it ---------------------------------------------------------- */

/* For salvage: the pieces of each file, of two that overlap the younger. */
static struct salvaged {
    uint8_t bytes[64 << 10];
    uint64_t seq[64 << 10];
} salvaged[N_FILES];

static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg;
    for (int i = 0; i < N_FILES; i++)
        for (uint64_t b = 0; piece->ino == inos[i] && b < piece->size; b++) {
            uint64_t at = piece->offset + b;
            if (piece->seq < salvaged[i].seq[at])
                continue;
            salvaged[i].seq[at] = piece->seq;
            salvaged[i].bytes[at] = ((const uint8_t *)data)[b];
        }
    return 0;
}

static void overwrite_odd(void)
{
    for (int i = 1; i < N_FILES; i += 4)
        unit_write(&u, inos[i], size_of(i), 100 + (uint64_t)i, 0);
    for (int i = 0; i < 5; i++) /* whatever date the copies have now, it is a later one */
        unit_write(&u, inos[0], 1, 0, 0);
}

static void note_checkpoint(void *arg, const char *name, uint64_t size)
{
    (void)size;
    if (strstr(name, ".ckp") || strstr(name, ".cpy"))
        (void)snprintf(arg, 64, "%s", name);
}

static void salvage_all(void)
{
    char name[64];
    memset(salvaged, 0, sizeof salvaged);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    for (;;) {
        name[0] = 0;
        simdisk_each(u.disk, note_checkpoint, name);
        if (!name[0])
            break;
        cr_assert_eq(simdisk_remove(u.disk, name), 0);
    }
    u.opt.read_only = u.opt.salvage = true;
    unit_open(&u);
    cr_assert_eq(u.eng->lost_after, 0, "nothing is left but what describes itself");
    cr_assert_eq(eng_lost(u.eng, take_piece, NULL), 0);
}

Test(compact_interleave, a_copy_is_older_than_what_overwrites_it)
{
    static const enum fault_point points[] = {FP_COMPACT_READ, FP_COMPACT_COPIED, FP_COMPACT_INSTALLED};
    for (size_t p = 0; p < ARRAY_LEN(points); p++) {
        if (p) {
            unit_done(&u);
            setup();
        }
        compact_interleaved(points[p], overwrite_odd, 0, NULL);
        salvage_all();
        for (int i = 1; i < N_FILES; i += 2) {
            uint8_t *expect = unit_bytes(size_of(i), (uint64_t)(i % 4 == 1 ? 100 + i : i));
            cr_assert_eq(memcmp(salvaged[i].bytes, expect, size_of(i)), 0, "point %zu, file %d", p, i);
            free(expect);
        }
    }
}

static void read_all(void)
{
    for (int i = 0; i < N_FILES; i++)
        cr_assert(unit_holds(&u, inos[i], size_of(i), (uint64_t)i), "file %d", i);
}

Test(compact_interleave, every_file_is_readable_at_each_of_its_points)
{
    for (enum fault_point point = FP_COMPACT_COPIED; point < FP_COUNT; point++) {
        if ((point >= FP_READ_COLLECTED && point <= FP_DIFF_SLICE) ||
            (point >= FP_INSTALLER_AWAITED && point <= FP_INSTALLER_RUNS))
            continue; /* points of readers, of writers, and of a second thread */
        unit_done(&u);
        setup();
        compact_interleaved(point, read_all, 0, NULL);
        expect_all();
    }
}

static void ask_again(void)
{
    struct eng_maintenance_report rep;
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, NULL, NULL), -EBUSY);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), -EBUSY);
    cr_assert_eq(eng_run_maintenance(u.eng, &rep), -EBUSY);
    struct eng_job_report now;
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &now), 0);
    cr_assert_eq(now.state, ENG_JOB_RUNNING);
    cr_assert_gt(now.compact.bytes_moved, 0);
}

Test(compact_interleave, only_one_at_a_time)
{
    compact_interleaved(FP_COMPACT_COPIED, ask_again, 0, NULL);
    cr_assert_eq(unit_stats(&u).compactions_ok, 1);
    expect_all();
}

static void cancel(void)
{
    cr_assert_eq(eng_job_cancel(u.eng, ENG_JOB_COMPACT), 0);
}

Test(compact_interleave, cancelling_leaves_a_sound_store_and_nothing_behind)
{
    static const enum fault_point points[] = {FP_COMPACT_READ, FP_COMPACT_COPIED, FP_COMPACT_INSTALLED};
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        struct eng_job_report rep;
        for (int big = 0; big < 12; big++) { /* more than one output segment */
            uint64_t ino = unit_file(&u, (char[]){(char)('A' + big), (char)('A' + i), 0}, 200000, 1);
            unit_write(&u, ino, 10, 2, 0);
        }
        uint64_t live = unit_stats(&u).live_bytes;
        compact_interleaved(points[i], cancel, -ECANCELED, &rep);
        cr_assert_eq(rep.state, ENG_JOB_CANCELLED);
        cr_assert_eq(rep.error, -ECANCELED);
        cr_assert_eq(unit_stats(&u).compactions_cancelled, i + 1);
        cr_assert_str_eq(unit_stats(&u).last_error, "", "asked for, so not an error");
        cr_assert_eq(unit_stats(&u).live_bytes, live);
        cr_assert_eq(unit_files(&u, ".seg", NULL), unit_stats(&u).segments, "no file without an owner");
        cr_assert_eq(eng_job_cancel(u.eng, ENG_JOB_COMPACT), -ESRCH);
        expect_all();
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
        cr_assert_leq(rep.compact.fragmentation_after, 0.01);
        expect_all();
    }
}

/* ---- failing calls -------------------------------------------------------------------------- */

/* Fails call number `nth` of that kind; what is there afterwards must be all. False: there was no such
 * call. */
static bool fail_call(enum sim_call call, uint64_t nth, int error)
{
    struct eng_job_report rep;
    struct unit whole = u;
    unit_clone(&u, &whole);
    unit_open(&u);
    uint64_t before = call == SIM_PREAD ? simdisk_calls_of(u.disk, SIM_PREAD) : simdisk_calls(u.disk, false);
    simdisk_fail(u.disk, call, nth, error);
    int r = eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep);
    simdisk_fail(u.disk, call, 0, 0);
    uint64_t after = call == SIM_PREAD ? simdisk_calls_of(u.disk, SIM_PREAD) : simdisk_calls(u.disk, false);
    cr_assert_eq(rep.error, r);
    cr_assert_eq(rep.state, r ? ENG_JOB_FAILED : ENG_JOB_DONE);
    if (r)
        cr_assert_neq(rep.error_text[0], 0);
    read_all();
    if (is_read_only(u.eng)) { /* a flush failed (I11) */
        cr_assert_neq(unit_stats(&u).read_only_reason[0], 0);
        unit_kill(&u, SIM_KEEP_ALL, 0);
        unit_open(&u);
    }
    expect_all();
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0, "it can be tried again");
    cr_assert_leq(rep.compact.fragmentation_after, 0.01);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_all();
    unit_done(&u);
    u = whole;
    return after - before >= nth;
}

Test(compact_interleave, any_call_may_fail)
{
    static const int errors[] = {EIO, ENOSPC};
    unit_close(&u);
    for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
        uint64_t n = 1;
        while (fail_call(SIM_ANY_CALL, n, errors[e]))
            n++;
        cr_assert_gt(n, 20);
    }
}

Test(compact_interleave, a_failed_one_leaves_no_file_without_an_owner)
{
    static const enum sim_call calls[] = {SIM_PWRITEV, SIM_CREATE};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        bool struck = true; /* a summary that cannot be written is no failure */
        for (uint64_t nth = 1; struck; nth++) {
            simdisk_fail(u.disk, calls[i], nth, EIO);
            (void)eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL);
            struck = !simdisk_fault_waits(u.disk);
            simdisk_fail(u.disk, calls[i], 0, 0);
            cr_assert_eq(unit_files(&u, ".seg", NULL), unit_stats(&u).segments, "call %llu",
                         (unsigned long long)nth);
        }
        unit_write(&u, inos[1], size_of(1), 1, 0); /* garbage again */
    }
    expect_all();
}

/* The next read is of a window of a victim. */
static void fail_window(void *arg, enum fault_point point)
{
    bool *failed = arg;
    if (point == FP_COMPACT_READ && !*failed)
        simdisk_fail(u.disk, SIM_PREAD, 1, EIO);
    *failed = *failed || point == FP_COMPACT_READ;
}

Test(compact_interleave, a_read_that_fails_once_is_tried_again)
{
    struct eng_job_report rep;
    unit_close(&u);
    for (uint64_t n = 1; fail_call(SIM_PREAD, n, EIO); n++)
        ;
    unit_open(&u);
    bool failed = false;
    hook_set(u.eng, fail_window, &failed); /* of many survivors at once */
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.extents_damaged, 0);
    cr_assert(failed && !simdisk_fault_waits(u.disk));
    hook_set(u.eng, NULL, NULL);
    expect_all();
}

/* ---- one that goes on for more room ------------------------------------------------------------ */

static struct {
    uint64_t ino;
    struct locator loc;
    unsigned installed, at; /* groups; after which of them */
} late;

/* While an output is open, a segment is filled, half with garbage, and sealed. */
static void fill_segment(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_COMPACT_INSTALLED || late.installed++ != late.at)
        return;
    cr_assert_eq(log_seal_locked(&u.eng->log),
                 0); /* the number of the next one is higher than the output's */
    late.ino = unit_file(&u, "late", 4000, 77);
    cr_assert(unit_locator(&u, late.ino, 0, &late.loc));
    unit_file(&u, "gone", 5000, 1);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "gone"), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
}

/* Whether the file was moved by a later pass. */
static bool go_on_for_room(unsigned at)
{
    const struct job_request request = {.reason = "the disk is full", .goal = UINT64_C(1) << 40};
    struct eng_job_report rep;
    struct locator loc = {0};
    memset(&late, 0, sizeof late);
    late.at = at;
    unit_file(&u, "more", 25000, 2); /* so that the last output has room left */
    unit_file(&u, "gone", 5000, 1);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "gone"), 0);
    hook_set(u.eng, fill_segment, NULL);
    cr_assert_eq(runner_run(u.eng, ENG_JOB_COMPACT, &request, &rep), 0);
    hook_set(u.eng, NULL, NULL);
    if (late.ino) {
        cr_assert(unit_locator(&u, late.ino, 0, &loc));
        cr_assert_geq(loc.seg, late.loc.seg, "%u", at);
        cr_assert(unit_holds(&u, late.ino, 4000, 77));
    }
    expect_all();
    unit_reopen(&u);
    expect_all();
    return late.ino && !locator_equal(&loc, &late.loc);
}

/* It chooses victims anew, and recovery holds the numbers against what is older (moved.h). */
Test(compact_interleave, no_copy_lies_in_a_segment_older_than_what_it_is_of)
{
    unsigned n_moved = 0;
    late.ino = 1;
    for (unsigned at = 0; late.ino; at++) { /* up to the last of them */
        cr_assert_lt(at, 100);
        unit_done(&u);
        setup();
        n_moved += go_on_for_room(at);
    }
    cr_assert_gt(n_moved, 3);
}

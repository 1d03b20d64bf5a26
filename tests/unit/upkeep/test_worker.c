/*
 * test_worker.c - maintenance and its thresholds, the start-up check, back-off,
 * and the threads behind them. */
#include "inside.h"

#include "one_store.h"
#include "rng.h"

#include <criterion/criterion.h>

TestSuite(worker, .init = setup, .fini = teardown);

/* A store of `live` + `dead` bytes of content. */
static void fill(size_t live, size_t dead)
{
    unit_file(&u, "live", live, 1);
    unit_file(&u, "dead", dead, 2);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "dead"), 0);
}

static void set(const char *key, const char *value)
{
    cr_assert_eq(eng_config_set(u.eng, key, value), 0);
}

/* ---- maintenance --------------------------------------------------------------------- */

Test(worker, maintenance_compacts_strictly_above_both_thresholds)
{
    static const struct {
        size_t live, dead;
        const char *min_bytes;
        bool compacts;
        const char *reason;
    } cases[] = {{40000, 40000, "1000", false, "fragmentation"}, /* exactly 0.5 */
                 {40000, 40001, "1000", true, "> 0.5"},
                 {10000, 70000, "80000", false, "80000 bytes"}, /* exactly the least size */
                 {10000, 70000, "79999", true, "> 79999"},
                 {10000, 70000, "100000000", false, "bytes"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct eng_maintenance_report rep;
        unit_done(&u);
        setup();
        set("compact_min_bytes", cases[i].min_bytes);
        fill(cases[i].live, cases[i].dead);
        uint64_t total = cases[i].live + cases[i].dead;
        cr_assert_eq(eng_run_maintenance(u.eng, &rep), 0);
        cr_assert_eq(rep.compacted, cases[i].compacts, "case %zu: %s", i, rep.reason);
        cr_assert_eq(rep.total_bytes, total);
        cr_assert_float_eq(rep.fragmentation_ratio, (double)cases[i].dead / (double)total, 1e-12);
        cr_assert_not_null(strstr(rep.reason, cases[i].reason), "case %zu: %s", i, rep.reason);
        cr_assert_eq(unit_stats(&u).compactions_ok, cases[i].compacts);
        if (cases[i].compacts) {
            cr_assert_eq(rep.compaction.state, ENG_JOB_DONE);
            cr_assert_gt(rep.compaction.compact.bytes_reclaimed, 0);
            cr_assert_eq(unit_stats(&u).total_bytes, cases[i].live);
            cr_assert_eq(eng_run_maintenance(u.eng, &rep), 0);
            cr_assert_not(rep.compacted, "once is enough");
        }
        cr_assert(unit_holds(&u, unit_lookup(&u, "live"), cases[i].live, 1));
    }
}

Test(worker, thresholds_can_be_changed)
{
    struct eng_maintenance_report rep;
    fill(80000, 20000);
    set("compact_min_bytes", "0");
    cr_assert_eq(eng_run_maintenance(u.eng, &rep), 0);
    cr_assert_not(rep.compacted);
    set("compact_min_fragmentation", "0.1999");
    cr_assert_eq(eng_run_maintenance(u.eng, &rep), 0);
    cr_assert(rep.compacted);
}

static void record_maintenance(void *arg, const struct eng_maintenance_report *rep, int error)
{
    int *calls = arg;
    cr_assert_eq(error, 0);
    cr_assert(rep->compacted);
    ++*calls;
}

Test(worker, maintenance_without_threads_is_done_in_the_call)
{
    int calls = 0;
    set("compact_min_bytes", "1000");
    fill(1000, 90000);
    cr_assert_eq(eng_maintenance_start(u.eng, record_maintenance, &calls), 0);
    cr_assert_eq(calls, 1);
}

/* ---- on its own initiative --------------------------------------------------------------- */

Test(worker, ticks_look_at_the_thresholds_if_allowed)
{
    set("compact_min_bytes", "1000");
    set("auto_compact", "0");
    fill(1000, 90000);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).compactions_ok, 0);
    set("auto_compact", "1");
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).compactions_ok, 1);
    cr_assert_eq(unit_stats(&u).total_bytes, 1000);
    struct eng_job_report rep;
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
    cr_assert_not_null(strstr(rep.reason, "fragmentation"), "%s", rep.reason);
}

/* Eight segments, of which the n-th holds n eighths of garbage. */
static void fill_unevenly(void)
{
    char name[32];
    for (unsigned s = 1; s <= 8; s++) {
        for (unsigned i = 0; i < 8; i++) {
            snprintf(name, sizeof name, "s%u_%u", s, i);
            (void)unit_file(&u, name, 1000, s * 8 + i);
        }
        pthread_mutex_lock(&u.eng->log.lock);
        cr_assert_eq(log_seal_locked(&u.eng->log), 0);
        pthread_mutex_unlock(&u.eng->log.lock);
    }
    for (unsigned s = 1; s <= 8; s++)
        for (unsigned i = 0; i < s && s < 8; i++) {
            snprintf(name, sizeof name, "s%u_%u", s, i);
            cr_assert_eq(eng_unlink(u.eng, 1, name), 0);
        }
}

Test(worker, thresholds_move_what_pays_until_there_is_room)
{
    struct eng_job_report rep;
    set("compact_min_bytes", "1000");
    set("compact_min_fragmentation", "0.4");
    fill_unevenly(); /* 28 of 64 thousand bytes are garbage */
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
    cr_assert(rep.compact.fragmentation_after <= 0.32 && rep.compact.fragmentation_after > 0.1, "%g",
              rep.compact.fragmentation_after);
    cr_assert(rep.compact.bytes_moved <= 20000, "%llu; all would be 28000",
              (unsigned long long)rep.compact.bytes_moved);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).compactions_ok, 1, "and then rests");
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.fragmentation_after, 0, "a person gets all");
}

/* It gets each segment as it is given back; what more it needs it asks for itself. */
Test(worker, who_waits_for_room_makes_a_compaction_no_larger)
{
    struct eng_job_report rep;
    set("compact_min_bytes", "1000");
    set("compact_min_fragmentation", "0.4");
    fill_unevenly();
    job_hurry(runner_job(u.eng, ENG_JOB_COMPACT), true);
    cr_assert_eq(eng_tick(u.eng), 0);
    job_hurry(runner_job(u.eng, ENG_JOB_COMPACT), false);
    cr_assert_eq(unit_stats(&u).compactions_ok, 1);
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
    cr_assert(rep.compact.bytes_moved <= 20000, "%llu", (unsigned long long)rep.compact.bytes_moved);
}

/* The log of tiny memories is mostly metadata. Once it is needed no more, that is a reason to compact; what
 * is moved is none. */
Test(worker, tiny_memories_are_moved_once_and_then_it_rests)
{
    char name[32];
    set("compact_min_bytes", "1000");
    for (unsigned i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "tiny%u", i);
        (void)unit_file(&u, name, 20, i);
    }
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).compactions_ok, 0, "a recovery may need it");
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_gt(unit_stats(&u).fragmentation_ratio, 0.5);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).compactions_ok, 1);
    cr_assert_lt(unit_stats(&u).fragmentation_ratio, 0.5);
    for (unsigned round = 0; round < 8; round++) {
        cr_assert_eq(checkpoint_write(u.eng), 0);
        cr_assert_eq(eng_tick(u.eng), 0);
    }
    cr_assert_eq(unit_stats(&u).compactions_ok, 1);
}

#define ROUND_FILES 200u

/* Memories are written anew at random, `rounds` times, beside one that is damaged and lies among garbage:
 * what the runs by thresholds move. */
static uint64_t moved_by_rounds(unsigned rounds, bool damage)
{
    struct locator loc;
    struct eng_job_report rep;
    uint64_t moved = 0, began = 0, rng = 7, inos[ROUND_FILES];
    char name[32];
    unit_done(&u);
    setup();
    set("compact_min_bytes", "1000");
    set("compact_min_fragmentation", "0.4");
    uint64_t bad = unit_file(&u, "bad", 1000, 1);
    unit_file(&u, "dead", 60000, 2);
    for (unsigned i = 0; i < ROUND_FILES; i++) {
        snprintf(name, sizeof name, "f%u", i);
        inos[i] = unit_file(&u, name, 4000, i);
    }
    cr_assert(unit_locator(&u, bad, 0, &loc));
    if (damage)
        unit_damage(&u, &loc, 5);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "dead"), 0);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned n = 0; n < ROUND_FILES / 8; n++) {
            unsigned i = (unsigned)rng_below(&rng, ROUND_FILES);
            unit_write(&u, inos[i], 4000, i, 0);
        }
        cr_assert_eq(eng_tick(u.eng), 0);
        cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
        moved += unit_stats(&u).compactions_ok > began ? rep.compact.bytes_moved : 0;
        began = unit_stats(&u).compactions_ok;
    }
    cr_assert_gt(began, rounds / 8);
    for (unsigned i = 0; i < ROUND_FILES; i++)
        cr_assert(unit_holds(&u, inos[i], 4000, i));
    return moved;
}

Test(worker, one_damaged_extent_makes_no_compaction_a_full_one)
{
    uint64_t sound = moved_by_rounds(80, false), damaged = moved_by_rounds(80, true);
    cr_assert_eq(unit_stats(&u).damaged_extents, 1);
    cr_assert_leq(damaged, sound + sound / 4, "%llu bytes were moved, %llu without the damage",
                  (unsigned long long)damaged, (unsigned long long)sound);
}

/* What keeps a segment is known by then: it is not read again, unless a person asks. */
Test(worker, a_segment_of_which_only_damage_is_left_is_left_alone)
{
    struct locator loc;
    struct eng_job_report rep;
    (void)moved_by_rounds(80, true);
    uint64_t bad = unit_lookup(&u, "bad");
    cr_assert(unit_locator(&u, bad, 0, &loc));
    fill(1000, 400000);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
    cr_assert_eq(rep.compact.extents_damaged, 0, "a run by thresholds");
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.extents_damaged, 1);
    cr_assert_eq(unit_read_error(&u, bad), -EIO);
    unit_damage(&u, &loc, 5); /* it was the cable, say */
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.extents_damaged, 0);
    cr_assert_eq(rep.compact.fragmentation_after, 0);
    cr_assert(unit_holds(&u, bad, 1000, 1));
}

/* What is empty may be the room that the next one needs. */
Test(worker, a_checkpoint_that_fails_keeps_no_empty_segment)
{
    struct locator loc;
    uint64_t a = unit_file(&u, "a", 60000, 1);
    cr_assert(unit_locator(&u, a, 0, &loc));
    unit_file(&u, "b", 60000, 2); /* in the next */
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "a"), 0);
    set("checkpoint_ops", "1");
    simdisk_fail(u.disk, SIM_CREATE, 2, EIO); /* behind that of an echo */
    cr_assert_eq(eng_tick(u.eng), -EIO);
    cr_assert_not(simdisk_fault_waits(u.disk), "a checkpoint was due");
    cr_assert_not(unit_has_segment(&u, loc.seg));
    cr_assert(unit_holds(&u, unit_lookup(&u, "b"), 60000, 2));
}

Test(worker, backs_off_from_garbage_that_cannot_be_gained)
{
    struct locator loc;
    set("compact_min_bytes", "1000");
    uint64_t bad = unit_file(&u, "bad", 1000, 1);
    unit_file(&u, "dead", 50000, 2); /* in the same segment */
    cr_assert(unit_locator(&u, bad, 0, &loc));
    unit_damage(&u, &loc, 5);
    cr_assert_eq(eng_unlink(u.eng, 1, "dead"), 0);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).compactions_ok, 1, "it tried once");
    cr_assert_eq(unit_stats(&u).total_bytes, 51000, "and what it could not verify stays");
    fill(1000, 40000); /* more garbage is a reason to try again */
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).compactions_ok, 2);
}

Test(worker, the_start_up_check_says_what_will_be_done)
{
    fill_unevenly(); /* what is wholly garbage goes without a compaction */
    set("startup_fragmentation", "0.3");
    for (int by_itself = 0; by_itself < 2; by_itself++) {
        unit_close(&u);
        u.opt.no_background = true; /* else it would compact as soon as it may */
        unit_open(&u);
        set("auto_compact", by_itself ? "1" : "0");
        unit_close(&u);
        u.opt.no_background = false;
        u.warnings = 0;
        unit_open(&u);
        cr_assert_eq(u.warnings, 1, "%u: %s", u.warnings, u.last_warning);
        cr_assert_eq(strstr(u.last_warning, "compacting in the background") != NULL, by_itself, "%s",
                     u.last_warning);
    }
}

Test(worker, the_start_up_check_asks_for_a_compaction_and_does_not_wait_for_it)
{
    static const struct {
        size_t live, dead;
        bool compacts;
    } cases[] = {{30000, 70000, false}, {29999, 70001, true}}; /* exactly 0.7, and more */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unit_done(&u);
        setup();
        fill(cases[i].live, cases[i].dead);
        cr_assert_eq(eng_hold(u.eng), 0); /* nothing goes at closing */
        unit_close(&u);
        u.warnings = 0;
        unit_open(&u);
        uint64_t total = unit_stats(&u).total_bytes;
        cr_assert_eq(total, cases[i].live + cases[i].dead, "opening moved nothing");
        cr_assert_eq(u.warnings, cases[i].compacts);
        cr_assert_eq(eng_tick(u.eng), 0);
        cr_assert_eq(unit_stats(&u).compactions_ok, cases[i].compacts);
        cr_assert_eq(eng_tick(u.eng), 0);
        cr_assert_eq(unit_stats(&u).compactions_ok, cases[i].compacts, "once");
        cr_assert(unit_holds(&u, unit_lookup(&u, "live"), cases[i].live, 1));
    }
}

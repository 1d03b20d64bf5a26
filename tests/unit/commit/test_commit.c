/*
 * test_commit.c - the life of a mutation: nothing happens when its batch
 * cannot be written, syncs are shared, a failed one is never papered over
 * (I11), orphans are freed, empty segments go as I4 lets them. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(commit, .init = setup, .fini = teardown);

static uint32_t segment_of(uint64_t ino)
{
    struct locator loc;
    cr_assert(unit_locator(&u, ino, 0, &loc));
    return loc.seg;
}

/* ---- writing ------------------------------------------------------------------------- */

/* Every kind of mutation once; 0 or the first error. */
static int mutate(unsigned kind)
{
    struct eng_attr attr = {.size = 10, .mode = 0600};
    uint64_t a = unit_lookup(&u, "a"), d = unit_lookup(&u, "d");
    switch (kind) {
    case 0:
        return eng_create(u.eng, NULL, d, "new", S_IFREG | 0644, 0, NULL, &attr);
    case 1:
        return eng_link(u.eng, NULL, a, d, "link", &attr);
    case 2:
        return eng_unlink(u.eng, 1, "a");
    case 3:
        return eng_rename(u.eng, NULL, 1, "a", d, "moved", 0);
    case 4:
        return eng_setattr(u.eng, a, &attr, ENG_SET_SIZE | ENG_SET_MODE, NULL);
    case 5:
        return (int)MIN_OF(eng_write(u.eng, a, "text", 4, 500), (ssize_t)0);
    case 6:
        return (int)MIN_OF(eng_append(u.eng, a, "text", 4, NULL), (ssize_t)0);
    case 7:
        return eng_fallocate(u.eng, a, ENG_FALLOC_ZERO_RANGE, 0, 2000);
    case 8:
        return eng_setxattr(u.eng, a, "user.new", "v", 1, 0);
    case 9:
        return eng_removexattr(u.eng, a, "user.x");
    case 10:
        return eng_rmdir(u.eng, 1, "e");
    default:
        return 1;
    }
}

static void make_things(void)
{
    cr_assert_eq(eng_setxattr(u.eng, unit_file(&u, "a", 1000, 1), "user.x", "value", 5, 0), 0);
    unit_mkdir(&u, "d");
    unit_mkdir(&u, "e");
    cr_assert_eq(eng_sync(u.eng), 0);
}

static void expect_unchanged(const struct eng_stats *before)
{
    struct eng_stats now = unit_stats(&u);
    cr_assert_eq(now.log_seq, before->log_seq);
    cr_assert_eq(now.live_bytes, before->live_bytes);
    cr_assert_eq(now.total_bytes, before->total_bytes);
    cr_assert(now.memories == before->memories && now.directories == before->directories);
    cr_assert(unit_holds(&u, unit_lookup(&u, "a"), 1000, 1));
    char list[64];
    cr_assert_eq(eng_listxattr(u.eng, unit_lookup(&u, "a"), list, sizeof(list)), 7);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(commit, a_batch_that_cannot_be_written_never_happened)
{
    static const int errors[] = {EIO, ENOSPC};
    make_things();
    struct eng_stats before = unit_stats(&u);
    for (unsigned kind = 0; kind <= 10; kind++) {
        for (unsigned e = 0; e < ARRAY_LEN(errors); e++) {
            simdisk_fail_always(u.disk, SIM_PWRITEV, errors[e]);
            cr_assert_eq(mutate(kind), -errors[e], "mutation %u", kind);
            simdisk_fail_always(u.disk, SIM_PWRITEV, 0);
            expect_unchanged(&before);
        }
    }
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    expect_unchanged(&before);
    for (unsigned kind = 0; kind <= 10; kind++) {
        struct unit whole = u;
        unit_clone(&u, &whole);
        unit_open(&u);
        cr_assert_eq(mutate(kind), 0, "mutation %u works when the disk does", kind);
        cr_assert_gt(unit_stats(&u).log_seq, before.log_seq);
        cr_assert_eq(unit_problems(&u), 0);
        unit_done(&u);
        u = whole;
    }
}

Test(commit, a_write_torn_by_an_error_is_overwritten_by_the_next)
{
    make_things();
    simdisk_short_writes(u.disk, 1);
    simdisk_fail(u.disk, SIM_PWRITEV, 2, ENOMEM); /* the rest of a batch whose first part is there */
    uint64_t a = unit_lookup(&u, "a");
    uint8_t *bytes = unit_bytes(20000, 2);
    cr_assert_eq(eng_write(u.eng, a, bytes, 20000, 0), -ENOMEM);
    simdisk_fail(u.disk, SIM_PWRITEV, 0, 0);
    simdisk_short_writes(u.disk, 0);
    cr_assert(unit_holds(&u, a, 1000, 1));
    unit_file(&u, "b", 50, 3);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "a"), 1000, 1));
    cr_assert(unit_holds(&u, unit_lookup(&u, "b"), 50, 3));
    cr_assert_eq(unit_problems(&u), 0);
    free(bytes);
}

Test(commit, a_read_only_store_refuses_every_mutation)
{
    make_things();
    unit_close(&u);
    u.opt.read_only = true;
    simdisk_power_on(u.disk, SIM_KEEP_ALL, 0);
    unit_open(&u);
    for (unsigned kind = 0; kind <= 10; kind++)
        cr_assert_eq(mutate(kind), -EROFS, "mutation %u", kind);
    struct eng_record r = {.parent = 1, .name = "x"};
    cr_assert_eq(eng_put_many(u.eng, &r, 1), -EROFS);
    cr_assert_eq(eng_config_set(u.eng, "auto_compact", "0"), -EROFS);
    cr_assert_eq(checkpoint_write(u.eng), -EROFS);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_fsync(u.eng, 1), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert(unit_holds(&u, unit_lookup(&u, "a"), 1000, 1));
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_eq(eng_close(u.eng), 0);
    u.eng = NULL;
    cr_assert_eq(simdisk_calls(u.disk, false), 0, "nothing at all was written");
}

/* ---- durability -------------------------------------------------------------------------- */

Test(commit, what_was_synced_survives_and_nothing_is_flushed_twice)
{
    unit_file(&u, "a", 100, 1);
    cr_assert_eq(eng_fsync(u.eng, unit_lookup(&u, "a")), 0);
    cr_assert_eq(unit_stats(&u).durable_seq, unit_stats(&u).log_seq);
    uint64_t flushes = simdisk_calls_of(u.disk, SIM_DATASYNC), syncs = unit_stats(&u).syncs;
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_fsync(u.eng, 1), 0);
    cr_assert_eq(simdisk_calls_of(u.disk, SIM_DATASYNC), flushes, "there was nothing new");
    unit_file(&u, "b", 100, 2);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(unit_stats(&u).syncs, syncs + 1);
    cr_assert_eq(simdisk_calls_of(u.disk, SIM_DATASYNC), flushes + 1);
    unit_file(&u, "c", 100, 3); /* not synced */
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "a"), 100, 1));
    cr_assert(unit_holds(&u, unit_lookup(&u, "b"), 100, 2));
    cr_assert_eq(unit_lookup(&u, "c"), 0);
}

Test(commit, a_failed_flush_turns_the_store_read_only_for_good)
{
    uint64_t a = unit_file(&u, "a", 100, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_write(&u, a, 200, 2, 0);
    simdisk_fail(u.disk, SIM_DATASYNC, 1, EIO);
    cr_assert_eq(eng_fsync(u.eng, a), -EIO);
    cr_assert_eq(eng_fsync(u.eng, a), -EIO, "the second sync would succeed and lie (I11)");
    cr_assert_eq(eng_sync(u.eng), -EIO);
    cr_assert_eq(eng_write(u.eng, a, "x", 1, 0), -EROFS);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), -EROFS);
    cr_assert(unit_holds(&u, a, 200, 2), "it can still be read");
    struct eng_stats st = unit_stats(&u);
    cr_assert_neq(st.read_only_reason[0], 0);
    cr_assert_geq(st.sync_errors, 1);
    cr_assert_geq(u.warnings, 1);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "a"), 100, 1));
    cr_assert_str_eq(unit_stats(&u).read_only_reason, "");
    unit_write(&u, unit_lookup(&u, "a"), 200, 2, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
}

/* ---- empty segments ------------------------------------------------------------------------ */

Test(commit, an_empty_segment_goes_when_nothing_can_need_it)
{
    uint64_t a = unit_file(&u, "a", 60000, 1);
    uint32_t seg = segment_of(a);
    unit_file(&u, "b", 60000, 2); /* in the next */
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_unlink(u.eng, 1, "a"), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_eq(retire_segments(u.eng), 0, "I4: its deaths are not durable, and its metadata is needed");
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(retire_segments(u.eng), 0);
    cr_assert_eq(unit_stats(&u).segments_pending, 1);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    struct segment *pinned;
    cr_assert_eq(segments_pin(&u.eng->segments, seg, &pinned), 0);
    (void)retire_segments(u.eng);
    cr_assert(unit_has_segment(&u, seg), "I1: somebody reads it");
    segments_unpin(pinned);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(retire_segments(u.eng), 0);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_not(unit_has_segment(&u, seg), "released, it goes at once");
    cr_assert_eq(unit_stats(&u).segments_pending, 0);
    cr_assert_eq(unit_stats(&u).total_bytes, 60000);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "b"), 60000, 2));
    cr_assert_eq(unit_problems(&u), 0);
}

Test(commit, an_empty_segment_waits_for_its_deaths_to_be_durable)
{
    uint64_t a = unit_file(&u, "a", 60000, 1);
    uint32_t seg = segment_of(a);
    unit_file(&u, "b", 60000, 2);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0); /* no recovery needs its metadata any more */
    cr_assert_eq(eng_unlink(u.eng, 1, "a"), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    (void)retire_segments(u.eng);
    cr_assert(unit_has_segment(&u, seg), "I4: power loss would bring the file back, without its content");
    struct unit c;
    unit_clone(&c, &u);
    simdisk_power_on(c.disk, SIM_DROP_ALL, 0);
    unit_open(&c);
    cr_assert(unit_holds(&c, unit_lookup(&c, "a"), 60000, 1));
    unit_done(&c);
    cr_assert_eq(eng_sync(u.eng), 0);
    (void)retire_segments(u.eng);
    cr_assert_not(unit_has_segment(&u, seg));
}

Test(commit, many_orphans_are_freed_in_few_batches)
{
    enum { N = 1000 };
    struct eng_caller with_ref = {.ref = true};
    static struct eng_attr attr[N];
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%u", i);
        cr_assert_eq(eng_create(u.eng, &with_ref, 1, name, S_IFREG | 0644, 0, NULL, &attr[i]), 0);
        cr_assert_eq(eng_unlink(u.eng, 1, name), 0);
    }
    cr_assert_eq(unit_stats(&u).orphans, N);
    uint64_t seq = unit_stats(&u).log_seq;
    for (unsigned i = 0; i < N; i++)
        cr_assert_eq(eng_forget(u.eng, attr[i].ino, 1), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(unit_stats(&u).orphans, 0);
    cr_assert_eq(unit_stats(&u).memories, 0);
    cr_assert_leq(unit_stats(&u).log_seq - seq, N / 50);
}

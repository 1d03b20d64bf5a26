/*
 * test_times.c - when batches were, as the moments tell it, and which of them are snapshots. */
#include "index/times.h"

#include "must.h"

static struct index idx;

static void setup(void)
{
    MUST(index_init(&idx, 1) == 0);
}

static void teardown(void)
{
    index_free(&idx);
}

TestSuite(times, .init = setup, .fini = teardown);

static void put(uint64_t batch, int64_t time, uint16_t flags)
{
    MUST(table_reserve(&idx.moments, 1) == 0);
    *(struct moment_rec *)table_mut(&idx.moments, table_alloc(&idx.moments)) =
        (struct moment_rec){.batch = batch, .time = time, .flags = flags};
    if (flags & MOMENT_SNAPSHOT)
        idx.s.newest_snapshot = batch;
}

Test(times, are_those_of_the_moment_before)
{
    cr_assert_eq(index_time_of(&idx, 5), TIME_UNKNOWN);
    put(10, 100, 0);
    put(20, 200, 0);
    cr_assert_eq(index_time_of(&idx, 9), TIME_UNKNOWN);
    cr_assert_eq(index_time_of(&idx, 10), 100);
    cr_assert_eq(index_time_of(&idx, 19), 100);
    cr_assert_eq(index_time_of(&idx, 20), 200);
    cr_assert_eq(index_time_of(&idx, UINT64_MAX), 200);
}

/* A clock that went ahead, and back: what was later is not told as earlier. */
Test(times, never_fall_along_the_batches)
{
    put(10, 100, 0);
    put(20, 900, 0);
    put(30, 300, 0);
    put(40, 400, 0);
    cr_assert_eq(index_time_of(&idx, 15), 100);
    cr_assert_eq(index_time_of(&idx, 25), 300);
    cr_assert_eq(index_time_of(&idx, 35), 300);
    cr_assert_eq(index_time_of(&idx, 45), 400);
}

Test(times, tell_snapshots_from_other_moments)
{
    put(10, 100, 0);
    put(20, 200, MOMENT_SNAPSHOT);
    cr_assert_not(index_is_snapshot(&idx, 10));
    cr_assert(index_is_snapshot(&idx, 20));
    cr_assert_not(index_is_snapshot(&idx, 0));
    cr_assert_not(index_is_snapshot(&idx, 21));
}

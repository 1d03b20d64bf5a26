/*
 * test_times.c - when batches were, as the moments tell it, and which of them are snapshots: what is searched
 * for is what going through all of them finds. */
#include "index/times.h"

#include "index/moments.h"
#include "must.h"
#include "need.h"
#include "rng.h"

#include <stdio.h>

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

static void reserve(void)
{
    struct names_need need = {0};
    names_need(&need, 32);
    MUST(chunk_pool_reserve(idx.pool, 4) == 0 && names_reserve(&idx.names, &need) == 0);
}

static void put_aged(uint64_t batch, int64_t time, uint64_t age, uint16_t flags)
{
    char name[32];
    struct op op = {.type = OP_MOMENT, .time = time, .age = age, .name = name};
    op.name_len = (uint16_t)snprintf(name, sizeof name, "%llu", (unsigned long long)batch);
    reserve();
    MUST(moments_reserve(&idx, 1) == 0);
    if (!(flags & MOMENT_ALONE))
        MUST(moments_begin(&idx, &op, batch) == 0);
    if (flags & MOMENT_SNAPSHOT)
        MUST(moments_snapshot(&idx, &op, batch) == 0);
}

static void put(uint64_t batch, int64_t time, uint16_t flags)
{
    put_aged(batch, time, 0, flags);
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

/* ---- beside going through all of them ------------------------------------------------ */

#define MANY 9000u /* records: some chunks */
#define BATCHES (3u * MANY)
#define ASKED 4000u

static uint64_t rng;

static void drop_snapshot(uint64_t batch)
{
    const struct op op = {.type = OP_SNAPSHOT_NAME, .batch = batch};
    reserve();
    MUST(moments_name(&idx, &op) == 0);
}

/* Moments of a clock that jumps, some of them snapshots, of which many go again. */
static void put_many(void)
{
    int64_t time = 1000;
    uint64_t age = 5;
    for (uint64_t batch = 7; batch < BATCHES; batch += 1 + rng_below(&rng, 4)) {
        uint64_t kind = rng_below(&rng, batch / 4096 % 2 ? 2 : 10);
        time += rng_below(&rng, 900) ? (int64_t)rng_below(&rng, 50) : (int64_t)rng_below(&rng, 9000) - 5000;
        age += rng_below(&rng, 2);
        put_aged(batch, time, age, kind ? 0 : MOMENT_SNAPSHOT | MOMENT_ALONE);
        if (!kind && rng_below(&rng, 20))
            drop_snapshot(batch);
    }
    for (uint64_t batch = 7; batch < BATCHES; batch++) /* each snapshot in the middle */
        if (batch % (BATCHES / 2) > 4000 && index_is_snapshot(&idx, batch))
            drop_snapshot(batch);
}

static const struct moment_rec *last_of(bool (*holds)(const struct moment_rec *m, int64_t value),
                                        int64_t value)
{
    const struct moment_rec *found = NULL;
    for (uint32_t i = 1; i < idx.moments.used; i++) {
        const struct moment_rec *m = index_moment(&idx, i);
        found = m && holds(m, value) ? m : found;
    }
    return found;
}

static bool began(const struct moment_rec *m, int64_t batch)
{
    return m->batch <= (uint64_t)batch;
}

static bool was_by(const struct moment_rec *m, int64_t time)
{
    return m->time <= time;
}

static bool was_so_old(const struct moment_rec *m, int64_t age)
{
    return m->age <= age;
}

static void ask(uint64_t batch, int64_t time, uint32_t age)
{
    const struct moment_rec *by = last_of(began, (int64_t)batch), *m;
    int64_t least = by ? by->time : TIME_UNKNOWN;
    uint64_t next = UINT64_MAX;
    for (uint32_t i = idx.moments.used; i-- > 1;)
        if ((m = index_moment(&idx, i)) && m->batch > batch) {
            least = MIN_OF(least, m->time);
            next = m->batch;
        }
    cr_assert_eq(index_time_of(&idx, batch), by ? least : TIME_UNKNOWN);
    cr_assert_eq(index_is_snapshot(&idx, batch), by && by->batch == batch && by->flags & MOMENT_SNAPSHOT);
    cr_assert_eq(index_moment(&idx, index_moment_by(&idx, batch)), by);
    cr_assert_eq(index_next_moment(&idx, index_moment_by(&idx, batch)), next);
    cr_assert_eq(index_moment(&idx, index_moment_at(&idx, time)), last_of(was_by, time));
    cr_assert_eq(index_moment(&idx, index_moment_of_age(&idx, age)), last_of(was_so_old, age));
}

static void ask_all(void)
{
    for (unsigned i = 0; i < ASKED; i++)
        ask(rng_below(&rng, BATCHES + 10), (int64_t)rng_below(&rng, 250000), (uint32_t)rng_below(&rng, MANY));
    ask(UINT64_MAX, INT64_MAX, UINT32_MAX);
    ask(0, INT64_MIN, 0);
    uint64_t *batches;
    size_t n, found = 0;
    MUST(index_snapshots(&idx, &batches, &n) == 0);
    for (uint32_t i = 1; i < idx.moments.used; i++)
        if (index_snapshot(&idx, i))
            cr_assert(found < n && batches[found++] == index_moment(&idx, i)->batch);
    cr_assert(found == n && n > 10);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        int len = snprintf(name, sizeof name, "%llu", (unsigned long long)batches[i]);
        const struct moment_rec *m = index_moment(&idx, index_find_snapshot(&idx, name, (size_t)len));
        cr_assert(m && m->batch == batches[i]);
    }
    cr_assert_eq(idx.s.newest_snapshot, batches[n - 1]);
    free(batches);
}

Test(times, are_found_by_search, .timeout = 120)
{
    rng = test_seed();
    put_many();
    ask_all();
    ask_all();
    struct moment_sums *sums = idx.moment_sums;
    idx.moment_sums = NULL;
    ask_all();
    idx.moment_sums = sums;
}

/* What was found once is not believed when there is more, or less. */
Test(times, are_found_as_the_moments_change)
{
    rng = test_seed();
    for (uint64_t batch = 1; batch < 3000; batch++) {
        bool is_snapshot = rng_below(&rng, 3) == 0;
        put_aged(10 * batch, (int64_t)rng_below(&rng, 100000), batch,
                 is_snapshot ? MOMENT_SNAPSHOT | MOMENT_ALONE : 0);
        if (batch % 8 == 0)
            ask(rng_below(&rng, 10 * batch + 5), (int64_t)rng_below(&rng, 100000),
                (uint32_t)rng_below(&rng, 3000));
        if (is_snapshot && batch % 2)
            drop_snapshot(10 * batch);
    }
}

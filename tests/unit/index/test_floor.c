/*
 * test_floor.c - where the floor may be set, and which moments go with it. */
#include "index/floor.h"

#include "index/apply.h"
#include "index/moments.h"
#include "index/times.h"
#include "must.h"
#include "need.h"

#include <stdio.h>

#define MANY 20000u

static struct index idx;

static void setup(void)
{
    MUST(index_init(&idx, 1) == 0);
}

static void teardown(void)
{
    index_free(&idx);
}

TestSuite(floor, .init = setup, .fini = teardown);

static int set(enum floor_reason reason, uint64_t batch, uint64_t seq)
{
    const struct op op = {.type = OP_FLOOR, .reason = reason, .batch = batch};
    MUST(index_reserve(&idx, &op, 1) == 0);
    return index_apply(&idx, &op, seq);
}

static void apply(enum op_type type, uint64_t seq, const char *name)
{
    struct op op = {.type = (uint8_t)type, .time = (int64_t)seq, .age = seq};
    op.name = name;
    op.name_len = name ? (uint16_t)strlen(name) : 0;
    MUST(index_reserve(&idx, &op, 1) == 0);
    MUST(index_apply(&idx, &op, seq) == 0);
}

Test(floor, rises_while_a_history_is_on)
{
    cr_assert_eq(set(FLOOR_AGE, 5, 9), -EBADMSG, "there is none");
    cr_assert_eq(set(FLOOR_OFF, FLOOR_NONE, 9), -EBADMSG);
    cr_assert_eq(set(FLOOR_ON, 10, 9), -EBADMSG, "to come");
    cr_assert_eq(set(FLOOR_ON, 0, 9), -EBADMSG);
    cr_assert(!index_is_kept_whole(&idx));
    cr_assert_eq(set(FLOOR_ON, 9, 9), 0);
    cr_assert(index_is_kept_whole(&idx) && idx.s.floor == 9);
    cr_assert_eq(set(FLOOR_ON, 12, 12), -EBADMSG, "it is on");
    for (unsigned reason = FLOOR_AGE; reason <= FLOOR_FULL_DISK; reason++) {
        uint64_t now = 20 + 10 * reason;
        cr_assert_eq(set(reason, idx.s.floor - 1, now), -EBADMSG);
        cr_assert_eq(set(reason, now + 1, now), -EBADMSG);
        cr_assert_eq(set(reason, idx.s.floor, now), 0);
        cr_assert_eq(set(reason, now, now), 0);
        cr_assert_eq(idx.s.floor, now);
    }
    cr_assert_eq(set(0, 500, 500), -EBADMSG);
    cr_assert_eq(set(FLOOR_FULL_DISK + 1, 500, 500), -EBADMSG);
    cr_assert_eq(set(FLOOR_OFF, 500, 500), -EBADMSG);
    cr_assert_eq(set(FLOOR_OFF, FLOOR_NONE, 500), 0);
    cr_assert(!index_is_kept_whole(&idx));
    cr_assert_eq(set(FLOOR_OFF, FLOOR_NONE, 501), 0, "moments may be left");
    cr_assert_eq(set(FLOOR_AGE, 500, 501), -EBADMSG);
    cr_assert_eq(set(FLOOR_ON, 501, 501), 0);
    cr_assert_eq(idx.s.floor, 501);
}

static int thin(uint64_t from, uint64_t end, uint64_t seq)
{
    const struct op op = {.type = OP_THIN, .batch = from, .end = end};
    MUST(index_reserve(&idx, &op, 1) == 0);
    return index_apply(&idx, &op, seq);
}

static uint32_t count(uint64_t before, bool snapshots)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < idx.moments.used; i++) {
        const struct moment_rec *m = index_moment(&idx, i);
        n += m && m->batch < before && (m->flags & MOMENT_SNAPSHOT) == (snapshots ? MOMENT_SNAPSHOT : 0);
    }
    return n;
}

/* Each of some, the oldest first; what tells the time of the floor stays, and snapshots. */
Test(floor, takes_moments_along)
{
    char name[16];
    for (uint64_t i = 1; i <= MANY; i++) {
        apply(OP_MOMENT, 10 * i, NULL);
        (void)snprintf(name, sizeof name, "%llu", (unsigned long long)i);
        if (i % 500 == 0)
            apply(OP_SNAPSHOT, 10 * i, name);
    }
    MUST(set(FLOOR_ON, 10, 10 * MANY) == 0);
    cr_assert_not(floor_has_moments(&idx));
    uint64_t floor = 10 * (MANY - 700) + 5, n = count(UINT64_MAX, false), rounds = 0;
    do {
        uint32_t before = count(UINT64_MAX, false);
        cr_assert_eq(set(FLOOR_AGE, floor, 10 * MANY), 0);
        cr_assert_leq(before - count(UINT64_MAX, false), FLOOR_MOMENTS);
        rounds++;
        cr_assert_eq(index_time_of(&idx, floor), 10 * (MANY - 700));
    } while (floor_has_moments(&idx));
    cr_assert_geq(rounds, n / FLOOR_MOMENTS);
    cr_assert_leq(rounds, n / FLOOR_MOMENTS + 2);
    cr_assert_eq(count(floor - 5, false), 0);
    cr_assert_eq(count(UINT64_MAX, false), 700 - 1, "the last 701, of which 2 are snapshots");
    cr_assert_eq(count(UINT64_MAX, true), MANY / 500);
    /* A snapshot of before goes whole with its name, one of later stays a moment. */
    const struct op drop = {.type = OP_SNAPSHOT_NAME, .batch = 5000},
                    later = {.type = OP_SNAPSHOT_NAME, .batch = 10 * (MANY - 500)};
    MUST(index_apply(&idx, &drop, 10 * MANY) == 0 && index_apply(&idx, &later, 10 * MANY) == 0);
    cr_assert_eq(index_moment(&idx, index_moment_by(&idx, 5000)), NULL);
    cr_assert_eq(count(UINT64_MAX, false), 700);
    MUST(set(FLOOR_OFF, FLOOR_NONE, 10 * MANY) == 0);
    cr_assert_not(floor_has_moments(&idx));
    cr_assert_eq(count(UINT64_MAX, false), 0);
    cr_assert_eq(index_time_of(&idx, UINT64_MAX), 10 * MANY);
    cr_assert_eq(idx.s.age, 10 * MANY);
}

/* Those of a range behind the floor, but for snapshots, and no more than so many at once. */
Test(floor, is_left_by_moments_between)
{
    cr_assert_eq(thin(20, 30, 100), -EBADMSG, "there is no history");
    for (uint64_t i = 1; i <= MANY; i++)
        apply(OP_MOMENT, 10 * i, NULL);
    apply(OP_SNAPSHOT, 10 * MANY, "s");
    MUST(set(FLOOR_ON, 100, 10 * MANY) == 0);
    uint32_t before = count(UINT64_MAX, false);
    cr_assert_eq(thin(100, 200, 10 * MANY), -EBADMSG, "not that of the floor");
    cr_assert_eq(thin(200, 200, 10 * MANY), -EBADMSG);
    cr_assert_eq(thin(200, 10 * MANY + 1, 10 * MANY), -EBADMSG, "to come");
    cr_assert_eq(thin(201, 205, 10 * MANY), 0);
    cr_assert_eq(count(UINT64_MAX, false), before, "none was in it");
    cr_assert_eq(thin(200, 301, 10 * MANY), 0);
    cr_assert_eq(count(UINT64_MAX, false), before - 11);
    cr_assert_eq(index_time_of(&idx, 305), 190);
    cr_assert_eq(index_time_of(&idx, 310), 310);
    before = count(UINT64_MAX, false);
    cr_assert_eq(thin(400, 10 * MANY, 10 * MANY), 0);
    cr_assert_eq(count(UINT64_MAX, false), before - FLOOR_MOMENTS);
    for (unsigned i = 0; i < MANY / FLOOR_MOMENTS + 4; i++)
        cr_assert_eq(thin(400, 10 * MANY, 10 * MANY), 0);
    cr_assert_eq(count(UINT64_MAX, false), 10 + 9, "from 100 to 190, and from 310 to 390");
    cr_assert_eq(count(UINT64_MAX, true), 1);
    MUST(set(FLOOR_OFF, FLOOR_NONE, 10 * MANY) == 0);
    cr_assert_eq(thin(310, 320, 10 * MANY), -EBADMSG, "it is switched off");
}

/*
 * test_policy.c - when to compact, and what first. */
#include "upkeep/policy.h"

#include "base/util.h"
#include "rng.h"

#include <criterion/criterion.h>
#include <math.h>

Test(policy, enough_is_what_leaves_the_share)
{
    /* 400 bytes, 200 of them live: shares of 200/400, 120/320, 60/260, 20/220, 0/200 */
    const struct candidate c[] = {{1, 100, 20, 0}, {2, 100, 40, 0}, {3, 100, 60, 0}, {4, 100, 80, 0}};
    static const struct {
        double leave;
        size_t enough;
    } cases[] = {{0.6, 0}, {0.5, 0}, {0.49, 1}, {0.375, 1}, {0.37, 2}, {0.1, 3}, {0.09, 4}, {0, 4}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(policy_enough(c, 4, 400, 200, cases[i].leave), cases[i].enough, "case %zu", i);
    cr_assert_eq(policy_enough(c, 2, 400, 200, 0), 2, "there are no more");
    cr_assert_eq(policy_enough(NULL, 0, 0, 0, 0), 0);
}

Test(policy, thresholds_are_strict)
{
    static const struct {
        uint64_t total, live;
        double min;
        uint64_t min_bytes;
        bool wanted;
    } cases[] = {
        {200000000, 100000000, 0.5, 100000000, false}, /* exactly one half */
        {200000000, 99999999, 0.5, 100000000, true},   /* one byte more of garbage */
        {200000002, 100000001, 0.5, 100000000, false},
        {100000000, 1, 0.5, 100000000, false}, /* exactly the least size */
        {100000001, 1, 0.5, 100000000, true},
        {0, 0, 0.5, 0, false},
        {0, 0, 0, 0, false},
        {1000, 1000, 0, 0, false}, /* no garbage at all */
        {1000, 999, 0, 0, true},
        {1000, 0, 1, 0, false}, /* never more than 1 */
        {UINT64_MAX, 0, 0.5, UINT64_MAX, false},
        {UINT64_MAX, 0, 0.5, UINT64_MAX - 1, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(policy_wanted(cases[i].total, cases[i].live, cases[i].min, cases[i].min_bytes),
                     cases[i].wanted, "case %zu", i);
}

Test(policy, fragmentation_is_the_dead_part)
{
    static const struct {
        uint64_t total, live;
        double expect;
    } cases[] = {{0, 0, 0},    {10, 10, 0},     {10, 0, 1},
                 {10, 5, 0.5}, {3, 1, 2.0 / 3}, {1000000007, 1000000006, 1e-9}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert(fabs(policy_fragmentation(cases[i].total, cases[i].live) - cases[i].expect) < 1e-12);
}

Test(policy, best_first)
{
    struct candidate c[] = {
        {.id = 1, .total = 100, .live = 100, .age = 1000}, /* nothing to gain */
        {.id = 2, .total = 100, .live = 90, .age = 10},
        {.id = 3, .total = 100, .live = 10, .age = 10},  /* emptier than 2 */
        {.id = 4, .total = 100, .live = 10, .age = 500}, /* older than 3 */
        {.id = 5, .total = 0, .live = 0, .age = 9},
        {.id = 6, .total = 100, .live = 90, .age = 10}, /* as 2: by number */
    };
    static const uint32_t order[] = {4, 3, 2, 6};
    cr_assert_eq(policy_order(c, ARRAY_LEN(c)), ARRAY_LEN(order));
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        cr_assert_eq(c[i].id, order[i], "place %zu: %u", i, c[i].id);
    cr_assert_eq(policy_order(NULL, 0), 0);
    cr_assert_eq(policy_order(c + 4, 2), 0, "what cannot gain follows");
}

Test(policy, a_goal_takes_as_many_as_hold_it)
{
    const struct candidate c[] = {
        {.total = 100, .live = 10}, {.total = 100, .live = 50}, {.total = 100, .live = 90}};
    static const size_t enough[][2] = {{0, 0},   {1, 1},   {90, 1},  {91, 2},
                                       {140, 2}, {141, 3}, {150, 3}, {1000, 3}};
    for (size_t i = 0; i < ARRAY_LEN(enough); i++)
        cr_assert_eq(policy_for_goal(c, ARRAY_LEN(c), enough[i][0]), enough[i][1], "goal %zu", enough[i][0]);
}

Test(policy, cold_segments_are_taken_fuller_than_hot_ones)
{
    struct candidate c[] = {{.id = 1, .total = 100, .live = 20, .age = 1},
                            {.id = 2, .total = 100, .live = 75, .age = 1000}};
    cr_assert_eq(policy_order(c, 2), 2);
    cr_assert_eq(c[0].id, 2);
}

Test(policy, order_does_not_depend_on_the_order_given)
{
    enum { N = 200 };
    struct candidate a[N], b[N];
    uint64_t rng = 3;
    for (uint32_t i = 0; i < N; i++) {
        uint64_t total = rng_below(&rng, 5) * 10;
        a[i] = (struct candidate){i + 1, total, rng_below(&rng, total + 1), rng_below(&rng, 4)};
        b[N - 1 - i] = a[i];
    }
    size_t worth = policy_order(a, N);
    cr_assert_eq(policy_order(b, N), worth);
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(a[i].id, b[i].id);
        cr_assert_eq(i < worth, a[i].live < a[i].total);
    }
}

/*
 * must.h - for unit tests that check millions of things: an assertion that
 * costs nothing while it holds, and the seed of random tests. */
#ifndef ENGRAMFS_TESTS_MUST_H
#define ENGRAMFS_TESTS_MUST_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(cond)                                                                                           \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            cr_assert_fail("%s", #cond);                                                                     \
    } while (0)

/* $SEED, or 1; printed, so that a failure can be repeated. */
static inline uint64_t test_seed(void)
{
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    (void)fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

#endif

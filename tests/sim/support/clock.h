/*
 * clock.h - the clocks of a program that moves them by hand. It is linked with --wrap=clock_gettime, and
 * includes clock_wrap.h once. */
#ifndef ENGRAMFS_TESTS_CLOCK_H
#define ENGRAMFS_TESTS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CLOCK_SECOND INT64_C(1000000000)
#define CLOCK_BEGIN (INT64_C(1800000000) * CLOCK_SECOND) /* of people; that of the machine says 50 s then */

extern struct sim_clock {
    bool by_hand;
    int64_t now; /* of people, ns */
} sim_clock;

#endif

/*
 * clock_wrap.h - what a program has in place of clock_gettime(), see clock.h. */
#ifndef ENGRAMFS_TESTS_CLOCK_WRAP_H
#define ENGRAMFS_TESTS_CLOCK_WRAP_H

#include "clock.h"

#include <time.h>

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    if (!sim_clock.by_hand)
        return __real_clock_gettime(id, ts);
    int64_t now = id == CLOCK_REALTIME ? sim_clock.now : sim_clock.now - CLOCK_BEGIN + 50 * CLOCK_SECOND;
    *ts = (struct timespec){.tv_sec = now / CLOCK_SECOND, .tv_nsec = now % CLOCK_SECOND};
    return 0;
}

#endif

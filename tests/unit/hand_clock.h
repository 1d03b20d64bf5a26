/*
 * hand_clock.h - clocks that a test moves by hand: that of people apart from the others. Linked with
 * --wrap=clock_gettime. */
#ifndef ENGRAMFS_TESTS_HAND_CLOCK_H
#define ENGRAMFS_TESTS_HAND_CLOCK_H

#include <stdint.h>
#include <time.h>

#define SECOND INT64_C(1000000000)

static struct {
    int64_t people, machine; /* ns */
} hand_clock = {.people = 1800000000 * SECOND, .machine = 500000 * SECOND};

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    int64_t now = id == CLOCK_REALTIME ? hand_clock.people : hand_clock.machine;
    if (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME)
        return __real_clock_gettime(id, ts);
    *ts = (struct timespec){.tv_sec = now / SECOND, .tv_nsec = now % SECOND};
    return 0;
}

static inline void pass_ns(int64_t ns)
{
    hand_clock.people += ns;
    hand_clock.machine += ns;
}

static inline void pass_ms(int64_t ms)
{
    pass_ns(ms * 1000000);
}

#endif

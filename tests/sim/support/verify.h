/*
 * verify.h - what must hold of a store after a crash. */
#ifndef ENGRAMFS_TESTS_VERIFY_H
#define ENGRAMFS_TESTS_VERIFY_H

#include "simdisk.h"
#include "workload.h"
#include <stdbool.h>

#define VERIFY_WHY_MAX 1024

/* Prints the reason to `why`, of VERIFY_WHY_MAX bytes; false. */
__attribute__((format(printf, 2, 3))) bool verify_fail(char *why, const char *format, ...);

struct verify_want {
    const struct workload *workload;
    size_t lo, hi; /* the store must hold the state after one of these steps, both included */
    uint64_t segment_size;
    uint64_t beside; /* as in struct session */
    uint64_t seed;   /* decides what is done besides, and how power is lost again */
};

/*
 * Opens the store that survived on `disk` and requires:
 *   - it opens, a check finds nothing, no orphan is left;
 *   - it holds a state of the workload within lo..hi;
 *   - a read-only open (for some seeds) sees such a state, too, and writes nothing;
 *   - what it shows is durable from the first moment (I7);
 *   - work can go on: create, write, sync, lose power, compact (for some seeds), close, open again.
 * `disk` is used up by it. Returns true, or false with the reason in `why`. */
bool verify_store(struct simdisk *disk, const struct verify_want *want, char why[VERIFY_WHY_MAX]);

/*
 * Loses power in the `nth` call of the recovery of what is on `disk` (which is
 * left as it is), then requires the same of what survived that. *ret_was_cut:
 * whether the recovery takes that many calls. */
bool verify_recovery_cut(struct simdisk *disk, const struct verify_want *want, uint64_t nth,
                         bool *ret_was_cut, char why[VERIFY_WHY_MAX]);

/* A checkpoint that failed at its end is removed; after a cut of the power one of its two copies may be whole
 * and there again, and the other not. Then a check mends that, and it is no problem. */
extern bool verify_copies_may_lack;

#endif

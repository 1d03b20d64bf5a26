/*
 * ages.h - .engram/at/AGE: a symbolic link to the time that is so long ago, when it is followed. Its nodeid
 * says all, and it takes no memory. No state, no locks. */
#ifndef ENGRAMFS_CONTROL_AGES_H
#define ENGRAMFS_CONTROL_AGES_H

#include <stdbool.h>
#include <stdint.h>

/* Bits 62 and 60, and not 61, which nodes of views have; the seconds are below. */
#define AGES_BITS (UINT64_C(1) << 62 | UINT64_C(1) << 60)

static inline bool ages_owns(uint64_t nodeid)
{
    return nodeid >> 60 == AGES_BITS >> 60;
}
/* The node of 90s, 10m, 2h, 3d; 0: that is no age. */
uint64_t ages_parse(const char *name);
/* Where it leads from `now`, ns since the epoch: a time in whole seconds. */
enum { AGES_TARGET_MAX = 40 };
void ages_target(uint64_t nodeid, int64_t now, char ret_target[AGES_TARGET_MAX]);

#endif

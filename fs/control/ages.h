/*
 * ages.h - .engram/at/AGE: a symbolic link to the time that is so long ago, when it is looked up. Its nodeid
 * says that time, and it takes no memory: the kernel keeps where a node leads, so another time needs another
 * node. No state, no locks. */
#ifndef ENGRAMFS_CONTROL_AGES_H
#define ENGRAMFS_CONTROL_AGES_H

#include <stdbool.h>
#include <stdint.h>

/* Bits 62 and 60, and not 61, which nodes of views have; below are seconds since the epoch. */
#define AGES_BITS (UINT64_C(1) << 62 | UINT64_C(1) << 60)

static inline bool ages_owns(uint64_t nodeid)
{
    return nodeid >> 60 == AGES_BITS >> 60;
}
/* The node of 90s, 10m, 2h, 3d at `now`, seconds since the epoch; 0: no age, or before the epoch. */
uint64_t ages_parse(const char *name, int64_t now);
/* Where it leads. */
enum { AGES_TARGET_MAX = 40 };
void ages_target(uint64_t nodeid, char ret_target[AGES_TARGET_MAX]);

#endif

/*
 * life.h - a workload put to a store until its end, or until the process dies or the power fails.
 */
#ifndef ENGRAMFS_TESTS_LIFE_H
#define ENGRAMFS_TESTS_LIFE_H

#include "simdisk.h"
#include "workload.h"

/* How far it came, in steps of the workload. */
struct life {
    size_t synced; /* must survive a power loss */
    size_t acked;  /* was acknowledged */
    size_t issued; /* may have happened */
    size_t op;     /* the operation under way when it ended */
};

/* Issues the operations from `from` on to an open session; `life` says how far the store has come before.
 * False, with the reason in `why`: one gave what it should not. `live`: compares the store after each. */
bool life_issue(const struct workload *w, size_t from, struct session *s, struct simdisk *disk, bool live,
                struct life *life, char *why);
/* Opens a new store, issues all, and closes it. */
bool life_whole(const struct workload *w, uint64_t beside, uint64_t segment_size, struct simdisk *disk,
                bool live, struct life *life, char *why);

#endif

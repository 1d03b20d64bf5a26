/*
 * policy.h - which segments to compact: a pure function of what is known of
 * each. No state, no locks. */
#ifndef ENGRAMFS_POLICY_H
#define ENGRAMFS_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct candidate {
    uint32_t id;
    uint64_t total, live; /* payload bytes */
    uint64_t age;         /* sequence numbers since its last batch or death */
};

/*
 * Orders the candidates that hold garbage by what moving them pays, best first, and returns how many there
 * are; the others follow. Pays: free space won by age over cost, (1 - u) * age / (1 + u) for utilisation u
 * (Rosenblum and Ousterhout, The Design and Implementation of a Log-Structured File System, 1992). */
size_t policy_order(struct candidate *c, size_t n);

/* How many of n candidates, in their order, have to be emptied so that of the `total` bytes of which `live`
 * are live at most the share `leave` is garbage; n at most. */
size_t policy_enough(const struct candidate *c, size_t n, uint64_t total, uint64_t live, double leave);

/* How many of n candidates, in their order, hold together `goal` bytes of garbage; n at most. */
size_t policy_for_goal(const struct candidate *c, size_t n, uint64_t goal);

/* What a run by thresholds leaves of the share that it was started for: with less it would move what soon
 * dies, with more it would run all the time (tests/bench/amplification.c). */
#define POLICY_LEAVE 0.8

/* Whether the thresholds ask for a compaction: both strictly above. */
bool policy_wanted(uint64_t total, uint64_t live, double min_fragmentation, uint64_t min_bytes);

double policy_fragmentation(uint64_t total, uint64_t live);

#endif

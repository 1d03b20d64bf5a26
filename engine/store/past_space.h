/*
 * past_space.h - what the past alone takes: how much of it snapshots show, and what of each would come back
 * if it alone were dropped. Nothing is kept of that: a look goes through all inodes, when somebody asks; what
 * the last one has found is told again while nothing was changed, or for 32 times as long as it took, if that
 * was long, so that it takes 3 % of one processor at most.
 *
 * Locking: a lock of its own, outermost, for as long as a look takes: index_lock shared for a slice of it. */
#ifndef ENGRAMFS_PAST_SPACE_H
#define ENGRAMFS_PAST_SPACE_H

#include "base/util.h"

struct eng;

/* -ENOMEM. */
int past_space_new(struct eng *eng);
void past_space_free(struct eng *eng);
/* Of the bytes of the past, index_past_bytes(), those that a snapshot shows: the others are a history's, or
 * go with the next run of the job `history`. Under no lock. */
uint64_t past_space_of_snapshots(struct eng *eng);

#endif

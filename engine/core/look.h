/*
 * look.h - to look at the records of all segments, of which there may be many, without holding a lock for
 * long. What one segment shows is of one moment, what several do is not: a segment that comes or goes
 * meanwhile is met or is not.
 *
 * Locking: takes log.lock for each slice, or index_lock, shared. */
#ifndef ENGRAMFS_LOOK_H
#define ENGRAMFS_LOOK_H

#include "core/eng.h"

#define LOOK_SLICE 256u /* segments that are looked at in one hold */

/* Calls look(arg) for the record of each segment, under log.lock, until it returns other than 0; returns what
 * the last one did. It may not wait for anything. */
int look_at_segments(struct eng *eng, int (*look)(struct eng *eng, const struct seg_rec *seg, void *arg),
                     void *arg);
/* The same under index_lock, shared, so that it does not wait while a batch is written. */
void look_beside_writers(struct eng *eng, int (*look)(struct eng *eng, const struct seg_rec *seg, void *arg),
                         void *arg);

#endif

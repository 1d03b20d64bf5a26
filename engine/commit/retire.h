/*
 * retire.h - unlinking segments that nothing keeps (I4).
 *
 * Locking: a lock of its own, outside of log.queue: while it is held no segment is being unlinked.
 */
#ifndef ENGRAMFS_RETIRE_H
#define ENGRAMFS_RETIRE_H

#include "core/eng.h"

/* -ENOMEM. */
int retire_new(struct eng *eng);
void retire_free(struct eng *eng);
/* Unlinks every segment that I4 lets go; returns how many. */
unsigned retire_segments(struct eng *eng);
/* Between the two nothing is unlinked. */
void retire_exclude(struct eng *eng);
void retire_allow(struct eng *eng);

#endif

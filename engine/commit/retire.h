/*
 * retire.h - unlinking segments that no keeper needs (I4).
 *
 * Locking: a lock of its own, outside of log.queue: while it is held no segment is being unlinked. */
#ifndef ENGRAMFS_RETIRE_H
#define ENGRAMFS_RETIRE_H

#include "core/eng.h"

/* -ENOMEM. */
int retire_new(struct eng *eng);
void retire_free(struct eng *eng);
/* Unlinks every segment that no keeper needs; returns how many of those that the index knows. An error is
 * that of the mark that some of them wait for; the others are gone. */
int retire_segments(struct eng *eng);
/* The same; 0 or the error. */
int retire_emptied(struct eng *eng);
/* Unlinks a segment that has no record in the index; while a keeper needs it each retire_segments() tries
 * again. One that has a record is left to that, too. */
void retire_unrecorded(struct eng *eng, uint32_t id);
/* Between the two nothing is unlinked. */
void retire_exclude(struct eng *eng);
void retire_allow(struct eng *eng);

#endif

/*
 * workers.h - the background threads of a store:
 *   committer  makes everything durable every commit_ms, writes checkpoints when due, unlinks empty segments
 *   compactor  compactions, asked for or by threshold
 *   scrubber   scrubs
 * With no_background there are none, and the caller's thread does the work.
 */
#ifndef ENGRAMFS_WORKERS_H
#define ENGRAMFS_WORKERS_H

#include "core/eng.h"

/* Starts the threads. -ENOMEM, -EAGAIN. */
int workers_new(struct eng *eng);
/* Cancels, waits, ends the threads. */
void workers_free(struct eng *eng);
/* The configuration has changed. */
void workers_configured(struct eng *eng);
/* A writer waits for what the compaction gives back: neither pause nor rate hold it up. Calls nest. */
void compact_hurry(struct eng *eng, bool begin);
/* A compaction, waited for; one that is running already does as well, unless it is paused: -EBUSY. */
int compact_join(struct eng *eng);

#endif

/*
 * workers.h - the background threads of a store:
 *   committer    makes everything durable every commit_ms, and does nothing else: what is acknowledged while
 *                the others are at work waits no longer
 *   housekeeper  writes checkpoints when due; after each commit frees orphans, unlinks empty segments, keeps
 *                the reserve, looks whether maintenance is due
 *   one more for each kind of job, which waits until a job is asked for
 * With no_background there are none, and the caller's thread does the work. */
#ifndef ENGRAMFS_WORKERS_H
#define ENGRAMFS_WORKERS_H

#include "core/eng.h"

/* Starts the threads. -ENOMEM, -EAGAIN. */
int workers_new(struct eng *eng);
/* Cancels the jobs, waits for the threads and ends them. */
void workers_free(struct eng *eng);
/* The configuration has changed. */
void workers_configured(struct eng *eng);

#endif

/*
 * history.h - the job that lets go of past states and past names which no snapshot sees.
 *
 * Locking: index_lock shared for a slice of a walk, then log.lock for a batch; none between them. */
#ifndef ENGRAMFS_HISTORY_H
#define ENGRAMFS_HISTORY_H

#include "base/job.h"
#include "core/eng.h"

/* The work of ENG_JOB_HISTORY. */
int history_run(struct eng *eng, struct job *job);
/* A snapshot was dropped, or a run was cut short before: there may be something to do. */
void history_note(struct eng *eng);
/* The store is open, and has no threads yet: notes what an earlier run may have left. */
void history_opened(struct eng *eng);
/* Whether there may be something to do, and it was not tried in vain just now. */
bool history_is_due(struct eng *eng);
/* mono_ns() from which it is, 0 none: it may be behind, or lie ahead where it failed. */
uint64_t history_at(struct eng *eng);
/* Starts the job if it is due. With no_background it has ended when this returns. */
void history_look(struct eng *eng);

#endif

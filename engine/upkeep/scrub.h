/*
 * scrub.h - verifies every live extent where it lies. */
#ifndef ENGRAMFS_SCRUB_H
#define ENGRAMFS_SCRUB_H

#include "base/job.h"
#include "core/eng.h"

/* A scrub in this thread, as job_kind.run. */
int scrub_run(struct eng *eng, struct job *job);
/* The extents alone, for a job that does more; the figures are written under job->lock, as progress is.
 * Damage is covered by a checkpoint, but not by one of an index that the caller has found wrong. */
int scrub_all(struct eng *eng, struct job *job, bool is_sound, struct eng_scrub_figures *figures);

#endif

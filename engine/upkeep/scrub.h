/*
 * scrub.h - verifies every live extent where it lies.
 */
#ifndef ENGRAMFS_SCRUB_H
#define ENGRAMFS_SCRUB_H

#include "base/job.h"
#include "core/eng.h"

/* A scrub in this thread; the report is written under job->lock as it goes. 0, -ECANCELED, or the error. */
int scrub_run(struct eng *eng, struct job *job, struct eng_scrub_report *report);

#endif

/*
 * compact.h - one compaction: prepare, then steps of copy, install, retire.
 */
#ifndef ENGRAMFS_COMPACT_H
#define ENGRAMFS_COMPACT_H

#include "base/job.h"
#include "core/eng.h"

/*
 * Runs a compaction to its end in this thread: of as many victims, best first, as it takes until at most the
 * share `leave` of all content is garbage; 0: of all. Writers who wait for room on a full disk get all.
 * The job's gate is passed between steps; the report is written under job->lock as it goes. 0, -ECANCELED, or
 * the error; whatever it is, every memory is readable at a published location (I8).
 */
int compact_run(struct eng *eng, struct job *job, double leave, struct eng_compact_report *report);

#endif

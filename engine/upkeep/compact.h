/*
 * compact.h - one compaction: prepare, then steps of copy, install, retire. */
#ifndef ENGRAMFS_COMPACT_H
#define ENGRAMFS_COMPACT_H

#include "base/job.h"
#include "core/eng.h"

#define COMPACT_GROUP (512u << 10) /* refs in memory: 32 MiB */

/*
 * Runs a compaction to its end in this thread: of as many victims, best first, as it takes until at most the
 * share job->request.leave of all content is garbage; 0: of all. With job->request.goal until so many bytes
 * were given back, or all is moved that can be. As job_kind.run; whatever the result is, every memory is
 * readable at a published location (I8). */
int compact_run(struct eng *eng, struct job *job);
/* As job_kind.ended: counts it. */
void compact_ended(struct eng *eng, const struct eng_job_report *report);

#endif

/*
 * check.h - the index against itself, and every live extent against its
 * checksums. */
#ifndef ENGRAMFS_CHECK_H
#define ENGRAMFS_CHECK_H

#include "base/job.h"
#include "core/eng.h"

/* A check in this thread, as job_kind.run; findings go to job->request.options.on_problem. */
int check_run(struct eng *eng, struct job *job);

#endif

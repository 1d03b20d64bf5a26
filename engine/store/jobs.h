/*
 * jobs.h - the kinds of jobs that there are. */
#ifndef ENGRAMFS_JOBS_H
#define ENGRAMFS_JOBS_H

#include "upkeep/runner.h"

extern const struct job_kind job_kinds[ENG_JOBS];

/* The jobs of a store, none asked for. -ENOMEM. */
int jobs_new(struct eng *eng);

#endif

/*
 * thin.h - moments between the floor and now that nobody misses: in which nothing that is kept begins or
 * ends, so that the one before leads to the same tree. Not those of the last hour.
 *
 * Locking: as expiry.h. */
#ifndef ENGRAMFS_THIN_H
#define ENGRAMFS_THIN_H

#include "base/job.h"
#include "core/eng.h"

/* For the job `history`, when all has gone that may. Passes its gate. Goes through the whole index, so not
 * for a few moments, nor again and again. */
int thin_moments(struct eng *eng, struct job *job);

#endif

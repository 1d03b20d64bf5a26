/*
 * maintenance.h - whether it is time for a compaction: the thresholds of the
 * configuration, the check at the start, and the back-off from garbage that
 * cannot be gained. A decision, not a job: it starts one.
 *
 * Locking: a lock of its own, a leaf. */
#ifndef ENGRAMFS_MAINTENANCE_H
#define ENGRAMFS_MAINTENANCE_H

#include "core/eng.h"

/* -ENOMEM. */
int maintenance_new(struct eng *eng);
void maintenance_free(struct eng *eng);
/* The check at the start, before there are threads: asks for a compaction of a very fragmented store, which
 * the next maintenance_look() starts. */
void maintenance_opened(struct eng *eng);
/* Whether the check at the start has asked for a compaction that was not started yet. */
bool maintenance_is_due(struct eng *eng);
/* Starts a compaction if the check at the start or the thresholds ask for one, and the configuration allows
 * it. With no_background it has ended when this returns. */
void maintenance_look(struct eng *eng);
/* Notes what garbage a compaction left that has ended, by thresholds or not. */
void maintenance_compacted(struct eng *eng, const struct eng_job_report *report);

#endif

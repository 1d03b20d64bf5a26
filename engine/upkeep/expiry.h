/*
 * expiry.h - until when a history keeps what has ended: the floor rises with the store's age, with what is
 * kept (history_bytes), and as the configuration is changed. What ended by the floor the job `history` lets
 * go, if no snapshot sees it.
 *
 * Locking: index_lock shared for a slice of a walk, then log.lock for a batch; none between them. */
#ifndef ENGRAMFS_EXPIRY_H
#define ENGRAMFS_EXPIRY_H

#include "base/job.h"
#include "core/eng.h"

/* The floor says what the configuration says: whether there is a history. */
int expiry_switch(struct eng *eng);
/* Raises the floor: whatever may go now lies below it; durably, before anything goes. `job`: passes its gate.
 */
int expiry_raise(struct eng *eng, struct job *job);
/* What has ended by that batch is too old, 0: nothing is. */
uint64_t expiry_horizon(struct eng *eng);
/* How many past states of a memory, or past names of one place in a folder, are kept; 0: any number. Under
 * log.lock or index_lock. */
uint64_t expiry_versions(const struct eng *eng);
/* As job_kind.ended: says when to look again. */
void expiry_ended(struct eng *eng, const struct eng_job_report *report);

#endif

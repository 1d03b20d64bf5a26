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
/* Raises the floor: whatever may go now lies below it; with a goal of the job's request so many bytes, or
 * what there is. Durably, before anything goes. Passes the job's gate. */
int expiry_raise(struct eng *eng, struct job *job);
/* What has ended by that batch is too old, 0: nothing is. */
uint64_t expiry_horizon(struct eng *eng);
/* How many past states of a memory, or past names of one place in a folder, are kept; 0: any number. Under
 * log.lock or index_lock. */
uint64_t expiry_versions(const struct eng *eng);
/* Whether a history keeps something that a full disk may take away. */
bool expiry_may_give(struct eng *eng);
/* The snapshot that shows most of what is there for snapshots alone, and how many bytes. False: there is
 * none, or nobody can tell. */
bool expiry_largest(struct eng *eng, char ret_name[ENG_NAME_MAX + 1], uint64_t *ret_bytes);
/* As job_kind.ended: says when to look again. */
void expiry_ended(struct eng *eng, const struct eng_job_report *report);

#endif

/*
 * orphans.h - inodes that have lost their last name and reference, to be freed with a later batch.
 *
 * Locking: a lock of its own, a leaf. */
#ifndef ENGRAMFS_ORPHANS_H
#define ENGRAMFS_ORPHANS_H

#include "core/eng.h"

/* -ENOMEM. */
int orphans_new(struct eng *eng);
void orphans_free(struct eng *eng);
/* Queues an inode that may have lost its last name and reference, to be freed with a later batch. */
void orphans_add(struct eng *eng, uint64_t ino);
/* Whether any is queued. */
bool orphans_any(struct eng *eng);
/* For commit_txn(), under log.lock: adds the freeing of the first *ret_n queued orphans to the transaction;
 * orphans_drop() drops them once it is committed. -ENOMEM. */
int orphans_stage(struct eng *eng, struct txn *txn, size_t *ret_n);
void orphans_drop(struct eng *eng, size_t n);

#endif

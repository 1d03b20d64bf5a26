/*
 * orphans.h - inodes that have lost their last name and reference, and tails that truncations have left
 * behind: both are freed with later batches, a slice at a time (eng_cut()). An inode whose past names are
 * kept stays, but for what was written to it behind the last of these: nothing shows that.
 *
 * Locking: a lock of its own, a leaf. */
#ifndef ENGRAMFS_ORPHANS_H
#define ENGRAMFS_ORPHANS_H

#include "core/eng.h"

/* -ENOMEM. */
int orphans_new(struct eng *eng);
void orphans_free(struct eng *eng);
/* Queues an inode that may have lost its last name and reference, or has a tail, to be freed with a later
 * batch. */
void orphans_add(struct eng *eng, uint64_t ino);
/* Whether something of the inode goes when nobody has it open: all, or what no past name shows. */
bool orphans_frees(const struct index *idx, const struct inode_rec *inode);
/* Queues all that an earlier run has left. Locks index_lock, for a few inodes at a time. */
void orphans_find(struct eng *eng);
/* As how many extents (eng_cut()) counts what freeing the inode takes out of the index; of its xattrs a slice
 * and one more at most are looked at. Under log.lock. */
uint64_t orphans_weight(const struct eng *eng, const struct inode_rec *inode);
/* How many are queued. */
size_t orphans_queued(struct eng *eng);
/* For commit_txn(), under log.lock: adds to the transaction the freeing of what is queued, as far as a slice
 * goes. With the first *ret_n it is done; orphans_drop() drops them once it is committed. -ENOMEM. */
int orphans_stage(struct eng *eng, struct txn *txn, size_t *ret_n);
void orphans_drop(struct eng *eng, size_t n);
/* The same, once it is committed: queues the inodes to which its DROP_NAMEs have left nothing that leads, or
 * nothing that shows them as they are. */
void orphans_after(struct eng *eng, const struct txn *txn);
/* Under log.lock: adds the freeing of a slice of the file's tail to the transaction; *ret_more: a tail is
 * left then. -ENOMEM, -EBADMSG. */
int orphans_stage_tail(struct eng *eng, struct txn *txn, uint64_t ino, bool *ret_more);
/* The same for the past name in record i, of that folder; -ENOMEM, -EBADMSG. */
int orphans_stage_name(struct eng *eng, struct txn *txn, uint64_t dir, uint32_t i);
/* The same for the past state in that slot, or a slice of it. False: there is more of it, or *ret_r is an
 * error. */
bool orphans_stage_drop(struct eng *eng, struct txn *txn, uint32_t slot, int *ret_r);

#endif

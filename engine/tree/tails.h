/*
 * tails.h - changes of a file's size where many extents lie behind the end: they become a tail, to be freed
 * in slices (commit_tail()).
 *
 * Locking: log.lock. */
#ifndef ENGRAMFS_TAILS_H
#define ENGRAMFS_TAILS_H

#include "core/eng.h"

/* Adds to the transaction the change of the file's size. *ret_tail: more extents lie behind it than a batch
 * may free; the caller has them freed after the commit, or queued. -ENOMEM, -EBADMSG. */
int tail_stage_size(struct eng *eng, struct txn *txn, uint64_t ino, uint64_t size, int64_t time,
                    bool *ret_tail);
/* Whether so much of a tail lies below `end` that the caller must let go of the lock and call commit_tail()
 * before the file grows to there. */
bool tail_in_way(struct eng *eng, uint64_t ino, uint64_t end);
/* The same before the size is set, up or down: of an inode that has a past no truncation follows another one
 * whose tail is there. */
bool tail_in_way_of_size(struct eng *eng, uint64_t ino, uint64_t size);

#endif

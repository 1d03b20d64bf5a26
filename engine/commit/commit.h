/*
 * commit.h - the life of a mutation: commit_begin(), one commit_txn() or more, commit_end().
 *
 * Locking: log.queue and log.lock from commit_begin() to commit_end(). */
#ifndef ENGRAMFS_COMMIT_H
#define ENGRAMFS_COMMIT_H

#include "base/job.h"
#include "core/eng.h"

/* Locks log.lock for a mutation. -EROFS; -EIO: the index is damaged. */
int commit_begin(struct eng *eng);
/* Returns what the mutation has come to: `r`; of one that failed while a part of the index could not be had,
 * because of what. */
int commit_end(struct eng *eng, int r);
/* Between the two: writes the transaction to the log and applies it. On an error nothing has happened; after
 * -ENOSPC a caller's change is begun anew as full_disk_again() says (upkeep/full_disk.h). */
int commit_txn(struct eng *eng, struct txn *txn);
/* Under log.lock, before a segment is sealed: whether there may be a summary, and is room for one. */
void commit_seals_locked(struct eng *eng);
/* Has the disk say what of the log is durable by now, durably: batches without operations, and a flush
 * (log_marked()). */
int commit_mark(struct eng *eng);
/* Frees the queued orphans now. */
int commit_orphans(struct eng *eng);
/* The same, for who only looks, or closes the store: some batches of them, and the others come later. */
void commit_some_orphans(struct eng *eng);
/* The same for a job, which may be paused or cancelled between two batches. -ECANCELED. */
int commit_orphans_of(struct eng *eng, struct job *job);
/* One batch of them. */
int commit_next_orphans(struct eng *eng);
/* Frees the file's tail now, a slice at a time; others have their turn in between. What an error leaves is
 * for whoever truncated the file to queue: once, and not each who finds it in the way. */
int commit_tail(struct eng *eng, uint64_t ino);

#endif

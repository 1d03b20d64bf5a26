/*
 * commit.h - the life of a mutation: commit_begin(), one commit_txn() or more, commit_end().
 *
 * Locking: log.queue and log.lock from commit_begin() to commit_end(). */
#ifndef ENGRAMFS_COMMIT_H
#define ENGRAMFS_COMMIT_H

#include "core/eng.h"

/* Locks log.lock for a mutation that needs no room made first; others call full_disk_begin(). -EROFS. */
int commit_begin(struct eng *eng);
void commit_end(struct eng *eng);
/* Between the two: writes the transaction to the log and applies it. On an error nothing has happened. */
int commit_txn(struct eng *eng, struct txn *txn);
/* Frees the queued orphans now. */
int commit_orphans(struct eng *eng);

#endif

/*
 * position.h - who waits until a batch is shown (eng_position_wait()).
 *
 * Without waiters a batch costs one load.
 *
 * Locking: a lock of its own, a leaf. What waiters gave to be called is called under no lock. */
#ifndef ENGRAMFS_POSITION_H
#define ENGRAMFS_POSITION_H

#include "core/eng.h"

/* -ENOMEM. */
int position_new(struct eng *eng);
/* Tells those who still wait -ESHUTDOWN. */
void position_free(struct eng *eng);
/* Tells those who wait for batch `seq` or one before it. Under no lock, after log.lock was given back by
 * the thread that published the batch. */
void position_wake(struct eng *eng, uint64_t seq);
/* Tells all of them, now and later, -ESHUTDOWN. */
void position_shut(struct eng *eng);

#endif

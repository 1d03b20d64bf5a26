/*
 * wake.h - the bell of the committer: rung by threads that made work for it.
 *
 * Locking: wake->lock, which also protects the wish that the committer stop (upkeep/workers.c). */
#ifndef ENGRAMFS_WAKE_H
#define ENGRAMFS_WAKE_H

#include "base/util.h"

struct wake {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool wanted; /* the committer has something to do. Protected by lock. */
};

void wake_init(struct wake *wake);
void wake_free(struct wake *wake);
/* Wakes the committer; every mutation calls this while a checkpoint is due, so that the bell is rung once
 * only. */
void wake_workers(struct wake *wake);

#endif

/*
 * wake.h - the bell of the housekeeper: rung by threads that made work for it.
 *
 * Locking: wake->lock, which also protects what the threads of upkeep/workers.c tell each other. */
#ifndef ENGRAMFS_WAKE_H
#define ENGRAMFS_WAKE_H

#include "base/util.h"

struct wake {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool wanted; /* the housekeeper has something to do. Protected by lock. */
};

void wake_init(struct wake *wake);
void wake_free(struct wake *wake);
/* Wakes the housekeeper, and the committer, to see whether its time has changed; every mutation calls this
 * while a checkpoint is due, so that the bell is rung once only. */
void wake_workers(struct wake *wake);
/* The same, whether or not somebody rang already: what the others wait by has changed, too. */
void wake_everyone(struct wake *wake);
/* The same under wake->lock. */
void wake_workers_locked(struct wake *wake);

#endif

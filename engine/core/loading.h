/*
 * loading.h - how much of the index of an open store is loaded and verified. A large store answers before all
 * of it is (image/rest.h). Until then each chunk of the index is verified when it is first needed, and what
 * would destroy anything, or write the index, waits.
 *
 * Locking: a lock of its own, a leaf. `state` may be read without it. */
#ifndef ENGRAMFS_LOADING_H
#define ENGRAMFS_LOADING_H

#include "core/report.h"
#include "index/index.h"

enum loading_state {
    LOADING_DONE,      /* the index is whole, and is sound */
    LOADING_UNDER_WAY, /* no more is known than that its head is */
    LOADING_FAILED     /* a part is lost, or it is not sound: nothing that it says counts */
};

struct loading {
    _Atomic unsigned state;          /* enum loading_state: from UNDER_WAY to one of the others, once */
    _Atomic uint64_t chunks, loaded; /* of the index; of these in memory, or known not to be needed */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool under_way; /* protected by lock: somebody works at it. After `state`: what follows is done, too */
    bool stop;      /* protected by lock: the store is being closed */
    bool hurry;     /* protected by lock: the same, and somebody waits: what fails now is not tried again */
};

void loading_init(struct loading *loading);
void loading_free(struct loading *loading);
void loading_begin(struct loading *loading, uint64_t chunks);
/* It is verified. */
void loading_succeed(struct loading *loading);
/* It cannot be used: everybody gets -EIO from now on, and nothing is written. `why` is for people. Nothing
 * happens if it is verified. */
void loading_fail(struct loading *loading, struct report *report, const char *why);
/* Nobody works at it any more. */
void loading_end(struct loading *loading);
/* Nobody shall wait or work any more: the store is being closed. */
void loading_stop(struct loading *loading);
/* Somebody who closes the store waits for the index as long as it comes, and not for what may pass. */
void loading_hurry(struct loading *loading);
/* Waits for `ms` at most, or until loading_stop() or loading_hurry(): whether that has been called. */
bool loading_pause(struct loading *loading, unsigned ms);
/* Waits until it is known whether the index is whole. 0; -EIO: it is not; -ECANCELED: the store is being
 * closed. */
int loading_await(struct loading *loading);

/* Chunks that are still to be loaded; 1 at least as long as it is not verified. */
uint64_t loading_left(const struct loading *loading);
static inline bool loading_is_done(const struct loading *loading)
{
    return atomic_load_explicit(&loading->state, memory_order_acquire) == LOADING_DONE;
}

/* -EIO: nothing that the index says counts any more. Else why this thread could not have a part of it since
 * it last set pool_missed to 0; 0: it could. For what was found in the index, before it is given to anybody;
 * not needed once it is verified. */
int loading_doubt(const struct loading *loading, const struct index *idx);

#endif

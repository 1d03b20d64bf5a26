/*
 * job.h - a piece of background work that people start, watch, pause, slow
 * down, cancel and wait for: compaction and scrub.
 *
 * Locking: job->lock, a leaf. Waiters are called under no lock. */
#ifndef ENGRAMFS_JOB_H
#define ENGRAMFS_JOB_H

#include "admin.h"
#include "base/util.h"

struct waiter {
    void (*done)(void); /* really of the type that the job's owner knows */
    void *arg;
};

struct job {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    /* all protected by lock */
    enum eng_compact_state state;
    bool wanted; /* asked for, not begun */
    bool cancel, paused, stop;
    unsigned hurry;   /* writers that wait for it, on a full disk: neither pause nor rate hold it up */
    uint64_t rate;    /* bytes/s, 0 unlimited */
    uint64_t free_at; /* mono_ns() from which the next bytes may be moved */
    struct waiter *waiters;
    size_t n_waiters, cap_waiters;
};

void job_init(struct job *job);
void job_free(struct job *job);
/* Asks for a run. -EBUSY if one is wanted or under way; -ESHUTDOWN. */
int job_start(struct job *job, void (*done)(void), void *arg);
/* Adds a waiter to the run wanted or under way. 1: there is none. */
int job_await(struct job *job, void (*done)(void), void *arg);
/* -ESRCH if nothing is under way. */
int job_pause(struct job *job, bool pause);
int job_cancel(struct job *job);
void job_set_rate(struct job *job, uint64_t rate);
void job_hurry(struct job *job, bool begin);
bool job_hurried(struct job *job);
/* For the thread that does the work: takes the wish, marks it running. False: nothing wanted. */
bool job_take(struct job *job);
/* Between two steps, after `bytes` were moved: waits while paused or too fast. -ECANCELED. */
int job_gate(struct job *job, uint64_t bytes);
/*
 * For background work that takes the locks of mutations again and again, where it holds none: the
 * processor goes to whoever waits for it. The scheduler would take it away anyhow, most likely while a
 * lock is held, and whoever waits for that lock then waits for the turns of others, some milliseconds.
 * *last: 0 at first. */
void job_yield(uint64_t *last);
/* Ends the run; the waiters are handed over. */
void job_finish(struct job *job, int error, struct waiter **ret_waiters, size_t *ret_n);
/* No further run; one under way is cancelled. */
void job_stop(struct job *job);
bool job_busy(struct job *job);

#endif

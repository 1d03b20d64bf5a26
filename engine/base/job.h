/*
 * job.h - a piece of background work that people start, watch, pause, slow
 * down, cancel and wait for: the state of one kind, whatever its work is.
 *
 * Locking: job->lock, a leaf. Nobody is told under it. */
#ifndef ENGRAMFS_JOB_H
#define ENGRAMFS_JOB_H

#include "admin.h"
#include "base/util.h"

typedef void job_on_done(void *arg, const struct eng_job_report *report);

struct job_waiter {
    job_on_done *on_done;
    void *arg;
};

/* What a run is asked for with. */
struct job_request {
    struct eng_job_options options;
    const char *reason; /* for the report; borrowed during the call */
    double leave;       /* of a compaction: the share of garbage that may stay; 0: none */
    bool cuts_only;     /* of the job `history`: of lines that got long */
    uint64_t goal;      /* of a compaction: bytes after which it ends, best victims first; 0: no such goal */
};

struct job {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    /* All that follows is protected by lock. The report is that of the run under way or ended last: the work
     * writes its figures here, job_report() adds the rate and whether it is paused. */
    struct eng_job_report report;
    struct job_request request; /* unchanged while a run is under way, which reads this without the lock */
    bool wanted;                /* under way, but no thread has taken the run yet */
    bool cancel, paused, stop;
    unsigned hurry;   /* who waits for room on a full disk: neither pause nor rate hold it up */
    uint64_t began;   /* mono_ns() */
    uint64_t rate;    /* bytes/s, 0 unlimited */
    uint64_t free_at; /* mono_ns() from which the next bytes may be moved */
    struct job_waiter *waiters;
    size_t n_waiters, cap_waiters;
};

void job_init(struct job *job, enum eng_job_id id, const char *unit);
void job_free(struct job *job);
/* Asks for a run. on_done may be NULL, here and below. -EBUSY if one is under way; -ESHUTDOWN. */
int job_start(struct job *job, const struct job_request *request, job_on_done *on_done, void *arg);
/* Adds a waiter to the run under way; *ret_none: there is none, and the waiter was not added. */
int job_await(struct job *job, job_on_done *on_done, void *arg, bool *ret_none);
/* -ESRCH if nothing is under way. */
int job_pause(struct job *job, bool pause);
int job_cancel(struct job *job);
void job_set_rate(struct job *job, uint64_t rate);
void job_hurry(struct job *job, bool begin);
bool job_hurried(struct job *job);
/* As of now, for others. */
void job_report(struct job *job, struct eng_job_report *ret_report);
bool job_busy(struct job *job);

/* For the thread that does the work: takes the run that is wanted. False: none is. */
bool job_take(struct job *job);
/* The same, but waits for one. False: none will come, after job_stop(). */
bool job_take_next(struct job *job);
/* Why it ran is now known better. */
void job_set_reason(struct job *job, const char *reason);
/* Between two steps, after `bytes` were moved: waits while paused or too fast. -ECANCELED. */
int job_gate(struct job *job, uint64_t bytes);
/*
 * For background work that takes the locks of mutations again and again, where it holds none: gives the
 * processor to a thread that waits for one. Otherwise the scheduler takes it away, most likely while a lock
 * is held, and those that wait for the lock then wait for the turns of others, some milliseconds.
 * *last: 0 at first. Many short looks leave it out where the store has no threads: nobody waits then, and on
 * a busy machine each such gift takes as long as all others like. */
void job_yield(uint64_t *last);
/* The work has ended with `error`: the whole report. The job stays under way until job_finish(). */
void job_end(struct job *job, int error, struct eng_job_report *ret_report);
/* Ends the run; the waiters are handed over, to be told what job_end() gave. */
void job_finish(struct job *job, struct job_waiter **ret_waiters, size_t *ret_n);
/* No further run; one under way is cancelled. */
void job_stop(struct job *job);

#endif

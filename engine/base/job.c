/*
 * job.c - see job.h. */
#include "base/job.h"

#include <sched.h>

void job_init(struct job *job)
{
    *job = (struct job){.state = ENG_COMPACT_IDLE};
    pthread_mutex_init(&job->lock, NULL);
    cond_init_mono(&job->cond);
}

void job_free(struct job *job)
{
    free(job->waiters);
    pthread_cond_destroy(&job->cond);
    pthread_mutex_destroy(&job->lock);
}

static bool under_way_locked(const struct job *job)
{
    return job->wanted || job->state == ENG_COMPACT_RUNNING || job->state == ENG_COMPACT_PAUSED;
}

static int add_waiter_locked(struct job *job, void (*done)(void), void *arg)
{
    if (!done)
        return 0;
    int r = array_grow(&job->waiters, &job->cap_waiters, job->n_waiters + 1, sizeof *job->waiters);
    if (!r)
        job->waiters[job->n_waiters++] = (struct waiter){done, arg};
    return r;
}

int job_start(struct job *job, void (*done)(void), void *arg)
{
    pthread_mutex_lock(&job->lock);
    int r = job->stop ? -ESHUTDOWN : under_way_locked(job) ? -EBUSY : add_waiter_locked(job, done, arg);
    if (!r) {
        job->wanted = true;
        job->cancel = job->paused = false;
        job->free_at = 0;
        pthread_cond_broadcast(&job->cond);
    }
    pthread_mutex_unlock(&job->lock);
    return r;
}

int job_await(struct job *job, void (*done)(void), void *arg)
{
    pthread_mutex_lock(&job->lock);
    int r = under_way_locked(job) ? add_waiter_locked(job, done, arg) : 1;
    pthread_mutex_unlock(&job->lock);
    return r;
}

int job_pause(struct job *job, bool pause)
{
    pthread_mutex_lock(&job->lock);
    int r = under_way_locked(job) ? 0 : -ESRCH;
    if (!r) {
        job->paused = pause;
        pthread_cond_broadcast(&job->cond);
    }
    pthread_mutex_unlock(&job->lock);
    return r;
}

int job_cancel(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    int r = under_way_locked(job) ? 0 : -ESRCH;
    if (!r) {
        job->cancel = true;
        pthread_cond_broadcast(&job->cond);
    }
    pthread_mutex_unlock(&job->lock);
    return r;
}

void job_set_rate(struct job *job, uint64_t rate)
{
    pthread_mutex_lock(&job->lock);
    job->rate = rate;
    job->free_at = 0;
    pthread_cond_broadcast(&job->cond);
    pthread_mutex_unlock(&job->lock);
}

void job_hurry(struct job *job, bool begin)
{
    pthread_mutex_lock(&job->lock);
    job->hurry += begin ? 1u : -1u;
    pthread_cond_broadcast(&job->cond);
    pthread_mutex_unlock(&job->lock);
}

bool job_hurried(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    bool hurried = job->hurry > 0;
    pthread_mutex_unlock(&job->lock);
    return hurried;
}

bool job_take(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    bool taken = job->wanted;
    if (taken) {
        job->wanted = false;
        job->state = ENG_COMPACT_RUNNING;
    }
    pthread_mutex_unlock(&job->lock);
    return taken;
}

/* Work that was held up by something else, a flush say, may catch up by so much; else the mean stays below
 * the rate. */
#define RATE_CREDIT_NS UINT64_C(250000000)
/* Between two yields: on a busy machine each may cost a turn of somebody else's. */
#define YIELD_NS UINT64_C(100000)

void job_yield(uint64_t *last)
{
    uint64_t now = mono_ns();
    if (now - *last < YIELD_NS)
        return;
    sched_yield();
    *last = mono_ns();
}

int job_gate(struct job *job, uint64_t bytes)
{
    pthread_mutex_lock(&job->lock);
    if (job->rate && bytes) {
        uint64_t now = mono_ns();
        uint64_t from = job->free_at ? MAX_OF(job->free_at, now - MIN_OF(now, RATE_CREDIT_NS)) : now;
        job->free_at = from + (uint64_t)((double)bytes * 1e9 / (double)job->rate);
    }
    while (!job->cancel && !job->stop && !job->hurry &&
           (job->paused || (job->rate && job->free_at > mono_ns()))) {
        job->state = job->paused ? ENG_COMPACT_PAUSED : ENG_COMPACT_RUNNING;
        if (job->paused) {
            pthread_cond_wait(&job->cond, &job->lock);
        } else {
            struct timespec until = mono_after(job->free_at - MIN_OF(job->free_at, mono_ns()));
            pthread_cond_timedwait(&job->cond, &job->lock, &until);
        }
    }
    job->state = ENG_COMPACT_RUNNING;
    int r = job->cancel || job->stop ? -ECANCELED : 0;
    pthread_mutex_unlock(&job->lock);
    return r;
}

void job_finish(struct job *job, int error, struct waiter **ret_waiters, size_t *ret_n)
{
    pthread_mutex_lock(&job->lock);
    job->state = !error ? ENG_COMPACT_DONE : error == -ECANCELED ? ENG_COMPACT_CANCELLED : ENG_COMPACT_FAILED;
    *ret_waiters = job->waiters;
    *ret_n = job->n_waiters;
    job->waiters = NULL;
    job->n_waiters = job->cap_waiters = 0;
    pthread_mutex_unlock(&job->lock);
}

void job_stop(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    job->stop = true;
    pthread_cond_broadcast(&job->cond);
    pthread_mutex_unlock(&job->lock);
}

bool job_busy(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    bool busy = under_way_locked(job);
    pthread_mutex_unlock(&job->lock);
    return busy;
}

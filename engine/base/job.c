/*
 * job.c - see job.h. */
#include "base/job.h"

#include <sched.h>
#include <stdio.h>

void job_init(struct job *job, enum eng_job_id id, const char *unit)
{
    *job = (struct job){.report = {.job = id, .unit = unit}};
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
    return job->report.state == ENG_JOB_RUNNING || job->report.state == ENG_JOB_PAUSED;
}

static int add_waiter_locked(struct job *job, job_on_done *on_done, void *arg)
{
    if (!on_done)
        return 0;
    int r = array_grow(&job->waiters, &job->cap_waiters, job->n_waiters + 1, sizeof *job->waiters);
    if (!r)
        job->waiters[job->n_waiters++] = (struct job_waiter){on_done, arg};
    return r;
}

static void set_reason_locked(struct job *job, const char *reason)
{
    snprintf(job->report.reason, sizeof job->report.reason, "%s", reason);
}

static int start_locked(struct job *job, const struct job_request *request, job_on_done *on_done, void *arg)
{
    if (job->stop)
        return -ESHUTDOWN;
    if (under_way_locked(job))
        return -EBUSY;
    int r = add_waiter_locked(job, on_done, arg);
    if (r)
        return r;
    job->request = *request;
    job->request.reason = NULL;
    job->report =
        (struct eng_job_report){.job = job->report.job, .unit = job->report.unit, .state = ENG_JOB_RUNNING};
    set_reason_locked(job, request->reason);
    job->wanted = true;
    job->cancel = job->paused = false;
    job->free_at = 0;
    pthread_cond_broadcast(&job->cond);
    return 0;
}

int job_start(struct job *job, const struct job_request *request, job_on_done *on_done, void *arg)
{
    pthread_mutex_lock(&job->lock);
    int r = start_locked(job, request, on_done, arg);
    pthread_mutex_unlock(&job->lock);
    return r;
}

int job_await(struct job *job, job_on_done *on_done, void *arg, bool *ret_none)
{
    pthread_mutex_lock(&job->lock);
    bool none = !under_way_locked(job);
    int r = none ? 0 : add_waiter_locked(job, on_done, arg);
    pthread_mutex_unlock(&job->lock);
    if (!r)
        *ret_none = none;
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

void job_report(struct job *job, struct eng_job_report *ret_report)
{
    pthread_mutex_lock(&job->lock);
    *ret_report = job->report;
    if (under_way_locked(job)) /* whether it has come to the gate or not */
        ret_report->state = job->paused ? ENG_JOB_PAUSED : ENG_JOB_RUNNING;
    ret_report->rate = job->rate;
    pthread_mutex_unlock(&job->lock);
}

void job_set_reason(struct job *job, const char *reason)
{
    pthread_mutex_lock(&job->lock);
    set_reason_locked(job, reason);
    pthread_mutex_unlock(&job->lock);
}

static bool take_locked(struct job *job)
{
    bool taken = job->wanted;
    job->wanted = false;
    if (taken)
        job->began = mono_ns();
    return taken;
}

bool job_take(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    bool taken = take_locked(job);
    pthread_mutex_unlock(&job->lock);
    return taken;
}

bool job_take_next(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    while (!job->wanted && !job->stop)
        pthread_cond_wait(&job->cond, &job->lock);
    bool taken = take_locked(job); /* also while stopping: some wait for an answer */
    pthread_mutex_unlock(&job->lock);
    return taken;
}

/* Work that was held up by something else, a flush say, may catch up by so much; else the mean stays below
 * the rate. */
#define RATE_CREDIT_NS UINT64_C(250000000)
/* Between two yields: on a busy machine each may cost a turn of another thread. */
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
        job->report.state = job->paused ? ENG_JOB_PAUSED : ENG_JOB_RUNNING;
        if (job->paused) {
            pthread_cond_wait(&job->cond, &job->lock);
        } else {
            struct timespec until = mono_after(job->free_at - MIN_OF(job->free_at, mono_ns()));
            pthread_cond_timedwait(&job->cond, &job->lock, &until);
        }
    }
    job->report.state = ENG_JOB_RUNNING;
    int r = job->cancel || job->stop ? -ECANCELED : 0;
    pthread_mutex_unlock(&job->lock);
    return r;
}

static enum eng_job_state state_after(int error)
{
    if (error == -ECANCELED)
        return ENG_JOB_CANCELLED;
    return error ? ENG_JOB_FAILED : ENG_JOB_DONE;
}

void job_end(struct job *job, int error, struct eng_job_report *ret_report)
{
    pthread_mutex_lock(&job->lock);
    job->report.error = error;
    job->report.duration_ms = (mono_ns() - job->began) / 1000000;
    *ret_report = job->report;
    ret_report->state = state_after(error);
    ret_report->rate = job->rate;
    pthread_mutex_unlock(&job->lock);
}

void job_finish(struct job *job, struct job_waiter **ret_waiters, size_t *ret_n)
{
    pthread_mutex_lock(&job->lock);
    job->report.state = state_after(job->report.error);
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

/*
 * runner.c - see runner.h. */
#include "upkeep/runner.h"

#include "image/rest.h"

struct runner {
    const struct job_kind *kinds; /* immutable */
    struct job jobs[ENG_JOBS];
};

int runner_new(struct eng *eng, const struct job_kind *kinds)
{
    struct runner *runner = calloc(1, sizeof *runner);
    if (!runner)
        return -ENOMEM;
    runner->kinds = kinds;
    for (unsigned i = 0; i < ENG_JOBS; i++)
        job_init(&runner->jobs[i], (enum eng_job_id)i, kinds[i].unit);
    eng->runner = runner;
    return 0;
}

void runner_free(struct eng *eng)
{
    if (!eng->runner)
        return;
    for (unsigned i = 0; i < ENG_JOBS; i++)
        job_free(&eng->runner->jobs[i]);
    free(eng->runner);
    eng->runner = NULL;
}

struct job *runner_job(struct eng *eng, enum eng_job_id id)
{
    return &eng->runner->jobs[id];
}

/* Runs a job that was taken, and tells its waiters. */
static void run_taken(struct eng *eng, enum eng_job_id id)
{
    const struct job_kind *kind = &eng->runner->kinds[id];
    struct job *job = runner_job(eng, id);
    struct eng_job_report report;
    struct job_waiter *waiters;
    size_t n;
    int r = rest_await(eng); /* what is damaged is refused, before anything is built on it */
    job_end(job, r ? r : kind->run(eng, job), &report);
    if (kind->ended)
        kind->ended(eng, &report);
    job_finish(job, &waiters, &n); /* from here on another run may be asked for */
    for (size_t i = 0; i < n; i++)
        waiters[i].on_done(waiters[i].arg, &report);
    free(waiters);
}

int runner_start(struct eng *eng, enum eng_job_id id, const struct job_request *request, job_on_done *on_done,
                 void *arg)
{
    struct job *job = runner_job(eng, id);
    if (eng->runner->kinds[id].writes && is_read_only(eng))
        return -EROFS;
    int r = job_start(job, request, on_done, arg);
    if (!r && eng->opt.no_background && job_take(job))
        run_taken(eng, id);
    return r;
}

int runner_wait(struct eng *eng, enum eng_job_id id, job_on_done *on_done, void *arg)
{
    struct eng_job_report report;
    bool none;
    int r = job_await(runner_job(eng, id), on_done, arg, &none);
    if (r || !none || !on_done)
        return r;
    job_report(runner_job(eng, id), &report);
    on_done(arg, &report);
    return 0;
}

/* ---- waiting in the caller's thread --------------------------------------------------- */

struct sync_wait {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool ended;                   /* protected by lock */
    struct eng_job_report report; /* protected by lock */
};
#define SYNC_WAIT                                                                                            \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER                                  \
    }

static void sync_done(void *arg, const struct eng_job_report *report)
{
    struct sync_wait *s = arg;
    pthread_mutex_lock(&s->lock);
    s->report = *report;
    s->ended = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static int sync_wait(struct sync_wait *s, struct eng_job_report *ret_report)
{
    pthread_mutex_lock(&s->lock);
    while (!s->ended)
        pthread_cond_wait(&s->cond, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (ret_report)
        *ret_report = s->report;
    return s->report.error;
}

int runner_run(struct eng *eng, enum eng_job_id id, const struct job_request *request,
               struct eng_job_report *ret_report)
{
    struct sync_wait s = SYNC_WAIT;
    int r = runner_start(eng, id, request, sync_done, &s);
    return r ? r : sync_wait(&s, ret_report);
}

int runner_join(struct eng *eng, enum eng_job_id id, struct eng_job_report *ret_report)
{
    struct sync_wait s = SYNC_WAIT;
    int r = runner_wait(eng, id, sync_done, &s);
    return r ? r : sync_wait(&s, ret_report);
}

/* ---- for the threads ------------------------------------------------------------------ */

void runner_serve(struct eng *eng, enum eng_job_id id)
{
    while (job_take_next(runner_job(eng, id)))
        run_taken(eng, id);
}

void runner_configured(struct eng *eng)
{
    for (unsigned i = 0; i < ENG_JOBS; i++) {
        const char *key = eng->runner->kinds[i].rate_key;
        if (key)
            job_set_rate(&eng->runner->jobs[i], config_number(&eng->config, key));
    }
}

void runner_stop(struct eng *eng)
{
    for (unsigned i = 0; i < ENG_JOBS; i++)
        job_stop(&eng->runner->jobs[i]);
}

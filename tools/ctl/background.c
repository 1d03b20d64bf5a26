/*
 * background.c - State: struct background, shared by the two threads. */
#include "ctl/background.h"

#include "ctl/report.h"
#include "shared/control.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct background {
    int (*work)(void *arg); /* immutable, as arg is */
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended; /* protected by lock */
    int result; /* protected by lock */
};

static void *run(void *arg)
{
    struct background *b = arg;
    int r = b->work(b->arg);
    pthread_mutex_lock(&b->lock);
    b->ended = true;
    b->result = r;
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Waits a fifth of a second at most; whether the work has ended. */
static bool has_ended(struct background *b)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 200000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&b->lock);
    int r = 0;
    while (!b->ended && !r)
        r = pthread_cond_timedwait(&b->changed, &b->lock, &until);
    bool ended = b->ended;
    pthread_mutex_unlock(&b->lock);
    return ended;
}

int background_run(int (*work)(void *arg), void (*look)(void *arg, struct progress *p), void *arg,
                   const char *what)
{
    struct background background = {
        .work = work, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct progress progress;
    pthread_t thread;
    progress_start(&progress, what);
    if (pthread_create(&thread, NULL, run, &background) != 0)
        return -EAGAIN;
    while (!has_ended(&background))
        look(arg, &progress);
    pthread_join(thread, NULL);
    progress_clear(&progress);
    return background.result;
}

/* ---- jobs of the engine ------------------------------------------------------- */

struct engine_job {
    struct eng *eng;
    enum eng_job_id id;
    bool cancelled; /* used by the looking thread only */
};

static int run_job(void *arg)
{
    const struct engine_job *job = arg;
    return eng_job_run(job->eng, job->id, NULL, NULL);
}

static void look_at_job(void *arg, struct progress *p)
{
    struct engine_job *job = arg;
    struct eng_job_report report;
    if (eng_job_status(job->eng, job->id, &report) == 0)
        progress_show(p, report.done, report.total);
    if (cli_interrupted() && !job->cancelled)
        job->cancelled = eng_job_cancel(job->eng, job->id) == 0;
}

int background_job(struct eng *eng, enum eng_job_id id)
{
    struct engine_job job = {.eng = eng, .id = id};
    struct eng_job_report report;
    int r = eng_job_status(eng, id, &report);
    if (r)
        return r;
    bool bytes = !strcmp(report.unit, "bytes"); /* with k, M, G then */
    return background_run(run_job, look_at_job, &job, bytes ? NULL : report.unit);
}

/* ---- verbs ------------------------------------------------------------------- */

struct verb {
    const char *mountpoint, *file, *verb, *done, *total;
    struct buf text;
};

static int write_verb(void *arg)
{
    const struct verb *v = arg;
    return control_write(v->mountpoint, v->file, v->verb);
}

static void look_at_file(void *arg, struct progress *p)
{
    struct verb *v = arg;
    json_t *o = p->on && control_read(v->mountpoint, v->file, &v->text) == 0
                    ? json_loadb(v->text.data, v->text.len, 0, NULL)
                    : NULL;
    if (o)
        progress_show(p, report_number(o, v->done), report_number(o, v->total));
    json_decref(o);
}

int background_verb(const char *mountpoint, const char *file, const char *verb, const char *what,
                    const char *done, const char *total)
{
    struct verb v = {.mountpoint = mountpoint, .file = file, .verb = verb, .done = done, .total = total};
    struct progress probe;
    progress_start(&probe, what);
    if (!probe.on) /* nobody looks: no thread is needed, and Ctrl-C ends the wait as in a shell's echo */
        return control_write(mountpoint, file, verb);
    int r = background_run(write_verb, look_at_file, &v, what);
    buf_done(&v.text);
    return r;
}

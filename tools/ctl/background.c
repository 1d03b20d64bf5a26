/*
 * background.c - State: struct job, shared by the two threads. */
#include "ctl/background.h"

#include "ctl/report.h"
#include "shared/control.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

struct job {
    int (*work)(void *arg); /* immutable, as arg is */
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended; /* protected by lock */
    int result; /* protected by lock */
};

static void *run(void *arg)
{
    struct job *j = arg;
    int r = j->work(j->arg);
    pthread_mutex_lock(&j->lock);
    j->ended = true;
    j->result = r;
    pthread_cond_signal(&j->changed);
    pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* Waits a fifth of a second at most; whether the job has ended. */
static bool job_wait(struct job *j)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 200000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&j->lock);
    int r = 0;
    while (!j->ended && !r)
        r = pthread_cond_timedwait(&j->changed, &j->lock, &until);
    bool ended = j->ended;
    pthread_mutex_unlock(&j->lock);
    return ended;
}

int background_run(int (*work)(void *arg), void (*look)(void *arg, struct progress *p), void *arg,
                   const char *what)
{
    struct job job = {
        .work = work, .arg = arg, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct progress progress;
    pthread_t thread;
    progress_start(&progress, what);
    if (pthread_create(&thread, NULL, run, &job) != 0)
        return -EAGAIN;
    while (!job_wait(&job))
        look(arg, &progress);
    pthread_join(thread, NULL);
    progress_clear(&progress);
    return job.result;
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

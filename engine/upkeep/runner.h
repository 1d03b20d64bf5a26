/*
 * runner.h - the jobs of a store: starts, runs and ends those of any kind. Which kinds there are, the table
 * says that store/jobs.c hands over.
 *
 * Locking: job->lock of each job. Works and callbacks run under no lock of the runner. */
#ifndef ENGRAMFS_RUNNER_H
#define ENGRAMFS_RUNNER_H

#include "base/job.h"
#include "core/eng.h"

struct job_kind {
    const char *name;
    const char *unit;     /* of eng_job_report: what `done` and `total` count */
    const char *rate_key; /* the key of the configuration that keeps the rate; NULL: kept until closing */
    bool writes;          /* refused while the store is read-only */
    /* The work, to its end, in this thread: passes job_gate() between steps, where it holds no lock, and
     * writes its part of job->report, `done` and `total` under job->lock as they come. 0, -ECANCELED, or the
     * error. */
    int (*run)(struct eng *eng, struct job *job);
    /* When a run has ended, before anybody is told. NULL: nothing is to be done. */
    void (*ended)(struct eng *eng, const struct eng_job_report *report);
};

/* `kinds` has ENG_JOBS entries and stays. -ENOMEM. */
int runner_new(struct eng *eng, const struct job_kind *kinds);
void runner_free(struct eng *eng);

/* eng_job_start(), by a request. */
int runner_start(struct eng *eng, enum eng_job_id id, const struct job_request *request, job_on_done *on_done,
                 void *arg);
/* eng_job_wait(). */
int runner_wait(struct eng *eng, enum eng_job_id id, job_on_done *on_done, void *arg);
/* runner_start() and wait for the end. The run's error; ret_report is written even then, but not if it could
 * not start. */
int runner_run(struct eng *eng, enum eng_job_id id, const struct job_request *request,
               struct eng_job_report *ret_report);
/* Waits for the run under way. As runner_run(); *ret_report is the last one's if none is. */
int runner_join(struct eng *eng, enum eng_job_id id, struct eng_job_report *ret_report);
/* To steer it and to ask about it: pause, cancel, hurry, report. */
struct job *runner_job(struct eng *eng, enum eng_job_id id);

/* In a thread of its own: runs jobs of this kind as they are asked for, until runner_stop(). */
void runner_serve(struct eng *eng, enum eng_job_id id);
/* The configuration has changed: takes over the rates that it keeps. */
void runner_configured(struct eng *eng);
/* No further run; those under way are cancelled. */
void runner_stop(struct eng *eng);

#endif

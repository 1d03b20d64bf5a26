/*
 * background.h - work that takes long in a thread of its own, while this one shows how far it is. */
#ifndef ENGRAMCTL_BACKGROUND_H
#define ENGRAMCTL_BACKGROUND_H

#include "admin.h"
#include "shared/cli.h"

/*
 * Runs work(arg) to its end and returns what it returned. Five times a second look(arg, progress) is called,
 * which may call progress_show(). `what` is the unit of the progress, as for progress_start(). -EAGAIN: no
 * thread; work was not called. */
int background_run(int (*work)(void *arg), void (*look)(void *arg, struct progress *p), void *arg,
                   const char *what);

/*
 * Runs a job of the engine to its end, as eng_job_run() does, shows its progress, and cancels it when a
 * signal has come (cli_interrupted()). The job's error; eng_job_status() has the report. */
int background_job(struct eng *eng, enum eng_job_id id);

/*
 * Writes a verb that takes long to a control file of a mount, and shows the members `done` and `total` of
 * that file as the progress. 0, or the errno of the verb. */
int background_verb(const char *mountpoint, const char *file, const char *verb, const char *what,
                    const char *done, const char *total);

#endif

/*
 * jobs.c - the table of all kinds of jobs, and the public calls that start and
 * steer one of any kind. */
#include "store/jobs.h"

#include "core/config.h"
#include "store/check.h"
#include "upkeep/compact.h"
#include "upkeep/maintenance.h"
#include "upkeep/scrub.h"

#include <stdio.h>

const struct job_kind job_kinds[ENG_JOBS] = {
    /* name, unit, rate_key, writes, run, ended */
    [ENG_JOB_COMPACT] = {"compact", "segments", "compact_rate", true, compact_run, compact_ended},
    [ENG_JOB_SCRUB] = {"scrub", "bytes", NULL, false, scrub_run, NULL},
    [ENG_JOB_CHECK] = {"check", "bytes", NULL, false, check_run, NULL},
};

int jobs_new(struct eng *eng)
{
    return runner_new(eng, job_kinds);
}

static bool exists(enum eng_job_id id)
{
    return (unsigned)id < ENG_JOBS;
}

const char *eng_job_name(enum eng_job_id id)
{
    return exists(id) ? job_kinds[id].name : NULL;
}

static struct job_request request_of(const struct eng_job_options *options)
{
    struct job_request request = {.reason = "asked for"};
    if (options)
        request.options = *options;
    return request;
}

int eng_job_start(struct eng *eng, enum eng_job_id id, const struct eng_job_options *options,
                  void (*on_done)(void *arg, const struct eng_job_report *report), void *arg)
{
    const struct job_request request = request_of(options);
    return eng && exists(id) ? runner_start(eng, id, &request, on_done, arg) : -EINVAL;
}

int eng_job_run(struct eng *eng, enum eng_job_id id, const struct eng_job_options *options,
                struct eng_job_report *ret_report)
{
    const struct job_request request = request_of(options);
    return eng && exists(id) ? runner_run(eng, id, &request, ret_report) : -EINVAL;
}

int eng_job_wait(struct eng *eng, enum eng_job_id id,
                 void (*on_done)(void *arg, const struct eng_job_report *report), void *arg)
{
    return eng && exists(id) ? runner_wait(eng, id, on_done, arg) : -EINVAL;
}

int eng_job_pause(struct eng *eng, enum eng_job_id id)
{
    return eng && exists(id) ? job_pause(runner_job(eng, id), true) : -EINVAL;
}

int eng_job_resume(struct eng *eng, enum eng_job_id id)
{
    return eng && exists(id) ? job_pause(runner_job(eng, id), false) : -EINVAL;
}

int eng_job_cancel(struct eng *eng, enum eng_job_id id)
{
    return eng && exists(id) ? job_cancel(runner_job(eng, id)) : -EINVAL;
}

int eng_job_rate(struct eng *eng, enum eng_job_id id, uint64_t bytes_per_second)
{
    char value[CONFIG_VALUE_SIZE];
    if (!eng || !exists(id))
        return -EINVAL;
    if (!job_kinds[id].rate_key) {
        job_set_rate(runner_job(eng, id), bytes_per_second);
        return 0;
    }
    snprintf(value, sizeof value, "%llu", (unsigned long long)bytes_per_second);
    return eng_config_set(eng, job_kinds[id].rate_key, value);
}

int eng_job_status(struct eng *eng, enum eng_job_id id, struct eng_job_report *ret_report)
{
    if (!eng || !exists(id) || !ret_report)
        return -EINVAL;
    job_report(runner_job(eng, id), ret_report);
    return 0;
}

/*
 * jobs.c - the table of all kinds of jobs, and the public calls that start and
 * steer one of any kind. */
#include "store/jobs.h"

#include "core/config.h"
#include "store/check.h"
#include "store/store.h"
#include "upkeep/compact.h"
#include "upkeep/expiry.h"
#include "upkeep/history.h"
#include "upkeep/maintenance.h"
#include "upkeep/scrub.h"

#include <stdio.h>

const struct job_kind job_kinds[ENG_JOBS] = {
    /* name, unit, rate_key, writes, run, ended */
    [ENG_JOB_COMPACT] = {"compact", "segments", "compact_rate", true, compact_run, compact_ended},
    [ENG_JOB_SCRUB] = {"scrub", "bytes", NULL, false, scrub_run, NULL},
    [ENG_JOB_CHECK] = {"check", "bytes", NULL, false, check_run, NULL},
    [ENG_JOB_HISTORY] = {"history", "inodes", NULL, true, history_run, expiry_ended},
};

int jobs_new(struct eng *eng)
{
    return runner_new(eng, job_kinds);
}

static bool exists(const struct eng *eng, enum eng_job_id id)
{
    return eng && (unsigned)id < ENG_JOBS;
}

const char *eng_job_name(enum eng_job_id id)
{
    return (unsigned)id < ENG_JOBS ? job_kinds[id].name : NULL;
}

/* `size`: how much of the options the caller knows. -EINVAL: no such job, or an option that is not known. */
static int request_of(const struct eng *eng, enum eng_job_id id, const struct eng_job_options *options,
                      size_t size, struct job_request *ret_request)
{
    *ret_request = (struct job_request){.reason = "asked for"};
    if (!exists(eng, id))
        return -EINVAL;
    return options ? take_sized(&ret_request->options, sizeof ret_request->options, options, size) : 0;
}

int eng_job_start_sized(struct eng *eng, enum eng_job_id id, const struct eng_job_options *options,
                        size_t size, void (*on_done)(void *arg, const struct eng_job_report *report),
                        void *arg)
{
    struct job_request request;
    int r = request_of(eng, id, options, size, &request);
    return r ? r : runner_start(eng, id, &request, on_done, arg);
}

int eng_job_run_sized(struct eng *eng, enum eng_job_id id, const struct eng_job_options *options, size_t size,
                      struct eng_job_report *ret_report, size_t report_size)
{
    struct job_request request;
    struct eng_job_report report = {.state = ENG_JOB_IDLE};
    int r = request_of(eng, id, options, size, &request);
    if (!r)
        r = runner_run(eng, id, &request, &report);
    if (ret_report && report.state != ENG_JOB_IDLE) /* not if it could not start */
        give_sized(ret_report, report_size, &report, sizeof report);
    return r;
}

int eng_job_wait(struct eng *eng, enum eng_job_id id,
                 void (*on_done)(void *arg, const struct eng_job_report *report), void *arg)
{
    return exists(eng, id) ? runner_wait(eng, id, on_done, arg) : -EINVAL;
}

int eng_job_pause(struct eng *eng, enum eng_job_id id)
{
    return exists(eng, id) ? job_pause(runner_job(eng, id), true) : -EINVAL;
}

int eng_job_resume(struct eng *eng, enum eng_job_id id)
{
    return exists(eng, id) ? job_pause(runner_job(eng, id), false) : -EINVAL;
}

int eng_job_cancel(struct eng *eng, enum eng_job_id id)
{
    return exists(eng, id) ? job_cancel(runner_job(eng, id)) : -EINVAL;
}

int eng_job_rate(struct eng *eng, enum eng_job_id id, uint64_t bytes_per_second)
{
    char value[CONFIG_VALUE_SIZE];
    if (!exists(eng, id))
        return -EINVAL;
    if (!job_kinds[id].rate_key) {
        job_set_rate(runner_job(eng, id), bytes_per_second);
        return 0;
    }
    snprintf(value, sizeof value, "%llu", (unsigned long long)bytes_per_second);
    return eng_config_set(eng, job_kinds[id].rate_key, value);
}

int eng_job_status_sized(struct eng *eng, enum eng_job_id id, struct eng_job_report *ret_report, size_t size)
{
    struct eng_job_report report;
    if (!exists(eng, id) || !ret_report || !size)
        return -EINVAL;
    job_report(runner_job(eng, id), &report);
    give_sized(ret_report, size, &report, sizeof report);
    return 0;
}

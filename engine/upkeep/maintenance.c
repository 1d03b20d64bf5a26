/*
 * maintenance.c - see maintenance.h. */
#include "upkeep/maintenance.h"

#include "commit/commit.h"
#include "core/keepers.h"
#include "core/totals.h"
#include "upkeep/policy.h"
#include "upkeep/runner.h"

#include <stdio.h>

struct maintenance {
    pthread_mutex_t lock;
    /* Protected by lock. */
    bool startup;            /* the check at the start asks for one compaction */
    uint64_t futile_garbage; /* left when nothing could be gained: no new try before there is more */
};

int maintenance_new(struct eng *eng)
{
    eng->maintenance = calloc(1, sizeof *eng->maintenance);
    if (!eng->maintenance)
        return -ENOMEM;
    pthread_mutex_init(&eng->maintenance->lock, NULL);
    return 0;
}

void maintenance_free(struct eng *eng)
{
    if (!eng->maintenance)
        return;
    pthread_mutex_destroy(&eng->maintenance->lock);
    free(eng->maintenance);
    eng->maintenance = NULL;
}

/* ---- thresholds ------------------------------------------------------------------------ */

static bool thresholds_met(struct eng *eng, struct eng_maintenance_report *ret_report)
{
    struct eng_maintenance_report report = {0};
    uint64_t live;
    totals_get(eng, &report.total_bytes, &live);
    double min = atomic_load_explicit(&eng->config.compact_min_fragmentation, memory_order_relaxed);
    uint64_t min_bytes = atomic_load_explicit(&eng->config.compact_min_bytes, memory_order_relaxed);
    uint64_t total = report.total_bytes;
    report.fragmentation_ratio = policy_fragmentation(total, live);
    bool wanted = policy_wanted(total, live, min, min_bytes);
    if (wanted)
        snprintf(report.reason, sizeof report.reason, "fragmentation %.4f > %g and %llu bytes > %llu",
                 report.fragmentation_ratio, min, (unsigned long long)total, (unsigned long long)min_bytes);
    else if (total <= min_bytes)
        snprintf(report.reason, sizeof report.reason, "not needed: %llu bytes, threshold %llu",
                 (unsigned long long)total, (unsigned long long)min_bytes);
    else
        snprintf(report.reason, sizeof report.reason, "not needed: fragmentation %.4f, threshold %g",
                 report.fragmentation_ratio, min);
    *ret_report = report;
    return wanted;
}

/* What is left could not be moved, or came meanwhile; unless it was left on purpose. */
void maintenance_compacted(struct eng *eng, const struct eng_job_report *report)
{
    uint64_t total, live;
    const struct job_request *request = &runner_job(eng, report->job)->request;
    if (request->goal) /* which says nothing of what else could be gained */
        return;
    totals_get(eng, &total, &live);
    bool on_purpose = !report->error && policy_fragmentation(total, live) <= request->leave;
    pthread_mutex_lock(&eng->maintenance->lock);
    eng->maintenance->futile_garbage = on_purpose ? 0 : total - live;
    pthread_mutex_unlock(&eng->maintenance->lock);
}

/* ---- of its own accord ------------------------------------------------------------------- */

void maintenance_opened(struct eng *eng)
{
    uint64_t total, live;
    totals_get(eng, &total, &live);
    double limit = atomic_load_explicit(&eng->config.startup_fragmentation, memory_order_relaxed);
    double fragmentation = policy_fragmentation(total, live);
    if (fragmentation <= limit || is_read_only(eng))
        return;
    bool by_itself = atomic_load_explicit(&eng->config.auto_compact, memory_order_relaxed) != 0;
    const char *what = eng->opt.no_background ? "" : ": compacting in the background";
    report_line(&eng->report, ENG_LOG_WARNING, "fragmentation is %.4f at start (limit %g)%s", fragmentation,
                limit, by_itself ? what : ": left alone, by auto_compact=0");
    pthread_mutex_lock(&eng->maintenance->lock);
    eng->maintenance->startup = true;
    pthread_mutex_unlock(&eng->maintenance->lock);
}

bool maintenance_is_due(struct eng *eng)
{
    pthread_mutex_lock(&eng->maintenance->lock);
    bool due = eng->maintenance->startup;
    pthread_mutex_unlock(&eng->maintenance->lock);
    return due;
}

/* Takes the wish of the check at the start. Otherwise what the last run left behind is no reason to run
 * again, so back off until there is more. */
static bool worth_it(struct eng *eng, bool met, uint64_t garbage, bool *ret_startup)
{
    struct maintenance *m = eng->maintenance;
    pthread_mutex_lock(&m->lock);
    *ret_startup = m->startup;
    m->startup = false;
    m->futile_garbage = MIN_OF(m->futile_garbage, garbage); /* some of it went by itself */
    bool worth = met && garbage > m->futile_garbage + m->futile_garbage / 10;
    pthread_mutex_unlock(&m->lock);
    return worth || *ret_startup;
}

/* While the store is held emptied segments stay, so that compacting would only fill the disk (I9). */
static bool may_compact(struct eng *eng)
{
    return atomic_load_explicit(&eng->config.auto_compact, memory_order_relaxed) && !is_read_only(eng) &&
           !keepers_find_all(eng) && !job_busy(runner_job(eng, ENG_JOB_COMPACT));
}

void maintenance_look(struct eng *eng)
{
    struct eng_maintenance_report report;
    bool startup;
    if (!may_compact(eng))
        return;
    double min = atomic_load_explicit(&eng->config.compact_min_fragmentation, memory_order_relaxed);
    bool met = thresholds_met(eng, &report);
    uint64_t garbage = (uint64_t)((double)report.total_bytes * report.fragmentation_ratio);
    if (!worth_it(eng, met, garbage, &startup))
        return;
    if (startup)
        snprintf(report.reason, sizeof report.reason, "start-up check: fragmentation %.4f",
                 report.fragmentation_ratio);
    report_line(&eng->report, ENG_LOG_INFO, "compacting: %s", report.reason);
    const struct job_request request = {.reason = report.reason, .leave = startup ? 0 : POLICY_LEAVE * min};
    (void)runner_start(eng, ENG_JOB_COMPACT, &request, NULL, NULL);
}

/* ---- asked for ----------------------------------------------------------------------------- */

/* Whether to compact; not after an error. */
static int decide(struct eng *eng, struct eng_maintenance_report *ret_report, bool *ret_wanted)
{
    int r = commit_orphans(eng);
    *ret_wanted = !r && thresholds_met(eng, ret_report);
    return r;
}

static int refused(struct eng *eng)
{
    if (!eng)
        return -EINVAL;
    if (is_read_only(eng))
        return -EROFS;
    return job_busy(runner_job(eng, ENG_JOB_COMPACT)) ? -EBUSY : 0;
}

int eng_run_maintenance_sized(struct eng *eng, struct eng_maintenance_report *ret_report, size_t size)
{
    struct eng_maintenance_report report = {0};
    bool wanted;
    if (!eng)
        return -EINVAL;
    int r = refused(eng);
    if (r)
        return r;
    r = decide(eng, &report, &wanted);
    if (wanted) {
        const struct job_request request = {.reason = report.reason};
        r = runner_run(eng, ENG_JOB_COMPACT, &request, &report.compaction);
        report.compacted = report.compaction.state != ENG_JOB_IDLE; /* else it could not start */
    }
    if (ret_report && r != -EBUSY && r != -EROFS)
        give_sized(ret_report, size, &report, sizeof report);
    return r;
}

struct asked {
    void (*on_done)(void *arg, const struct eng_maintenance_report *report, int error);
    void *arg;
    struct eng_maintenance_report report;
};

static void tell(const struct asked *asked, int error)
{
    if (asked->on_done)
        asked->on_done(asked->arg, &asked->report, error);
}

static void tell_compacted(void *arg, const struct eng_job_report *report)
{
    struct asked *asked = arg;
    asked->report.compacted = true;
    asked->report.compaction = *report;
    tell(asked, report->error);
    free(asked);
}

int eng_maintenance_start(struct eng *eng,
                          void (*on_done)(void *arg, const struct eng_maintenance_report *report, int error),
                          void *arg)
{
    bool wanted;
    if (!eng)
        return -EINVAL;
    int r = refused(eng);
    if (r)
        return r;
    struct asked *asked = malloc(sizeof *asked);
    if (!asked)
        return -ENOMEM;
    *asked = (struct asked){.on_done = on_done, .arg = arg};
    int error = decide(eng, &asked->report, &wanted);
    if (wanted) {
        const struct job_request request = {.reason = asked->report.reason};
        r = runner_start(eng, ENG_JOB_COMPACT, &request, tell_compacted, asked);
        if (!r)
            return 0;
    } else {
        tell(asked, error);
    }
    free(asked);
    return r;
}

/*
 * workers.c - background threads, and the public calls that ask them for work.
 * See workers.h and docs/LOCKING.md.
 */
#include "upkeep/workers.h"

#include "base/job.h"
#include "commit/commit.h"
#include "commit/retire.h"
#include "core/keepers.h"
#include "core/reserve.h"
#include "core/totals.h"
#include "image/checkpoint.h"
#include "upkeep/choose.h"
#include "upkeep/compact.h"
#include "upkeep/policy.h"
#include "upkeep/scrub.h"

#include <stdio.h>
#include <unistd.h>

struct maintenance_waiter {
    void (*done)(void *arg, const struct eng_maintenance_report *, int error);
    void *arg;
};

/* Protected by wake.lock unless said otherwise. */
struct workers {
    bool stop;
    bool check;                       /* the compactor shall check the thresholds */
    bool startup;                     /* the start-up check asks for one compaction */
    uint64_t futile_garbage;          /* left when nothing could be gained: no new try before there is more */
    struct maintenance_waiter *asked; /* for maintenance */
    size_t n_asked, cap_asked;

    struct job compact, scrub;
    struct eng_compact_report compact_report; /* protected by compact.lock */
    struct eng_scrub_report scrub_report;     /* protected by scrub.lock */

    pthread_t threads[3]; /* immutable after workers_new(), as their number */
    unsigned n_threads;
};

typedef void compact_done(void *arg, const struct eng_compact_report *report);
typedef void scrub_done(void *arg, const struct eng_scrub_report *report);

/* ---- compaction ------------------------------------------------------------------- */

static void compact_report(struct eng *eng, struct eng_compact_report *ret_report)
{
    struct workers *w = eng->workers;
    pthread_mutex_lock(&w->compact.lock);
    *ret_report = w->compact_report;
    ret_report->state = w->compact.wanted                                              ? ENG_COMPACT_RUNNING
                        : w->compact.paused && w->compact.state == ENG_COMPACT_RUNNING ? ENG_COMPACT_PAUSED
                                                                                       : w->compact.state;
    ret_report->rate = w->compact.rate;
    pthread_mutex_unlock(&w->compact.lock);
}

static void account_compaction(struct eng *eng, int r, const struct eng_compact_report *report)
{
    if (!r)
        COUNT(eng, compactions_ok, 1);
    else if (r == -ECANCELED)
        COUNT(eng, compactions_cancelled, 1);
    else
        COUNT(eng, compactions_failed, 1);
    COUNT(eng, bytes_reclaimed, report->bytes_reclaimed);
    pthread_mutex_lock(&eng->counters.lock);
    hist_add(&eng->counters.compaction_seconds, (double)report->duration_ms / 1e3);
    eng->counters.last_compaction = now_ns();
    eng->counters.last_compaction_ms = report->duration_ms;
    pthread_mutex_unlock(&eng->counters.lock);
    if (r && r != -ECANCELED)
        report_error(&eng->report, "compaction failed: %s", report->error_text);
}

/* Runs the compaction that was asked for, and tells those who wait. */
/* leave: compact_run()'s. */
static void do_compaction(struct eng *eng, double leave)
{
    struct workers *w = eng->workers;
    struct waiter *waiters;
    struct eng_compact_report report;
    size_t n;
    int r = compact_run(eng, &w->compact, leave, &w->compact_report);
    uint64_t total, live;
    totals_get(eng, &total, &live);
    pthread_mutex_lock(&eng->wake.lock);
    /* What is left could not be moved, or came meanwhile; unless it was left on purpose. */
    w->futile_garbage = !r && policy_fragmentation(total, live) <= leave ? 0 : total - live;
    pthread_mutex_unlock(&eng->wake.lock);
    pthread_mutex_lock(&w->compact.lock);
    report = w->compact_report;
    pthread_mutex_unlock(&w->compact.lock);
    account_compaction(eng, r, &report);
    job_finish(&w->compact, r, &waiters, &n);
    /* Of this run: by now another may have been asked for. */
    report.state = !r ? ENG_COMPACT_DONE : r == -ECANCELED ? ENG_COMPACT_CANCELLED : ENG_COMPACT_FAILED;
    for (size_t i = 0; i < n; i++)
        ((compact_done *)waiters[i].done)(waiters[i].arg, &report);
    free(waiters);
}

static void set_compact_reason(struct eng *eng, const char *reason)
{
    struct workers *w = eng->workers;
    pthread_mutex_lock(&w->compact.lock);
    snprintf(w->compact_report.reason, sizeof w->compact_report.reason, "%s", reason);
    pthread_mutex_unlock(&w->compact.lock);
}

static void wake(struct eng *eng)
{
    struct workers *w = eng->workers;
    pthread_mutex_lock(&eng->wake.lock);
    w->check = true;
    pthread_cond_broadcast(&eng->wake.cond);
    pthread_mutex_unlock(&eng->wake.lock);
}

int eng_compact_start(struct eng *eng, compact_done *done, void *arg)
{
    struct workers *w = eng->workers;
    if (is_read_only(eng))
        return -EROFS;
    int r = job_start(&w->compact, (void (*)(void))done, arg);
    if (r)
        return r;
    set_compact_reason(eng, "asked for");
    if (!w->n_threads && job_take(&w->compact))
        do_compaction(eng, 0);
    else
        wake(eng);
    return 0;
}

int eng_compact_wait(struct eng *eng, compact_done *done, void *arg)
{
    struct eng_compact_report report;
    int r = job_await(&eng->workers->compact, (void (*)(void))done, arg);
    if (r <= 0)
        return r;
    compact_report(eng, &report);
    done(arg, &report);
    return 0;
}

/* For callers that wait in their own thread. */
struct sync_wait {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    struct eng_compact_report report;
};

static void sync_done(void *arg, const struct eng_compact_report *report)
{
    struct sync_wait *s = arg;
    pthread_mutex_lock(&s->lock);
    s->report = *report;
    s->done = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static int sync_wait(struct sync_wait *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->done)
        pthread_cond_wait(&s->cond, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return s->report.error;
}

int eng_compact(struct eng *eng, struct eng_compact_report *ret_report)
{
    struct sync_wait s = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    int r = eng_compact_start(eng, sync_done, &s);
    if (r)
        return r;
    r = sync_wait(&s);
    if (ret_report)
        *ret_report = s.report;
    return r;
}

void compact_hurry(struct eng *eng, bool begin)
{
    job_hurry(&eng->workers->compact, begin);
}

int compact_join(struct eng *eng)
{
    struct sync_wait s = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct eng_compact_report report;
    compact_report(eng, &report);
    if (report.state == ENG_COMPACT_PAUSED)
        return -EBUSY;
    compact_hurry(eng, true);
    int r = eng_compact_start(eng, sync_done, &s);
    bool joined = r == -EBUSY;
    if (joined)
        r = eng_compact_wait(eng, sync_done, &s);
    r = r ? r : sync_wait(&s);
    if (joined && !r && s.report.fragmentation_after > 0) { /* it was over before it heard of the hurry */
        s.done = false;
        if (eng_compact_start(eng, sync_done, &s) == 0)
            r = sync_wait(&s);
    }
    compact_hurry(eng, false);
    return r;
}

int eng_compact_pause(struct eng *eng)
{
    return job_pause(&eng->workers->compact, true);
}

int eng_compact_resume(struct eng *eng)
{
    return job_pause(&eng->workers->compact, false);
}

int eng_compact_cancel(struct eng *eng)
{
    return job_cancel(&eng->workers->compact);
}

int eng_compact_status(struct eng *eng, struct eng_compact_report *ret_report)
{
    compact_report(eng, ret_report);
    return 0;
}

int eng_compact_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate)
{
    if (!is_read_only(eng))
        (void)commit_orphans(eng); /* a compaction begins with that */
    return choose_estimate(eng, ret_estimate);
}

/* ---- maintenance ------------------------------------------------------------------- */

static bool thresholds_met(struct eng *eng, struct eng_maintenance_report *report)
{
    uint64_t total, live;
    totals_get(eng, &total, &live);
    double min = atomic_load_explicit(&eng->config.compact_min_fragmentation, memory_order_relaxed);
    uint64_t min_bytes = atomic_load_explicit(&eng->config.compact_min_bytes, memory_order_relaxed);
    *report = (struct eng_maintenance_report){.fragmentation_ratio = policy_fragmentation(total, live),
                                              .total_bytes = total};
    bool wanted = policy_wanted(total, live, min, min_bytes);
    if (wanted)
        snprintf(report->reason, sizeof report->reason, "fragmentation %.4f > %g and %llu bytes > %llu",
                 report->fragmentation_ratio, min, (unsigned long long)total, (unsigned long long)min_bytes);
    else if (total <= min_bytes)
        snprintf(report->reason, sizeof report->reason, "not needed: %llu bytes, threshold %llu",
                 (unsigned long long)total, (unsigned long long)min_bytes);
    else
        snprintf(report->reason, sizeof report->reason, "not needed: fragmentation %.4f, threshold %g",
                 report->fragmentation_ratio, min);
    return wanted;
}

int eng_run_maintenance(struct eng *eng, struct eng_maintenance_report *ret_report)
{
    struct eng_maintenance_report report = {0};
    if (is_read_only(eng))
        return -EROFS;
    if (job_busy(&eng->workers->compact))
        return -EBUSY;
    int r = commit_orphans(eng);
    if (!r && thresholds_met(eng, &report)) {
        r = eng_compact(eng, &report.compaction);
        report.compacted = r != -EBUSY;
    }
    if (r != -EBUSY && r != -EROFS)
        *ret_report = report;
    return r;
}

int eng_maintenance_start(struct eng *eng,
                          void (*done)(void *arg, const struct eng_maintenance_report *, int error),
                          void *arg)
{
    struct workers *w = eng->workers;
    if (is_read_only(eng))
        return -EROFS;
    if (!w->n_threads) {
        struct eng_maintenance_report report = {0};
        int r = eng_run_maintenance(eng, &report);
        done(arg, &report, r);
        return 0;
    }
    if (job_busy(&w->compact))
        return -EBUSY;
    pthread_mutex_lock(&eng->wake.lock);
    int r = w->stop ? -ESHUTDOWN : array_grow(&w->asked, &w->cap_asked, w->n_asked + 1, sizeof *w->asked);
    if (!r) {
        w->asked[w->n_asked++] = (struct maintenance_waiter){done, arg};
        pthread_cond_broadcast(&eng->wake.cond);
    }
    pthread_mutex_unlock(&eng->wake.lock);
    return r;
}

/* In the compactor: one maintenance run for somebody who asked. */
static void do_maintenance(struct eng *eng, const struct maintenance_waiter *asked)
{
    struct workers *w = eng->workers;
    struct eng_maintenance_report report = {0};
    int r = commit_orphans(eng);
    if (!r && thresholds_met(eng, &report)) {
        r = job_start(&w->compact, NULL, NULL);
        if (!r) {
            set_compact_reason(eng, report.reason);
            if (job_take(&w->compact))
                do_compaction(eng, 0);
            report.compacted = true;
            compact_report(eng, &report.compaction);
            r = report.compaction.error;
        }
    }
    asked->done(asked->arg, &report, r);
}

/* The compactor's own initiative: thresholds, or what the start-up check found. While a keeper needs every
 * file, emptied segments stay, so that compacting would only fill the disk (I9). */
static void check_thresholds(struct eng *eng)
{
    struct workers *w = eng->workers;
    struct eng_maintenance_report report;
    if (!atomic_load_explicit(&eng->config.auto_compact, memory_order_relaxed) || is_read_only(eng) ||
        keepers_find_all(eng))
        return;
    double min = atomic_load_explicit(&eng->config.compact_min_fragmentation, memory_order_relaxed);
    bool wanted = thresholds_met(eng, &report);
    uint64_t garbage = (uint64_t)((double)report.total_bytes * report.fragmentation_ratio);
    pthread_mutex_lock(&eng->wake.lock);
    if (w->startup)
        snprintf(report.reason, sizeof report.reason, "start-up check: fragmentation %.4f",
                 report.fragmentation_ratio);
    /* Back off: what the last run left behind is no reason to run again. */
    bool startup = w->startup;
    w->futile_garbage = MIN_OF(w->futile_garbage, garbage); /* some of it went by itself */
    wanted = startup || (wanted && garbage > w->futile_garbage + w->futile_garbage / 10);
    w->startup = false;
    pthread_mutex_unlock(&eng->wake.lock);
    if (!wanted || job_start(&w->compact, NULL, NULL) != 0)
        return;
    set_compact_reason(eng, report.reason);
    report_line(&eng->report, ENG_LOG_INFO, "compacting: %s", report.reason);
    if (job_take(&w->compact))
        do_compaction(eng, startup ? 0 : POLICY_LEAVE * min);
}

static void startup_check(struct eng *eng)
{
    uint64_t total, live;
    totals_get(eng, &total, &live);
    double limit = atomic_load_explicit(&eng->config.startup_fragmentation, memory_order_relaxed);
    double fragmentation = policy_fragmentation(total, live);
    if (fragmentation <= limit || is_read_only(eng))
        return;
    report_line(&eng->report, ENG_LOG_WARNING, "fragmentation is %.4f at start (limit %g)%s", fragmentation,
                limit, eng->opt.no_background ? "" : ": compacting in the background");
    eng->workers->startup = true;
    eng->workers->check = true;
}

/* ---- scrub -------------------------------------------------------------------------- */

static void scrub_report(struct eng *eng, struct eng_scrub_report *ret_report)
{
    struct workers *w = eng->workers;
    pthread_mutex_lock(&w->scrub.lock);
    *ret_report = w->scrub_report;
    ret_report->state = w->scrub.wanted                                            ? ENG_COMPACT_RUNNING
                        : w->scrub.paused && w->scrub.state == ENG_COMPACT_RUNNING ? ENG_COMPACT_PAUSED
                                                                                   : w->scrub.state;
    ret_report->rate = w->scrub.rate;
    pthread_mutex_unlock(&w->scrub.lock);
}

static void do_scrub(struct eng *eng)
{
    struct workers *w = eng->workers;
    struct waiter *waiters;
    struct eng_scrub_report report;
    size_t n;
    int r = scrub_run(eng, &w->scrub, &w->scrub_report);
    job_finish(&w->scrub, r, &waiters, &n);
    scrub_report(eng, &report);
    for (size_t i = 0; i < n; i++)
        ((scrub_done *)waiters[i].done)(waiters[i].arg, &report);
    free(waiters);
}

int eng_scrub_start(struct eng *eng, scrub_done *done, void *arg)
{
    struct workers *w = eng->workers;
    int r = job_start(&w->scrub, (void (*)(void))done, arg);
    if (r)
        return r;
    if (!w->n_threads && job_take(&w->scrub))
        do_scrub(eng);
    else
        wake(eng);
    return 0;
}

int eng_scrub_wait(struct eng *eng, scrub_done *done, void *arg)
{
    struct eng_scrub_report report;
    int r = job_await(&eng->workers->scrub, (void (*)(void))done, arg);
    if (r <= 0)
        return r;
    scrub_report(eng, &report);
    done(arg, &report);
    return 0;
}

int eng_scrub_pause(struct eng *eng)
{
    return job_pause(&eng->workers->scrub, true);
}

int eng_scrub_resume(struct eng *eng)
{
    return job_pause(&eng->workers->scrub, false);
}

int eng_scrub_cancel(struct eng *eng)
{
    return job_cancel(&eng->workers->scrub);
}

int eng_scrub_rate(struct eng *eng, uint64_t bytes_per_second)
{
    job_set_rate(&eng->workers->scrub, bytes_per_second);
    return 0;
}

int eng_scrub_status(struct eng *eng, struct eng_scrub_report *ret_report)
{
    scrub_report(eng, ret_report);
    return 0;
}

/* ---- threads --------------------------------------------------------------------------- */

/* What is due of commit, checkpoint and reclaim. */
static int housekeeping(struct eng *eng, bool commit)
{
    int r = 0;
    if (is_read_only(eng))
        return 0;
    if (commit)
        r = eng_sync(eng);
    if (!r && checkpoint_is_due(eng))
        r = checkpoint_write(eng);
    if (!r && commit)
        (void)retire_segments(eng);
    if (!r && commit)
        reserve_keep(eng);
    return r;
}

static void *committer(void *arg)
{
    struct eng *eng = arg;
    struct workers *w = eng->workers;
    uint64_t next = 0;
    pthread_mutex_lock(&eng->wake.lock);
    while (!w->stop) {
        uint64_t now = mono_ns(),
                 every = atomic_load_explicit(&eng->config.commit_ms, memory_order_relaxed) * 1000000;
        next = next && next <= now + every ? next : now + every;
        if (!eng->wake.wanted && now < next) {
            struct timespec until = mono_after(next - now);
            pthread_cond_timedwait(&eng->wake.cond, &eng->wake.lock, &until);
            continue;
        }
        bool commit = now >= next && eng->opt.commit_ms >= 0;
        eng->wake.wanted = false;
        pthread_mutex_unlock(&eng->wake.lock);
        (void)housekeeping(eng, commit); /* failures are in last_error, and in the read-only state */
        if (commit)
            wake(eng); /* thresholds may have been crossed */
        pthread_mutex_lock(&eng->wake.lock);
        if (commit)
            next = 0;
    }
    pthread_mutex_unlock(&eng->wake.lock);
    return NULL;
}

/* People wait for what other threads do. No more than this: a thread that holds a lock needs a processor, on
 * a busy machine, too. */
#define BACKGROUND_NICE 5

static void *compactor(void *arg)
{
    struct eng *eng = arg;
    struct workers *w = eng->workers;
    (void)nice(BACKGROUND_NICE); /* Linux: of this thread, and of those that it starts */
    pthread_mutex_lock(&eng->wake.lock);
    for (;;) {
        if (w->n_asked) { /* also while stopping: they wait for an answer */
            struct maintenance_waiter asked = w->asked[0];
            w->n_asked--;
            memmove(w->asked, w->asked + 1, w->n_asked * sizeof *w->asked);
            pthread_mutex_unlock(&eng->wake.lock);
            do_maintenance(eng, &asked);
            pthread_mutex_lock(&eng->wake.lock);
        } else if (job_take(&w->compact)) {
            pthread_mutex_unlock(&eng->wake.lock);
            do_compaction(eng, 0);
            pthread_mutex_lock(&eng->wake.lock);
        } else if (w->stop) {
            break;
        } else if (w->check) {
            w->check = false;
            pthread_mutex_unlock(&eng->wake.lock);
            check_thresholds(eng);
            pthread_mutex_lock(&eng->wake.lock);
        } else {
            pthread_cond_wait(&eng->wake.cond, &eng->wake.lock);
        }
    }
    pthread_mutex_unlock(&eng->wake.lock);
    return NULL;
}

static void *scrubber(void *arg)
{
    struct eng *eng = arg;
    struct workers *w = eng->workers;
    (void)nice(BACKGROUND_NICE);
    pthread_mutex_lock(&eng->wake.lock);
    for (;;) {
        if (job_take(&w->scrub)) {
            pthread_mutex_unlock(&eng->wake.lock);
            do_scrub(eng);
            pthread_mutex_lock(&eng->wake.lock);
        } else if (w->stop) {
            break;
        } else {
            pthread_cond_wait(&eng->wake.cond, &eng->wake.lock);
        }
    }
    pthread_mutex_unlock(&eng->wake.lock);
    return NULL;
}

void workers_configured(struct eng *eng)
{
    job_set_rate(&eng->workers->compact,
                 atomic_load_explicit(&eng->config.compact_rate, memory_order_relaxed));
    wake_workers(&eng->wake);
}

int eng_tick(struct eng *eng)
{
    int r = housekeeping(eng, true);
    struct workers *w = eng->workers;
    if (!w->n_threads)
        check_thresholds(eng);
    return r;
}

int workers_new(struct eng *eng)
{
    static void *(*const mains[])(void *) = {committer, compactor, scrubber};
    struct workers *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    eng->workers = w;
    job_init(&w->compact);
    job_init(&w->scrub);
    w->compact.rate = eng->config.compact_rate;
    startup_check(eng);
    for (size_t i = 0; i < ARRAY_LEN(mains) && !eng->opt.no_background; i++) {
        int r = pthread_create(&w->threads[i], NULL, mains[i], eng);
        if (r)
            return -r;
        w->n_threads++;
    }
    return 0;
}

void workers_free(struct eng *eng)
{
    struct workers *w = eng->workers;
    if (!w)
        return;
    job_stop(&w->compact);
    job_stop(&w->scrub);
    pthread_mutex_lock(&eng->wake.lock);
    w->stop = true;
    pthread_cond_broadcast(&eng->wake.cond);
    pthread_mutex_unlock(&eng->wake.lock);
    for (unsigned i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    free(w->asked);
    job_free(&w->compact);
    job_free(&w->scrub);
    free(w);
    eng->workers = NULL;
}

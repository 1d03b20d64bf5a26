/*
 * worker.c - background threads, and the public calls that ask them for work.
 * See worker.h and docs/LOCKING.md.
 */
#include "worker.h"
#include "policy.h"

#include <stdio.h>
#include <unistd.h>

typedef void compact_done(void *arg, const struct eng_compact_report *report);
typedef void scrub_done(void *arg, const struct eng_scrub_report *report);

/* ---- compaction ------------------------------------------------------------------- */

static void compact_report(struct eng *eng, struct eng_compact_report *ret_report)
{
    struct worker *w = eng->worker;
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
    pthread_mutex_lock(&eng->misc_lock);
    hist_add(&eng->compaction_seconds, (double)report->duration_ms / 1e3);
    eng->last_compaction = now_ns();
    eng->last_compaction_ms = report->duration_ms;
    pthread_mutex_unlock(&eng->misc_lock);
    if (r && r != -ECANCELED)
        eng_set_error(eng, "compaction failed: %s", report->error_text);
}

/* Runs the compaction that was asked for, and tells those who wait. */
/* leave: compact_run()'s. */
static void do_compaction(struct eng *eng, double leave)
{
    struct worker *w = eng->worker;
    struct waiter *waiters;
    struct eng_compact_report report;
    size_t n;
    int r = compact_run(eng, &w->compact, leave, &w->compact_report);
    uint64_t total, live;
    eng_totals(eng, &total, &live);
    pthread_mutex_lock(&w->lock);
    /* What is left could not be moved, or came meanwhile; unless it was left on purpose. */
    w->futile_garbage = !r && policy_fragmentation(total, live) <= leave ? 0 : total - live;
    pthread_mutex_unlock(&w->lock);
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
    struct worker *w = eng->worker;
    pthread_mutex_lock(&w->compact.lock);
    snprintf(w->compact_report.reason, sizeof w->compact_report.reason, "%s", reason);
    pthread_mutex_unlock(&w->compact.lock);
}

static void wake(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->look = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int eng_compact_start(struct eng *eng, compact_done *done, void *arg)
{
    struct worker *w = eng->worker;
    if (eng_is_read_only(eng))
        return -EROFS;
    int r = job_start(&w->compact, (void (*)(void))done, arg);
    if (r)
        return r;
    set_compact_reason(eng, "asked for");
    if (!w->n_threads && job_take(&w->compact))
        do_compaction(eng, 0);
    else
        wake(w);
    return 0;
}

int eng_compact_wait(struct eng *eng, compact_done *done, void *arg)
{
    struct eng_compact_report report;
    int r = job_await(&eng->worker->compact, (void (*)(void))done, arg);
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

int eng_compact_join(struct eng *eng)
{
    struct sync_wait s = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct eng_compact_report report;
    compact_report(eng, &report);
    if (report.state == ENG_COMPACT_PAUSED)
        return -EBUSY;
    job_hurry(&eng->worker->compact, true);
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
    job_hurry(&eng->worker->compact, false);
    return r;
}

int eng_compact_pause(struct eng *eng)
{
    return job_pause(&eng->worker->compact, true);
}

int eng_compact_resume(struct eng *eng)
{
    return job_pause(&eng->worker->compact, false);
}

int eng_compact_cancel(struct eng *eng)
{
    return job_cancel(&eng->worker->compact);
}

int eng_compact_rate(struct eng *eng, uint64_t bytes_per_second)
{
    char value[32];
    snprintf(value, sizeof value, "%llu", (unsigned long long)bytes_per_second);
    return eng_config_set(eng, "compact_rate", value);
}

int eng_compact_status(struct eng *eng, struct eng_compact_report *ret_report)
{
    compact_report(eng, ret_report);
    return 0;
}

int eng_compact_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate)
{
    if (!eng_is_read_only(eng))
        (void)eng_flush_orphans(eng); /* a compaction begins with that */
    return compact_estimate(eng, ret_estimate);
}

/* ---- maintenance ------------------------------------------------------------------- */

static bool thresholds_met(struct eng *eng, struct eng_maintenance_report *report)
{
    uint64_t total, live;
    double min;
    eng_totals(eng, &total, &live);
    __atomic_load(&eng->config.compact_min_fragmentation, &min, __ATOMIC_RELAXED);
    uint64_t min_bytes = __atomic_load_n(&eng->config.compact_min_bytes, __ATOMIC_RELAXED);
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
    if (eng_is_read_only(eng))
        return -EROFS;
    if (job_busy(&eng->worker->compact))
        return -EBUSY;
    int r = eng_flush_orphans(eng);
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
    struct worker *w = eng->worker;
    if (eng_is_read_only(eng))
        return -EROFS;
    if (!w->n_threads) {
        struct eng_maintenance_report report = {0};
        int r = eng_run_maintenance(eng, &report);
        done(arg, &report, r);
        return 0;
    }
    if (job_busy(&w->compact))
        return -EBUSY;
    pthread_mutex_lock(&w->lock);
    int r = w->stop ? -ESHUTDOWN : array_grow(&w->asked, &w->cap_asked, w->n_asked + 1, sizeof *w->asked);
    if (!r) {
        w->asked[w->n_asked++] = (struct maintenance_waiter){done, arg};
        pthread_cond_broadcast(&w->cond);
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}

/* In the compactor: one maintenance run for somebody who asked. */
static void do_maintenance(struct eng *eng, const struct maintenance_waiter *asked)
{
    struct worker *w = eng->worker;
    struct eng_maintenance_report report = {0};
    int r = eng_flush_orphans(eng);
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

/* The compactor's own initiative: thresholds, or what the start-up check found. While the store is held
 * emptied segments stay, so that compacting would only fill the disk (I9). */
static void look_at_thresholds(struct eng *eng)
{
    struct worker *w = eng->worker;
    struct eng_maintenance_report report;
    if (!__atomic_load_n(&eng->config.auto_compact, __ATOMIC_RELAXED) || eng_is_read_only(eng) ||
        eng_is_held(eng))
        return;
    double min;
    __atomic_load(&eng->config.compact_min_fragmentation, &min, __ATOMIC_RELAXED);
    bool wanted = thresholds_met(eng, &report);
    uint64_t garbage = (uint64_t)((double)report.total_bytes * report.fragmentation_ratio);
    pthread_mutex_lock(&w->lock);
    if (w->startup)
        snprintf(report.reason, sizeof report.reason, "start-up check: fragmentation %.4f",
                 report.fragmentation_ratio);
    /* Back off: what the last run left behind is no reason to run again. */
    bool startup = w->startup;
    w->futile_garbage = MIN_OF(w->futile_garbage, garbage); /* some of it went by itself */
    wanted = startup || (wanted && garbage > w->futile_garbage + w->futile_garbage / 10);
    w->startup = false;
    pthread_mutex_unlock(&w->lock);
    if (!wanted || job_start(&w->compact, NULL, NULL) != 0)
        return;
    set_compact_reason(eng, report.reason);
    eng_logf(eng, ENG_LOG_INFO, "compacting: %s", report.reason);
    if (job_take(&w->compact))
        do_compaction(eng, startup ? 0 : POLICY_LEAVE * min);
}

static void startup_check(struct eng *eng)
{
    uint64_t total, live;
    double limit;
    eng_totals(eng, &total, &live);
    __atomic_load(&eng->config.startup_fragmentation, &limit, __ATOMIC_RELAXED);
    double fragmentation = policy_fragmentation(total, live);
    if (fragmentation <= limit || eng_is_read_only(eng))
        return;
    eng_logf(eng, ENG_LOG_WARNING, "fragmentation is %.4f at start (limit %g)%s", fragmentation, limit,
             eng->opt.no_background ? "" : ": compacting in the background");
    eng->worker->startup = true;
    eng->worker->look = true;
}

/* ---- scrub -------------------------------------------------------------------------- */

static void scrub_report(struct eng *eng, struct eng_scrub_report *ret_report)
{
    struct worker *w = eng->worker;
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
    struct worker *w = eng->worker;
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
    struct worker *w = eng->worker;
    int r = job_start(&w->scrub, (void (*)(void))done, arg);
    if (r)
        return r;
    if (!w->n_threads && job_take(&w->scrub))
        do_scrub(eng);
    else
        wake(w);
    return 0;
}

int eng_scrub_wait(struct eng *eng, scrub_done *done, void *arg)
{
    struct eng_scrub_report report;
    int r = job_await(&eng->worker->scrub, (void (*)(void))done, arg);
    if (r <= 0)
        return r;
    scrub_report(eng, &report);
    done(arg, &report);
    return 0;
}

int eng_scrub_pause(struct eng *eng)
{
    return job_pause(&eng->worker->scrub, true);
}

int eng_scrub_resume(struct eng *eng)
{
    return job_pause(&eng->worker->scrub, false);
}

int eng_scrub_cancel(struct eng *eng)
{
    return job_cancel(&eng->worker->scrub);
}

int eng_scrub_rate(struct eng *eng, uint64_t bytes_per_second)
{
    job_set_rate(&eng->worker->scrub, bytes_per_second);
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
    if (eng_is_read_only(eng))
        return 0;
    if (commit)
        r = eng_sync(eng);
    if (!r && checkpoint_due(eng))
        r = eng_checkpoint(eng);
    if (!r && commit)
        (void)eng_reclaim(eng);
    if (!r && commit)
        reserve_keep(eng);
    return r;
}

static void *committer(void *arg)
{
    struct eng *eng = arg;
    struct worker *w = eng->worker;
    uint64_t next = 0;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        uint64_t now = mono_ns(), every = __atomic_load_n(&eng->config.commit_ms, __ATOMIC_RELAXED) * 1000000;
        next = next && next <= now + every ? next : now + every;
        if (!w->poked && now < next) {
            struct timespec until = mono_after(next - now);
            pthread_cond_timedwait(&w->cond, &w->lock, &until);
            continue;
        }
        bool commit = now >= next && eng->opt.commit_ms >= 0;
        w->poked = false;
        pthread_mutex_unlock(&w->lock);
        (void)housekeeping(eng, commit); /* failures are in last_error, and in the read-only state */
        if (commit)
            wake(w); /* thresholds may have been crossed */
        pthread_mutex_lock(&w->lock);
        if (commit)
            next = 0;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* People wait for what other threads do. No more than this: a thread that holds a lock needs a processor, on
 * a busy machine, too. */
#define BACKGROUND_NICE 5

static void *compactor(void *arg)
{
    struct eng *eng = arg;
    struct worker *w = eng->worker;
    (void)nice(BACKGROUND_NICE); /* Linux: of this thread, and of those that it starts */
    pthread_mutex_lock(&w->lock);
    for (;;) {
        if (w->n_asked) { /* also while stopping: they wait for an answer */
            struct maintenance_waiter asked = w->asked[0];
            w->n_asked--;
            memmove(w->asked, w->asked + 1, w->n_asked * sizeof *w->asked);
            pthread_mutex_unlock(&w->lock);
            do_maintenance(eng, &asked);
            pthread_mutex_lock(&w->lock);
        } else if (job_take(&w->compact)) {
            pthread_mutex_unlock(&w->lock);
            do_compaction(eng, 0);
            pthread_mutex_lock(&w->lock);
        } else if (w->stop) {
            break;
        } else if (w->look) {
            w->look = false;
            pthread_mutex_unlock(&w->lock);
            look_at_thresholds(eng);
            pthread_mutex_lock(&w->lock);
        } else {
            pthread_cond_wait(&w->cond, &w->lock);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void *scrubber(void *arg)
{
    struct eng *eng = arg;
    struct worker *w = eng->worker;
    (void)nice(BACKGROUND_NICE);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        if (job_take(&w->scrub)) {
            pthread_mutex_unlock(&w->lock);
            do_scrub(eng);
            pthread_mutex_lock(&w->lock);
        } else if (w->stop) {
            break;
        } else {
            pthread_cond_wait(&w->cond, &w->lock);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

void eng_worker_poke(struct eng *eng)
{
    struct worker *w = eng->worker;
    pthread_mutex_lock(&w->lock);
    if (!w->poked) /* every mutation pokes while a checkpoint is due: wake nobody twice */
        pthread_cond_broadcast(&w->cond);
    w->poked = true;
    pthread_mutex_unlock(&w->lock);
}

void eng_worker_configured(struct eng *eng)
{
    job_set_rate(&eng->worker->compact, __atomic_load_n(&eng->config.compact_rate, __ATOMIC_RELAXED));
    eng_worker_poke(eng);
}

int eng_tick(struct eng *eng)
{
    int r = housekeeping(eng, true);
    struct worker *w = eng->worker;
    if (!w->n_threads)
        look_at_thresholds(eng);
    return r;
}

int eng_worker_new(struct eng *eng)
{
    static void *(*const mains[])(void *) = {committer, compactor, scrubber};
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    eng->worker = w;
    pthread_mutex_init(&w->lock, NULL);
    cond_init_mono(&w->cond);
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

void eng_worker_free(struct eng *eng)
{
    struct worker *w = eng->worker;
    if (!w)
        return;
    job_stop(&w->compact);
    job_stop(&w->scrub);
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    free(w->asked);
    job_done(&w->compact);
    job_done(&w->scrub);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
    free(w);
    eng->worker = NULL;
}

/*
 * workers.c - see workers.h and docs/LOCKING.md. */
#include "upkeep/workers.h"

#include "commit/commit.h"
#include "commit/flush.h"
#include "commit/orphans.h"
#include "commit/retire.h"
#include "commit/summaries.h"
#include "core/keepers.h"
#include "core/reserve.h"
#include "image/checkpoint.h"
#include "image/freeze.h"
#include "image/rest.h"
#include "upkeep/history.h"
#include "upkeep/maintenance.h"
#include "upkeep/runner.h"

#include <unistd.h>

struct worker {
    struct eng *eng;
    enum eng_job_id job;
    pthread_t thread;
};

struct workers {
    /* Protected by wake.lock. */
    bool stop;      /* committer and housekeeper shall end */
    bool committed; /* since the housekeeper began last */
    /* Immutable after workers_new(). */
    pthread_t committer, housekeeper;
    bool has_committer, has_housekeeper;
    struct worker jobs[ENG_JOBS];
    unsigned n_jobs; /* those that have a thread */
};

/* ---- the committer --------------------------------------------------------------------- */

/* Only flushes: whatever takes longer would be longer than commit_ms for what was acknowledged meanwhile. */
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
        if (now < next) {
            struct timespec until = mono_after(next - now);
            pthread_cond_timedwait(&eng->wake.cond, &eng->wake.lock, &until);
            continue;
        }
        pthread_mutex_unlock(&eng->wake.lock);
        if (MUTANT(COMMIT_WAITS)) {
            checkpoint_exclude(eng);
            checkpoint_allow(eng);
        }
        if (!is_read_only(eng))
            (void)flush_log(eng); /* a failure is in last_error, and in the read-only state */
        pthread_mutex_lock(&eng->wake.lock);
        next = 0;
        w->committed = true;
        wake_workers_locked(&eng->wake);
    }
    pthread_mutex_unlock(&eng->wake.lock);
    return NULL;
}

/* ---- the housekeeper ------------------------------------------------------------------- */

/* Batches whose second copy could not be written: a checkpoint has them twice. Not time after time, where
 * writing fails again and again. */
static bool echo_is_due(struct eng *eng)
{
    uint64_t now = mono_ns();
    return echo_lacks(&eng->log.echo) && !reserve_is_short(eng) &&
           now >= atomic_load_explicit(&eng->marks.retry_at, memory_order_relaxed) &&
           now >= atomic_load_explicit(&eng->marks.echo_at, memory_order_relaxed);
}

static int write_due_checkpoint(struct eng *eng)
{
    bool echo = echo_is_due(eng);
    if (!echo && !checkpoint_is_due(eng))
        return 0;
    if (echo)
        atomic_store_explicit(&eng->marks.echo_at, mono_ns() + MARKS_RETRY_NS, memory_order_relaxed);
    return checkpoint_write(eng);
}

static void sync_echo(struct eng *eng)
{
    echo_sync(&eng->log.echo);
    if (io_dir_failed(eng->io))
        (void)flush_log(eng); /* turns the store read-only: names of others may be lost, too */
}

static bool is_stopping(struct eng *eng)
{
    pthread_mutex_lock(&eng->wake.lock);
    bool stop = eng->workers->stop && !MUTANT(HOUSE_FREES_ALL);
    pthread_mutex_unlock(&eng->wake.lock);
    return stop;
}

/* As eng_sync(), but who closes the store does not wait for all of them. */
static int free_orphans(struct eng *eng)
{
    int r = 0;
    while (!r && orphans_queued(eng) && !is_stopping(eng))
        r = commit_next_orphans(eng);
    return flush_log(eng); /* a full disk keeps them */
}

/* What is due besides commits, and after one. */
static int keep_house(struct eng *eng, bool committed)
{
    int r = 0;
    if (is_read_only(eng))
        return 0;
    if (!loading_is_done(&eng->loading)) { /* the loader calls again */
        if (committed && !MUTANT(UNECHOED))
            sync_echo(eng);
        return 0;
    }
    if (committed && orphans_queued(eng))
        r = free_orphans(eng);
    if (!r && echo_wants_flush(&eng->log.echo))
        r = flush_log(eng);
    if (committed)
        sync_echo(eng);
    if (!r)
        r = write_due_checkpoint(eng);
    if (committed) { /* whether or not a checkpoint could be written: it makes room for one */
        (void)retire_segments(eng);
        freeze_shrink(eng);
        reserve_keep(eng);
    }
    return r;
}

/* Where nobody commits, what was fsynced is to be there twice soon all the same. */
#define ECHO_SYNC_NS UINT64_C(1000000000)

/* Of a store without a committer, *at: when it was or is done next. */
static bool is_time_for_echo(struct eng *eng, uint64_t *at)
{
    uint64_t now = mono_ns();
    bool nobody = eng->opt.commit_ms < 0 && !eng->opt.read_only && !MUTANT(ECHO_UNCALLED);
    bool due = nobody && *at && now >= *at;
    if (!nobody)
        *at = 0;
    else if (due || !*at)
        *at = now + ECHO_SYNC_NS;
    return due;
}

/* The job `history` is due once more after it failed, or a run under way has not seen to it. *at: when to
 * look next, 0 not at all. */
static bool is_time_for_history(struct eng *eng, uint64_t *at)
{
    uint64_t now = mono_ns(), next = MUTANT(SWEEP_UNCALLED) ? 0 : history_at(eng);
    bool due = next && next <= now && *at <= now;
    if (due)
        *at = now + MARKS_RETRY_NS;
    else if (!next || next > now)
        *at = next;
    return due;
}

/* With wake.lock held. No longer than until the earlier of the two; 0: for ever. */
static void await_work(struct eng *eng, uint64_t a, uint64_t b)
{
    uint64_t now = mono_ns(), at = a && b ? MIN_OF(a, b) : MAX_OF(a, b);
    struct timespec until = mono_after(at > now ? at - now : 0);
    if (at)
        pthread_cond_timedwait(&eng->wake.cond, &eng->wake.lock, &until);
    else
        pthread_cond_wait(&eng->wake.cond, &eng->wake.lock);
}

static void *housekeeper(void *arg)
{
    struct eng *eng = arg;
    struct workers *w = eng->workers;
    uint64_t echo_at = 0, sweep_at = 0;
    if (!is_read_only(eng))
        summaries_complete_active(eng);
    pthread_mutex_lock(&eng->wake.lock);
    while (!w->stop) {
        bool committed = w->committed, wanted = eng->wake.wanted, echo = is_time_for_echo(eng, &echo_at),
             history = is_time_for_history(eng, &sweep_at);
        if (!wanted && !echo && !history) {
            await_work(eng, echo_at, sweep_at);
            continue;
        }
        eng->wake.wanted = w->committed = false;
        pthread_mutex_unlock(&eng->wake.lock);
        if (echo && !is_read_only(eng))
            sync_echo(eng);
        if (wanted)
            (void)keep_house(eng, committed);                 /* failures are in last_error */
        if (committed || (wanted && maintenance_is_due(eng))) /* thresholds may have been crossed */
            maintenance_look(eng);
        history_look(eng);
        pthread_mutex_lock(&eng->wake.lock);
    }
    pthread_mutex_unlock(&eng->wake.lock);
    return NULL;
}

int eng_tick(struct eng *eng)
{
    if (!eng)
        return -EINVAL;
    int r = is_read_only(eng) ? 0 : eng_sync(eng);
    if (!r && eng->opt.no_background)
        r = rest_await(eng);
    if (!r)
        r = keep_house(eng, true);
    if (eng->opt.no_background) {
        history_look(eng);
        maintenance_look(eng);
    }
    return r;
}

/* ---- jobs -------------------------------------------------------------------------------- */

/* People wait for what other threads do. No more than this: a thread that holds a lock needs a processor, on
 * a busy machine, too. */
#define BACKGROUND_NICE 5

static void *work(void *arg)
{
    const struct worker *worker = arg;
    (void)nice(BACKGROUND_NICE); /* Linux: of this thread, and of those that it starts */
    runner_serve(worker->eng, worker->job);
    return NULL;
}

void workers_configured(struct eng *eng)
{
    runner_configured(eng);
    wake_everyone(&eng->wake);
}

/* ---- all of them ------------------------------------------------------------------------- */

static int start_threads(struct eng *eng, struct workers *w)
{
    int r = pthread_create(&w->housekeeper, NULL, housekeeper, eng);
    w->has_housekeeper = !r;
    if (!r && eng->opt.commit_ms >= 0) {
        r = pthread_create(&w->committer, NULL, committer, eng);
        w->has_committer = !r;
    }
    for (; w->n_jobs < ENG_JOBS && !r; w->n_jobs += !r) {
        struct worker *worker = &w->jobs[w->n_jobs];
        *worker = (struct worker){.eng = eng, .job = (enum eng_job_id)w->n_jobs};
        r = pthread_create(&worker->thread, NULL, work, worker);
    }
    return -r;
}

int workers_new(struct eng *eng)
{
    eng->workers = calloc(1, sizeof *eng->workers);
    if (!eng->workers)
        return -ENOMEM;
    runner_configured(eng);
    if (maintenance_is_due(eng) || history_is_due(eng) || echo_lacks(&eng->log.echo))
        wake_workers(&eng->wake);
    return eng->opt.no_background ? 0 : start_threads(eng, eng->workers);
}

void workers_free(struct eng *eng)
{
    struct workers *w = eng->workers;
    if (!w)
        return;
    pthread_mutex_lock(&eng->wake.lock);
    w->stop = true;
    pthread_cond_broadcast(&eng->wake.cond);
    pthread_mutex_unlock(&eng->wake.lock);
    runner_stop(eng);
    if (w->has_committer)
        pthread_join(w->committer, NULL);
    if (w->has_housekeeper)
        pthread_join(w->housekeeper, NULL);
    for (unsigned i = 0; i < w->n_jobs; i++)
        pthread_join(w->jobs[i].thread, NULL);
    free(w);
    eng->workers = NULL;
}

/*
 * history.c - see history.h. First names, then states, oldest first in a group or line, then the inodes to
 * which nothing leads any more: each pass looks at a slice under index_lock and commits what may go, a slice
 * a batch. What may go stays so: it has ended before the list of snapshots was taken, so no later one sees
 * it. What a view in use sees stays until it is closed, which is then noted: one that is not in the list was
 * opened since, of a snapshot that is. */
#include "upkeep/history.h"

#include "commit/commit.h"
#include "commit/cuts.h"
#include "commit/orphans.h"
#include "core/marks.h"
#include "core/views.h"
#include "image/checkpoint.h"
#include "index/moments.h"
#include "index/past_names.h"
#include "index/past_state.h"
#include "upkeep/expiry.h"
#include "upkeep/runner.h"
#include "upkeep/sweep.h"
#include "upkeep/texts.h"
#include "upkeep/thin.h"

/* ---- when ------------------------------------------------------------------------------ */

void history_note(struct eng *eng)
{
    atomic_store_explicit(&eng->sweep_at, 1, memory_order_release);
}

#define OPENED_NS (UINT64_C(60) * 1000000000) /* behind an opening: it goes through all inodes */

void history_opened(struct eng *eng)
{
    uint64_t later = mono_ns() + OPENED_NS;
    if (!eng_has_history(eng))
        return;
    if (index_is_kept_whole(&eng->idx))
        atomic_store_explicit(&eng->sweep_at, later, memory_order_release);
    else if (eng->idx.s.n_past || eng->idx.s.n_past_names)
        history_note(eng);
}

uint64_t history_at(struct eng *eng)
{
    uint64_t at = atomic_load_explicit(&eng->sweep_at, memory_order_acquire), cut = cuts_due_at(eng);
    if (is_read_only(eng))
        return 0;
    return at && cut ? MIN_OF(at, cut) : MAX_OF(at, cut);
}

/* Of all there is. */
static bool sweep_is_due(struct eng *eng)
{
    uint64_t at = atomic_load_explicit(&eng->sweep_at, memory_order_acquire);
    return at && mono_ns() >= at;
}

bool history_is_due(struct eng *eng)
{
    uint64_t at = history_at(eng);
    return at && mono_ns() >= at;
}

void history_look(struct eng *eng)
{
    struct job_request request = {.reason = "past states may be left that no snapshot sees"};
    request.cuts_only = !sweep_is_due(eng);
    if (request.cuts_only)
        request.reason = "memories have more past states than are kept";
    if (history_is_due(eng))
        (void)runner_start(eng, ENG_JOB_HISTORY, &request, NULL, NULL);
}

static int by_batch(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Under index_lock: what is seen, by snapshots and by views in use. */
static int list_snapshots(struct sweep *s)
{
    int r = index_snapshots(&s->eng->idx, &s->snapshots, &s->n_snapshots);
    if (r || MUTANT(VIEW_DROPPED) || views_count(s->eng) == 0)
        return r;
    uint64_t *all = realloc(s->snapshots, (s->n_snapshots + VIEWS_MAX) * sizeof *all);
    if (!all)
        return -ENOMEM;
    s->snapshots = all;
    s->n_snapshots += views_batches(s->eng, s->eng->idx.s.floor, all + s->n_snapshots);
    qsort(all, s->n_snapshots, sizeof *all, by_batch);
    return 0;
}

/* ---- letting go ---------------------------------------------------------------------------- */

static bool is_full(const struct eng *eng, const struct txn *txn)
{
    return txn->n_freed >= eng_cut(eng);
}

/* What nothing leads to any more goes with its past, once nobody has it open: the queue of orphans, which may
 * add to this very batch, sees to that. */
static bool is_others(const struct eng *eng, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    return !inode || index_is_orphan(&eng->idx, inode);
}

/* Whether it is not as it was planned: it stands for more by now, or a view was opened that shows it. What
 * else goes no such view can show. */
static bool has_changed(struct eng *eng, const struct leaving *l, uint64_t end)
{
    return l->end != end || (l->is_one_of_many && views_see(eng, l->begin, end, false));
}

static int stage_name(struct eng *eng, struct txn *txn, const struct leaving *l)
{
    uint32_t i = index_find_past(&eng->idx, ino_slot(l->dir), l->cookie, l->end);
    const struct past_name_rec *past = index_past_name(&eng->idx, i);
    if (!past || past->child != ino_slot(l->ino) || is_others(eng, l->dir) || !index_inode(&eng->idx, l->ino))
        return 0;
    if (has_changed(eng, l, past->end))
        return 0;
    return orphans_stage_name(eng, txn, l->dir, i);
}

/* *ret_tail: the tail of the head must be freed before it may go. *ret_more: a slice of it is staged. */
static int stage_state(struct sweep *s, struct txn *txn, const struct leaving *l, bool *ret_tail,
                       bool *ret_more)
{
    struct eng *eng = s->eng;
    const struct inode_rec *past = is_others(eng, l->ino) ? NULL : past_state(&eng->idx, l->past);
    const struct inode_rec *older = past ? index_slot(&eng->idx, past->past) : NULL;
    int r = 0;
    if (past && !(past->flags & INODE_GOING) && has_changed(eng, l, past_end(past)))
        past = NULL;
    *ret_more = false;
    *ret_tail = past && (past->flags | (older ? older->flags : 0)) & INODE_PAST_TAIL;
    if (!past || *ret_tail)
        return 0;
    *ret_more = !orphans_stage_drop(eng, txn, ino_slot(l->past), &r);
    s->bytes += *ret_more ? 0 : inode_bytes(past);
    return r;
}

/* Why it goes, for eng_stats: the first reason for which the floor has passed it since the last run. */
static enum floor_reason reason_of(const struct sweep *s, const struct leaving *l)
{
    static const enum floor_reason reasons[] = {FLOOR_AGE, FLOOR_BYTES, FLOOR_FULL_DISK, FLOOR_OFF};
    uint64_t swept = atomic_load_explicit(&s->eng->floor_swept, memory_order_relaxed);
    bool has_passed = l->end > swept && l->end <= s->floor;
    if (!has_passed && l->is_one_of_many)
        return FLOOR_VERSIONS;
    for (size_t i = 0; i < ARRAY_LEN(reasons) && has_passed; i++)
        if (l->end <= atomic_load_explicit(&s->eng->floor_for[reasons[i]], memory_order_relaxed))
            return reasons[i];
    return 0;
}

/* One batch: the next of the plan, as far as a slice goes. */
static int drop_some(struct sweep *s, size_t *next)
{
    CLEANUP_TXN struct txn txn = {0};
    struct eng *eng = s->eng;
    bool tail = false, more = false;
    size_t i = *next;
    int r = commit_begin(eng);
    if (r)
        return r;
    for (; i < s->n && !r && !is_full(eng, &txn); i++) {
        const struct leaving *l = &s->plan[i];
        r = l->past ? stage_state(s, &txn, l, &tail, &more) : stage_name(eng, &txn, l);
        if (tail || more)
            break;
    }
    bool lets_go = !r && txn.n_ops;
    if (lets_go)
        r = commit_txn(eng, &txn);
    r = commit_end(eng, r);
    s->n_batches += lets_go;
    if (!r && tail)
        r = commit_tail(eng, s->plan[i].ino);
    if (r)
        return r;
    pthread_mutex_lock(&s->job->lock);
    for (; *next < i; ++*next) {
        ++*(s->plan[*next].past ? &s->job->report.history.states : &s->job->report.history.names);
        COUNT(eng, past_dropped[reason_of(s, &s->plan[*next])], 1);
    }
    pthread_mutex_unlock(&s->job->lock);
    return 0;
}

static int drop_plan(struct sweep *s, uint64_t *last)
{
    int r = 0;
    for (size_t next = 0; next < s->n && !r;) {
        r = drop_some(s, &next);
        job_yield(last);
        if (!r)
            r = job_gate(s->job, s->bytes);
        s->bytes = 0;
    }
    s->n = 0;
    return r;
}

static int drop_names(struct sweep *s, uint64_t *last)
{
    struct names_walk w = {0};
    int r = 0;
    for (bool more = true; more && !r;) {
        s->looks = SWEEP_LOOKS;
        pthread_rwlock_rdlock(&s->eng->index_lock);
        r = sweep_names(s, &w, &more);
        pthread_rwlock_unlock(&s->eng->index_lock);
        r = r ? r : drop_plan(s, last);
    }
    return r;
}

static int drop_texts(struct sweep *s, struct texts_walk *w, uint64_t *last)
{
    int r = 0;
    for (bool more = true; more && !r;) {
        s->looks = SWEEP_LOOKS;
        pthread_rwlock_rdlock(&s->eng->index_lock);
        texts_plan(s, w, &more);
        pthread_rwlock_unlock(&s->eng->index_lock);
        r = drop_plan(s, last);
    }
    return r;
}

static int drop_all_texts(struct sweep *s, uint64_t *last)
{
    struct texts_walk w;
    int r = texts_begin(s, &w);
    if (!r)
        r = drop_texts(s, &w, last);
    texts_done(&w);
    return r;
}

static void show_progress(struct job *job, uint64_t done, uint64_t total)
{
    pthread_mutex_lock(&job->lock);
    job->report.done = done;
    job->report.total = total;
    pthread_mutex_unlock(&job->lock);
}

static int drop_states(struct sweep *s, struct states_walk *w, uint64_t *last)
{
    int r = 0;
    for (bool more = true; more && !r;) {
        s->looks = SWEEP_LOOKS;
        pthread_rwlock_rdlock(&s->eng->index_lock);
        sweep_states(s, w, &more);
        uint64_t total = s->eng->idx.inodes.used;
        pthread_rwlock_unlock(&s->eng->index_lock);
        show_progress(s->job, w->slot, total);
        r = w->at ? job_gate(s->job, 0) : drop_plan(s, last);
    }
    return r;
}

/* ---- the job --------------------------------------------------------------------------------- */

/* What is seen, and what was there, in one section. *ret_none: nothing is past. */
static int look(struct sweep *s, bool *ret_none)
{
    struct eng *eng = s->eng;
    pthread_rwlock_rdlock(&eng->index_lock);
    int r = list_snapshots(s);
    s->seq = eng->published_seq;
    s->floor = eng->idx.s.floor;
    s->versions = expiry_versions(eng);
    *ret_none = !eng->idx.s.n_past && !eng->idx.s.n_past_names;
    uint64_t total = eng->idx.inodes.used;
    pthread_rwlock_unlock(&eng->index_lock);
    show_progress(s->job, *ret_none ? total : 0, total);
    return r;
}

static int drop_all(struct sweep *s)
{
    struct eng *eng = s->eng;
    uint64_t last = 0;
    uint64_t late = MUTANT(FLOOR_LATE) ? expiry_horizon(eng) : 0;
    bool none;
    free(cuts_take(eng)); /* these are among all */
    int r = late ? 0 : expiry_raise(eng, s->job);
    r = r ? r : look(s, &none);
    if (r)
        return r;
    s->floor = late ? late : s->floor;
    if (!none)
        r = drop_names(s, &last);
    if (!r && !none && s->versions && !MUTANT(PLACES_COUNTED))
        r = drop_all_texts(s, &last);
    if (!r && !none) {
        struct states_walk w = {.slot = 1};
        r = drop_states(s, &w, &last);
    }
    if (!r)
        r = commit_orphans_of(eng, s->job);
    if (!r)
        atomic_store_explicit(&eng->floor_swept, s->floor, memory_order_relaxed);
    if (!r && !late)
        r = thin_moments(eng, s->job);
    return r || !late ? r : expiry_raise(eng, s->job);
}

#define OVER_NS                                                                                              \
    (UINT64_C(60) * 1000000000) /* until all is gone through, where more got long than was noted */

static int cut_paths(struct sweep *s, const struct cuts *cuts, uint64_t *last)
{
    struct texts_walk w;
    int r = texts_begin(s, &w);
    for (size_t i = 0; i < cuts->n_paths && !r; i++) {
        const struct cut_path *path = &cuts->paths[i];
        texts_only(&s->eng->idx, &w, ino_slot(path->dir), path->text, path->len);
        r = drop_texts(s, &w, last);
    }
    texts_done(&w);
    return r;
}

/* What got long alone. */
static int drop_cuts(struct sweep *s)
{
    struct eng *eng = s->eng;
    struct cuts *cuts = cuts_take(eng);
    uint64_t last = 0, none_yet = 0;
    bool none;
    int r = cuts ? look(s, &none) : -ENOMEM;
    if (!r && s->versions)
        r = cut_paths(s, cuts, &last);
    for (size_t i = 0; !r && s->versions && i < cuts->n_inos; i++) {
        uint32_t slot = ino_slot(cuts->inos[i]);
        struct states_walk w = {.slot = slot, .end = slot + 1};
        r = drop_states(s, &w, &last);
    }
    if (!r)
        r = commit_orphans_of(eng, s->job);
    if (cuts && cuts->is_over)
        (void)atomic_compare_exchange_strong(&eng->sweep_at, &none_yet, mono_ns() + OVER_NS);
    free(cuts);
    return r;
}

static int sweep(struct eng *eng, struct job *job, bool cuts_only)
{
    struct sweep *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->eng = eng;
    s->job = job;
    int r = cuts_only ? drop_cuts(s) : drop_all(s);
    free(s->snapshots);
    free(s);
    return r;
}

#define MUCH_SHARE 8u /* of the inodes and past states that there are */

/* The next checkpoint tells of much less. */
static void note_gone(struct eng *eng, struct job *job)
{
    pthread_mutex_lock(&job->lock);
    uint64_t gone = job->report.history.states + job->report.history.names;
    pthread_mutex_unlock(&job->lock);
    pthread_rwlock_rdlock(&eng->index_lock);
    bool much = gone >= eng->idx.inodes.used / MUCH_SHARE;
    pthread_rwlock_unlock(&eng->index_lock);
    if (much)
        checkpoint_tidy_next(eng);
}

int history_run(struct eng *eng, struct job *job)
{
    bool cuts_only = job->request.cuts_only, again = !cuts_only;
    int r = cuts_only ? sweep(eng, job, true) : 0;
    while (!r && (again || sweep_is_due(eng))) {
        again = false;
        atomic_store_explicit(&eng->sweep_at, 0, memory_order_release);
        r = sweep(eng, job, false);
    }
    if (r && r != -ECANCELED && atomic_exchange(&eng->sweep_error, r) != r)
        report_line(&eng->report, ENG_LOG_WARNING,
                    "what dropped snapshots have shown is not given back yet: %s; it is tried again",
                    strerror(-r));
    if (!r) {
        atomic_store(&eng->sweep_error, 0);
        note_gone(eng, job);
    }
    if (r) { /* later, from where it was */
        atomic_store_explicit(&eng->sweep_at, mono_ns() + MARKS_RETRY_NS, memory_order_release);
        wake_workers(&eng->wake); /* the housekeeper sleeps until then, and no longer */
    }
    return r;
}

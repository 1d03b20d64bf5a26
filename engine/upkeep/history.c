/*
 * history.c - see history.h. First names, then states, oldest first in a group or line, then the inodes to
 * which nothing leads any more: each pass looks at a slice under index_lock and commits what may go, a slice
 * a batch. What may go stays so: it has ended before the list of snapshots was taken, so no later one sees
 * it. What a view in use sees stays until it is closed, which is then noted: one that is not in the list was
 * opened since, of a snapshot that is.
 *
 * A state that no snapshot sees stays as long as a past name ended in it: the next older state would stand
 * for it, and count that name twice (index_links_at()). */
#include "upkeep/history.h"

#include "commit/commit.h"
#include "commit/orphans.h"
#include "core/marks.h"
#include "core/views.h"
#include "index/moments.h"
#include "index/past.h"
#include "index/past_names.h"
#include "upkeep/expiry.h"
#include "upkeep/runner.h"

#define LOOKS 4096u /* inodes, or groups of names, under index_lock */
#define PLAN 1024u  /* names that go */

/* A past name, or a past state and its head. */
struct leaving {
    uint64_t ino, past;
    uint64_t dir, cookie, begin, end;
    bool is_one_of_many; /* a history has more of them than it keeps */
};

struct sweep {
    struct eng *eng;
    struct job *job;
    uint64_t *snapshots; /* their batches, which rise */
    size_t n_snapshots;
    uint64_t seq;      /* the last batch when they were listed */
    uint64_t floor;    /* that of the index then */
    uint64_t versions; /* so many of a line or a group are kept, 0 all */
    struct leaving *plan;
    size_t n, cap;
    uint64_t bytes; /* of content that states had which have gone, since the gate was passed last */
};

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
    uint64_t at = atomic_load_explicit(&eng->sweep_at, memory_order_acquire);
    return is_read_only(eng) ? 0 : at;
}

bool history_is_due(struct eng *eng)
{
    uint64_t at = history_at(eng);
    return at && mono_ns() >= at;
}

void history_look(struct eng *eng)
{
    const struct job_request request = {.reason = "past states may be left that no snapshot sees"};
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

/* ---- what may go ------------------------------------------------------------------------- */

/* With `is_one_of_many` only snapshots and views in use count. */
static bool is_seen(const struct sweep *s, uint64_t begin, uint64_t end, bool is_one_of_many)
{
    bool newest_only = MUTANT(DROPPED_EARLY) && s->n_snapshots;
    if (newest_only)
        return snapshots_see(s->snapshots + s->n_snapshots - 1, 1, begin, end);
    /* Since the floor each batch may be looked at; later ones raise it, or switch it on behind `seq`. */
    bool is_whole = s->floor && end > s->floor && !is_one_of_many && !MUTANT(EXPIRED_EARLY);
    return end > s->seq || is_whole || snapshots_see(s->snapshots, s->n_snapshots, begin, end);
}

static int add(struct sweep *s, const struct leaving *l)
{
    if (array_grow(&s->plan, &s->cap, s->n + 1, sizeof *s->plan))
        return -ENOMEM;
    s->plan[s->n++] = *l;
    return 0;
}

/* How many of the group are more than a history keeps. The newest, with which a live name begins, is none. */
static uint64_t n_too_many(const struct sweep *s, const struct past_name_rec *newest)
{
    uint64_t n = 0;
    for (const struct past_name_rec *past = newest; s->versions && past; n++)
        past = index_past_name(&s->eng->idx, past->next);
    return n - MIN_OF(n, s->versions);
}

struct names_walk {
    struct sweep *s;
    struct bkey next; /* the group to go on with */
    uint32_t looks;
    int r;
};

/* Those of one group, oldest first. A group is looked at whole, unless more goes than a plan takes. */
static int plan_group(void *arg, struct bkey key, const void *value)
{
    struct names_walk *w = arg;
    const struct index *idx = &w->s->eng->idx;
    const struct inode_rec *dir = index_slot(idx, key.a);
    uint32_t newest, i;
    memcpy(&newest, value, sizeof newest);
    w->next = key;
    if (w->s->n >= PLAN || !w->looks)
        return 1;
    const struct past_name_rec *past = index_past_name(idx, newest);
    uint64_t too_many = n_too_many(w->s, past);
    do {
        past = past ? index_past_name(idx, i = past->newer) : NULL;
        const struct inode_rec *child = past ? index_slot(idx, past->child) : NULL;
        if (!dir || !child) {
            w->r = -EBADMSG;
            return 1;
        }
        bool is_one_of_many = too_many > 0;
        too_many -= is_one_of_many;
        if (is_seen(w->s, past->begin, past->end, is_one_of_many))
            continue;
        if (w->s->n >= PLAN)
            return 1;
        const struct leaving name = {.ino = index_ino(child, past->child),
                                     .dir = index_ino(dir, key.a),
                                     .cookie = key.b,
                                     .begin = past->begin,
                                     .end = past->end,
                                     .is_one_of_many = is_one_of_many};
        w->r = add(w->s, &name);
    } while (i != newest && !w->r);
    w->looks--;
    w->next.b++;
    return w->r != 0;
}

/* Whether past names of the inode, from *at on, which is the newest, ended in [from, end). */
static bool names_ended(const struct index *idx, const struct past_name_rec **at, uint64_t from, uint64_t end)
{
    bool ended = false;
    while (*at && (*at)->end >= from) {
        ended = ended || ((*at)->end < end && !((*at)->flags & PAST_MOVED));
        const struct past_name_rec *next = index_past_name(idx, (*at)->of_inode);
        *at = next && next->end <= (*at)->end ? next : NULL;
    }
    return ended && !MUTANT(COUNTED_TWICE);
}

/* The states of one line that may go, oldest first. */
static int plan_line(struct sweep *s, uint32_t slot, const struct inode_rec *head)
{
    const struct index *idx = &s->eng->idx;
    const struct past_name_rec *name = index_past_name(idx, head->past_name);
    size_t first = s->n;
    uint64_t left = idx->s.n_past, n = 0;
    int r = 0;
    for (uint32_t at = head->past; at && left > 0 && !r; left--) {
        const struct inode_rec *past = index_slot(idx, at),
                               *older = past ? index_slot(idx, past->past) : NULL;
        if (!past)
            break;
        bool counts = names_ended(idx, &name, older ? past_end(older) : past_end(past), past_end(past));
        bool is_one_of_many = s->versions && n++ >= s->versions;
        const struct leaving state = {.ino = index_ino(head, slot),
                                      .past = index_ino(past, at),
                                      .begin = past_begin(past),
                                      .end = past_end(past),
                                      .is_one_of_many = is_one_of_many};
        bool goes =
            past->flags & INODE_GOING || (!counts && !is_seen(s, state.begin, state.end, is_one_of_many));
        r = goes ? add(s, &state) : 0;
        at = past->past;
    }
    for (size_t i = first, j = s->n; i + 1 < j; i++) {
        struct leaving swap = s->plan[i];
        s->plan[i] = s->plan[--j];
        s->plan[j] = swap;
    }
    return r;
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
    if (!r && txn.n_ops)
        r = commit_txn(eng, &txn);
    r = commit_end(eng, r);
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
    struct names_walk w = {.s = s};
    int r = 0;
    for (bool more = true; more && !r;) {
        w.looks = LOOKS;
        pthread_rwlock_rdlock(&s->eng->index_lock);
        more = btree_scan(&s->eng->idx.past_order, w.next, plan_group, &w) > 0;
        pthread_rwlock_unlock(&s->eng->index_lock);
        r = w.r ? w.r : drop_plan(s, last);
    }
    return r;
}

static void show_progress(struct job *job, uint64_t done, uint64_t total)
{
    pthread_mutex_lock(&job->lock);
    job->report.done = done;
    job->report.total = total;
    pthread_mutex_unlock(&job->lock);
}

static int drop_states(struct sweep *s, uint64_t *last)
{
    bool more = true;
    int r = 0;
    for (uint32_t slot = 1; more && !r;) {
        pthread_rwlock_rdlock(&s->eng->index_lock);
        const struct index *idx = &s->eng->idx;
        uint32_t end = MIN_OF(idx->inodes.used, slot + LOOKS);
        for (; slot < end && !r && s->n < PLAN; slot++) {
            const struct inode_rec *inode = index_slot(idx, slot);
            if (inode && inode->past && !(inode->flags & INODE_PAST))
                r = plan_line(s, slot, inode);
        }
        uint64_t total = idx->inodes.used;
        more = slot < total;
        pthread_rwlock_unlock(&s->eng->index_lock);
        show_progress(s->job, slot, total);
        if (!r)
            r = drop_plan(s, last);
    }
    return r;
}

/* ---- the job --------------------------------------------------------------------------------- */

static int sweep(struct eng *eng, struct job *job)
{
    struct sweep s = {.eng = eng, .job = job};
    uint64_t last = 0;
    uint64_t late = MUTANT(FLOOR_LATE) ? expiry_horizon(eng) : 0;
    int r = late ? 0 : expiry_raise(eng, job);
    if (r)
        return r;
    pthread_rwlock_rdlock(&eng->index_lock);
    r = list_snapshots(&s);
    s.seq = eng->published_seq;
    s.floor = late ? late : eng->idx.s.floor;
    s.versions = expiry_versions(eng);
    uint64_t total = eng->idx.inodes.used;
    bool none = !eng->idx.s.n_past && !eng->idx.s.n_past_names;
    pthread_rwlock_unlock(&eng->index_lock);
    show_progress(job, none ? total : 0, total);
    if (!r && !none)
        r = drop_names(&s, &last);
    if (!r && !none)
        r = drop_states(&s, &last);
    if (!r)
        r = commit_orphans_of(eng, job);
    if (!r)
        atomic_store_explicit(&eng->floor_swept, s.floor, memory_order_relaxed);
    if (!r && late)
        r = expiry_raise(eng, job);
    free(s.snapshots);
    free(s.plan);
    return r;
}

int history_run(struct eng *eng, struct job *job)
{
    int r;
    do {
        atomic_store_explicit(&eng->sweep_at, 0, memory_order_release);
        r = sweep(eng, job);
    } while (!r && history_is_due(eng));
    if (r && r != -ECANCELED && atomic_exchange(&eng->sweep_error, r) != r)
        report_line(&eng->report, ENG_LOG_WARNING,
                    "what dropped snapshots have shown is not given back yet: %s; it is tried again",
                    strerror(-r));
    if (!r)
        atomic_store(&eng->sweep_error, 0);
    if (r) { /* later, from where it was */
        atomic_store_explicit(&eng->sweep_at, mono_ns() + MARKS_RETRY_NS, memory_order_release);
        wake_workers(&eng->wake); /* the housekeeper sleeps until then, and no longer */
    }
    return r;
}

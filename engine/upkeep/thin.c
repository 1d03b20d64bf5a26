/*
 * thin.c - see thin.h. Of a window of moments each that something begins or ends in is marked, by going
 * through all names, past names, inodes and past states; the others go.
 *
 * What begins or ends while this goes on does so in later batches, but for what a state or a name that ends
 * now takes over: the name stands in the table of names, which is looked at first, or in that of past ones;
 * of a state the newest ones of a line are looked at with its head. */
#include "upkeep/thin.h"

#include "commit/clocks.h"
#include "commit/commit.h"
#include "index/moments.h"
#include "index/past_names.h"
#include "index/past_state.h"
#include "index/times.h"

#define LOOKS 4096u /* records under index_lock */
#define WINDOW (UINT32_C(1) << 20)
#define FEW 256u /* moments, for which nobody goes through all */
#define YOUNG 3600u
#define AGAIN_NS (UINT64_C(600) * 1000000000)
#define RUN 1024u /* moments of an op */
#define OPS 4u    /* of a batch */

struct thin {
    struct eng *eng;
    struct job *job;
    struct candidate {
        uint64_t batch;
        bool is_needed;
    } * all; /* batches rise */
    size_t n, cap;
    uint64_t end;  /* the batch of the moment behind the last of them */
    uint64_t seq;  /* the last batch when the walks began */
    uint64_t last; /* job_yield() */
};

/* ---- moments -------------------------------------------------------------------------- */

/* Those from record i on, of LOOKS records, that are old, but no snapshots. False: there are no more. */
static int collect_some(struct thin *t, uint32_t *i, uint32_t end, int64_t *before)
{
    const struct index *idx = &t->eng->idx;
    int r = 0;
    for (uint32_t stop = *i + MIN_OF(LOOKS, end - *i); *i < stop && !r; ++*i) {
        const struct moment_rec *m = index_moment(idx, *i);
        if (!m)
            continue;
        bool is_snapshot = m->flags & MOMENT_SNAPSHOT, is_back = m->time < *before;
        *before = m->time;
        uint64_t next = is_snapshot ? UINT64_MAX : index_next_moment(idx, *i);
        if (next == UINT64_MAX)
            continue; /* the newest stays */
        r = array_grow(&t->all, &t->cap, t->n + 1, sizeof *t->all);
        if (!r)
            t->all[t->n++] = (struct candidate){m->batch, is_back}; /* for who looks by that clock */
        t->end = next;
    }
    return r;
}

/* The records that may go: [*ret_first, *ret_end). */
static void find_window(struct thin *t, uint32_t *ret_first, uint32_t *ret_end)
{
    struct eng *eng = t->eng;
    const struct index *idx = &eng->idx;
    uint64_t age = clocks_age(eng);
    uint32_t first = index_moment_by(idx, idx->s.floor) + 1;
    *ret_first = MAX_OF(first, eng->thin_from);
    *ret_end = age > YOUNG ? index_moment_of_age(idx, (uint32_t)(age - YOUNG - 1)) + 1 : 0;
}

static int collect(struct thin *t)
{
    struct eng *eng = t->eng;
    uint32_t i, end;
    int64_t before = INT64_MIN;
    int r = commit_begin(eng); /* for the clocks */
    if (r)
        return r;
    find_window(t, &i, &end);
    bool is_whole = index_is_kept_whole(&eng->idx);
    t->seq = log_seq(&eng->log);
    r = commit_end(eng, 0);
    while (!r && is_whole && i < end && t->n < WINDOW) {
        pthread_rwlock_rdlock(&eng->index_lock);
        r = collect_some(t, &i, end, &before);
        pthread_rwlock_unlock(&eng->index_lock);
        job_yield(&t->last);
        r = r ? r : job_gate(t->job, 0);
    }
    eng->thin_from = i < end ? i : 0;
    return r;
}

/* ---- what is in them --------------------------------------------------------------------- */

static void mark(struct thin *t, uint64_t batch)
{
    if (batch < t->all[0].batch || batch >= t->end || MUTANT(MOMENTS_UNASKED))
        return;
    size_t low = 0, high = t->n;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (t->all[mid].batch <= batch)
            low = mid;
        else
            high = mid;
    }
    t->all[low].is_needed = true;
}

static void mark_name(struct thin *t, uint32_t d)
{
    if (index_dentry(&t->eng->idx, d))
        mark(t, index_name_begin(&t->eng->idx, d));
}

static void mark_past_name(struct thin *t, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(&t->eng->idx, i);
    if (!past)
        return;
    mark(t, past->begin);
    mark(t, past->end);
}

static void mark_state(struct thin *t, uint32_t slot)
{
    const struct index *idx = &t->eng->idx;
    const struct inode_rec *inode = index_slot(idx, slot);
    if (!inode)
        return;
    bool is_head = !(inode->flags & INODE_PAST);
    mark(t, is_head ? past_head_begin(idx, inode) : past_begin(inode));
    if (!is_head)
        mark(t, past_end(inode));
    uint64_t left = is_head ? idx->s.n_past : 0;
    for (inode = index_slot(idx, inode->past); inode && left--; inode = index_slot(idx, inode->past)) {
        if (past_end(inode) <= t->seq)
            break; /* it was there before */
        mark(t, past_begin(inode));
    }
}

static int each(struct thin *t, const struct table *table, void (*look)(struct thin *t, uint32_t i))
{
    bool more = true;
    int r = 0;
    for (uint32_t i = 1; more && !r;) {
        pthread_rwlock_rdlock(&t->eng->index_lock);
        for (uint32_t end = MIN_OF(table->used, i + LOOKS); i < end; i++)
            look(t, i);
        more = i < table->used;
        pthread_rwlock_unlock(&t->eng->index_lock);
        job_yield(&t->last);
        r = job_gate(t->job, 0);
    }
    return r;
}

/* ---- letting go ---------------------------------------------------------------------------- */

/* The run of those from *i on that nobody needs, perhaps none: stages it, unless the floor has passed it. */
static int stage_run(const struct thin *t, struct txn *txn, size_t *i)
{
    const struct index *idx = &t->eng->idx;
    while (*i < t->n && t->all[*i].is_needed)
        ++*i;
    size_t first = *i;
    while (*i < t->n && !t->all[*i].is_needed && *i - first < RUN)
        ++*i;
    if (*i == first || !index_is_kept_whole(idx) || t->all[first].batch <= idx->s.floor)
        return 0;
    struct op *op = txn_op(txn, OP_THIN);
    if (!op)
        return -ENOMEM;
    op->batch = t->all[first].batch;
    op->end = t->all[*i - 1].batch + 1;
    return 0;
}

static int let_go(struct thin *t)
{
    int r = 0;
    for (size_t i = 0; i < t->n && !r;) {
        CLEANUP_TXN struct txn txn = {0};
        r = commit_begin(t->eng);
        if (r)
            break;
        for (unsigned n = 0; n < OPS && i < t->n && !r; n++)
            r = stage_run(t, &txn, &i);
        if (!r && txn.n_ops)
            r = commit_txn(t->eng, &txn);
        r = commit_end(t->eng, r);
        job_yield(&t->last);
        r = r ? r : job_gate(t->job, 0);
    }
    return r;
}

int thin_moments(struct eng *eng, struct job *job)
{
    struct thin t = {.eng = eng, .job = job};
    uint64_t now = mono_ns();
    if (eng->thinned_at && now - eng->thinned_at < AGAIN_NS)
        return 0;
    int r = collect(&t);
    if (!r && t.n >= FEW) {
        eng->thinned_at = now;
        r = each(&t, &eng->idx.dentries, mark_name);
        r = r ? r : each(&t, &eng->idx.past_names, mark_past_name);
        r = r ? r : each(&t, &eng->idx.inodes, mark_state);
        r = r ? r : let_go(&t);
    }
    free(t.all);
    return r;
}

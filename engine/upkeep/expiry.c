/*
 * expiry.c - see expiry.h. */
#include "upkeep/expiry.h"

#include "commit/clocks.h"
#include "commit/commit.h"
#include "commit/flush.h"
#include "commit/keep.h"
#include "core/views.h"
#include "index/floor.h"
#include "index/moments.h"
#include "index/past.h"
#include "index/past_names.h"
#include "index/times.h"

#define LOOKS 4096u /* inodes under index_lock */
#define BINS 64u

static uint64_t setting(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

uint64_t expiry_versions(const struct eng *eng)
{
    return index_is_kept_whole(&eng->idx) ? setting(&eng->config.history_versions) : 0;
}

/* ---- the floor ---------------------------------------------------------------------- */

/* The last batch of which what ended by then is older than a history goes; 0: none. Under log.lock. */
static uint64_t horizon_of_age(struct eng *eng)
{
    const struct index *idx = &eng->idx;
    uint64_t age = clocks_age(eng), keep = setting(&eng->config.history);
    uint32_t i = keep && age > keep ? index_moment_of_age(idx, (uint32_t)(age - keep - 1)) : 0;
    if (MUTANT(AGE_BY_CLOCK))
        i = index_moment_at(idx, now_ns() - (int64_t)keep * INT64_C(1000000000));
    if (!i)
        return 0;
    return MIN_OF(index_next_moment(idx, i) - 1, log_seq(&eng->log));
}

/* What the next OP_FLOOR says, if there must be one. Views in use are overtaken by a full disk alone. Under
 * log.lock. */
static bool next_floor(struct eng *eng, enum floor_reason reason, uint64_t batch, struct op *ret_op)
{
    const struct index *idx = &eng->idx;
    bool is_whole = index_is_kept_whole(idx), is_off = reason == FLOOR_OFF;
    *ret_op = keep_floor(eng, reason);
    if (reason == FLOOR_ON)
        return !is_whole;
    if (!is_off && !is_whole)
        return false;
    if (!is_off) {
        uint64_t in_use = reason == FLOOR_FULL_DISK ? UINT64_MAX : views_oldest(eng);
        ret_op->batch = MAX_OF(idx->s.floor, MIN_OF(batch, MIN_OF(in_use, log_seq(&eng->log))));
    }
    return idx->s.floor && (ret_op->batch != idx->s.floor || floor_has_moments(idx));
}

/* One batch. *ret_more: another one for the same takes moments along. */
static int set_once(struct eng *eng, enum floor_reason reason, uint64_t batch, bool *ret_more)
{
    CLEANUP_TXN struct txn txn = {0};
    struct op op;
    *ret_more = false;
    int r = commit_begin(eng);
    if (r)
        return r;
    if (reason == FLOOR_AGE)
        batch = horizon_of_age(eng);
    bool needed = next_floor(eng, reason, batch, &op);
    struct op *first = needed ? txn_op(&txn, OP_FLOOR) : NULL;
    struct op *second = first && reason == FLOOR_ON ? txn_op(&txn, OP_MOMENT) : NULL;
    if (needed && (!first || (reason == FLOOR_ON && !second)))
        return commit_end(eng, -ENOMEM);
    if (needed)
        txn.ops[0] = op;
    if (second)
        *second = clocks_moment(eng);
    if (needed)
        r = commit_txn(eng, &txn);
    if (needed && !r)
        keep_note_floor(eng, &op);
    *ret_more = !r && needed && floor_has_moments(&eng->idx);
    return commit_end(eng, r);
}

static int set_floor(struct eng *eng, struct job *job, enum floor_reason reason, uint64_t batch)
{
    uint64_t last = 0, before = log_seq(&eng->log);
    bool more = true;
    int r = 0;
    while (more && !r) {
        r = set_once(eng, reason, batch, &more);
        job_yield(&last);
        if (!r && more && job)
            r = job_gate(job, 0);
    }
    if (!r && log_seq(&eng->log) != before)
        r = flush_log(eng); /* nothing promises what is half gone */
    return r;
}

/* Whether there is a history, or was one; and whether there is to be one. */
static bool had_history(struct eng *eng, bool *ret_is_on)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    bool had = eng->idx.s.floor;
    *ret_is_on = keep_is_on(eng);
    pthread_rwlock_unlock(&eng->index_lock);
    return had;
}

int expiry_switch(struct eng *eng)
{
    bool is_on, had = had_history(eng, &is_on);
    if (is_read_only(eng) || !(had || is_on))
        return 0;
    return set_floor(eng, NULL, is_on ? FLOOR_ON : FLOOR_OFF, 0);
}

/* ---- bytes ------------------------------------------------------------------------------ */

/* What is there for the past alone: by how far the floor must rise until it goes, and by the snapshots that
 * show it. */
struct bins {
    struct eng *eng;
    uint64_t *snapshots; /* their batches, which rise */
    uint64_t *shown;     /* what each shows more than the one before it, modulo 2^64 */
    size_t n_snapshots;
    uint64_t from, width; /* batches: bin i has what ended in (from + i * width, from + (i + 1) * width] */
    uint64_t bytes[BINS], total;
};

static void put_in_bin(struct bins *b, uint64_t begin, uint64_t end, uint64_t bytes)
{
    size_t first = snapshots_from(b->snapshots, b->n_snapshots, begin),
           last = snapshots_from(b->snapshots, b->n_snapshots, end);
    if (first < last) {
        b->shown[first] += bytes;
        b->shown[last] -= bytes;
    }
    if (end <= b->from || first < last)
        return;
    b->bytes[MIN_OF((end - b->from - 1) / b->width, (uint64_t)BINS - 1)] += bytes;
    b->total += bytes;
}

/* Of content and attributes; *looks: so many records were gone through. */
static uint64_t bytes_of(const struct index *idx, const struct inode_rec *inode, uint32_t *looks)
{
    struct xattr_walk walk = {.next = inode->xattrs};
    uint64_t bytes = inode_bytes(inode);
    while (index_next_xattr(idx, &walk) && !MUTANT(VALUES_UNCOUNTED))
        bytes += walk.xattr.is_extent ? walk.xattr.loc.len : 0;
    *looks += walk.n;
    return bytes;
}

/* A past state; or what past names alone keep, which goes with the last of these. */
static void count_one(struct bins *b, const struct inode_rec *inode, uint32_t *looks)
{
    const struct index *idx = &b->eng->idx;
    const struct past_name_rec *last;
    if (inode->flags & INODE_PAST)
        put_in_bin(b, past_begin(inode), past_end(inode), bytes_of(idx, inode, looks));
    else if (!inode->nlink && (last = index_past_name(idx, inode->past_name)))
        put_in_bin(b, past_head_begin(idx, inode), last->end, bytes_of(idx, inode, looks));
}

/* `job`: NULL, none. */
static int count_all(struct bins *b, struct job *job)
{
    struct eng *eng = b->eng;
    uint64_t last = 0;
    bool more = true;
    int r = 0;
    for (uint32_t slot = 1; more && !r;) {
        pthread_rwlock_rdlock(&eng->index_lock);
        for (uint32_t looks = 0; looks < LOOKS && slot < eng->idx.inodes.used; looks++, slot++) {
            const struct inode_rec *inode = index_slot(&eng->idx, slot);
            if (inode)
                count_one(b, inode, &looks);
        }
        more = slot < eng->idx.inodes.used;
        pthread_rwlock_unlock(&eng->index_lock);
        job_yield(&last);
        r = job ? job_gate(job, 0) : 0;
    }
    return r;
}

/* The floor and the snapshots are of one moment. */
static int begin_bins(struct eng *eng, struct bins *b)
{
    *b = (struct bins){.eng = eng};
    pthread_rwlock_rdlock(&eng->index_lock);
    b->from = index_is_kept_whole(&eng->idx) ? eng->idx.s.floor : eng->published_seq;
    b->width = (eng->published_seq - b->from) / BINS + 1;
    int r = index_snapshots(&eng->idx, &b->snapshots, &b->n_snapshots);
    pthread_rwlock_unlock(&eng->index_lock);
    b->shown = r ? NULL : calloc(b->n_snapshots + 1, sizeof *b->shown);
    return r || b->shown ? r : -ENOMEM;
}

static void free_bins(struct bins *b)
{
    free(b->snapshots);
    free(b->shown);
}

/* How far the floor must rise so that `bytes` go, or all that can; 0: not at all. */
static uint64_t floor_for(const struct bins *b, uint64_t bytes)
{
    uint64_t sum = 0;
    unsigned i = 0;
    for (; i < BINS && sum < bytes; i++)
        sum += b->bytes[i];
    return i ? b->from + i * b->width : 0;
}

/* What lies above the budget goes, oldest first; `goal` bytes go of all there is. */
static int raise_for_bytes(struct eng *eng, struct job *job, uint64_t budget, uint64_t goal)
{
    struct bins b;
    int r = begin_bins(eng, &b);
    if (!r)
        r = count_all(&b, job);
    uint64_t above = budget && b.total > budget ? b.total - budget : 0;
    uint64_t batch = floor_for(&b, MAX_OF(above, goal));
    if (!r && batch > b.from)
        r = set_floor(eng, job, goal ? FLOOR_FULL_DISK : FLOOR_BYTES, batch);
    free_bins(&b);
    return r;
}

bool expiry_may_give(struct eng *eng)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct index *idx = &eng->idx;
    bool may = index_is_kept_whole(idx) && (idx->s.n_past || idx->s.n_past_names);
    pthread_rwlock_unlock(&eng->index_lock);
    return may;
}

/* Under index_lock. */
static bool name_of(const struct index *idx, uint64_t batch, char ret_name[ENG_NAME_MAX + 1])
{
    const struct moment_rec *rec = index_moment(idx, index_moment_by(idx, batch));
    bool is_it = rec && rec->batch == batch && rec->flags & MOMENT_SNAPSHOT;
    const char *name = is_it ? index_snapshot_name(idx, rec) : NULL;
    if (!name || rec->name_len > ENG_NAME_MAX)
        return false;
    memcpy(ret_name, name, rec->name_len);
    ret_name[rec->name_len] = 0;
    return true;
}

bool expiry_largest(struct eng *eng, char ret_name[ENG_NAME_MAX + 1], uint64_t *ret_bytes)
{
    struct bins b;
    size_t most = 0;
    int r = begin_bins(eng, &b);
    if (!r && b.n_snapshots)
        r = count_all(&b, NULL);
    for (size_t i = 1; !r && i < b.n_snapshots; i++) {
        b.shown[i] += b.shown[i - 1];
        most = b.shown[i] > b.shown[most] ? i : most;
    }
    bool found = !r && b.n_snapshots && b.shown[most];
    if (found) {
        *ret_bytes = b.shown[most];
        pthread_rwlock_rdlock(&eng->index_lock);
        found = name_of(&eng->idx, b.snapshots[most], ret_name);
        pthread_rwlock_unlock(&eng->index_lock);
    }
    free_bins(&b);
    return found;
}

/* ---- all of it ------------------------------------------------------------------------- */

uint64_t expiry_horizon(struct eng *eng)
{
    int r = commit_begin(eng);
    if (r)
        return 0;
    uint64_t horizon = index_is_kept_whole(&eng->idx) ? horizon_of_age(eng) : 0;
    (void)commit_end(eng, 0);
    return horizon;
}

int expiry_raise(struct eng *eng, struct job *job)
{
    uint64_t budget = setting(&eng->config.history_bytes);
    bool is_on;
    if (!had_history(eng, &is_on))
        return 0;
    if (!is_on)
        return set_floor(eng, job, FLOOR_OFF, 0);
    uint64_t goal = job->request.goal;
    int r = set_floor(eng, job, FLOOR_AGE, 0);
    return r || !(budget || goal) ? r : raise_for_bytes(eng, job, budget, goal);
}

#define LOOK_MIN_NS UINT64_C(1000000000)
#define LOOK_MAX_NS (UINT64_C(3600) * 1000000000)

void expiry_ended(struct eng *eng, const struct eng_job_report *report)
{
    bool is_on;
    uint64_t keep = setting(&eng->config.history), none = 0;
    uint64_t next = MIN_OF(keep, UINT64_C(1) << 30) * UINT64_C(1000000000) / 16;
    if (report->error || !had_history(eng, &is_on) || !is_on)
        return; /* an error has seen to it */
    next = mono_ns() + (keep ? MIN_OF(MAX_OF(next, LOOK_MIN_NS), LOOK_MAX_NS) : LOOK_MAX_NS);
    if (atomic_compare_exchange_strong(&eng->sweep_at, &none, next))
        wake_workers(&eng->wake); /* the housekeeper sleeps until then, and no longer */
}

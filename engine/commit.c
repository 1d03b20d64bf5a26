/*
 * commit.c - the life of a mutation: validated under the log lock, written as
 * one batch, then published in the index under the exclusive index lock (I2).
 * Nothing is published before it was written whole, so a failed write needs no
 * undoing (I8). Also the freeing of orphans and of empty segments.
 */
#include "engine_impl.h"

#include <stdio.h>

#define ORPHANS_PER_BATCH 64u
#define RESERVE_EVERY (UINT64_C(1) << 20) /* bytes of the log between two looks at the reserve */

int eng_begin(struct eng *eng)
{
    if (reserve_is_short(eng))
        (void)eng_make_room(eng, 0, false);
    return eng_begin_work(eng);
}

int eng_begin_work(struct eng *eng)
{
    if (eng_is_read_only(eng))
        return -EROFS;
    if (log_wants_flush(&eng->log))
        (void)eng_flush(eng); /* if it fails the store says so itself */
    eng_quiet();
    /* Who comes back at once, as compaction does with relocations, does not overtake who waits. */
    pthread_mutex_lock(&eng->log.turn);
    pthread_mutex_lock(&eng->log.lock);
    pthread_mutex_unlock(&eng->log.turn);
    /* It may have turned so while we waited, perhaps with an index that is not whole. */
    if (!eng_is_read_only(eng))
        return 0;
    pthread_mutex_unlock(&eng->log.lock);
    eng_speak(eng);
    return -EROFS;
}

void eng_end(struct eng *eng)
{
    pthread_mutex_unlock(&eng->log.lock);
    eng_speak(eng);
    if (eng->worker && checkpoint_due(eng))
        eng_worker_poke(eng);
}

/* ---- orphans -------------------------------------------------------------- */

void eng_queue_orphan(struct eng *eng, uint64_t ino)
{
    pthread_mutex_lock(&eng->misc_lock);
    if (array_grow(&eng->orphans, &eng->cap_orphans, eng->n_orphans + 1, sizeof *eng->orphans) == 0)
        eng->orphans[eng->n_orphans++] = ino; /* without memory it waits for the next recovery */
    pthread_mutex_unlock(&eng->misc_lock);
}

static bool txn_frees(const struct txn *txn, uint64_t ino)
{
    for (size_t i = txn->n_ops; i-- > 0 && txn->ops[i].type == OP_FREE;) {
        if (txn->ops[i].ino == ino)
            return true;
    }
    return false;
}

/* Adds the freeing of some queued orphans to the transaction; *ret_taken of the queue's head are dealt with.
 */
static int stage_orphans(struct eng *eng, struct txn *txn, size_t *ret_taken)
{
    uint64_t inos[ORPHANS_PER_BATCH];
    pthread_mutex_lock(&eng->misc_lock);
    size_t n = MIN_OF(eng->n_orphans, (size_t)ORPHANS_PER_BATCH);
    if (n)
        memcpy(inos, eng->orphans, n * sizeof *inos);
    pthread_mutex_unlock(&eng->misc_lock);
    for (size_t i = 0; i < n; i++) {
        const struct inode_rec *inode = index_inode(&eng->idx, inos[i]);
        if (!inode || inode->nlink || index_holds(&eng->idx, ino_slot(inos[i])) || txn_frees(txn, inos[i]))
            continue;
        struct op *op = txn_op(txn, OP_FREE);
        if (!op)
            return -ENOMEM;
        op->ino = inos[i];
    }
    *ret_taken = n;
    return 0;
}

static void drop_orphans(struct eng *eng, size_t n)
{
    if (!n)
        return;
    pthread_mutex_lock(&eng->misc_lock);
    eng->n_orphans -= n;
    memmove(eng->orphans, eng->orphans + n, eng->n_orphans * sizeof *eng->orphans);
    pthread_mutex_unlock(&eng->misc_lock);
}

static bool orphans_queued(struct eng *eng)
{
    pthread_mutex_lock(&eng->misc_lock);
    bool any = eng->n_orphans > 0;
    pthread_mutex_unlock(&eng->misc_lock);
    return any;
}

int eng_flush_orphans(struct eng *eng)
{
    int r = 0;
    while (!r && orphans_queued(eng)) {
        CLEANUP_TXN struct txn txn = {0};
        r = eng_begin_work(eng);
        if (r)
            break;
        r = eng_commit(eng, &txn);
        eng_end(eng);
    }
    return r;
}

/* ---- commit ---------------------------------------------------------------- */

/* The reserve follows the size of the store, before the disk is full. */
static void keep_reserve_locked(struct eng *eng, bool new_segment, uint64_t size)
{
    uint64_t tail = eng->log.tail;
    if ((new_segment || tail / RESERVE_EVERY != (tail + size) / RESERVE_EVERY) && !reserve_is_short(eng))
        reserve_keep(eng);
}

/* Memory for the ops, a segment to write to, and that segment's record: all that may fail before the write.
 */
static int prepare(struct eng *eng, struct txn *txn)
{
    struct log *log = &eng->log;
    uint64_t size = log_batch_size(txn);
    bool new_segment = log_wants_segment_locked(log, size);
    keep_reserve_locked(eng, new_segment, size);
    if (new_segment) {
        int r = log_new_segment_locked(log);
        if (r)
            return r;
    }
    pthread_rwlock_wrlock(&eng->index_lock);
    int r = index_touch_segment(&eng->idx, log->active->id, SEGMENT_LOG, log->seq + 1);
    if (!r) /* last: a reservation takes the place of the one before */
        r = index_reserve(&eng->idx, txn->ops, txn->n_ops);
    pthread_rwlock_unlock(&eng->index_lock);
    return r;
}

static int write_batch(struct eng *eng, struct txn *txn)
{
    int r = prepare(eng, txn);
    return r ? r : log_append_locked(&eng->log, txn);
}

/* Carries the written batch over into the index: from here on readers see it (I2). */
static int publish(struct eng *eng, const struct txn *txn)
{
    int r = 0;
    uint64_t lost = 0, moved = 0;
    pthread_rwlock_wrlock(&eng->index_lock);
    for (size_t i = 0; i < txn->n_ops && r >= 0; i++) {
        r = index_apply(&eng->idx, &txn->ops[i], eng->log.seq);
        if (txn->ops[i].type == OP_RELOCATE)
            ++*(r > 0 ? &lost : &moved);
    }
    pthread_rwlock_unlock(&eng->index_lock);
    COUNT(eng, relocations, moved);
    COUNT(eng, relocations_lost, lost);
    if (r >= 0)
        return 0;
    eng_turn_read_only(eng, "batch %llu does not fit the index (%s); mount again to recover from the log",
                       (unsigned long long)eng->log.seq, strerror(-r));
    return -EIO;
}

/* What of the reserve the transaction may use: relocations all of it, what only takes away a half. */
static enum reserve_use use_of(const struct txn *txn)
{
    enum reserve_use use = RESERVE_HALF;
    for (size_t i = 0; i < txn->n_ops; i++) {
        uint8_t type = txn->ops[i].type;
        if (type == OP_RELOCATE || type == OP_SEGMENT)
            return RESERVE_ALL;
        if (type != OP_UNLINK && type != OP_FREE && type != OP_TRUNCATE && type != OP_PUNCH &&
            type != OP_XATTR_DEL)
            use = RESERVE_NONE;
    }
    return use;
}

static int write_or_make_do(struct eng *eng, struct txn *txn)
{
    enum reserve_use use = use_of(txn);
    if (use == RESERVE_NONE && reserve_is_short(eng))
        return -ENOSPC;
    int r = write_batch(eng, txn);
    while (r == -ENOSPC && reserve_release(eng, use))
        r = write_batch(eng, txn);
    if (r == -ENOSPC)
        reserve_note_full(eng);
    else if (r)
        r = eng_store_error(eng, "writing to", r);
    return r;
}

int eng_commit(struct eng *eng, struct txn *txn)
{
    size_t orphans = 0;
    int r = stage_orphans(eng, txn, &orphans);
    if (!r && txn->n_ops) {
        r = write_or_make_do(eng, txn);
        if (MUTANT(PUBLISH_UNWRITTEN))
            r = 0;
        if (!r) {
            fault_point(&eng->hook, FP_LOG_WRITTEN);
            r = publish(eng, txn);
        }
    }
    if (!r)
        drop_orphans(eng, orphans);
    return r;
}

/* ---- durability -------------------------------------------------------------- */

int eng_flush(struct eng *eng)
{
    uint64_t t0 = mono_ns();
    bool flushed;
    int r = log_sync(&eng->log, &flushed);
    if (flushed) {
        pthread_mutex_lock(&eng->misc_lock);
        hist_add(&eng->sync_seconds, (double)(mono_ns() - t0) / 1e9);
        pthread_mutex_unlock(&eng->misc_lock);
    }
    if (r && !eng->opt.read_only) {
        COUNT(eng, sync_errors, 1);
        if (__atomic_load_n(&eng->log.failed, __ATOMIC_ACQUIRE) && !MUTANT(NO_READ_ONLY))
            eng_turn_read_only(eng,
                               "flushing the store failed (%s): what was not yet durable may be lost; "
                               "mount again to recover",
                               r == -ENOENT ? "its files were deleted" : strerror(-r));
    }
    return r;
}

int eng_sync(struct eng *eng)
{
    if (eng->opt.read_only)
        return 0;
    if (!eng_is_read_only(eng))
        (void)eng_flush_orphans(eng); /* on a full disk they wait: nothing that was acknowledged is missing */
    int r = eng_flush(eng);
    return r == -ENOMEM ? r : r ? -EIO : 0;
}

int eng_fsync(struct eng *eng, uint64_t ino)
{
    (void)ino; /* one log: what came before becomes durable with it */
    if (eng->opt.read_only)
        return 0;
    log_note_fsync(&eng->log);
    int r = eng_flush(eng);
    return r == -ENOMEM ? r : r ? -EIO : 0;
}

/* ---- empty segments ------------------------------------------------------------ */

/* I4: whether nothing can need the segment any more. */
static bool may_retire(const struct seg_rec *seg, uint64_t durable, uint64_t oldest)
{
    if (seg->live)
        return false;
    if (seg->death_seq > durable && !MUTANT(RETIRE_UNSYNCED))
        return false;
    return seg->last_seq <= oldest || MUTANT(RETIRE_YOUNG);
}

/* The next segment from record *at on that may go: its id, or 0. */
static uint32_t next_empty(struct eng *eng, uint32_t *at)
{
    uint64_t durable = log_durable(&eng->log);
    uint64_t oldest = __atomic_load_n(&eng->oldest_ckpt_seq, __ATOMIC_ACQUIRE);
    for (; *at < eng->idx.segs.used; ++*at) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, *at);
        bool active = eng->log.active && eng->log.active->id == seg->id;
        if (seg->id && !active && may_retire(seg, durable, oldest))
            return seg->id;
    }
    return 0;
}

bool eng_is_held(struct eng *eng)
{
    pthread_mutex_lock(&eng->misc_lock);
    bool held = eng->holds > 0 && !MUTANT(NO_HOLD);
    pthread_mutex_unlock(&eng->misc_lock);
    return held;
}

/* Under the log lock: takes out one segment that may go, to be unlinked; NULL with it: pinned, the next call.
 * False when there is none left from record *at on. */
static bool remove_one_locked(struct eng *eng, uint32_t *at, struct segment **ret_seg)
{
    uint32_t id = eng_is_held(eng) ? 0 : next_empty(eng, at);
    *ret_seg = NULL;
    if (!id)
        return false;
    ++*at;
    pthread_rwlock_wrlock(&eng->index_lock);
    if (pool_reserve(eng->idx.pool, 2) == 0 && arena_remove(&eng->arena, id, ret_seg) != -EBUSY)
        index_drop_segment(&eng->idx, id);
    pthread_rwlock_unlock(&eng->index_lock);
    return true;
}

/* Unlinking takes long, so that only reclaim_lock is held for it, and for one segment at a time. */
unsigned eng_reclaim(struct eng *eng)
{
    unsigned n = 0;
    uint32_t at = 1;
    bool more = !eng_is_read_only(eng);
    while (more) {
        struct segment *seg;
        pthread_mutex_lock(&eng->reclaim_lock);
        pthread_mutex_lock(&eng->log.lock);
        more = remove_one_locked(eng, &at, &seg);
        pthread_mutex_unlock(&eng->log.lock);
        if (seg) {
            (void)arena_unlink(&eng->arena, seg); /* what it leaves recovery removes */
            n++;
        }
        pthread_mutex_unlock(&eng->reclaim_lock);
    }
    return n;
}

int eng_hold(struct eng *eng)
{
    pthread_mutex_lock(&eng->ckpt_lock); /* so that no unlinking is under way when this returns */
    pthread_mutex_lock(&eng->reclaim_lock);
    pthread_mutex_lock(&eng->misc_lock);
    eng->holds++;
    pthread_mutex_unlock(&eng->misc_lock);
    pthread_mutex_unlock(&eng->reclaim_lock);
    pthread_mutex_unlock(&eng->ckpt_lock);
    return 0;
}

int eng_release(struct eng *eng)
{
    pthread_mutex_lock(&eng->misc_lock);
    int r = eng->holds ? 0 : -EINVAL;
    eng->holds -= r == 0;
    pthread_mutex_unlock(&eng->misc_lock);
    if (!r)
        (void)eng_reclaim(eng);
    return r;
}

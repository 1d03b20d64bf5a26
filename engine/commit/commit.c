/*
 * commit.c - the life of a mutation: validated under log.lock, written as one batch, then published in the
 * index under the exclusive index_lock (I2). Nothing is published before it was written whole, so a failed
 * write needs no undoing (I8). */
#include "commit/commit.h"

#include "commit/clocks.h"
#include "commit/cuts.h"
#include "commit/feed.h"
#include "commit/flush.h"
#include "commit/keep.h"
#include "commit/orphans.h"
#include "commit/position.h"
#include "core/reserve.h"
#include "index/ahead.h"
#include "index/apply.h"
#include "index/extents.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>

#define LOOK_BATCHES 8u
#define RESERVE_EVERY (UINT64_C(1) << 20) /* bytes of the log between two calls of reserve_keep() */

/* Whether this thread has changed the index since commit_begin(). What has happened is no error any more,
 * whatever is looked at afterwards. */
static _Thread_local bool has_published;

int commit_begin(struct eng *eng)
{
    pool_missed = 0;
    if (is_read_only(eng)) {
        int r = eng_doubt(eng);
        return r ? r : -EROFS;
    }
    if (log_wants_flush(&eng->log))
        (void)flush_log(eng); /* reports its failure itself */
    report_defer();
    /* Fairness: a caller that re-enters at once (compaction committing relocations) must not overtake
     * waiters. */
    pthread_mutex_lock(&eng->log.queue);
    pthread_mutex_lock(&eng->log.lock);
    pthread_mutex_unlock(&eng->log.queue);
    pool_missed = 0;
    has_published = false;
    /* The store may have turned read-only meanwhile, perhaps with an index that is not whole. */
    int r = eng_doubt(eng);
    if (!r && !is_read_only(eng)) {
        fault_mutation(true);
        return 0;
    }
    pthread_mutex_unlock(&eng->log.lock);
    report_flush(&eng->report);
    return r ? r : -EROFS;
}

int commit_end(struct eng *eng, int r)
{
    if (r || !has_published) {
        int why = eng_doubt(eng);
        r = why ? why : r;
    }
    fault_mutation(false);
    uint64_t seq = log_seq(&eng->log);
    pthread_mutex_unlock(&eng->log.lock);
    feed_wake(eng);
    position_wake(eng, seq);
    report_flush(&eng->report);
    if (checkpoint_is_due(eng) || echo_wants_flush(&eng->log.echo) || cuts_ring(eng))
        wake_workers(&eng->wake);
    return r;
}

/* ---- commit ---------------------------------------------------------------- */

/* The reserve grows with the store, before the disk is full. */
static void keep_reserve_locked(struct eng *eng, bool new_segment, uint64_t size)
{
    uint64_t tail = eng->log.tail;
    if ((new_segment || tail / RESERVE_EVERY != (tail + size) / RESERVE_EVERY) && !reserve_is_short(eng))
        reserve_keep(eng);
}

void commit_seals_locked(struct eng *eng)
{
    atomic_store_explicit(&eng->log.lean, reserve_is_short(eng), memory_order_relaxed);
}

/* Gets all whose want could fail the write: memory for the ops, a segment, and that segment's record. */
static int prepare(struct eng *eng, struct txn *txn)
{
    struct log *log = &eng->log;
    uint64_t size = log_batch_size(txn);
    bool new_segment = log_wants_segment_locked(log, size);
    keep_reserve_locked(eng, new_segment, size);
    atomic_store_explicit(&log->echo.lean, reserve_is_short(eng), memory_order_relaxed);
    if (new_segment) {
        commit_seals_locked(eng);
        int r = log_new_segment_locked(log);
        if (r)
            return r;
    }
    pthread_rwlock_wrlock(&eng->index_lock);
    int r = index_touch_segment(&eng->idx, log->active->id, SEGMENT_LOG, log->seq + 1);
    if (!r) /* last: a reservation replaces the one before */
        r = index_reserve(&eng->idx, txn->ops, txn->n_ops);
    if (!r)
        r = eng_doubt(eng); /* which free runs there are may have taken a chunk */
    pthread_rwlock_unlock(&eng->index_lock);
    return r;
}

/* Where the medium refuses the batch in this segment, in the next. */
static int write_batch(struct eng *eng, struct txn *txn)
{
    int r = prepare(eng, txn);
    if (r)
        return r;
    uint32_t id = eng->log.active->id;
    r = log_append_locked(&eng->log, txn);
    if (!log_leave_locked(&eng->log, r))
        return r;
    report_line(&eng->report, ENG_LOG_WARNING,
                "s%08x.seg: writing behind the end of the log failed (%s); a new segment begins", id,
                strerror(-r));
    r = prepare(eng, txn);
    return r ? r : log_append_locked(&eng->log, txn);
}

/* Applies the written batch to the index: from here on readers see it (I2). */
static int publish(struct eng *eng, const struct txn *txn)
{
    int r = 0;
    size_t lost = 0, relocations = 0;
    feed_stage(eng, txn); /* its names may lie in the index, which changes now */
    cuts_note(eng, txn);
    pthread_rwlock_wrlock(&eng->index_lock);
    for (size_t i = 0, n, gone; i < txn->n_ops && r >= 0; i += n) {
        r = index_apply_next(&eng->idx, &txn->ops[i], txn->n_ops - i, eng->log.seq, &n, &gone);
        relocations += txn->ops[i].type == OP_RELOCATE ? n : 0;
        lost += gone;
    }
    if (r >= 0 && eng_doubt(eng)) /* a part of the index that it changes could not be had */
        r = -EIO;
    eng->published_seq = eng->log.seq;
    pthread_rwlock_unlock(&eng->index_lock);
    COUNT(eng, relocations, relocations - lost);
    COUNT(eng, relocations_lost, lost);
    has_published = true;
    if (r >= 0) {
        clocks_note(eng, txn);
        feed_publish(eng);
        return 0;
    }
    char why[128];
    snprintf(why, sizeof why, "batch %llu does not fit the index (%s); mount again to recover from the log",
             (unsigned long long)eng->log.seq, strerror(-r));
    loading_fail(&eng->loading, &eng->report,
                 why); /* while it is loaded: who knows what of it readers would see */
    report_turn_read_only(&eng->report, "%s", why);
    return -EIO;
}

/* Whether a whole block of content lies in [off, end), or what is left up to the end of the file. */
static bool holds_block(const struct eng *eng, const struct inode_rec *inode, const struct op *op,
                        uint64_t off, uint64_t end)
{
    uint32_t n = 0;
    off = (off + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
    if (end < inode->size)
        end = end / BLOCK_SIZE * BLOCK_SIZE;
    return off < end && extents_count(&eng->idx, ino_slot(op->ino), off, end, 1, &n, &end) == 0 && n;
}

/* What an op that takes something away may use of the reserve; one that finds nothing to take, nothing: it
 * can be repeated for ever. */
static enum reserve_use op_use(const struct eng *eng, const struct txn *txn, const struct op *op)
{
    const struct inode_rec *inode = index_inode(&eng->idx, op->ino);
    bool lets_go = op->type == OP_FLOOR && txn->n_ops == 1; /* else it says what another op does */
    if (op->type == OP_DROP || op->type == OP_DROP_NAME || op->type == OP_THIN || lets_go)
        return RESERVE_MOST;
    if (op->type == OP_XATTR_DEL || (op->type == OP_SNAPSHOT_NAME && !op->name_len))
        return RESERVE_SOME;
    bool cuts = op->type == OP_UNLINK || op->type == OP_TRUNCATE || op->type == OP_PUNCH;
    if (cuts && (op->flags & OP_KEPT || keep_has(txn, op->ino)) && !MUTANT(KEPT_USES))
        return RESERVE_NONE; /* it frees nothing, and who drops the snapshot needs that room */
    if (op->type == OP_UNLINK)
        return inode && inode->nlink == 1 && inode_bytes(inode) >= BLOCK_SIZE ? RESERVE_MOST : RESERVE_SOME;
    if (inode && op->type == OP_PUNCH &&
        (MUTANT(NOTHING_REMOVES) || holds_block(eng, inode, op, op->off, op->off + op->len)))
        return RESERVE_MOST;
    bool is_less = inode && op->type == OP_TRUNCATE && op->len < inode->size;
    return is_less && holds_block(eng, inode, op, op->len, UINT64_MAX) ? RESERVE_MOST : RESERVE_NONE;
}

/* Whether the op may come along with one that removes: the times of a truncated file, the name that replaces
 * another. */
static bool op_comes_along(const struct eng *eng, const struct op *op)
{
    const struct inode_rec *inode = op->type == OP_TRUNCATE ? index_inode(&eng->idx, op->ino) : NULL;
    return op->type == OP_ATTR || op->type == OP_REPOINT || op->type == OP_PUNCH || op->type == OP_KEEP ||
           op->type == OP_MOMENT || op->type == OP_BY || op->type == OP_FLOOR ||
           (inode && op->len <= inode->size);
}

/* What the first ops of the transaction, those of the caller, may use of the reserve: relocations all of it,
 * removals, as the freeing of orphans alone, a share. Under log.lock. */
static enum reserve_use use_of(const struct eng *eng, const struct txn *txn, size_t n_ops)
{
    enum reserve_use use = n_ops ? RESERVE_NONE : RESERVE_MOST;
    bool else_needs = false;
    for (size_t i = 0; i < n_ops && !else_needs; i++) {
        const struct op *op = &txn->ops[i];
        if (op->type == OP_RELOCATE || op->type == OP_SEGMENT)
            return RESERVE_ALL;
        enum reserve_use its = op_use(eng, txn, op);
        use = MAX_OF(use, its);
        else_needs = else_needs || (its == RESERVE_NONE && !op_comes_along(eng, op));
    }
    return else_needs ? RESERVE_NONE : use;
}

/* Whether there is room for the batch, as far as that is known, and for a checkpoint after it. */
static bool is_allowed(struct eng *eng, const struct txn *txn, enum reserve_use use)
{
    uint64_t changes[INDEX_TABLES];
    if (!reserve_is_short(eng) || use == RESERVE_ALL)
        return true;
    if (use == RESERVE_NONE)
        return false;
    index_changes(&eng->idx, txn->ops, txn->n_ops, changes);
    return reserve_allows(eng, use, log_batch_size(txn), changes);
}

static int write_or_make_do(struct eng *eng, struct txn *txn, enum reserve_use use)
{
    int r = write_batch(eng, txn);
    while (r == -ENOSPC && reserve_spend(eng, use))
        r = write_batch(eng, txn);
    if (r == -EOVERFLOW) /* the index is full, and not the disk: no room made there helps */
        return -ENOSPC;
    if (r == -ENOSPC)
        reserve_set_short(eng);
    else if (r)
        r = report_store_error(&eng->report, "writing to", r);
    return r;
}

/* What the transaction was checked against counts, and what it will change is in memory: nobody waits for the
 * disk under index_lock, and nothing is missing once it is written. */
static int fetch_ahead(struct eng *eng, const struct txn *txn)
{
    if (loading_is_done(&eng->loading))
        return 0;
    int r = eng_doubt(eng);
    if (!r && !MUTANT(NO_FETCH_AHEAD)) {
        index_fetch_ahead(&eng->idx, txn->ops, txn->n_ops);
        r = eng_doubt(eng);
    }
    return r;
}

/* On a full disk what was asked for goes without the orphans that would come along, if that is what fits. */
static int make_fit(struct eng *eng, struct txn *txn, enum reserve_use use, size_t n_own, size_t *orphans)
{
    if (is_allowed(eng, txn, use))
        return 0;
    if (!n_own || n_own == txn->n_ops)
        return -ENOSPC;
    txn->n_ops = n_own;
    *orphans = 0;
    return is_allowed(eng, txn, use) ? 0 : -ENOSPC;
}

/* Whether the superblock says what each op needs: no program that does not know it meets it. */
static bool is_told(const struct eng *eng, const struct txn *txn)
{
    bool told = true;
    for (size_t i = 0; i < txn->n_ops && told && !eng_has_history(eng); i++)
        told = op_is_plain(&txn->ops[i]);
    return told;
}

int commit_txn(struct eng *eng, struct txn *txn)
{
    size_t orphans = 0;
    int r = keep_stage(eng, txn); /* first: what follows counts what it adds */
    size_t n_own = txn->n_ops;
    enum reserve_use use = use_of(eng, txn, n_own);
    if (!r)
        r = orphans_stage(eng, txn, &orphans);
    if (!r && !is_told(eng, txn))
        r = -EPROTONOSUPPORT;
    if (!r)
        r = fetch_ahead(eng, txn);
    if (!r && txn->n_ops)
        r = make_fit(eng, txn, use, n_own, &orphans);
    if (!r && txn->n_ops) {
        r = write_or_make_do(eng, txn, use);
        if (MUTANT(PUBLISH_UNWRITTEN))
            r = 0;
        if (!r) {
            fault_point(&eng->hook, FP_LOG_WRITTEN);
            r = publish(eng, txn);
        }
    }
    if (!r)
        orphans_drop(eng, orphans);
    if (!r && eng->idx.past_names.used > 1)
        orphans_after(eng, txn);
    return r;
}

/* A batch without operations, `size` bytes long. */
static int write_nothing(struct eng *eng, uint64_t size)
{
    static const uint8_t zeros[8192];
    struct txn_piece piece = {zeros, size - sizeof(struct batch_header)};
    struct txn txn = {.pieces = &piece, .n_pieces = piece.len > 0, .extents_len = piece.len};
    assert(piece.len <= sizeof zeros);
    int r = write_or_make_do(eng, &txn, MUTANT(MARK_SPENDS_ALL) ? RESERVE_ALL : RESERVE_MOST);
    return r ? r : publish(eng, &txn);
}

int commit_mark(struct eng *eng)
{
    int r = commit_begin(eng);
    if (r)
        return r;
    uint64_t gap = log_mark_gap_locked(&eng->log);
    if (gap == UINT64_MAX) {
        commit_seals_locked(eng);
        r = log_seal_locked(&eng->log);
    } else if (gap) {
        r = write_nothing(eng, gap);
    }
    if (!r)
        r = write_nothing(eng, sizeof(struct batch_header));
    r = commit_end(eng, r);
    return r ? r : flush_log(eng);
}

/* At most so many batches. */
static int free_orphans(struct eng *eng, unsigned batches)
{
    int r = 0;
    for (unsigned n = 0; !r && n < batches && orphans_queued(eng); n++) {
        CLEANUP_TXN struct txn txn = {0};
        r = commit_begin(eng);
        if (r)
            break;
        r = commit_end(eng, commit_txn(eng, &txn));
    }
    return r;
}

int commit_orphans(struct eng *eng)
{
    return free_orphans(eng, UINT_MAX);
}

void commit_some_orphans(struct eng *eng)
{
    (void)free_orphans(eng, MUTANT(LOOK_FREES_ALL) ? UINT_MAX : LOOK_BATCHES);
}

int commit_next_orphans(struct eng *eng)
{
    return free_orphans(eng, 1);
}

int commit_orphans_of(struct eng *eng, struct job *job)
{
    uint64_t last = 0;
    int r = 0;
    while (!r && orphans_queued(eng)) {
        r = free_orphans(eng, 1);
        job_yield(&last);
        if (!r && !MUTANT(FREES_UNGATED))
            r = job_gate(job, 0);
    }
    return r;
}

int commit_tail(struct eng *eng, uint64_t ino)
{
    bool more = true;
    int r = 0;
    while (more && !r) {
        CLEANUP_TXN struct txn txn = {0};
        r = commit_begin(eng);
        if (r)
            break;
        r = orphans_stage_tail(eng, &txn, ino, &more);
        if (!r)
            r = commit_txn(eng, &txn);
        r = commit_end(eng, r);
        if (!r && more)
            fault_point(&eng->hook, FP_TAIL_SLICE);
    }
    return r;
}

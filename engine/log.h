/*
 * log.h - the append-only log that is the database: transactions become
 * batches, batches are appended to the active segment in one sequence, and one
 * flush makes many of them durable (group commit).
 *
 * Locking, outermost first: log->lock (one writer at a time, from validation
 * to publication), eng->index_lock, arena->lock. sync_lock is taken alone.
 */
#ifndef ENGRAMFS_LOG_H
#define ENGRAMFS_LOG_H

#include "arena.h"
#include "codec.h"
#include "util.h"

/* A transaction being put together: ops, and the extents that they publish. Belongs to one thread. */
struct txn {
    struct op *ops;
    size_t n_ops, cap_ops;
    struct buf bytes; /* heads, small payloads and paddings, in order */
    struct txn_piece {
        const void *data; /* NULL: from `bytes` at `at` */
        size_t at, len;
    } * pieces;
    size_t n_pieces, cap_pieces;
    struct txn_head {
        size_t op, at;   /* the op that publishes it; its head in `bytes` */
        uint64_t extent; /* its place among the batch's extents */
    } * heads;
    size_t n_heads, cap_heads;
    uint64_t extents_len;
    struct buf names; /* copies of path hints etc. that must live as long as the transaction */
};

void txn_done(struct txn *txn); /* zeroed is fine */
#define CLEANUP_TXN __attribute__((cleanup(txn_done)))
/* Makes it empty again, keeping its memory. */
void txn_reset(struct txn *txn);
/* How far it is, and back to there: what was staged since, also in part, is forgotten. */
struct txn_mark {
    size_t n_ops, n_heads, n_pieces, last_len, bytes, names;
    uint64_t extents_len;
};
struct txn_mark txn_mark(const struct txn *txn);
void txn_rewind(struct txn *txn, const struct txn_mark *mark);
/* A new zeroed op of that type; valid until the next. NULL: no memory. */
struct op *txn_op(struct txn *txn, enum op_type type);
/*
 * Adds an extent with `payload` (borrowed until the commit) for file offset off and has the last op
 * publish it: sets its loc, relative to the batch until log_append(). -ENOMEM.
 */
int txn_extent(struct txn *txn, uint64_t ino, uint64_t off, const void *payload, uint32_t len,
               const char *name, uint32_t name_len);

struct log {
    struct eng_io *io;
    struct arena *arena;
    const struct fault_hook *hook;
    uint64_t segment_size; /* bytes; immutable after log_init() */
    uint64_t store;        /* superblock_tag(); immutable after opening */

    pthread_mutex_t turn; /* held by the mutation that is the next to get `lock`, while it waits */
    pthread_mutex_t lock;
    struct segment *active;    /* pinned; NULL: none yet. protected by lock */
    uint64_t tail;             /* end of the last batch in it. protected by lock */
    uint64_t ahead;            /* up to where the file was filled with zeros; 0: nowhere. protected by lock */
    uint64_t bytes_at_flush;   /* of the last one. protected by lock */
    uint32_t small_fsyncs;     /* asked for since the last large flush. atomic */
    uint64_t seq;              /* of the last batch. atomic: written under lock */
    uint64_t chain;            /* sum of the last batch. protected by lock */
    struct segment **unsynced; /* sealed, pinned, in order. protected by lock */
    size_t n_unsynced, cap_unsynced; /* protected by lock; n_unsynced atomic: read without, as a hint */
    bool dir_dirty;                  /* a segment file is new. protected by lock */
    struct buf scratch;              /* protected by lock */
    uint64_t bytes;                  /* atomic: appended since opening */

    pthread_mutex_t sync_lock;
    pthread_cond_t sync_done;
    bool syncing;         /* protected by sync_lock */
    uint64_t durable_seq; /* atomic: written by the one that syncs */
    int failed;           /* atomic: errno of the first failed flush, sticky (I11) */
    uint64_t syncs;       /* atomic */
};

/* How far the active segment is filled with zeros beyond its end, bytes, after so many fsyncs with little
 * between them. */
#define LOG_AHEAD (UINT64_C(256) << 10)
#define LOG_AHEAD_FSYNCS 16u

void log_init(struct log *log, struct eng_io *io, struct arena *arena, const struct fault_hook *hook,
              uint64_t segment_size);
void log_done(struct log *log);
static inline uint64_t log_seq(const struct log *log)
{
    return __atomic_load_n(&log->seq, __ATOMIC_ACQUIRE);
}
static inline uint64_t log_durable(const struct log *log)
{
    return __atomic_load_n(&log->durable_seq, __ATOMIC_ACQUIRE);
}

/* With log->lock held: bytes of the batch that the transaction would make. */
uint64_t log_batch_size(const struct txn *txn);
/* With log->lock held: whether such a batch needs a new segment, and beginning one. */
bool log_wants_segment_locked(const struct log *log, uint64_t batch_size);
int log_new_segment_locked(struct log *log);
/* Whether so many segments wait for a flush, each with its file open, that one should come before a new one.
 */
bool log_wants_flush(const struct log *log);
/* With log->lock held: ends the active segment; the next batch begins a new one. */
int log_seal_locked(struct log *log);
/* With log->lock held: writes the batch. On success the ops' locators are absolute and log->seq is its
 * number. */
int log_append_locked(struct log *log, struct txn *txn);

/* Somebody outside asks for a flush, as a database does after each transaction. */
static inline void log_note_fsync(struct log *log)
{
    __atomic_add_fetch(&log->small_fsyncs, 1, __ATOMIC_RELAXED);
}
/* Makes durable all that was appended before the call; concurrent callers share flushes. *ret_flushed (may be
 * NULL): whether this call led one. */
int log_sync(struct log *log, bool *ret_flushed);

#endif

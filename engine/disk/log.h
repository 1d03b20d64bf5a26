/*
 * log.h - the append-only log that is the database: transactions become
 * batches, batches are appended to the active segment in one sequence, and one
 * flush makes many of them durable (group commit).
 *
 * Locking, outermost first: log->lock (one writer at a time, from validation
 * to publication), eng->index_lock, segments->lock. sync_lock is taken alone. */
#ifndef ENGRAMFS_LOG_H
#define ENGRAMFS_LOG_H

#include "disk/echo.h"
#include "disk/segments.h"
#include "disk/summary.h"
#include "disk/txn.h"

struct log {
    struct eng_io *io;
    struct segments *segments;
    const struct fault_hook *hook;
    uint64_t segment_size; /* bytes; immutable after log_init() */
    uint64_t store;        /* superblock_tag(); immutable after opening */

    pthread_mutex_t queue; /* held by the mutation that is the next to get `lock`, while it waits */
    pthread_mutex_t lock;
    struct segment *active; /* pinned; NULL: none yet. protected by lock */
    uint64_t tail;          /* end of the last batch in it. protected by lock */
    /* What the active segment got from this place on: its header's end, or, after an opening, where the log
     * went on, until log_complete_summary_locked(). Protected by lock. */
    struct summary summary;
    uint64_t summed_from;
    _Atomic bool lean; /* the disk is full: segments are sealed without a summary */
    uint64_t ahead;    /* up to where the file was filled with zeros; 0: nowhere. protected by lock */
    bool left; /* a segment was left, and no batch was written since (log_leave_locked()). The same. */
    uint64_t bytes_at_flush;       /* of the last one. protected by lock */
    _Atomic uint32_t small_fsyncs; /* asked for since the last large flush */
    _Atomic uint64_t seq;          /* of the last batch. Written under lock, read without it. */
    uint64_t chain;                /* sum of the last batch. protected by lock */
    uint64_t mark;                 /* the highest durable_seq that was written. protected by lock */
    int64_t time;                  /* of the last batch, ns. protected by lock */
    struct segment **unsynced;     /* sealed, pinned, in order. protected by lock */
    _Atomic size_t n_unsynced;     /* written under lock, read without it, as a hint */
    size_t cap_unsynced;           /* protected by lock */
    bool dir_dirty;                /* a segment file is new. protected by lock */
    _Atomic uint32_t active_id;    /* of the active segment, 0: none; written under lock */
    _Atomic uint32_t newest;       /* id of the last segment that was begun; written under lock */
    uint32_t newest_durable;       /* the same as of the last flush. protected by sync_lock */
    struct buf scratch;            /* protected by lock */
    struct echo echo;              /* what it notes is protected by lock; else it has locks of its own */
    _Atomic uint64_t bytes;        /* appended since opening */

    pthread_mutex_t sync_lock;
    pthread_cond_t sync_done;
    bool syncing;                 /* protected by sync_lock */
    _Atomic uint64_t durable_seq; /* written by the one that syncs */
    _Atomic uint64_t durable_end; /* where that batch ends: segment << 32 | offset / 8; written before it */
    _Atomic uint64_t marked_seq;  /* see log_marked() */
    _Atomic int failed;           /* errno of the first failed flush or syncdir, sticky (I11) */
    _Atomic uint64_t syncs;
};

/* How far the active segment is filled with zeros beyond its end, bytes, after so many fsyncs with little
 * between them. */
#define LOG_AHEAD (UINT64_C(256) << 10)
#define LOG_AHEAD_FSYNCS 16u

void log_init(struct log *log, struct eng_io *io, struct segments *segments, const struct fault_hook *hook,
              uint64_t segment_size);
void log_free(struct log *log);
static inline uint64_t log_seq(const struct log *log)
{
    return atomic_load_explicit(&log->seq, memory_order_acquire);
}
/* Bytes appended since opening. */
static inline uint64_t log_bytes(const struct log *log)
{
    return atomic_load_explicit(&log->bytes, memory_order_relaxed);
}
static inline uint64_t log_durable(const struct log *log)
{
    return atomic_load_explicit(&log->durable_seq, memory_order_acquire);
}
/* For durable_end. */
static inline uint64_t log_place(uint32_t segment, uint64_t offset)
{
    return (uint64_t)segment << 32 | offset / 8;
}
/* Up to where the disk itself says, durably, that the log was durable: in a page of 4 KiB that no batch up to
 * there touches, so that one bad page takes no batch together with the word about it. */
static inline uint64_t log_marked(const struct log *log)
{
    return atomic_load_explicit(&log->marked_seq, memory_order_acquire);
}
/* The same is said elsewhere, durably: by a checkpoint. */
void log_note_marked(struct log *log, uint64_t seq);
/* With log->lock held: bytes that must come before the next batch, so that what it says counts for
 * log_marked(); more than the segment has room for: UINT64_MAX. */
uint64_t log_mark_gap_locked(const struct log *log);

/* With log->lock held: bytes of the batch that the transaction would make. */
uint64_t log_batch_size(const struct txn *txn);
/* With log->lock held: whether such a batch needs a new segment, and beginning one. */
bool log_wants_segment_locked(const struct log *log, uint64_t batch_size);
int log_new_segment_locked(struct log *log);
/* Whether so many segments wait for a flush, each with its file open, that one should come before a new
 * one. */
bool log_wants_flush(const struct log *log);
/* With log->lock held: ends the active segment, which gets its summary behind the last batch if that is known
 * whole and there is room; the next batch begins a new one. */
int log_seal_locked(struct log *log);
/* With log->lock held: goes on with a segment that is there, behind the batch that ends at `tail`; takes the
 * pin. The file has `size` bytes. */
void log_continue_locked(struct log *log, struct segment *take_seg, uint64_t tail, uint64_t size);
/* With log->lock held: `before` has what lies in the active segment `id` up to summed_from, `from` then.
 * Nothing happens if another is active by now. -ENOMEM. */
int log_complete_summary_locked(struct log *log, uint32_t id, uint64_t from, const struct summary *before);
/* With log->lock held: writes the batch. On success the ops' locators are absolute and log->seq is its
 * number. */
int log_append_locked(struct log *log, struct txn *txn);
/* With log->lock held: log_append_locked() has failed with `error`. Whether the same batch may succeed in a
 * new segment: the active one is sealed then. */
bool log_leave_locked(struct log *log, int error);

/* Somebody outside asks for a flush, as a database does after each transaction. */
static inline void log_count_fsync(struct log *log)
{
    atomic_fetch_add_explicit(&log->small_fsyncs, 1, memory_order_relaxed);
}
/* Makes durable all that was appended before the call; concurrent callers share flushes. *ret_flushed (may be
 * NULL): whether this call led one. */
int log_sync(struct log *log, bool *ret_flushed);
/* Makes a segment's file durable, in turn with the flushes: the kernel tells of lost writes once, and they
 * may be the log's. So a failure is one of the log, too (I11). */
int log_sync_file(struct log *log, struct io_file *file);

#endif

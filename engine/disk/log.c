/*
 * log.c - see log.h. */
#include "disk/log.h"

#include <assert.h>

/* ---- appending ---------------------------------------------------------- */

void log_init(struct log *log, struct eng_io *io, struct segments *segments, const struct fault_hook *hook,
              uint64_t segment_size)
{
    *log = (struct log){.io = io, .segments = segments, .hook = hook, .segment_size = segment_size};
    echo_init(&log->echo, io);
    pthread_mutex_init(&log->queue, NULL);
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->sync_lock, NULL);
    pthread_cond_init(&log->sync_done, NULL);
}

/* Takes back the zeros behind the last batch. If that fails there are zeros, which end the log as
 * well. */
static void trim(struct log *log)
{
    if (log->active && log->ahead > log->tail)
        (void)log->io->ops->truncate(log->active->file, log->tail);
    log->ahead = 0;
}

void log_free(struct log *log)
{
    if (!log->io)
        return;
    trim(log);
    for (size_t i = 0; i < log->n_unsynced; i++)
        segments_unpin(log->unsynced[i]);
    segments_unpin(log->active);
    free(log->unsynced);
    buf_free(&log->scratch);
    summary_free(&log->summary);
    echo_free(&log->echo);
    pthread_mutex_destroy(&log->queue);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->sync_lock);
    pthread_cond_destroy(&log->sync_done);
    *log = (struct log){0};
}

static size_t ops_size(const struct txn *txn)
{
    size_t size = 0;
    for (size_t i = 0; i < txn->n_ops; i++)
        size += op_size(&txn->ops[i]);
    return size;
}

uint64_t log_batch_size(const struct txn *txn)
{
    return sizeof(struct batch_header) + ops_size(txn) + txn->extents_len;
}

bool log_wants_segment_locked(const struct log *log, uint64_t batch_size)
{
    return !log->active || (log->tail + batch_size + summary_size(&log->summary) > log->segment_size &&
                            log->tail > sizeof(struct segment_header));
}

bool log_wants_flush(const struct log *log)
{
    return atomic_load_explicit(&log->n_unsynced, memory_order_relaxed) > log->segments->open_max / 2;
}

void log_note_marked(struct log *log, uint64_t seq)
{
    uint64_t old = log_marked(log);
    while (old < seq && !atomic_compare_exchange_weak_explicit(&log->marked_seq, &old, seq,
                                                               memory_order_acq_rel, memory_order_acquire))
        ;
}

#define MARK_PAGE 4096u

/* Whether a batch at the tail lies in another page than the end of what is durable. */
static bool stands_apart(const struct log *log)
{
    uint64_t end = atomic_load_explicit(&log->durable_end, memory_order_acquire);
    return MUTANT(MARK_BESIDE) || end >> 32 != log->active->id ||
           ((end & UINT32_MAX) * 8 - 1) / MARK_PAGE != log->tail / MARK_PAGE;
}

uint64_t log_mark_gap_locked(const struct log *log)
{
    if (!log->active || stands_apart(log))
        return 0;
    uint64_t gap = MARK_PAGE - log->tail % MARK_PAGE;
    gap += gap < sizeof(struct batch_header) ? MARK_PAGE : 0;
    return log->tail + gap + sizeof(struct batch_header) <= log->segment_size ? gap : UINT64_MAX;
}

/* ---- summaries ------------------------------------------------------------ */

/*
 * Behind the last batch, to become durable with it. Only a hint: without one, or with one that a crash has
 * torn, the segment's batches tell the same, so that no failure here is one of the log. To recovery it is
 * what ends the log in this segment, as zeros or a torn batch do. */
static void put_summary(struct log *log)
{
    struct summary *s = &log->summary;
    if (!s->n || log->summed_from != sizeof(struct segment_header) ||
        atomic_load_explicit(&log->lean, memory_order_relaxed) ||
        summary_seal(s, log->active->id, log->store) != 0)
        return;
    struct iovec iov = {s->bytes.data, s->bytes.len};
    if (io_pwritev_full(log->active->file, log->io->ops, &iov, 1, log->tail) != 0)
        (void)log->io->ops->truncate(log->active->file, log->tail);
    else
        segments_resize(log->segments, log->active, log->tail + s->bytes.len);
}

static void note_extents(struct log *log, const struct txn *txn)
{
    for (size_t i = 0; i < txn->n_heads; i++) {
        const struct op *op = &txn->ops[txn->heads[i].op];
        bool is_unknown = op->type == OP_REWRITE && MUTANT(REWRITE_UNNOTED);
        const struct summary_entry e = {.off8 = op->loc.off8,
                                        .len = op->loc.ext_len,
                                        .slot = (uint32_t)op->ino,
                                        .off = is_unknown ? EXTENT_XATTR_OFF : op_extent_off(op)};
        summary_add(&log->summary, &e);
    }
}

int log_complete_summary_locked(struct log *log, uint32_t id, uint64_t from, const struct summary *before)
{
    if (!log->active || log->active->id != id || log->summed_from != from)
        return 0;
    int r = summary_join(&log->summary, before);
    if (!r)
        log->summed_from = sizeof(struct segment_header);
    return r;
}

/* ---- segments --------------------------------------------------------------- */

static void become_active(struct log *log, struct segment *seg)
{
    log->active = seg;
    atomic_store_explicit(&log->active_id, seg ? seg->id : 0, memory_order_release);
}

int log_seal_locked(struct log *log)
{
    if (!log->active)
        return 0;
    int r = array_grow(&log->unsynced, &log->cap_unsynced, log->n_unsynced + 1, sizeof *log->unsynced);
    if (r)
        return r;
    trim(log);
    put_summary(log);
    summary_reset(&log->summary);
    atomic_store_explicit(&log->small_fsyncs, 0, memory_order_relaxed);
    log->unsynced[log->n_unsynced] = log->active;
    atomic_store_explicit(&log->n_unsynced, log->n_unsynced + 1, memory_order_relaxed);
    become_active(log, NULL);
    return 0;
}

int log_new_segment_locked(struct log *log)
{
    struct segment *seg;
    int r = log_seal_locked(log);
    uint64_t durable = log_durable(log);
    if (!r)
        r = segments_create(log->segments, SEGMENT_LOG, log->seq + 1, log->chain, durable, &seg);
    if (r)
        return r;
    log->mark = durable;
    become_active(log, seg);
    log->tail = log->summed_from = sizeof(struct segment_header);
    log->dir_dirty = true;
    atomic_store_explicit(&log->newest, seg->id, memory_order_release);
    return 0;
}

void log_continue_locked(struct log *log, struct segment *take_seg, uint64_t tail, uint64_t size)
{
    become_active(log, take_seg);
    log->tail = log->summed_from = tail;
    log->ahead = size;
    segments_resize(log->segments, take_seg, tail);
}

/* ---- batches ------------------------------------------------------------------ */

/* Makes the ops' locators absolute and encodes header and ops to the scratch buffer. Number, chain and mark
 * are what recovery tells the log from its leftovers by (I7). */
static int encode_batch(struct log *log, struct txn *txn)
{
    size_t ops_len = ops_size(txn);
    uint64_t base = log->tail + sizeof(struct batch_header) + ops_len;
    if (ops_len > BATCH_OPS_MAX || txn->n_ops > BATCH_N_OPS_MAX || txn->extents_len > UINT32_MAX ||
        (base + txn->extents_len) / 8 > UINT32_MAX)
        return -EFBIG;
    log->scratch.len = 0;
    int r = buf_reserve(&log->scratch, sizeof(struct batch_header) + ops_len);
    if (r)
        return r;
    struct batch_header header = {.magic = BATCH_MAGIC,
                                  .n_ops = (uint32_t)txn->n_ops,
                                  .seq = log->seq + 1,
                                  .durable_seq = log_durable(log),
                                  .chain = log->chain,
                                  .time = now_ns(),
                                  .ops_len = (uint32_t)ops_len,
                                  .extents_len = (uint32_t)txn->extents_len,
                                  .store = log->store};
    for (size_t i = 0; i < txn->n_heads; i++) {
        struct op *op = &txn->ops[txn->heads[i].op];
        op->loc.seg = log->active->id;
        op->loc.off8 = (uint32_t)((base + txn->heads[i].extent) / 8);
        op->hsum = extent_head_set_seq(txn->heads[i].head, header.seq);
    }
    uint8_t *out = log->scratch.data + sizeof header;
    for (size_t i = 0; i < txn->n_ops; i++)
        out += op_encode(&txn->ops[i], out);
    header.sum = batch_sum(&header, log->scratch.data + sizeof header);
    memcpy(log->scratch.data, &header, sizeof header);
    log->scratch.len = sizeof header + ops_len;
    return 0;
}

int log_append_locked(struct log *log, struct txn *txn)
{
    int r = encode_batch(log, txn);
    if (r)
        return r;
    struct iovec few[4];
    CLEANUP_FREE struct iovec *many = NULL;
    if (txn->n_pieces >= ARRAY_LEN(few) && !(many = calloc(txn->n_pieces + 1, sizeof *many)))
        return -ENOMEM;
    struct iovec *iov = many ? many : few;
    iov[0] = (struct iovec){log->scratch.data, log->scratch.len};
    for (size_t i = 0; i < txn->n_pieces; i++) {
        const struct txn_piece *p = &txn->pieces[i];
        iov[i + 1] = (struct iovec){(void *)(uintptr_t)p->data, p->len};
    }
    r = io_pwritev_full(log->active->file, log->io->ops, iov, (int)txn->n_pieces + 1, log->tail);
    if (r)
        return r; /* nothing was published; the next batch takes the same place, or log_leave_locked() */
    struct batch_header header;
    memcpy(&header, log->scratch.data, sizeof header);
    uint64_t size = log->scratch.len + txn->extents_len;
    if (stands_apart(log)) /* what is durable may be more by now: its end only rises */
        log->mark = header.durable_seq;
    echo_note(&log->echo, log->active->id, log->tail, &header, log->scratch.data + sizeof header);
    log->left = false;
    log->tail += size;
    log->chain = header.sum;
    log->time = header.time;
    note_extents(log, txn);
    segments_resize(log->segments, log->active, log->tail);
    atomic_fetch_add_explicit(&log->bytes, size, memory_order_relaxed);
    atomic_store_explicit(&log->seq, header.seq, memory_order_release);
    return 0;
}

/*
 * A write into a block that cannot be read fails, since the kernel reads the rest of the block first: the
 * next batch would fail in the same place, and so would the summary. What there may be of the failed batch
 * never happened; the segment that is begun now claims its number. So it must be cut off: a whole one that
 * stays beside another of its number is taken for it where the head of the new segment is lost. And where
 * that one cannot be written either, the fault is another: no segment for each batch that fails. */
bool log_leave_locked(struct log *log, int error)
{
    if (error != -EIO || !log->active || (log->left && !MUTANT(LEFT_EACH_TIME)) || MUTANT(LOG_STAYS))
        return false;
    if (log->io->ops->truncate(log->active->file, log->tail) && !MUTANT(LEFT_UNCUT))
        return false; /* the next batch takes the same place */
    log->ahead = 0;
    log->summary.lost = true;
    log->left = log_seal_locked(log) == 0;
    return log->left;
}

/* ---- group commit ------------------------------------------------------- */

/* What one flush has to cover, taken over from the log under its lock. */
struct flush {
    struct segment **segs; /* pinned; oldest first, the active one last */
    size_t n;
    uint64_t seq, end, mark;
    uint32_t newest;
    bool dir;
    struct buf records; /* for the echo */
};

/*
 * When little comes between two fsyncs, the file has its size and blocks with zeros in them before the
 * batches come: then a flush writes data only. Blocks that are only reserved would be converted at each first
 * write, by a thread of the kernel that the flush waits for. */
static void zero_ahead_locked(struct log *log)
{
    static const uint8_t zeros[LOG_AHEAD / 4];
    uint64_t bytes = atomic_load_explicit(&log->bytes, memory_order_relaxed),
             since = bytes - log->bytes_at_flush;
    uint64_t from = MAX_OF(log->ahead, log->tail), end = MIN_OF(log->tail + LOG_AHEAD, log->segment_size);
    log->bytes_at_flush = bytes;
    if (since > LOG_AHEAD / 4)
        atomic_store_explicit(&log->small_fsyncs, 0, memory_order_relaxed);
    if (!log->active || atomic_load_explicit(&log->small_fsyncs, memory_order_relaxed) < LOG_AHEAD_FSYNCS ||
        log->tail + LOG_AHEAD / 4 < log->ahead || end <= from)
        return;
    log->ahead = end;
    struct iovec iov[4];
    int n = 0;
    for (uint64_t at = from; at < end; at += sizeof zeros)
        iov[n++] = (struct iovec){(void *)(uintptr_t)zeros, MIN_OF(sizeof zeros, end - at)};
    /* without it all goes on, slower */
    (void)io_pwritev_full(log->active->file, log->io->ops, iov, n, from);
}

static int flush_begin(struct log *log, struct flush *f)
{
    pthread_mutex_lock(&log->lock);
    zero_ahead_locked(log);
    *f = (struct flush){.n = log->n_unsynced,
                        .seq = log->seq,
                        .end = log->active ? log_place(log->active->id, log->tail) : 0,
                        .mark = log->mark,
                        .newest = log->newest,
                        .dir = log->dir_dirty};
    f->segs = calloc(f->n + 1, sizeof(struct segment *));
    if (f->segs) {
        for (size_t i = 0; i < f->n; i++)
            f->segs[i] = log->unsynced[i]; /* our pin moves along */
        if (log->active) {
            atomic_fetch_add_explicit(&log->active->pins, 1, memory_order_acquire);
            f->segs[f->n++] = log->active;
        }
        atomic_store_explicit(&log->n_unsynced, 0, memory_order_relaxed);
        log->dir_dirty = false;
        f->records = echo_take(&log->echo);
    }
    pthread_mutex_unlock(&log->lock);
    return f->segs ? 0 : -ENOMEM;
}

/* Older segments first: what is durable is always a prefix of the log, up to the flush under way (I7). */
static int flush_run(struct log *log, struct flush *f)
{
    int r = 0;
    fault_point(log->hook, FP_SYNC);
    if (MUTANT(ECHO_UNSYNCED)) {
        echo_give(&log->echo, &f->records);
        echo_drain(&log->echo);
    }
    for (size_t i = 0; i < f->n; i++) {
        assert(f->segs[i]); /* flush_begin() has filled all */
        if (!r && (i + 1 == f->n || !MUTANT(NO_SEALED_SYNC)))
            r = log->io->ops->datasync(f->segs[i]->file);
        segments_unpin(f->segs[i]);
    }
    if (!r && f->dir && !MUTANT(NO_SYNCDIR))
        r = io_syncdir(log->io);
    if (!r) /* somebody else's sync of the folder may have been told that names of ours are lost */
        r = -io_dir_failed(log->io);
    free(f->segs);
    r = MUTANT(NO_FAILED_SYNC) ? 0 : r;
    if (!r)
        echo_give(&log->echo, &f->records);
    buf_free(&f->records);
    return r;
}

int log_sync_file(struct log *log, struct io_file *file)
{
    pthread_mutex_lock(&log->sync_lock);
    while (log->syncing)
        pthread_cond_wait(&log->sync_done, &log->sync_lock);
    log->syncing = true;
    pthread_mutex_unlock(&log->sync_lock);
    int r = log->io->ops->datasync(file), none = 0;
    pthread_mutex_lock(&log->sync_lock);
    log->syncing = false;
    if (r && !MUTANT(SYNC_BESIDE))
        (void)atomic_compare_exchange_strong_explicit(&log->failed, &none, -r, memory_order_acq_rel,
                                                      memory_order_acquire);
    pthread_cond_broadcast(&log->sync_done);
    pthread_mutex_unlock(&log->sync_lock);
    return r;
}

/* errno of the first flush that failed, or sync of the folder, whoever asked for that; sticky (I11). */
static int failed(struct log *log)
{
    int none = 0, dir = MUTANT(NO_FAILED_SYNC) ? 0 : io_dir_failed(log->io);
    if (dir)
        (void)atomic_compare_exchange_strong_explicit(&log->failed, &none, dir, memory_order_acq_rel,
                                                      memory_order_acquire);
    return atomic_load_explicit(&log->failed, memory_order_acquire);
}

/* The index knows a segment before its first batch is written: a checkpoint may name one that has none. */
static bool has_undurable_segment(const struct log *log)
{
    return atomic_load_explicit(&log->newest, memory_order_acquire) > log->newest_durable &&
           !MUTANT(HEADER_UNSYNCED);
}

int log_sync(struct log *log, bool *ret_flushed)
{
    uint64_t target = log_seq(log);
    bool led = false;
    int r = 0;
    pthread_mutex_lock(&log->sync_lock);
    while (!(r = -failed(log)) && (log_durable(log) < target || has_undurable_segment(log))) {
        if (log->syncing) {
            pthread_cond_wait(&log->sync_done, &log->sync_lock);
            continue;
        }
        log->syncing = true;
        pthread_mutex_unlock(&log->sync_lock);
        struct flush f;
        r = flush_begin(log, &f);
        bool ran = !r;
        if (ran)
            r = flush_run(log, &f);
        led = led || ran;
        pthread_mutex_lock(&log->sync_lock);
        log->syncing = false;
        if (ran && r) /* I11: the kernel may have dropped the pages and call them clean now */
            atomic_store_explicit(&log->failed, -r, memory_order_release);
        if (!r) {
            log->newest_durable = f.newest;
            atomic_store_explicit(&log->durable_end, f.end, memory_order_release);
            log_note_marked(log, f.mark);
            atomic_store_explicit(&log->durable_seq, f.seq, memory_order_release);
            atomic_fetch_add_explicit(&log->syncs, 1, memory_order_relaxed);
        }
        pthread_cond_broadcast(&log->sync_done);
        if (r)
            break;
    }
    pthread_mutex_unlock(&log->sync_lock);
    if (led && !r)
        echo_drain(&log->echo);
    if (ret_flushed)
        *ret_flushed = led;
    return r;
}

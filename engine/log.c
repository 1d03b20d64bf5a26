/*
 * log.c - see log.h.
 */
#include "log.h"

#define COPY_MAX                                                                                             \
    16384u /* payloads up to this size are copied into the batch, larger ones written from where they are */

/* ---- transactions ------------------------------------------------------- */

void txn_done(struct txn *txn)
{
    free(txn->ops);
    free(txn->pieces);
    free(txn->heads);
    buf_done(&txn->bytes);
    buf_done(&txn->names);
    *txn = (struct txn){0};
}

void txn_reset(struct txn *txn)
{
    txn->n_ops = txn->n_pieces = txn->n_heads = 0;
    txn->bytes.len = txn->names.len = 0;
    txn->extents_len = 0;
}

struct txn_mark txn_mark(const struct txn *txn)
{
    return (struct txn_mark){.n_ops = txn->n_ops,
                             .n_heads = txn->n_heads,
                             .n_pieces = txn->n_pieces,
                             .last_len = txn->n_pieces ? txn->pieces[txn->n_pieces - 1].len : 0,
                             .bytes = txn->bytes.len,
                             .names = txn->names.len,
                             .extents_len = txn->extents_len};
}

void txn_rewind(struct txn *txn, const struct txn_mark *mark)
{
    txn->n_ops = mark->n_ops;
    txn->n_heads = mark->n_heads;
    txn->n_pieces = mark->n_pieces;
    if (mark->n_pieces)
        txn->pieces[mark->n_pieces - 1].len = mark->last_len; /* it may have grown */
    txn->bytes.len = mark->bytes;
    txn->names.len = mark->names;
    txn->extents_len = mark->extents_len;
}

struct op *txn_op(struct txn *txn, enum op_type type)
{
    if (array_grow(&txn->ops, &txn->cap_ops, txn->n_ops + 1, sizeof *txn->ops))
        return NULL;
    struct op *op = &txn->ops[txn->n_ops++];
    *op = (struct op){.type = (uint8_t)type};
    return op;
}

/* Adds `len` bytes: data, or (NULL) what was just put at the end of txn->bytes. */
static int add_piece(struct txn *txn, const void *data, size_t at, size_t len)
{
    struct txn_piece *last = txn->n_pieces ? &txn->pieces[txn->n_pieces - 1] : NULL;
    txn->extents_len += len;
    if (!data && last && !last->data && last->at + last->len == at) {
        last->len += len;
        return 0;
    }
    int r = array_grow(&txn->pieces, &txn->cap_pieces, txn->n_pieces + 1, sizeof *txn->pieces);
    if (!r)
        txn->pieces[txn->n_pieces++] = (struct txn_piece){data, at, len};
    return r;
}

static int add_bytes(struct txn *txn, const void *data, size_t len, size_t padded)
{
    int r = buf_reserve(&txn->bytes, padded);
    if (r || !padded)
        return r;
    uint8_t *out = txn->bytes.data + txn->bytes.len;
    if (len)
        memcpy(out, data, len);
    memset(out + len, 0, padded - len);
    txn->bytes.len += padded;
    return add_piece(txn, NULL, txn->bytes.len - padded, padded);
}

int txn_extent(struct txn *txn, uint64_t ino, uint64_t off, const void *payload, uint32_t len,
               const char *name, uint32_t name_len)
{
    uint8_t head[EXTENT_HEAD_MAX];
    (void)extent_head_encode(head, ino, off, 0, payload, len, name, name_len);
    int r = array_grow(&txn->heads, &txn->cap_heads, txn->n_heads + 1, sizeof *txn->heads);
    if (r)
        return r;
    txn->heads[txn->n_heads++] = (struct txn_head){txn->n_ops - 1, txn->bytes.len, txn->extents_len};
    struct op *op = &txn->ops[txn->n_ops - 1];
    op->loc = (struct locator){.len = len, .ext_len = len}; /* its place is known when it is appended */

    r = add_bytes(txn, head, extent_head_size(len), extent_head_size(len));
    if (!r && len <= COPY_MAX)
        r = add_bytes(txn, payload, len, ALIGN8(len));
    else if (!r) {
        r = add_piece(txn, payload, 0, len);
        if (!r)
            r = add_bytes(txn, NULL, 0, ALIGN8(len) - len);
    }
    return r ? r : add_bytes(txn, name, name_len, ALIGN8(name_len));
}

/* ---- appending ---------------------------------------------------------- */

void log_init(struct log *log, struct eng_io *io, struct arena *arena, const struct fault_hook *hook,
              uint64_t segment_size)
{
    *log = (struct log){.io = io, .arena = arena, .hook = hook, .segment_size = segment_size};
    pthread_mutex_init(&log->turn, NULL);
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

void log_done(struct log *log)
{
    if (!log->io)
        return;
    trim(log);
    for (size_t i = 0; i < log->n_unsynced; i++)
        arena_unpin(log->unsynced[i]);
    arena_unpin(log->active);
    free(log->unsynced);
    buf_done(&log->scratch);
    pthread_mutex_destroy(&log->turn);
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
    return !log->active ||
           (log->tail + batch_size > log->segment_size && log->tail > sizeof(struct segment_header));
}

bool log_wants_flush(const struct log *log)
{
    return __atomic_load_n(&log->n_unsynced, __ATOMIC_RELAXED) > log->arena->open_max / 2;
}

int log_seal_locked(struct log *log)
{
    if (!log->active)
        return 0;
    int r = array_grow(&log->unsynced, &log->cap_unsynced, log->n_unsynced + 1, sizeof *log->unsynced);
    if (r)
        return r;
    trim(log);
    __atomic_store_n(&log->small_fsyncs, 0, __ATOMIC_RELAXED);
    log->unsynced[log->n_unsynced] = log->active;
    __atomic_store_n(&log->n_unsynced, log->n_unsynced + 1, __ATOMIC_RELAXED);
    log->active = NULL;
    return 0;
}

int log_new_segment_locked(struct log *log)
{
    struct segment *seg;
    int r = log_seal_locked(log);
    if (!r)
        r = arena_create(log->arena, SEGMENT_LOG, log->seq + 1, log->chain, log_durable(log), &seg);
    if (r)
        return r;
    log->active = seg;
    log->tail = sizeof(struct segment_header);
    log->dir_dirty = true;
    return 0;
}

/* Makes the ops' locators absolute and encodes header and ops to the scratch buffer. Number, chain and mark
 * are what recovery tells the log from its leftovers by (I7). */
static int encode_batch(struct log *log, struct txn *txn)
{
    size_t ops_len = ops_size(txn);
    uint64_t base = log->tail + sizeof(struct batch_header) + ops_len;
    if (ops_len > UINT32_MAX || txn->extents_len > UINT32_MAX || (base + txn->extents_len) / 8 > UINT32_MAX)
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
        op->hsum = extent_head_set_seq(txn->bytes.data + txn->heads[i].at, header.seq);
    }
    uint8_t *out = log->scratch.data + sizeof header;
    for (size_t i = 0; i < txn->n_ops; i++) {
        op_encode(&txn->ops[i], out);
        out += op_size(&txn->ops[i]);
    }
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
    CLEANUP_FREE struct iovec *iov = calloc(txn->n_pieces + 1, sizeof *iov);
    if (!iov)
        return -ENOMEM;
    iov[0] = (struct iovec){log->scratch.data, log->scratch.len};
    for (size_t i = 0; i < txn->n_pieces; i++) {
        const struct txn_piece *p = &txn->pieces[i];
        const void *data = p->data ? p->data : txn->bytes.data + p->at;
        iov[i + 1] = (struct iovec){(void *)(uintptr_t)data, p->len};
    }
    r = io_pwritev_full(log->active->file, log->io->ops, iov, (int)txn->n_pieces + 1, log->tail);
    if (r)
        return r; /* nothing was published; the next batch takes the same place */
    struct batch_header header;
    memcpy(&header, log->scratch.data, sizeof header);
    uint64_t size = log->scratch.len + txn->extents_len;
    log->tail += size;
    log->chain = header.sum;
    __atomic_store_n(&log->active->size, log->tail, __ATOMIC_RELAXED);
    __atomic_add_fetch(&log->bytes, size, __ATOMIC_RELAXED);
    __atomic_store_n(&log->seq, header.seq, __ATOMIC_RELEASE);
    return 0;
}

/* ---- group commit ------------------------------------------------------- */

/* What one flush has to cover, taken over from the log under its lock. */
struct flush {
    struct segment **segs; /* pinned; oldest first, the active one last */
    size_t n;
    uint64_t seq;
    bool dir;
};

/*
 * When little comes between two fsyncs, the file has its size and blocks with zeros in them before the
 * batches come: then a flush writes data only. Blocks that are only reserved would be converted at each first
 * write, by a thread of the kernel that the flush waits for.
 */
static void zero_ahead_locked(struct log *log)
{
    static const uint8_t zeros[LOG_AHEAD / 4];
    uint64_t bytes = __atomic_load_n(&log->bytes, __ATOMIC_RELAXED), since = bytes - log->bytes_at_flush;
    uint64_t from = MAX_OF(log->ahead, log->tail), end = MIN_OF(log->tail + LOG_AHEAD, log->segment_size);
    log->bytes_at_flush = bytes;
    if (since > LOG_AHEAD / 4)
        __atomic_store_n(&log->small_fsyncs, 0, __ATOMIC_RELAXED);
    if (!log->active || __atomic_load_n(&log->small_fsyncs, __ATOMIC_RELAXED) < LOG_AHEAD_FSYNCS ||
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
    *f = (struct flush){.n = log->n_unsynced, .seq = log->seq, .dir = log->dir_dirty};
    f->segs = calloc(f->n + 1, sizeof(struct segment *));
    if (f->segs) {
        for (size_t i = 0; i < f->n; i++)
            f->segs[i] = log->unsynced[i]; /* our pin moves along */
        if (log->active) {
            __atomic_add_fetch(&log->active->pins, 1, __ATOMIC_ACQUIRE);
            f->segs[f->n++] = log->active;
        }
        __atomic_store_n(&log->n_unsynced, 0, __ATOMIC_RELAXED);
        log->dir_dirty = false;
    }
    pthread_mutex_unlock(&log->lock);
    return f->segs ? 0 : -ENOMEM;
}

/* Older segments first: what is durable is always a prefix of the log, up to the flush under way (I7). */
static int flush_run(struct log *log, struct flush *f)
{
    int r = 0;
    fault_point(log->hook, FP_SYNC);
    for (size_t i = 0; i < f->n; i++) {
        if (!r && (i + 1 == f->n || !MUTANT(NO_SEALED_SYNC)))
            r = log->io->ops->datasync(f->segs[i]->file);
        arena_unpin(f->segs[i]);
    }
    if (!r && f->dir && !MUTANT(NO_SYNCDIR))
        r = log->io->ops->syncdir(log->io);
    free(f->segs);
    return MUTANT(NO_FAILED_SYNC) ? 0 : r;
}

int log_sync(struct log *log, bool *ret_flushed)
{
    uint64_t target = log_seq(log);
    bool led = false;
    int r = 0;
    pthread_mutex_lock(&log->sync_lock);
    while (!(r = -__atomic_load_n(&log->failed, __ATOMIC_ACQUIRE)) && log_durable(log) < target) {
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
            __atomic_store_n(&log->failed, -r, __ATOMIC_RELEASE);
        if (!r) {
            __atomic_store_n(&log->durable_seq, f.seq, __ATOMIC_RELEASE);
            __atomic_add_fetch(&log->syncs, 1, __ATOMIC_RELAXED);
        }
        pthread_cond_broadcast(&log->sync_done);
        if (r)
            break;
    }
    pthread_mutex_unlock(&log->sync_lock);
    if (ret_flushed)
        *ret_flushed = led;
    return r;
}

/*
 * checkpoint.c - images of the index on disk. A checkpoint is written from a
 * frozen view, so writers go on; it writes only the chunks that changed
 * since the previous one, and its manifest names the older files for the rest, which are merged when they
 * are many (checkpoint_files.h).
 * The newest two are kept, with every file that they name.
 *
 * A checkpoint becomes valid with its footer, which is written after the log up
 * to its sequence is durable: it never knows more than the log does (I7). Its
 * chunks carry their own sums, so one whose footer outlived a chunk is no checkpoint.
 * It counts for I4 only when file and name are durable.
 *
 * Locking: ckpt_lock for the whole of it; log.lock and index_lock only to freeze and to thaw. */
#include "image/checkpoint.h"

#include "commit/atimes.h"
#include "commit/flush.h"
#include "core/keepers.h"
#include "core/reserve.h"
#include "image/freeze.h"
#include "image/self_check.h"

int checkpoint_new(struct eng *eng)
{
    eng->checkpoints = calloc(1, sizeof *eng->checkpoints);
    if (!eng->checkpoints)
        return -ENOMEM;
    pthread_mutex_init(&eng->checkpoints->lock, NULL);
    eng->checkpoints->files.max = CKPT_FILES_MAX;
    return 0;
}

void checkpoint_free(struct eng *eng)
{
    if (!eng->checkpoints)
        return;
    pthread_mutex_destroy(&eng->checkpoints->lock);
    free(eng->checkpoints->kept[0].files);
    free(eng->checkpoints->kept[1].files);
    checkpoint_files_free(&eng->checkpoints->files);
    free(eng->checkpoints);
    eng->checkpoints = NULL;
}

void checkpoint_exclude(struct eng *eng)
{
    pthread_mutex_lock(&eng->checkpoints->lock);
}

void checkpoint_allow(struct eng *eng)
{
    pthread_mutex_unlock(&eng->checkpoints->lock);
}

/* ---- the files a checkpoint needs ----------------------------------------------- */

void checkpoint_kept(struct eng *eng, uint64_t ret_ids[2])
{
    checkpoint_exclude(eng);
    for (unsigned i = 0; i < 2; i++)
        ret_ids[i] = eng->checkpoints->kept[i].id;
    checkpoint_allow(eng);
}

bool checkpoint_needs(struct eng *eng, uint64_t file)
{
    checkpoint_exclude(eng);
    const struct ckpt_info *kept = eng->checkpoints->kept;
    bool needs = checkpoint_files_has(kept[0].files, kept[0].n_files, file) ||
                 checkpoint_files_has(kept[1].files, kept[1].n_files, file);
    checkpoint_allow(eng);
    return needs;
}

/* Only a checkpoint changes where images are (thaw()), and none is written meanwhile. */
void checkpoint_forget(struct eng *eng, const struct ckpt_chunk *images, size_t n)
{
    checkpoint_exclude(eng);
    for (unsigned i = 0; i < INDEX_TABLES && n; i++) {
        freeze_lock(eng);
        struct table *t = index_table(&eng->idx, i);
        for (uint32_t c = 0; c < t->n_chunks; c++) {
            struct ckpt_chunk key = {.file = t->refs[c].file, .offset = t->refs[c].offset};
            if (key.file && bsearch(&key, images, n, sizeof key, checkpoint_by_place))
                t->refs[c].file = 0;
        }
        freeze_unlock(eng);
    }
    checkpoint_allow(eng);
}

/* A copy of a held store's folder must have the files that the copied manifests name. */
void checkpoint_clean(struct eng *eng)
{
    struct checkpoints *c = eng->checkpoints;
    bool may_unlink = !keepers_find_all(eng) && !eng->opt.read_only;
    uint64_t bytes = checkpoint_files_clean(eng, &c->files, c->kept, may_unlink);
    atomic_store_explicit(&eng->marks.disk_bytes, bytes, memory_order_relaxed);
}

/* ---- writing ----------------------------------------------------------------------- */

struct writer {
    struct eng *eng;
    struct io_file *file;
    uint64_t id, at;
    struct buf manifest;
    struct chunk_ref *refs; /* of all tables in order */
    size_t n_refs;
    bool full;
    uint64_t *merged; /* files whose images are written anew, ascending */
    size_t n_merged;
    struct ckpt_info info;
};

static int put(struct writer *w, const void *data, size_t size)
{
    struct iovec iov = {(void *)(uintptr_t)data, size};
    int r = io_pwritev_full(w->file, w->eng->io->ops, &iov, 1, w->at);
    w->at += r ? 0 : size;
    return r;
}

/* Writes the chunk, or refers to the image that an older checkpoint has of it. */
static int put_chunk(struct writer *w, const struct table *t, uint32_t c, struct chunk_ref *ref)
{
    const struct chunk_ref *old = &t->refs[c];
    uint32_t len = table_chunk_len(t, c);
    if (!w->full && old->file && old->len == len && t->births[c] <= w->eng->checkpoints->kept[0].freeze &&
        !checkpoint_files_has(w->merged, w->n_merged, old->file)) {
        *ref = *old;
        return 0;
    }
    *ref =
        (struct chunk_ref){.file = w->id, .offset = w->at, .sum = codec_hash(t->chunks[c], len), .len = len};
    return put(w, t->chunks[c], len);
}

static int put_tables(struct writer *w, struct index *view)
{
    size_t n = 0;
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        n += index_table(view, i)->n_chunks;
    w->refs = calloc(n, sizeof *w->refs);
    int r = w->refs ? 0 : -ENOMEM;
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++) {
        const struct table *t = index_table(view, i);
        for (uint32_t c = 0; c < t->n_chunks && !r; c++) {
            if (w->n_refs % 16 == 0)
                freeze_keep_warm(w->eng);
            r = put_chunk(w, t, c, &w->refs[w->n_refs++]);
        }
    }
    return r ? r : checkpoint_note_files(&w->info, w->id, w->refs, sizeof *w->refs, w->n_refs);
}

static void tree_encode(const struct btree *t, uint64_t out[3])
{
    out[0] = t->root;
    out[1] = t->depth;
    out[2] = t->count;
}

static int put_manifest(struct writer *w, struct index *view, const struct ckpt_position *pos)
{
    struct ckpt_manifest m = {.magic = CKPT_MANIFEST_MAGIC,
                              .version = FORMAT_VERSION,
                              .n_tables = INDEX_TABLES,
                              .id = w->id,
                              .seq = pos->seq,
                              .chain = pos->chain,
                              .segment = pos->segment,
                              .offset = pos->offset,
                              .next_segment_id = pos->next_segment_id,
                              .created = now_ns()};
    memcpy(m.uuid, w->eng->sb.uuid, sizeof m.uuid);
    memcpy(m.scalars, &view->s, sizeof m.scalars);
    memcpy(m.names_free, view->names.free_heads, sizeof m.names_free);
    tree_encode(&view->dirs, m.trees[0]);
    tree_encode(&view->extents, m.trees[1]);
    struct buf *b = &w->manifest;
    int r = buf_reserve(b, sizeof m + INDEX_TABLES * sizeof(struct ckpt_table) +
                               w->n_refs * sizeof(struct ckpt_chunk));
    if (r)
        return r;
    memcpy(b->data, &m, sizeof m);
    b->len = sizeof m;
    for (unsigned i = 0; i < INDEX_TABLES; i++) {
        const struct table *t = index_table(view, i);
        struct ckpt_table ct = {t->n_chunks, t->used, t->free_head, t->n_free};
        memcpy(b->data + b->len, &ct, sizeof ct);
        b->len += sizeof ct;
    }
    for (size_t i = 0; i < w->n_refs; i++) {
        struct ckpt_chunk cc = {w->refs[i].file, w->refs[i].offset, w->refs[i].sum, w->refs[i].len, 0};
        memcpy(b->data + b->len, &cc, sizeof cc);
        b->len += sizeof cc;
    }
    struct ckpt_footer f = {.magic = CKPT_FOOTER_MAGIC,
                            .manifest_offset = w->at,
                            .manifest_len = b->len,
                            .manifest_sum = codec_hash(b->data, b->len)};
    f.sum = codec_hash(&f, offsetof(struct ckpt_footer, sum));
    r = put(w, b->data, b->len);
    return r ? r : put(w, &f, sizeof f);
}

static int write_file(struct writer *w, struct index *view, const struct ckpt_position *pos)
{
    const struct eng_io_ops *ops = w->eng->io->ops;
    char name[32];
    checkpoint_name(w->id, name);
    int r = ops->open(w->eng->io, name, IO_RDWR | IO_CREATE, &w->file);
    if (r)
        return r;
    r = put_tables(w, view);
    if (!r && !MUTANT(CHECKPOINT_UNSYNCED)) /* a checkpoint must not know more than the durable log */
        r = flush_log(w->eng);
    if (!r)
        r = put_manifest(w, view, pos);
    if (!r)
        r = ops->datasync(w->file);
    ops->close(w->file);
    if (!r)
        r = io_syncdir(w->eng->io);
    if (r)
        (void)ops->unlink(w->eng->io, name);
    return r;
}

/* What the position and the view belong to: the end of the log, at one moment. */
static int freeze_now(struct eng *eng, struct index *view, struct ckpt_position *pos, uint64_t *ret_freeze,
                      uint64_t *ret_log_bytes)
{
    struct log *log = &eng->log;
    pthread_mutex_lock(&log->lock);
    *pos = (struct ckpt_position){.seq = log->seq,
                                  .chain = log->chain,
                                  .segment = log->active ? log->active->id : 0,
                                  .offset = log->active ? log->tail : 0};
    *ret_log_bytes = log->bytes;
    pthread_mutex_lock(&eng->segments.lock);
    pos->next_segment_id = eng->segments.next_id;
    pthread_mutex_unlock(&eng->segments.lock);
    pthread_rwlock_wrlock(&eng->index_lock);
    self_check_memory(&eng->idx);
    int r = index_freeze(&eng->idx, view, ret_freeze);
    pthread_rwlock_unlock(&eng->index_lock);
    pthread_mutex_unlock(&log->lock);
    return r;
}

/* Ends the freeze; after success the live tables learn where their chunks' images are. */
static void thaw(struct eng *eng, struct index *view, uint64_t freeze, const struct writer *done)
{
    freeze_lock(eng);
    size_t n = 0;
    for (unsigned i = 0; done && i < INDEX_TABLES; i++) {
        uint32_t n_chunks = index_table(view, i)->n_chunks;
        memcpy(index_table(&eng->idx, i)->refs, done->refs + n, n_chunks * sizeof *done->refs);
        n += n_chunks;
    }
    index_thaw(&eng->idx, view, freeze);
    freeze_unlock(eng);
}

static void remember(struct eng *eng, const struct writer *w, const struct ckpt_position *pos,
                     uint64_t freeze, uint64_t log_bytes)
{
    free(eng->checkpoints->kept[1].files);
    eng->checkpoints->kept[1] = eng->checkpoints->kept[0];
    eng->checkpoints->kept[0] = w->info;
    eng->checkpoints->kept[0].id = w->id;
    eng->checkpoints->kept[0].seq = pos->seq;
    eng->checkpoints->kept[0].freeze = freeze;
    atomic_store_explicit(&eng->marks.newest_freeze, freeze, memory_order_relaxed);
    atomic_store_explicit(&eng->marks.newest_seq, pos->seq, memory_order_release);
    atomic_store_explicit(&eng->marks.oldest_seq,
                          eng->checkpoints->kept[1].id ? eng->checkpoints->kept[1].seq : 0,
                          memory_order_release);
    log_note_marked(&eng->log, pos->seq);
    atomic_store_explicit(&eng->marks.log_bytes, log_bytes, memory_order_relaxed);
    COUNT(eng, checkpoints, 1);
}

static void writer_reset(struct writer *w)
{
    free(w->refs);
    free(w->info.files);
    buf_free(&w->manifest);
    *w = (struct writer){
        .eng = w->eng, .id = w->id, .full = w->full, .merged = w->merged, .n_merged = w->n_merged};
}

static int checkpoint_locked(struct eng *eng)
{
    struct index view;
    struct ckpt_position pos;
    struct writer w = {.eng = eng, .id = eng->checkpoints->next_id++};
    uint64_t freeze, log_bytes, image = 0;
    freeze_keep_warm(eng);
    int r = freeze_now(eng, &view, &pos, &freeze, &log_bytes);
    if (r)
        return r;
    self_check_view(&view);
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        image += (uint64_t)index_table(&view, i)->n_chunks * TABLE_CHUNK_SIZE;
    /* When old files hold mostly superseded images, one whole image takes their place. */
    w.full = eng->checkpoints->kept[0].n_files > 1 &&
             atomic_load_explicit(&eng->marks.disk_bytes, memory_order_relaxed) > 3 * image &&
             !keepers_find_all(eng);
    fault_point(&eng->hook, FP_CHECKPOINT_FROZEN);
    if (!w.full)
        r = checkpoint_files_merge(&eng->checkpoints->files, &view, &eng->checkpoints->kept[0], &w.merged,
                                   &w.n_merged);
    if (!r)
        r = write_file(&w, &view, &pos);
    if (r == -ENOSPC && (w.full || w.n_merged)) { /* a small one may fit */
        w.full = false;
        w.n_merged = 0;
        writer_reset(&w);
        r = write_file(&w, &view, &pos);
    }
    if (r == -ENOSPC && reserve_spend(eng, RESERVE_ALL)) {
        writer_reset(&w);
        r = write_file(&w, &view, &pos);
    }
    thaw(eng, &view, freeze, r ? NULL : &w);
    freeze_trim(eng);
    if (!r) {
        remember(eng, &w, &pos, freeze, log_bytes);
        checkpoint_clean(eng);
    } else {
        free(w.info.files);
        atomic_store_explicit(&eng->marks.retry_at, mono_ns() + MARKS_RETRY_NS, memory_order_relaxed);
        report_error(&eng->report, "checkpoint failed: %s", strerror(-r));
        if (io_dir_failed(eng->io))
            (void)flush_log(eng); /* turns the store read-only: the folder may have lost names of others */
    }
    free(w.refs);
    free(w.merged);
    buf_free(&w.manifest);
    return r;
}

int checkpoint_write(struct eng *eng)
{
    if (is_read_only(eng))
        return -EROFS;
    atimes_flush(eng);
    report_defer();
    pthread_mutex_lock(&eng->checkpoints->lock);
    int r = checkpoint_locked(eng);
    pthread_mutex_unlock(&eng->checkpoints->lock);
    report_flush(&eng->report);
    return r;
}

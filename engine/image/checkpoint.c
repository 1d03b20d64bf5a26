/*
 * checkpoint.c - images of the index on disk. A checkpoint is written from a
 * frozen view, so writers go on; it writes only the chunks that changed
 * since the previous one, and its manifest names the older files for the rest.
 * The newest two are kept, with every file that they name.
 *
 * A checkpoint becomes valid with its footer, which is written after the log up
 * to its sequence is durable: it never knows more than the log does (I7). Its
 * chunks carry their own sums, so one whose footer outlived a chunk is no checkpoint.
 * It counts for I4 only when file and name are durable.
 *
 * Locking: ckpt_lock for the whole of it; log.lock and index_lock only to freeze and to thaw.
 */
#include "image/checkpoint.h"

#include "commit/atimes.h"
#include "commit/flush.h"
#include "core/keepers.h"
#include "core/reserve.h"
#include "image/freeze.h"

#include <stdio.h>
#include <unistd.h>

#define MANIFEST_MAX (1u << 30)

static_assert(sizeof(struct index_scalars) == 64 && NAMES_CLASSES == 64, "they are stored in the manifest");

int checkpoint_new(struct eng *eng)
{
    eng->checkpoints = calloc(1, sizeof *eng->checkpoints);
    if (!eng->checkpoints)
        return -ENOMEM;
    pthread_mutex_init(&eng->checkpoints->lock, NULL);
    return 0;
}

void checkpoint_free(struct eng *eng)
{
    if (!eng->checkpoints)
        return;
    pthread_mutex_destroy(&eng->checkpoints->lock);
    free(eng->checkpoints->kept[0].files);
    free(eng->checkpoints->kept[1].files);
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

static void ckpt_name(uint64_t id, char out[32])
{
    snprintf(out, 32, "c%016llx.ckp", (unsigned long long)id);
}

int checkpoint_parse_name(const char *name, uint64_t *ret_id)
{
    unsigned long long id;
    char again[32];
    if (sscanf(name, "c%16llx.ckp", &id) != 1 || !id)
        return -EINVAL;
    ckpt_name(id, again);
    if (strcmp(name, again) != 0)
        return -EINVAL;
    *ret_id = id;
    return 0;
}

/* ---- the files a checkpoint needs ----------------------------------------------- */

static int info_add_file(struct ckpt_info *info, uint64_t file)
{
    for (size_t i = info->n_files; i-- > 0;) {
        if (info->files[i] == file)
            return 0;
    }
    uint64_t *files = reallocarray(info->files, info->n_files + 1, sizeof *files);
    if (!files)
        return -ENOMEM;
    info->files = files;
    info->files[info->n_files++] = file;
    return 0;
}

static bool info_needs(const struct ckpt_info *info, uint64_t file)
{
    for (size_t i = 0; i < info->n_files; i++) {
        if (info->files[i] == file)
            return true;
    }
    return false;
}

struct clean {
    struct eng *eng;
    uint64_t ids[64];
    size_t n;
    uint64_t bytes; /* of those that stay */
};

static int find_unneeded(void *arg, const char *name)
{
    struct clean *c = arg;
    uint64_t id;
    if (checkpoint_parse_name(name, &id) == 0 && !info_needs(&c->eng->checkpoints->kept[0], id) &&
        !info_needs(&c->eng->checkpoints->kept[1], id))
        c->ids[c->n++] = id;
    return c->n == ARRAY_LEN(c->ids);
}

static int sum_size(void *arg, const char *name)
{
    struct clean *c = arg;
    uint64_t id, size = 0;
    struct io_file *file;
    if (checkpoint_parse_name(name, &id) != 0 ||
        c->eng->io->ops->open(c->eng->io, name, IO_RDONLY, &file) != 0)
        return 0;
    if (c->eng->io->ops->file_size(file, &size) == 0)
        c->bytes += size;
    c->eng->io->ops->close(file);
    return 0;
}

void checkpoint_clean(struct eng *eng)
{
    struct clean c = {.eng = eng};
    /* A copy of a held store's folder must have the files that the copied manifests name. */
    int r = keepers_find_all(eng) || eng->opt.read_only ? -EBUSY : 0;
    do {
        c.n = 0;
        if (!r)
            (void)eng->io->ops->list(eng->io, find_unneeded, &c);
        for (size_t i = 0; i < c.n && !r; i++) {
            char name[32];
            ckpt_name(c.ids[i], name);
            r = eng->io->ops->unlink(eng->io, name); /* tried again with the next checkpoint */
        }
    } while (c.n == ARRAY_LEN(c.ids) && !r);
    (void)eng->io->ops->list(eng->io, sum_size, &c);
    atomic_store_explicit(&eng->marks.disk_bytes, c.bytes, memory_order_relaxed);
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
    if (!w->full && old->file && old->len == len && t->births[c] <= w->eng->checkpoints->kept[0].freeze) {
        *ref = *old;
        return info_add_file(&w->info, ref->file);
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
    int r = w->refs ? info_add_file(&w->info, w->id) : -ENOMEM;
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++) {
        const struct table *t = index_table(view, i);
        for (uint32_t c = 0; c < t->n_chunks && !r; c++) {
            if (w->n_refs % 16 == 0)
                freeze_keep_warm(w->eng);
            r = put_chunk(w, t, c, &w->refs[w->n_refs++]);
        }
    }
    return r;
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
    ckpt_name(w->id, name);
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
        r = ops->syncdir(w->eng->io);
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
    atomic_store_explicit(&eng->marks.newest_seq, pos->seq, memory_order_release);
    atomic_store_explicit(&eng->marks.oldest_seq,
                          eng->checkpoints->kept[1].id ? eng->checkpoints->kept[1].seq : 0,
                          memory_order_release);
    atomic_store_explicit(&eng->marks.log_bytes, log_bytes, memory_order_relaxed);
    COUNT(eng, checkpoints, 1);
}

static void writer_reset(struct writer *w)
{
    free(w->refs);
    free(w->info.files);
    buf_free(&w->manifest);
    *w = (struct writer){.eng = w->eng, .id = w->id, .full = w->full};
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
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        image += (uint64_t)index_table(&view, i)->n_chunks * TABLE_CHUNK_SIZE;
    /* When old files hold mostly superseded images, one whole image takes their place. */
    w.full = atomic_load_explicit(&eng->marks.disk_bytes, memory_order_relaxed) > 3 * image &&
             !keepers_find_all(eng);
    r = write_file(&w, &view, &pos);
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
    }
    free(w.refs);
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

/* ---- reading ----------------------------------------------------------------------- */

struct loader {
    struct eng *eng;
    struct ckpt_manifest m;
    uint8_t *manifest;
    size_t len;
    const struct ckpt_chunk *chunks;
    size_t n_chunks;
    uint64_t open_id; /* of `file` */
    struct io_file *file;
};

static void loader_free(struct loader *l)
{
    if (l->file)
        l->eng->io->ops->close(l->file);
    free(l->manifest);
}

static int open_checkpoint(struct loader *l, uint64_t id)
{
    if (l->file && l->open_id == id)
        return 0;
    if (l->file)
        l->eng->io->ops->close(l->file);
    l->file = NULL;
    char name[32];
    ckpt_name(id, name);
    int r = l->eng->io->ops->open(l->eng->io, name, IO_RDONLY, &l->file);
    l->open_id = r ? 0 : id;
    return r;
}

static int read_at(struct loader *l, void *buf, size_t size, uint64_t off)
{
    ssize_t n = io_pread_full(l->file, l->eng->io->ops, buf, size, off);
    return n < 0 ? (int)n : (size_t)n == size ? 0 : -EBADMSG;
}

static int read_footer(struct loader *l, struct ckpt_footer *ret_footer)
{
    uint64_t size;
    struct ckpt_footer f;
    int r = l->eng->io->ops->file_size(l->file, &size);
    if (!r && size < sizeof f)
        r = -EBADMSG;
    if (!r)
        r = read_at(l, &f, sizeof f, size - sizeof f);
    if (r)
        return r;
    if (f.magic != CKPT_FOOTER_MAGIC || f.sum != codec_hash(&f, offsetof(struct ckpt_footer, sum)) ||
        f.manifest_len > MANIFEST_MAX || f.manifest_len < sizeof(struct ckpt_manifest) ||
        f.manifest_offset > size || size - f.manifest_offset != f.manifest_len + sizeof f)
        return -EBADMSG;
    *ret_footer = f;
    return 0;
}

/* Reads and checks the manifest of checkpoint `id`. */
static int load_manifest(struct loader *l, uint64_t id)
{
    struct ckpt_footer f;
    int r = open_checkpoint(l, id);
    if (!r)
        r = read_footer(l, &f);
    if (r)
        return r;
    l->len = (size_t)f.manifest_len;
    l->manifest = malloc(l->len);
    if (!l->manifest)
        return -ENOMEM;
    r = read_at(l, l->manifest, l->len, f.manifest_offset);
    if (r)
        return r;
    if (f.manifest_sum != codec_hash(l->manifest, l->len))
        return -EBADMSG;
    memcpy(&l->m, l->manifest, sizeof l->m);
    if (l->m.magic != CKPT_MANIFEST_MAGIC || l->m.version != FORMAT_VERSION ||
        l->m.n_tables != INDEX_TABLES || l->m.id != id ||
        memcmp(l->m.uuid, l->eng->sb.uuid, sizeof l->m.uuid) != 0)
        return -EBADMSG;
    size_t fixed = sizeof l->m + INDEX_TABLES * sizeof(struct ckpt_table);
    if (l->len < fixed || (l->len - fixed) % sizeof(struct ckpt_chunk))
        return -EBADMSG;
    l->chunks = (const struct ckpt_chunk *)(l->manifest + fixed);
    l->n_chunks = (l->len - fixed) / sizeof(struct ckpt_chunk);
    uint64_t sum = 0;
    const struct ckpt_table *tables = (const struct ckpt_table *)(l->manifest + sizeof l->m);
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        sum += tables[i].n_chunks;
    return sum == l->n_chunks ? 0 : -EBADMSG;
}

static int loader_info(const struct loader *l, struct ckpt_info *ret_info)
{
    struct ckpt_info info = {.id = l->m.id, .seq = l->m.seq};
    int r = info_add_file(&info, l->m.id);
    for (size_t i = 0; i < l->n_chunks && !r; i++)
        r = info_add_file(&info, l->chunks[i].file);
    if (r) {
        free(info.files);
        return r;
    }
    *ret_info = info;
    return 0;
}

int checkpoint_probe(struct eng *eng, uint64_t id, struct ckpt_info *ret_info)
{
    struct loader l = {.eng = eng};
    int r = load_manifest(&l, id);
    if (!r)
        r = loader_info(&l, ret_info);
    loader_free(&l);
    return r;
}

/* ---- reading chunks: by several threads, since most of the time goes into memory that is new --------- */

#define LOADERS_MAX 8u
#define LOAD_RUN 32u /* chunks that a thread takes at once: a huge page of them */

/* What the threads share. */
struct load {
    struct eng *eng;
    const struct ckpt_chunk *chunks;
    uint8_t **places; /* where each goes */
    size_t n;
    _Atomic size_t next; /* the first that no thread has taken */
    _Atomic int error;   /* the first */
};

static int load_chunk(struct loader *l, const struct ckpt_chunk *cc, uint8_t *place)
{
    if (cc->len > TABLE_CHUNK_SIZE)
        return -EBADMSG;
    int r = open_checkpoint(l, cc->file);
    if (!r)
        r = read_at(l, place, cc->len, cc->offset);
    if (!r && codec_hash(place, cc->len) != cc->sum && !MUTANT(NO_CHUNK_SUM))
        r = -EBADMSG;
    return r;
}

static void *load_some(void *arg)
{
    struct load *load = arg;
    struct loader l = {.eng = load->eng};
    int r = 0, none = 0;
    while (!r && !atomic_load_explicit(&load->error, memory_order_relaxed)) {
        size_t at = atomic_fetch_add_explicit(&load->next, LOAD_RUN, memory_order_relaxed);
        size_t end = MIN_OF(at + LOAD_RUN, load->n);
        if (at >= load->n)
            break;
        for (; at < end && !r; at++)
            r = load_chunk(&l, &load->chunks[at], load->places[at]);
    }
    if (r)
        (void)atomic_compare_exchange_strong_explicit(&load->error, &none, r, memory_order_relaxed,
                                                      memory_order_relaxed);
    loader_free(&l);
    return NULL;
}

static int load_chunks(struct load *load)
{
    pthread_t threads[LOADERS_MAX];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t want = MIN_OF(load->n / (2 * (size_t)LOAD_RUN), (size_t)MAX_OF(processors, 1L)), n = 0;
    want = MIN_OF(want, (size_t)LOADERS_MAX);
    while (n + 1 < want && pthread_create(&threads[n], NULL, load_some, load) == 0)
        n++;
    (void)load_some(load);
    while (n > 0)
        (void)pthread_join(threads[--n], NULL);
    return load->error;
}

static int load_tables(struct loader *l, struct index *idx)
{
    struct load load = {.eng = l->eng, .chunks = l->chunks};
    struct ckpt_table ct[INDEX_TABLES];
    memcpy(ct, l->manifest + sizeof l->m, sizeof ct);
    CLEANUP_FREE uint8_t **places = load.places = calloc(l->n_chunks + 1, sizeof *load.places);
    int r = places ? 0 : -ENOMEM;
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++) {
        struct table *t = index_table(idx, i);
        r = table_load_begin(t, ct[i].n_chunks);
        for (uint32_t c = 0; c < ct[i].n_chunks && !r; c++, load.n++) {
            const struct ckpt_chunk *cc = &l->chunks[load.n];
            t->refs[c] = (struct chunk_ref){cc->file, cc->offset, cc->sum, cc->len};
            load.places[load.n] = t->chunks[c];
        }
        t->used = ct[i].used;
        t->free_head = ct[i].free_head;
        t->n_free = ct[i].n_free;
    }
    if (!r)
        r = load_chunks(&load);
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++)
        r = table_validate_free(index_table(idx, i));
    return r;
}

static void tree_decode(struct btree *t, const uint64_t in[3])
{
    t->root = (uint32_t)MIN_OF(in[0], (uint64_t)UINT32_MAX);
    t->depth = (uint32_t)MIN_OF(in[1], (uint64_t)UINT32_MAX);
    t->count = in[2];
}

int checkpoint_load(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos,
                    struct ckpt_info *ret_info)
{
    struct loader l = {.eng = eng};
    int r = load_manifest(&l, id);
    if (!r)
        r = load_tables(&l, idx);
    if (!r) {
        memcpy(&idx->s, l.m.scalars, sizeof idx->s);
        memcpy(idx->names.free_heads, l.m.names_free, sizeof l.m.names_free);
        tree_decode(&idx->dirs, l.m.trees[0]);
        tree_decode(&idx->extents, l.m.trees[1]);
        r = names_validate(&idx->names);
    }
    if (!r)
        r = btree_validate(&idx->dirs);
    if (!r)
        r = btree_validate(&idx->extents);
    if (!r)
        r = index_loaded(idx);
    if (!r && !MUTANT(NO_INDEX_VERIFY)) {
        int64_t found = index_verify(idx, false, NULL, NULL);
        r = found > 0 ? -EBADMSG : (int)found;
    }
    if (!r)
        r = loader_info(&l, ret_info);
    if (!r)
        *ret_pos = (struct ckpt_position){l.m.seq, l.m.chain, l.m.segment, l.m.offset, l.m.next_segment_id};
    loader_free(&l);
    return r;
}

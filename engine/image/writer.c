/*
 * writer.c - see writer.h. */
#include "image/writer.h"

#include "base/fault.h"

#define BUFFER_SIZE (1u << 20)
#define PAUSE_CHUNKS 16u
#define FEW_BYTES (UINT64_C(1) << 20) /* that any checkpoint may move */

struct writer {
    const struct image_write *in;
    struct images *images;
    struct image_map next;
    struct io_file *files[IMAGE_COPIES];
    struct buf buf;  /* what is to be written next */
    uint64_t at;     /* where in the files */
    uint64_t pieces; /* bytes of pieces so far */
    struct image_written done;
};

/* ---- pieces ------------------------------------------------------------ */

static int write_copy(struct writer *w, unsigned copy)
{
    const struct image_write *in = w->in;
    struct iovec iov = {w->buf.data, w->buf.len};
    int r = io_pwritev_full(w->files[copy], w->images->io->ops, &iov, 1, w->at);
    while (r == -ENOSPC && in->make_room &&
           in->make_room(in->arg, w->files[copy], w->at, w->at + w->buf.len) == 0) {
        iov = (struct iovec){w->buf.data, w->buf.len};
        r = io_pwritev_full(w->files[copy], w->images->io->ops, &iov, 1, w->at);
    }
    return r;
}

static int write_buffer(struct writer *w)
{
    const struct eng_io_ops *ops = w->images->io->ops;
    int r = 0;
    for (unsigned copy = 0; copy < IMAGE_COPIES && !r && w->buf.len; copy++) {
        r = write_copy(w, copy);
        if (!r && ops->advise)
            ops->advise(w->files[copy], IO_WRITE_BACK, w->at, w->buf.len);
    }
    w->done.bytes += IMAGE_COPIES * w->buf.len;
    w->at += w->buf.len;
    w->buf.len = 0;
    return r;
}

/* Room for the data of a piece of `len` bytes; to be filled in and followed by end_piece(). */
static int begin_piece(struct writer *w, uint32_t len, uint8_t **ret_data)
{
    int r = w->buf.len >= BUFFER_SIZE ? write_buffer(w) : 0;
    if (!r)
        r = buf_reserve(&w->buf, sizeof(struct piece_header) + len);
    if (!r)
        *ret_data = w->buf.data + w->buf.len + sizeof(struct piece_header);
    return r;
}

/* The file of the checkpoint needs one more piece, which *ret_ref is. */
static void end_piece(struct writer *w, enum piece_kind kind, unsigned table, uint32_t number, uint32_t len,
                      struct piece_ref *ret_ref)
{
    struct piece_header h = {.kind = (uint8_t)kind,
                             .table = (uint8_t)table,
                             .number = number,
                             .len = len,
                             .file = w->in->id,
                             .store = w->images->store,
                             .seq = w->in->seq};
    uint8_t *at = w->buf.data + w->buf.len;
    piece_seal(&h, at + sizeof h);
    memcpy(at, &h, sizeof h);
    *ret_ref = (struct piece_ref){.file = w->in->id,
                                  .offset = w->at + w->buf.len,
                                  .sum = h.sum,
                                  .len = (uint32_t)sizeof h + len,
                                  .kind = (uint32_t)kind};
    w->buf.len += sizeof h + len;
    w->pieces += sizeof h + len;
    map_need(&w->next, ret_ref);
}

static void page_changed(struct writer *w, unsigned table, uint32_t c)
{
    w->next.tables[table].pages[c / MAP_PAGE_CHUNKS].changed = true;
}

/* ---- chunks ------------------------------------------------------------ */

static int put_image(struct writer *w, unsigned table, uint32_t c, const uint8_t *chunk, uint32_t len)
{
    struct map_entry *e = &w->next.tables[table].entries[c];
    uint8_t *data;
    int r = begin_piece(w, len, &data);
    if (r)
        return r;
    memcpy(data, chunk, len);
    map_clear_entry(&w->next, table, c);
    end_piece(w, PIECE_IMAGE, table, c, len, &e->refs[0]);
    e->n_refs = 1;
    w->done.images++;
    return 0;
}

/* A delta behind the first `keep` pieces of the chunk, in the place of all others. */
static int put_delta(struct writer *w, unsigned table, uint32_t c, const uint8_t *chunk,
                     const struct table_dirty *units, uint32_t keep)
{
    struct map_entry *e = &w->next.tables[table].entries[c];
    uint32_t len = delta_size(units);
    uint8_t *data;
    int r = begin_piece(w, len, &data);
    if (r)
        return r;
    delta_encode(units, chunk, data);
    w->done.deltas += keep == e->n_refs;
    w->done.merged += keep != e->n_refs;
    while (e->n_refs > keep)
        map_give_up(&w->next, &e->refs[--e->n_refs]);
    end_piece(w, PIECE_DELTA, table, c, len, &e->refs[e->n_refs++]);
    units_add(&e->since, units);
    return 0;
}

/* The image of a chunk that is not the last of its table has all of it: so a map claims no more memory than
 * its files have bytes. */
static uint32_t image_len(const struct table *view, uint32_t c)
{
    return c + 1 < view->n_chunks ? TABLE_CHUNK_SIZE : ALIGN8(table_chunk_len(view, c));
}

static bool is_short(const struct table *view, uint32_t c, const struct map_entry *e)
{
    return c + 1 < view->n_chunks && e->refs[0].len < sizeof(struct piece_header) + TABLE_CHUNK_SIZE;
}

/* Bytes of all deltas of a chunk. */
static uint32_t deltas_len(const struct map_entry *e)
{
    uint32_t len = 0;
    for (uint32_t k = 1; k < e->n_refs; k++)
        len += e->refs[k].len;
    return len;
}

/* Whether deltas are put together: there are many, or they have most units again and again. */
static bool is_to_merge(const struct map_entry *e, const struct table_dirty *dirty, uint32_t image)
{
    return e->n_refs > MAP_DELTAS_MAX || deltas_len(e) + delta_size(dirty) > image / 4 * 3;
}

static int put_chunk(struct writer *w, unsigned table, uint32_t c)
{
    const struct table *view = w->in->views[table];
    struct map_entry *e = &w->next.tables[table].entries[c];
    const struct table_dirty *dirty = &view->dirty[c];
    if (memcmp(&e->meta, &view->metas[c], sizeof e->meta) != 0) {
        e->meta = view->metas[c];
        page_changed(w, table, c);
    }
    if (view->states[c] == TABLE_DROPPED) {
        if (e->n_refs)
            page_changed(w, table, c);
        map_clear_entry(&w->next, table, c);
        return 0;
    }
    if (e->n_refs && !units_any(dirty) && !is_short(view, c, e))
        return 0;
    const uint8_t *chunk = table_chunk(view, c);
    if (!chunk)
        return -EIO; /* it is lost */
    page_changed(w, table, c);
    struct table_dirty all = e->since;
    uint32_t len = image_len(view, c);
    units_add(&all, dirty);
    if (!e->n_refs || is_short(view, c, e) || delta_size(&all) > len / 2)
        return put_image(w, table, c, chunk, len);
    return is_to_merge(e, dirty, len) ? put_delta(w, table, c, chunk, &all, 1)
                                      : put_delta(w, table, c, chunk, dirty, e->n_refs);
}

static int put_tables(struct writer *w)
{
    uint32_t n = 0;
    int r = 0;
    for (unsigned i = 0; i < w->next.n_tables && !r; i++) {
        const struct table *view = w->in->views[i];
        r = map_resize(&w->next, i, view->n_chunks);
        w->next.tables[i].used = view->used;
        for (uint32_t c = 0; c < view->n_chunks && !r; c++) {
            if (w->in->pause && n++ % PAUSE_CHUNKS == 0)
                w->in->pause(w->in->arg);
            r = put_chunk(w, i, c);
        }
    }
    return r;
}

/* ---- cleaning ---------------------------------------- */

/* A piece in a file that is to be emptied. */
struct moving {
    uint32_t rank; /* of the file: the lowest is emptied first */
    unsigned table;
    uint32_t chunk, k; /* as in map_each_piece() */
    uint32_t len;
    uint64_t offset;
};

struct movings {
    struct moving *all;
    size_t n, cap;
    uint32_t rank;
};

static int note_moving(void *arg, const struct piece_ref *ref, unsigned table, uint32_t chunk, uint32_t k)
{
    struct movings *m = arg;
    if (ref->kind == PIECE_ROOT) /* the new one takes its place */
        return 0;
    int r = array_grow(&m->all, &m->cap, m->n + 1, sizeof *m->all);
    if (!r)
        m->all[m->n++] = (struct moving){m->rank, table, chunk, k, ref->len, ref->offset};
    return r;
}

static int by_rank(const void *a, const void *b)
{
    const struct moving *x = a, *y = b;
    return x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank)
                              : (x->offset > y->offset) - (x->offset < y->offset);
}

static int by_live(const void *a, const void *b)
{
    const struct map_file *x = a, *y = b;
    return (x->live > y->live) - (x->live < y->live);
}

/* The share that is needed, without division; 2^64 holds it: files are smaller than 2^48 bytes. */
static int by_share(const void *a, const void *b)
{
    const struct map_file *x = a, *y = b;
    long double p = (long double)x->live * (long double)y->size,
                q = (long double)y->live * (long double)x->size;
    return (p > q) - (p < q);
}

/* Notes what is needed of old files, in their order, until that is `enough` of bytes of the files or `budget`
 * of what is to be moved. */
static int note_files(struct writer *w, const struct map_file *old, size_t n, uint64_t enough,
                      uint64_t budget, struct movings *m)
{
    uint64_t gone = 0, moved = 0;
    int r = 0;
    for (size_t i = 0; i < n && gone < enough && moved < budget && !r; i++) {
        m->rank++;
        gone += old[i].size - old[i].live;
        moved += old[i].live;
        r = map_each_piece(&w->next, old[i].id, note_moving, m);
    }
    return r;
}

/* Whether what is gained is worth more than what is moved at any time: over all, that adds a quarter to what
 * is written. */
static bool is_nearly_empty(const struct map_file *f)
{
    return f->live <= f->size / 5;
}

/*
 * Which files are to be emptied: those that have nearly nothing; the smallest, if there are too many; the
 * emptiest, if all have too much that nobody needs. *ret_budget: what may be moved. */
static int choose_files(struct writer *w, struct movings *m, uint64_t *ret_budget)
{
    const struct image_map *map = &w->next;
    uint64_t size = w->at + w->buf.len, live = map->files[map->n_files - 1].live, empty = 0, budget = 0;
    size_t n = map->n_files - 1, n_empty = 0; /* the last is the new one */
    CLEANUP_FREE struct map_file *old = calloc(n + 1, sizeof *old);
    if (!old)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        old[i] = map->files[i];
        live += old[i].live;
        size += is_nearly_empty(&old[i]) ? 0 : old[i].size;
    }
    if (n)
        qsort(old, n, sizeof *old, by_share);
    while (n_empty < n && is_nearly_empty(&old[n_empty]))
        empty += old[n_empty++].live;
    bool tidy = w->in->tidy && !MUTANT(CKPT_UNTIDY);
    uint64_t may =
        tidy ? live + live / IMAGE_TIDY_SHARE : live / 100 * IMAGE_SPARE_PERCENT + w->images->spare_bytes;
    struct map_file *rest = old + n_empty;
    size_t n_rest = n - n_empty;
    int r = note_files(w, old, n_empty, UINT64_MAX, UINT64_MAX, m);
    if (!r && n_rest >= IMAGE_FILES_MAX && !tidy && !MUTANT(MANY_CKPT_FILES)) {
        qsort(rest, n_rest, sizeof *rest, by_live);
        budget = MAX_OF(w->pieces, n_rest >= 2 * IMAGE_FILES_MAX ? rest[0].live : FEW_BYTES);
        r = note_files(w, rest, n_rest - IMAGE_FILES_MAX + 1, UINT64_MAX, budget, m);
    } else if (!r && size + empty > may) {
        budget = tidy ? live : w->pieces;
        r = note_files(w, rest, n_rest, size + empty - may, budget, m);
    }
    *ret_budget = empty + budget;
    return r;
}

static struct piece_ref *place_of(struct writer *w, const struct moving *m)
{
    struct map_table *t = &w->next.tables[m->table];
    return m->chunk == UINT32_MAX ? &t->pages[m->k].ref : &t->entries[m->chunk].refs[m->k];
}

/* What both copies of an old file have lost stays where it is: a checkpoint loses nothing that could be
 * had. */
static int move_piece(struct writer *w, const struct moving *m)
{
    struct piece_ref *ref = place_of(w, m), old = *ref;
    uint32_t len = old.len - (uint32_t)sizeof(struct piece_header);
    uint8_t *data;
    int r = begin_piece(w, len, &data);
    if (!r)
        r = images_read_piece(w->images, &old, data - sizeof(struct piece_header));
    if (r)
        return r == -EBADMSG || r == -EIO ? 0 : r;
    end_piece(w, old.kind, m->table, m->chunk, len, ref);
    map_give_up(&w->next, &old);
    page_changed(w, m->table, m->chunk);
    return 0;
}

static int clean(struct writer *w)
{
    struct movings m = {0};
    uint64_t budget, before = w->pieces;
    int r = choose_files(w, &m, &budget);
    if (m.n)
        qsort(m.all, m.n, sizeof *m.all, by_rank);
    for (size_t i = 0; i < m.n && !r && w->pieces - before < budget; i++) {
        if (m.all[i].chunk == UINT32_MAX)
            w->next.tables[m.all[i].table].pages[m.all[i].k].changed = true; /* written below */
        else
            r = move_piece(w, &m.all[i]);
        if (!r && w->in->pause && i % PAUSE_CHUNKS == 0)
            w->in->pause(w->in->arg);
    }
    w->done.cleaned = IMAGE_COPIES * (w->pieces - before);
    free(m.all);
    return r;
}

/* ---- pages, root, footer ---------------------------------------- */

static int put_pages(struct writer *w)
{
    int r = 0;
    for (unsigned i = 0; i < w->next.n_tables && !r; i++) {
        struct map_table *t = &w->next.tables[i];
        for (uint32_t p = 0; p < map_n_pages(t->n_chunks) && !r; p++) {
            const struct map_entry *entries = t->entries + p * MAP_PAGE_CHUNKS;
            uint32_t n = map_page_chunks(t, p), len = map_page_size(entries, n);
            uint8_t *data;
            if (!t->pages[p].changed && t->pages[p].ref.file)
                continue;
            r = begin_piece(w, len, &data);
            if (r)
                break;
            map_page_encode(entries, n, data);
            map_give_up(&w->next, &t->pages[p].ref);
            end_piece(w, PIECE_PAGE, i, p, len, &t->pages[p].ref);
            t->pages[p].changed = false;
            w->done.pages++;
        }
    }
    return r;
}

static int put_root(struct writer *w)
{
    struct image_footer f = {.store = w->images->store, .id = w->in->id};
    uint8_t *data;
    w->next.id = w->in->id;
    w->next.seq = w->in->seq;
    map_give_up(&w->next, &w->next.root);
    map_drop_dead_files(&w->next, w->in->id);
    size_t len = map_root_size(&w->next, w->in->head_len);
    if (len > MAP_ROOT_MAX - sizeof(struct piece_header))
        return -EFBIG;
    int r = begin_piece(w, (uint32_t)len, &data);
    if (!r)
        r = buf_reserve(&w->buf, sizeof(struct piece_header) + len + sizeof f);
    if (r)
        return r;
    map_file(&w->next, w->in->id)->size = w->at + w->buf.len + sizeof(struct piece_header) + len + sizeof f;
    map_root_encode(&w->next, w->in->head, w->in->head_len,
                    w->buf.data + w->buf.len + sizeof(struct piece_header));
    end_piece(w, PIECE_ROOT, 0, 0, (uint32_t)len, &w->next.root);
    f.offset = w->next.root.offset;
    f.len = w->next.root.len;
    f.piece_sum = w->next.root.sum;
    footer_seal(&f);
    memcpy(w->buf.data + w->buf.len, &f, sizeof f);
    w->buf.len += sizeof f;
    return write_buffer(w);
}

static int sync_both(struct writer *w)
{
    int r = 0;
    for (unsigned copy = 0; copy < IMAGE_COPIES && !r; copy++)
        r = copy && MUTANT(COPY_UNSYNCED) ? 0 : w->images->io->ops->datasync(w->files[copy]);
    return r;
}

/* ---- the whole ---------------------------------------- */

static int open_both(struct writer *w)
{
    int r = 0;
    for (unsigned copy = 0; copy < IMAGE_COPIES && !r; copy++) {
        char name[IMAGE_NAME_SIZE];
        image_name(w->in->id, copy, name);
        r = w->images->io->ops->open(w->images->io, name, IO_RDWR | IO_CREATE, &w->files[copy]);
        if (r)
            w->files[copy] = NULL;
    }
    return r;
}

static int write_all(struct writer *w, bool cleaning)
{
    int r = open_both(w);
    if (!r)
        r = map_add_file(&w->next, w->in->id, 0);
    if (!r)
        r = put_tables(w);
    if (!r && cleaning)
        r = clean(w);
    if (!r)
        r = put_pages(w);
    if (!r)
        r = write_buffer(w);
    if (!r && w->in->settle)
        r = w->in->settle(w->in->arg);
    if (!r && !MUTANT(ROOT_BEFORE_PIECES))
        r = sync_both(w);
    if (!r) /* else of a checkpoint that counts a copy might be missing */
        r = io_syncdir(w->images->io);
    if (!r)
        r = put_root(w);
    return r ? r : sync_both(w);
}

static void close_both(struct writer *w, bool remove)
{
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        char name[IMAGE_NAME_SIZE];
        if (!w->files[copy])
            continue; /* not ours */
        w->images->io->ops->close(w->files[copy]);
        image_name(w->in->id, copy, name);
        if (remove)
            (void)w->images->io->ops->unlink(w->images->io, name);
    }
}

static int write_once(const struct image_write *in, bool cleaning, struct image_written *ret_written)
{
    struct writer w = {.in = in, .images = in->images};
    int r = map_clone(&in->images->map, &w.next);
    w.next.n_tables = MAX_OF(w.next.n_tables, in->n_views);
    if (!r)
        r = write_all(&w, cleaning);
    close_both(&w, r != 0);
    if (!r) {
        pthread_rwlock_wrlock(&in->images->lock);
        struct image_map old = in->images->map;
        in->images->map = w.next;
        w.next = old;
        pthread_rwlock_unlock(&in->images->lock);
    }
    *ret_written = w.done;
    map_free(&w.next);
    buf_free(&w.buf);
    return r;
}

int image_write(const struct image_write *in, struct image_written *ret_written)
{
    int r = write_once(in, !in->keep_files, ret_written);
    if (r == -ENOSPC && !in->keep_files)
        r = write_once(in, false, ret_written);
    return r;
}

/* ---- files that are not needed any more ---------------------------------------- */

struct found_file {
    uint64_t id;
    unsigned copy;
};

struct found_files {
    struct found_file *all;
    size_t n, cap;
};

static int note_found(void *arg, const char *name)
{
    struct found_files *l = arg;
    struct found_file f;
    if (image_parse_name(name, &f.id, &f.copy) != 0)
        return 0;
    int r = array_grow(&l->all, &l->cap, l->n + 1, sizeof *l->all);
    if (!r)
        l->all[l->n++] = f;
    return r;
}

static uint64_t size_of(struct images *images, const char *name)
{
    const struct eng_io_ops *ops = images->io->ops;
    struct io_file *file;
    uint64_t size = 0;
    if (ops->open(images->io, name, IO_RDONLY, &file) != 0)
        return 0;
    if (ops->file_size(file, &size) != 0)
        size = 0;
    ops->close(file);
    return size;
}

/* Whether the file was written by write_once(): it begins with a piece, or with nothing yet. */
static bool is_ours(struct images *images, const struct found_file *f, const char *name)
{
    const struct eng_io_ops *ops = images->io->ops;
    struct io_file *file;
    uint32_t magic = 0;
    if (f->copy)
        return true;
    if (ops->open(images->io, name, IO_RDONLY, &file) != 0)
        return false;
    ssize_t n = io_pread_full(file, ops, &magic, sizeof magic, 0);
    ops->close(file);
    return n == 0 || (n == sizeof magic && magic == PIECE_MAGIC);
}

/* Whoever has put it there may still need it. */
static bool is_alien(struct images *images, const struct found_file *f, const char *name,
                     const struct image_others *others)
{
    const struct eng_io_ops *ops = images->io->ops;
    struct io_file *file;
    struct image_footer footer;
    uint64_t size = 0;
    if (MUTANT(STRAYS_REMOVED) || ops->open(images->io, name, IO_RDONLY, &file) != 0)
        return false;
    bool alien = ops->file_size(file, &size) == 0 && size > sizeof footer &&
                 io_pread_exact(file, ops, &footer, sizeof footer, size - sizeof footer) == 0 &&
                 footer_is_alien(&footer, images->store, f->id);
    ops->close(file);
    return alien || (others && !f->copy && others->is_alien(others->arg, f->id));
}

static bool may_go(struct images *images, const struct found_file *f, const char *name,
                   enum image_removal which)
{
    return which == IMAGE_REMOVE_ALL || (which == IMAGE_REMOVE_OURS && is_ours(images, f, name));
}

uint64_t image_remove_dead(struct images *images, enum image_removal which, const struct image_others *others,
                           uint64_t *ret_alien)
{
    *ret_alien = 0;
    struct found_files l = {0};
    uint64_t bytes = 0;
    (void)images->io->ops->list(images->io, note_found, &l); /* what is missed is met the next time */
    for (size_t i = 0; i < l.n; i++) {
        char name[IMAGE_NAME_SIZE];
        image_name(l.all[i].id, l.all[i].copy, name);
        pthread_rwlock_rdlock(&images->lock);
        const struct map_file *f = map_file(&images->map, l.all[i].id);
        uint64_t size = f ? f->size : 0;
        bool needed = f && !(MUTANT(CLEAN_NAMED) && f->live < f->size / 2);
        pthread_rwlock_unlock(&images->lock);
        if (!needed && may_go(images, &l.all[i], name, which)) {
            if (is_alien(images, &l.all[i], name, others)) {
                *ret_alien = l.all[i].id;
                continue;
            }
            images_close(images, l.all[i].id);
            if (images->io->ops->unlink(images->io, name) == 0)
                continue; /* one that stays is tried again with the next checkpoint */
        }
        bytes += f ? size : size_of(images, name);
    }
    free(l.all);
    return bytes;
}

/*
 * reader.c - see reader.h.
 *
 * Nothing that a file says is believed before it was compared with a sum or a size (I10). */
#include "image/reader.h"

#include "base/fault.h"

#include <stdio.h>

int images_init(struct images *images, struct eng_io *io, uint64_t store, unsigned n_tables)
{
    *images = (struct images){.io = io,
                              .store = store,
                              .n_tables = n_tables,
                              .spare_bytes = IMAGE_SPARE_BYTES,
                              .map = {.n_tables = n_tables}};
    pthread_rwlock_init(&images->lock, NULL);
    pthread_mutex_init(&images->handles.lock, NULL);
    pthread_mutex_init(&images->notes.lock, NULL);
    int r = 0;
    for (unsigned i = 0; i < n_tables && !r; i++)
        r = map_resize(&images->map, i, 0);
    if (r)
        images_free(images);
    return r;
}

void images_free(struct images *images)
{
    if (!images->io)
        return;
    images_close(images, 0);
    map_free(&images->map);
    pthread_rwlock_destroy(&images->lock);
    pthread_mutex_destroy(&images->handles.lock);
    pthread_mutex_destroy(&images->notes.lock);
    *images = (struct images){0};
}

/* ---- names ------------------------------------------------------------ */

static const char *const endings[IMAGE_COPIES] = {"ckp", "cpy"};

void image_name(uint64_t id, unsigned copy, char out[IMAGE_NAME_SIZE])
{
    snprintf(out, IMAGE_NAME_SIZE, "c%016llx.%s", (unsigned long long)id, endings[copy]);
}

int image_parse_name(const char *name, uint64_t *ret_id, unsigned *ret_copy)
{
    unsigned long long id;
    char again[IMAGE_NAME_SIZE];
    if (sscanf(name, "c%16llx.", &id) != 1 || !id)
        return -EINVAL;
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        image_name(id, copy, again);
        if (strcmp(name, again) == 0) {
            *ret_id = id;
            *ret_copy = copy;
            return 0;
        }
    }
    return -EINVAL;
}

/* ---- open files ------------------------------------------------------------ */

/* The handle of that copy; else a free one, or the one unused for longest; NULL: all are in use. */
static struct image_handle *choose_handle(struct images *images, uint64_t id, unsigned copy)
{
    struct image_handle *best = NULL;
    for (unsigned i = 0; i < IMAGE_HANDLES; i++) {
        struct image_handle *h = &images->handles.all[i];
        if (h->id == id && h->copy == copy)
            return h;
        if (h->users == 0 && (!best || (best->id && (!h->id || h->used < best->used))))
            best = h;
    }
    return best;
}

static void close_handle(struct images *images, struct image_handle *h)
{
    if (h->id)
        images->io->ops->close(h->file);
    *h = (struct image_handle){0};
}

/* The open file; *ret_handle is NULL if it is to be closed after use. Where no more files may be open one of
 * these makes room. */
static int take_file(struct images *images, uint64_t id, unsigned copy, struct io_file **ret_file,
                     struct image_handle **ret_handle)
{
    const struct eng_io_ops *ops = images->io->ops;
    char name[IMAGE_NAME_SIZE];
    int r = 0;
    image_name(id, MUTANT(ONE_COPY) ? 0 : copy, name);
    pthread_mutex_lock(&images->handles.lock);
    struct image_handle *h = choose_handle(images, id, copy);
    bool known = h && h->id == id && h->copy == copy;
    if (!known)
        r = ops->open(images->io, name, IO_RDONLY, ret_file);
    if ((r == -EMFILE || r == -ENFILE) && h && h->id) {
        close_handle(images, h);
        r = ops->open(images->io, name, IO_RDONLY, ret_file);
    }
    if (!known && !r && h) {
        close_handle(images, h);
        *h = (struct image_handle){.id = id, .copy = copy, .file = *ret_file};
    }
    if (!r && h) {
        h->users++;
        h->used = ++images->handles.clock;
        *ret_file = h->file;
    }
    pthread_mutex_unlock(&images->handles.lock);
    *ret_handle = h;
    return r;
}

static void put_file(struct images *images, struct io_file *file, struct image_handle *h)
{
    if (!h) {
        images->io->ops->close(file);
        return;
    }
    pthread_mutex_lock(&images->handles.lock);
    h->users--;
    pthread_mutex_unlock(&images->handles.lock);
}

void images_close(struct images *images, uint64_t id)
{
    pthread_mutex_lock(&images->handles.lock);
    for (unsigned i = 0; i < IMAGE_HANDLES; i++) {
        struct image_handle *h = &images->handles.all[i];
        if (h->id && h->users == 0 && (!id || h->id == id))
            close_handle(images, h);
    }
    pthread_mutex_unlock(&images->handles.lock);
}

/* ---- pieces ------------------------------------------------------------ */

/* It is read soon, with others: the system may fetch them side by side. */
static void advise_piece(struct images *images, const struct piece_ref *ref)
{
    struct image_handle *h;
    struct io_file *file;
    if (!images->io->ops->advise || take_file(images, ref->file, 0, &file, &h) != 0)
        return;
    images->io->ops->advise(file, IO_WILL_NEED, ref->offset, ref->len);
    put_file(images, file, h);
}

static void note_bad(struct images *images, uint64_t file, unsigned copy, int error, bool end)
{
    pthread_mutex_lock(&images->notes.lock);
    bool known = false;
    for (unsigned i = 0; i < images->notes.n && !known; i++) {
        struct image_note *note = &images->notes.all[i];
        known = note->file == file && note->copy == copy;
        if (known)
            note->end = note->end && end;
    }
    if (!known && images->notes.n < IMAGE_NOTES)
        images->notes.all[images->notes.n++] = (struct image_note){file, copy, error, end};
    pthread_mutex_unlock(&images->notes.lock);
}

/* The end of that copy is good again. If more of it was bad the note stays. */
static void forget_end(struct images *images, uint64_t file, unsigned copy)
{
    pthread_mutex_lock(&images->notes.lock);
    unsigned n = 0;
    for (unsigned i = 0; i < images->notes.n; i++) {
        const struct image_note *note = &images->notes.all[i];
        if (note->file != file || note->copy != copy || !note->end)
            images->notes.all[n++] = *note;
    }
    images->notes.n = n;
    pthread_mutex_unlock(&images->notes.lock);
}

unsigned images_take_notes(struct images *images, struct image_note ret_notes[IMAGE_NOTES])
{
    pthread_mutex_lock(&images->notes.lock);
    unsigned n = images->notes.n;
    memcpy(ret_notes, images->notes.all, n * sizeof *ret_notes);
    images->notes.n = 0;
    pthread_mutex_unlock(&images->notes.lock);
    return n;
}

int images_read_copy(struct images *images, const struct piece_ref *ref, unsigned copy, void *buf)
{
    struct image_handle *h;
    struct io_file *file;
    int r = take_file(images, ref->file, copy, &file, &h);
    if (r)
        return r;
    r = io_pread_exact(file, images->io->ops, buf, ref->len, ref->offset);
    put_file(images, file, h);
    return r || MUTANT(NO_CHUNK_SUM) ? r : piece_check(ref, images->store, buf);
}

/* Of a copy: it is not whole, or not there. Any other error says nothing of it but that it could not be
 * read now. */
static bool is_damage(int error)
{
    return error == -EBADMSG || error == -ENOENT || io_is_no_file(error);
}

/* Reads the piece by read(copy, into), from the first copy in which it is whole. */
static int read_either(struct images *images, const struct piece_ref *ref,
                       int (*read)(struct images *images, const struct piece_ref *ref, unsigned copy,
                                   void *into),
                       void *into)
{
    int error = -EBADMSG;
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        int r = read(images, ref, copy, into);
        if (!r || io_is_shortage(r))
            return r;
        note_bad(images, ref->file, copy, r, ref->kind == PIECE_ROOT);
        if (!is_damage(r))
            error = r; /* the copy may be whole */
    }
    return error;
}

int images_read_piece(struct images *images, const struct piece_ref *ref, void *buf)
{
    return read_either(images, ref, images_read_copy, buf);
}

/* ---- the root and the map ------------------------------------------------------------ */

static int file_size(struct images *images, uint64_t id, unsigned copy, uint64_t *ret_size)
{
    struct image_handle *h;
    struct io_file *file;
    int r = take_file(images, id, copy, &file, &h);
    if (r)
        return r;
    r = images->io->ops->file_size(file, ret_size);
    put_file(images, file, h);
    return r;
}

static int read_footer(struct images *images, uint64_t id, unsigned copy, struct piece_ref *ret_root)
{
    struct image_footer f;
    struct image_handle *h;
    struct io_file *file;
    uint64_t size;
    int r = take_file(images, id, copy, &file, &h);
    if (r)
        return r;
    r = images->io->ops->file_size(file, &size);
    if (!r)
        r = size < sizeof f ? -EBADMSG : io_pread_exact(file, images->io->ops, &f, sizeof f, size - sizeof f);
    if (!r)
        r = footer_check(&f, images->store, id, size, ret_root);
    put_file(images, file, h);
    return r;
}

bool images_is_finished(struct images *images, uint64_t id)
{
    struct piece_ref root;
    return read_footer(images, id, 0, &root) == 0 || read_footer(images, id, 1, &root) == 0;
}

bool images_may_be_finished(struct images *images, uint64_t id)
{
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        struct piece_ref root;
        int r = read_footer(images, id, copy, &root);
        if (r == -EBADMSG || r == -ENOENT)
            return false;
    }
    return true;
}

/* Into a struct buf, which takes no more memory than there is of a root: no number in it is zero for long. */
static int read_root_copy(struct images *images, const struct piece_ref *ref, unsigned copy, void *into)
{
    struct buf *bytes = into;
    struct image_handle *h;
    struct io_file *file;
    int r = take_file(images, ref->file, copy, &file, &h);
    if (r)
        return r;
    bytes->len = 0;
    r = io_pread_dense(file, images->io->ops, bytes, ref->len, ref->offset);
    put_file(images, file, h);
    return r || MUTANT(NO_CHUNK_SUM) ? r : piece_check(ref, images->store, bytes->data);
}

/* Of the bytes of a root, header first. The errors of both copies count: -ENOENT if neither is there. */
static int read_root(struct images *images, uint64_t id, struct piece_ref *ret_root, struct buf *ret_bytes)
{
    int error = 0;
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        int r = read_footer(images, id, copy, ret_root);
        if (!r)
            r = read_either(images, ret_root, read_root_copy, ret_bytes);
        if (!r || io_is_shortage(r))
            return r;
        note_bad(images, id, copy, r, true);
        if (!error || error == -ENOENT)
            error = r;
    }
    return error;
}

/* A file is believed to be as long as one of its copies is. *ret_bytes: what all have together. */
static int size_files(struct images *images, const struct image_map *map, const struct piece_ref *root,
                      bool in_part, uint64_t *ret_bytes)
{
    *ret_bytes = 0;
    for (size_t i = 0; i < map->n_files; i++) {
        uint64_t longest = 0;
        for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
            uint64_t size = 0;
            int r = file_size(images, map->files[i].id, copy, &size);
            if (io_is_shortage(r))
                return r;
            if (r || (size < map->files[i].size && !MUTANT(SHORT_UNTOLD)))
                note_bad(images, map->files[i].id, copy, r ? r : -EBADMSG,
                         !r && map->files[i].id == root->file && size >= root->offset);
            longest = MAX_OF(longest, size);
        }
        if (longest < map->files[i].size && !in_part)
            return -EBADMSG;
        *ret_bytes += longest;
    }
    return 0;
}

static int read_page(struct images *images, struct image_map *map, unsigned table, uint32_t p, uint8_t *buf)
{
    const struct piece_ref *ref = &map->tables[table].pages[p].ref;
    int r = images_read_piece(images, ref, buf);
    return r ? r
             : map_take_page(map, table, p, buf + sizeof(struct piece_header),
                             ref->len - (uint32_t)sizeof(struct piece_header));
}

static int read_pages(struct images *images, struct image_map *map, bool in_part)
{
    CLEANUP_FREE uint8_t *buf = malloc(sizeof(struct piece_header) + MAP_PAGE_MAX);
    int r = buf ? 0 : -ENOMEM;
    for (unsigned i = 0; i < map->n_tables; i++)
        for (uint32_t p = 0; p < map_n_pages(map->tables[i].n_chunks); p++)
            advise_piece(images, &map->tables[i].pages[p].ref);
    for (unsigned i = 0; i < map->n_tables && !r; i++) {
        for (uint32_t p = 0; p < map_n_pages(map->tables[i].n_chunks) && !r; p++) {
            r = read_page(images, map, i, p, buf);
            if (r && !io_is_shortage(r) && in_part)
                r = map_lose_page(map, i, p);
        }
    }
    return r;
}

static int read_map(struct images *images, const struct piece_ref *ref, const uint8_t *root, size_t head_len,
                    bool in_part, struct image_map *ret_map, const void **ret_head, size_t *ret_len,
                    uint64_t *ret_bytes)
{
    const struct map_shape shapes[2] = {{images->n_tables, head_len}, images->wide};
    int r = map_root_decode(root, ref->len - sizeof(struct piece_header), shapes, ret_map, ret_head, ret_len);
    if (!r && ret_map->id != ref->file)
        r = -EBADMSG;
    if (!r)
        r = size_files(images, ret_map, ref, in_part, ret_bytes);
    if (!r)
        r = map_take_root(ret_map, ref, *ret_bytes, root);
    if (!r)
        r = read_pages(images, ret_map, in_part);
    if (r)
        map_free(ret_map);
    return r;
}

static int open_map(struct images *images, uint64_t id, size_t head_len, bool in_part, void **ret_head,
                    uint64_t *ret_bytes)
{
    struct piece_ref root;
    struct image_map map;
    const void *head;
    size_t len;
    struct buf bytes = {0};
    int r = read_root(images, id, &root, &bytes);
    if (!r)
        r = read_map(images, &root, bytes.data + sizeof(struct piece_header), head_len, in_part, &map, &head,
                     &len, ret_bytes);
    if (!r && !(*ret_head = malloc(MAX_OF(len, (size_t)1)))) {
        map_free(&map);
        r = -ENOMEM;
    }
    if (!r) {
        memcpy(*ret_head, head, len);
        pthread_rwlock_wrlock(&images->lock);
        struct image_map old = images->map;
        images->map = map;
        pthread_rwlock_unlock(&images->lock);
        map_free(&old);
    }
    buf_free(&bytes);
    return r;
}

int images_open(struct images *images, uint64_t id, size_t head_len, void **ret_head)
{
    uint64_t bytes;
    return open_map(images, id, head_len, false, ret_head, &bytes);
}

int images_open_parts(struct images *images, uint64_t id, size_t head_len, void **ret_head,
                      uint64_t *ret_bytes)
{
    return open_map(images, id, head_len, true, ret_head, ret_bytes);
}

bool images_page_is_lost(const struct images *images, unsigned table, uint32_t c)
{
    return images->map.tables[table].pages[c / MAP_PAGE_CHUNKS].lost;
}

int images_probe(struct images *images, uint64_t id, uint64_t *ret_seq)
{
    struct piece_ref ref;
    struct piece_header h;
    struct buf bytes = {0};
    int r = read_root(images, id, &ref, &bytes);
    if (!r) {
        memcpy(&h, bytes.data, sizeof h);
        *ret_seq = h.seq;
    }
    buf_free(&bytes);
    return r;
}

/* Root and footer of the newest checkpoint, as one copy has them whole. */
static int read_end(struct images *images, uint8_t **ret_bytes, size_t *ret_size)
{
    const struct piece_ref *root = &images->map.root;
    struct image_footer f = {.store = images->store,
                             .id = root->file,
                             .offset = root->offset,
                             .len = root->len,
                             .piece_sum = root->sum};
    uint8_t *bytes = malloc(root->len + sizeof f);
    int r = bytes ? images_read_piece(images, root, bytes) : -ENOMEM;
    if (r) {
        free(bytes);
        return r;
    }
    footer_seal(&f);
    memcpy(bytes + root->len, &f, sizeof f);
    *ret_bytes = bytes;
    *ret_size = root->len + sizeof f;
    return 0;
}

static int write_end(struct images *images, unsigned copy, uint8_t *bytes, size_t size)
{
    const struct eng_io_ops *ops = images->io->ops;
    char name[IMAGE_NAME_SIZE];
    struct io_file *file;
    struct iovec iov = {bytes, size};
    image_name(images->map.id, copy, name);
    int r = ops->open(images->io, name, IO_RDWR, &file);
    if (r)
        return r;
    r = io_pwritev_full(file, ops, &iov, 1, images->map.root.offset);
    if (!r)
        r = ops->truncate(file, images->map.root.offset + size);
    if (!r)
        r = ops->datasync(file);
    ops->close(file);
    return r;
}

/* Whether a copy has them. */
static int prove_end(struct images *images, unsigned copy, void *buf)
{
    struct piece_ref ref;
    int r = read_footer(images, images->map.id, copy, &ref);
    if (!r && memcmp(&ref, &images->map.root, sizeof ref) != 0)
        r = -EBADMSG;
    return r ? r : images_read_copy(images, &images->map.root, copy, buf);
}

/* Whether a copy is so long that no more than its end can be missing. */
static bool reaches_root(struct images *images, unsigned copy)
{
    uint64_t size;
    int r = file_size(images, images->map.id, copy, &size);
    return !r && (size >= images->map.root.offset || MUTANT(END_BEHIND_HOLE));
}

unsigned images_mend_end(struct images *images)
{
    unsigned mended = 0;
    size_t size;
    uint8_t *bytes;
    CLEANUP_FREE uint8_t *buf = malloc(images->map.root.len);
    if (!buf || read_end(images, &bytes, &size) != 0)
        return 0;
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        if (prove_end(images, copy, buf) != -EBADMSG || !reaches_root(images, copy))
            continue;
        images_close(images, images->map.id);
        if (MUTANT(END_UNWRITTEN) || write_end(images, copy, bytes, size) == 0) {
            forget_end(images, images->map.id, copy);
            mended |= 1u << copy;
        }
    }
    free(bytes);
    return mended;
}

int images_settle(struct images *images, uint64_t id)
{
    const struct eng_io_ops *ops = images->io->ops;
    int error = 0;
    unsigned settled = 0;
    if (MUTANT(CKPT_FROM_CACHE))
        return 0;
    images_close(images, id);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        char name[IMAGE_NAME_SIZE];
        struct io_file *file;
        image_name(id, copy, name);
        int r = ops->open(images->io, name, IO_RDONLY, &file);
        if (!r) {
            r = ops->datasync(file);
            ops->drop_cache(file); /* also after a failure: what is read must be what is there */
            ops->close(file);
        }
        if (io_is_shortage(r))
            return r;
        settled += !r;
        error = error ? error : r;
    }
    return settled || MUTANT(SETTLED_ANYHOW) ? 0 : error;
}

/* ---- chunks ------------------------------------------------------------ */

/* A chunk that a thread has read ahead, without the lock of the index. */
static _Thread_local struct {
    const struct images *images;
    unsigned table;
    uint32_t c;
    const uint8_t *data;
} ready;

/* With lock held. */
static int put_together(struct images *images, const struct map_entry *e, uint8_t *into, uint8_t *piece)
{
    int r = e->n_refs ? 0 : -EBADMSG; /* what it is that is not there any more nobody can need */
    for (uint32_t k = 0; k < e->n_refs && !r; k++) {
        uint32_t len = e->refs[k].len - (uint32_t)sizeof(struct piece_header);
        const uint8_t *data = piece + sizeof(struct piece_header);
        r = images_read_piece(images, &e->refs[k], piece);
        if (!r && k > 0) {
            r = delta_apply(data, len, into);
        } else if (!r) {
            memcpy(into, data, len);
            memset(into + len, 0, TABLE_CHUNK_SIZE - len);
        }
    }
    return r;
}

static int read_chunk(struct images *images, unsigned table, uint32_t c, uint8_t *into)
{
    CLEANUP_FREE uint8_t *piece =
        malloc(sizeof(struct piece_header) + sizeof(struct table_dirty) + TABLE_CHUNK_SIZE);
    int r = piece ? -EBADMSG : -ENOMEM;
    pthread_rwlock_rdlock(&images->lock);
    if (piece && table < images->map.n_tables && c < images->map.tables[table].n_chunks)
        r = put_together(images, &images->map.tables[table].entries[c], into, piece);
    if (!r && images->check && !MUTANT(CHUNK_UNCHECKED))
        r = images->check(images->check_arg, table, c, &images->map.tables[table].entries[c].meta, into);
    pthread_rwlock_unlock(&images->lock);
    return r;
}

int images_fetch(void *arg, unsigned which, uint32_t c, uint8_t *into)
{
    struct images *images = arg;
    if (ready.data && ready.images == images && ready.table == which && ready.c == c) {
        memcpy(into, ready.data, TABLE_CHUNK_SIZE);
        return 0;
    }
    return read_chunk(images, which, c, into);
}

void images_advise(struct images *images, unsigned table, uint32_t c)
{
    pthread_rwlock_rdlock(&images->lock);
    const struct map_table *t = &images->map.tables[table];
    for (uint32_t k = 0; c < t->n_chunks && k < t->entries[c].n_refs; k++)
        advise_piece(images, &t->entries[c].refs[k]);
    pthread_rwlock_unlock(&images->lock);
}

int images_begin_table(struct images *images, unsigned which, struct table *t)
{
    struct table_source source = {images_fetch, images, which};
    pthread_rwlock_rdlock(&images->lock);
    const struct map_table *mt = &images->map.tables[which];
    int r = table_load_begin(t, mt->n_chunks, &source);
    for (uint32_t c = 0; c < mt->n_chunks && !r; c++) {
        t->metas[c] = mt->entries[c].meta;
        if (!mt->entries[c].n_refs)
            table_load_dropped(t, c);
    }
    if (!r)
        t->used = mt->used;
    pthread_rwlock_unlock(&images->lock);
    return r ? r : table_loaded(t);
}

/* ---- ahead of need ---------------------------------------- */

#define LOADERS_MAX 8u

static bool is_here(struct images_loading *l, const struct table *t, uint32_t c)
{
    l->lock(l->arg);
    bool here = c >= t->n_chunks || atomic_load_explicit(&t->chunks[c], memory_order_acquire);
    l->unlock(l->arg);
    return here;
}

/* Whether the newest checkpoint has anything of it: not of one that was dropped. */
static bool has_pieces(struct images *images, unsigned table, uint32_t c)
{
    pthread_rwlock_rdlock(&images->lock);
    const struct map_table *t = &images->map.tables[table];
    bool has = c < t->n_chunks && t->entries[c].n_refs;
    pthread_rwlock_unlock(&images->lock);
    return has;
}

/* Reads the chunk without the lock of the index, under which only its bytes are put in place: writers do not
 * wait for the disk. */
static int try_chunk(struct images_loading *l, unsigned table, uint32_t c, uint8_t *buf)
{
    const struct table *t = l->tables[table];
    if (is_here(l, t, c) || !has_pieces(l->images, table, c))
        return 0;
    int r = buf ? read_chunk(l->images, table, c, buf) : 0;
    if (r && r != -EBADMSG)
        return r;
    if (buf && !r) {
        ready.images = l->images;
        ready.table = table;
        ready.c = c;
        ready.data = buf;
    }
    l->lock(l->arg);
    pool_missed = 0;
    if (c < t->n_chunks)
        (void)table_chunk(t, c); /* one that is lost the pool remembers */
    r = pool_missed;
    l->unlock(l->arg);
    ready.data = NULL;
    return r;
}

static bool is_stopped(const struct images_loading *l)
{
    return atomic_load_explicit(&l->stop, memory_order_relaxed) ||
           atomic_load_explicit(&l->error, memory_order_relaxed) || chunk_pool_lost(l->tables[0]->pool);
}

static void load_chunk(struct images_loading *l, unsigned table, uint32_t c, uint8_t *buf)
{
    int r, none = 0;
    unsigned tries = 0;
    do {
        r = try_chunk(l, table, c, buf);
    } while (r && !is_stopped(l) && l->again && l->again(l->arg, r, ++tries));
    if (r && !MUTANT(LOAD_ERROR_LOST))
        (void)atomic_compare_exchange_strong(&l->error, &none, r);
    else if (l->done)
        atomic_fetch_add_explicit(l->done, 1, memory_order_relaxed);
}

static void *load_some(void *arg)
{
    struct images_loading *l = arg;
    CLEANUP_FREE uint8_t *buf = malloc(TABLE_CHUNK_SIZE); /* without it the lock is held longer */
    while (!is_stopped(l)) {
        uint64_t at = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
        unsigned table = 0;
        if (at >= l->total)
            break;
        while (at >= l->n_chunks[table])
            at -= l->n_chunks[table++];
        load_chunk(l, table, (uint32_t)at, buf);
    }
    return NULL;
}

int images_load(struct images_loading *l, unsigned threads)
{
    pthread_t others[LOADERS_MAX];
    unsigned n = 0;
    uint64_t total = 0;
    atomic_store_explicit(&l->next, 0, memory_order_relaxed);
    atomic_store_explicit(&l->error, 0, memory_order_relaxed);
    l->lock(l->arg);
    for (unsigned i = 0; i < MAX_OF(l->images->n_tables, l->images->wide.n_tables); i++) {
        l->n_chunks[i] = l->tables[i]->n_chunks;
        total += l->n_chunks[i];
    }
    l->unlock(l->arg);
    l->total = total;
    while (n + 1 < MIN_OF(threads, LOADERS_MAX) && n < l->total / 32 &&
           pthread_create(&others[n], NULL, load_some, l) == 0)
        n++;
    (void)load_some(l);
    while (n > 0)
        (void)pthread_join(others[--n], NULL);
    if (chunk_pool_lost(l->tables[0]->pool) && !MUTANT(LOAD_ERROR_LOST))
        return -EBADMSG;
    int error = atomic_load(&l->error);
    return !error && atomic_load_explicit(&l->stop, memory_order_relaxed) ? -ECANCELED : error;
}

/*
 * copies.c - see copies.h. */
#include "image/copies.h"

#include "base/fault.h"

/* A piece of the file that is being proved. */
struct part {
    struct piece_ref ref;
    unsigned table;
    uint32_t chunk, k;
    int errors[IMAGE_COPIES];
};

struct proof {
    const struct copies_run *run;
    uint64_t file, size;
    struct part *parts; /* by offset */
    size_t n, cap;
    bool has_footer; /* that of the newest checkpoint */
    struct image_footer footer;
    /* Of the file as a whole: it is missing, of another size, or its footer is bad. */
    int wrong[IMAGE_COPIES];
    struct buf buf; /* room for the largest piece and the blocks in which it lies */
};

static bool is_damage(int r)
{
    return r == -EBADMSG || r == -EIO || r == -ENOENT;
}

/* ---- what the file is to have ------------------------------------------------------------ */

static int note_part(void *arg, const struct piece_ref *ref, unsigned table, uint32_t chunk, uint32_t k)
{
    struct proof *p = arg;
    int r = array_grow(&p->parts, &p->cap, p->n + 1, sizeof *p->parts);
    if (!r)
        p->parts[p->n++] = (struct part){.ref = *ref, .table = table, .chunk = chunk, .k = k};
    return r;
}

static int by_offset(const void *a, const void *b)
{
    const struct part *x = a, *y = b;
    return (x->ref.offset > y->ref.offset) - (x->ref.offset < y->ref.offset);
}

/* The first file of the map behind `id`; its parts. file 0: none. */
static int next_file(struct proof *p, uint64_t id)
{
    struct images *images = p->run->images;
    int r = 0;
    p->file = p->size = p->n = 0;
    p->has_footer = false;
    memset(p->wrong, 0, sizeof p->wrong);
    pthread_rwlock_rdlock(&images->lock);
    const struct image_map *map = &images->map;
    for (size_t i = 0; i < map->n_files && !p->file; i++) {
        if (map->files[i].id <= id)
            continue;
        p->file = map->files[i].id;
        p->size = map->files[i].size;
    }
    if (p->file)
        r = map_each_piece(map, p->file, note_part, p);
    if (p->file && p->file == map->id) {
        p->has_footer = true;
        p->footer = (struct image_footer){.store = images->store,
                                          .id = p->file,
                                          .offset = map->root.offset,
                                          .len = map->root.len,
                                          .piece_sum = map->root.sum};
        footer_seal(&p->footer);
    }
    pthread_rwlock_unlock(&images->lock);
    if (p->n)
        qsort(p->parts, p->n, sizeof *p->parts, by_offset);
    size_t most = 0;
    for (size_t i = 0; i < p->n; i++)
        most = MAX_OF(most, (size_t)p->parts[i].ref.len);
    p->buf.len = 0;
    return r ? r : buf_reserve(&p->buf, most + 2 * IO_ALIGN);
}

/* Whether the map still has the piece of `d` in its place; for the file as a whole, whether it has that. */
bool copies_is_needed(struct images *images, const struct copies_damage *d)
{
    bool needed;
    pthread_rwlock_rdlock(&images->lock);
    const struct image_map *map = &images->map;
    const struct map_table *t = &map->tables[d->table];
    if (!d->kind)
        needed = map_file(map, d->file) != NULL;
    else if (d->kind == PIECE_ROOT)
        needed = memcmp(&map->root, &d->ref, sizeof d->ref) == 0;
    else if (d->kind == PIECE_PAGE)
        needed = d->k < map_n_pages(t->n_chunks) && memcmp(&t->pages[d->k].ref, &d->ref, sizeof d->ref) == 0;
    else
        needed = d->chunk < t->n_chunks && d->k < t->entries[d->chunk].n_refs &&
                 memcmp(&t->entries[d->chunk].refs[d->k], &d->ref, sizeof d->ref) == 0;
    pthread_rwlock_unlock(&images->lock);
    return needed;
}

void copies_renew_page(struct images *images, unsigned table, uint32_t page)
{
    pthread_rwlock_wrlock(&images->lock);
    if (page < map_n_pages(images->map.tables[table].n_chunks))
        images->map.tables[table].pages[page].changed = true;
    pthread_rwlock_unlock(&images->lock);
}

/* ---- reading ------------------------------------------------------------ */

static int read_part(struct proof *p, const struct piece_ref *ref)
{
    int r = medium_read(p->run->medium, p->buf.data, ref->len, ref->offset);
    return r ? r : piece_check(ref, p->run->images->store, p->buf.data);
}

static int open_copy(struct proof *p, unsigned copy)
{
    char name[IMAGE_NAME_SIZE];
    image_name(p->file, copy, name);
    return medium_open(p->run->medium, name);
}

/* The size and the footer. */
static int prove_end(struct proof *p)
{
    struct image_footer f;
    uint64_t size = 0;
    int r = medium_size(p->run->medium, &size);
    if (!r && size != p->size)
        r = -EBADMSG;
    if (r || !p->has_footer)
        return r;
    r = medium_read(p->run->medium, &f, sizeof f, p->size - sizeof f);
    return !r && memcmp(&f, &p->footer, sizeof f) != 0 ? -EBADMSG : r;
}

static int prove_copy(struct proof *p, unsigned copy)
{
    int r = 0, error = open_copy(p, copy);
    bool missing = error != 0;
    p->wrong[copy] = missing ? error : prove_end(p);
    if (p->wrong[copy] && !is_damage(p->wrong[copy]))
        return p->wrong[copy];
    for (size_t i = 0; i < p->n && !r; i++) {
        int *piece = &p->parts[i].errors[copy];
        *piece = missing ? error : read_part(p, &p->parts[i].ref);
        r = *piece && !is_damage(*piece) ? *piece : p->run->step(p->run->arg);
    }
    return r;
}

/* ---- mending ------------------------------------------------------------ */

static int open_for_mending(struct proof *p, unsigned copy, struct io_file **ret_file)
{
    const struct eng_io_ops *ops = p->run->images->io->ops;
    struct eng_io *io = p->run->images->io;
    char name[IMAGE_NAME_SIZE];
    image_name(p->file, copy, name);
    int r = ops->open(io, name, IO_RDWR, ret_file);
    if (r == -ENOENT)
        r = ops->open(io, name, IO_RDWR | IO_CREATE, ret_file);
    return r;
}

static int write_at(struct proof *p, struct io_file *file, size_t size, uint64_t offset)
{
    struct iovec iov = {p->buf.data, size};
    return io_pwritev_full(file, p->run->images->io->ops, &iov, 1, offset);
}

/*
 * A sector that cannot be read is not written in part, either: all blocks in which part i lies are written as
 * the other copy has them, if all that is needed in them is whole there. */
static int mend_blocks(struct proof *p, size_t i, unsigned from, struct io_file *file)
{
    const struct piece_ref *ref = &p->parts[i].ref;
    uint64_t begin = ref->offset / IO_ALIGN * IO_ALIGN;
    uint64_t end = MIN_OF((ref->offset + ref->len + IO_ALIGN - 1) / IO_ALIGN * IO_ALIGN, p->size);
    size_t lo = i, hi = i;
    while (lo > 0 && p->parts[lo - 1].ref.offset + p->parts[lo - 1].ref.len > begin)
        lo--;
    while (hi + 1 < p->n && p->parts[hi + 1].ref.offset < end)
        hi++;
    for (size_t k = lo; k <= hi; k++)
        if (p->parts[k].errors[from] && !MUTANT(NEIGHBOUR_UNPROVED))
            return -EBADMSG;
    if (p->wrong[from] && end + IO_ALIGN > p->size)
        return -EBADMSG;       /* its end is bad */
    int r = read_part(p, ref); /* is it still whole? */
    if (!r)
        r = medium_read(p->run->medium, p->buf.data, (size_t)(end - begin), begin);
    if (r)
        return r;
    size_t beyond = (size_t)(-end % IO_ALIGN); /* of the last block of the file */
    memset(p->buf.data + (end - begin), 0, beyond);
    r = write_at(p, file, (size_t)(end - begin) + beyond, begin);
    return r || !beyond ? r : p->run->images->io->ops->truncate(file, p->size);
}

/* The medium has the other copy open. */
static int mend_part(struct proof *p, size_t i, unsigned copy, struct io_file *file)
{
    const struct piece_ref *ref = &p->parts[i].ref;
    if (p->parts[i].errors[copy] == -EIO && mend_blocks(p, i, 1 - copy, file) == 0)
        return 0;
    int r = read_part(p, ref);
    return r ? r : write_at(p, file, ref->len, ref->offset);
}

/* The size and the footer, once all pieces are there. */
static int mend_end(struct proof *p, struct io_file *file)
{
    struct iovec iov = {&p->footer, sizeof p->footer};
    int r = p->run->images->io->ops->truncate(file, p->size);
    if (!r && p->has_footer)
        r = io_pwritev_full(file, p->run->images->io->ops, &iov, 1, p->size - sizeof p->footer);
    return r;
}

static struct copies_damage describe(const struct proof *p, const struct part *part, unsigned copy)
{
    return (struct copies_damage){.file = p->file,
                                  .offset = part ? part->ref.offset : 0,
                                  .copy = copy,
                                  .error = part ? part->errors[copy % IMAGE_COPIES]
                                                : p->wrong[copy % IMAGE_COPIES],
                                  .kind = part ? part->ref.kind : 0,
                                  .table = part ? part->table : 0,
                                  .chunk = part ? part->chunk : 0,
                                  .k = part ? part->k : 0,
                                  .ref = part ? part->ref : (struct piece_ref){0}};
}

static bool is_to_mend(const struct part *part, unsigned copy)
{
    return part->errors[copy] && !part->errors[1 - copy];
}

/* Writes into one copy what only the other has. What is not needed any more once it is its turn is left
 * alone: its file may be gone. */
static int mend_pieces(struct proof *p, unsigned copy, struct io_file *file)
{
    int r = 0;
    for (size_t i = 0; i < p->n && !r; i++) {
        if (!is_to_mend(&p->parts[i], copy))
            continue;
        struct copies_damage d = describe(p, &p->parts[i], copy);
        p->run->exclude(p->run->arg);
        if (copies_is_needed(p->run->images, &d))
            r = mend_part(p, i, copy, file);
        p->run->allow(p->run->arg);
        if (!r)
            r = p->run->step(p->run->arg);
    }
    return r;
}

/* Whether all that the other copy has is in this one now, and stays there. */
static int mend_copy(struct proof *p, unsigned copy)
{
    const struct eng_io_ops *ops = p->run->images->io->ops;
    struct copies_damage whole = describe(p, NULL, copy);
    struct io_file *file;
    bool was_missing = p->wrong[copy] == -ENOENT;
    int r = open_copy(p, 1 - copy);
    if (r)
        return r;
    p->run->exclude(p->run->arg); /* a file that is not needed any more must not be made again */
    r = copies_is_needed(p->run->images, &whole) ? open_for_mending(p, copy, &file) : -ESTALE;
    p->run->allow(p->run->arg);
    if (r)
        return r;
    r = mend_pieces(p, copy, file);
    if (!r && p->wrong[copy])
        r = mend_end(p, file);
    if (!r)
        r = ops->datasync(file);
    ops->close(file);
    if (!r && was_missing)
        r = io_syncdir(p->run->images->io);
    images_close(p->run->images, p->file);
    medium_close(p->run->medium);
    return r;
}

/* ---- telling ---------------------------------------- */

static int tell(struct proof *p, struct copies_damage d, bool mended)
{
    d.mended = mended;
    return copies_is_needed(p->run->images, &d) ? p->run->found(p->run->arg, &d) : 0;
}

static int tell_copy(struct proof *p, unsigned copy, bool mended)
{
    int r = p->wrong[copy] ? tell(p, describe(p, NULL, copy), mended) : 0;
    for (size_t i = 0; i < p->n && !r && p->wrong[copy] != -ENOENT; i++)
        if (is_to_mend(&p->parts[i], copy))
            r = tell(p, describe(p, &p->parts[i], copy), mended);
    return r;
}

static int tell_lost(struct proof *p)
{
    int r = 0;
    for (size_t i = 0; i < p->n && !r; i++) {
        struct copies_damage d = describe(p, &p->parts[i], IMAGE_COPIES);
        if (p->parts[i].errors[0] && p->parts[i].errors[1])
            r = tell(p, d, false);
    }
    return r;
}

static bool has_damage(const struct proof *p, unsigned copy)
{
    bool has = p->wrong[copy] != 0;
    for (size_t i = 0; i < p->n && !has; i++)
        has = is_to_mend(&p->parts[i], copy);
    return has;
}

static int prove_file(struct proof *p)
{
    int r = 0;
    for (unsigned copy = 0; copy < IMAGE_COPIES && !r; copy++)
        r = prove_copy(p, copy);
    for (unsigned copy = 0; copy < IMAGE_COPIES && !r; copy++) {
        if (!has_damage(p, copy))
            continue;
        bool mended = p->run->mend && mend_copy(p, copy) == 0;
        r = tell_copy(p, copy, mended);
    }
    return r ? r : tell_lost(p);
}

int copies_prove(const struct copies_run *run)
{
    struct proof p = {.run = run};
    int r = next_file(&p, 0);
    while (!r && p.file) {
        r = prove_file(&p);
        if (!r)
            r = next_file(&p, p.file);
    }
    medium_close(run->medium);
    buf_free(&p.buf);
    free(p.parts);
    return r;
}

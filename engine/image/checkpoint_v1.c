/*
 * checkpoint_v1.c - see checkpoint_v1.h.
 *
 * Nothing that a file says is believed before it was compared with a sum or a size (I10). */
#include "image/checkpoint_v1.h"

#include "index/version1.h"

#include <stdio.h>
#include <unistd.h>

#define MANIFEST_MAX (1u << 30)

static_assert(8 * INDEX_SCALARS_PLAIN == sizeof((struct ckpt_manifest *)0)->scalars && NAMES_CLASSES == 64,
              "they are stored in the manifest");

static_assert(offsetof(struct ckpt_chunk, file) == 0, "images begin with their file");

/* The files that a checkpoint needs, ascending, its own included. */
struct ckpt_files {
    uint64_t *ids;
    size_t n;
};

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* ---- reading ----------------------------------------------------------------------- */

struct loader {
    struct eng *eng;
    struct ckpt_manifest m;
    struct buf manifest;
    const struct ckpt_chunk *chunks;
    size_t n_chunks;
    uint64_t open_id; /* of `file` */
    struct io_file *file;
};

static void loader_free(struct loader *l)
{
    if (l->file)
        l->eng->io->ops->close(l->file);
    buf_free(&l->manifest);
}

static int open_checkpoint(struct loader *l, uint64_t id)
{
    if (l->file && l->open_id == id)
        return 0;
    if (l->file)
        l->eng->io->ops->close(l->file);
    l->file = NULL;
    char name[IMAGE_NAME_SIZE];
    image_name(id, 0, name);
    int r = l->eng->io->ops->open(l->eng->io, name, IO_RDONLY, &l->file);
    l->open_id = r ? 0 : id;
    return r;
}

static int read_at(struct loader *l, void *buf, size_t size, uint64_t off)
{
    return io_pread_exact(l->file, l->eng->io->ops, buf, size, off);
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

#define FIXED (sizeof(struct ckpt_manifest) + INDEX_TABLES_V1 * sizeof(struct ckpt_table))
#define PIECE ((1u << 20) / sizeof(struct ckpt_chunk)) /* images that are read at once */

/* What comes before the images: of this checkpoint, and with as many images as there is room for. */
static int read_fixed(struct loader *l, uint64_t id, uint64_t at, size_t len)
{
    uint64_t sum = 0;
    int r = len < FIXED || (len - FIXED) % sizeof(struct ckpt_chunk) ? -EBADMSG : 0;
    if (!r)
        r = buf_reserve(&l->manifest, FIXED);
    if (!r)
        r = read_at(l, l->manifest.data, FIXED, at);
    if (r)
        return r;
    l->manifest.len = FIXED;
    memcpy(&l->m, l->manifest.data, sizeof l->m);
    const struct ckpt_table *tables = (const struct ckpt_table *)(l->manifest.data + sizeof l->m);
    for (unsigned i = 0; i < INDEX_TABLES_V1; i++)
        sum += tables[i].n_chunks;
    return l->m.magic == CKPT_MANIFEST_MAGIC && l->m.version == 1 && l->m.n_tables == INDEX_TABLES_V1 &&
                   l->m.id == id && memcmp(l->m.uuid, l->eng->sb.uuid, sizeof l->m.uuid) == 0 &&
                   sum == (len - FIXED) / sizeof(struct ckpt_chunk)
               ? 0
               : -EBADMSG;
}

/* The images, a piece at a time: what looks like none, as the holes of a file do, takes no memory. */
static int read_images(struct loader *l, uint64_t at, size_t len)
{
    int r = 0;
    while (!r && l->manifest.len < len) {
        size_t n = MIN_OF((len - l->manifest.len) / sizeof(struct ckpt_chunk), PIECE);
        size_t size = MUTANT(MANIFEST_BELIEVED) ? len - l->manifest.len : n * sizeof(struct ckpt_chunk);
        r = buf_reserve(&l->manifest, size);
        if (!r)
            r = read_at(l, l->manifest.data + l->manifest.len, size, at + l->manifest.len);
        const struct ckpt_chunk *cc = r ? NULL : (const void *)(l->manifest.data + l->manifest.len);
        for (size_t i = 0; !r && i < n; i++)
            r = cc[i].len && cc[i].len <= TABLE_CHUNK_SIZE ? 0 : -EBADMSG;
        l->manifest.len += r ? 0 : size;
    }
    return r;
}

/* Reads and checks the manifest of checkpoint `id`. */
static int load_manifest(struct loader *l, uint64_t id)
{
    struct ckpt_footer f = {0};
    int r = open_checkpoint(l, id);
    if (!r)
        r = read_footer(l, &f);
    if (!r)
        r = read_fixed(l, id, f.manifest_offset, (size_t)f.manifest_len);
    if (!r)
        r = read_images(l, f.manifest_offset, (size_t)f.manifest_len);
    if (r)
        return r;
    l->chunks = (const struct ckpt_chunk *)(l->manifest.data + FIXED);
    l->n_chunks = (l->manifest.len - FIXED) / sizeof(struct ckpt_chunk);
    if (l->m.segment >= l->m.next_segment_id || !log_place_is_plausible(l->m.segment, l->m.offset) ||
        (!segment_id_is_plausible(l->m.next_segment_id - 1, l->m.seq) && !MUTANT(NUMBERS_BELIEVED)))
        return -EBADMSG;
    return f.manifest_sum == codec_hash(l->manifest.data, l->manifest.len) ? 0 : -EBADMSG;
}

static struct ckpt_position position_of(const struct ckpt_manifest *m)
{
    return (struct ckpt_position){m->seq, m->chain, m->segment, m->offset, m->next_segment_id};
}

/* -ENOMEM. The caller frees ids. */
static int needed_files(const struct loader *l, struct ckpt_files *ret_files)
{
    uint64_t *ids = calloc(l->n_chunks + 1, sizeof *ids);
    size_t n = 1, kept = 1;
    if (!ids)
        return -ENOMEM;
    ids[0] = l->m.id;
    for (size_t i = 0; i < l->n_chunks; i++) {
        ids[n] = l->chunks[i].file;
        n += ids[n] != ids[n - 1]; /* neighbours often share one */
    }
    qsort(ids, n, sizeof *ids, by_number);
    for (size_t i = 1; i < n; i++) {
        if (ids[i] != ids[kept - 1])
            ids[kept++] = ids[i];
    }
    *ret_files = (struct ckpt_files){ids, kept};
    return 0;
}

int checkpoint_v1_probe(struct eng *eng, uint64_t id, uint64_t *ret_seq)
{
    struct loader l = {.eng = eng};
    int r = load_manifest(&l, id);
    if (!r)
        *ret_seq = l.m.seq;
    loader_free(&l);
    return r;
}

bool checkpoint_v1_is_finished(struct eng *eng, uint64_t id)
{
    struct loader l = {.eng = eng};
    struct ckpt_footer f;
    bool is = open_checkpoint(&l, id) == 0 && read_footer(&l, &f) == 0;
    loader_free(&l);
    return is;
}

/* ---- from the medium ------------------------------------------------------------------ */

/* What is read of the file from here on comes from the medium, and stays after a power loss (I11). */
static int settle_file(struct eng *eng, uint64_t id)
{
    char name[IMAGE_NAME_SIZE];
    struct io_file *file;
    image_name(id, 0, name);
    int r = eng->io->ops->open(eng->io, name, IO_RDONLY, &file);
    if (r)
        return r;
    r = eng->io->ops->datasync(file);
    if (!r)
        eng->io->ops->drop_cache(file);
    eng->io->ops->close(file);
    return r;
}

int checkpoint_v1_settle(struct eng *eng, uint64_t id)
{
    struct loader l = {.eng = eng};
    struct ckpt_files files = {0};
    if (MUTANT(CKPT_FROM_CACHE))
        return 0;
    int r = settle_file(eng, id); /* first: its manifest names the others */
    if (!r)
        r = load_manifest(&l, id);
    if (!r)
        r = needed_files(&l, &files);
    for (size_t i = 0; i < files.n && !r; i++)
        r = files.ids[i] == id ? 0 : settle_file(eng, files.ids[i]);
    free(files.ids);
    loader_free(&l);
    return r;
}

/* ---- reading chunks: by several threads, since most of the time goes into memory that is new --------- */

#define LOADERS_MAX 8u
#define LOAD_RUN 32u /* chunks that a thread takes at once: a huge page of them */

/* What the threads share. */
struct load {
    struct eng *eng;
    struct load_image {
        struct ckpt_chunk chunk;
        size_t at;    /* its place among the chunks that were given */
    } * images;       /* by place on the disk: each file is opened once for each run of it */
    uint8_t **places; /* where each goes, by `at`; NULL: each is only compared with its sum */
    size_t n;
    _Atomic size_t next; /* the first that no thread has taken */
    _Atomic int error;   /* the first */
};

static int load_chunk(struct loader *l, const struct ckpt_chunk *cc, uint8_t *place)
{
    if (cc->len > TABLE_CHUNK_SIZE || cc->offset > INT64_MAX - TABLE_CHUNK_SIZE)
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
    CLEANUP_FREE uint8_t *scratch = load->places ? NULL : malloc(TABLE_CHUNK_SIZE);
    int r = load->places || scratch ? 0 : -ENOMEM, none = 0;
    while (!r && !atomic_load_explicit(&load->error, memory_order_relaxed)) {
        size_t at = atomic_fetch_add_explicit(&load->next, LOAD_RUN, memory_order_relaxed);
        size_t end = MIN_OF(at + LOAD_RUN, load->n);
        if (at >= load->n)
            break;
        for (; at < end && !r; at++) {
            const struct load_image *image = &load->images[at];
            r = load_chunk(&l, &image->chunk, scratch ? scratch : load->places[image->at]);
        }
    }
    if (r)
        (void)atomic_compare_exchange_strong_explicit(&load->error, &none, r, memory_order_relaxed,
                                                      memory_order_relaxed);
    loader_free(&l);
    return NULL;
}

static int by_place(const void *a, const void *b)
{
    const struct ckpt_chunk *x = a, *y = b;
    return x->file != y->file ? (x->file > y->file) - (x->file < y->file)
                              : (x->offset > y->offset) - (x->offset < y->offset);
}

/* What is to be loaded; to be freed with load->images. */
static int load_list(struct load *load, const struct ckpt_chunk *chunks, size_t n)
{
    load->images = calloc(n + 1, sizeof *load->images);
    if (!load->images)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        load->images[i] = (struct load_image){chunks[i], i};
    load->n = n;
    if (n)
        qsort(load->images, n, sizeof *load->images, by_place);
    return 0;
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

/* A manifest may claim no more than what its files hold, each byte once: so much memory is taken for it. */
static int check_images(struct loader *l, const struct load *load)
{
    uint64_t file = 0, size = 0, end = 0;
    int r = 0;
    for (size_t i = 0; i < load->n && !r; i++) {
        const struct ckpt_chunk *cc = &load->images[i].chunk;
        if (i == 0 || cc->file != file) {
            r = open_checkpoint(l, cc->file);
            if (!r)
                r = l->eng->io->ops->file_size(l->file, &size);
            file = cc->file;
            end = 0;
        }
        if (!r && (cc->offset < end || cc->offset > size || cc->len > size - cc->offset))
            r = -EBADMSG;
        end = cc->offset + cc->len;
    }
    return r;
}

/* Whether each table has the chunks that its records take, each as long as they are. */
static int check_shapes(const struct loader *l, struct index *idx, const struct ckpt_table *ct)
{
    size_t n = 0;
    for (unsigned i = 0; i < INDEX_TABLES_V1; i++) {
        struct table shape = *index_table(idx, i);
        shape.used = ct[i].used;
        for (uint32_t c = 0; c < ct[i].n_chunks; c++, n++)
            if (!l->chunks[n].len || l->chunks[n].len != table_chunk_len(&shape, c))
                return -EBADMSG;
    }
    return 0;
}

/* Memory for the tables, and where each chunk goes. */
static int make_places(const struct loader *l, struct index *idx, const struct ckpt_table *ct,
                       uint8_t **places)
{
    const struct table_source none = {0};
    size_t n = 0;
    int r = 0;
    for (unsigned i = 0; i < INDEX_TABLES_V1 && !r; i++) {
        struct table *t = index_table(idx, i);
        r = table_load_begin(t, ct[i].n_chunks, &none);
        for (uint32_t c = 0; c < ct[i].n_chunks && !r; c++, n++) {
            places[n] = t->chunks[c];
        }
        t->used = ct[i].used;
        if (!r)
            r = table_loaded(t);
    }
    return r;
}

static int load_tables(struct loader *l, struct index *idx)
{
    struct load load = {.eng = l->eng};
    struct ckpt_table ct[INDEX_TABLES_V1];
    memcpy(ct, l->manifest.data + sizeof l->m, sizeof ct);
    int r = check_shapes(l, idx, ct);
    if (!r)
        r = load_list(&load, l->chunks, l->n_chunks);
    if (!r)
        r = check_images(l, &load);
    if (!r && !(load.places = calloc(l->n_chunks + 1, sizeof *load.places)))
        r = -ENOMEM;
    if (!r)
        r = make_places(l, idx, ct, load.places);
    if (!r)
        r = load_chunks(&load);
    free(load.places);
    free(load.images);
    return r;
}

static void tree_decode(struct btree *t, const uint64_t in[3])
{
    t->root = (uint32_t)MIN_OF(in[0], (uint64_t)UINT32_MAX);
    t->depth = (uint32_t)MIN_OF(in[1], (uint64_t)UINT32_MAX);
    t->count = in[2];
}

static void take_scalars(const struct loader *l, struct index *idx)
{
    memcpy(&idx->s, l->m.scalars, sizeof l->m.scalars);
    tree_decode(&idx->dirs, l->m.trees[0]);
    tree_decode(&idx->extents, l->m.trees[1]);
}

/* Free records and cells, of all chunks that were loaded. */
static int take_free(const struct loader *l, struct index *idx)
{
    const struct ckpt_table *ct = (const struct ckpt_table *)(l->manifest.data + sizeof l->m);
    struct index_free_v1 v1;
    memcpy(v1.names, l->m.names_free, sizeof v1.names);
    for (unsigned i = 0; i < INDEX_TABLES_V1; i++) {
        v1.heads[i] = ct[i].free_head;
        v1.counts[i] = ct[i].n_free;
    }
    return index_adopt_v1(idx, &v1);
}

int checkpoint_v1_load(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos)
{
    struct loader l = {.eng = eng};
    int r = load_manifest(&l, id);
    if (!r)
        r = load_tables(&l, idx);
    if (!r) {
        take_scalars(&l, idx);
        r = idx->s.n_buckets < idx->buckets.used ? names_loaded(&idx->names) : -EBADMSG;
    }
    if (!r)
        r = take_free(&l, idx);
    if (!r)
        r = btree_validate(&idx->dirs);
    if (!r)
        r = btree_validate(&idx->extents);
    if (!r)
        r = index_loaded(idx);
    if (!r && !MUTANT(NO_INDEX_VERIFY))
        r = index_is_sound(idx);
    if (!r)
        *ret_pos = position_of(&l.m);
    loader_free(&l);
    return r;
}

/* ---- in part ------------------------------------------------------------------------------- */

static int size_files(struct loader *l, const struct ckpt_files *files, uint64_t *ret_bytes)
{
    *ret_bytes = 0;
    for (size_t i = 0; i < files->n; i++) {
        uint64_t size;
        int r = open_checkpoint(l, files->ids[i]);
        if (!r)
            r = l->eng->io->ops->file_size(l->file, &size);
        if (!r)
            *ret_bytes += size;
        else if (io_is_shortage(r))
            return r;
    }
    return 0;
}

/* Reads what can be read, in the order of the tables. No more than the files hold, whether it is sound or
 * not: a manifest may claim the same image again and again. What is not read into takes no memory. */
static int load_parts(struct loader *l, struct index *idx, uint64_t bytes, struct index_holes *holes)
{
    const struct ckpt_chunk *cc = l->chunks;
    for (unsigned i = 0; i < INDEX_TABLES_V1; i++) {
        struct table *t = index_table(idx, i);
        for (uint32_t c = 0; c < t->n_chunks; c++, cc++) {
            int r = cc->len <= bytes ? open_checkpoint(l, cc->file) : -EBADMSG;
            if (!r) {
                bytes -= cc->len;
                r = load_chunk(l, cc, t->chunks[c]);
                if (!r)
                    continue;
                memset(t->chunks[c], 0, cc->len);
            }
            if (io_is_shortage(r))
                return r;
            if (!holes->lost[i] && !(holes->lost[i] = calloc(t->n_chunks, 1)))
                return -ENOMEM;
            holes->lost[i][c] = 1;
            holes->n++;
        }
    }
    return 0;
}

int checkpoint_v1_load_parts(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos,
                             struct index_holes *ret_holes)
{
    struct loader l = {.eng = eng};
    struct ckpt_files files = {0};
    struct ckpt_table ct[INDEX_TABLES_V1];
    uint64_t bytes;
    int r = load_manifest(&l, id);
    if (!r)
        r = needed_files(&l, &files);
    if (!r)
        r = size_files(&l, &files, &bytes);
    CLEANUP_FREE uint8_t **places = r ? NULL : calloc(l.n_chunks + 1, sizeof *places);
    if (!r && !places)
        r = -ENOMEM;
    if (!r) {
        memcpy(ct, l.manifest.data + sizeof l.m, sizeof ct);
        r = check_shapes(&l, idx, ct);
    }
    if (!r)
        r = make_places(&l, idx, ct, places);
    if (!r)
        r = load_parts(&l, idx, bytes, ret_holes);
    if (!r) {
        take_scalars(&l, idx);
        index_convert_v1(idx);
        *ret_pos = position_of(&l.m);
    }
    free(files.ids);
    loader_free(&l);
    return r;
}

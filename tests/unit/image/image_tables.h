/*
 * image_tables.h - two tables without an engine above them, on a simulated disk: checkpoints of them, and the
 * tables that a later life reads from these. */
#ifndef ENGRAMFS_TESTS_IMAGE_TABLES_H
#define ENGRAMFS_TESTS_IMAGE_TABLES_H

#include "image/copies.h"
#include "image/writer.h"

#include "must.h"
#include "rng.h"
#include "simdisk.h"

#define IT_TABLES 2u
#define IT_STORE UINT64_C(4711)
#define IT_HEAD 16u /* bytes */

struct it_life {
    struct chunk_pool *pool;
    struct table t[IT_TABLES]; /* records of 128 bytes, and of 16 */
    struct images images;
};

struct it {
    struct simdisk *disk;
    struct eng_io *io;
    struct it_life live;
    uint64_t next_id, rng;
    struct image_written last; /* checkpoint */
    uint64_t bytes;            /* of all checkpoints */
    bool keep_files;
};

static inline void it_tables(struct it_life *l)
{
    MUST(chunk_pool_new(&l->pool) == 0);
    MUST(table_init(&l->t[0], l->pool, 128) == 0 && table_init(&l->t[1], l->pool, 16) == 0);
    table_keep_word(&l->t[0]);
}

static inline void it_end(struct it_life *l)
{
    MUST(!l->pool || chunk_pool_overdrafts(l->pool) == 0);
    for (unsigned i = 0; i < IT_TABLES; i++)
        table_free(&l->t[i]);
    chunk_pool_free(l->pool);
    images_free(&l->images);
    *l = (struct it_life){0};
}

static inline void it_new(struct it *it, uint64_t seed)
{
    *it = (struct it){.disk = simdisk_new(), .next_id = 1, .rng = seed};
    it->io = simdisk_io(it->disk);
    it_tables(&it->live);
    MUST(images_init(&it->live.images, it->io, IT_STORE, IT_TABLES) == 0);
}

static inline void it_free(struct it *it)
{
    it_end(&it->live);
    simdisk_free(it->disk);
}

/* ---- changes -------------------------------------------------------------------------------- */

static inline uint32_t it_add(struct it *it, unsigned table)
{
    struct table *t = &it->live.t[table];
    MUST(table_reserve(t, 1) == 0 && chunk_pool_reserve(it->live.pool, 3) == 0);
    uint32_t i = table_alloc(t);
    uint8_t *record = table_mut(t, i);
    rng_fill(record + 8, t->record_size - 8, rng_next(&it->rng));
    memset(record, 0xee, 4); /* in use */
    return i;
}

static inline bool it_in_use(struct it *it, unsigned table, uint32_t i)
{
    uint32_t word = 0;
    const void *record = table_get(&it->live.t[table], i);
    if (record)
        memcpy(&word, record, sizeof word);
    return word == 0xeeeeeeee;
}

static inline void it_change(struct it *it, unsigned table, uint32_t i)
{
    struct table *t = &it->live.t[table];
    MUST(chunk_pool_reserve(it->live.pool, 1) == 0);
    rng_fill((uint8_t *)table_mut(t, i) + 8, t->record_size - 8, rng_next(&it->rng));
}

static inline void it_remove(struct it *it, unsigned table, uint32_t i)
{
    MUST(chunk_pool_reserve(it->live.pool, 1) == 0);
    table_free_record(&it->live.t[table], i);
}

/* ---- checkpoints ------------------------------------------------------------------------------ */

struct it_view {
    struct table t[IT_TABLES];
    uint64_t freeze;
};

static inline void it_freeze(struct it *it, struct it_view *v)
{
    v->freeze = chunk_pool_freeze(it->live.pool);
    for (unsigned i = 0; i < IT_TABLES; i++)
        MUST(table_freeze(&it->live.t[i], &v->t[i]) == 0);
}

static inline void it_thaw(struct it *it, struct it_view *v)
{
    for (unsigned i = 0; i < IT_TABLES; i++)
        table_free(&v->t[i]);
    chunk_pool_thaw(it->live.pool, v->freeze);
}

/* `change` (may be NULL) is called while the checkpoint is written. */
static inline int it_checkpoint_while(struct it *it, void (*change)(void *it))
{
    struct it_view v;
    uint64_t head[2] = {it->next_id, ~it->next_id};
    it_freeze(it, &v);
    for (unsigned i = 0; i < IT_TABLES; i++)
        MUST(table_take_dirty(&it->live.t[i], &v.t[i]) == 0);
    struct table *views[IT_TABLES] = {&v.t[0], &v.t[1]};
    struct image_write in = {.images = &it->live.images,
                             .id = it->next_id++,
                             .seq = head[0] * 10,
                             .views = views,
                             .head = head,
                             .head_len = sizeof head,
                             .pause = change,
                             .arg = it,
                             .keep_files = it->keep_files};
    int r = image_write(&in, &it->last);
    for (unsigned i = 0; i < IT_TABLES && r; i++)
        table_return_dirty(&it->live.t[i], &v.t[i]);
    it_thaw(it, &v);
    MUST(map_is_counted(&it->live.images.map));
    if (!r) {
        uint64_t alien;
        it->bytes += it->last.bytes;
        (void)image_remove_dead(&it->live.images, it->keep_files ? IMAGE_REMOVE_NONE : IMAGE_REMOVE_ALL, NULL,
                                &alien);
    }
    return r;
}

static inline int it_checkpoint(struct it *it)
{
    return it_checkpoint_while(it, NULL);
}

/* ---- a later life ------------------------------------------------------------------------------- */

struct it_ids {
    uint64_t ids[512];
    size_t n;
};

static inline int it_note_id(void *arg, const char *name)
{
    struct it_ids *l = (struct it_ids *)arg;
    uint64_t id;
    unsigned copy;
    if (image_parse_name(name, &id, &copy) == 0) {
        MUST(l->n < sizeof l->ids / sizeof l->ids[0]);
        l->ids[l->n++] = id;
    }
    return 0;
}

/* Opens the newest checkpoint that can be opened; its number, 0: none. */
static inline uint64_t it_open(struct it *it, struct it_life *l)
{
    struct it_ids found = {.n = 0};
    uint64_t best = UINT64_MAX;
    void *head = NULL;
    *l = (struct it_life){0};
    it_tables(l);
    MUST(images_init(&l->images, it->io, IT_STORE, IT_TABLES) == 0);
    MUST(it->io->ops->list(it->io, it_note_id, &found) == 0);
    for (;;) {
        uint64_t id = 0;
        for (size_t i = 0; i < found.n; i++)
            if (found.ids[i] < best && found.ids[i] > id)
                id = found.ids[i];
        best = id;
        if (!id || (images_settle(&l->images, id) == 0 && images_open(&l->images, id, IT_HEAD, &head) == 0))
            break;
    }
    if (best) {
        uint64_t words[2];
        memcpy(words, head, sizeof words);
        MUST(words[0] == best && words[1] == ~best && l->images.map.seq == best * 10);
        MUST(map_is_counted(&l->images.map));
        free(head);
        for (unsigned i = 0; i < IT_TABLES; i++)
            MUST(images_begin_table(&l->images, i, &l->t[i]) == 0);
    }
    return best;
}

/* Whether all that counts in both is the same. */
static inline bool it_same(const struct table *a, const struct table *b)
{
    if (a->used != b->used || a->n_chunks != b->n_chunks || a->n_free != b->n_free)
        return false;
    for (uint32_t c = 0; c < a->n_chunks; c++) {
        const uint8_t *x = table_chunk(a, c), *y = table_chunk(b, c);
        if (!x != !y || memcmp(&a->metas[c], &b->metas[c], sizeof a->metas[c]) != 0 ||
            (x && memcmp(x, y, table_chunk_len(a, c)) != 0))
            return false;
    }
    return true;
}

static inline bool it_is_as(struct it_life *a, struct it_life *b)
{
    return it_same(&a->t[0], &b->t[0]) && it_same(&a->t[1], &b->t[1]);
}

/* Whether the newest checkpoint on the disk has what `want` has. */
static inline bool it_reads_as(struct it *it, struct it_life *want)
{
    struct it_life l;
    bool same = it_open(it, &l) != 0 && it_is_as(&l, want);
    for (unsigned i = 0; i < IT_TABLES && same; i++)
        MUST(table_validate_free(&l.t[i]) == 0);
    it_end(&l);
    return same;
}

#endif

/*
 * test_names.c - the store of small objects: places, size classes, reuse,
 * freezes, and what damaged free lists give. */
#include "index/names.h"

#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define CHUNK_CELLS (TABLE_CHUNK_SIZE / NAMES_CELL)

static struct chunk_pool *pool;
static struct names h;

static void setup(void)
{
    MUST(chunk_pool_new(&pool) == 0);
    MUST(names_init(&h, pool) == 0);
}

static void teardown(void)
{
    MUST(chunk_pool_overdrafts(pool) == 0);
    names_free(&h);
    chunk_pool_free(pool);
}

TestSuite(names, .init = setup, .fini = teardown, .timeout = 60);

static uint32_t alloc_one(uint32_t size)
{
    struct names_need need = {0};
    names_need(&need, size);
    MUST(names_reserve(&h, &need) == 0);
    MUST(chunk_pool_reserve(pool, NAMES_ALLOC_CHUNKS) == 0);
    uint32_t handle = names_alloc(&h, size);
    MUST(handle != 0);
    return handle;
}

static void *mut_one(uint32_t handle, uint32_t size)
{
    MUST(chunk_pool_reserve(pool, 1) == 0);
    void *p = names_mut(&h, handle, size);
    MUST(p != NULL);
    return p;
}

static void free_one(uint32_t handle, uint32_t size)
{
    MUST(chunk_pool_reserve(pool, 1) == 0);
    names_free_cells(&h, handle, size);
}

/* ---- places ------------------------------------------------------------- */

Test(names, every_size_is_kept_whole)
{
    static uint32_t handles[NAMES_MAX + 1];
    static uint8_t bytes[NAMES_MAX];
    for (uint32_t size = 1; size <= NAMES_MAX; size++) {
        handles[size] = alloc_one(size);
        uint8_t *p = mut_one(handles[size], size);
        for (uint32_t i = 0; i < size; i++)
            MUST(p[i] == 0);
        rng_fill(p, size, size);
    }
    for (uint32_t size = 1; size <= NAMES_MAX; size++) {
        const void *p = names_get(&h, handles[size], size);
        MUST(p != NULL);
        rng_fill(bytes, size, size);
        MUST(memcmp(p, bytes, size) == 0);
    }
    MUST(names_validate(&h) == 0);
}

Test(names, get_refuses_impossible_places)
{
    uint32_t handle = alloc_one(64); /* 4 cells */
    MUST(names_get(&h, handle, 64) != NULL);
    MUST(names_get(&h, handle, 0) == NULL);
    MUST(names_get(&h, handle, 65) == NULL); /* beyond what was handed out */
    MUST(names_get(&h, handle, NAMES_MAX + 1) == NULL);
    MUST(names_get(&h, handle, UINT32_MAX) == NULL);
    MUST(names_get(&h, 0, 16) == NULL);
    MUST(names_get(&h, h.cells.used, 16) == NULL);
    MUST(names_get(&h, UINT32_MAX, 16) == NULL);
    MUST(names_mut(&h, UINT32_MAX, 16) == NULL);
    for (int i = 0; i < 40; i++) /* well into the second chunk */
        (void)alloc_one(NAMES_MAX);
    MUST(names_get(&h, CHUNK_CELLS - 1, 16) != NULL);
    MUST(names_get(&h, CHUNK_CELLS - 1, 17) == NULL);
    MUST(names_get(&h, CHUNK_CELLS - 33, 33 * 16) == NULL); /* its class has 40 cells */
    MUST(names_get(&h, CHUNK_CELLS - 40, 33 * 16) != NULL);
    names_free_cells(&h, CHUNK_CELLS - 1, 17); /* ignored */
    names_free_cells(&h, 0, 16);
    names_free_cells(&h, UINT32_MAX, 16);
    MUST(names_validate(&h) == 0);
}

Test(names, freed_places_are_used_again)
{
    uint32_t a = alloc_one(48), b = alloc_one(640), c = alloc_one(16);
    memset(mut_one(a, 48), 0xff, 48);
    memset(mut_one(b, 640), 0xff, 640);
    uint32_t used = h.cells.used;
    free_one(a, 48);                                    /* 3 cells */
    MUST(alloc_one(32) == a && alloc_one(16) == a + 2); /* split */
    free_one(b, 520);                                   /* 33 to 40 cells are one class */
    MUST(alloc_one(640) == b);
    const uint8_t *p = names_get(&h, b, 640);
    for (int i = 0; i < 640; i++)
        MUST(p[i] == 0);
    free_one(a, 32); /* and joined, whatever the order */
    free_one(c, 16);
    free_one(a + 2, 16);
    free_one(b, 640);
    MUST(names_validate(&h) == 0);
    MUST(alloc_one(40 * 16) == a && alloc_one(64) == a + 40 && h.cells.used == used); /* all 44 cells */
}

Test(names, ends_of_chunks_are_used)
{
    while (h.cells.used < CHUNK_CELLS) /* 14 objects, and a gap of 63 cells */
        (void)alloc_one(NAMES_MAX);
    MUST(names_validate(&h) == 0);
    uint32_t used = h.cells.used;
    MUST(alloc_one(56 * 16) / CHUNK_CELLS == 0);
    MUST(alloc_one(7 * 16) / CHUNK_CELLS == 0);
    MUST(h.cells.used == used);
}

static size_t drop_all(void)
{
    size_t rounds = 1;
    while (names_drop_empty(&h, 2) > 0)
        rounds++;
    return rounds;
}

Test(names, chunks_without_objects_are_dropped)
{
    static uint32_t handles[40000];
    uint64_t rng = test_seed();
    for (uint32_t i = 0; i < 40000; i++)
        handles[i] = alloc_one(48);
    for (uint32_t i = 0; i < 40000; i++) {
        uint32_t k = (uint32_t)rng_below(&rng, 40000 - i), last = handles[40000 - i - 1];
        free_one(handles[k], 48);
        handles[k] = last;
        if (i % 10000 == 0)
            MUST(names_validate(&h) == 0);
    }
    MUST(drop_all() > 10);
    MUST(chunk_pool_live_bytes(pool) == 0);
    MUST(names_validate(&h) == 0);
    MUST(h.cells.used == 1); /* the table ends where nothing follows */
    for (uint32_t i = 0; i < 5000; i++)
        memset(mut_one(alloc_one(48), 48), 0xff, 48);
    MUST(names_validate(&h) == 0);
    MUST(chunk_pool_live_bytes(pool) == 4 * TABLE_CHUNK_SIZE);
}

Test(names, what_comes_when_all_has_gone_goes_into_few_chunks)
{
    enum { N = 40000, LATER = 1000 };
    static uint32_t handles[N];
    for (uint32_t i = 0; i < N; i++)
        handles[i] = alloc_one(20);
    for (uint32_t i = 0; i < N; i++)
        free_one(handles[i], 20);
    MUST(h.cells.n_chunks > 15);
    for (uint32_t i = 0; i < LATER; i++)
        (void)alloc_one(20);
    (void)drop_all();
    cr_assert_leq(chunk_pool_live_bytes(pool), 2 * TABLE_CHUNK_SIZE);
    MUST(names_validate(&h) == 0);
}

Test(names, free_cells_are_found_again_after_loading)
{
    uint32_t handles[2000];
    for (int i = 0; i < 2000; i++)
        handles[i] = alloc_one(100);
    for (int i = 0; i < 2000; i += 2)
        free_one(handles[i], 100);
    uint32_t used = h.cells.used;
    for (unsigned k = 0; k < NAMES_CLASSES; k++) /* what memory alone knows is gone */
        h.classes[k].n = 0;
    MUST(names_loaded(&h) == 0);
    MUST(names_validate(&h) == 0);
    free_one(handles[1], 100); /* into a chunk that nobody has looked at */
    MUST(names_validate(&h) == 0);
    for (int i = 0; i < 1001; i++)
        (void)alloc_one(100);
    MUST(h.cells.used == used);
    (void)alloc_one(100);
    MUST(h.cells.used > used);
}

static size_t n_remembered(void)
{
    size_t n = 0;
    for (unsigned k = 0; k < NAMES_CLASSES; k++)
        n += h.classes[k].n;
    return n;
}

/* What was joined with its neighbours leaves stale entries, which go a few at a time, and go. */
Test(names, what_is_stale_goes_bit_by_bit)
{
    enum { N = 60000 };
    static uint32_t handles[N];
    for (int i = 0; i < N; i++)
        handles[i] = alloc_one(48);
    size_t n = 0, most = 0;
    for (int odd = 0; odd < 2; odd++) {
        for (int i = odd; i < N - 2000; i += 2) {
            free_one(handles[i], 48);
            size_t before = n;
            n = n_remembered();
            cr_assert(n + 100 > before, "%zu entries went in one call", before - n);
            most = n > most ? n : most;
        }
    }
    cr_assert_gt(most, N / 3u);
    for (int i = N - 2000; i < N; i += 2) {
        free_one(handles[i], 48);
        cr_assert(n_remembered() + 100 > n);
        n = n_remembered();
    }
    size_t good = 0;
    for (unsigned k = 0; k < NAMES_CLASSES; k++)
        good += h.classes[k].n_runs;
    cr_assert(n < N / 3u && good >= 1000, "%zu entries for %zu runs", n, good);
    for (int i = 0; i < 1000; i++) /* and nothing that is good went with it */
        MUST(alloc_one(48) / CHUNK_CELLS <= handles[N - 1] / CHUNK_CELLS);
    MUST(names_validate(&h) == 0);
}

/* As many free cells as are wanted, and not two of them side by side, in a table that cannot grow. */
Test(names, free_cells_that_are_too_small_are_no_room)
{
    uint32_t handles[200];
    struct names_need need = {0}, small = {0};
    for (int i = 0; i < 200; i++)
        handles[i] = alloc_one(16);
    for (int i = 0; i < 200; i += 2)
        free_one(handles[i], 16);
    h.cells.limit = h.cells.used;
    MUST(names_loaded(&h) == 0);
    names_need(&need, 32);
    MUST(names_reserve(&h, &need) == -EOVERFLOW);
    for (int i = 0; i < 100; i++)
        names_need(&small, 16);
    MUST(names_reserve(&h, &small) == 0 && chunk_pool_reserve(pool, 300) == 0);
    for (int i = 0; i < 100; i++)
        MUST(names_alloc(&h, 16) != 0);
    MUST(h.cells.used == h.cells.limit && names_reserve(&h, &small) == -EOVERFLOW);
}

Test(names, lists_of_format_1_are_adopted)
{
    uint32_t heads[NAMES_CLASSES] = {0}, a[3], other = alloc_one(300 * 15), next;
    for (int i = 0; i < 3; i++)
        a[i] = alloc_one(48);
    uint32_t used = h.cells.used;
    heads[2] = a[0];
    next = a[2];
    memcpy(mut_one(a[0], 4), &next, 4);
    next = 0;
    memcpy(mut_one(a[2], 4), &next, 4);
    MUST(names_adopt_v1(&h, heads) == 0);
    MUST(alloc_one(48) != 0 && alloc_one(48) != 0 && h.cells.used == used);
    next = a[2]; /* a loop */
    memcpy(mut_one(a[2], 4), &next, 4);
    heads[2] = a[2];
    MUST(names_adopt_v1(&h, heads) == -EBADMSG);
    (void)other;
}

/* ---- against a model ---------------------------------------------------- */

#define OBJECTS 3000

struct object {
    uint32_t handle, size; /* size 0: none */
    uint64_t content;
};

static struct object objects[OBJECTS], frozen_objects[OBJECTS];

static uint32_t random_size(uint64_t *rng)
{
    return 1 + (uint32_t)rng_below(rng, rng_below(rng, 4) == 0 ? NAMES_MAX : 100);
}

static void object_check(const struct names *names, const struct object *o)
{
    uint8_t bytes[NAMES_MAX];
    if (o->size == 0)
        return;
    const void *p = names_get(names, o->handle, o->size);
    MUST(p != NULL);
    rng_fill(bytes, o->size, o->content);
    MUST(memcmp(p, bytes, o->size) == 0);
}

static void object_remove(struct object *o)
{
    if (o->size != 0)
        free_one(o->handle, o->size);
    o->size = 0;
}

static void model_step(uint64_t *rng)
{
    struct object *o = &objects[rng_below(rng, OBJECTS)];
    object_check(&h, o);
    if (o->size != 0 && rng_below(rng, 2) == 0) {
        object_remove(o);
        return;
    }
    if (o->size == 0) {
        o->size = random_size(rng);
        o->handle = alloc_one(o->size);
    }
    o->content = rng_next(rng);
    rng_fill(mut_one(o->handle, o->size), o->size, o->content);
}

Test(names, random_against_a_model_with_freezes)
{
    uint64_t rng = test_seed(), freeze = 0;
    struct names view;
    uint64_t dropped = 0;
    for (int step = 0; step < 100000; step++) {
        model_step(&rng);
        for (int i = 0; i < 5 && step / 20000 % 2 == 1; i++) /* at times more goes than comes */
            object_remove(&objects[rng_below(&rng, OBJECTS)]);
        if (step % 1000 == 0) {
            uint64_t held = chunk_pool_live_bytes(pool);
            (void)names_drop_empty(&h, 2);
            dropped += held - chunk_pool_live_bytes(pool);
        }
        if (step % 5000 != 0)
            continue;
        MUST(names_validate(&h) == 0);
        if (freeze != 0) {
            for (int i = 0; i < OBJECTS; i++)
                object_check(&view, &frozen_objects[i]);
            MUST(names_validate(&view) == 0);
            names_free(&view);
            chunk_pool_thaw(pool, freeze);
        }
        freeze = chunk_pool_freeze(pool);
        MUST(names_freeze(&h, NULL, &view) == 0);
        memcpy(frozen_objects, objects, sizeof(objects));
    }
    names_free(&view);
    chunk_pool_thaw(pool, freeze);
    for (int i = 0; i < OBJECTS; i++)
        object_check(&h, &objects[i]);
    MUST(dropped > 0);
}

/* ---- damage ------------------------------------------------------------- */

/* Writes one of the four fields of a free run: next, prev, len, tag. */
static void set_field(uint32_t handle, unsigned field, uint16_t value)
{
    memcpy((uint8_t *)table_mut(&h.cells, handle) + 2 * field, &value, sizeof(value));
}

static uint16_t get_field(uint32_t handle, unsigned field)
{
    uint16_t value;
    memcpy(&value, (const uint8_t *)table_get(&h.cells, handle) + 2 * field, sizeof(value));
    return value;
}

Test(names, validate_finds_damaged_chains)
{
    uint32_t handles[6];
    for (int i = 0; i < 6; i++)
        handles[i] = alloc_one(48);
    for (int i = 0; i < 40; i++)
        (void)alloc_one(NAMES_MAX);
    for (int i = 0; i < 6; i += 2)
        free_one(handles[i], 48);
    MUST(names_validate(&h) == 0);
    static const uint16_t bad[] = {0, 1, 2, 4, 7, 8, 4095, 4096, 0xfffe, 0xffff};
    for (int i = 0; i < 6; i += 2)
        for (unsigned field = 0; field < 4; field++)
            for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
                uint16_t good = get_field(handles[i], field);
                if (good == bad[k])
                    continue;
                set_field(handles[i], field, bad[k]);
                cr_assert_eq(names_validate(&h), -EBADMSG, "run %d, field %u: %u", i, field, bad[k]);
                set_field(handles[i], field, good);
            }
    MUST(names_validate(&h) == 0);
    h.cells.metas[0].n_free++;
    MUST(names_validate(&h) == -EBADMSG);
    h.cells.metas[0].n_free--;
    uint32_t used = h.cells.used;
    h.cells.used = 0;
    MUST(names_validate(&h) == -EBADMSG);
    h.cells.used = used;
}

Test(names, stray_writes_into_free_runs_do_no_harm)
{
    uint64_t rng = test_seed();
    uint32_t handles[64];
    for (int round = 0; round < 500; round++) {
        uint32_t size = random_size(&rng);
        for (int i = 0; i < 64; i++)
            handles[i] = alloc_one(size);
        for (int i = 0; i < 64; i++) {
            free_one(handles[i], size);
            if (rng_below(&rng, 8) == 0)
                free_one(handles[i], size); /* two owners of one place */
        }
        for (int i = 0; i < 64; i++)
            if (rng_below(&rng, 4) == 0)
                rng_fill(mut_one(handles[i], size), size, rng_next(&rng));
        for (int i = 0; i < 100; i++) {
            uint32_t handle = alloc_one(size);
            memset(mut_one(handle, size), i, size);
        }
    }
}

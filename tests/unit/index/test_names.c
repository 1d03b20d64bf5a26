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

Test(names, freed_places_serve_their_class)
{
    uint32_t a = alloc_one(33), b = alloc_one(520);
    memset(mut_one(a, 33), 0xff, 33);
    memset(mut_one(b, 520), 0xff, 520);
    uint32_t used = h.cells.used;
    free_one(a, 33);
    free_one(b, 520);
    MUST(alloc_one(32) != a); /* two cells, not three */
    MUST(alloc_one(48) == a);
    MUST(alloc_one(640) == b); /* 33 to 40 cells are one class */
    const uint8_t *p = names_get(&h, b, 640);
    for (int i = 0; i < 640; i++)
        MUST(p[i] == 0);
    MUST(h.cells.used == used + 2);
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

static void model_step(uint64_t *rng)
{
    struct object *o = &objects[rng_below(rng, OBJECTS)];
    object_check(&h, o);
    if (o->size != 0 && rng_below(rng, 2) == 0) {
        free_one(o->handle, o->size);
        o->size = 0;
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
    for (int step = 0; step < 100000; step++) {
        model_step(&rng);
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
        MUST(names_freeze(&h, &view) == 0);
        memcpy(frozen_objects, objects, sizeof(objects));
    }
    names_free(&view);
    chunk_pool_thaw(pool, freeze);
    for (int i = 0; i < OBJECTS; i++)
        object_check(&h, &objects[i]);
}

/* ---- damage ------------------------------------------------------------- */

static void set_next(uint32_t handle, uint32_t next)
{
    memcpy(table_mut(&h.cells, handle), &next, sizeof(next));
}

Test(names, validate_finds_damaged_lists)
{
    uint32_t a = alloc_one(48), b = alloc_one(48), c = alloc_one(48), d = alloc_one(32);
    for (int i = 0; i < 40; i++)
        (void)alloc_one(NAMES_MAX);
    free_one(a, 48);
    free_one(b, 48);
    free_one(c, 48);
    free_one(d, 32);
    MUST(names_validate(&h) == 0);
    const uint32_t bad[] = {
        c, b, a, a + 1, b - 2, d - 2, CHUNK_CELLS - 2, h.cells.used, h.cells.used - 2, UINT32_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        set_next(a, bad[i]);
        cr_assert_eq(names_validate(&h), -EBADMSG, "next %u", bad[i]);
    }
    set_next(a, d + 1); /* overlaps the run of another class */
    MUST(names_validate(&h) == -EBADMSG);
    set_next(a, 0);
    MUST(names_validate(&h) == 0);
    h.free_heads[NAMES_CLASSES - 1] = h.cells.used - 287; /* one cell too short */
    MUST(names_validate(&h) == -EBADMSG);
    h.free_heads[NAMES_CLASSES - 1] = 0;
    h.cells.free_head = 1;
    h.cells.n_free = 1;
    set_next(1, 0);
    MUST(names_validate(&h) == -EBADMSG);
    h.cells.free_head = 0;
    h.cells.n_free = 0;
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

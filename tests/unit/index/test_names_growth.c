/*
 * test_names_growth.c - what names keep in memory grows while everybody waits: by a little at a time, however
 * much there is of it. The linker wraps what asks for memory. */
#include "index/names.h"

#include "must.h"

#include <criterion/criterion.h>

#define N 1000000u
#define SIZE NAMES_CELL
#define ASKED_MAX (32u << 10) /* bytes, of one call */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static size_t asked;

void *__wrap_calloc(size_t n, size_t size)
{
    asked += n * size;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    asked += size;
    return __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    asked += n * size;
    return __real_reallocarray(p, n, size);
}

static struct chunk_pool *pool;
static struct names h;

/* The chunks, and the arrays of the table, are there beforehand. */
static void setup(void)
{
    MUST(chunk_pool_new(&pool) == 0);
    MUST(names_init(&h, pool) == 0);
    MUST(table_reserve(&h.cells, 2 * N) == 0);
    MUST(chunk_pool_reserve(pool, 2 * N / NAMES_CHUNK_CELLS) == 0);
}

static void teardown(void)
{
    names_free(&h);
    chunk_pool_free(pool);
}

TestSuite(names_growth, .init = setup, .fini = teardown, .timeout = 60);

static uint32_t alloc_one(void)
{
    struct names_need need = {0};
    names_need(&need, SIZE);
    asked = 0;
    MUST(names_reserve(&h, &need) == 0);
    uint32_t handle = names_alloc(&h, SIZE);
    cr_assert_leq(asked, ASKED_MAX, "%zu bytes to get %u", asked, handle);
    return handle;
}

static void free_one(uint32_t handle)
{
    asked = 0;
    names_free_cells(&h, handle, SIZE);
    cr_assert_leq(asked, ASKED_MAX, "%zu bytes to free %u", asked, handle);
}

Test(names_growth, is_bounded_however_many_names_there_are)
{
    static uint32_t handles[N];
    for (uint32_t i = 0; i < N; i++)
        handles[i] = alloc_one();
    for (uint32_t i = 0; i < N; i += 2) /* each leaves a run of its own */
        free_one(handles[i]);
    cr_assert_geq(h.classes[0].n, N / 2);
    for (uint32_t i = 0; i < N; i += 2)
        (void)alloc_one();
    MUST(names_validate(&h) == 0);
}

/*
 * names.c - small variable-size objects in runs of 16-byte cells.
 *
 * State: the cell table and the heads of the free lists, one for each size class. A free run is in the list
 * of the class that has exactly its length. Runs are neither split nor joined: names and xattrs of a store
 * have few different sizes, so a freed run finds a new owner soon, and the work for each object stays
 * constant.
 *
 * Locks: none here, see table.h. */
#include "index/names.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CELLS_EXACT 32u /* runs up to this length have a class for each length */
#define CELLS_STEP 8u   /* longer ones one for each multiple of this */
#define CELLS_MAX (NAMES_MAX / NAMES_CELL)
#define CHUNK_CELLS (TABLE_CHUNK_SIZE / NAMES_CELL)

_Static_assert(NAMES_MAX % (NAMES_CELL * CELLS_STEP) == 0, "the largest object fills its class");
_Static_assert(CELLS_EXACT + (CELLS_MAX - CELLS_EXACT) / CELLS_STEP == NAMES_CLASSES,
               "classes cover all sizes");

/* Cells that an object of `size` bytes occupies; 0 if there is no such object. */
static uint32_t cells_of(uint32_t size)
{
    if (size == 0 || size > NAMES_MAX)
        return 0;
    uint32_t n = (size + NAMES_CELL - 1) / NAMES_CELL;
    return n <= CELLS_EXACT ? n : (n + CELLS_STEP - 1) / CELLS_STEP * CELLS_STEP;
}

/* n is a length that cells_of() returns. */
static uint32_t class_of(uint32_t n)
{
    return n <= CELLS_EXACT ? n - 1 : CELLS_EXACT + (n - CELLS_EXACT) / CELLS_STEP - 1;
}

static uint32_t class_cells(uint32_t class)
{
    return class < CELLS_EXACT ? class + 1 : (class - CELLS_EXACT + 1) * CELLS_STEP + CELLS_EXACT;
}

/* Can a run of n cells lie at `handle`? */
static bool is_place(const struct names *h, uint32_t handle, uint32_t n)
{
    uint32_t used = h->cells.used;
    return n > 0 && handle > 0 && handle < used && n <= used - handle &&
           handle % CHUNK_CELLS + n <= CHUNK_CELLS;
}

static void push_run(struct names *h, uint32_t handle, uint32_t n)
{
    uint32_t *head = &h->free_heads[class_of(n)];
    memcpy(table_mut(&h->cells, handle), head, sizeof *head);
    *head = handle;
}

/* Takes the first run of n cells off its list; 0 if there is none. */
static uint32_t pop_run(struct names *h, uint32_t n)
{
    uint32_t *head = &h->free_heads[class_of(n)];
    uint32_t handle = *head;
    /* A stray handle of a damaged store may have written into the list: lose the rest rather than crash. */
    if (!is_place(h, handle, n)) {
        *head = 0;
        return 0;
    }
    uint8_t *run = table_mut(&h->cells, handle);
    memcpy(head, run, sizeof *head);
    memset(run, 0, (size_t)n * NAMES_CELL);
    return handle;
}

/* Puts the cells that were left over at the end of a chunk into the lists, in few runs. */
static void push_gap(struct names *h, uint32_t first, uint32_t n)
{
    while (n > 0) {
        uint32_t run = n <= CELLS_EXACT ? n : n / CELLS_STEP * CELLS_STEP;
        push_run(h, first, run);
        first += run;
        n -= run;
    }
}

int names_init(struct names *h, struct chunk_pool *pool)
{
    *h = (struct names){0};
    return table_init(&h->cells, pool, NAMES_CELL);
}

void names_free(struct names *h)
{
    table_free(&h->cells);
    *h = (struct names){0};
}

void names_need(struct names_need *need, uint32_t size)
{
    uint32_t n = cells_of(size);
    if (n > 0)
        need->n[class_of(n)]++;
}

/* How many of `want` runs the free list lacks. */
static uint32_t lacking(const struct names *h, uint32_t class, uint32_t want)
{
    uint32_t handle = h->free_heads[class];
    for (; want > 0 && is_place(h, handle, class_cells(class)); want--)
        memcpy(&handle, table_get(&h->cells, handle), sizeof handle);
    return want;
}

/* Cells for all objects, or for those that the free lists lack. */
static uint64_t cells_for(const struct names *h, const struct names_need *need, bool all)
{
    uint64_t cells = 0;
    for (uint32_t class = 0; class < NAMES_CLASSES; class ++) {
        uint32_t n = all || need->n[class] == 0 ? need->n[class] : lacking(h, class, need->n[class]);
        cells += (uint64_t)n * (2 * class_cells(class) - 1); /* a gap nearly as long may come before it */
    }
    return cells;
}

int names_reserve(struct names *h, const struct names_need *need)
{
    int r = -EOVERFLOW;
    for (int all = 1; all >= 0 && r == -EOVERFLOW; all--) {
        uint64_t cells = cells_for(h, need, all != 0);
        r = cells > UINT32_MAX ? -EOVERFLOW : table_reserve(&h->cells, (uint32_t)cells);
    }
    return r;
}

uint32_t names_alloc(struct names *h, uint32_t size)
{
    uint32_t n = cells_of(size), gap, gap_n;
    assert(n > 0);
    uint32_t handle = pop_run(h, n);
    if (handle != 0)
        return handle;
    handle = table_alloc_run(&h->cells, n, &gap, &gap_n);
    push_gap(h, gap, gap_n);
    return handle;
}

void names_free_cells(struct names *h, uint32_t handle, uint32_t size)
{
    uint32_t n = cells_of(size);
    if (is_place(h, handle, n))
        push_run(h, handle, n);
}

const void *names_get(const struct names *h, uint32_t handle, uint32_t size)
{
    return is_place(h, handle, cells_of(size)) ? table_get(&h->cells, handle) : NULL;
}

void *names_mut(struct names *h, uint32_t handle, uint32_t size)
{
    return is_place(h, handle, cells_of(size)) ? table_mut(&h->cells, handle) : NULL;
}

int names_freeze(const struct names *h, struct names *view)
{
    struct names v = *h;
    int r = table_freeze(&h->cells, &v.cells);
    if (r < 0)
        return r;
    *view = v;
    return 0;
}

/* Marks the cells of a run; false if one was marked before. */
static bool mark_run(uint8_t *map, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++) {
        uint8_t bit = (uint8_t)(1u << i % 8);
        if (map[i / 8] & bit)
            return false;
        map[i / 8] |= bit;
    }
    return true;
}

/* One list. Runs that overlap are refused, which ends a looping list at its second round. */
static int validate_list(const struct names *h, uint32_t class, uint8_t *map)
{
    uint32_t n = class_cells(class);
    uint32_t handle = h->free_heads[class];
    while (handle != 0) {
        if (!is_place(h, handle, n) || !mark_run(map, handle, n))
            return -EBADMSG;
        memcpy(&handle, table_get(&h->cells, handle), sizeof handle);
    }
    return 0;
}

int names_mark_free(const struct names *h, uint8_t *map)
{
    int r = 0;
    for (uint32_t class = 0; class < NAMES_CLASSES && !r; ++class)
        r = validate_list(h, class, map);
    return r;
}

bool names_mark(const struct names *h, uint32_t handle, uint32_t size, uint8_t *map)
{
    uint32_t n = cells_of(size);
    return is_place(h, handle, n) && mark_run(map, handle, n);
}

int names_validate(const struct names *h)
{
    int r = table_validate_free(&h->cells);
    if (r < 0)
        return r;
    /* The cells keep lists of its own: single cells are never chained by the table. */
    if (h->cells.free_head != 0)
        return -EBADMSG;
    uint8_t *map = calloc((size_t)h->cells.used / 8 + 1, 1);
    if (!map)
        return -ENOMEM;
    r = names_mark_free(h, map);
    free(map);
    return r;
}

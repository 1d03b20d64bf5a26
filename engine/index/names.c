/*
 * names.c - small variable-size objects in runs of 16-byte cells.
 *
 * State: the cell table. A free run has struct free_run in its first cell; the runs of a chunk are chained in
 * it, from metas[c].free_head on, and metas[c].n_free counts their cells. No two runs touch. In memory only:
 * for each chunk whose chain was walked where its runs begin, and for each class of lengths a stack of runs
 * to try. An entry of a stack may be stale: what the bitmap and the run itself say decides. What a stack
 * cannot hold for want of memory is free all the same, and known again after the next opening.
 *
 * Locks: none here, see table.h. */
#include "index/names.h"

#include "base/fault.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CELLS_EXACT 32u /* runs up to this length have a class for each length */
#define CELLS_STEP 8u   /* longer ones one for each multiple of this */
#define CELLS_MAX (NAMES_MAX / NAMES_CELL)
#define CHUNK_CELLS NAMES_CHUNK_CELLS
#define NO_PLACE 0xffffu
#define RUN_TAG 0x6672u    /* "rf" */
#define STALE_MAX 1024u    /* entries of a stack, beyond twice those that are good */
#define TIDY_LOOKS 16u     /* at entries of one that has more, with each that comes or goes */
#define STALE_LOOKS 256u   /* at entries of runs that have grown, for one object */
#define LOOKS 512u         /* at chunks, in a change, for free runs that are not known */
#define LOOKS_OF_WALK 128u /* that the walk of a chain counts for: it takes tens of microseconds */

struct free_run {
    uint16_t next, prev; /* places in the chunk; NO_PLACE */
    uint16_t len;        /* cells */
    uint16_t tag;
};

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

/* The last class whose objects fit into a run of n cells. */
static uint32_t class_of(uint32_t n)
{
    n = MIN_OF(n, CELLS_MAX);
    return n <= CELLS_EXACT + CELLS_STEP - 1 ? MIN_OF(n, CELLS_EXACT) - 1
                                             : CELLS_EXACT + (n - CELLS_EXACT) / CELLS_STEP - 1;
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

/* ---- blocks ----------------------------------------------------------------- */

/* To n blocks of `size` bytes, zeroed. */
static int blocks_grow(struct names_blocks *b, size_t n, size_t size)
{
    if (n <= b->n)
        return 0;
    if (MUTANT(RUNS_DOUBLED))
        n = MAX_OF(n, 2 * b->n);
    int r = array_grow(&b->at, &b->cap, n, sizeof *b->at);
    while (!r && b->n < n) {
        b->at[b->n] = calloc(1, size);
        r = b->at[b->n] ? 0 : -ENOMEM;
        b->n += !r;
    }
    return r;
}

static void blocks_free(struct names_blocks *b)
{
    for (size_t i = 0; i < b->n; i++)
        free(b->at[i]);
    free(b->at);
}

static uint32_t *handle_at(const struct names_class *class, size_t i)
{
    return (uint32_t *)class->handles.at[i / NAMES_STACK_BLOCK] + i % NAMES_STACK_BLOCK;
}

/* ---- the chain of a chunk --------------------------------------------------- */

static bool has_start(const struct names *h, uint32_t c, uint32_t place)
{
    return names_runs(h, c)->starts[place / 64] >> place % 64 & 1;
}

static bool was_met(const struct names *h, uint32_t c, uint32_t place)
{
    return names_runs(h, c)->met[place / 64] >> place % 64 & 1;
}

static void set_bit(uint64_t *map, uint32_t place, bool on)
{
    uint64_t bit = UINT64_C(1) << place % 64;
    map[place / 64] = on ? map[place / 64] | bit : map[place / 64] & ~bit;
}

static void set_met(struct names *h, uint32_t c, uint32_t place, bool on)
{
    set_bit(names_runs(h, c)->met, place, on);
}

static void set_start(struct names *h, uint32_t c, uint32_t place, bool on)
{
    set_bit(names_runs(h, c)->starts, place, on);
    set_met(h, c, place, false);
}

/* The free run at that place; false: there is none that could be. */
static bool run_at(const struct names *h, uint32_t c, uint32_t place, struct free_run *ret_run)
{
    uint32_t handle = c * CHUNK_CELLS + place;
    const void *cell = place < CHUNK_CELLS ? table_get(&h->cells, handle) : NULL;
    if (!cell)
        return false;
    memcpy(ret_run, cell, sizeof *ret_run);
    return ret_run->tag == RUN_TAG && is_place(h, handle, ret_run->len);
}

static void run_put(struct names *h, uint32_t c, uint32_t place, const struct free_run *run)
{
    memcpy(table_mut(&h->cells, c * CHUNK_CELLS + place), run, sizeof *run);
}

/* Whether a free run of that class begins there. */
static bool is_of_class(const struct names *h, uint32_t handle, uint32_t k)
{
    uint32_t c = handle / CHUNK_CELLS, place = handle % CHUNK_CELLS;
    struct free_run run;
    return c < h->cells.n_chunks && has_start(h, c, place) && run_at(h, c, place, &run) &&
           class_of(run.len) == k;
}

/*
 * Looks at a few entries of a stack that has more that are stale than of anything else, and takes those off:
 * in rounds over all, of which every second one takes what it meets twice for stale, too, and the others
 * forget what was met. So no call takes longer than others, however large the stack is. */
static void tidy(struct names *h, uint32_t k)
{
    struct names_class *class = &h->classes[k];
    for (size_t left = MUTANT(TIDIED_AT_ONCE) ? 4 * class->n : TIDY_LOOKS; left > 0 && class->n > 0; left--) {
        if (class->at >= class->n) {
            class->at = 0;
            class->takes_off = !class->takes_off;
        }
        uint32_t handle = *handle_at(class, class->at), c = handle / CHUNK_CELLS,
                 place = handle % CHUNK_CELLS;
        bool good = is_of_class(h, handle, k);
        if (class->takes_off && (!good || was_met(h, c, place))) {
            *handle_at(class, class->at) = *handle_at(class, --class->n);
            continue;
        }
        if (good)
            set_met(h, c, place, class->takes_off);
        class->at++;
    }
}

static void tidy_if_stale(struct names *h, uint32_t k)
{
    if (h->classes[k].n > STALE_MAX + 2 * (size_t)h->classes[k].n_runs)
        tidy(h, k);
}

static void remember(struct names *h, uint32_t handle, uint32_t n)
{
    uint32_t k = class_of(n);
    struct names_class *class = &h->classes[k];
    tidy_if_stale(h, k);
    if (blocks_grow(&class->handles, class->n / NAMES_STACK_BLOCK + 1, NAMES_STACK_BLOCK * sizeof handle) ==
        0) {
        *handle_at(class, class->n++) = handle;
        class->n_runs++;
    }
}

/* A run that was free is not any more, or has another length. */
static void forget(struct names *h, uint32_t n)
{
    uint32_t k = class_of(n);
    h->classes[k].n_runs -= h->classes[k].n_runs > 0;
    tidy_if_stale(h, k);
}

static void forget_chunk(struct names *h, uint32_t c)
{
    struct free_run run;
    for (uint32_t w = 0; w < CHUNK_CELLS / 64; w++) {
        for (uint64_t left = names_runs(h, c)->starts[w]; left; left &= left - 1) {
            if (run_at(h, c, w * 64 + (uint32_t)__builtin_ctzll(left), &run))
                forget(h, run.len);
            else
                for (uint32_t k = 0; k < NAMES_CLASSES; k++) /* it may have been one of any */
                    forget(h, class_cells(k));
        }
    }
    memset(names_runs(h, c)->starts, 0, sizeof names_runs(h, c)->starts);
}

/* A stray reference of a damaged store has written into the chain: its cells are lost rather than used
 * twice. */
static void lose_chain(struct names *h, uint32_t c)
{
    forget_chunk(h, c);
    table_note_free(&h->cells, c, -(int32_t)h->cells.metas[c].n_free);
}

/* Walks the chain of chunk c for the first time; of one that cannot be had nothing is known then. */
static void get_to_know(struct names *h, uint32_t c)
{
    const struct table_meta *m = &h->cells.metas[c];
    struct free_run run;
    uint32_t place = m->free_head, n = 0;
    if (names_runs(h, c)->known || !table_chunk(&h->cells, c))
        return;
    memset(names_runs(h, c)->starts, 0, sizeof names_runs(h, c)->starts);
    names_runs(h, c)->known = true;
    if (m->n_free == 0)
        return;
    for (; place != NO_PLACE && n < m->n_free; place = run.next) {
        if (!run_at(h, c, place, &run) || has_start(h, c, place))
            break;
        set_start(h, c, place, true);
        remember(h, c * CHUNK_CELLS + place, run.len);
        n += run.len;
    }
    if (n != m->n_free || place != NO_PLACE)
        lose_chain(h, c);
}

/* Has chunk c free runs that are not known? */
static bool may_know(const struct names *h, uint32_t c)
{
    return h->cells.metas[c].n_free > 0 && !names_runs(h, c)->known && h->cells.states[c] != TABLE_DROPPED;
}

static void link_run(struct names *h, uint32_t c, uint32_t place, uint32_t n)
{
    struct table_meta *m = &h->cells.metas[c];
    struct free_run run = {.next = m->n_free ? m->free_head : NO_PLACE,
                           .prev = NO_PLACE,
                           .len = (uint16_t)n,
                           .tag = RUN_TAG},
                    next;
    if (run.next != NO_PLACE && run_at(h, c, run.next, &next)) {
        next.prev = (uint16_t)place;
        run_put(h, c, run.next, &next);
    }
    run_put(h, c, place, &run);
    m->free_head = (uint16_t)place;
    set_start(h, c, place, true);
    table_note_free(&h->cells, c, (int32_t)n);
    remember(h, c * CHUNK_CELLS + place, n);
}

/* Takes the run at `place` out of its chain. False: the chain was damaged, and is lost. */
static bool unlink_run(struct names *h, uint32_t c, uint32_t place, const struct free_run *run)
{
    struct table_meta *m = &h->cells.metas[c];
    struct free_run next, prev;
    bool has_next = run->next != NO_PLACE, has_prev = run->prev != NO_PLACE;
    if ((has_next && (!run_at(h, c, run->next, &next) || next.prev != place)) ||
        (has_prev ? !run_at(h, c, run->prev, &prev) || prev.next != place : m->free_head != place) ||
        m->n_free < run->len) {
        lose_chain(h, c);
        return false;
    }
    if (has_next) {
        next.prev = run->prev;
        run_put(h, c, run->next, &next);
    }
    if (has_prev) {
        prev.next = run->next;
        run_put(h, c, run->prev, &prev);
    } else {
        m->free_head = run->next;
    }
    set_start(h, c, place, false);
    forget(h, run->len);
    table_note_free(&h->cells, c, -(int32_t)run->len);
    return true;
}

/* Makes [place, place + n) free, joined with the runs that touch it. */
static void add_free(struct names *h, uint32_t c, uint32_t place, uint32_t n)
{
    struct free_run run;
    if (place + n < CHUNK_CELLS && has_start(h, c, place + n) && run_at(h, c, place + n, &run) &&
        unlink_run(h, c, place + n, &run))
        n += run.len;
    uint32_t w = place / 64;
    uint64_t below = names_runs(h, c)->starts[w] & ((UINT64_C(1) << place % 64) - 1);
    while (!below && w > 0)
        below = names_runs(h, c)->starts[--w];
    uint32_t before = below ? w * 64 + 63 - (uint32_t)__builtin_clzll(below) : 0;
    if (below && run_at(h, c, before, &run) && before + run.len == place && unlink_run(h, c, before, &run)) {
        place = before;
        n += run.len;
    }
    link_run(h, c, place, n);
}

/* ---- objects ------------------------------------------------------------------ */

/* Of so many chunks. */
static int reserve_runs(struct names *h, uint32_t n)
{
    return blocks_grow(&h->runs, (n + NAMES_RUNS_BLOCK - 1) / NAMES_RUNS_BLOCK,
                       NAMES_RUNS_BLOCK * sizeof(struct names_runs));
}

int names_init(struct names *h, struct chunk_pool *pool)
{
    *h = (struct names){0};
    int r = table_init(&h->cells, pool, NAMES_CELL);
    if (!r) {
        table_own_chains(&h->cells);
        r = reserve_runs(h, h->cells.n_chunks);
    }
    return r;
}

void names_free(struct names *h)
{
    table_free(&h->cells);
    for (unsigned i = 0; i < NAMES_CLASSES; i++)
        blocks_free(&h->classes[i].handles);
    blocks_free(&h->runs);
    *h = (struct names){0};
}

void names_need(struct names_need *need, uint32_t size)
{
    uint32_t n = cells_of(size);
    if (n == 0)
        return;
    need->n[class_of(n)]++;
    need->cells += 2 * n - 1; /* a gap nearly as long may come before it */
}

/*
 * Whether free runs have room for all of them, in whatever order they come: each finds a run of its own
 * class, or else the largest of them would fit for each into what is left of some longer run, or of a dropped
 * chunk. */
static bool fits(struct names *h, const struct names_need *need)
{
    const struct table *t = &h->cells;
    uint32_t largest = 0;
    uint64_t wanted = 0, places = 0;
    bool own = true;
    for (uint32_t c = 0; c < t->n_chunks; c++)
        if (may_know(h, c))
            get_to_know(h, c);
    for (uint32_t k = 0; k < NAMES_CLASSES; k++) {
        wanted += need->n[k];
        own = own && need->n[k] <= h->classes[k].n_runs;
        largest = need->n[k] ? class_cells(k) : largest;
    }
    for (uint32_t k = 0; k < NAMES_CLASSES && largest; k++)
        places += (uint64_t)h->classes[k].n_runs * (class_cells(k) / largest);
    for (uint32_t c = 0; c < t->n_chunks && places < wanted; c++)
        places += t->states[c] == TABLE_DROPPED ? t->metas[c].n_free / largest : 0;
    return own || places >= wanted;
}

int names_reserve(struct names *h, const struct names_need *need)
{
    uint64_t cells = need->cells;
    uint32_t room = h->cells.limit - h->cells.used;
    if (cells > room && !fits(h, need))
        return -EOVERFLOW;
    cells = MIN_OF(cells, room);
    int r = table_reserve(&h->cells, (uint32_t)cells);
    h->looks = LOOKS;
    return r ? r : reserve_runs(h, (uint32_t)((h->cells.used + cells + CHUNK_CELLS - 1) / CHUNK_CELLS));
}

int names_loaded(struct names *h)
{
    for (size_t i = 0; i < h->runs.n; i++)
        memset(h->runs.at[i], 0, NAMES_RUNS_BLOCK * sizeof(struct names_runs));
    int r = reserve_runs(h, h->cells.n_chunks);
    for (uint32_t k = 0; k < NAMES_CLASSES; k++)
        h->classes[k] = (struct names_class){.handles = h->classes[k].handles};
    h->asked = 0;
    h->all_known = h->passed_by = false;
    return r;
}

/*
 * Takes n cells of a free run that is known; 0: no such run fits. A run that has grown has an entry among
 * those of its length, too: taken by its old ones, short names would go into each empty chunk rather than
 * into one. */
static uint32_t take_known(struct names *h, uint32_t n)
{
    struct free_run run;
    unsigned looks = MUTANT(GROWN_TAKEN) ? 0 : STALE_LOOKS;
    for (uint32_t k = class_of(n); k < NAMES_CLASSES; k++) {
        struct names_class *class = &h->classes[k];
        if (class->n_runs == 0 && !MUTANT(GROWN_TAKEN))
            class->n = 0; /* all are stale */
        while (class->n > 0) {
            uint32_t handle = *handle_at(class, --class->n), c = handle / CHUNK_CELLS,
                     place = handle % CHUNK_CELLS;
            if (c >= h->cells.n_chunks || !has_start(h, c, place) || !run_at(h, c, place, &run) ||
                run.len < n)
                continue;
            if (looks > 0 && class_of(run.len) != k) {
                looks--;
                continue;
            }
            if (!unlink_run(h, c, place, &run))
                continue;
            if (run.len > n)
                link_run(h, c, place + n, run.len - n);
            memset(table_mut_run(&h->cells, handle, n), 0, (size_t)n * NAMES_CELL);
            return handle;
        }
    }
    return 0;
}

/*
 * Makes the free runs of one more chunk known, round after round until those of all are. Everybody waits
 * meanwhile, so a change looks at few chunks, and at none that had to be fetched: whoever loads the table
 * brings it, and a later round finds it. False: it has found none. */
static bool know_another(struct names *h)
{
    const struct table *t = &h->cells;
    while (!h->all_known && h->looks > 0) {
        if (h->asked >= t->n_chunks) {
            h->all_known = !h->passed_by;
            h->passed_by = false;
            h->asked = 0;
            continue;
        }
        uint32_t c = h->asked++;
        h->looks--;
        if (!may_know(h, c))
            continue;
        if (!table_is_here(t, c) && !MUTANT(NAMES_FETCHED)) {
            h->passed_by = true;
            continue;
        }
        h->looks -= MIN_OF(h->looks, MUTANT(NAMES_WALKED) ? 0 : LOOKS_OF_WALK);
        get_to_know(h, c);
        return true;
    }
    return false;
}

/* Brings the first chunk back that was dropped. False: none was. */
static bool revive_one(struct names *h)
{
    uint32_t c = table_first_dropped(&h->cells), first = c == 0;
    if (c == h->cells.n_chunks)
        return false;
    uint32_t n = h->cells.metas[c].n_free;
    table_revive(&h->cells, c);
    *names_runs(h, c) = (struct names_runs){.known = true};
    link_run(h, c, first, n);
    return true;
}

uint32_t names_alloc(struct names *h, uint32_t size)
{
    uint32_t n = cells_of(size), gap, gap_n, handle;
    assert(n > 0);
    do {
        handle = take_known(h, n);
    } while (!handle && (know_another(h) || revive_one(h)));
    if (handle)
        return handle;
    handle = table_alloc_run(&h->cells, n, &gap, &gap_n);
    get_to_know(h, handle / CHUNK_CELLS); /* nothing is known yet of one that was loaded, or is new */
    if (gap_n) {
        get_to_know(h, gap / CHUNK_CELLS);
        add_free(h, gap / CHUNK_CELLS, gap % CHUNK_CELLS, gap_n);
    }
    return handle;
}

void names_free_cells(struct names *h, uint32_t handle, uint32_t size)
{
    uint32_t n = cells_of(size), c = handle / CHUNK_CELLS;
    if (!is_place(h, handle, n) || h->cells.states[c] == TABLE_DROPPED)
        return;
    get_to_know(h, c);
    add_free(h, c, handle % CHUNK_CELLS, n);
}

size_t names_drop_empty(struct names *h, size_t max)
{
    uint32_t c;
    while ((c = table_first_empty(&h->cells)) < h->cells.n_chunks && max-- > 0) {
        forget_chunk(h, c);
        names_runs(h, c)->known = false;
        table_drop(&h->cells, c);
    }
    table_cut_dropped(&h->cells);
    return c < h->cells.n_chunks;
}

const void *names_get(const struct names *h, uint32_t handle, uint32_t size)
{
    return is_place(h, handle, cells_of(size)) ? table_get(&h->cells, handle) : NULL;
}

void *names_mut(struct names *h, uint32_t handle, uint32_t size)
{
    uint32_t n = cells_of(size);
    return is_place(h, handle, n) ? table_mut_run(&h->cells, handle, n) : NULL;
}

int names_freeze(const struct names *h, struct table_room *room, struct names *view)
{
    struct names v = {0};
    int r = table_freeze_in(&h->cells, room, &v.cells);
    if (r < 0)
        return r;
    *view = v;
    return 0;
}

/* ---- checking --------------------------------------------------------------------- */

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

/* Marks the cells of free runs, which may have places from `first` to `end`. */
static int mark_runs(const struct table_meta *m, const uint8_t *chunk, uint32_t first, uint32_t end,
                     uint8_t *map)
{
    uint32_t n = 0, before = NO_PLACE;
    struct free_run run;
    for (uint32_t place = m->free_head; place != NO_PLACE; before = place, place = run.next) {
        if (place < first || place >= end)
            return -EBADMSG;
        memcpy(&run, chunk + (size_t)place * NAMES_CELL, sizeof run);
        if (run.tag != RUN_TAG || !run.len || run.len > end - place || run.prev != before ||
            !mark_run(map, place, run.len))
            return -EBADMSG;
        n += run.len;
    }
    return n == m->n_free ? 0 : -EBADMSG;
}

/* How many cells of chunk c were handed out. */
static uint32_t end_of(uint32_t used, uint32_t c)
{
    return used <= c * CHUNK_CELLS ? 0 : MIN_OF(used - c * CHUNK_CELLS, CHUNK_CELLS);
}

/* Marks the free cells of chunk c, as places in it; -EBADMSG: what is free there is not as it should be. */
static int mark_chunk(const struct names *h, uint32_t c, uint8_t *map)
{
    const struct table_meta *m = &h->cells.metas[c];
    if (m->n_free == 0)
        return 0;
    if (h->cells.states[c] == TABLE_DROPPED)
        return mark_run(map, c == 0, m->n_free) ? 0 : -EBADMSG;
    const uint8_t *chunk = table_chunk(&h->cells, c);
    return chunk ? mark_runs(m, chunk, c == 0, end_of(h->cells.used, c), map) : -EBADMSG;
}

int names_check_chunk(const struct table_meta *m, uint32_t used, uint32_t c, const uint8_t *chunk)
{
    uint8_t map[CHUNK_CELLS / 8] = {0};
    return m->n_free ? mark_runs(m, chunk, c == 0, end_of(used, c), map) : 0;
}

int names_mark_free(const struct names *h, uint8_t *map)
{
    int r = 0;
    for (uint32_t c = 0; c < h->cells.n_chunks && !r; c++)
        r = mark_chunk(h, c, map + (size_t)c * (CHUNK_CELLS / 8));
    return r;
}

bool names_mark(const struct names *h, uint32_t handle, uint32_t size, uint8_t *map)
{
    uint32_t n = cells_of(size);
    return is_place(h, handle, n) && mark_run(map, handle, n);
}

static int validate_chunk(const struct names *h, uint32_t c)
{
    uint8_t map[CHUNK_CELLS / 8] = {0};
    return mark_chunk(h, c, map);
}

void names_mend(struct names *h)
{
    for (uint32_t c = 0; c < h->cells.n_chunks; c++)
        if (validate_chunk(h, c) != 0)
            table_lose_chain(&h->cells, c);
}

int names_validate(const struct names *h)
{
    int r = table_validate_free(&h->cells);
    for (uint32_t c = 0; c < h->cells.n_chunks && !r; c++)
        r = validate_chunk(h, c);
    return r;
}

int names_adopt_v1(struct names *h, const uint32_t free_heads[NAMES_CLASSES])
{
    uint64_t left = h->cells.used; /* a list that is longer has a loop */
    for (uint32_t k = 0; k < NAMES_CLASSES; k++) {
        for (uint32_t handle = free_heads[k], next; handle; handle = next) {
            uint32_t n = class_cells(k), c = handle / CHUNK_CELLS, place = handle % CHUNK_CELLS;
            if (!is_place(h, handle, n) || left-- == 0 || chunk_pool_reserve(h->cells.pool, 1) != 0)
                return -EBADMSG;
            memcpy(&next, table_get(&h->cells, handle), sizeof next);
            names_runs(h, c)->known = true;
            add_free(h, c, place, n);
        }
    }
    return names_validate(h);
}

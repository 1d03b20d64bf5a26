/*
 * table.c - chunked record arrays, their chunk pool, and the clock of freezes.
 *
 * State: the pool owns slabs of address space, cut into chunks. A chunk is at any time exactly one of: clean
 * (zero, no memory behind it), dirty (used before, idle), taken by a live table, or buried (replaced by a
 * copy, but seen by a living freeze). The period clock starts at 1; chunk_pool_freeze() returns it and steps
 * it, so that a chunk with birth b that was replaced in period d is what freeze f saw if and only if b <= f <
 * d.
 *
 * Locks: none here, see table.h. */
#include "index/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#endif
#ifdef POOL_ASAN
#include <sanitizer/asan_interface.h>
#endif

/* Slabs are as large and aligned as a huge page: the index is read at random, and TLB misses are most of the
 * cost. */
#define SLAB_SIZE ((size_t)2 << 20)
#define SLAB_CHUNKS (SLAB_SIZE / TABLE_CHUNK_SIZE)
/*
 * Idle dirty chunks kept for the next copies: so many, and a 16th of those in use. Copying to memory that is
 * there is twice as fast as faulting it in. */
#define DIRTY_KEEP 64
#define DIRTY_KEEP_SHARE 16
#define WARM_MAX 1024
struct grave {
    uint8_t *chunk;
    uint64_t birth, death;
};

struct chunk_pool {
    uint64_t clock;   /* the current period: birth of what is written now */
    uint64_t *living; /* living freezes, ascending; all below clock */
    size_t n_living, cap_living;
    uint8_t **slabs;
    size_t n_slabs, cap_slabs;
    /* Each has room for all chunks (cap_slabs * SLAB_CHUNKS), so that moving a chunk between states never
     * fails. */
    uint8_t **clean, **dirty;
    struct grave *graves;
    size_t n_clean, n_dirty, n_graves;
    size_t n_taken;
    size_t promised; /* chunks that may still be taken after the last chunk_pool_reserve() */
    uint64_t overdrafts;
};

/* ---- memory of chunks --------------------------------------------------- */

/* Under ASan idle chunks are poisoned, so that a view read after its thaw is noticed. */
static void chunk_hide(uint8_t *chunk, size_t size)
{
#ifdef POOL_ASAN
    ASAN_POISON_MEMORY_REGION(chunk, size);
#else
    (void)chunk;
    (void)size;
#endif
}

static void chunk_show(uint8_t *chunk, size_t size)
{
#ifdef POOL_ASAN
    ASAN_UNPOISON_MEMORY_REGION(chunk, size);
#else
    (void)chunk;
    (void)size;
#endif
}

static uint8_t *map_anon(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* A mapping aligned to its size. Successive mappings are mostly adjacent, so the plain try mostly
 * succeeds. */
static uint8_t *map_slab(void)
{
    uint8_t *p = map_anon(SLAB_SIZE);
    if (!p || !((uintptr_t)p % SLAB_SIZE))
        return p;
    (void)munmap(p, SLAB_SIZE);
    p = map_anon(2 * SLAB_SIZE);
    if (!p)
        return NULL;
    size_t head = (SLAB_SIZE - (uintptr_t)p % SLAB_SIZE) % SLAB_SIZE;
    if (head > 0)
        (void)munmap(p, head);
    (void)munmap(p + head + SLAB_SIZE, SLAB_SIZE - head);
    return p + head;
}

/* realloc() of an array to n elements; the array stays as it was on failure. */
static int grow_array(void *array_ptr, size_t n, size_t elem_size)
{
    void *old, *grown;
    size_t bytes;
    if (__builtin_mul_overflow(n, elem_size, &bytes))
        return -ENOMEM;
    memcpy(&old, array_ptr, sizeof old);
    grown = realloc(old, bytes);
    if (!grown)
        return -ENOMEM;
    memcpy(array_ptr, &grown, sizeof grown);
    /* cppcheck-suppress memleak; it went through array_ptr */
    return 0;
}

static int pool_grow_arrays(struct chunk_pool *pool)
{
    if (pool->n_slabs < pool->cap_slabs)
        return 0;
    size_t cap = pool->cap_slabs == 0 ? 4 : pool->cap_slabs * 2;
    size_t chunks = cap * SLAB_CHUNKS;
    if (grow_array(&pool->slabs, cap, sizeof *pool->slabs) < 0 ||
        grow_array(&pool->clean, chunks, sizeof *pool->clean) < 0 ||
        grow_array(&pool->dirty, chunks, sizeof *pool->dirty) < 0 ||
        grow_array(&pool->graves, chunks, sizeof *pool->graves) < 0)
        return -ENOMEM;
    pool->cap_slabs = cap;
    return 0;
}

static int pool_add_slab(struct chunk_pool *pool)
{
    if (pool_grow_arrays(pool) < 0)
        return -ENOMEM;
    uint8_t *slab = map_slab();
    if (!slab)
        return -ENOMEM;
    (void)madvise(slab, SLAB_SIZE, MADV_HUGEPAGE); /* a hint: kernels without huge pages refuse it */
    pool->slabs[pool->n_slabs++] = slab;
    for (size_t i = SLAB_CHUNKS; i-- > 0;) /* the lowest is on top of the stack */
        pool->clean[pool->n_clean++] = slab + i * TABLE_CHUNK_SIZE;
    chunk_hide(slab, SLAB_SIZE);
    return 0;
}

bool chunk_pool_is_cold(const struct chunk_pool *pool)
{
    return pool->n_dirty < WARM_MAX && pool->n_dirty < pool->n_taken / 4;
}

size_t chunk_pool_lend(struct chunk_pool *pool, uint8_t **ret_chunks, size_t max)
{
    size_t n = 0;
    if (pool->n_clean == 0)
        (void)pool_add_slab(pool);
    while (n < max && pool->n_clean > 0) {
        ret_chunks[n] = pool->clean[--pool->n_clean];
        chunk_show(ret_chunks[n++], TABLE_CHUNK_SIZE);
    }
    return n;
}

void chunk_pool_give_back(struct chunk_pool *pool, uint8_t *const *chunks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        chunk_hide(chunks[i], TABLE_CHUNK_SIZE);
        pool->dirty[pool->n_dirty++] = chunks[i];
    }
}

/* Makes n chunks idle, whatever was promised. */
static int pool_have(struct chunk_pool *pool, size_t n)
{
    while (pool->n_clean + pool->n_dirty < n)
        if (pool_add_slab(pool) < 0)
            return -ENOMEM;
    return 0;
}

/* Cannot fail after pool_have(). Without `zeroed` the contents are undefined. */
static uint8_t *pool_take(struct chunk_pool *pool, bool zeroed)
{
    /* More than was reserved: a mistake of the caller, which tests look for (image/self_check.h). Want of
     * memory alone does not lead here. */
    if (pool->n_clean + pool->n_dirty == 0)
        (void)pool_add_slab(pool);
    assert(pool->n_clean + pool->n_dirty > 0);
    pool->n_taken++;
    bool use_dirty = pool->n_dirty > 0 && (!zeroed || pool->n_clean == 0);
    uint8_t *chunk = use_dirty ? pool->dirty[--pool->n_dirty] : pool->clean[--pool->n_clean];
    chunk_show(chunk, TABLE_CHUNK_SIZE);
    if (use_dirty && zeroed)
        memset(chunk, 0, TABLE_CHUNK_SIZE);
    return chunk;
}

/* The same within a change that reserved its chunks. */
static uint8_t *pool_take_promised(struct chunk_pool *pool, bool zeroed)
{
    if (pool->promised > 0)
        pool->promised--;
    else
        pool->overdrafts++;
    return pool_take(pool, zeroed);
}

static void pool_idle(struct chunk_pool *pool, uint8_t *chunk)
{
    chunk_hide(chunk, TABLE_CHUNK_SIZE);
    pool->dirty[pool->n_dirty++] = chunk;
}

int chunk_pool_new(struct chunk_pool **ret_pool)
{
    struct chunk_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return -ENOMEM;
    pool->clock = 1;
    *ret_pool = pool;
    return 0;
}

void chunk_pool_free(struct chunk_pool *pool)
{
    if (!pool)
        return;
    for (size_t i = 0; i < pool->n_slabs; i++) {
        chunk_show(pool->slabs[i], SLAB_SIZE);
        (void)munmap(pool->slabs[i], SLAB_SIZE);
    }
    free(pool->slabs);
    free(pool->clean);
    free(pool->dirty);
    free(pool->graves);
    free(pool->living);
    free(pool);
}

int chunk_pool_reserve(struct chunk_pool *pool, size_t n)
{
    if (pool_have(pool, n) < 0)
        return -ENOMEM;
    pool->promised = n;
    return 0;
}

uint64_t chunk_pool_bytes(const struct chunk_pool *pool)
{
    return (uint64_t)(pool->n_taken + pool->n_graves + pool->n_dirty) * TABLE_CHUNK_SIZE;
}

uint64_t chunk_pool_live_bytes(const struct chunk_pool *pool)
{
    return (uint64_t)pool->n_taken * TABLE_CHUNK_SIZE;
}

uint64_t chunk_pool_overdrafts(const struct chunk_pool *pool)
{
    return pool->overdrafts;
}

size_t chunk_pool_trim(struct chunk_pool *pool, size_t max)
{
    size_t keep = DIRTY_KEEP + pool->n_taken / DIRTY_KEEP_SHARE;
    while (pool->n_dirty > keep && max-- > 0) {
        uint8_t *chunk = pool->dirty[--pool->n_dirty];
        if (madvise(chunk, TABLE_CHUNK_SIZE, MADV_DONTNEED) < 0) {
            /* Locked memory cannot be given back: zero it, so that at least the promise of clean holds. */
            chunk_show(chunk, TABLE_CHUNK_SIZE);
            memset(chunk, 0, TABLE_CHUNK_SIZE);
            chunk_hide(chunk, TABLE_CHUNK_SIZE);
        }
        pool->clean[pool->n_clean++] = chunk;
    }
    return pool->n_dirty > keep ? pool->n_dirty - keep : 0;
}

/* ---- freezes ------------------------------------------------------------ */

/* Does any living freeze f see a chunk of [birth, death), that is, birth <= f < death? */
static bool pool_seen(const struct chunk_pool *pool, uint64_t birth, uint64_t death)
{
    size_t lo = 0, hi = pool->n_living;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (pool->living[mid] < birth)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < pool->n_living && pool->living[lo] < death;
}

/* The same for a chunk that is replaced now: every living freeze is older than the clock. */
static bool pool_seen_now(const struct chunk_pool *pool, uint64_t birth)
{
    return pool->n_living > 0 && pool->living[pool->n_living - 1] >= birth;
}

/* A live table lets go of a chunk. */
static void pool_release(struct chunk_pool *pool, uint8_t *chunk, uint64_t birth)
{
    pool->n_taken--;
    if (pool_seen_now(pool, birth))
        pool->graves[pool->n_graves++] = (struct grave){.chunk = chunk, .birth = birth, .death = pool->clock};
    else
        pool_idle(pool, chunk);
}

uint64_t chunk_pool_freeze(struct chunk_pool *pool)
{
    if (pool->n_living == pool->cap_living) {
        size_t cap = pool->cap_living == 0 ? 16 : pool->cap_living * 2;
        if (grow_array(&pool->living, cap, sizeof *pool->living) < 0)
            return 0;
        pool->cap_living = cap;
    }
    pool->living[pool->n_living++] = pool->clock;
    return pool->clock++;
}

bool chunk_pool_frozen(const struct chunk_pool *pool)
{
    return pool->n_living > 0;
}

void chunk_pool_thaw(struct chunk_pool *pool, uint64_t freeze)
{
    size_t at = 0;
    while (at < pool->n_living && pool->living[at] != freeze)
        at++;
    assert(freeze == 0 || at < pool->n_living);
    if (at == pool->n_living)
        return;
    memmove(pool->living + at, pool->living + at + 1, (pool->n_living - at - 1) * sizeof *pool->living);
    pool->n_living--;

    size_t kept = 0;
    for (size_t i = 0; i < pool->n_graves; i++) {
        struct grave g = pool->graves[i];
        if (pool_seen(pool, g.birth, g.death))
            pool->graves[kept++] = g;
        else
            pool_idle(pool, g.chunk);
    }
    pool->n_graves = kept;
}

/* ---- tables ------------------------------------------------------------- */

static uint32_t chunk_records(const struct table *t)
{
    return 1u << t->chunk_shift;
}

/* Address of record i in its chunk, without any check. */
static uint8_t *record_at(const struct table *t, uint32_t i)
{
    return t->chunks[i >> t->chunk_shift] + ((size_t)(i & (chunk_records(t) - 1)) << t->record_shift);
}

/* Room for n chunks in the arrays. */
static int table_grow_arrays(struct table *t, uint32_t n)
{
    if (n <= t->cap_chunks)
        return 0;
    uint32_t cap = t->cap_chunks > UINT32_MAX / 2 ? n : t->cap_chunks * 2;
    if (cap < n)
        cap = n;
    if (cap < 8)
        cap = 8;
    if (grow_array(&t->chunks, cap, sizeof *t->chunks) < 0 ||
        grow_array(&t->births, cap, sizeof *t->births) < 0 || grow_array(&t->refs, cap, sizeof *t->refs) < 0)
        return -ENOMEM;
    t->cap_chunks = cap;
    return 0;
}

static void table_push_chunk(struct table *t, uint8_t *chunk, uint64_t birth)
{
    assert(t->n_chunks < t->cap_chunks); /* table_reserve() was forgotten */
    t->chunks[t->n_chunks] = chunk;
    t->births[t->n_chunks] = birth;
    t->refs[t->n_chunks] = (struct chunk_ref){0};
    t->n_chunks++;
}

int table_init(struct table *t, struct chunk_pool *pool, uint32_t record_size)
{
    assert(record_size >= 4 && record_size <= TABLE_CHUNK_SIZE && (record_size & (record_size - 1)) == 0);
    *t = (struct table){.pool = pool, .record_size = record_size, .used = 1, .limit = UINT32_MAX};
    t->record_shift = (uint8_t)__builtin_ctz(record_size);
    t->chunk_shift = (uint8_t)(__builtin_ctz(TABLE_CHUNK_SIZE) - t->record_shift);
    /* One more than promised, so that a reservation of the caller stays whole. */
    if (table_grow_arrays(t, 1) < 0 || pool_have(pool, pool->promised + 1) < 0) {
        t->used = 0;
        table_free(t);
        return -ENOMEM;
    }
    table_push_chunk(t, pool_take(pool, true), pool->clock);
    return 0;
}

static void table_drop_chunks(struct table *t)
{
    for (uint32_t c = 0; c < t->n_chunks; c++)
        pool_release(t->pool, t->chunks[c], t->births[c]);
    t->n_chunks = 0;
    t->used = 0;
}

void table_free(struct table *t)
{
    if (!t->frozen)
        table_drop_chunks(t);
    free(t->chunks);
    free(t->births);
    free(t->refs);
    *t = (struct table){0};
}

int table_reserve(struct table *t, uint32_t n)
{
    assert(!t->frozen);
    /* Freed records count only at the very end: in a damaged store their chain may break, see
     * table_alloc(). */
    uint64_t used = (uint64_t)t->used + n;
    if (used > t->limit) {
        if (n > t->n_free && (uint64_t)t->used + (n - t->n_free) > t->limit)
            return -EOVERFLOW;
        used = t->limit;
    }
    uint64_t chunks = (used + chunk_records(t) - 1) >> t->chunk_shift;
    return table_grow_arrays(t, (uint32_t)chunks);
}

/* Makes chunk c one that is written in the current period. Kept out of line: table_mut() seldom needs it. */
static __attribute__((noinline)) void table_renew(struct table *t, uint32_t c)
{
    struct chunk_pool *pool = t->pool;
    if (pool_seen_now(pool, t->births[c])) {
        uint8_t *copy = pool_take_promised(pool, false);
        memcpy(copy, t->chunks[c], TABLE_CHUNK_SIZE);
        pool_release(pool, t->chunks[c], t->births[c]);
        t->chunks[c] = copy;
    }
    t->births[c] = pool->clock;
}

void *table_mut(struct table *t, uint32_t i)
{
    assert(!t->frozen && i != 0 && i < t->used);
    uint32_t c = i >> t->chunk_shift;
    if (t->births[c] != t->pool->clock)
        table_renew(t, c);
    return record_at(t, i);
}

/* The next n unused records, which lie in one chunk (the last or a new one), zeroed. */
static uint32_t table_append(struct table *t, uint32_t n)
{
    assert(!t->frozen && t->used <= UINT32_MAX - n);
    uint32_t i = t->used;
    if (i >> t->chunk_shift == t->n_chunks)
        table_push_chunk(t, pool_take_promised(t->pool, true), t->pool->clock);
    t->used += n;
    /* Beyond `used` a loaded chunk need not be zero, whatever the format says (I10). */
    memset(table_mut(t, i), 0, (size_t)n << t->record_shift);
    return i;
}

uint32_t table_alloc(struct table *t)
{
    uint32_t i = t->free_head;
    /* A stray reference of a damaged store may have written into the chain: lose records rather than
     * crash. */
    if (i == 0 || i >= t->used || t->n_free == 0) {
        t->free_head = 0;
        t->n_free = 0;
        return table_append(t, 1);
    }
    uint8_t *record = table_mut(t, i);
    memcpy(&t->free_head, record, sizeof t->free_head);
    t->n_free--;
    memset(record, 0, t->record_size);
    return i;
}

void table_free_record(struct table *t, uint32_t i)
{
    memcpy(table_mut(t, i), &t->free_head, sizeof t->free_head);
    t->free_head = i;
    t->n_free++;
}

uint32_t table_alloc_run(struct table *t, uint32_t n, uint32_t *ret_gap, uint32_t *ret_gap_n)
{
    assert(n > 0 && n <= chunk_records(t));
    uint32_t room = -t->used & (chunk_records(t) - 1); /* unused records of the last chunk */
    *ret_gap = t->used;
    *ret_gap_n = 0;
    if (room > 0 && room < n) {
        *ret_gap_n = room;
        t->used += room;
    }
    return table_append(t, n);
}

int table_freeze(const struct table *t, struct table *view)
{
    struct table v = *t;
    v.frozen = true;
    v.chunks = NULL;
    v.births = NULL;
    v.refs = NULL;
    v.n_chunks = v.cap_chunks = 0;
    if (table_grow_arrays(&v, t->n_chunks) < 0) {
        table_free(&v);
        return -ENOMEM;
    }
    v.n_chunks = t->n_chunks;
    if (t->n_chunks > 0) { /* else there are no arrays: a table that is zeroed, not initialised */
        memcpy(v.chunks, t->chunks, t->n_chunks * sizeof *t->chunks);
        memcpy(v.births, t->births, t->n_chunks * sizeof *t->births);
        memcpy(v.refs, t->refs, t->n_chunks * sizeof *t->refs);
    }
    *view = v;
    return 0;
}

uint32_t table_chunk_len(const struct table *t, uint32_t c)
{
    uint64_t first = (uint64_t)c << t->chunk_shift;
    if (first >= t->used)
        return 0;
    uint64_t n = t->used - first;
    return n >= chunk_records(t) ? TABLE_CHUNK_SIZE : (uint32_t)(n << t->record_shift);
}

int table_load_begin(struct table *t, uint32_t n_chunks)
{
    assert(!t->frozen);
    if (n_chunks == 0 || (uint64_t)n_chunks << t->chunk_shift > UINT64_C(1) << 32)
        return -EBADMSG;
    if (table_grow_arrays(t, n_chunks) < 0 || pool_have(t->pool, t->pool->promised + n_chunks) < 0)
        return -ENOMEM;
    table_drop_chunks(t);
    while (t->n_chunks < n_chunks)
        table_push_chunk(t, pool_take(t->pool, true), 0);
    t->used = 1;
    t->free_head = 0;
    t->n_free = 0;
    return 0;
}

int table_validate_free(const struct table *t)
{
    uint64_t chunks = ((uint64_t)t->used + chunk_records(t) - 1) >> t->chunk_shift;
    if (t->used == 0 || chunks != t->n_chunks || t->n_free >= t->used)
        return -EBADMSG;
    /* A chain that ends after exactly n_free steps cannot have met a record twice. */
    uint32_t i = t->free_head;
    for (uint32_t left = t->n_free; left > 0; left--) {
        const void *record = table_get(t, i);
        if (!record)
            return -EBADMSG;
        memcpy(&i, record, sizeof i);
    }
    return i == 0 ? 0 : -EBADMSG;
}

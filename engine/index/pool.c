/*
 * pool.c - memory for chunks, and the clock of freezes.
 *
 * State: the pool owns slabs of address space, cut into chunks. A chunk is at any time exactly one of: clean
 * (zero, no memory behind it), dirty (used before, idle), taken by a live table, or buried (replaced by a
 * copy, but seen by a living freeze). The period clock starts at 1; chunk_pool_freeze() returns it and steps
 * it, so that a chunk with birth b that was replaced in period d is what freeze f saw if and only if b <= f <
 * d.
 *
 * Locks: none here, see pool.h. */
#include "index/pool.h"

#include "base/fault.h"

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
 * Idle dirty chunks kept for the next copies: so many, and a share of those in use. Copying to memory that is
 * there is twice as fast as faulting it in; a freeze makes more ready (chunk_pool_is_cold()). */
#define DIRTY_KEEP 2
#define WARM_MAX 1024
#define FETCH_LOCKS 64u

_Thread_local int pool_missed;
_Thread_local bool pool_insists;

struct grave {
    uint8_t *chunk;
    uint64_t birth, death;
};

/* What was written up to the end of a period is of that batch or before. */
struct mark {
    uint64_t period, seq;
};

struct chunk_pool {
    struct pool_head head;
    struct mark marks[POOL_MARKS]; /* a ring */
    uint64_t n_marks;              /* that were made; the newest is the last of them */
    uint64_t *living;              /* living freezes, ascending; all below clock */
    size_t n_living, cap_living;
    uint8_t **slabs;
    size_t n_slabs, cap_slabs;
    /* Each has room for all chunks (cap_slabs * SLAB_CHUNKS), so that moving a chunk between states never
     * fails. */
    uint8_t **clean, **dirty;
    struct grave *graves;
    size_t n_clean, n_dirty, n_graves;
    size_t n_taken;
    size_t keep;     /* idle dirty chunks that always stay */
    size_t promised; /* chunks that may still be taken after the last chunk_pool_reserve() */
    uint64_t overdrafts;
    pthread_mutex_t fetch_locks[FETCH_LOCKS];
    _Atomic int lost; /* first error for good of a source */
    _Atomic uint64_t fetched;
    _Atomic bool poisoned;
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

int grow_array(void *array_ptr, size_t n, size_t elem_size)
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

bool chunk_pool_is_cold(const struct chunk_pool *pool, unsigned share)
{
    return pool->n_dirty < WARM_MAX && pool->n_dirty < pool->n_taken / share;
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

int pool_have_besides(struct chunk_pool *pool, size_t n)
{
    return pool_have(pool, pool->promised + n);
}

uint8_t *pool_take(struct chunk_pool *pool, bool zeroed)
{
    /* Without a reservation try all the same; with no memory at all there is no way to go on. */
    if (pool->n_clean + pool->n_dirty == 0 && pool_add_slab(pool) < 0)
        abort();
    pool->n_taken++;
    bool use_dirty = pool->n_dirty > 0 && (!zeroed || pool->n_clean == 0);
    uint8_t *chunk = use_dirty ? pool->dirty[--pool->n_dirty] : pool->clean[--pool->n_clean];
    chunk_show(chunk, TABLE_CHUNK_SIZE);
    if (use_dirty && zeroed)
        memset(chunk, 0, TABLE_CHUNK_SIZE);
    return chunk;
}

uint8_t *pool_take_promised(struct chunk_pool *pool, bool zeroed)
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
    pool->head.clock = 1;
    pool->keep = DIRTY_KEEP;
    for (unsigned i = 0; i < FETCH_LOCKS; i++)
        pthread_mutex_init(&pool->fetch_locks[i], NULL);
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
    for (unsigned i = 0; i < FETCH_LOCKS; i++)
        pthread_mutex_destroy(&pool->fetch_locks[i]);
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
    size_t keep = pool->keep + pool->n_taken / POOL_KEEP_SHARE;
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

void chunk_pool_keep(struct chunk_pool *pool, size_t n)
{
    pool->keep = n;
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

bool pool_seen_now(const struct chunk_pool *pool, uint64_t birth)
{
    /* every living freeze is older than the clock */
    return pool->n_living > 0 && pool->living[pool->n_living - 1] >= birth;
}

void pool_release(struct chunk_pool *pool, uint8_t *chunk, uint64_t birth)
{
    pool->n_taken--;
    if (pool_seen_now(pool, birth))
        pool->graves[pool->n_graves++] =
            (struct grave){.chunk = chunk, .birth = birth, .death = pool->head.clock};
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
    pool->living[pool->n_living++] = pool->head.clock;
    return pool->head.clock++;
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

void chunk_pool_mark(struct chunk_pool *pool, uint64_t seq)
{
    pool->marks[pool->n_marks++ % POOL_MARKS] = (struct mark){pool->head.clock++, seq};
}

uint64_t chunk_pool_marked(const struct chunk_pool *pool, uint64_t seq)
{
    for (uint64_t n = pool->n_marks, left = POOL_MARKS; n > 0 && left > 0; left--) {
        const struct mark *mark = &pool->marks[--n % POOL_MARKS];
        if (mark->seq <= seq)
            return mark->period;
    }
    return 0;
}

/* ---- for table.c ------------------------------------------------------------ */

void pool_put_back(struct chunk_pool *pool, uint8_t *chunk)
{
    pool->n_taken--;
    chunk_hide(chunk, TABLE_CHUNK_SIZE);
    pool->clean[pool->n_clean++] = chunk; /* no memory was taken for it */
}

pthread_mutex_t *pool_fetch_lock(struct chunk_pool *pool, uint32_t c)
{
    static _Thread_local pthread_mutex_t of_this_thread = PTHREAD_MUTEX_INITIALIZER;
    if (MUTANT(FETCH_BESIDE))
        return &of_this_thread;
    return &pool->fetch_locks[c % FETCH_LOCKS];
}

void pool_note_lost(struct chunk_pool *pool, int error)
{
    int none = 0;
    (void)atomic_compare_exchange_strong_explicit(&pool->lost, &none, error, memory_order_acq_rel,
                                                  memory_order_relaxed);
}

int chunk_pool_lost(const struct chunk_pool *pool)
{
    return atomic_load_explicit(&pool->lost, memory_order_acquire);
}

void pool_note_fetched(struct chunk_pool *pool)
{
    atomic_fetch_add_explicit(&pool->fetched, 1, memory_order_relaxed);
}

uint64_t chunk_pool_fetched(const struct chunk_pool *pool)
{
    return atomic_load_explicit(&pool->fetched, memory_order_relaxed);
}

void pool_note_poison(struct chunk_pool *pool)
{
    atomic_store_explicit(&pool->poisoned, !MUTANT(LOST_AS_ZEROS), memory_order_release);
}

bool chunk_pool_poisoned(const struct chunk_pool *pool)
{
    return atomic_load_explicit(&pool->poisoned, memory_order_acquire);
}

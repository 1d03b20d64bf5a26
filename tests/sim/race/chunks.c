/*
 * chunks.c - readers, writers, a loader and views that meet at chunks which are not in memory yet.
 *
 * The table's source is slow and fills a chunk in two halves, with something else in between. Whatever thread
 * comes first, each chunk is fetched once, nobody sees half of one, no writer's record is lost to a fetch,
 * and a view shows what was there when it was made. In every other round some chunks cannot be had: nobody
 * sees what their source left behind. Others cannot be had the first time: whoever asks then is told why, and
 * they are there for the next.
 *
 *   chunks [--seed S] [--rounds N] */
#include "index/table.h"

#include "base/util.h"
#include "rng.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#define N_CHUNKS 24u
#define PER_CHUNK 1024u
#define N_RECORDS (N_CHUNKS * PER_CHUNK)
#define STEPS 3000
#define WHICH 5u

struct record {
    uint32_t next; /* as freed records have it */
    uint32_t number;
    uint64_t version, sum, rest[5];
};

static struct chunk_pool *pool;
static struct table t;
static pthread_rwlock_t lock;
static uint64_t versions[N_RECORDS]; /* under lock */
static _Atomic unsigned fetches[N_CHUNKS];
static _Atomic bool is_bad[N_CHUNKS], is_shy[N_CHUNKS];
static _Atomic uint64_t failures, n_reads, n_writes, n_views, n_absent, n_later;

static void fail(const char *what, uint64_t i)
{
    if (atomic_fetch_add(&failures, 1) < 10)
        fprintf(stderr, "record or chunk %" PRIu64 ": %s\n", i, what);
}

static uint64_t sum_of(uint32_t i, uint64_t version)
{
    uint64_t x = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ version * UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 29;
}

static void fill(uint8_t *into, uint32_t c, uint32_t from, uint32_t to)
{
    for (uint32_t p = from; p < to; p++) {
        struct record rec = {.number = c * PER_CHUNK + p, .sum = sum_of(c * PER_CHUNK + p, 0)};
        memcpy(into + (size_t)p * sizeof rec, &rec, sizeof rec);
    }
}

static int fetch(void *arg, unsigned which, uint32_t c, uint8_t *into)
{
    if (arg != &fetches || which != WHICH || c >= N_CHUNKS)
        fail("the source is asked for something else", c);
    unsigned before = atomic_fetch_add(&fetches[c], 1);
    if (before > is_shy[c])
        fail("fetched again", c);
    fill(into, c, 0, PER_CHUNK / 2);
    memset(into + TABLE_CHUNK_SIZE / 2, 0xee, TABLE_CHUNK_SIZE / 2);
    for (int i = 0; i < 5; i++)
        sched_yield();
    if (is_shy[c] && !before)
        return -EMFILE;
    if (is_bad[c])
        return -EBADMSG;
    fill(into, c, PER_CHUNK / 2, PER_CHUNK);
    return 0;
}

/* The record is whole; its version. */
static uint64_t check(const struct record *rec, uint32_t i)
{
    if (rec->number != i || rec->sum != sum_of(i, rec->version))
        fail("half of a record, or of a chunk", i);
    return rec->version;
}

static void check_missing(uint32_t i)
{
    uint32_t c = i / PER_CHUNK;
    if (is_shy[c] && pool_missed == -EMFILE)
        atomic_fetch_add(&n_later, 1);
    else if (!is_bad[c])
        fail("is not there", i);
    else if (chunk_pool_lost(pool) != -EBADMSG || pool_missed != -EIO)
        fail("nobody was told that it cannot be had", i);
    else
        atomic_fetch_add(&n_absent, 1);
}

static void *reader(void *arg)
{
    uint64_t rng = *(const uint64_t *)arg;
    for (int k = 0; k < STEPS; k++) {
        uint32_t i = 1 + (uint32_t)rng_below(&rng, N_RECORDS - 1);
        pthread_rwlock_rdlock(&lock);
        pool_missed = 0;
        const struct record *rec = table_get(&t, i);
        if (rec && pool_missed)
            fail("is said not to be there", i);
        if (!rec)
            check_missing(i);
        else if (check(rec, i) != versions[i])
            fail("another version than was written", i);
        pthread_rwlock_unlock(&lock);
        atomic_fetch_add(&n_reads, 1);
    }
    return NULL;
}

static void *writer(void *arg)
{
    uint64_t rng = *(const uint64_t *)arg;
    for (int k = 0; k < STEPS; k++) {
        uint32_t i = 1 + (uint32_t)rng_below(&rng, N_RECORDS - 1);
        pthread_rwlock_wrlock(&lock);
        if (!is_bad[i / PER_CHUNK] && chunk_pool_reserve(pool, 1) == 0) {
            pool_missed = 0;
            struct record *rec = table_mut(&t, i);
            if (pool_missed)
                fail("a writer gives up at once", i);
            if (check(rec, i) != versions[i])
                fail("a writer finds another version", i);
            rec->version = ++versions[i];
            rec->sum = sum_of(i, rec->version);
            atomic_fetch_add(&n_writes, 1);
        }
        pthread_rwlock_unlock(&lock);
    }
    return NULL;
}

/* As the loader of the rest does. */
static void *loader(void *arg)
{
    (void)arg;
    for (uint32_t c = 0; c < N_CHUNKS; c++) {
        pthread_rwlock_rdlock(&lock);
        if (!table_chunk(&t, c) && !is_bad[c] && (!is_shy[c] || !table_chunk(&t, c)))
            fail("cannot be loaded", c);
        pthread_rwlock_unlock(&lock);
        sched_yield();
    }
    return NULL;
}

static void look_at_view(const struct table *view, const uint64_t *then, uint64_t *rng)
{
    for (int k = 0; k < 200; k++) {
        uint32_t i = 1 + (uint32_t)rng_below(rng, N_RECORDS - 1);
        const struct record *rec = table_get(view, i);
        if (rec && check(rec, i) != then[i])
            fail("a view shows another version", i);
    }
}

static void *viewer(void *arg)
{
    static uint64_t then[N_RECORDS];
    uint64_t rng = *(const uint64_t *)arg;
    for (int k = 0; k < STEPS / 300; k++) {
        struct table view;
        pthread_rwlock_wrlock(&lock);
        uint64_t freeze = chunk_pool_freeze(pool);
        bool made = freeze && table_freeze(&t, &view) == 0;
        memcpy(then, versions, sizeof then);
        pthread_rwlock_unlock(&lock);
        if (made)
            look_at_view(&view, then, &rng);
        pthread_rwlock_wrlock(&lock);
        if (made)
            table_free(&view);
        chunk_pool_thaw(pool, freeze);
        pthread_rwlock_unlock(&lock);
        atomic_fetch_add(&n_views, made);
    }
    return NULL;
}

static int begin(uint64_t *rng, bool some_bad)
{
    const struct table_source source = {fetch, &fetches, WHICH};
    int r = chunk_pool_new(&pool);
    if (!r)
        r = table_init(&t, pool, sizeof(struct record));
    if (!r)
        r = table_load_begin(&t, N_CHUNKS, &source);
    if (r)
        return r;
    t.used = N_RECORDS;
    memset(versions, 0, sizeof versions);
    for (uint32_t c = 0; c < N_CHUNKS; c++) {
        fetches[c] = 0;
        is_bad[c] = some_bad && rng_below(rng, 6) == 0;
        is_shy[c] = rng_below(rng, 4) == 0;
    }
    return table_loaded(&t);
}

/* What is left when all threads are gone; a writer of a chunk that cannot be had is told. */
static void end(void)
{
    bool any_bad = false;
    for (uint32_t c = 0; c < N_CHUNKS; c++) {
        any_bad = any_bad || is_bad[c];
        if (fetches[c] != 1u + is_shy[c])
            fail("was not fetched as often as needed", c);
    }
    if (chunk_pool_poisoned(pool) || (chunk_pool_lost(pool) != 0) != any_bad)
        fail("what the pool says is wrong", 0);
    for (uint32_t c = 0; c < N_CHUNKS; c++) {
        if (!is_bad[c] || chunk_pool_reserve(pool, 1) != 0)
            continue;
        const struct record zeros = {0};
        if (memcmp(table_mut(&t, c * PER_CHUNK + 1), &zeros, sizeof zeros) != 0)
            fail("a writer is given what the source left behind", c);
        if (!chunk_pool_poisoned(pool))
            fail("nobody is told of it", c);
    }
    table_free(&t);
    chunk_pool_free(pool);
}

static int one_round(uint64_t seed, bool some_bad)
{
    static void *(*const work[])(void *) = {reader, reader, reader, writer, writer, loader, viewer};
    pthread_t threads[ARRAY_LEN(work)];
    uint64_t seeds[ARRAY_LEN(work)], rng = seed;
    size_t n = 0;
    int r = begin(&rng, some_bad);
    if (r)
        return r;
    for (; n < ARRAY_LEN(work) && !r; n++) {
        seeds[n] = seed * 100 + n + 1;
        r = pthread_create(&threads[n], NULL, work[n], &seeds[n]);
    }
    n -= r != 0;
    while (n > 0)
        (void)pthread_join(threads[--n], NULL);
    if (!r)
        end();
    return r;
}

int main(int argc, char **argv)
{
    uint64_t seed = now_ns() & 0xffffff, rounds = 40;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--rounds"))
            rounds = strtoull(argv[i + 1], NULL, 0);
    }
    pthread_rwlock_init(&lock, NULL);
    for (uint64_t k = 0; k < rounds; k++)
        if (one_round(seed * 1000 + k, k % 2 == 1) != 0)
            return 2;
    if (rounds > 3 && (!n_reads || !n_writes || !n_views || !n_absent || !n_later))
        fail("too little of it happened", 0);
    printf("seed %" PRIu64 ": %" PRIu64 " reads, %" PRIu64 " of what cannot be had, %" PRIu64
           " of what comes later, %" PRIu64 " writes, %" PRIu64 " views\n",
           seed, n_reads, n_absent, n_later, n_writes, n_views);
    printf("%d passed, %" PRIu64 " failed\n", failures ? 0 : 1, failures);
    return failures ? 1 : 0;
}

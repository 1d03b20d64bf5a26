/*
 * test_table.c - chunked tables: records, runs, the free chain, freezes and
 * births, accounting of the pool, and what a damaged table gives. */
#include "index/table.h"

#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define CHUNK ((uint64_t)TABLE_CHUNK_SIZE)

static struct chunk_pool *pool;
static struct table t;

static void setup(void)
{
    MUST(chunk_pool_new(&pool) == 0);
}

/* Whatever a test did, its writers must have reserved what they took. */
static void teardown(void)
{
    MUST(chunk_pool_overdrafts(pool) == 0);
    table_free(&t);
    chunk_pool_free(pool);
}

TestSuite(table, .init = setup, .fini = teardown, .timeout = 60);

static uint32_t alloc_one(void)
{
    MUST(table_reserve(&t, 1) == 0);
    MUST(chunk_pool_reserve(pool, 1) == 0);
    return table_alloc(&t);
}

static void *mut_one(uint32_t i)
{
    MUST(chunk_pool_reserve(pool, 1) == 0);
    return table_mut(&t, i);
}

static void free_one(uint32_t i)
{
    MUST(chunk_pool_reserve(pool, 1) == 0);
    table_free_record(&t, i);
}

static uint32_t value_of(const struct table *table, uint32_t i)
{
    const void *record = table_get(table, i);
    uint32_t v;
    MUST(record != NULL);
    memcpy(&v, record, sizeof(v));
    return v;
}

/* ---- records ------------------------------------------------------------ */

Test(table, records_of_every_size)
{
    for (uint32_t size = 4; size <= TABLE_CHUNK_SIZE; size *= 2) {
        uint32_t n = 3 * TABLE_CHUNK_SIZE / size;
        MUST(table_init(&t, pool, size) == 0);
        for (uint32_t i = 1; i < n; i++) {
            MUST(alloc_one() == i);
            uint8_t *record = mut_one(i);
            MUST(record[0] == 0);
            MUST((uintptr_t)record % size == 0);
            memset(record, (int)(i % 255 + 1), size);
        }
        for (uint32_t i = 1; i < n; i++) {
            const uint8_t *record = table_get(&t, i);
            MUST(record[0] == i % 255 + 1);
            MUST(record[size - 1] == i % 255 + 1);
        }
        MUST(t.n_chunks == 3);
        MUST(table_validate_free(&t) == 0);
        table_free(&t);
    }
}

Test(table, get_refuses_what_is_not_there)
{
    MUST(table_get(&t, 0) == NULL); /* a zeroed table */
    MUST(table_get(&t, 1) == NULL);
    MUST(table_init(&t, pool, 64) == 0);
    MUST(table_get(&t, 0) == NULL);
    MUST(table_get(&t, 1) == NULL);
    uint32_t i = alloc_one();
    MUST(table_get(&t, i) != NULL);
    MUST(table_get(&t, i + 1) == NULL);
    MUST(table_get(&t, UINT32_MAX) == NULL);
}

Test(table, freed_records_come_back_zeroed)
{
    MUST(table_init(&t, pool, 128) == 0);
    for (uint32_t i = 1; i <= 1000; i++)
        memset(mut_one(alloc_one()), 0xff, 128);
    for (uint32_t i = 1; i <= 1000; i += 2)
        free_one(i);
    MUST(t.n_free == 500);
    MUST(table_validate_free(&t) == 0);
    static const uint8_t zeros[128];
    for (uint32_t n = 0; n < 500; n++) {
        uint32_t i = alloc_one();
        MUST(i % 2 == 1 && i < 1000);
        MUST(memcmp(table_get(&t, i), zeros, 128) == 0);
    }
    MUST(t.n_free == 0);
    MUST(alloc_one() == 1001);
}

Test(table, runs_do_not_straddle_chunks)
{
    uint64_t rng = test_seed();
    uint32_t end = 1, gap, gap_n;
    MUST(table_init(&t, pool, 16) == 0);
    for (int k = 0; k < 2000; k++) {
        uint32_t n = k == 1000 ? 4096 : 1 + (uint32_t)rng_below(&rng, 300);
        MUST(table_reserve(&t, 2 * n - 1) == 0);
        MUST(chunk_pool_reserve(pool, 1) == 0);
        uint32_t i = table_alloc_run(&t, n, &gap, &gap_n);
        MUST(i / 4096 == (i + n - 1) / 4096);
        MUST(gap_n < n);
        MUST(i == end + gap_n); /* nothing is lost but the gap */
        if (gap_n > 0) {
            MUST(gap == end);
            MUST(i % 4096 == 0);
        }
        end = i + n;
        MUST(t.used == end);
    }
    MUST(table_validate_free(&t) == 0);
}

Test(table, chunk_len_is_cut_at_used)
{
    MUST(table_init(&t, pool, 1024) == 0);
    MUST(table_chunk_len(&t, 0) == 1024); /* record 0 */
    for (int i = 1; i < 64 + 5; i++)
        (void)alloc_one();
    MUST(table_chunk_len(&t, 0) == TABLE_CHUNK_SIZE);
    MUST(table_chunk_len(&t, 1) == 5 * 1024);
    MUST(table_chunk_len(&t, 2) == 0);
}

Test(table, reserve_knows_the_limit)
{
    MUST(table_init(&t, pool, 4) == 0);
    MUST(table_reserve(&t, UINT32_MAX) == -EOVERFLOW);
    MUST(table_reserve(&t, UINT32_MAX - 1) == 0);
    (void)alloc_one();
    MUST(table_reserve(&t, UINT32_MAX - 1) == -EOVERFLOW);
    free_one(1); /* the freed one counts */
    MUST(table_reserve(&t, UINT32_MAX - 1) == 0);
}

/* ---- freezes ------------------------------------------------------------ */

static void fill(uint32_t size, uint32_t chunks)
{
    MUST(table_init(&t, pool, size) == 0);
    while (t.used < chunks * (TABLE_CHUNK_SIZE / size))
        (void)alloc_one();
}

static void write_all_chunks(uint32_t value)
{
    for (uint32_t c = 0; c < t.n_chunks; c++)
        memcpy(mut_one((c << t.chunk_shift) + 1), &value, sizeof(value));
}

Test(table, view_stays_while_live_changes)
{
    struct table view;
    fill(64, 10);
    write_all_chunks(1);
    uint64_t f = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &view) == 0);
    MUST(chunk_pool_frozen(pool));
    write_all_chunks(2);
    while (t.n_chunks < 20)
        (void)alloc_one();
    MUST(view.n_chunks == 10);
    MUST(table_get(&view, view.used) == NULL);
    for (uint32_t c = 0; c < 10; c++) {
        MUST(value_of(&view, c * 1024 + 1) == 1);
        MUST(value_of(&t, c * 1024 + 1) == 2);
    }
    table_free(&view);
    chunk_pool_thaw(pool, f);
    MUST(!chunk_pool_frozen(pool));
}

Test(table, only_what_a_freeze_sees_is_copied)
{
    struct table v1, v2;
    fill(64, 10);
    MUST(chunk_pool_bytes(pool) == 10 * CHUNK);
    uint64_t f1 = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &v1) == 0);
    write_all_chunks(1);
    MUST(chunk_pool_bytes(pool) == 20 * CHUNK);
    write_all_chunks(2); /* copied already */
    MUST(chunk_pool_bytes(pool) == 20 * CHUNK);
    uint64_t f2 = chunk_pool_freeze(pool);
    MUST(f2 > f1);
    chunk_pool_thaw(pool, f2); /* f2 is gone, and f1 does not see what was born after it */
    write_all_chunks(3);
    MUST(chunk_pool_bytes(pool) == 20 * CHUNK);
    uint64_t f3 = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &v2) == 0);
    write_all_chunks(4);
    MUST(chunk_pool_bytes(pool) == 30 * CHUNK);
    table_free(&v1);
    chunk_pool_thaw(pool, f1); /* gives ten chunks back, to be used by the next copies */
    MUST(value_of(&v2, 1) == 3);
    uint64_t f4 = chunk_pool_freeze(pool);
    write_all_chunks(5);
    MUST(chunk_pool_bytes(pool) == 30 * CHUNK);
    chunk_pool_thaw(pool, f4);
    MUST(value_of(&v2, 1) == 3);
    table_free(&v2);
    chunk_pool_thaw(pool, f3);
    MUST(value_of(&t, 1) == 5);
}

Test(table, births_tell_what_changed_also_without_a_living_freeze)
{
    fill(64, 4);
    for (uint32_t c = 0; c < 4; c++)
        MUST(t.births[c] > 0); /* the first checkpoint writes all */
    uint64_t f = chunk_pool_freeze(pool);
    chunk_pool_thaw(pool, f);
    for (uint32_t c = 0; c < 4; c++)
        MUST(t.births[c] <= f);
    uint8_t *before = t.chunks[2];
    (void)mut_one(2 * 1024);
    MUST(t.births[2] > f);
    cr_assert_eq(t.chunks[2], before, "no freeze sees it: written in place");
    MUST(t.births[1] <= f);
    MUST(t.births[3] <= f);
    free_one(3 * 1024 + 7);
    MUST(t.births[3] > f);
}

Test(table, freed_while_a_view_is_open)
{
    struct table view;
    fill(64, 5);
    write_all_chunks(7);
    uint64_t f = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &view) == 0);
    table_free(&t);
    MUST(table_init(&t, pool, 64) == 0); /* must not get the view's chunks */
    memset(mut_one(alloc_one()), 0xff, 64);
    MUST(value_of(&view, 1) == 7);
    MUST(value_of(&view, 4 * 1024 + 1) == 7);
    table_free(&view);
    chunk_pool_thaw(pool, f);
}

/* ---- freezes against a model -------------------------------------------- */

#define VIEWS 7
#define RECORDS 6000 /* of 256 bytes: up to 24 chunks */

struct model {
    uint32_t value[RECORDS + 1]; /* 0: freed or never handed out */
    uint32_t used;
};

struct frozen {
    uint64_t freeze; /* 0: none */
    struct table view;
    struct model model;
};

static struct model now;
static struct frozen views[VIEWS];
static struct frozen last; /* the last checkpoint, thawed or not: for births */

static void model_check(const struct table *table, const struct model *m)
{
    MUST(table->used == m->used);
    for (uint32_t i = 1; i < m->used; i++)
        if (m->value[i] != 0)
            MUST(value_of(table, i) == m->value[i]);
}

static void model_step(uint64_t *rng, uint32_t step)
{
    uint32_t i = (uint32_t)rng_below(rng, now.used);
    if (rng_below(rng, 4) == 0 && (t.n_free > 0 || now.used <= RECORDS)) {
        i = alloc_one();
        MUST(now.value[i] == 0);
        now.used = t.used;
        memcpy(mut_one(i), &step, sizeof(step));
        now.value[i] = step;
    } else if (now.value[i] != 0 && rng_below(rng, 8) == 0) {
        free_one(i);
        now.value[i] = 0;
    } else if (now.value[i] != 0) {
        memcpy(mut_one(i), &step, sizeof(step));
        now.value[i] = step;
    }
}

static void freeze_or_thaw(uint64_t *rng)
{
    struct frozen *v = &views[rng_below(rng, VIEWS)];
    if (v->freeze == 0) {
        v->freeze = chunk_pool_freeze(pool);
        MUST(table_freeze(&t, &v->view) == 0);
        v->model = now;
        last.freeze = v->freeze;
        last.model = now;
        return;
    }
    model_check(&v->view, &v->model);
    table_free(&v->view);
    chunk_pool_thaw(pool, v->freeze);
    v->freeze = 0;
}

/* A record that differs from the last freeze lies in a chunk born after it. */
static void check_births(void)
{
    for (uint32_t i = 1; i < now.used; i++)
        if (i >= last.model.used || now.value[i] != last.model.value[i])
            MUST(t.births[i >> t.chunk_shift] > last.freeze);
}

Test(table, random_freezes_against_a_model)
{
    uint64_t rng = test_seed();
    MUST(table_init(&t, pool, 256) == 0);
    now.used = 1;
    for (uint32_t step = 1; step <= 200000; step++) {
        model_step(&rng, step);
        if (rng_below(&rng, 500) == 0)
            freeze_or_thaw(&rng);
        if (step % 20000 == 0) {
            model_check(&t, &now);
            check_births();
            MUST(table_validate_free(&t) == 0);
            for (int k = 0; k < VIEWS; k++)
                if (views[k].freeze != 0)
                    model_check(&views[k].view, &views[k].model);
        }
    }
    for (int k = 0; k < VIEWS; k++)
        if (views[k].freeze != 0) {
            table_free(&views[k].view);
            chunk_pool_thaw(pool, views[k].freeze);
        }
    model_check(&t, &now);
    /* No grave is left: all that is held is the table, and what trimming keeps for the next copies. */
    while (chunk_pool_trim(pool, 10) > 0)
        ;
    MUST(chunk_pool_bytes(pool) <= (t.n_chunks + 64 + 2) * CHUNK);
}

/* ---- the pool ----------------------------------------------------------- */

static void warm_up(void)
{
    uint8_t *chunks[8];
    for (int round = 0; chunk_pool_is_cold(pool, 4); round++) {
        MUST(round < 40);
        size_t n = chunk_pool_lend(pool, chunks, 8);
        MUST(n > 0 && n <= 8);
        for (size_t i = 0; i < n; i++)
            memset(chunks[i], 7, CHUNK);
        chunk_pool_give_back(pool, chunks, n);
    }
}

/* Bytes of address space of this process. */
static uint64_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    MUST(f != NULL);
    MUST(fscanf(f, "%lu", &pages) == 1);
    (void)fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

Test(table, memory_is_used_again)
{
    uint64_t before = 0;
    fill(64, 400);
    for (uint32_t i = 0; i < 50; i++) { /* as checkpoints with writes in them */
        warm_up();
        uint64_t f = chunk_pool_freeze(pool);
        for (uint32_t c = 0; c < t.n_chunks; c++) {
            uint32_t value = i * 1000 + c;
            memcpy(mut_one((c << t.chunk_shift) + 1), &value, sizeof(value));
        }
        for (uint32_t c = 0; c < t.n_chunks; c++) /* no two copies share memory */
            MUST(value_of(&t, (c << t.chunk_shift) + 1) == i * 1000 + c);
        chunk_pool_thaw(pool, f);
        while (chunk_pool_trim(pool, 2) > 0)
            ;
        if (i == 5)
            before = address_space();
    }
    MUST(address_space() < before + (8u << 20)); /* each round more would be 30 MiB */
}

Test(table, copies_go_to_memory_that_is_there)
{
    fill(64, 300);
    MUST(chunk_pool_is_cold(pool, 4));
    warm_up();
    uint64_t before = chunk_pool_bytes(pool);
    uint64_t f = chunk_pool_freeze(pool);
    for (uint32_t c = 0; c < 40; c++)
        (void)mut_one((c << t.chunk_shift) + 1);
    MUST(chunk_pool_bytes(pool) == before); /* which counts what was touched */
    chunk_pool_thaw(pool, f);
    MUST(!chunk_pool_is_cold(pool, 4));
}

Test(table, memory_is_given_back)
{
    fill(64, 300);
    MUST(chunk_pool_bytes(pool) == 300 * CHUNK);
    uint64_t f = chunk_pool_freeze(pool);
    write_all_chunks(1);
    MUST(chunk_pool_bytes(pool) == 600 * CHUNK);
    chunk_pool_thaw(pool, f);
    for (size_t left = chunk_pool_trim(pool, 2), next; left > 0; left = next) { /* bit by bit */
        next = chunk_pool_trim(pool, 2);
        MUST(next + 2 == left || next == 0);
    }
    uint64_t kept = chunk_pool_bytes(pool);
    MUST(kept < 400 * CHUNK);
    MUST(chunk_pool_trim(pool, 1000) == 0);
    MUST(chunk_pool_bytes(pool) == kept);
    while (t.n_chunks < 500) { /* and what was given back is zero again */
        uint32_t i = alloc_one();
        MUST(value_of(&t, i) == 0);
    }
    MUST(value_of(&t, 1) == 1);
}

Test(table, overdrafts_are_counted)
{
    struct chunk_pool *other;
    struct table table;
    MUST(chunk_pool_new(&other) == 0);
    MUST(table_init(&table, other, TABLE_CHUNK_SIZE) == 0);
    MUST(table_reserve(&table, 10) == 0);
    MUST(chunk_pool_reserve(other, 2) == 0);
    (void)table_alloc(&table);
    (void)table_alloc(&table);
    MUST(chunk_pool_overdrafts(other) == 0);
    (void)table_alloc(&table);
    MUST(chunk_pool_overdrafts(other) == 1);
    table_free(&table);
    chunk_pool_free(other);
}

Test(table, exhaustion_is_told_by_reserve_only)
{
#ifdef SANITIZED
    cr_skip_test("sanitizers need the address space");
#endif
    struct rlimit lim;
    fill(64, 2);
    MUST(getrlimit(RLIMIT_AS, &lim) == 0);
    rlim_t before = lim.rlim_cur;
    lim.rlim_cur = (rlim_t)400 << 20;
    MUST(setrlimit(RLIMIT_AS, &lim) == 0);
    int r = chunk_pool_reserve(pool, 20000);
    int small = chunk_pool_reserve(pool, 300);
    uint32_t got = 0;
    if (small == 0 && table_reserve(&t, 300 * 1024) == 0)
        while (got < 300 && t.n_chunks < 302)
            got += table_alloc(&t) % 1024 == 0;
    lim.rlim_cur = before;
    MUST(setrlimit(RLIMIT_AS, &lim) == 0);
    MUST(r == -ENOMEM);
    MUST(small == 0);
    MUST(got == 300);
}

/* ---- units that were written ---------------------------------------------- */

static uint32_t n_dirty(const struct table *table, uint32_t c)
{
    uint32_t n = 0;
    for (unsigned w = 0; w < TABLE_UNIT_WORDS; w++)
        n += (uint32_t)__builtin_popcountll(table->dirty[c].bits[w]);
    return n;
}

static bool is_dirty(const struct table *table, uint32_t c, uint32_t unit)
{
    return table->dirty[c].bits[unit / 64] >> unit % 64 & 1;
}

Test(table, units_tell_what_was_written)
{
    struct table v1, v2;
    fill(64, 3);
    uint64_t f = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &v1) == 0);
    MUST(table_take_dirty(&t, &v1) == 0);
    MUST(n_dirty(&v1, 0) == TABLE_UNITS &&
         n_dirty(&v1, 2) == TABLE_UNITS); /* the first checkpoint writes all */
    MUST(n_dirty(&t, 0) == 0 && n_dirty(&t, 2) == 0);
    (void)mut_one(2 * 1024 + 5); /* two records of 64 bytes in a unit */
    MUST(n_dirty(&t, 2) == 1 && is_dirty(&t, 2, 2));
    table_free(&v1);
    chunk_pool_thaw(pool, f);
    f = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &v2) == 0);
    MUST(table_take_dirty(&t, &v2) == 0);
    (void)mut_one(2 * 1024 + 9);
    free_one(1024);
    MUST(n_dirty(&v2, 2) == 1 && n_dirty(&t, 2) == 1 && n_dirty(&t, 1) == 1);
    table_return_dirty(&t, &v2); /* that checkpoint failed */
    MUST(n_dirty(&t, 2) == 2 && is_dirty(&t, 2, 2) && is_dirty(&t, 2, 4));
    table_free(&v2);
    chunk_pool_thaw(pool, f);
}

Test(table, units_of_large_records_and_of_runs)
{
    uint32_t gap, gap_n;
    struct table view, cells;
    MUST(table_init(&t, pool, 1024) == 0);
    MUST(table_init(&cells, pool, 16) == 0);
    uint32_t i = alloc_one();
    MUST(table_reserve(&cells, 600) == 0 && chunk_pool_reserve(pool, 1) == 0);
    uint32_t run = table_alloc_run(&cells, 20, &gap, &gap_n);
    MUST(run == 1);
    uint64_t f = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &view) == 0 && table_take_dirty(&t, &view) == 0);
    table_free(&view);
    MUST(table_freeze(&cells, &view) == 0 && table_take_dirty(&cells, &view) == 0);
    table_free(&view);
    chunk_pool_thaw(pool, f);
    (void)mut_one(i);
    MUST(n_dirty(&t, 0) == 8 && is_dirty(&t, 0, 8) && is_dirty(&t, 0, 15));
    (void)table_mut_run(&cells, 1, 20); /* bytes 16 to 336 */
    MUST(n_dirty(&cells, 0) == 3 && is_dirty(&cells, 0, 0) && is_dirty(&cells, 0, 2));
    table_free(&cells);
}

/* ---- room, and chunks that go ------------------------------------------------ */

/* What the kth (0, 1, ..) next allocation hands out. */
static uint32_t predict(uint32_t k)
{
    struct table_ahead ahead = {0};
    for (; k > 0; k--)
        (void)table_predict(&t, &ahead);
    return table_predict(&t, &ahead);
}

Test(table, the_lowest_chunk_is_filled_first)
{
    fill(64, 4);
    free_one(3 * 1024 + 7);
    free_one(1024 + 3);
    free_one(5);
    free_one(1024 + 9);
    static const uint32_t order[] = {5, 1024 + 9, 1024 + 3, 3 * 1024 + 7, 4 * 1024, 4 * 1024 + 1};
    for (uint32_t k = 0; k < 6; k++)
        MUST(predict(k) == order[k]);
    for (uint32_t k = 0; k < 6; k++) {
        MUST(predict(0) == order[k]);
        MUST(alloc_one() == order[k]);
    }
}

static void claim(uint32_t i, int expected)
{
    MUST(table_reserve(&t, 1) == 0 && chunk_pool_reserve(pool, 2) == 0);
    MUST(table_claim(&t, i) == expected);
}

Test(table, a_record_can_be_claimed)
{
    fill(64, 2);
    for (uint32_t i = 1; i <= 5; i++)
        free_one(i);
    claim(6, -EBADMSG); /* in use */
    claim(0, -EBADMSG);
    claim(t.used + 1, -EBADMSG);
    claim(3, 0);
    claim(3, -EBADMSG);
    claim(5, 0); /* the head of the chain */
    claim(1, 0); /* and its end */
    MUST(table_validate_free(&t) == 0);
    MUST(alloc_one() == 4);
    MUST(alloc_one() == 2);
    MUST(t.n_free == 0);
    claim(t.used, 0);
    MUST(alloc_one() == 2 * 1024 + 1);
}

static void claim_apart(uint32_t i, int expected)
{
    MUST(table_reserve(&t, 1 + 2 * 1024) == 0 && chunk_pool_reserve(pool, 3) == 0);
    MUST(table_claim_apart(&t, i) == expected);
}

/* What the kth allocation apart gets behind n others. */
static uint32_t predict_apart(uint32_t n, uint32_t k)
{
    struct table_ahead others = {0}, ahead = {0};
    for (; n > 0; n--)
        (void)table_predict(&t, &others);
    for (; k > 0; k--)
        (void)table_predict_apart(&t, &ahead, &others);
    return table_predict_apart(&t, &ahead, &others);
}

Test(table, what_is_claimed_apart_has_chunks_of_its_own)
{
    fill(64, 1);
    for (unsigned i = 0; i < 5; i++)
        (void)alloc_one(); /* the last chunk is begun */
    MUST(predict_apart(0, 0) == 2 * 1024 && predict_apart(0, 1024) == 3 * 1024);
    MUST(predict_apart(1019, 0) == 2 * 1024 && predict_apart(1020, 0) == 3 * 1024);
    claim_apart(3 * 1024, -EBADMSG); /* not behind the last */
    claim_apart(2 * 1024 + 1, -EBADMSG);
    claim_apart(2 * 1024, 0);
    MUST(t.used == 3 * 1024 && t.n_free == 1019 + 1023 && table_validate_free(&t) == 0);
    MUST(predict(0) == 1024 + 5 && predict(1019) == 3 * 1024);
    MUST(predict_apart(2000, 0) == 2 * 1024 + 1 && predict_apart(1019, 1022) == 3 * 1024 - 1);
    MUST(predict_apart(1019, 1023) == 3 * 1024 && predict_apart(1020, 1023) == 4 * 1024);
    claim_apart(2 * 1024 + 1, 0);
    for (uint32_t i = 2 * 1024; i < 2 * 1024 + 2; i++)
        free_one(i);
    MUST(table_drop_empty(&t, 2) == 0 && t.n_chunks == 2);
    MUST(predict(1018) == 2 * 1024 - 1 && predict(1019) == 2 * 1024);
    claim_apart(1024 + 7, 0); /* a replay may be told any number */
    MUST(predict_apart(0, 0) == 2 * 1024);
    MUST(table_validate_free(&t) == 0);
}

Test(table, a_chunk_that_was_dropped_is_for_one_of_both)
{
    fill(64, 4);
    for (uint32_t i = 1024; i < 3 * 1024; i++)
        free_one(i);
    MUST(table_drop_empty(&t, 3) == 0 && t.n_chunks == 4);
    MUST(predict_apart(0, 0) == 1024 && predict_apart(1, 0) == 2 * 1024);
    MUST(predict_apart(1024, 0) == 2 * 1024 && predict_apart(1025, 0) == 4 * 1024);
    claim_apart(1024, 0);
    MUST(predict(0) == 2 * 1024 && predict_apart(5, 1022) == 2047 && predict_apart(5, 1023) == 4 * 1024);
    claim(1024 + 9, 0); /* a replay again: it is shared, and so others come to it as well */
    MUST(predict(0) == 1024 + 1 && predict_apart(0, 0) == 2 * 1024);
    claim_apart(2 * 1024, 0);
    t.limit = t.used + 1023;
    MUST(predict_apart(0, 1022) == 3 * 1024 - 1 && predict_apart(0, 1023) == 0);
    MUST(table_validate_free(&t) == 0);
}

static size_t drop_all(void)
{
    size_t rounds = 1;
    while (table_drop_empty(&t, 2) > 0)
        rounds++;
    return rounds;
}

static void set_words(uint32_t i, uint32_t a, uint32_t b)
{
    uint32_t *record = mut_one(i);
    record[0] = a;
    record[1] = b;
}

Test(table, empty_chunks_are_dropped_and_come_again)
{
    struct table view;
    fill(64, 8);
    table_keep_word(&t);
    for (uint32_t i = 1; i < t.used; i++)
        set_words(i, 7, i % 1000);
    uint64_t f = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &view) == 0);
    uint64_t held = chunk_pool_live_bytes(pool);
    for (uint32_t i = 1024; i < 7 * 1024; i++) /* chunks 1 to 6 */
        free_one(i);
    MUST(drop_all() == 3);
    MUST(chunk_pool_live_bytes(pool) == held - 6 * CHUNK);
    MUST(t.n_free == 6 * 1024 && table_validate_free(&t) == 0);
    MUST(table_get(&t, 1024) == NULL && table_get(&t, 7 * 1024 - 1) == NULL);
    MUST(value_of(&t, 1023) == 7 && value_of(&t, 7 * 1024) == 7);
    MUST(value_of(&view, 3 * 1024 + 5) == 7); /* a view keeps them */
    table_free(&view);
    chunk_pool_thaw(pool, f);
    MUST(table_kept_word(&t, 2048) == 999 && table_kept_word(&t, 1024) == 999);
    MUST(predict(0) == 1024 && predict(1500) == 2524);
    MUST(predict(6 * 1024) == 8 * 1024);
    MUST(alloc_one() == 1024);
    MUST(n_dirty(&t, 1) == TABLE_UNITS);    /* it has no image any more */
    MUST(table_kept_word(&t, 1025) == 999); /* of a record that is free still */
    claim(5 * 1024 + 77, 0);
    MUST(predict(0) == 1025);
    for (uint32_t k = 1025; k < 5 * 1024 + 77; k++)
        MUST(alloc_one() == k);
    MUST(alloc_one() == 5 * 1024 + 78);
    MUST(table_validate_free(&t) == 0);
}

Test(table, the_last_chunk_goes_too_and_is_appended_to)
{
    MUST(table_init(&t, pool, 64) == 0);
    table_keep_word(&t);
    while (t.used < 1024 + 10)
        (void)alloc_one();
    for (uint32_t i = 1024; i < t.used; i++)
        free_one(i);
    MUST(drop_all() == 1);
    MUST(table_get(&t, 1024) == NULL);
    MUST(table_chunk_len(&t, 1) == 640);
    for (uint32_t i = 0; i < 12; i++)
        MUST(alloc_one() == 1024 + i);
    for (uint32_t i = 1; i < t.used; i++)
        free_one(i);
    MUST(drop_all() == 1);
    MUST(chunk_pool_live_bytes(pool) == 0);
    claim(t.used, 0); /* behind a chunk that is dropped, in it */
    MUST(table_validate_free(&t) == 0);
    MUST(value_of(&t, 1024 + 12) == 0);
}

Test(table, without_kept_words_a_table_ends_before_dropped_chunks)
{
    struct table view;
    fill(64, 8);
    uint64_t f = chunk_pool_freeze(pool);
    MUST(table_freeze(&t, &view) == 0);
    for (uint32_t i = 3 * 1024; i < 8 * 1024; i++)
        if (i != 5 * 1024 + 7)
            free_one(i);
    MUST(drop_all() == 2);
    MUST(t.used == 6 * 1024 && t.n_chunks == 6 &&
         t.n_free == 3 * 1024 - 1); /* two in the middle, and one's rest */
    free_one(5 * 1024 + 7);
    MUST(drop_all() == 1);
    MUST(t.used == 3 * 1024 && t.n_chunks == 3 && t.n_free == 0 && table_validate_free(&t) == 0);
    MUST(alloc_one() == 3 * 1024 && value_of(&t, 3 * 1024) == 0);
    MUST(n_dirty(&t, 3) == TABLE_UNITS); /* whatever image there was before */
    MUST(view.used == 8 * 1024 && table_get(&view, 7 * 1024) != NULL);
    table_free(&view);
    chunk_pool_thaw(pool, f);
    for (uint32_t i = 1; i <= 3 * 1024; i++)
        free_one(i);
    MUST(drop_all() == 2 && chunk_pool_live_bytes(pool) == 0);
    MUST(t.used == 1 && t.n_chunks == 1 && t.n_free == 0 && table_validate_free(&t) == 0);
    MUST(alloc_one() == 1 && alloc_one() == 2);
}

Test(table, a_table_can_be_cut)
{
    fill(4, 3);
    table_cut(&t, 16384 + 1);
    MUST(t.n_chunks == 2 && table_get(&t, 16384) != NULL && table_get(&t, 16385) == NULL);
    table_cut(&t, 16384);
    MUST(t.n_chunks == 1);
    MUST(alloc_one() == 16384);
    MUST(value_of(&t, 16384) == 0);
    table_cut(&t, 1);
    MUST(t.n_chunks == 1 && chunk_pool_live_bytes(pool) == CHUNK);
}

/* ---- loading ------------------------------------------------------------ */

static _Atomic int n_fetched;
static uint32_t bad_chunk, shy; /* shy: so many fail, and may be had then */

/* Each record begins with its number. */
static int fetch_numbers(void *arg, unsigned which, uint32_t c, uint8_t *into)
{
    MUST(arg == &n_fetched && which == 3);
    n_fetched++;
    if (c == bad_chunk)
        return -EBADMSG;
    if (shy > 0) {
        shy--;
        return -ENOMEM;
    }
    for (uint32_t p = 0; p < 1024; p++) {
        uint32_t i = c * 1024 + p;
        memcpy(into + (size_t)p * 64, &i, sizeof(i));
    }
    return 0;
}

static void load(uint32_t n_chunks)
{
    struct table_source source = {fetch_numbers, &n_fetched, 3};
    n_fetched = 0;
    bad_chunk = UINT32_MAX;
    MUST(table_load_begin(&t, n_chunks, &source) == 0);
    t.used = (n_chunks - 1) * 1024 + 100;
    MUST(table_loaded(&t) == 0);
}

Test(table, chunks_come_when_they_are_needed)
{
    struct table view;
    fill(64, 3);
    load(5);
    MUST(n_fetched == 0);
    MUST(value_of(&t, 2 * 1024 + 5) == 2 * 1024 + 5);
    MUST(n_fetched == 1);
    MUST(table_get(&t, t.used) == NULL && table_get(&t, 0) == NULL);
    set_words(3 * 1024 + 1, 99, 0); /* a writer that comes first */
    MUST(n_fetched == 2 && n_dirty(&t, 3) == 1);
    MUST(value_of(&t, 3 * 1024 + 1) == 99 && value_of(&t, 3 * 1024 + 2) == 3 * 1024 + 2);
    uint64_t f = chunk_pool_freeze(pool); /* a checkpoint meanwhile looks at what was written only */
    MUST(table_freeze(&t, &view) == 0 && table_take_dirty(&t, &view) == 0);
    MUST(n_dirty(&view, 3) == 1 && n_dirty(&view, 0) == 0 && view.states[0] == TABLE_ABSENT);
    set_words(7, 98, 0);
    table_free(&view);
    chunk_pool_thaw(pool, f);
    MUST(alloc_one() == 4 * 1024 + 100);
    for (uint32_t c = 0; c < 5; c++)
        MUST(table_chunk(&t, c) != NULL);
    MUST(n_fetched == 5);
    MUST(chunk_pool_lost(pool) == 0 && !chunk_pool_poisoned(pool));
}

Test(table, a_chunk_that_cannot_be_had_is_told)
{
    MUST(table_init(&t, pool, 64) == 0);
    load(3);
    bad_chunk = 1;
    MUST(table_get(&t, 1024) == NULL);
    MUST(table_get(&t, 1024) == NULL);
    MUST(n_fetched == 1); /* asked once */
    MUST(chunk_pool_lost(pool) == -EBADMSG && !chunk_pool_poisoned(pool));
    MUST(value_of(&t, 5) == 5);
    set_words(1025, 1, 1);
    MUST(chunk_pool_poisoned(pool));
}

/* Who cannot be told no any more asks a few times. */
Test(table, a_chunk_that_fails_for_a_moment_is_had_by_who_insists)
{
    MUST(table_init(&t, pool, 64) == 0);
    load(4);
    shy = 1;
    MUST(table_get(&t, 1) == NULL && pool_missed == -ENOMEM && shy == 0);
    pool_missed = 0;
    pool_insists = true;
    shy = 3;
    MUST(value_of(&t, 5) == 5 && shy == 0);
    pool_insists = false;
    shy = 3;
    set_words(1025, 1, 1); /* so does each writer */
    MUST(value_of(&t, 1026) == 1026 && shy == 0);
    MUST(pool_missed == 0 && !chunk_pool_lost(pool) && !chunk_pool_poisoned(pool));
    pool_insists = true;
    shy = 1000;
    MUST(table_get(&t, 2 * 1024 + 1) == NULL && pool_missed == -ENOMEM && shy >= 990);
    pool_insists = false;
    shy = 0;
    pool_missed = 0;
    MUST(value_of(&t, 2 * 1024 + 1) == 2 * 1024 + 1);
}

Test(table, loaded_counters_are_checked)
{
    struct table_source source = {fetch_numbers, &n_fetched, 3};
    static const uint32_t bad_used[] = {0, 1, 1024, 2049, UINT32_MAX};
    MUST(table_init(&t, pool, 64) == 0);
    MUST(table_load_begin(&t, 0, &source) == -EBADMSG);
    MUST(table_load_begin(&t, (1u << 22) + 1, &source) == -EBADMSG);
    cr_assert_eq(t.n_chunks, 1, "refused: as it was");
    load(2);
    for (size_t i = 0; i < 5; i++) {
        t.used = bad_used[i];
        cr_assert_eq(table_loaded(&t), -EBADMSG, "used %u", t.used);
    }
    t.used = 1500;
    t.metas[1].n_free = 477;
    MUST(table_loaded(&t) == -EBADMSG);
    t.metas[1].n_free = 476;
    MUST(table_loaded(&t) == 0 && t.n_free == 476);
    table_load_dropped(&t, 1);
    MUST(table_loaded(&t) == 0 && table_get(&t, 1024) == NULL);
    t.metas[1].n_free = 475;
    MUST(table_loaded(&t) == -EBADMSG);
    t.metas[1].n_free = 476;
    t.metas[0].n_free = 1024; /* record 0 is none of them */
    MUST(table_loaded(&t) == -EBADMSG);
}

struct reader {
    uint32_t first;
    uint64_t sum;
};

static void *read_all(void *arg)
{
    struct reader *r = arg;
    for (uint32_t k = 1; k < t.used; k++) {
        uint32_t i = (k + r->first) % (t.used - 1) + 1;
        r->sum += value_of(&t, i);
    }
    return NULL;
}

Test(table, readers_fetch_beside_each_other)
{
    struct reader readers[4];
    pthread_t threads[4];
    MUST(table_init(&t, pool, 64) == 0);
    load(200);
    for (uint32_t k = 0; k < 4; k++) {
        readers[k] = (struct reader){.first = k * 30000};
        MUST(pthread_create(&threads[k], NULL, read_all, &readers[k]) == 0);
    }
    for (uint32_t k = 0; k < 4; k++)
        MUST(pthread_join(threads[k], NULL) == 0);
    for (uint32_t k = 0; k < 4; k++)
        MUST(readers[k].sum == (uint64_t)t.used * (t.used - 1) / 2);
    MUST(n_fetched == 200); /* each once */
}

/* ---- damage ------------------------------------------------------------------- */

static void chain(uint32_t i, uint32_t next)
{
    memcpy((uint8_t *)t.chunks[i >> t.chunk_shift] + (i & 1023) * 64, &next, sizeof(next));
}

Test(table, validate_finds_damage)
{
    fill(64, 2);
    free_one(1024 + 7);
    free_one(1024 + 200);
    free_one(1024 + 5);
    MUST(table_validate_free(&t) == 0);
    static const uint32_t bad_next[] = {5, 7, 200, 1024, UINT32_MAX};
    for (size_t i = 0; i < 5; i++) {
        chain(1024 + 200, bad_next[i]);
        cr_assert_eq(table_validate_free(&t), bad_next[i] == 7 ? 0 : -EBADMSG, "next %u", bad_next[i]);
    }
    chain(1024 + 200, 7);
    for (uint16_t n = 0; n < 6; n++) {
        t.metas[1].n_free = n;
        MUST(table_validate_free(&t) == (n == 3 ? 0 : -EBADMSG));
    }
    t.metas[1].n_free = 3;
    free_one(9);
    chain(9, 0);
    MUST(table_validate_free(&t) == 0);
    t.metas[0].free_head = 0; /* record 0 is never free */
    MUST(table_validate_free(&t) == -EBADMSG);
}

Test(table, a_broken_chain_loses_records_only)
{
    fill(64, 1);
    for (uint32_t i = 1; i <= 10; i++)
        free_one(i);
    memset(mut_one(8), 0xff, 64); /* a stray writer */
    uint32_t used = t.used;
    MUST(alloc_one() == 10);
    MUST(alloc_one() == 9);
    MUST(alloc_one() == 8);
    MUST(predict(0) == 0); /* which is told */
    MUST(alloc_one() == used);
    MUST(table_validate_free(&t) == 0);
}

Test(table, dropped_and_loaded_at_random_against_a_model)
{
    uint64_t rng = test_seed();
    static uint32_t value[20001];
    MUST(table_init(&t, pool, 1024) == 0);
    table_keep_word(&t);
    static uint32_t uses[20001];
    for (uint32_t step = 1; step <= 300000; step++) {
        bool shrinking = step / 30000 % 2;
        uint32_t i = 1 + (uint32_t)rng_below(&rng, t.used);
        if (rng_below(&rng, 10) < (shrinking ? 3u : 7u) && (t.n_free > 0 || t.used < 20000)) {
            uint32_t next = predict(0), word = table_kept_word(&t, next);
            if (next == t.used)
                MUST(uses[next] == 0 && word == 0);
            i = alloc_one();
            MUST(i == next && value[i] == 0);
            MUST(word >= uses[i]); /* a number is never used twice */
            uses[i] = word + 1;
            set_words(i, step, uses[i]);
            value[i] = step;
        } else if (i < t.used && value[i] != 0) {
            free_one(i);
            value[i] = 0;
        }
        if (rng_below(&rng, 1000) == 0)
            (void)table_drop_empty(&t, 1 + (size_t)rng_below(&rng, 5));
        if (step % 30000 == 0)
            for (uint32_t k = 1; k < t.used; k++)
                if (value[k] != 0)
                    MUST(value_of(&t, k) == value[k]);
    }
    MUST(table_validate_free(&t) == 0);
    for (uint32_t k = 1; k < t.used; k++)
        if (value[k] != 0)
            free_one(k);
    (void)drop_all();
    MUST(chunk_pool_live_bytes(pool) == 0);
}

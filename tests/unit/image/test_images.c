/*
 * test_images.c - checkpoints of tables in two copies: what was written is read, whatever was changed,
 * dropped, moved or failed in between; what one copy has lost the other has; what a file claims is bounded by
 * what it has. */
#include "image_tables.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(images, .timeout = 240);

#define SPARE (UINT64_C(256) << 10)

static struct it it;

static void setup(void)
{
    it_new(&it, test_seed());
    it.live.images.spare_bytes = SPARE;
}

static void teardown(void)
{
    it_free(&it);
}

static void fill(unsigned table, uint32_t n)
{
    while (n-- > 0)
        (void)it_add(&it, table);
}

/* ---- what is written is read -------------------------------------------------------------------- */

static void random_changes(uint32_t n)
{
    while (n-- > 0) {
        unsigned table = (unsigned)rng_below(&it.rng, IT_TABLES);
        struct table *t = &it.live.t[table];
        uint32_t i = 1 + (uint32_t)rng_below(&it.rng, t->used), what = (uint32_t)rng_below(&it.rng, 100);
        if (what < 40 || !it_in_use(&it, table, i))
            (void)it_add(&it, table);
        else if (what < 70)
            it_change(&it, table, i);
        else
            it_remove(&it, table, i);
    }
}

/* Empties a stretch of a table, so that chunks are dropped. */
static void clear_stretch(void)
{
    unsigned table = (unsigned)rng_below(&it.rng, IT_TABLES);
    struct table *t = &it.live.t[table];
    uint32_t from = (uint32_t)rng_below(&it.rng, t->used), n = 3u << t->chunk_shift;
    for (uint32_t i = MAX_OF(from, 1u); i < t->used && i - from < n; i++)
        if (it_in_use(&it, table, i))
            it_remove(&it, table, i);
    (void)table_drop_empty(t, rng_below(&it.rng, 4));
}

static void few_changes(void *arg)
{
    (void)arg;
    random_changes(20);
}

/* The life goes on in what was read, most of it absent at first. */
static void live_on(void)
{
    it_end(&it.live);
    MUST(it_open(&it, &it.live) != 0);
    it.live.images.spare_bytes = SPARE;
}

Test(images, what_was_written_is_read, .init = setup, .fini = teardown)
{
    uint64_t dropped = 0, merged = 0, cleaned = 0, failed = 0;
    fill(0, 4000);
    fill(1, 20000);
    for (int round = 0; round < 300; round++) {
        uint64_t what = rng_below(&it.rng, 20);
        random_changes((uint32_t)rng_below(&it.rng, what == 0 ? 3000 : 60));
        if (what == 1)
            clear_stretch();
        it.keep_files = what == 2;
        if (what == 3) {
            simdisk_fail(it.disk, (enum sim_call)rng_below(&it.rng, SIM_UNLINK), 1 + rng_below(&it.rng, 3),
                         EIO);
            failed += it_checkpoint_while(&it, few_changes) != 0;
            simdisk_fail(it.disk, SIM_ANY_CALL, 0, 0);
        }
        MUST(it_checkpoint(&it) == 0);
        MUST(it_reads_as(&it, &it.live));
        merged += it.last.merged;
        cleaned += it.last.cleaned;
        for (unsigned i = 0; i < IT_TABLES; i++)
            for (uint32_t c = 0; c < it.live.t[i].n_chunks; c++)
                dropped += it.live.t[i].states[c] == TABLE_DROPPED;
        if (what >= 18)
            live_on();
    }
    (void)fprintf(stderr, "dropped %llu, merged %llu, cleaned %llu, failed %llu\n",
                  (unsigned long long)dropped, (unsigned long long)merged, (unsigned long long)cleaned,
                  (unsigned long long)failed);
    MUST(dropped > 0 && merged > 0 && cleaned > 0 && failed > 0); /* all of it was met */
}

Test(images, writers_go_on_while_a_checkpoint_is_written, .init = setup, .fini = teardown)
{
    fill(0, 20000);
    MUST(it_checkpoint(&it) == 0);
    for (int round = 0; round < 20; round++) {
        struct it_life before;
        MUST(it_open(&it, &before) != 0);
        random_changes(100);
        /* what is changed meanwhile is not in it, but in the next */
        MUST(it_checkpoint_while(&it, few_changes) == 0);
        MUST(!it_reads_as(&it, &it.live));
        it_end(&before);
        MUST(it_checkpoint(&it) == 0);
        MUST(it_reads_as(&it, &it.live));
    }
}

/* ---- views of what is absent ---------------------------------------------------------------------- */

Test(images, a_view_sees_an_absent_chunk_as_it_was, .init = setup, .fini = teardown)
{
    fill(0, 5000);
    MUST(it_checkpoint(&it) == 0);
    struct it_life was;
    MUST(it_open(&it, &was) != 0);
    live_on();
    struct it_view v;
    it_freeze(&it, &v);
    for (uint32_t i = 1; i < 2000; i++)
        it_change(&it, 0, i); /* fetches chunks, and replaces them */
    for (uint32_t i = 3000; i < 4200; i++)
        it_remove(&it, 0, i);
    MUST(table_drop_empty(&it.live.t[0], 10) == 0);
    MUST(it_same(&v.t[0], &was.t[0]) && it_same(&v.t[1], &was.t[1]));
    MUST(!it_same(&it.live.t[0], &was.t[0]));
    /* and what the view has fetched first is the table's, too */
    MUST(memcmp(table_get(&it.live.t[0], 2500), table_get(&was.t[0], 2500), 128) == 0);
    it_thaw(&it, &v);
    it_end(&was);
}

struct fetching {
    pthread_rwlock_t lock;
    _Atomic unsigned ready;
};

static void lock_shared(void *arg)
{
    pthread_rwlock_rdlock(&((struct fetching *)arg)->lock);
}

static void unlock_shared(void *arg)
{
    pthread_rwlock_unlock(&((struct fetching *)arg)->lock);
}

static void *load_all(void *arg)
{
    images_load(arg, 3);
    return NULL;
}

/* Loaders, a writer that changes and grows the tables, checkpoints that move pieces and remove files. */
Test(images, chunks_are_loaded_while_all_goes_on, .init = setup, .fini = teardown)
{
    struct fetching f = {.lock = PTHREAD_RWLOCK_INITIALIZER};
    fill(0, 30000);
    fill(1, 60000);
    for (int round = 0; round < 12; round++) {
        MUST(it_checkpoint(&it) == 0);
        live_on();
        struct table *tables[IT_TABLES] = {&it.live.t[0], &it.live.t[1]};
        struct images_loading l = {.images = &it.live.images,
                                   .tables = tables,
                                   .lock = lock_shared,
                                   .unlock = unlock_shared,
                                   .arg = &f};
        pthread_t thread;
        MUST(pthread_create(&thread, NULL, load_all, &l) == 0);
        for (int k = 0; k < 10; k++) {
            pthread_rwlock_wrlock(&f.lock);
            random_changes(200);
            pthread_rwlock_unlock(&f.lock);
        }
        MUST(pthread_join(thread, NULL) == 0);
        for (unsigned i = 0; i < IT_TABLES; i++)
            for (uint32_t c = 0; c < it.live.t[i].n_chunks; c++)
                MUST(it.live.t[i].states[c] != TABLE_ABSENT);
        MUST(it_checkpoint(&it) == 0);
        MUST(it_reads_as(&it, &it.live));
    }
}

/* ---- faults, and the loss of power ---------------------------------------------------------------- */

Test(images, a_checkpoint_that_fails_changes_nothing, .init = setup, .fini = teardown)
{
    static const enum sim_call calls[] = {SIM_CREATE, SIM_PWRITEV, SIM_DATASYNC, SIM_SYNCDIR};
    fill(0, 3000);
    MUST(it_checkpoint(&it) == 0);
    for (size_t k = 0; k < sizeof calls / sizeof calls[0]; k++) {
        for (uint64_t nth = 1;; nth++) {
            struct it_life before;
            MUST(it_open(&it, &before) != 0);
            random_changes(30);
            it.io->dir_failed = 0;
            simdisk_fail(it.disk, calls[k], nth, EIO);
            int r = it_checkpoint(&it);
            bool over = simdisk_fault_waits(it.disk);
            simdisk_fail(it.disk, SIM_ANY_CALL, 0, 0);
            MUST(over == (r == 0));
            if (r)
                MUST(it_reads_as(&it, &before));
            it_end(&before);
            MUST(it_checkpoint(&it) == 0); /* with all that the failed one was to have */
            MUST(it_reads_as(&it, &it.live));
            if (over)
                break;
            MUST(nth < 100);
        }
    }
}

/* Before it is adopted. With neither it may be gone with the next cut of the power, whatever is read now. */
Test(images, one_of_two_copies_must_be_durable, .init = setup, .fini = teardown)
{
    fill(0, 3000);
    MUST(it_checkpoint(&it) == 0);
    uint64_t id = it.live.images.map.id;
    MUST(images_settle(&it.live.images, id) == 0);
    for (uint64_t nth = 1; nth <= IMAGE_COPIES; nth++) {
        simdisk_fail(it.disk, SIM_DATASYNC, nth, EIO);
        MUST(images_settle(&it.live.images, id) == 0);
    }
    simdisk_fail_always(it.disk, SIM_DATASYNC, EIO);
    MUST(images_settle(&it.live.images, id) == -EIO);
    simdisk_fail(it.disk, SIM_ANY_CALL, 0, 0);
    MUST(it_reads_as(&it, &it.live));
}

static void change_all(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        it_change(&it, 0, i);
}

/* The first file has a third of what is needed, and that was to be moved. */
Test(images, what_is_to_be_moved_does_not_fit, .init = setup, .fini = teardown)
{
    it.live.images.spare_bytes = UINT64_MAX / 2; /* nothing is cleaned */
    fill(0, 20000);
    MUST(it_checkpoint(&it) == 0);
    change_all(1, 13312);
    MUST(it_checkpoint(&it) == 0);
    change_all(1, 4096);
    MUST(it_checkpoint(&it) == 0);
    uint64_t bytes = it.last.bytes;
    it.live.images.spare_bytes = 0;
    change_all(1, 4096);
    simdisk_limit(it.disk, simdisk_used(it.disk) + bytes * 5 / 4);
    MUST(it_checkpoint(&it) == 0 && it.last.cleaned == 0);
    MUST(it_reads_as(&it, &it.live));
    simdisk_limit(it.disk, simdisk_used(it.disk) + bytes / 2);
    change_all(1, 4096);
    MUST(it_checkpoint(&it) == -ENOSPC);
    simdisk_limit(it.disk, 0);
    MUST(it_checkpoint(&it) == 0 && it.last.cleaned > 0);
    MUST(it_reads_as(&it, &it.live));
}

static void fetch_all(struct it_life *l)
{
    for (unsigned i = 0; i < IT_TABLES; i++)
        for (uint32_t c = 0; c < l->t[i].n_chunks; c++)
            (void)table_chunk(&l->t[i], c);
    images_close(&l->images, 0);
}

/* One life opens a copy of the disk, changes something, and is cut at a call of its checkpoint. False: it had
 * not so many. */
static bool cut_at(uint64_t at, enum sim_survival mode, uint32_t changes, uint64_t seed, uint64_t *kept_old,
                   uint64_t *kept_new)
{
    struct it cut = {.disk = simdisk_clone(it.disk), .next_id = it.next_id, .rng = ~(seed * 1000 + at)};
    struct it_life old;
    cut.io = simdisk_io(cut.disk);
    MUST(it_open(&cut, &cut.live) != 0 && it_open(&cut, &old) != 0);
    fetch_all(&cut.live);
    fetch_all(&old);
    for (uint32_t i = 1; i < changes; i++)
        it_change(&cut, 0, i);
    simdisk_cut_at(cut.disk, at, false);
    (void)it_checkpoint(&cut);
    bool is_off = simdisk_is_off(cut.disk);
    images_close(&cut.live.images, 0);
    simdisk_power_on(cut.disk, mode, seed * 100 + at);
    bool is_old = it_reads_as(&cut, &old), is_new = it_reads_as(&cut, &cut.live);
    MUST(is_old != is_new);
    *kept_old += is_old;
    *kept_new += is_new;
    it_end(&old);
    it_free(&cut);
    return is_off;
}

/* Whatever survives, the newest checkpoint that opens is whole. */
Test(images, a_cut_leaves_the_old_or_the_new, .init = setup, .fini = teardown)
{
    uint64_t kept_old = 0, kept_new = 0;
    fill(0, 1500);
    for (int round = 0; round < 4; round++) {
        MUST(it_checkpoint(&it) == 0);
        for (unsigned mode = 0; mode < SIM_N_SURVIVALS; mode++)
            for (uint64_t at = 1; cut_at(at, (enum sim_survival)mode, 1000, 1, &kept_old, &kept_new); at++)
                MUST(at < 100);
        random_changes(60);
    }
    MUST(kept_old > 0 && kept_new > 0);
}

/* Written in several pieces: any of them may be what is lost. */
Test(images, a_cut_of_a_large_one_does_no_more, .init = setup, .fini = teardown)
{
    uint64_t kept_old = 0, kept_new = 0;
    fill(0, 24000);
    MUST(it_checkpoint(&it) == 0);
    for (uint64_t seed = 1; seed <= 6; seed++)
        for (uint64_t at = 1; cut_at(at, SIM_RANDOM, 24000, seed, &kept_old, &kept_new); at++)
            MUST(at < 100);
    MUST(kept_old > 0 && kept_new > 0);
}

/*
 * test_long_pasts.c - lines of very many past states, and very many past names of one place: a run of the job
 * `history` ends, looks at so much at once, and keeps what it has to. */
#include "commit/cuts.h"
#include "index/past.h"
#include "index/past_names.h"
#include "must.h"
#include "one_store.h"
#include "upkeep/sweep.h"

#include <criterion/criterion.h>
#include <sched.h>

#define LONG (2 * SWEEP_PLAN + SWEEP_PLAN / 2)

TestSuite(long_pasts, .init = setup, .fini = teardown, .timeout = 60);

static void keep(const char *versions)
{
    MUST(eng_config_set(u.eng, "history", "9000d") == 0);
    MUST(eng_config_set(u.eng, "history_settle", "0") == 0);
    MUST(eng_config_set(u.eng, "history_versions", versions) == 0);
}

static void sweep(void)
{
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
}

static uint64_t n_past(void)
{
    return u.eng->idx.s.n_past;
}

static uint64_t n_past_names(void)
{
    return u.eng->idx.s.n_past_names;
}

static void write_states(uint64_t ino, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        MUST(eng_write(u.eng, ino, &i, sizeof i, 0) == (ssize_t)sizeof i);
}

/* What the file was after that batch. */
static uint32_t was(uint64_t batch, uint64_t ino)
{
    struct eng_view *view;
    uint32_t value = UINT32_MAX;
    MUST(eng_view_open(u.eng, batch, &view) == 0);
    MUST(eng_view_read(view, ino, &value, sizeof value, 0) == (ssize_t)sizeof value);
    eng_view_close(view);
    return value;
}

/* ---- states ------------------------------------------------------------------------------- */

Test(long_pasts, of_lines_keep_the_newest_and_what_a_snapshot_sees)
{
    keep("4096");
    uint64_t a = unit_create(&u, "a"), b = unit_create(&u, "b"), c = unit_create(&u, "c");
    write_states(a, 20);
    write_states(b, LONG);
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    uint64_t seen = u.eng->published_seq;
    write_states(b, 50);
    write_states(c, LONG);
    uint64_t last = u.eng->published_seq;
    u.eng->idx.way.n_walks = 0;
    keep("10");
    cr_assert_leq(u.eng->idx.way.n_walks, 12u, "for each state: %llu",
                  (unsigned long long)u.eng->idx.way.n_walks);
    cr_assert_eq(n_past(), 32, "10 of each, and what the snapshot shows: %llu", (unsigned long long)n_past());
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(was(last - i, c), LONG - 1 - i);
    cr_assert_eq(was(seen, b), LONG - 1);
    cr_assert_eq(unit_problems(&u), 0);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    cr_assert_eq(n_past(), 30);
}

/* A removed memory takes its line along. */
Test(long_pasts, of_a_removed_memory_go_with_it)
{
    keep("4096");
    write_states(unit_create(&u, "a"), LONG);
    u.eng->idx.way.n_walks = 0;
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "a") == 0);
    MUST(eng_config_set(u.eng, "history", "0") == 0);
    cr_assert_eq(n_past() + n_past_names() + u.eng->idx.n_orphans, 0);
    cr_assert_leq(u.eng->idx.way.n_walks, 12u);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- names --------------------------------------------------------------------------------- */

static void rename_often(uint64_t dir, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        MUST(eng_rename(u.eng, NULL, dir, i % 2 ? "b" : "a", dir, i % 2 ? "a" : "b", 0) == 0);
}

Test(long_pasts, of_a_place_keep_the_newest)
{
    keep("4096");
    (void)unit_create(&u, "a");
    rename_often(ENG_ROOT_INO, LONG);
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    rename_often(ENG_ROOT_INO, 50);
    keep("10");
    cr_assert_eq(n_past_names(), 11);
    cr_assert_eq(unit_problems(&u), 0);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    cr_assert_eq(n_past_names(), 10);
}

/* Its names may go, but it goes with all of them, when nobody has it open any more. */
Test(long_pasts, in_a_folder_that_is_removed_and_open)
{
    keep("4096");
    uint64_t dir = unit_mkdir(&u, "d");
    struct eng_attr attr;
    const struct eng_caller opener = {.ref = true};
    MUST(eng_lookup(u.eng, &opener, ENG_ROOT_INO, "d", &attr) == 0);
    MUST(eng_create(u.eng, NULL, dir, "a", S_IFREG | 0600, 0, NULL, &attr) == 0);
    rename_often(dir, LONG);
    MUST(eng_unlink(u.eng, dir, LONG % 2 ? "b" : "a") == 0);
    MUST(eng_rmdir(u.eng, ENG_ROOT_INO, "d") == 0);
    MUST(eng_config_set(u.eng, "history", "0") == 0);
    cr_assert_geq(n_past_names(), SWEEP_PLAN, "more than one plan");
    eng_forget(u.eng, dir, 1);
    sweep();
    cr_assert_eq(n_past_names(), 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- soon ------------------------------------------------------------------------------------ */

/* Without a run through all there is, which comes by the hour. */
Test(long_pasts, are_cut_when_they_get_long)
{
    keep("20");
    uint64_t a = unit_create(&u, "a");
    (void)unit_create(&u, "f");
    atomic_store(&u.eng->sweep_at, mono_ns() + UINT64_C(3600) * 1000000000);
    write_states(a, 30);
    cr_assert_eq(cuts_due_at(u.eng), 0, "it is not yet worth it");
    for (unsigned i = 0; i < 3 * SWEEP_PLAN; i++) {
        write_states(a, 1);
        MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "f", ENG_ROOT_INO, "f~", 0) == 0);
        (void)unit_create(&u, "f");
        (void)unit_create(&u, "g");
        MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "g", ENG_ROOT_INO, "f~", 0) == 0);
        if (i % 100 != 0)
            continue;
        cr_assert(!i || cuts_due_at(u.eng) > 0);
        u.eng->cuts->due_at = cuts_due_at(u.eng) ? 1 : 0; /* it has come */
        (void)eng_tick(u.eng);
        cr_assert_leq(n_past(), 20u + CUT_STEP, "%llu", (unsigned long long)n_past());
        cr_assert_leq(n_past_names(), 4u * (20 + CUT_STEP), "%llu", (unsigned long long)n_past_names());
        cr_assert_eq(cuts_due_at(u.eng), 0);
    }
    cr_assert_eq(unit_problems(&u), 0);
}

/* More of them than are noted: then all is gone through, soon. */
Test(long_pasts, are_found_if_there_are_very_many)
{
    keep("1");
    uint64_t inos[CUT_LINES + 10];
    char name[16];
    for (unsigned i = 0; i < ARRAY_LEN(inos); i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        inos[i] = unit_create(&u, name);
    }
    atomic_store(&u.eng->sweep_at, 0);
    for (unsigned i = 0; i < ARRAY_LEN(inos); i++)
        write_states(inos[i], 40);
    u.eng->cuts->due_at = 1;
    (void)eng_tick(u.eng);
    cr_assert_gt(atomic_load(&u.eng->sweep_at), 1);
    cr_assert_leq(n_past(), CUT_LINES + 10 * 40);
    atomic_store(&u.eng->sweep_at, 1);
    (void)eng_tick(u.eng);
    cr_assert_eq(n_past(), ARRAY_LEN(inos));
    cr_assert_eq(unit_problems(&u), 0);
}

/* The housekeeper is told when there is something to cut. */
Test(long_pasts, are_cut_by_the_housekeeper)
{
    keep("20");
    uint64_t a = unit_create(&u, "a");
    MUST(eng_sync(u.eng) == 0);
    unit_close(&u);
    u.opt.no_background = false;
    u.opt.commit_ms = 1000000;
    unit_open(&u);
    write_states(a, 2000);
    for (bool is_cut = false; !is_cut;) {
        pthread_rwlock_rdlock(&u.eng->index_lock);
        is_cut = n_past() <= 20;
        pthread_rwlock_unlock(&u.eng->index_lock);
        sched_yield();
    }
}

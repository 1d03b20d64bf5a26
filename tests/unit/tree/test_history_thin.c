/*
 * test_history_thin.c - moments in which nothing that is kept begins or ends: they go, and by each time the
 * same tree is found as before. */
#include "history_tree.h"

TestSuite(history_thin, .timeout = 600, .fini = tree_end);

#define CHANGES 700u
#define STEP (SECOND / 2)
#define HOUR_MS 3600000

static char *found[8000];
static int64_t began;

/* What there was at that time; NULL: nothing is found. */
static char *sight_by(int64_t time)
{
    uint64_t batch;
    struct eng_view *view;
    if (eng_past_at(u.eng, time, &batch) != 0)
        return NULL;
    MUST(eng_view_open(u.eng, batch, &view) == 0);
    char *text = tree_sight(view);
    eng_view_close(view);
    return text;
}

static void find_all(int64_t end)
{
    for (size_t i = 0; i < ARRAY_LEN(found) && began + (int64_t)i * STEP < end; i++)
        found[i] = sight_by(began + (int64_t)i * STEP);
}

static void compare_found(int64_t end)
{
    for (size_t i = 0; i < ARRAY_LEN(found) && began + (int64_t)i * STEP < end; i++) {
        char *now = sight_by(began + (int64_t)i * STEP);
        cr_assert(!now == !found[i]);
        cr_assert(!now || strcmp(now, found[i]) == 0, "half second %zu:\n%s\nand not\n%s", i, now, found[i]);
        free(now);
    }
}

static uint32_t n_moments(void)
{
    uint32_t n = 0;
    for (uint32_t i = 1; i < u.eng->idx.moments.used; i++)
        n += index_moment(&u.eng->idx, i) != NULL;
    return n;
}

static void change_often(void)
{
    began = now_ns();
    for (unsigned i = 0; i < CHANGES; i++) {
        pass_ms(1000 + (int64_t)below(2000));
        change();
        if (i % 100 == 50)
            hand_clock.people -= 20 * SECOND;
        if (i == CHANGES / 2)
            MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    }
}

Test(history_thin, shows_the_same_by_each_time)
{
    begin(test_seed() + 700);
    change_often();
    atomic_store(&u.eng->config.history_versions, 3);
    sweep();
    uint64_t states = n_past();
    sweep();
    cr_assert_eq(n_past(), states, "all goes at once that may");
    int64_t end = now_ns();
    find_all(end);
    uint32_t before = n_moments();
    pass_ms(HOUR_MS / 2);
    sweep();
    cr_assert_eq(n_moments(), before, "not of the last hour");
    pass_ms(HOUR_MS);
    sweep();
    cr_assert_lt(n_moments(), before - before / 8, "%u of %u", n_moments(), before);
    compare_found(end);
    cr_assert_eq(unit_problems(&u), 0);
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_DROP_ALL, 1);
    unit_open(&u);
    set_history(1u << 30);
    compare_found(end);
    unit_reopen(&u);
    set_history(1u << 30);
    compare_found(end);
    cr_assert_eq(unit_problems(&u), 0);
    for (size_t i = 0; i < ARRAY_LEN(found); i++)
        free(found[i]);
}

/* One memory, over and over: as many are left as it has states. */
Test(history_thin, leaves_as_many_as_there_are_states)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    for (unsigned i = 0; i < 5000; i++) {
        pass_ms(1000);
        (void)write_at(ino, i);
    }
    atomic_store(&u.eng->config.history_versions, 20);
    pass_ms(2 * HOUR_MS);
    sweep();
    cr_assert_eq(n_past(), 20);
    cr_assert_leq(n_moments(), 30u);
    cr_assert_eq(unit_problems(&u), 0);
}

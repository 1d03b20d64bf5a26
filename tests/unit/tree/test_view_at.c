/*
 * test_view_at.c - views of a batch: whatever was done since, each shows what the store showed then. A random
 * tree, its states and names kept as they must be; what was seen after each change is noted, and compared
 * with the view of that batch, over compactions, checkpoints and recoveries; and what differs between two
 * views, with what a walk through both finds. */
#include "past_changes.h"

#include "walked_diff.h"

/* ---- beside it --------------------------------------------------------------------- */

static void compact(void)
{
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
}

static void restart(void)
{
    unit_reopen(&u);
}

static void recover(void)
{
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_DROP_ALL, below(1000));
    unit_open(&u);
}

static void write_checkpoint(void)
{
    int r = checkpoint_write(u.eng);
    MUST(!r || !loading_is_done(&u.eng->loading)); /* which it would not wait for */
}

/* A batch that nothing belongs to that is seen: what was noted before is what the view of it shows, too. */
static void compare_some(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = 1 + below(last_batch());
        if (sights[at])
            tree_compare(at);
    }
}

static void compare_two(void)
{
    uint64_t from = 1 + below(last_batch()), to = from + below(below(2) ? 20 : 500);
    while (from < last_batch() && !sights[from])
        from++;
    while (to > from && (to > last_batch() || !sights[to]))
        to--;
    if (sights[from] && sights[to])
        compare_walked(from, to);
}

static void run(unsigned changes)
{
    void (*const besides[])(void) = {compact, restart, recover, write_checkpoint};
    n_names = 0;
    for (unsigned i = 0; i < changes; i++) {
        change();
        if (below(25) == 0) {
            besides[below(ARRAY_LEN(besides))]();
            compare_some(3);
        }
        if (below(4) == 0)
            compare_two();
    }
    for (unsigned k = 0; k < ARRAY_LEN(besides); k++) {
        besides[k]();
        compare_some(8);
        for (unsigned i = 0; i < 20; i++)
            compare_two();
    }
    for (uint64_t at = 1; at <= last_batch(); at++)
        if (sights[at])
            tree_compare(at);
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_eq(unit_stats(&u).damaged_extents, 0);
}

TestSuite(view_at, .timeout = 600);

Test(view_at, of_a_snapshot_is_exact)
{
    uint64_t seed = test_seed();
    for (uint64_t i = 0; i < 3; i++) {
        tree_begin(true, seed + i);
        run(250);
        tree_end();
    }
}

Test(view_at, of_a_whole_past_has_names_files_and_folders)
{
    uint64_t seed = test_seed() + 1000;
    for (uint64_t i = 0; i < 3; i++) {
        tree_begin(false, seed + i);
        run(300);
        tree_end();
    }
}

/* ---- snapshots that the store keeps by itself ------------------------------------------- */

static uint64_t made[64]; /* batch of the snapshot of that number, 0: it was dropped */
static unsigned n_made;

static void snapshot_name(unsigned n, char name[16])
{
    (void)snprintf(name, 16, "s%u", n);
}

static void make_snapshot(void)
{
    char name[16];
    if (n_made == ARRAY_LEN(made))
        return;
    snapshot_name(n_made, name);
    MUST(eng_snapshot_create(u.eng, name, &made[n_made]) == 0);
    MUST(made[n_made] == last_batch());
    n_made++;
    tree_note();
}

static void drop_snapshot(void)
{
    char name[16];
    struct eng_view *view = NULL;
    unsigned n = (unsigned)below(n_made);
    if (!n_made || !made[n])
        return;
    snapshot_name(n, name);
    MUST(eng_snapshot_drop(u.eng, name) == 0);
    cr_assert_eq(eng_view_open(u.eng, made[n], &view), -ENOENT);
    made[n] = 0;
}

static void compare_snapshots(void)
{
    for (unsigned n = 0; n < n_made; n++)
        if (made[n])
            tree_compare(made[n]);
}

static void run_snapshots(unsigned changes)
{
    void (*const besides[])(void) = {compact, restart, recover, write_checkpoint};
    n_names = n_made = 0;
    for (unsigned i = 0; i < changes; i++) {
        change();
        if (below(12) == 0)
            make_snapshot();
        if (below(40) == 0)
            drop_snapshot();
        if (below(40) == 0)
            besides[below(ARRAY_LEN(besides))]();
        if (below(40) == 0)
            compare_snapshots();
    }
    for (unsigned k = 0; k < ARRAY_LEN(besides); k++) {
        besides[k]();
        compare_snapshots();
    }
    cr_assert_eq(unit_problems(&u), 0);
}

Test(view_at, of_a_snapshot_that_the_store_keeps)
{
    uint64_t seed = test_seed() + 2000;
    for (uint64_t i = 0; i < 4; i++) {
        tree_begin(true, seed + i);
        by_itself = true;
        run_snapshots(500);
        tree_end();
    }
}

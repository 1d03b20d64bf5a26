/*
 * test_history.c - a store that keeps a history by itself, under a clock that the test moves: what is kept of
 * each change, and what a view of each batch shows then. */
#include "hand_clock.h"
#include "past_changes.h"

#include "hook.h"
#include "index/moments.h"

TestSuite(history, .timeout = 600, .fini = tree_end);

static uint64_t versions; /* that are kept, 0 all */

static void set_history(uint64_t seconds)
{
    atomic_store(&u.eng->config.history_is_known, true);
    atomic_store(&u.eng->config.history, seconds);
    atomic_store(&u.eng->config.history_settle, 1);
    atomic_store(&u.eng->config.history_versions, versions);
}

/* A store in which the past is whole from now on. */
static void begin(uint64_t seed)
{
    tree_begin(false, seed);
    by_itself = folder_times = true;
    n_names = 0;
    set_history(1u << 30);
    (void)unit_create(&u, "first");
    cr_assert_eq(u.eng->idx.s.floor, last_batch());
    pass_ms(60000);
}

static uint64_t n_past(void)
{
    return u.eng->idx.s.n_past;
}

static uint64_t n_past_names(void)
{
    return u.eng->idx.s.n_past_names;
}

/* Under the hand clock all that follows begins another moment. */
static void note(void)
{
    times[last_batch()] = now_ns();
    tree_note();
}

static void compare_all(void)
{
    for (uint64_t at = u.eng->idx.s.floor; at <= last_batch(); at++)
        if (sights[at])
            tree_compare(at);
}

static void compare_after_all(void)
{
    compare_all();
    cr_assert_eq(unit_problems(&u), 0);
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_DROP_ALL, 1);
    unit_open(&u);
    set_history(1u << 30);
    compare_all();
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    unit_reopen(&u);
    set_history(1u << 30);
    compare_all();
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- what stood for a while -------------------------------------------------------------- */

#define CHANGES 300u

static void run(void)
{
    for (unsigned i = 0; i < CHANGES; i++) {
        uint64_t before = last_batch();
        pass_ms(1000 + (int64_t)below(2000));
        change();
        if (last_batch() != before)
            note();
        if (below(60) == 0)
            compare_after_all();
    }
    compare_after_all();
}

Test(history, each_state_that_stood_for_a_second_is_there)
{
    begin(test_seed() + 100);
    run();
}

Test(history, and_beside_snapshots_that_come_and_go)
{
    char name[16];
    begin(test_seed() + 200);
    for (unsigned round = 0; round < 8; round++) {
        (void)snprintf(name, sizeof name, "s%u", round);
        for (unsigned i = 0; i < 25; i++) {
            uint64_t before = last_batch();
            pass_ms(1000);
            change();
            if (last_batch() != before)
                note();
        }
        MUST(eng_snapshot_create(u.eng, name, NULL) == 0);
        (void)snprintf(name, sizeof name, "s%u", round - 2);
        if (round > 2)
            MUST(eng_snapshot_drop(u.eng, name) == 0);
        compare_all();
    }
    compare_after_all();
}

/* ---- what did not ---------------------------------------------------------------------------- */

/* Writes, and the state is what is seen of `seed` then. */
static uint64_t write_at(uint64_t ino, uint64_t seed)
{
    unit_write(&u, ino, 3000, seed, 0);
    return last_batch();
}

static void expect_shown(uint64_t at, uint64_t ino, uint64_t seed)
{
    struct eng_view *view;
    uint8_t got[3000], *want = unit_bytes(sizeof got, seed);
    MUST(eng_view_open(u.eng, at, &view) == 0);
    cr_assert_eq(eng_view_read(view, ino, got, sizeof got, 0), (ssize_t)sizeof got);
    cr_assert_eq(memcmp(got, want, sizeof got), 0, "batch %llu shows not %llu", (unsigned long long)at,
                 (unsigned long long)seed);
    eng_view_close(view);
    free(want);
}

Test(history, what_stood_shorter_is_as_what_was_before)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0), first = last_batch(), inexact = u.eng->idx.s.inexact;
    pass_ms(60000);
    uint64_t kept = write_at(ino, 1);
    pass_ms(300);
    cr_assert_eq(u.eng->idx.s.inexact, inexact);
    uint64_t last = write_at(ino, 2);
    cr_assert_eq(u.eng->idx.s.inexact, last, "what a view shows of then is not all");
    pass_ms(300);
    uint64_t later = write_at(ino, 3);
    cr_assert_eq(n_past(), 1);
    pass_ms(1000);
    uint64_t end = write_at(ino, 4);
    cr_assert_eq(n_past(), 2);
    expect_shown(first, ino, 0);
    expect_shown(kept, ino, 0);
    expect_shown(last, ino, 0);
    expect_shown(later, ino, 3);
    expect_shown(end - 1, ino, 3);
    expect_shown(end, ino, 4);
}

/* Times that were set a moment ago do not make the content young. */
Test(history, settled_is_what_has_not_changed)
{
    struct eng_attr attr = {.mtime = 7};
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0), first = last_batch();
    pass_ms(60000);
    MUST(eng_setattr(u.eng, ino, &attr, ENG_SET_MTIME, NULL) == 0);
    pass_ms(100);
    (void)write_at(ino, 1);
    cr_assert_eq(n_past(), 1);
    expect_shown(first, ino, 0);
    /* Nor does a clock of people that stands still, or runs backwards. */
    hand_clock.machine += 2 * SECOND;
    hand_clock.people -= 5000 * SECOND;
    uint64_t second = write_at(ino, 2) - 1;
    hand_clock.people += 9000 * SECOND;
    (void)write_at(ino, 3);
    cr_assert_eq(n_past(), 2);
    expect_shown(second, ino, 1);
}

/* What the opening finds was there before, however short it is ago. */
Test(history, what_the_opening_found_is_settled)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    unit_reopen(&u);
    set_history(1u << 30);
    (void)write_at(ino, 1);
    cr_assert_eq(n_past(), 1);
    (void)write_at(ino, 2);
    cr_assert_eq(n_past(), 1);
}

/* Many short states, over and over: the one that stood is there, and one state for each second at most. */
Test(history, a_line_of_short_states)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0), stood[20];
    for (uint64_t i = 0; i < ARRAY_LEN(stood); i++) {
        pass_ms(1000);
        for (unsigned k = 0; k < 40; k++) {
            stood[i] = write_at(ino, 100 * i + k);
            pass_ms(7);
        }
    }
    pass_ms(1000);
    (void)write_at(ino, 1);
    cr_assert_eq(n_past(), 1 + ARRAY_LEN(stood));
    for (uint64_t i = 0; i < ARRAY_LEN(stood); i++)
        expect_shown(stood[i], ino, 100 * i + 39);
}

/* ---- names ------------------------------------------------------------------------------------ */

static uint64_t shown(uint64_t at, const char *name)
{
    struct eng_view *view;
    struct eng_attr attr;
    MUST(eng_view_open(u.eng, at, &view) == 0);
    int r = eng_view_lookup(view, ENG_ROOT_INO, name, &attr);
    eng_view_close(view);
    return r ? 0 : attr.ino;
}

static void move(const char *from, const char *to)
{
    MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, from, ENG_ROOT_INO, to, 0) == 0);
}

Test(history, what_is_removed_is_kept_however_young)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 5), at = last_batch();
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    cr_assert_eq(shown(at, "f"), ino);
    cr_assert_eq(shown(at + 1, "f"), 0);
    expect_shown(at, ino, 5);
    (void)unit_mkdir(&u, "d");
    at = last_batch();
    MUST(eng_rmdir(u.eng, ENG_ROOT_INO, "d") == 0);
    cr_assert(shown(at, "d"));
    unit_reopen(&u);
    cr_assert(shown(at, "d") && shown(at - 2, "f") == ino);
}

/* As emacs, sed -i and rsync do: what was replaced is kept, and of the names that were there for a moment
 * nothing is. */
Test(history, what_is_renamed_over_is_kept)
{
    uint64_t inos[20], at[20];
    begin(1);
    for (uint64_t i = 0; i < 20; i++) {
        inos[i] = unit_file(&u, "tmp", 3000, i);
        move("tmp", "f");
        at[i] = last_batch();
    }
    cr_assert_eq(n_past_names(), 19);
    for (uint64_t i = 0; i < 20; i++) {
        cr_assert_eq(shown(at[i], "f"), inos[i]);
        cr_assert_eq(shown(at[i], "tmp"), 0);
        expect_shown(at[i], inos[i], i);
    }
}

/* vim: f to f~, a new f, f~ goes. */
Test(history, quick_saves_by_vim_lose_nothing)
{
    uint64_t inos[20], at[20];
    begin(1);
    inos[0] = unit_file(&u, "f", 3000, 0);
    at[0] = last_batch();
    pass_ms(5000);
    for (uint64_t i = 1; i < 20; i++) {
        move("f", "f~");
        inos[i] = unit_file(&u, "f", 3000, i);
        at[i] = last_batch();
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f~") == 0);
        pass_ms(50);
    }
    for (uint64_t i = 0; i < 20; i++) {
        cr_assert_eq(shown(at[i], "f"), inos[i], "save %llu", (unsigned long long)i);
        expect_shown(at[i], inos[i], i);
    }
    cr_assert_eq(unit_problems(&u), 0);
}

Test(history, a_name_that_moves_is_kept_if_it_stood)
{
    begin(1);
    uint64_t ino = unit_file(&u, "a", 3000, 5), young = last_batch();
    move("a", "b");
    cr_assert_eq(n_past_names(), 0, "nobody misses it");
    cr_assert_eq(u.eng->idx.s.inexact, last_batch());
    cr_assert_eq(shown(young, "a"), 0);
    pass_ms(1000);
    uint64_t stood = last_batch();
    move("b", "c");
    cr_assert_eq(n_past_names(), 1);
    cr_assert(shown(stood, "b") == ino && !shown(stood, "c") && shown(last_batch(), "c") == ino);
    move("c", "b"); /* a path that has a past */
    move("b", "c");
    cr_assert_eq(n_past_names(), 2);
}

/* A path that was another's until just now is not shown twice. */
Test(history, no_path_is_there_twice)
{
    begin(1);
    uint64_t other = unit_file(&u, "b", 3000, 1);
    pass_ms(2000);
    (void)unit_file(&u, "a", 3000, 2);
    uint64_t at = last_batch();
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "b") == 0);
    move("a", "b"); /* with the place that it had */
    cr_assert_eq(shown(at, "b"), other);
    struct eng_view *view;
    MUST(eng_view_open(u.eng, at, &view) == 0);
    struct tree_entries e = {0};
    list_folder(&(struct seen){view, NULL}, ENG_ROOT_INO, &e);
    unsigned n = 0;
    for (size_t i = 0; i < e.n; i++)
        n += strcmp(e.all[i].name, "b") == 0;
    cr_assert_eq(n, 1);
    free(e.all);
    eng_view_close(view);
}

Test(history, links_are_counted_as_they_were)
{
    struct eng_attr attr;
    struct eng_view *view;
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 1), one = last_batch();
    MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "g", NULL) == 0);
    uint64_t two = last_batch();
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    uint64_t at[] = {one, two, last_batch()};
    for (unsigned i = 0; i < 3; i++) {
        MUST(eng_view_open(u.eng, at[i], &view) == 0);
        MUST(eng_view_getattr(view, ino, &attr) == 0);
        cr_assert_eq(attr.nlink, i == 1 ? 2 : 1);
        eng_view_close(view);
    }
}

/* ---- what has no past ---------------------------------------------------------------------- */

Test(history, of_what_nothing_leads_to_nothing_is_kept)
{
    static const struct eng_caller opener = {.ref = true};
    struct eng_attr attr;
    begin(1);
    MUST(eng_create(u.eng, &opener, ENG_ROOT_INO, NULL, S_IFREG | 0600, 0, NULL, &attr) == 0);
    pass_ms(2000);
    (void)write_at(attr.ino, 1);
    pass_ms(2000);
    (void)write_at(attr.ino, 2);
    cr_assert_eq(n_past(), 0);
    MUST(eng_forget(u.eng, attr.ino, 1) == 0 && eng_sync(u.eng) == 0);
    cr_assert_eq(u.eng->idx.n_orphans, 0);
    /* Of one that is open, and removed, what its name showed. */
    uint64_t ino = unit_file(&u, "f", 3000, 3), at = last_batch();
    MUST(eng_lookup(u.eng, &opener, ENG_ROOT_INO, "f", &attr) == 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    for (unsigned i = 0; i < 4; i++) {
        pass_ms(2000);
        (void)write_at(ino, 10 + i);
    }
    cr_assert_eq(n_past(), 1);
    expect_shown(at, ino, 3);
    MUST(eng_forget(u.eng, ino, 1) == 0);
}

/* ---- on and off ------------------------------------------------------------------------------ */

Test(history, begins_and_ends_with_the_floor)
{
    struct eng_view *view;
    tree_begin(false, 1);
    by_itself = true;
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    pass_ms(2000);
    (void)write_at(ino, 1);
    cr_assert(n_past() == 0 && u.eng->idx.moments.used == 1 && u.eng->idx.s.floor == 0);
    set_history(1000);
    pass_ms(2000);
    uint64_t on = write_at(ino, 2);
    cr_assert(n_past() == 0 && u.eng->idx.s.floor == on, "with the first change");
    pass_ms(2000);
    (void)write_at(ino, 3);
    expect_shown(on, ino, 2);
    cr_assert_eq(eng_view_open(u.eng, on - 1, &view), -ENOENT);
    MUST(eng_view_open(u.eng, on, &view) == 0);
    set_history(0);
    pass_ms(2000);
    (void)write_at(ino, 4);
    cr_assert_eq(u.eng->idx.s.floor, FLOOR_NONE);
    cr_assert_eq(n_past(), 1, "what was kept is for others to let go");
    struct eng_attr attr;
    cr_assert_eq(eng_view_getattr(view, ino, &attr), -ESTALE);
    eng_view_close(view);
    cr_assert_eq(eng_view_open(u.eng, last_batch(), &view), -ENOENT);
    unit_reopen(&u);
    cr_assert_eq(u.eng->idx.s.floor, FLOOR_NONE);
    set_history(1000);
    pass_ms(2000);
    on = write_at(ino, 5);
    cr_assert_eq(u.eng->idx.s.floor, on);
    expect_shown(on, ino, 5);
}

/* A batch begins a moment 10 ms after the last one did; what a checkpoint or a compaction writes, none. */
Test(history, moments_are_apart)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0), age = u.eng->idx.s.age;
    pass_ms(100);
    uint32_t used = u.eng->idx.moments.used;
    for (unsigned i = 0; i < 100; i++) {
        (void)write_at(ino, i);
        pass_ms(1);
    }
    cr_assert_eq(u.eng->idx.moments.used, used + 10);
    cr_assert_eq(u.eng->idx.s.age, age);
    pass_ms(5000);
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    (void)eng_accessed(u.eng, ino);
    unit_reopen(&u);
    set_history(1u << 30);
    cr_assert_eq(u.eng->idx.moments.used, used + 10);
    (void)write_at(ino, 5);
    cr_assert_eq(u.eng->idx.s.age, age + 5);
}

/* ---- what goes ---------------------------------------------------------------------------------- */

static void sweep(void)
{
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
}

static bool nothing_is_left(void)
{
    const struct index_scalars *s = &u.eng->idx.s;
    return !s->n_past && !s->n_past_names && !s->past_live && !u.eng->idx.n_orphans;
}

/* Each past state and name that is left a batch from the floor on shows, or a link is counted by. */
static void expect_no_more(void)
{
    const struct index *idx = &u.eng->idx;
    for (uint32_t i = 1; i < idx->past_names.used; i++) {
        const struct past_name_rec *past = index_past_name(idx, i);
        cr_assert(!past || past->end > idx->s.floor);
    }
    for (uint32_t slot = 1; slot < idx->inodes.used; slot++) {
        const struct inode_rec *past = index_slot(idx, slot);
        bool is_oldest = past && past->flags & INODE_PAST && !past->past;
        cr_assert(!is_oldest || past_end(past) > idx->s.floor);
    }
}

#define KEPT 200 /* seconds */

Test(history, goes_when_it_is_old)
{
    begin(test_seed() + 300);
    folder_times = false; /* of what goes nobody knows the time */
    set_history(KEPT);
    uint64_t first = u.eng->idx.s.floor;
    for (unsigned i = 0; i < CHANGES; i++) {
        uint64_t before = last_batch();
        pass_ms(1000 + (int64_t)below(2000));
        change();
        if (last_batch() != before)
            note();
        if (below(10))
            continue;
        sweep();
        expect_no_more();
        int64_t floor = index_time_of(&u.eng->idx, u.eng->idx.s.floor);
        cr_assert(floor <= now_ns() - KEPT * SECOND || u.eng->idx.s.floor == first, "not too early");
        cr_assert(i < 150 || floor > now_ns() - (KEPT + 20) * SECOND, "nor too late");
        compare_all();
    }
    compare_after_all();
    set_history(KEPT);
    uint32_t used = u.eng->idx.moments.used;
    pass_ms((KEPT + 2) * 1000);
    sweep();
    cr_assert(nothing_is_left());
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert(used > 100 && index_moment_by(&u.eng->idx, UINT64_MAX) > 0);
    for (uint32_t i = 1; i + 1 < u.eng->idx.moments.used; i++)
        cr_assert(!index_moment(&u.eng->idx, i) || index_snapshot(&u.eng->idx, i));
}

/* Nothing is lost by a clock of people that jumps; nor by one that is wrong while the store is closed. */
Test(history, goes_by_no_clock_of_people)
{
    const int64_t year = 365 * 86400 * SECOND;
    begin(1);
    set_history(30 * 86400);
    uint64_t ino = unit_file(&u, "f", 3000, 1), at = last_batch();
    pass_ms(2000);
    (void)write_at(ino, 2);
    hand_clock.people += year;
    pass_ms(2000);
    (void)write_at(ino, 3);
    sweep();
    expect_shown(at, ino, 1);
    unit_close(&u);
    hand_clock.people += year;
    unit_open(&u);
    set_history(30 * 86400);
    (void)write_at(ino, 4);
    sweep();
    expect_shown(at, ino, 1);
    hand_clock.people -= 3 * year;
    (void)write_at(ino, 5);
    unit_reopen(&u);
    set_history(30 * 86400);
    (void)write_at(ino, 6);
    sweep();
    expect_shown(at, ino, 1);
    cr_assert_leq(u.eng->idx.s.age, 2 * 86400);
    /* What it was made for goes by all the same. */
    for (unsigned day = 0; day < 31; day++) {
        pass_ms(86400 * 1000 - 4000);
        (void)write_at(ino, day);
    }
    sweep();
    struct eng_view *view;
    cr_assert_eq(eng_view_open(u.eng, at, &view), -ENOENT);
    cr_assert_eq(unit_problems(&u), 0);
}

/* A store that is opened now and then: of the time between a day counts at most. */
Test(history, ages_by_a_day_while_it_is_closed)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 1), age;
    for (unsigned i = 0; i < 3; i++) {
        static const int64_t hours[] = {5, 24, 24 * 60};
        pass_ms(10);
        (void)write_at(ino, i);
        age = u.eng->idx.s.age;
        unit_close(&u);
        hand_clock.people += hours[i] * 3600 * SECOND;
        unit_open(&u);
        set_history(1u << 30);
        (void)write_at(ino, i);
        cr_assert_eq(u.eng->idx.s.age, age + MIN_OF((uint64_t)hours[i], 24u) * 3600);
    }
}

/* ---- each batch of a sweep --------------------------------------------------------------------- */

#define CLONES 40u
static struct unit clones[CLONES];
static unsigned n_clones;

static void clone_now(void *arg, enum fault_point point)
{
    (void)arg;
    if (point == FP_LOG_WRITTEN && n_clones < CLONES)
        unit_clone(&clones[n_clones++], &u);
}

/* What a crash at any moment of a sweep leaves shows all that it promises. */
Test(history, goes_behind_the_floor)
{
    begin(test_seed() + 400);
    folder_times = false;
    for (unsigned i = 0; i < 60; i++) {
        pass_ms(1000);
        change();
        note();
    }
    compare_all();
    set_history(10);
    atomic_store(&u.eng->slice, 8);
    n_clones = 0;
    hook_set(u.eng, clone_now, NULL);
    sweep();
    hook_set(u.eng, NULL, NULL);
    cr_assert_gt(n_clones, 2);
    compare_all();
    struct unit own = u;
    for (unsigned i = 0; i < n_clones; i++) {
        u = clones[i];
        unit_open(&u);
        cr_assert_eq(unit_problems(&u), 0);
        compare_all();
        unit_done(&u);
    }
    u = own;
}

Test(history, stays_as_long_as_a_view_is_in_use)
{
    struct eng_view *view;
    begin(1);
    set_history(KEPT);
    uint64_t ino = unit_file(&u, "f", 3000, 1), at = last_batch();
    for (unsigned i = 0; i < 10; i++) {
        pass_ms(KEPT / 5 * 1000);
        (void)write_at(ino, 10 + i);
        if (i == 1)
            MUST(eng_view_open(u.eng, at, &view) == 0);
    }
    sweep();
    cr_assert_eq(u.eng->idx.s.floor, at);
    uint8_t got[3000], *want = unit_bytes(sizeof got, 1);
    cr_assert_eq(eng_view_read(view, ino, got, sizeof got, 0), (ssize_t)sizeof got);
    cr_assert_eq(memcmp(got, want, sizeof got), 0);
    free(want);
    eng_view_close(view);
    sweep();
    cr_assert_gt(u.eng->idx.s.floor, at);
    expect_no_more();
}

/* ---- no more than so many, and so much ------------------------------------------------------------ */

Test(history, keeps_so_many_versions)
{
    uint64_t at[20];
    struct eng_view *view;
    versions = 5;
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    at[0] = last_batch();
    for (uint64_t i = 1; i < 20; i++) {
        pass_ms(1000);
        at[i] = write_at(ino, i);
        if (i == 3)
            MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    }
    MUST(eng_view_open(u.eng, at[6], &view) == 0);
    sweep();
    cr_assert_eq(n_past(), 5 + 1 + 1, "that of the snapshot, and that of the view");
    for (unsigned i = 14; i < 20; i++)
        expect_shown(at[i], ino, i);
    expect_shown(at[3], ino, 3);
    expect_shown(at[6], ino, 6);
    eng_view_close(view);
    sweep();
    cr_assert_eq(n_past(), 5 + 1);
    expect_shown(at[6], ino, 3);
    cr_assert_geq(u.eng->idx.s.inexact, at[13]);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    cr_assert_eq(n_past(), 5);
    for (unsigned i = 14; i < 20; i++)
        expect_shown(at[i], ino, i);
    cr_assert_eq(unit_problems(&u), 0);
    versions = 0;
}

Test(history, keeps_so_many_of_those_that_were_replaced)
{
    uint64_t inos[20], at[20];
    versions = 5;
    begin(1);
    for (uint64_t i = 0; i < 20; i++) {
        inos[i] = unit_file(&u, "tmp", 3000, i);
        move("tmp", "f");
        at[i] = last_batch();
    }
    sweep();
    cr_assert_eq(n_past_names(), 5);
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq(shown(at[i], "f"), i < 14 ? 0 : inos[i]);
    cr_assert_eq(unit_problems(&u), 0);
    versions = 0;
}

Test(history, keeps_so_many_bytes)
{
    const uint64_t budget = 100000;
    begin(1);
    uint64_t ino = unit_file(&u, "f", 9000, 0);
    for (unsigned i = 0; i < 40; i++) {
        pass_ms(1000);
        unit_write(&u, ino, 9000, i, 0);
        (void)unit_file(&u, "g", 9000, i);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "g") == 0);
        note();
    }
    sweep();
    uint64_t floor = u.eng->idx.s.floor;
    cr_assert_eq(n_past(), 40);
    atomic_store(&u.eng->config.history_bytes, budget);
    sweep();
    cr_assert_gt(u.eng->idx.s.floor, floor);
    uint64_t left = 9000 * (n_past() + n_past_names());
    cr_assert(left <= budget && left > budget - 40000, "%llu", (unsigned long long)left);
    expect_no_more();
    compare_all();
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- switched off again ----------------------------------------------------------------------------- */

Test(history, goes_when_it_is_switched_off)
{
    begin(test_seed() + 500);
    for (unsigned i = 0; i < 60; i++) {
        pass_ms(1000);
        change();
        if (i == 30)
            MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    }
    cr_assert(n_past() > 10 && n_past_names() > 3);
    set_history(0);
    sweep();
    cr_assert_eq(u.eng->idx.s.floor, FLOOR_NONE);
    cr_assert(n_past() > 0);
    for (uint32_t slot = 1; slot < u.eng->idx.inodes.used; slot++) {
        const struct inode_rec *past = index_slot(&u.eng->idx, slot);
        uint64_t at = u.eng->idx.s.newest_snapshot;
        if (past && past->flags & INODE_PAST && !past->past)
            cr_assert(past_begin(past) <= at && at < past_end(past));
    }
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    sweep();
    cr_assert(nothing_is_left());
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- by time ------------------------------------------------------------------------------------------ */

static uint64_t found_at(int64_t time)
{
    uint64_t batch;
    int r = eng_past_at(u.eng, time, &batch);
    cr_assert(r == 0 || r == -ENOENT);
    return r ? 0 : batch;
}

static bool is_exact(uint64_t at, int64_t *time)
{
    struct eng_view *view;
    bool exactly;
    MUST(eng_view_open(u.eng, at, &view) == 0);
    cr_assert_eq(eng_view_when(view, time, &exactly), 0);
    eng_view_close(view);
    return exactly;
}

Test(history, is_found_by_time)
{
    int64_t when[20], time;
    uint64_t at[20], since, ino;
    tree_begin(false, 1);
    by_itself = true;
    cr_assert_eq(eng_past_since(u.eng, &since, &time), -ENOENT);
    ino = unit_create(&u, "f");
    cr_assert_eq(found_at(now_ns()), 0);
    pass_ms(5000);
    set_history(KEPT);
    int64_t begins = now_ns();
    for (unsigned i = 0; i < 20; i++) {
        when[i] = now_ns();
        at[i] = write_at(ino, i);
        pass_ms(1000 + i);
    }
    cr_assert_eq(eng_past_since(u.eng, &since, &time), 0);
    cr_assert(since == at[0] && time == begins);
    cr_assert_eq(found_at(begins - 1), 0);
    cr_assert_eq(found_at(now_ns() + 1), 0);
    for (unsigned i = 0; i < 20; i++) {
        cr_assert_eq(found_at(when[i]), at[i]);
        cr_assert_eq(found_at(when[i] + SECOND - 1), at[i]);
        cr_assert(is_exact(at[i], &time) && time == when[i]);
    }
    /* What there is now, and what comes within the same 10 ms. */
    uint64_t now = write_at(ino, 50);
    when[0] = now_ns();
    cr_assert_eq(found_at(when[0]), now);
    pass_ms(1);
    uint64_t later = write_at(ino, 51);
    cr_assert_eq(found_at(when[0]), now);
    cr_assert_eq(found_at(now_ns()), later);
    cr_assert(!is_exact(at[5], &time), "one was too short");
    for (unsigned i = 0; i < 3; i++) {
        pass_ms(KEPT * 1000);
        (void)write_at(ino, i);
    }
    sweep();
    cr_assert_eq(found_at(when[0]), 0);
    cr_assert(is_exact(last_batch(), &time) && time == now_ns());
    MUST(eng_past_since(u.eng, &since, &time) == 0);
    cr_assert(since == u.eng->idx.s.floor && found_at(time) == since);
}

Test(history, is_found_by_time_when_the_clock_was_set_back)
{
    int64_t time;
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    pass_ms(1000);
    int64_t right = now_ns();
    uint64_t before = write_at(ino, 1);
    hand_clock.people += 3600 * SECOND;
    pass_ms(1000);
    int64_t ahead = now_ns();
    uint64_t wrong = write_at(ino, 2);
    cr_assert_eq(found_at(ahead), wrong);
    hand_clock.people -= 3600 * SECOND;
    pass_ms(1000);
    uint64_t after = write_at(ino, 3);
    cr_assert_eq(found_at(right), before);
    cr_assert_eq(found_at(now_ns()), after);
    cr_assert_eq(found_at(ahead), 0, "which lies in the future");
    pass_ms(7200 * 1000);
    cr_assert_eq(found_at(ahead), after);
    (void)is_exact(wrong, &time);
    cr_assert_leq(time, now_ns() - 7200 * SECOND, "not later than what came behind it");
    expect_shown(wrong, ino, 2);
}

/*
 * test_history.c - a store that keeps a history by itself, under a clock that the test moves: what is kept of
 * each change, and what a view of each batch shows then. */
#include "history_tree.h"

TestSuite(history, .timeout = 600, .fini = tree_end);

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

/* Of a memory that was changed four thousand million times. */
Test(history, leaves_numbers_of_a_line)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    pass_ms(1000);
    (void)write_at(ino, 1);
    struct inode_rec *past = table_mut(&u.eng->idx.inodes, index_slot(&u.eng->idx, ino_slot(ino))->past);
    past_set_head(past, past_head(past), UINT32_MAX - 1);
    for (uint64_t i = 2; i < 6; i++) {
        pass_ms(1000);
        (void)write_at(ino, i);
        cr_assert_eq(n_past(), 1);
    }
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    (void)write_at(ino, 6);
    cr_assert_eq(n_past(), 2);
    set_history(100);
    pass_ms(200000);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    cr_assert_eq(n_past(), 0);
    (void)write_at(ino, 7);
    cr_assert_eq(n_past(), 1);
    cr_assert_eq(unit_problems(&u), 0);
}

static void set_field(uint64_t ino, const char *name, const char *value)
{
    MUST(eng_setxattr(u.eng, ino, name, value, strlen(value), 0) == 0);
}

static void expect_field(uint64_t at, uint64_t ino, const char *name, const char *value)
{
    struct eng_view *view;
    char got[32] = "";
    MUST(eng_view_open(u.eng, at, &view) == 0);
    ssize_t n = eng_view_getxattr(view, ino, name, got, sizeof got - 1);
    cr_assert(n < 0 ? !value : value && strcmp(got, value) == 0, "%s of batch %llu is %s", name,
              (unsigned long long)at, n < 0 ? "none" : got);
    eng_view_close(view);
}

/* A history has no state of a recall; a snapshot has all. */
Test(history, fields_that_are_ignored_end_no_state)
{
    const char *count = "user.engram.recall_count", *score = "user.tool.score";
    uint64_t snapshot;
    char text[16];
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    set_field(ino, count, "0");
    pass_ms(5000);
    (void)write_at(ino, 1);
    uint64_t states = n_past(), moments = u.eng->idx.moments.used, inexact = u.eng->idx.s.inexact;
    for (unsigned i = 1; i < 10; i++) {
        pass_ms(5000);
        (void)snprintf(text, sizeof text, "%u", i);
        set_field(ino, count, text);
    }
    cr_assert_eq(n_past(), states);
    cr_assert_eq(u.eng->idx.moments.used, moments);
    cr_assert_eq(u.eng->idx.s.inexact, inexact, "nor is anything left out");
    uint64_t before = last_batch();
    MUST(eng_snapshot_create(u.eng, "s", &snapshot) == 0);
    pass_ms(5000);
    set_field(ino, count, "10");
    cr_assert_eq(n_past(), states + 1);
    set_field(ino, count, "11");
    MUST(eng_removexattr(u.eng, ino, count) == 0);
    cr_assert_eq(n_past(), states + 1);
    expect_field(snapshot, ino, count, "9");
    pass_ms(5000);
    uint64_t end = write_at(ino, 2);
    cr_assert_eq(n_past(), states + 2);
    expect_shown(before, ino, 1);
    expect_shown(end - 1, ino, 1);
    expect_field(end, ino, count, NULL);
    /* As the configuration says. */
    MUST(eng_config_set(u.eng, "history_ignore", "score,user.tool.score") == 0);
    set_history(1u << 30);
    states = n_past();
    pass_ms(5000);
    set_field(ino, score, "1");
    cr_assert_eq(n_past(), states);
    set_field(ino, "user.tool.scores", "1");
    cr_assert_eq(n_past(), states + 1);
    pass_ms(5000);
    set_field(ino, count, "12");
    cr_assert_eq(n_past(), states + 2);
    cr_assert_eq(unit_problems(&u), 0);
    unit_reopen(&u);
    set_history(1u << 30);
    expect_shown(before, ino, 1);
    expect_field(snapshot, ino, count, "9");
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- names ------------------------------------------------------------------------------------ */

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

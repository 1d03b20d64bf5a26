/*
 * test_history_ends.c - until when a history keeps what has ended: by age, number and bytes, or until it is
 * switched off; and by which time it is found. */
#include "history_tree.h"

#define CHANGES 300u

TestSuite(history_ends, .timeout = 600, .fini = tree_end);

/* ---- what goes ---------------------------------------------------------------------------------- */

#define KEPT 200 /* seconds */

Test(history_ends, goes_when_it_is_old)
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
Test(history_ends, goes_by_no_clock_of_people)
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
Test(history_ends, ages_by_a_day_while_it_is_closed)
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
Test(history_ends, goes_behind_the_floor)
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

Test(history_ends, stays_as_long_as_a_view_is_in_use)
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

/* What is short is amended, but not away from who looks at it. */
Test(history_ends, of_a_view_in_use_no_state_goes_however_short)
{
    struct eng_view *view;
    begin(1);
    uint64_t old = unit_file(&u, "old", 3000, 1), two = unit_file(&u, "two", 3000, 1);
    uint64_t dir = unit_mkdir(&u, "d");
    pass_ms(2000);
    (void)write_at(old, 2);
    uint64_t young = unit_file(&u, "young", 3000, 3);
    MUST(eng_link(u.eng, NULL, two, dir, "also", NULL) == 0);
    uint64_t at = last_batch();
    MUST(eng_view_open(u.eng, at, &view) == 0);
    pass_ms(10);
    (void)write_at(old, 4);
    (void)write_at(young, 5);
    move("young", "other");
    MUST(eng_unlink(u.eng, dir, "also") == 0);
    (void)write_at(old, 6);
    sweep();
    struct eng_attr attr;
    uint8_t got[3000], *want = unit_bytes(sizeof got, 2), *second = unit_bytes(sizeof got, 3);
    cr_assert_eq(eng_view_read(view, old, got, sizeof got, 0), (ssize_t)sizeof got);
    cr_assert_eq(memcmp(got, want, sizeof got), 0);
    cr_assert_eq(eng_view_lookup(view, ENG_ROOT_INO, "young", &attr), 0);
    cr_assert_eq(eng_view_read(view, young, got, sizeof got, 0), (ssize_t)sizeof got);
    cr_assert_eq(memcmp(got, second, sizeof got), 0);
    cr_assert_eq(eng_view_lookup(view, ENG_ROOT_INO, "other", &attr), -ENOENT);
    cr_assert_eq(eng_view_lookup(view, dir, "also", &attr), 0);
    cr_assert_eq(attr.nlink, 2);
    free(want);
    free(second);
    eng_view_close(view);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- no more than so many, and so much ------------------------------------------------------------ */

Test(history_ends, keeps_so_many_versions)
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

Test(history_ends, keeps_so_many_of_those_that_were_replaced)
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

/* Each save by vim, and each lock file, is a name in a place of its own. */
Test(history_ends, keeps_so_many_of_a_path_whatever_place_they_had)
{
    uint64_t inos[20], at[20];
    struct eng_view *view;
    versions = 5;
    begin(1);
    inos[0] = unit_file(&u, "f", 3000, 0);
    at[0] = last_batch();
    for (uint64_t i = 1; i < 20; i++) {
        pass_ms(1000);
        move("f", "f~");
        inos[i] = unit_file(&u, "f", 3000, i);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f~") == 0);
        (void)unit_file(&u, "lock", 10, i);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "lock") == 0);
        at[i] = last_batch();
        if (i == 3)
            MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    }
    MUST(eng_view_open(u.eng, at[6], &view) == 0);
    sweep();
    cr_assert_eq(n_past_names(), 3 * 5 + 2, "and those that the snapshot and the view show");
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq(shown(at[i], "f"), i < 14 && i != 3 && i != 6 ? 0 : inos[i]);
    cr_assert_eq(unit_problems(&u), 0);
    eng_view_close(view);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    cr_assert_eq(n_past_names(), 3 * 5);
    cr_assert_eq(unit_problems(&u), 0);
    versions = 0;
}

/* A name that was moved away long ago begins where the one before it in its place ended, which stays. */
Test(history_ends, keeps_what_a_live_name_begins_with)
{
    char name[16];
    uint64_t at[20];
    versions = 5;
    begin(1);
    for (unsigned i = 0; i < 20; i++) {
        (void)unit_file(&u, "report", 100, i);
        pass_ms(2000);
        at[i] = last_batch();
        (void)snprintf(name, sizeof name, "report-%u", i);
        move("report", name);
    }
    sweep();
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "report-%u", i);
        cr_assert_eq(shown(at[i], name), 0, "it came later");
        cr_assert(shown(at[i] + 1, name));
    }
    cr_assert_eq(unit_problems(&u), 0);
    versions = 0;
}

Test(history_ends, keeps_so_many_bytes)
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

/* Large values of attributes are content as any other. */
Test(history_ends, keeps_so_many_bytes_of_attributes)
{
    const uint64_t budget = 100000;
    uint8_t *value = unit_bytes(20000, 1);
    begin(1);
    uint64_t ino = unit_file(&u, "f", 10, 0);
    atomic_store(&u.eng->config.history_bytes, budget);
    for (unsigned i = 0; i < 20; i++) {
        pass_ms(1000);
        value[0] = (uint8_t)i;
        MUST(eng_setxattr(u.eng, ino, "user.large", value, 20000, 0) == 0);
    }
    cr_assert_gt(u.eng->idx.s.past_live, budget);
    sweep();
    cr_assert_leq(u.eng->idx.s.past_live, budget);
    cr_assert_geq(u.eng->idx.s.past_live, budget - 40000);
    cr_assert_eq(unit_problems(&u), 0);
    free(value);
}

/* find(1) goes by the number of links, and passes subfolders by if there are too few. */
Test(history_ends, shows_folders_of_when_the_clock_was_set_back)
{
    struct eng_view *view;
    struct eng_attr attr;
    begin(1);
    uint64_t dir = unit_mkdir(&u, "d");
    MUST(eng_create(u.eng, NULL, dir, "sub", S_IFDIR | 0700, 0, NULL, &attr) == 0);
    uint64_t at = last_batch();
    pass_ms(5000);
    hand_clock.people -= 100 * SECOND;
    MUST(eng_rmdir(u.eng, dir, "sub") == 0);
    MUST(eng_view_open(u.eng, at, &view) == 0);
    MUST(eng_view_getattr(view, dir, &attr) == 0);
    cr_assert(attr.nlink == 3 && attr.size == 1, "%u links, size %llu", attr.nlink,
              (unsigned long long)attr.size);
    eng_view_close(view);
}

static uint64_t found_at(int64_t time)
{
    uint64_t batch;
    int r = eng_past_at(u.eng, time, &batch);
    cr_assert(r == 0 || r == -ENOENT);
    return r ? 0 : batch;
}

/* A snapshot that is dropped takes no time along that something else is told by. */
Test(history_ends, is_found_by_time_when_a_snapshot_of_then_has_gone)
{
    int64_t time;
    uint64_t since, ino;
    begin(1);
    ino = unit_file(&u, "f", 3000, 0);
    set_history(KEPT);
    pass_ms(2000);
    int64_t written = now_ns();
    uint64_t at = write_at(ino, 1);
    pass_ms(2000);
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    pass_ms(2 * KEPT * 1000);
    sweep();
    (void)write_at(ino, 2);
    MUST(eng_past_since(u.eng, &since, &time) == 0);
    cr_assert_gt(since, at);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    MUST(eng_past_since(u.eng, &since, &time) == 0);
    cr_assert_eq(time, written);
    cr_assert_geq(found_at(now_ns() - SECOND), since);
}

/* Since when the past is whole is found by its time, and there is a view of it. */
static void look_since(void)
{
    struct eng_view *view;
    uint64_t since, found;
    int64_t time;
    int r = eng_past_since(u.eng, &since, &time);
    cr_assert_eq(r == 0, index_is_kept_whole(&u.eng->idx));
    if (r)
        return;
    MUST(eng_view_open(u.eng, since, &view) == 0);
    eng_view_close(view);
    cr_assert_neq(time, INT64_MAX);
    if (time > now_ns())
        return; /* the clock was set back since */
    cr_assert_eq(eng_past_at(u.eng, time, &found), 0);
    cr_assert_geq(found, since);
}

/* Whatever is switched, limited, opened and looked at: what is kept whole is right. */
Test(history_ends, and_begins_again_and_again)
{
    begin(test_seed() + 600);
    folder_times = false;
    for (unsigned i = 0; i < CHANGES; i++) {
        uint64_t before = last_batch();
        pass_ms(1000 + (int64_t)below(2000));
        change();
        if (last_batch() != before)
            note();
        switch (below(12)) {
        case 0:
            MUST(eng_config_set(u.eng, "history", "0") == 0);
            if (below(2))
                break;
            MUST(eng_config_set(u.eng, "history", "300s") == 0);
            break;
        case 1:
            MUST(eng_config_set(u.eng, "history", below(2) ? "60s" : "9000d") == 0);
            break;
        case 2:
            sweep();
            break;
        case 3:
            MUST(eng_sync(u.eng) == 0);
            unit_kill(&u, below(2) ? SIM_DROP_ALL : SIM_KEEP_ALL, 1);
            unit_open(&u);
            break;
        case 4:
            MUST(eng_config_set(u.eng, "history_bytes", below(2) ? "20000" : "0") == 0);
            break;
        case 5:
            MUST(eng_config_set(u.eng, "history_settle", below(2) ? "0" : "1s") == 0);
            break;
        case 6:
            if (eng_snapshot_create(u.eng, "s", NULL) != 0)
                MUST(eng_snapshot_drop(u.eng, "s") == 0);
            break;
        case 7:
            hand_clock.people += below(2) ? -100 * SECOND : 300 * SECOND;
            break;
        case 8:
            if (below(8) == 0)
                pass_ms(7200000);
            break;
        default:
            break;
        }
        look_since();
        if (index_is_kept_whole(&u.eng->idx) && below(8) == 0)
            compare_all();
    }
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- switched off again ----------------------------------------------------------------------------- */

Test(history_ends, goes_when_it_is_switched_off)
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

static bool is_exact(uint64_t at, int64_t *time)
{
    struct eng_view *view;
    bool exactly;
    MUST(eng_view_open(u.eng, at, &view) == 0);
    cr_assert_eq(eng_view_when(view, time, &exactly), 0);
    eng_view_close(view);
    return exactly;
}

Test(history_ends, is_found_by_time)
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

Test(history_ends, is_found_by_time_when_the_clock_was_set_back)
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

/*
 * test_views_of_mount.c - nodes in views of the past: their numbers, who shares them, and how long a view is
 * in use. */
#include "control/views.h"
#include "one_store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

static struct ctl_views *views;

static void begin(void)
{
    setup();
    views = ctl_views_new(u.eng);
    cr_assert_not_null(views);
}

static void end(void)
{
    ctl_views_free(views);
    teardown();
}

TestSuite(views_of_mount, .init = begin, .fini = end, .timeout = 120);

static uint64_t snapshot(const char *name)
{
    uint64_t batch = 0;
    cr_assert_eq(eng_snapshot_create(u.eng, name, &batch), 0);
    return batch;
}

static int get_as(uint64_t batch, uid_t uid, bool trusted, struct past *ret_past)
{
    return ctl_views_get(views, &(struct ctl_views_what){.key = batch}, uid, trusted, ret_past);
}

static struct past get(uint64_t batch, uid_t uid)
{
    struct past past;
    cr_assert_eq(get_as(batch, uid, true, &past), 0);
    return past;
}

Test(views_of_mount, a_nodeid_tells_what_it_was_made_of)
{
    static const struct ctl_views_node some[] = {
        {0, 0, 0, 1, false},
        {VIEWS_PLACES - 1, 0, 0, 1, false},
        {0, VIEWS_CALLERS - 1, 0, 1, false},
        {0, 0, 127, 1, false},
        {VIEWS_PLACES - 1, VIEWS_CALLERS - 1, 127, UINT32_MAX, false},
        {77, 300, 5, 123456789, false},
        {77, 300, 5, 123456789, true}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        uint64_t id = ctl_views_nodeid(&some[i]);
        struct ctl_views_node node = ctl_views_node(id);
        cr_expect(ctl_views_owns(id));
        cr_expect(node.place == some[i].place && node.caller == some[i].caller, "%zu", i);
        cr_expect(node.reuse == some[i].reuse && node.slot == some[i].slot && node.shut == some[i].shut,
                  "%zu", i);
        for (size_t j = 0; j < i; j++)
            cr_expect_neq(id, ctl_views_nodeid(&some[j]), "%zu %zu", i, j);
    }
    cr_expect(!ctl_views_owns(UINT64_C(1) << 62 | 5), "a control file");
    cr_expect(!ctl_views_owns(UINT64_C(0x1fffffff) << 32 | 5), "the greatest number of the engine");
}

Test(views_of_mount, numbers_are_of_the_view_and_shared_by_names)
{
    struct eng_attr attr;
    uint64_t ino = unit_file(&u, "f", 100, 1), other = unit_file(&u, "g", 100, 1);
    cr_assert_eq(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "link", &attr), 0);
    struct past a = get(snapshot("a"), 0), b = get(snapshot("b"), 0), of_user = get(a.batch, 1000);
    uint64_t shown = ctl_views_shown_ino(u.eng, &a.what, ino);
    cr_expect_neq(shown, ino);
    cr_expect_eq(shown >> 61, 1);
    cr_expect_neq(shown, ctl_views_shown_ino(u.eng, &b.what, ino));
    cr_expect_neq(shown, ctl_views_shown_ino(u.eng, &a.what, other));
    cr_expect_eq(shown, ctl_views_shown_ino(u.eng, &of_user.what, ino));
    cr_expect_eq(a.view, of_user.view);
    cr_expect_neq(ctl_views_nodeid_of(&a, ino, false), ctl_views_nodeid_of(&of_user, ino, false));
    cr_expect_neq(ctl_views_nodeid_of(&a, ino, false), ctl_views_nodeid_of(&b, ino, false));
    ctl_views_put(views, &of_user);
    ctl_views_put(views, &b);
    ctl_views_put(views, &a);
    a = get(a.batch, 0);
    cr_expect_eq(shown, ctl_views_shown_ino(u.eng, &a.what, ino), "it is looked at again");
    ctl_views_put(views, &a);
}

Test(views_of_mount, a_view_is_in_use_until_the_kernel_forgets_it)
{
    uint64_t got = 0, ino = unit_file(&u, "f", 100, 1);
    struct past past = get(snapshot("a"), 0), again;
    uint64_t id = ctl_views_nodeid_of(&past, ino, false);
    ctl_views_ref(views, &past, 3);
    ctl_views_put(views, &past);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    (void)eng_forget(u.eng, ino, 1);
    cr_assert_eq(eng_snapshot_drop(u.eng, "a"), 0);
    char byte;
    cr_assert_eq(ctl_views_get_node(views, id, 0, true, &again, &got), 0);
    cr_expect_eq(got, ino);
    cr_expect_eq(eng_view_read(again.view, ino, &byte, 1, 0), 1);
    ctl_views_put(views, &again);
    ctl_views_forget(views, id, 2);
    cr_expect_eq(ctl_views_used(views), 1);
    ctl_views_forget(views, id, 1);
    cr_expect_eq(ctl_views_used(views), 0);
    cr_expect_eq(ctl_views_get_node(views, id, 0, true, &again, &got), -ESTALE);
    cr_expect_eq(get_as(past.batch, 0, true, &again), -ENOENT);
}

Test(views_of_mount, are_wanted_back_while_a_dropped_one_is_in_use)
{
    struct past past = get(snapshot("a"), 0), other = get(snapshot("b"), 0);
    cr_expect_not(ctl_views_wants_back(views));
    cr_assert_eq(eng_snapshot_drop(u.eng, "a"), 0);
    ctl_views_dropped(views, past.batch);
    ctl_views_dropped(views, past.batch);
    ctl_views_dropped(views, past.batch + 100);
    cr_expect(ctl_views_wants_back(views));
    ctl_views_put(views, &other);
    cr_expect(ctl_views_wants_back(views));
    ctl_views_put(views, &past);
    cr_expect_not(ctl_views_wants_back(views));
}

Test(views_of_mount, what_the_view_does_not_show_has_no_node)
{
    uint64_t got = 0, was = unit_file(&u, "f", 100, 1);
    struct past past = get(snapshot("a"), 0), again;
    uint64_t new = unit_file(&u, "new", 100, 1);
    ctl_views_ref(views, &past, 1);
    uint64_t id = ctl_views_nodeid_of(&past, was, false);
    cr_expect_eq(ctl_views_get_node(views, ctl_views_nodeid_of(&past, new, false), 0, true, &again, &got),
                 -ESTALE);
    cr_expect_eq(ctl_views_get_node(views, id ^ UINT64_C(1) << 32, 0, true, &again, &got), -ESTALE);
    cr_expect_eq(ctl_views_get_node(views, id | UINT32_MAX, 0, true, &again, &got), -ESTALE);
    cr_expect_eq(ctl_views_get_node(views, id ^ UINT64_C(1) << 55, 0, true, &again, &got), -ESTALE);
    ctl_views_put(views, &past);
    ctl_views_forget(views, id, 1);
    cr_expect_eq(ctl_views_used(views), 0);
}

Test(views_of_mount, so_many_users_and_the_last_places_are_for_trusted_ones)
{
    struct past past = get(snapshot("a"), 0), more;
    static struct past held[VIEWS_CALLERS];
    unsigned n = 0;
    while (n < VIEWS_CALLERS && get_as(past.batch, 1000 + n, false, &held[n]) == 0)
        n++;
    cr_expect(n > 400 && n < VIEWS_CALLERS - 1, "%u", n);
    cr_expect_eq(get_as(past.batch, 1000, false, &more), 0, "who is there already");
    ctl_views_put(views, &more);
    cr_expect_eq(get_as(past.batch, 7, true, &more), 0);
    ctl_views_put(views, &more);
    cr_expect_eq(get_as(past.batch, 0, true, &more), 0);
    ctl_views_put(views, &more);
    while (n > 0)
        ctl_views_put(views, &held[--n]);
    cr_expect_eq(get_as(past.batch, 7, false, &more), 0);
    ctl_views_put(views, &more);
    ctl_views_put(views, &past);
}

uid_t __wrap_person_of(uid_t uid);

/* Those from 100,000 on are all one. */
uid_t __wrap_person_of(uid_t uid)
{
    return uid < 100000 ? uid : 100000;
}

Test(views_of_mount, one_person_is_not_as_many_users_as_he_likes)
{
    struct past past = get(snapshot("a"), 0), more;
    static struct past held[VIEWS_CALLERS];
    unsigned n = 0, others = 0;
    while (n < VIEWS_CALLERS && get_as(past.batch, 100000 + n, false, &held[n]) == 0)
        n++;
    cr_expect_eq(n, VIEWS_CALLERS / 4);
    cr_expect_eq(get_as(past.batch, 100000, false, &more), 0, "as one that he is already");
    ctl_views_put(views, &more);
    cr_expect_not(ctl_views_wants_back(views));
    for (; others < VIEWS_CALLERS / 2; others++)
        cr_assert_eq(get_as(past.batch, 1000 + others, false, &held[n + others]), 0);
    cr_expect(ctl_views_wants_back(views), "nearly as many users as there may be");
    while (others > 0)
        ctl_views_put(views, &held[n + --others]);
    cr_expect_not(ctl_views_wants_back(views));
    while (n > 0)
        ctl_views_put(views, &held[--n]);
    ctl_views_put(views, &past);
}

/* There are as many times as one likes, and snapshots are looked at all the same. */
Test(views_of_mount, times_have_a_part_of_the_places)
{
    static struct past held[VIEWS_PLACES];
    struct past more;
    struct timespec now;
    unsigned n = 0;
    cr_assert_eq(eng_config_set(u.eng, "history", "1d"), 0);
    (void)unit_file(&u, "f", 100, 1);
    cr_assert_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
    const uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    struct ctl_views_what what = {.is_at = true, .key = ns};
    for (; n < VIEWS_PLACES && ctl_views_get(views, &what, 1000, false, &held[n]) == 0; n++)
        what.key--;
    cr_expect_eq(n, VIEWS_OF_TIMES);
    cr_expect(ctl_views_wants_back(views));
    cr_expect_eq(ctl_views_get(views, &what, 0, true, &more), 0, "a trusted one has more");
    ctl_views_put(views, &more);
    cr_expect_eq(ctl_views_get(views, &(struct ctl_views_what){.is_at = true, .key = ns}, 1001, false, &more),
                 0, "the same");
    ctl_views_put(views, &more);
    cr_expect_eq(get_as(snapshot("a"), 1001, false, &more), 0);
    cr_expect_neq(ctl_views_shown_ino(u.eng, &more.what, 1), ctl_views_shown_ino(u.eng, &held[0].what, 1));
    ctl_views_put(views, &more);
    while (n > 0)
        ctl_views_put(views, &held[--n]);
    cr_expect_eq(ctl_views_used(views), 0);
    cr_expect_not(ctl_views_wants_back(views));
}

enum { PLACES_OF_ONE = VIEWS_PLACES / 4 };

Test(views_of_mount, as_many_views_as_there_are_places)
{
    static struct past held[VIEWS_PLACES];
    struct past more;
    unsigned n = 0;
    char name[16];
    int r = 0;
    for (; n < VIEWS_PLACES; n++) {
        (void)snprintf(name, sizeof name, "s%u", n);
        r = get_as(snapshot(name), 1000 + n / PLACES_OF_ONE, false, &held[n]);
        if (n == PLACES_OF_ONE - 1)
            cr_expect_eq(get_as(snapshot("one more"), 1000, false, &more), -ENFILE, "one has no more");
        if (r)
            break;
    }
    cr_expect_eq(r, -ENFILE);
    cr_expect(n > 3900 && n < VIEWS_PLACES, "%u", n);
    cr_expect(ctl_views_wants_back(views));
    cr_expect_eq(get_as(snapshot("more"), 0, true, &more), 0);
    ctl_views_put(views, &more);
    while (n > 0)
        ctl_views_put(views, &held[--n]);
    cr_expect_eq(ctl_views_used(views), 0);
}

/*
 * test_past_paths.c - nodes in history/ and deleted/: whose they are, how long they stay, and how much memory
 * they may take. */
#include "control/past_paths.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct ctl_paths *paths;

/* In the place of that of persons.c: subordinate ids of 5000 are from 100000 on. */
uid_t __wrap_person_of(uid_t uid);
uid_t __wrap_person_of(uid_t uid)
{
    return uid >= 100000 ? 5000 : uid;
}

static void begin(void)
{
    paths = ctl_paths_new(UINT64_C(0x5eed));
    cr_assert_not_null(paths);
}

static void end(void)
{
    ctl_paths_free(paths);
}

TestSuite(past_paths, .init = begin, .fini = end, .timeout = 120);

static struct ctl_paths_what of_path(const char *path)
{
    return (struct ctl_paths_what){.kind = CTL_PATHS_HISTORY, .path = path, .path_len = strlen(path)};
}

static int ref(const struct ctl_paths_what *what, uid_t uid, bool trusted, uint64_t *ret_id)
{
    return ctl_paths_ref(paths, what, uid, trusted, 7, 3, ret_id);
}

static uint64_t get(const struct ctl_paths_what *what, uid_t uid)
{
    uint64_t id = 0;
    cr_assert_eq(ref(what, uid, true, &id), 0);
    return id;
}

Test(past_paths, a_node_is_what_it_shows_and_to_whom)
{
    const struct ctl_paths_what a = of_path("a/b"), other = of_path("a/c");
    struct ctl_paths_what shut = a, version = a, later = a;
    shut.shut = true;
    version.kind = later.kind = CTL_PATHS_VERSION;
    version.number = 5;
    later.number = 6;
    const uint64_t ids[] = {get(&a, 0),       get(&other, 0), get(&shut, 0),
                            get(&version, 0), get(&later, 0), get(&a, 5)};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        cr_expect(ctl_paths_owns(ids[i]));
        cr_expect_eq(ctl_paths_is_roots(ids[i]), i != 5);
        cr_expect_eq(ctl_paths_is_shut(ids[i]), i == 2);
        cr_expect_eq(ctl_paths_has_state(ids[i]), i == 3 || i == 4);
        for (size_t j = 0; j < i; j++)
            cr_expect_neq(ids[i], ids[j]);
    }
    cr_expect_eq(get(&a, 0), ids[0], "a second time it is the same");
    struct ctl_path *path = ctl_paths_get(paths, ids[3]);
    cr_assert_not_null(path);
    cr_expect_str_eq(ctl_path_what(path)->path, "a/b");
    cr_expect_eq(ctl_path_what(path)->number, 5u);
    cr_expect_eq(ctl_path_seen_at(paths, path), 7u);
    cr_expect_eq(ctl_path_state(path), 3u);
    ctl_paths_put(paths, path);
}

Test(past_paths, it_goes_with_what_the_kernel_has)
{
    const struct ctl_paths_what a = of_path("a");
    const uint64_t id = get(&a, 0);
    (void)get(&a, 0);
    ctl_paths_forget(paths, id, 1);
    struct ctl_path *path = ctl_paths_get(paths, id);
    cr_assert_not_null(path);
    ctl_paths_forget(paths, id, 100);
    cr_expect_gt(ctl_paths_used(paths), 0u, "a request has it");
    ctl_paths_put(paths, path);
    cr_expect_eq(ctl_paths_used(paths), 0u);
    cr_expect_null(ctl_paths_get(paths, id));
    cr_expect_neq(get(&a, 0), id, "numbers are not used again");
    ctl_paths_forget(paths, id, 1);
    ctl_paths_forget(paths, CTL_PATHS_BITS | 77 << 5, 1);
    cr_expect_gt(ctl_paths_used(paths), 0u);
}

/* As many as there is room for, each with a path of 4,000 bytes. */
static size_t fill(uid_t uid, bool trusted, uint64_t *ids, size_t most)
{
    char path[4001];
    size_t n = 0;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    for (; n < most; n++) {
        (void)snprintf(path, sizeof path, "%08zu", n);
        path[8] = 'x';
        const struct ctl_paths_what what = of_path(path);
        if (ref(&what, uid, trusted, &ids[n]) == -ENFILE)
            break;
    }
    return n;
}

Test(past_paths, one_person_has_a_quarter_and_strangers_not_all)
{
    enum { MOST = 10000 };
    uint64_t *ids = calloc((size_t)6 * MOST, sizeof *ids);
    cr_assert_not_null(ids);
    const size_t one = fill(5000, false, ids, MOST);
    cr_expect(one >= CTL_PATHS_OF_ONE / 4500 && one <= CTL_PATHS_OF_ONE / 4000, "%zu", one);
    cr_expect(ctl_paths_wants_back(paths), "of one person many is enough");
    cr_expect_eq(fill(100007, false, ids + MOST, MOST), 0u, "as a subordinate user he is the same person");
    for (uid_t uid = 1; uid <= 3; uid++)
        (void)fill(uid, false, ids + (1 + uid) * MOST, MOST);
    cr_expect_leq(ctl_paths_used(paths), CTL_PATHS_BYTES - CTL_PATHS_KEPT);
    cr_expect_eq(fill(4, false, ids + MOST, MOST), 0u, "another has none left");
    const size_t roots = fill(0, true, ids + 5 * MOST, MOST);
    cr_expect(roots >= CTL_PATHS_KEPT / 4500, "root has: %zu", roots);
    cr_expect_leq(ctl_paths_used(paths), CTL_PATHS_BYTES);
    for (size_t i = 0; i < (size_t)6 * MOST; i++)
        if (ids[i])
            ctl_paths_forget(paths, ids[i], 1);
    cr_expect_eq(ctl_paths_used(paths), 0u);
    cr_expect_not(ctl_paths_wants_back(paths));
    free(ids);
}

Test(past_paths, the_time_changes_with_the_position_alone)
{
    const int64_t first = ctl_paths_time(paths, 5);
    cr_expect_eq(ctl_paths_time(paths, 5), first);
    const int64_t second = ctl_paths_time(paths, 6);
    cr_expect_gt(second, first);
    cr_expect_eq(ctl_paths_time(paths, 6), second);
}

/* Whoever was let pass is, and nobody else, until anything is another. */
Test(past_paths, a_way_is_open_for_who_went_it)
{
    const struct ctl_paths_what what = of_path("a");
    const struct ctl_way way = {.position = 9, .batch = 7, .pid = 10, .uid = 5, .gid = 6};
    struct ctl_way others[] = {way, way, way, way, way};
    others[0].position++;
    others[1].batch++;
    others[2].pid++;
    others[3].uid++;
    others[4].gid++;
    struct ctl_path *path = ctl_paths_get(paths, get(&what, 5));
    cr_assert(!ctl_path_is_open(paths, path, &way));
    cr_assert(!ctl_path_is_open(paths, path, &(struct ctl_way){0}));
    ctl_path_opened(paths, path, &way);
    cr_assert(ctl_path_is_open(paths, path, &way));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_assert(!ctl_path_is_open(paths, path, &others[i]), "%zu", i);
    ctl_path_opened(paths, path, &others[0]);
    cr_assert(!ctl_path_is_open(paths, path, &way));
    ctl_paths_put(paths, path);
}

/* ---- where nodes lie ---------------------------------------------------------------- */

/* FNV-1a, by which nodes were put into 16384 places once: anybody could make names that lie in one. */
static uint64_t fnv(const char *path)
{
    uint64_t h = 2 * (uint64_t)CTL_PATHS_HISTORY;
    h = h * UINT64_C(0x100000001B3) + 5;
    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * UINT64_C(0x100000001B3);
    return (h ^ h >> 32) % 16384;
}

static double time_of(bool colliding)
{
    enum { NODES = 4000 };
    static char texts[NODES][16];
    struct timespec a, b;
    unsigned n = 0;
    for (unsigned i = 0; n < NODES; i++) {
        (void)snprintf(texts[n], sizeof texts[n], "%x", i);
        n += !colliding || fnv(texts[n]) == 7;
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (unsigned i = 0; i < NODES; i++) {
        const struct ctl_paths_what what = of_path(texts[i]);
        uint64_t id;
        cr_assert_eq(ref(&what, 5, true, &id), 0);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

Test(past_paths, nobody_makes_them_lie_in_one_place)
{
    double any = time_of(false), made = time_of(true);
    cr_assert_lt(made, 5 * any + 0.005, "%.4f s, and %.4f", made, any);
}

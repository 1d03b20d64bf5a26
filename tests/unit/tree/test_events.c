/*
 * test_events.c - what eng_events() tells of what programs do, what it costs, and that nothing is missed of
 * what changes meanwhile. Beside random changes: test_path_history.c. */
#include "told_events.h"

TestSuite(events, .timeout = 300, .fini = tree_end);

static struct told_events told;

static void tell(uint64_t folder, uint64_t after)
{
    struct events_run run = {.folder = folder, .after = after, .emit = add_told_event, .arg = &told};
    told.n = 0;
    MUST(events_run(u.eng, &run) == 0);
}

static bool is_told(enum eng_version_event what, uint64_t number, const char *path, const char *from)
{
    for (size_t i = 0; i < told.n; i++) {
        const struct told_event *e = &told.all[i];
        if (e->what == what && e->number == number && !strcmp(e->path, path) && !strcmp(e->from, from))
            return true;
    }
    for (size_t i = 0; i < told.n; i++)
        cr_log_error("%llu %d %s (%s)", (unsigned long long)told.all[i].number, (int)told.all[i].what,
                     told.all[i].path, told.all[i].from);
    return false;
}

static uint64_t make_in(uint64_t dir, const char *name, uint32_t mode)
{
    struct eng_attr attr;
    pass_ms(1500);
    MUST(eng_create(u.eng, NULL, dir, name, mode, 0, NULL, &attr) == 0);
    pass_ms(1500);
    return attr.ino;
}

static void change_in(uint64_t ino, uint64_t seed)
{
    (void)write_at(ino, seed);
    pass_ms(1500);
}

Test(events, are_told_by_the_names_of_then)
{
    begin(1);
    uint64_t from = last_batch();
    uint64_t dir = make_in(ENG_ROOT_INO, "d", S_IFDIR | 0755), made = last_batch();
    uint64_t ino = make_in(dir, "f", S_IFREG | 0644), created = last_batch();
    change_in(ino, 1);
    uint64_t changed = last_batch();
    move("d", "e");
    uint64_t moved = last_batch();
    pass_ms(1500);
    change_in(ino, 2);
    uint64_t again = last_batch();
    MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "l", NULL) == 0);
    uint64_t linked = last_batch();
    pass_ms(1500);
    change_in(ino, 3);
    uint64_t both = last_batch();
    uint64_t tmp = make_in(dir, "tmp", S_IFREG | 0644);
    MUST(eng_rename(u.eng, NULL, dir, "tmp", dir, "f", 0) == 0);
    uint64_t over = last_batch();
    pass_ms(1500);
    MUST(eng_rename(u.eng, NULL, dir, "f", ENG_ROOT_INO, "g", 0) == 0);
    uint64_t out = last_batch();
    pass_ms(1500);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "g") == 0);
    uint64_t removed = last_batch();
    pass_ms(1500);
    MUST(eng_undelete(u.eng, NULL, NULL, ENG_ROOT_INO, "g", 0, dir, "h", NULL) == 0);
    uint64_t back = last_batch();
    tell(ENG_ROOT_INO, from);
    cr_assert_eq(told.n, 13);
    cr_assert(
        is_told(ENG_VERSION_CREATED, made, "d", "") && is_told(ENG_VERSION_CREATED, created, "d/f", "") &&
        is_told(ENG_VERSION_CHANGED, changed, "d/f", "") && is_told(ENG_VERSION_RENAMED, moved, "e", "d"));
    cr_assert(is_told(ENG_VERSION_CHANGED, again, "e/f", "") &&
              is_told(ENG_VERSION_LINKED, linked, "l", "") && is_told(ENG_VERSION_CHANGED, both, "e/f", "") &&
              is_told(ENG_VERSION_CHANGED, both, "l", ""));
    cr_assert(is_told(ENG_VERSION_REPLACED, over, "e/f", "e/tmp") &&
              is_told(ENG_VERSION_RENAMED, out, "g", "e/f") &&
              is_told(ENG_VERSION_REMOVED, removed, "g", "") &&
              is_told(ENG_VERSION_RESTORED, back, "e/h", "g"));
    cr_assert_neq(tmp, 0);
    tell(dir, from); /* by whatever name it had, and what left it */
    cr_assert_eq(told.n, 10);
    cr_assert(is_told(ENG_VERSION_CREATED, made, "d", "") && is_told(ENG_VERSION_RENAMED, out, "g", "e/f"));
    tell(dir, removed);
    cr_assert_eq(told.n, 1);
    MUST(eng_unlink(u.eng, dir, "f") == -ENOENT && eng_unlink(u.eng, dir, "h") == 0);
    MUST(eng_rmdir(u.eng, ENG_ROOT_INO, "e") == 0);
    tell(dir, back);
    cr_assert(told.n == 2 && is_told(ENG_VERSION_REMOVED, last_batch(), "e", ""));
    cr_assert_eq(eng_events(u.eng, ino, INT64_MIN, add_told_event, &told), -ENOTDIR);
    cr_assert_eq(eng_events(u.eng, UINT64_C(77) << 32, INT64_MIN, add_told_event, &told), -ESTALE);
}

Test(events, from_a_time_on)
{
    begin(1);
    (void)make_in(ENG_ROOT_INO, "before", S_IFREG | 0644);
    pass_ms(60000);
    int64_t since = now_ns();
    (void)make_in(ENG_ROOT_INO, "behind", S_IFREG | 0644);
    told.n = 0;
    MUST(eng_events(u.eng, ENG_ROOT_INO, since, add_told_event, &told) == 0);
    cr_assert(told.n == 1 && is_told(ENG_VERSION_CREATED, last_batch(), "behind", ""));
    told.n = 0;
    MUST(eng_events(u.eng, ENG_ROOT_INO, INT64_MAX, add_told_event, &told) == 0);
    cr_assert_eq(told.n, 0);
}

/* What was there before a history was kept is not said to have come then. */
Test(events, of_what_was_there_before_nothing)
{
    unit_new(&u, 0);
    by_itself = true;
    (void)unit_create(&u, "old");
    tell(ENG_ROOT_INO, 0);
    cr_assert_eq(told.n, 0);
    MUST(store_set_history(u.eng) == 0);
    set_history(1u << 30);
    (void)unit_create(&u, "new");
    tell(ENG_ROOT_INO, 0);
    cr_assert(is_told(ENG_VERSION_CREATED, last_batch(), "new", "") && told.n == 1, "%zu", told.n);
}

/* ---- beside changes ---------------------------------------------------------------------------- */

static unsigned left;

static void change_one(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_DIFF_SLICE || !left || --left)
        return;
    hook_set(u.eng, NULL, NULL);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "b") == 0);
    (void)unit_create(&u, "c");
}

/* A name that goes between two slices is told as it was when this began. */
Test(events, of_a_name_that_goes_meanwhile_are_not_missed)
{
    begin(1);
    for (unsigned slice = 1; slice < 7; slice++) {
        uint64_t from = last_batch();
        uint64_t ino = make_in(ENG_ROOT_INO, "a", S_IFREG | 0644), a = last_batch();
        MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "b", NULL) == 0);
        uint64_t b = last_batch();
        pass_ms(1500);
        change_in(ino, slice);
        uint64_t both = last_batch();
        left = slice;
        hook_set(u.eng, change_one, NULL);
        tell(ENG_ROOT_INO, from);
        hook_set(u.eng, NULL, NULL);
        cr_assert(is_told(ENG_VERSION_CREATED, a, "a", "") && is_told(ENG_VERSION_LINKED, b, "b", ""));
        cr_assert(is_told(ENG_VERSION_CHANGED, both, "a", "") && is_told(ENG_VERSION_CHANGED, both, "b", ""),
                  "slice %u", slice);
        for (size_t i = 0; i < told.n; i++)
            cr_assert(told.all[i].number <= both);
        pass_ms(1500);
        (void)eng_unlink(u.eng, ENG_ROOT_INO, "b");
        (void)eng_unlink(u.eng, ENG_ROOT_INO, "c");
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "a") == 0);
    }
}

/* ---- what it costs ----------------------------------------------------------------------------- */

#define MANY 20000u

static void check_cost(uint64_t after, size_t n, uint64_t looked)
{
    struct events_run run = {.folder = ENG_ROOT_INO, .after = after, .emit = add_told_event, .arg = &told};
    told.n = 0;
    MUST(events_run(u.eng, &run) == 0);
    cr_assert_eq(told.n, n, "%zu events", told.n);
    cr_assert_leq(run.looked, looked, "%llu chunks of %llu", (unsigned long long)run.looked,
                  (unsigned long long)run.chunks);
    cr_assert_geq(run.chunks, MANY / 1024);
}

Test(events, look_at_what_was_written_since_alone)
{
    uint64_t inos[MANY], batch;
    char name[16];
    begin(1);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "%u", i);
        inos[i] = unit_create(&u, name);
    }
    unit_reopen(&u);
    set_history(1u << 30);
    pass_ms(1500);
    MUST(eng_snapshot_create(u.eng, "s", &batch) == 0);
    check_cost(batch, 0, 0);
    change_in(inos[MANY / 2], 1);
    check_cost(batch, 1, 3);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "17") == 0);
    check_cost(batch, 2, 8);
    check_cost(0, MANY + 3, UINT64_MAX);
    unit_reopen(&u);
    set_history(1u << 30);
    check_cost(batch, 2, 8);
}

static double cpu_s(void)
{
    struct timespec ts;
    MUST(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

#define VERSIONS_MAX 4096u /* that history_versions can let be */

/* Each of its names leaves a state and a past name. */
Test(events, of_an_inode_that_had_many_names)
{
    begin(1);
    uint64_t ino = unit_create(&u, "f"), from = last_batch();
    for (unsigned i = 0; i < VERSIONS_MAX; i++) {
        MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "l", NULL) == 0);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "l") == 0);
    }
    double before = cpu_s();
    tell(ENG_ROOT_INO, from);
    double took = cpu_s() - before;
    cr_log_info("%zu events in %.3f s", told.n, took);
    cr_assert(told.n == 2 * VERSIONS_MAX && took < 1, "%zu events in %.3f s", told.n, took);
}

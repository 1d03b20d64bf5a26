/*
 * test_past_space.c - what snapshots keep: a random tree changes, snapshots come, and each that goes gives
 * back what was told of it before; the receipt tells them from a history. */
#include "tree/past_changes.h"

#include "store/past_space.h"

#define SNAPSHOTS_MAX 12u

TestSuite(past_space, .timeout = 200);

static struct kept {
    char name[16];
    uint64_t batch;
} kept[SNAPSHOTS_MAX];
static unsigned n_kept, n_made;

static void begin(uint64_t seed)
{
    tree_begin(true, seed);
    by_itself = true;
    n_kept = n_made = n_names = 0;
}

static void switch_on(void)
{
    MUST(store_set_history(u.eng) == 0);
    atomic_store(&u.eng->config.history_is_known, true);
    atomic_store(&u.eng->config.history, 1u << 30);
    atomic_store(&u.eng->config.history_settle, 0);
}

static void take(void)
{
    struct kept *k = &kept[n_kept];
    if (n_kept == SNAPSHOTS_MAX)
        return;
    (void)snprintf(k->name, sizeof k->name, "s%u", n_made++);
    MUST(eng_snapshot_create(u.eng, k->name, &k->batch) == 0);
    n_kept++;
}

static uint64_t past_bytes_now(void)
{
    return unit_stats(&u).past_bytes;
}

static struct eng_snapshot_space told(const struct kept *k)
{
    struct eng_snapshot_space space;
    MUST(eng_snapshot_space(u.eng, k->batch, 0, &space) == 0);
    MUST(space.batch == k->batch);
    return space;
}

/* What the receipt tells of snapshots; it tells all of the past. */
static uint64_t by_snapshots(void)
{
    struct eng_space sp;
    int64_t shown = 0, history = 0;
    MUST(eng_space(u.eng, &sp) == 0);
    for (unsigned i = 0; i < sp.n_kinds; i++) {
        shown += sp.kinds[i].id == ENG_SPACE_SNAPSHOTS ? sp.kinds[i].bytes : 0;
        history += sp.kinds[i].id == ENG_SPACE_HISTORY ? sp.kinds[i].bytes : 0;
    }
    MUST((uint64_t)(shown + history) == past_bytes_now());
    return (uint64_t)shown;
}

static void check_sums(bool history)
{
    uint64_t alone = 0, most = 0, past = past_bytes_now();
    for (unsigned i = 0; i < n_kept; i++) {
        struct eng_snapshot_space space = told(&kept[i]);
        alone += space.alone;
        most = MAX_OF(most, space.shared + space.alone);
    }
    uint64_t shown = by_snapshots(); /* by the same look */
    MUST(alone <= past && most <= past);
    MUST(shown >= most && (history || shown == (n_kept ? past : 0)));
    if (n_kept == 1 && !history)
        cr_assert_eq(alone, past, "one alone keeps all: %llu of %llu", (unsigned long long)alone,
                     (unsigned long long)past);
}

/* Gives back what was told, no more and no less. */
static uint64_t drop(unsigned i)
{
    uint64_t alone = told(&kept[i]).alone, before = past_bytes_now();
    MUST(eng_snapshot_drop(u.eng, kept[i].name) == 0);
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    uint64_t freed = before - past_bytes_now();
    cr_assert_eq(freed, alone, "%s: %llu came back, %llu were told", kept[i].name, (unsigned long long)freed,
                 (unsigned long long)alone);
    kept[i] = kept[--n_kept];
    return freed;
}

static void run(unsigned rounds, bool history)
{
    uint64_t freed = 0;
    for (unsigned i = 0; i < rounds; i++) {
        for (uint64_t n = below(30); n > 0; n--)
            change();
        if (history && i == rounds / 3)
            switch_on();
        if (below(2))
            take();
        bool is_on = history && i >= rounds / 3;
        MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
        if (below(4) == 0)
            check_sums(is_on);
        if (n_kept && below(3) == 0)
            freed += drop((unsigned)below(n_kept));
    }
    while (n_kept) {
        freed += drop((unsigned)below(n_kept));
        check_sums(history);
    }
    MUST(history || (freed > 100000 && past_bytes_now() == 0));
}

Test(past_space, of_each_snapshot_is_what_comes_back)
{
    uint64_t seed = test_seed() + 7000;
    for (uint64_t i = 0; i < 6; i++) {
        begin(seed + i);
        run(120, false);
        cr_assert_eq(unit_problems(&u), 0);
        tree_end();
    }
}

Test(past_space, of_snapshots_is_told_from_a_history)
{
    uint64_t seed = test_seed() + 8000;
    for (uint64_t i = 0; i < 6; i++) {
        begin(seed + i);
        run(120, true);
        cr_assert_eq(unit_problems(&u), 0);
        tree_end();
    }
}

/* One slice of the extents of a state is not all of them. */
Test(past_space, of_many_extents)
{
    begin(1);
    uint64_t f = unit_file(&u, "f", 10, 1);
    for (unsigned i = 0; i < 3000; i++)
        unit_write(&u, f, 10, i, i * 40960);
    take();
    take();
    for (unsigned i = 0; i < 3000; i += 2)
        unit_write(&u, f, 10, i + 1, i * 40960);
    take();
    struct eng_attr attr = {.size = 0};
    MUST(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL) == 0);
    MUST(told(&kept[0]).alone == 0 && told(&kept[1]).alone == 0 && told(&kept[1]).shared == 15000);
    MUST(drop(1) == 0);
    cr_assert_eq(told(&kept[0]).alone, 15000);
    cr_assert_eq(told(&kept[1]).alone, 15000, "the others go to the older one: %llu",
                 (unsigned long long)told(&kept[1]).alone);
    MUST(drop(1) == 15000 && drop(0) == 30000);
    tree_end();
}

Test(past_space, has_the_errors_of_a_snapshot)
{
    struct eng_snapshot_space space;
    begin(1);
    take();
    cr_assert_eq(eng_snapshot_space(u.eng, kept[0].batch + 1, 0, &space), -ENOENT);
    cr_assert_eq(eng_snapshot_space(u.eng, kept[0].batch, 1u << 30, &space), 0);
    take();
    cr_assert_eq(eng_snapshot_space(u.eng, kept[1].batch, 1u << 30, &space), 0, "newer than the last look");
    cr_assert_eq(eng_snapshot_space(NULL, 1, 0, &space) + eng_snapshot_space(u.eng, 1, 0, NULL), -2 * EINVAL);
    tree_end();
}

/*
 * test_full_history.c - a full disk, and a history on it: the oldest of it goes before a change fails, and
 * what is removed then gives room; a snapshot never goes by itself. */
#include "admin.h"
#include "inside.h"
#include "must.h"
#include "one_store.h"

#include "index/floor.h"

#include <criterion/criterion.h>

#define SIZE 20000u
#define ROOM (UINT64_C(3) << 20)

TestSuite(full_history, .init = setup, .fini = teardown, .timeout = 300);

/* Each state is kept as if it had stood for long. */
static void begin(void)
{
    MUST(store_set_history(u.eng) == 0);
    atomic_store(&u.eng->config.history_is_known, true);
    atomic_store(&u.eng->config.history, 1u << 30);
    atomic_store(&u.eng->config.history_settle, 0);
}

static void limit(void)
{
    MUST(eng_sync(u.eng) == 0 && eng_tick(u.eng) == 0);
    simdisk_limit(u.disk, simdisk_used(u.disk) + ROOM);
}

static int write_seed(uint64_t ino, uint64_t seed)
{
    uint8_t *bytes = unit_bytes(SIZE, seed);
    ssize_t n = eng_write(u.eng, ino, bytes, SIZE, 0);
    free(bytes);
    return n == (ssize_t)SIZE ? 0 : (int)n;
}

static bool shows(uint64_t at, uint64_t ino, uint64_t seed)
{
    struct eng_view *view;
    uint8_t got[SIZE], *want = unit_bytes(SIZE, seed);
    MUST(eng_view_open(u.eng, at, &view) == 0);
    ssize_t n = eng_view_read(view, ino, got, SIZE, 0);
    bool same = n == (ssize_t)SIZE && memcmp(got, want, SIZE) == 0;
    eng_view_close(view);
    free(want);
    return same;
}

#define WRITES 600u

/* Four times what there is room for. */
Test(full_history, gives_way_oldest_first)
{
    static uint64_t at[WRITES];
    unsigned least = WRITES;
    begin();
    uint64_t ino = unit_file(&u, "f", SIZE, 0), first = u.eng->idx.s.floor;
    limit();
    for (unsigned i = 0; i < WRITES; i++) {
        cr_assert_eq(write_seed(ino, i), 0, "write %u", i);
        at[i] = eng_position(u.eng);
        unsigned kept = 0;
        for (unsigned k = 0; k <= i; k++)
            kept += at[k] >= u.eng->idx.s.floor;
        least = u.eng->idx.s.floor > first ? MIN_OF(least, kept) : least;
        for (unsigned k = 0; k < 5 && at[i - MIN_OF(i, 9 * k)] >= u.eng->idx.s.floor; k++)
            cr_assert(shows(at[i - MIN_OF(i, 9 * k)], ino, i - MIN_OF(i, 9 * k)));
    }
    cr_assert_gt(u.eng->idx.s.floor, first);
    struct eng_stats st = unit_stats(&u);
    cr_assert(st.dropped_full_disk && !st.dropped_age && !st.dropped_bytes && !st.dropped_unseen,
              "%llu, and %llu unseen", (unsigned long long)st.dropped_full_disk,
              (unsigned long long)st.dropped_unseen);
    cr_assert(least > 10 && least < WRITES / 2, "%u", least);
    cr_assert(unit_holds(&u, ino, SIZE, WRITES - 1));
    simdisk_limit(u.disk, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* And nothing of a snapshot, which the log names. */
Test(full_history, leaves_snapshots)
{
    begin();
    uint64_t ino = unit_file(&u, "f", SIZE, 0), batches[2];
    for (unsigned i = 0; i < 20; i++)
        (void)unit_file(&u, (char[]){(char)('a' + i), 'a', 0}, SIZE, 100 + i);
    MUST(eng_snapshot_create(u.eng, "small", &batches[0]) == 0);
    MUST(write_seed(ino, 1) == 0);
    MUST(eng_snapshot_create(u.eng, "large", &batches[1]) == 0);
    MUST(write_seed(ino, 2) == 0);
    for (unsigned i = 0; i < 20; i++)
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, (char[]){(char)('a' + i), 'a', 0}) == 0);
    MUST(eng_snapshot_drop(u.eng, "small") == 0);
    MUST(eng_snapshot_create(u.eng, "later", &batches[0]) == 0);
    limit();
    int r = 0;
    uint64_t more = unit_create(&u, "more"), off = 0;
    uint8_t *bytes = unit_bytes(SIZE, 9);
    for (unsigned i = 0; i < 100; i++)
        MUST(write_seed(ino, i) == 0);
    while ((r = (int)eng_write(u.eng, more, bytes, SIZE, off)) > 0)
        off += SIZE;
    free(bytes);
    cr_assert_eq(r, -ENOSPC);
    cr_assert_gt(off, ROOM / 2);
    cr_assert(strstr(u.all_warnings, "\"large\" most"), "%s", u.all_warnings);
    cr_assert(shows(batches[1], ino, 1) && shows(batches[0], ino, 2));
    cr_assert_eq(u.eng->idx.s.n_past_names, 20, "of the history nothing is left");
    simdisk_limit(u.disk, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* Removing gives room, since a history keeps nothing while there is none. */
Test(full_history, lets_removals_give_room)
{
    char name[16];
    unsigned n = 0, i = 0;
    begin();
    (void)unit_file(&u, "first", SIZE, 0);
    limit();
    uint64_t floor = u.eng->idx.s.floor;
    for (;; n++) {
        struct eng_attr attr;
        (void)snprintf(name, sizeof name, "f%u", n);
        if (eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0600, 0, NULL, &attr) ||
            write_seed(attr.ino, n))
            break;
    }
    cr_assert_gt(n, 50);
    for (; i <= n; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        int r = eng_unlink(u.eng, ENG_ROOT_INO, name);
        cr_assert(r == 0 || (i == n && r == -ENOENT), "%u of %u: %d", i, n, r);
    }
    cr_assert_gt(u.eng->idx.s.floor, floor);
    for (i = 0; i < n / 2; i++) {
        (void)snprintf(name, sizeof name, "g%u", i);
        cr_assert_eq(write_seed(unit_create(&u, name), i), 0, "%u of %u", i, n);
    }
    simdisk_limit(u.disk, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/*
 * test_room_seen.c - a change that was refused, while somebody else sees room, as who ends a checkpoint does:
 * it is tried again, and makes room where that can help; where it cannot, it ends. */
#include "hook.h"
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>

#define DISK (UINT64_C(24) << 20)
#define FILE_SIZE 6000u

static struct unit u;
static unsigned n_files; /* f0, f1, ...; each fourth is removed */

/* Changes that were refused; after how many of them somebody sees room; whether the disk is full again when
 * the change comes. */
static struct {
    unsigned refused, seen;
    bool gone;
} others;

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    return name;
}

static void setup(void)
{
    unit_new(&u, 0);
    simdisk_limit(u.disk, DISK);
}

static void teardown(void)
{
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(room_seen, .init = setup, .fini = teardown, .timeout = 60);

static int put(unsigned i)
{
    uint8_t *bytes = unit_bytes(FILE_SIZE, i);
    struct eng_record r = {
        .parent = 1, .name = name_of(i), .content = bytes, .size = FILE_SIZE, .mode = 0644};
    ssize_t n = eng_put_many(u.eng, &r, 1);
    free(bytes);
    return (int)n;
}

static void fill_and_remove(void)
{
    for (n_files = 0; put(n_files) == 1;)
        cr_assert_lt(++n_files, 10000);
    for (unsigned i = 0; i < n_files; i += 4)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
}

static void expect_files(void)
{
    for (unsigned i = 0; i < n_files; i++)
        if (i % 4)
            cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), FILE_SIZE, i), "file %u", i);
}

static void see_room(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_CHANGE_REFUSED || ++others.refused > others.seen)
        return;
    uint64_t full = simdisk_used(u.disk);
    simdisk_limit(u.disk, 0);
    cr_assert(reserve_fill(u.eng, 0));
    simdisk_limit(u.disk, others.gone ? full : 0);
}

static void others_see_room(unsigned times, bool gone)
{
    others.refused = 0;
    others.seen = times;
    others.gone = gone;
    hook_set(u.eng, see_room, NULL);
}

/* A quarter of the disk is garbage: there is room to be had, whatever others have seen. */
Test(room_seen, a_write_makes_room_all_the_same)
{
    uint64_t moved;
    fill_and_remove();
    moved = unit_stats(&u).relocations;
    others_see_room(5, true);
    cr_assert_eq(put(n_files), 1);
    cr_assert_geq(others.refused, 2, "the first time it is just tried again");
    cr_assert_gt(unit_stats(&u).relocations, moved);
    cr_assert(unit_holds(&u, unit_lookup(&u, name_of(n_files)), FILE_SIZE, n_files));
    expect_files();
}

/* The disk has room, refuses each write all the same, and nobody knows why. */
Test(room_seen, what_room_does_not_help_is_not_tried_for_ever)
{
    for (unsigned seen = 0; seen <= 1; seen++) {
        fill_and_remove();
        uint64_t moved = unit_stats(&u).relocations;
        simdisk_limit(u.disk, 0);
        others_see_room(seen ? UINT_MAX : 0, false);
        simdisk_fail_always(u.disk, SIM_PWRITEV, ENOSPC);
        cr_assert_eq(put(n_files), -ENOSPC);
        simdisk_fail_always(u.disk, SIM_PWRITEV, 0);
        cr_assert_leq(others.refused, 9, "%u", others.refused);
        cr_assert_eq(unit_stats(&u).relocations, moved, "nor is anything moved for it");
        cr_assert_eq(put(n_files), 1);
        expect_files();
        teardown();
        setup();
    }
}

/* A list of attributes ends where it is too long for the kernel, and not where the disk is full. */
Test(room_seen, nor_is_what_was_not_refused_by_the_disk)
{
    char name[300];
    uint64_t ino = unit_file(&u, "f", FILE_SIZE, 1);
    int r = 0;
    others_see_room(0, false);
    for (unsigned i = 0; !r; i++) {
        cr_assert_lt(i, 1000);
        (void)snprintf(name, sizeof name, "user.%0245u", i);
        r = eng_setxattr(u.eng, ino, name, "v", 1, 0);
    }
    cr_assert_eq(r, -ENOSPC);
    cr_assert_eq(others.refused, 2);
    cr_assert_not(reserve_is_short(u.eng));
}

/*
 * test_held_copy.c - a copy of a held folder that was made file by file, while memories were written: the
 * second copy of the log may be younger in it than the log, and is not believed then. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define SIZE 9000u

TestSuite(held_copy, .init = setup, .fini = teardown, .timeout = 60);

static struct unit copy;

static void put(const char *name)
{
    uint8_t *data;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, name, &data, &size), 0);
    simdisk_put(copy.disk, name, data, size);
    free(data);
}

static void put_echo(void *arg, const char *name, uint64_t size)
{
    uint32_t id;
    (void)arg;
    (void)size;
    if (echo_parse_name(name, &id) == 0)
        put(name);
}

static uint64_t doc; /* 1 in the checkpoint, 2 behind it */

/* The segments as they are now, and the echo of after `meanwhile`; `part` bytes of what that appends to the
 * segment are copied, too. */
static void copy_around(void (*meanwhile)(void), uint64_t part)
{
    doc = unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    unit_file(&u, "x", 3000, 5);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_clone(&copy, &u);
    simdisk_power_on(copy.disk, SIM_KEEP_ALL, 0);
    struct unit_place at = unit_log_place(&u);
    meanwhile();
    cr_assert_eq(eng_sync(u.eng), 0);
    simdisk_each(u.disk, put_echo, NULL);
    if (part) {
        uint8_t *now, *then;
        size_t n_now, n_then;
        cr_assert_eq(simdisk_get(u.disk, at.name, &now, &n_now), 0);
        cr_assert_eq(simdisk_get(copy.disk, at.name, &then, &n_then), 0);
        cr_assert_leq(at.offset + part, n_now);
        if (n_then < at.offset + part) {
            simdisk_put(copy.disk, at.name, now, at.offset + part);
        } else {
            memcpy(then + at.offset, now + at.offset, part);
            simdisk_put(copy.disk, at.name, then, n_then);
        }
        free(now);
        free(then);
    }
    cr_assert_eq(eng_release(u.eng), 0);
}

static void overwrite(void)
{
    unit_write(&u, doc, SIZE, 2, 0);
}

static void overwrite_in_another_segment(void)
{
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    overwrite();
}

/* The state of when the segment was copied, whole, and one that can be gone on with. */
static void expect_old(void)
{
    for (unsigned again = 0; again < 3; again++) {
        copy.warnings = 0;
        cr_assert_eq(unit_try_open(&copy), 0, "%s", copy.why);
        cr_assert(again || strstr(copy.all_warnings, "seems to be a copy"), "%s", copy.all_warnings);
        cr_assert(!again || !copy.warnings, "%s", copy.all_warnings);
        cr_assert(unit_holds(&copy, doc, SIZE, 1));
        cr_assert(unit_holds(&copy, unit_lookup(&copy, "x"), 3000, 5));
        cr_assert_eq(unit_problems(&copy), 0);
        unit_file(&copy, (const char *[]){"a", "b", "c"}[again], 100, 1);
        cr_assert_eq(eng_sync(copy.eng), 0);
        unit_kill(&copy, SIM_KEEP_ALL, 0);
    }
    unit_done(&copy);
}

Test(held_copy, has_what_the_log_had_when_it_was_copied)
{
    copy_around(overwrite, 0);
    expect_old();
}

Test(held_copy, of_a_segment_that_was_being_written)
{
    copy_around(overwrite, 600);
    expect_old();
}

Test(held_copy, without_the_segment_that_was_begun_meanwhile)
{
    copy_around(overwrite_in_another_segment, 0);
    expect_old();
}

/* The store itself may be killed in a hold: what is damaged then has its second copy as ever. */
Test(held_copy, the_store_itself_loses_nothing)
{
    struct unit_place at, end;
    uint8_t all[SIZE];
    doc = unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    at = unit_log_place(&u);
    unit_create(&u, "x");
    unit_write(&u, doc, SIZE, 2, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    end = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    for (uint64_t off = at.offset; off < end.offset; off += 7) {
        unit_clone(&copy, &u);
        cr_assert_eq(simdisk_flip(copy.disk, at.name, off, 4), 0);
        cr_assert_eq(unit_try_open(&copy), 0, "%s", copy.why);
        cr_assert_neq(unit_lookup(&copy, "x"), 0, "byte %llu", (unsigned long long)off);
        cr_assert_not(unit_holds(&copy, doc, SIZE, 1), "byte %llu", (unsigned long long)off);
        cr_assert(eng_read(copy.eng, doc, all, SIZE, 0) == -EIO || unit_holds(&copy, doc, SIZE, 2),
                  "byte %llu", (unsigned long long)off);
        unit_done(&copy);
    }
    unit_open(&u);
}

/* Others follow it: then it is no copy's end. */
Test(held_copy, what_others_follow_is_lost_by_the_log)
{
    struct unit_place at;
    unit_create(&u, "x");
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    at = unit_log_place(&u);
    unit_create(&u, "y");
    uint64_t end = unit_log_place(&u).offset;
    unit_create(&u, "z");
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    uint8_t *data;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, at.name, &data, &size), 0);
    memset(data + at.offset, 0, end - at.offset);
    simdisk_put(u.disk, at.name, data, size);
    free(data);
    unit_open(&u);
    cr_assert(unit_lookup(&u, "y") && unit_lookup(&u, "z"));
}

/* After the release it is as before. */
Test(held_copy, a_cut_behind_a_release_costs_no_names)
{
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_release(u.eng), 0);
    unit_create(&u, "x");
    cr_assert_eq(eng_release(u.eng), 0);
    struct unit_place at = unit_log_place(&u);
    unit_create(&u, "y");
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    uint8_t *data;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, at.name, &data, &size), 0);
    simdisk_put(u.disk, at.name, data, at.offset);
    free(data);
    unit_open(&u);
    cr_assert(unit_lookup(&u, "x") && unit_lookup(&u, "y"));
}

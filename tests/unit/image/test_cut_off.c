/*
 * test_cut_off.c - the segment in which the log goes on behind the newest checkpoint is shorter than it was
 * then, or missing. What came behind is lost, and that is no clean end. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define SIZE 3000u
#define N_LATER 8u

TestSuite(cut_off, .init = setup, .fini = teardown, .timeout = 60);

static struct unit_place at; /* where the log goes on behind the checkpoint */

static void make_store(enum sim_survival left)
{
    unit_file(&u, "early", SIZE, 1);
    unit_reopen(&u);
    at = unit_log_place(&u);
    for (unsigned i = 0; i < N_LATER; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "later%u", i);
        unit_file(&u, name, SIZE, 10 + i);
        cr_assert_eq(eng_sync(u.eng), 0);
    }
    unit_kill(&u, left, 0);
}

#define REMOVED UINT64_MAX

/* The segment as `size` leaves it. */
static void cut(struct unit *c, uint64_t size)
{
    uint8_t *image;
    size_t len;
    unit_clone(c, &u);
    cr_assert_eq(simdisk_get(u.disk, at.name, &image, &len), 0);
    if (size == REMOVED)
        cr_assert_eq(simdisk_remove(c->disk, at.name), 0);
    else
        simdisk_put(c->disk, at.name, image, size);
    free(image);
}

/* In all of these bytes that the checkpoint knows of are missing. */
static uint64_t nth_size(size_t i)
{
    const uint64_t cuts[] = {
        1, 8, at.offset / 2, at.offset - sizeof(struct segment_header), at.offset - 3, at.offset};
    if (i < ARRAY_LEN(cuts))
        return at.offset - cuts[i];
    return i == ARRAY_LEN(cuts) ? REMOVED : at.offset;
}

/* The second copy has what came behind; content that lay there is lost, all else is there. */
Test(cut_off, what_came_behind_has_the_second_copy)
{
    make_store(SIM_KEEP_ALL);
    for (size_t i = 0; nth_size(i) != at.offset; i++) {
        struct unit c;
        cut(&c, nth_size(i));
        for (unsigned again = 0; again < 2; again++) {
            c.warnings = 0;
            cr_assert_eq(unit_try_open(&c), 0, "%zu: %s", i, c.why);
            cr_assert(again || c.warnings, "%zu", i);
            cr_assert(again || strstr(c.all_warnings, "if it did, is lost"), "nobody knows: %s",
                      c.all_warnings);
            cr_assert_neq(unit_lookup(&c, "early"), 0);
            for (unsigned k = 0; k < N_LATER; k++) {
                char name[16];
                (void)snprintf(name, sizeof name, "later%u", k);
                uint64_t ino = unit_lookup(&c, name);
                cr_assert_neq(ino, 0, "%zu: %s", i, name);
                cr_assert_eq(unit_attr(&c, ino).size, SIZE);
                cr_assert_eq(unit_read_error(&c, ino), -EIO);
            }
            cr_assert(i < 2 || unit_problems(&c) > 0, "%zu: more than padding", i);
            unit_file(&c, again ? "y" : "x", SIZE, 3);
            unit_kill(&c, SIM_DROP_ALL, 0);
        }
        unit_done(&c);
    }
    unit_open(&u);
}

/* Nobody knows whether there was more: that is said, and counted by a salvage. */
Test(cut_off, without_it_the_end_is_told)
{
    make_store(SIM_DROP_ALL);
    unit_without_echo(&u);
    for (size_t i = 0; nth_size(i) != at.offset; i++) {
        for (unsigned salvage = 0; salvage < 2; salvage++) {
            struct unit c;
            cut(&c, nth_size(i));
            c.opt.read_only = c.opt.salvage = salvage;
            c.warnings = 0;
            cr_assert_eq(unit_try_open(&c), 0, "%zu: %s", i, c.why);
            cr_assert_geq(c.warnings, 1 + (nth_size(i) == REMOVED), "that, and the content");
            cr_assert(strstr(c.all_warnings, "if it did, is lost"), "%zu: %s", i, c.all_warnings);
            cr_assert_neq(unit_lookup(&c, "early"), 0);
            cr_assert(i < 2 || unit_problems(&c) > 0, "%zu: more than padding", i);
            cr_assert(!salvage || c.eng->lost_batches > 0);
            unit_done(&c);
        }
    }
    unit_open(&u);
}

/* Where the log has left the segment by then, all of it is there, and only content is lost. */
Test(cut_off, of_a_segment_that_the_log_has_left_costs_content)
{
    unit_file(&u, "early", SIZE, 1);
    unit_close(&u);
    unit_open(&u);
    at = unit_log_place(&u);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    unit_file(&u, "later", SIZE, 2);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_neq(unit_log_place(&u).segment, at.segment);
    unit_kill(&u, SIM_DROP_ALL, 0);
    const uint64_t sizes[] = {at.offset - 8, 0, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct unit c;
        cut(&c, sizes[i]);
        cr_assert_eq(unit_try_open(&c), 0, "%zu: %s", i, c.why);
        cr_assert(unit_holds(&c, unit_lookup(&c, "later"), SIZE, 2));
        unit_done(&c);
    }
    unit_open(&u);
}

/* A segment of which nothing is left stays while the log goes on in it behind the newest checkpoint: that one
 * is missing is never as it should be. */
Test(cut_off, of_a_segment_that_was_emptied_cannot_be)
{
    unit_file(&u, "early", SIZE, 1);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "early"), 0);
    unit_close(&u);
    unit_open(&u);
    at = unit_log_place(&u);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    unit_file(&u, "other", SIZE, 3);
    cr_assert_eq(eng_sync(u.eng), 0);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_geq(retire_segments(u.eng), 0);
    cr_assert_gt(unit_files(&u, at.name, NULL), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_geq(retire_segments(u.eng), 0);
    cr_assert_eq(unit_files(&u, at.name, NULL), 0);
}

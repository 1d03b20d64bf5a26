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

static void make_store(void)
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
    unit_kill(&u, SIM_DROP_ALL, 0);
}

/* UINT64_MAX: removed. */
static void cut(struct unit *c, uint64_t size)
{
    uint8_t *image;
    size_t len;
    unit_clone(c, &u);
    cr_assert_eq(simdisk_get(u.disk, at.name, &image, &len), 0);
    if (size == UINT64_MAX)
        cr_assert_eq(simdisk_remove(c->disk, at.name), 0);
    else
        simdisk_put(c->disk, at.name, image, size);
    free(image);
}

Test(cut_off, below_the_checkpoint_is_damage)
{
    make_store();
    const uint64_t sizes[] = {
        at.offset - 1, at.offset - 8, at.offset / 2, sizeof(struct segment_header), 3, 0};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct unit c;
        cut(&c, sizes[i]);
        unsigned before = unit_files(&c, ".seg", NULL);
        cr_assert_eq(unit_try_open(&c), -EBADMSG, "%zu", i);
        cr_assert(strstr(c.why, "went on in it"), "%s", c.why);
        cr_assert_eq(unit_files(&c, ".seg", NULL), before);
        c.opt.read_only = c.opt.salvage = true;
        cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
        cr_assert_neq(unit_lookup(&c, "early"), 0);
        cr_assert_gt(unit_problems(&c), 0);
        unit_done(&c);
    }
    unit_open(&u);
}

/* Nobody knows whether there was more. */
Test(cut_off, one_that_is_missing_is_told)
{
    struct unit c;
    make_store();
    for (unsigned salvage = 0; salvage < 2; salvage++) {
        cut(&c, UINT64_MAX);
        c.opt.read_only = c.opt.salvage = salvage;
        c.warnings = 0;
        unit_open(&c);
        cr_assert_eq(c.warnings, 2, "that, and the content: %u", c.warnings);
        cr_assert_gt(unit_problems(&c), 0);
        unit_done(&c);
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

/* A segment of which nothing is left may go behind a checkpoint, before another is begun. */
Test(cut_off, of_a_segment_that_was_emptied_costs_nothing)
{
    unit_file(&u, "early", SIZE, 1);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "early"), 0);
    unit_close(&u);
    unit_open(&u);
    at = unit_log_place(&u);
    unit_close(&u);
    struct unit c;
    cut(&c, UINT64_MAX);
    c.warnings = 0;
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    cr_assert_eq(c.warnings, 0, "%s", c.last_warning);
    unit_file(&c, "new", SIZE, 2);
    unit_reopen(&c);
    cr_assert(unit_holds(&c, unit_lookup(&c, "new"), SIZE, 2));
    unit_done(&c);
    unit_open(&u);
}

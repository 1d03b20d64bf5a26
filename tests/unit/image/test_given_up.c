/*
 * test_given_up.c - a check of a salvaged store says how much of its log is given up, also where no content
 * is left to tell of it; and of a whole one that nothing is. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define SIZE 3000u

TestSuite(given_up, .init = setup, .fini = teardown, .timeout = 60);

static struct unit_place at; /* of the first of the renames */
static uint64_t cut_after;

/* Nothing but names is changed; `each`: all but the last are known to be durable. Killed. */
static void rename_often(unsigned n, bool each)
{
    unit_file(&u, "n0", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    at = unit_log_place(&u);
    cut_after = u.eng->log.seq;
    for (unsigned i = 0; i < n; i++) {
        char from[8], to[8];
        (void)snprintf(from, sizeof from, "n%u", i);
        (void)snprintf(to, sizeof to, "n%u", i + 1);
        cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, from, ENG_ROOT_INO, to, 0), 0);
        if (each || i + 1 == n)
            cr_assert_eq(eng_sync(u.eng), 0);
    }
    cr_assert_eq(u.eng->log.seq, cut_after + n);
    unit_kill(&u, SIM_DROP_ALL, 0);
}

static int no_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg, (void)piece, (void)data;
    cr_assert_fail("nothing is left to tell");
    return 0;
}

static struct eng_check_figures check_salvaged(struct unit *c)
{
    struct eng_job_report report;
    c->opt.read_only = c->opt.salvage = true;
    cr_assert_eq(unit_try_open(c), 0, "%s", c->why);
    cr_assert_eq(eng_lost(c->eng, no_piece, NULL), 0);
    cr_assert_eq(eng_job_run(c->eng, ENG_JOB_CHECK, NULL, &report), 0);
    return report.check;
}

Test(given_up, the_batches_behind_the_damage)
{
    struct unit c;
    for (unsigned whole = 0; whole < 2; whole++) {
        if (!whole)
            rename_often(5, true);
        unit_clone(&c, &u);
        if (!whole)
            cr_assert_eq(simdisk_flip(c.disk, at.name, at.offset + 70, 1), 0);
        struct eng_check_figures f = check_salvaged(&c);
        cr_assert_eq(f.lost_batches, whole ? 0 : 5, "%u", (unsigned)f.lost_batches);
        cr_assert_eq(f.problems, !whole, "%u", (unsigned)f.problems);
        cr_assert_eq(f.set_aside, 0);
        cr_assert_neq(unit_lookup(&c, whole ? "n5" : "n0"), 0);
        unit_done(&c);
    }
}

/* That is refused as no torn end, however little is known of what was there. */
Test(given_up, an_end_of_which_too_much_cannot_be_read)
{
    struct unit c;
    rename_often(1, false);
    unit_clone(&c, &u);
    uint8_t *pad = calloc(1, 200u << 10);
    size_t size;
    uint8_t *data;
    cr_assert_eq(simdisk_get(c.disk, at.name, &data, &size), 0);
    memcpy(pad, data, MIN_OF(size, 200u << 10));
    simdisk_put(c.disk, at.name, pad, 200u << 10);
    cr_assert_eq(simdisk_spoil(c.disk, at.name, at.offset, at.offset + (100u << 10)), 0);
    cr_assert_eq(unit_try_open(&c), -EIO, "%s", c.why);
    struct eng_check_figures f = check_salvaged(&c);
    cr_assert_eq(f.lost_batches, 1, "%u", (unsigned)f.lost_batches);
    cr_assert_gt(f.problems, 0);
    unit_done(&c);
    free(pad);
    free(data);
}

/* What an earlier opening has set aside had names and attributes, too. */
Test(given_up, what_is_set_aside)
{
    struct unit c;
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    unit_create(&u, "begin");
    rename_often(1, false);
    unit_open(&u);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(
            eng_rename(u.eng, NULL, ENG_ROOT_INO, i % 2 ? "m" : "n1", ENG_ROOT_INO, i % 2 ? "n1" : "m", 0),
            0);
    cr_assert_eq(eng_sync(u.eng), 0);
    at = unit_log_place(&u);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, at.name, sizeof(struct segment_header) + 70, 1), 0);
    unit_open(&c);
    cr_assert_eq(unit_files(&c, ".kept", NULL), 1);
    unit_close(&c);
    struct eng_check_figures f = check_salvaged(&c);
    cr_assert_eq(f.set_aside, 1);
    cr_assert_gt(f.problems, 0);
    unit_done(&c);
}

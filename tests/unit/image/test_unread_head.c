/*
 * test_unread_head.c - the first sector of a segment cannot be read: header and first batch. What the log
 * says in it is out of reach, and a salvage says so, and hands out the content. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define SIZE 3000u
#define N_LATER 8u

TestSuite(unread_head, .init = setup, .fini = teardown, .timeout = 60);

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "later%u", i);
    return name;
}

/* Each durable, and all but the last known to be by what follows. Killed. */
static void make_later(void)
{
    for (unsigned i = 0; i < N_LATER; i++) {
        unit_file(&u, name_of(i), SIZE, 10 + i);
        cr_assert_eq(eng_sync(u.eng), 0);
    }
}

/* A segment of the log; what lies in its first sector is not looked for. */
static struct unit_place begin_segment(void)
{
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    unit_file(&u, "first", SIZE, 3);
    return unit_log_place(&u);
}

/* ---- what a salvage has ------------------------------------------------------------------- */

static struct unit c;
static unsigned n_right[N_LATER + 1]; /* pieces with the content of each; the last: of the second version */

static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg;
    for (unsigned i = 0; i <= N_LATER && piece->size == SIZE; i++) {
        uint8_t *bytes = unit_bytes(SIZE, i < N_LATER ? 10 + i : 2);
        n_right[i] += memcmp(bytes, data, SIZE) == 0;
        free(bytes);
    }
    return 0;
}

static void salvage_without(const char *segment, uint64_t size)
{
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_spoil(c.disk, segment, 0, size), 0);
    cr_assert_eq(unit_try_open(&c), -EIO);
    c.opt.read_only = c.opt.salvage = true;
    c.warnings = 0;
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    cr_assert_gt(c.warnings, 0);
    memset(n_right, 0, sizeof n_right);
    cr_assert_eq(eng_lost(c.eng, take_piece, NULL), 0);
}

/* Nothing says that all is there. */
static void expect_told(void)
{
    cr_assert_gt(unit_problems(&c), 0);
}

Test(unread_head, of_the_newest_segment)
{
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    struct unit_place end = begin_segment();
    unit_write(&u, doc, SIZE, 2, 0);
    make_later();
    cr_assert_str_eq(unit_log_place(&u).name, end.name);
    unit_kill(&u, SIM_DROP_ALL, 0);
    salvage_without(end.name, 512);
    cr_assert(unit_holds(&c, doc, SIZE, 1), "as far as the log can be read");
    for (unsigned i = 0; i <= N_LATER; i++)
        cr_assert_eq(n_right[i], 1, "%u: %u", i, n_right[i]);
    expect_told();
    unit_done(&c);
    unit_open(&u);
}

/* All that could be found is out of reach: that is no reason to say that nothing was there. */
Test(unread_head, of_a_segment_of_which_nothing_can_be_read)
{
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    struct unit_place end = begin_segment();
    unit_write(&u, doc, SIZE, 2, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    salvage_without(end.name, UNIT_SEGMENT);
    cr_assert(unit_holds(&c, doc, SIZE, 1));
    expect_told();
    unit_done(&c);
    unit_open(&u);
}

Test(unread_head, of_the_only_segment)
{
    unit_file(&u, "first", SIZE, 3);
    make_later();
    unit_kill(&u, SIM_DROP_ALL, 0);
    salvage_without("s00000001.seg", 512);
    cr_assert_eq(unit_lookup(&c, name_of(0)), 0);
    for (unsigned i = 0; i < N_LATER; i++)
        cr_assert_eq(n_right[i], 1, "%u: %u", i, n_right[i]);
    expect_told();
    unit_done(&c);
    unit_open(&u);
}

/* The log was cut where nothing but a name was changed: no piece tells of it. */
Test(unread_head, or_a_batch_without_content)
{
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place at = unit_log_place(&u);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, i ? "b" : "doc", ENG_ROOT_INO, i ? "c" : "b", 0),
                     0);
        cr_assert_eq(eng_sync(u.eng), 0);
    }
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, at.name, at.offset + 70, 1), 0);
    c.opt.read_only = c.opt.salvage = true;
    unit_open(&c);
    cr_assert_eq(unit_lookup(&c, "doc"), doc);
    cr_assert_gt(unit_problems(&c), 0);
    unit_done(&c);
    unit_open(&u);
    cr_assert_eq(unit_lookup(&u, "c"), doc);
}

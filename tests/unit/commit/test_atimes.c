/*
 * test_atimes.c - access times: the rule of relatime; seen at once, written
 * later, kept over closing; never against a time that was set. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

static struct unit u;
static uint64_t f;

static void setup(void)
{
    unit_new(&u, 0);
    unit_close(&u);
    u.opt.relatime = true;
    unit_open(&u);
    f = unit_file(&u, "f", 1000, 1);
}

static void teardown(void)
{
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(atimes, .init = setup, .fini = teardown);

static void set_times(uint64_t ino, int64_t atime, int64_t mtime)
{
    const struct eng_attr attr = {.atime = atime, .mtime = mtime, .ctime = mtime};
    cr_assert_eq(eng_setattr(u.eng, ino, &attr, ENG_SET_ATIME | ENG_SET_MTIME | ENG_SET_CTIME, NULL), 0);
}

static bool moves(int64_t atime, int64_t mtime)
{
    set_times(f, atime, mtime);
    eng_accessed(u.eng, f);
    return unit_attr(&u, f).atime != atime;
}

Test(atimes, moves_when_not_later_than_the_last_change_or_a_day_old)
{
    const int64_t s = 1000000000, day = 86400 * s, now = now_ns();
    cr_expect(moves(now - 20 * s, now - 10 * s));
    cr_expect(moves(now - 10 * s, now - 10 * s));
    cr_expect_not(moves(now - 10 * s, now - 20 * s));
    cr_expect(moves(now - day - s, now - 2 * day));
    cr_expect_not(moves(now - day + 60 * s, now - 2 * day));
}

Test(atimes, costs_no_batch_and_is_seen_everywhere)
{
    set_times(f, 5, 5);
    uint64_t seq = unit_stats(&u).log_seq;
    struct eng_attr attr;
    eng_accessed(u.eng, f);
    int64_t atime = unit_attr(&u, f).atime;
    cr_assert_gt(atime, 5);
    cr_assert_eq(eng_lookup(u.eng, NULL, ENG_ROOT_INO, "f", &attr), 0);
    cr_expect_eq(attr.atime, atime);
    cr_expect_eq(attr.ctime, 5, "reading is no change");
    eng_accessed(u.eng, f);
    cr_expect_eq(unit_attr(&u, f).atime, atime, "once is enough until the next change");
    cr_expect_eq(unit_stats(&u).log_seq, seq);
}

Test(atimes, outlives_closing_and_checkpoints)
{
    set_times(f, 5, 5);
    eng_accessed(u.eng, f);
    int64_t atime = unit_attr(&u, f).atime;
    unit_reopen(&u);
    cr_expect_eq(unit_attr(&u, f).atime, atime);
    cr_expect_eq(unit_attr(&u, f).ctime, 5);
    cr_expect_eq(unit_attr(&u, f).mtime, 5);
    set_times(f, 6, 6);
    eng_accessed(u.eng, f);
    atime = unit_attr(&u, f).atime;
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 1);
    unit_open(&u);
    cr_expect_eq(unit_attr(&u, f).atime, atime);
}

Test(atimes, what_was_set_stays_set)
{
    set_times(f, 5, 5);
    eng_accessed(u.eng, f);
    set_times(f, 7, 3);
    cr_expect_eq(unit_attr(&u, f).atime, 7);
    unit_reopen(&u);
    cr_expect_eq(unit_attr(&u, f).atime, 7, "what was noted before must not come after");
}

Test(atimes, a_removed_file_leaves_its_note_behind)
{
    set_times(f, 5, 5);
    eng_accessed(u.eng, f);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    atimes_flush(u.eng);
    cr_expect_eq(atimes_count(u.eng), 0);
}

Test(atimes, more_files_than_notes)
{
    enum { FILES = 30000 }; /* more than three quarters of the table */
    uint64_t *ino = calloc(FILES, sizeof *ino);
    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "f%u", i);
        ino[i] = unit_create(&u, name); /* atime, mtime and ctime are one moment */
    }
    for (unsigned i = 0; i < FILES; i++)
        eng_accessed(u.eng, ino[i]);
    unsigned moved = 0;
    for (unsigned i = 0; i < FILES; i++)
        moved += unit_attr(&u, ino[i]).atime > unit_attr(&u, ino[i]).mtime;
    cr_expect_eq(moved, FILES);
    cr_expect_lt(atimes_count(u.eng), FILES, "the table was emptied in between");
    unit_reopen(&u);
    moved = 0;
    for (unsigned i = 0; i < FILES; i++)
        moved += unit_attr(&u, ino[i]).atime > unit_attr(&u, ino[i]).mtime;
    cr_expect_eq(moved, FILES);
    free(ino);
}

Test(atimes, nothing_happens_unless_it_is_asked_for)
{
    unit_close(&u);
    u.opt.relatime = false;
    unit_open(&u);
    set_times(f, 5, 5);
    eng_accessed(u.eng, f);
    cr_expect_eq(unit_attr(&u, f).atime, 5);
}

Test(atimes, naming_nothing_is_a_change_of_status)
{
    set_times(f, 5, 5);
    const struct eng_attr none = {.ino = 0};
    cr_assert_eq(eng_setattr(u.eng, f, &none, 0, NULL), 0);
    cr_expect_gt(unit_attr(&u, f).ctime, 5);
    cr_expect_eq(unit_attr(&u, f).mtime, 5);
}

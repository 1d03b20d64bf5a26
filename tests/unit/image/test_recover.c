/*
 * test_recover.c - from files to a store: torn and damaged logs, and what an
 * earlier run acknowledged or left over. Segments that are missing or damaged
 * are in test_recover_segments.c. */
#include "inside.h"

#include "one_store.h"
#include "rng.h"

#include <criterion/criterion.h>

TestSuite(recover, .init = setup, .fini = teardown);

static int open_clone(struct unit *c, bool read_only)
{
    c->opt.read_only = read_only;
    return unit_try_open(c);
}

/* ---- the end of the log ------------------------------------------------------- */

/* A store whose last batch, from `p` on, made the file "last"; the one before made "first", durable. */
static struct unit_place two_files(void)
{
    unit_file(&u, "first", 5000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_create(&u, "last");
    struct unit_place p = unit_log_place(&u);
    unit_write(&u, unit_lookup(&u, "last"), 300, 2, 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    return p;
}

/* The state without the last batch, and a store that goes on from there. */
static void expect_without_last(struct unit *c, uint64_t at)
{
    cr_assert(unit_holds(c, unit_lookup(c, "first"), 5000, 1), "at %llu", (unsigned long long)at);
    cr_assert_eq(unit_attr(c, unit_lookup(c, "last")).size, 0, "at %llu", (unsigned long long)at);
    if (at % 8) /* for speed, the rest for some */
        return;
    unit_file(c, "new", 700, at);
    unit_kill(c, SIM_DROP_ALL, 0); /* not synced: gone, with the torn end still there */
    unit_open(c);
    cr_assert_eq(unit_lookup(c, "new"), 0);
    unit_file(c, "newer", 700, at);
    cr_assert_eq(eng_sync(c->eng), 0);
    unit_kill(c, SIM_DROP_ALL, 0);
    unit_open(c);
    cr_assert(unit_holds(c, unit_lookup(c, "newer"), 700, at), "at %llu", (unsigned long long)at);
    cr_assert(unit_holds(c, unit_lookup(c, "first"), 5000, 1));
    cr_assert_eq(unit_problems(c), 0);
}

Test(recover, a_tail_torn_at_any_byte_takes_only_the_last_batch)
{
    struct unit_place p = two_files();
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, p.name, &image, &size), 0);
    size = unit_log_end(image, size);
    cr_assert_geq(size, p.offset + sizeof(struct batch_header) + 300);
    for (uint64_t cut = p.offset; cut < size; cut++) {
        struct unit c;
        unit_clone(&c, &u);
        simdisk_put(c.disk, p.name, image, cut);
        cr_assert_eq(open_clone(&c, false), 0, "cut at %llu: %s", (unsigned long long)cut, c.why);
        expect_without_last(&c, cut);
        unit_done(&c);
    }
    free(image);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "last"), 300, 2), "uncut, it is all there");
}

Test(recover, a_last_batch_with_any_byte_wrong_is_left_out)
{
    struct unit_place p = two_files();
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, p.name, &image, &size), 0);
    uint64_t payload = unit_log_end(image, size) - ALIGN8(300u) - 8; /* the path hint "last" follows */
    free(image);
    for (uint64_t at = p.offset; at < payload + 300; at++) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, p.name, at, 1), 0);
        cr_assert_eq(open_clone(&c, false), 0, "flipped at %llu: %s", (unsigned long long)at, c.why);
        cr_assert_eq(unit_attr(&c, unit_lookup(&c, "last")).size, 0, "flipped at %llu",
                     (unsigned long long)at);
        cr_assert(unit_holds(&c, unit_lookup(&c, "first"), 5000, 1));
        unit_done(&c);
    }
}

Test(recover, what_lies_behind_a_torn_batch_never_joins_on)
{
    unit_file(&u, "first", 100, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place torn = unit_log_place(&u);
    unit_create(&u, "torn");
    unit_create(&u, "behind"); /* whole on the medium, but behind a hole */
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_flip(u.disk, torn.name, torn.offset, 1), 0);
    unit_open(&u);
    cr_assert_eq(unit_lookup(&u, "torn") + unit_lookup(&u, "behind"), 0);
    unit_create(&u, "other"); /* has the sequence number of the torn one */
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert_neq(unit_lookup(&u, "other"), 0);
    cr_assert_eq(unit_lookup(&u, "behind"), 0);
}

/* It may be evidence: the log goes on in a segment of its own. */
Test(recover, a_torn_end_is_left_as_it_is)
{
    struct unit_place torn = two_files();
    uint8_t *before, *after;
    size_t size, size_after;
    cr_assert_eq(simdisk_flip(u.disk, torn.name, torn.offset, 1), 0);
    cr_assert_eq(simdisk_get(u.disk, torn.name, &before, &size), 0);
    unit_open(&u);
    unit_file(&u, "other", 5000, 3);
    cr_assert_neq(unit_log_place(&u).segment, torn.segment);
    unit_close(&u);
    cr_assert_eq(simdisk_get(u.disk, torn.name, &after, &size_after), 0);
    cr_assert_eq(size, size_after);
    cr_assert_arr_eq(before, after, size);
    free(before);
    free(after);
}

/* But zeros behind the last batch were written ahead of the log, which goes on in them. */
Test(recover, a_log_goes_on_in_the_zeros_written_ahead)
{
    unit_create(&u, "first");
    for (unsigned i = 0; i < LOG_AHEAD_FSYNCS + 1; i++) {
        unit_write(&u, unit_lookup(&u, "first"), 10, i, 0);
        cr_assert_eq(eng_fsync(u.eng, unit_lookup(&u, "first")), 0);
    }
    struct unit_place end = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_gt(unit_file_size(&u, end.name), end.offset);
    unit_open(&u);
    cr_assert(unit_log_place(&u).segment == end.segment && unit_log_place(&u).offset == end.offset);
    unit_file(&u, "other", 5000, 3);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "other"), 5000, 3));
    unit_reopen(&u);
    cr_assert_eq(unit_file_size(&u, end.name), unit_log_place(&u).offset, "closing takes it back");
}

/* ---- damage is not a torn tail --------------------------------------------------- */

Test(recover, a_bad_batch_below_the_durable_mark_is_refused)
{
    struct unit_place a = unit_log_place(&u);
    unit_create(&u, "a");
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place b = unit_log_place(&u);
    unit_create(&u, "b"); /* says that the batch before it is durable */
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
    for (uint64_t at = a.offset; at < b.offset; at += 3) {
        for (int read_only = 0; read_only < 2; read_only++) {
            struct unit c;
            unit_clone(&c, &u);
            cr_assert_eq(simdisk_flip(c.disk, a.name, at, 0x80), 0);
            cr_assert_eq(open_clone(&c, read_only), -EBADMSG, "flipped at %llu", (unsigned long long)at);
            cr_assert_not_null(strstr(c.why, a.name), "it names the file: %s", c.why);
            uint64_t syncs = read_only ? 0 : simdisk_calls_of(c.disk, SIM_DATASYNC);
            cr_assert_eq(simdisk_calls(c.disk, false), syncs, "a store that is refused is left alone");
            unit_done(&c);
        }
    }
}

Test(recover, a_bad_batch_in_an_older_segment_is_refused_by_the_mark_of_a_younger_header)
{
    struct unit_place old = unit_log_place(&u);
    unit_file(&u, "old", 30000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    while (u.eng->log.active->id == old.segment)
        unit_write(&u, unit_lookup(&u, "old"), 20000, 1, 30000);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
    cr_assert_eq(simdisk_flip(u.disk, old.name, old.offset, 1), 0);
    cr_assert_eq(unit_try_open(&u), -EBADMSG);
    cr_assert_not_null(strstr(u.why, "durable"));
}

Test(recover, damaged_content_below_the_mark_is_eio_and_nothing_else)
{
    unit_file(&u, "bad", 9000, 1);
    unit_file(&u, "good", 9000, 2);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_create(&u, "mark");
    struct locator loc;
    cr_assert(unit_locator(&u, unit_lookup(&u, "bad"), 0, &loc));
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_damage(&u, &loc, 8999);
    unit_open(&u);
    uint64_t bad = unit_lookup(&u, "bad");
    char buf[4096];
    cr_assert_eq(eng_read(u.eng, bad, buf, 4096, 0), 4096, "the first block is whole");
    cr_assert_eq(eng_read(u.eng, bad, buf, 10, 8990), -EIO);
    cr_assert(unit_holds(&u, unit_lookup(&u, "good"), 9000, 2));
    cr_assert_neq(unit_lookup(&u, "mark"), 0);
    cr_assert_eq(unit_stats(&u).damaged_extents, 1);
}

/* ---- restarts ---------------------------------------------------------------------- */

Test(recover, a_store_cut_in_its_first_batch_is_new)
{
    struct unit fresh = {.disk = simdisk_new()};
    fresh.opt = (struct eng_options){.no_background = true, .io = simdisk_io(fresh.disk)};
    for (uint64_t cut = 1;; cut++) {
        struct unit c;
        unit_clone(&c, &fresh);
        c.opt.io = simdisk_io(c.disk);
        simdisk_cut_at(c.disk, cut, false);
        int r = unit_try_open(&c);
        if (r == 0 && !simdisk_is_off(c.disk)) {
            unit_done(&c);
            break;
        }
        if (c.eng)
            (void)eng_close(c.eng);
        c.eng = NULL;
        for (int mode = 0; mode < SIM_N_SURVIVALS; mode++) {
            struct unit d;
            unit_clone(&d, &c);
            d.opt.io = simdisk_io(d.disk);
            simdisk_power_on(d.disk, (enum sim_survival)mode, cut);
            cr_assert_eq(unit_try_open(&d), 0, "cut %llu, %s: %s", (unsigned long long)cut,
                         sim_survival_names[mode], d.why);
            unit_file(&d, "f", 10, 1);
            unit_reopen(&d);
            cr_assert(unit_holds(&d, unit_lookup(&d, "f"), 10, 1));
            unit_done(&d);
        }
        unit_done(&c);
    }
    unit_done(&fresh);
}

Test(recover, orphans_of_an_earlier_run_are_freed)
{
    struct eng_attr attr;
    struct eng_caller who = {.ref = true};
    unit_file(&u, "f", 20000, 1);
    cr_assert_eq(eng_lookup(u.eng, &who, ENG_ROOT_INO, "f", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(unit_holds(&u, attr.ino, 20000, 1), "alive while it is held");
    for (int clean = 0; clean < 2; clean++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_open(&c);
        cr_assert_eq(unit_stats(&c).live_bytes, 0);
        cr_assert_eq(unit_stats(&c).memories, 0);
        struct eng_attr gone;
        cr_assert_eq(eng_getattr(c.eng, attr.ino, &gone), -ESTALE);
        cr_assert_eq(unit_problems(&c), 0);
        unit_done(&c);
        if (clean == 0)
            cr_assert_eq(checkpoint_write(u.eng), 0); /* orphans are part of checkpoints (I4) */
    }
}

Test(recover, a_kill_loses_nothing_that_was_acknowledged)
{
    unit_mkdir(&u, "directory");
    for (int i = 0; i < 50; i++)
        unit_file(&u, (char[]){(char)('A' + i), 0}, (size_t)i * 1000, (uint64_t)i);
    cr_assert_eq(eng_setxattr(u.eng, unit_lookup(&u, "B"), "user.x", "value", 5, 0), 0);
    struct eng_stats before = unit_stats(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    for (int i = 0; i < 50; i++)
        cr_assert(
            unit_holds(&u, unit_lookup(&u, (char[]){(char)('A' + i), 0}), (size_t)i * 1000, (uint64_t)i));
    char value[8];
    cr_assert_eq(eng_getxattr(u.eng, unit_lookup(&u, "B"), "user.x", value, 8), 5);
    struct eng_stats after = unit_stats(&u);
    cr_assert_eq(after.log_seq, before.log_seq);
    cr_assert_eq(after.durable_seq, before.log_seq, "what was recovered is durable");
    cr_assert_eq(after.total_bytes, before.total_bytes);
    cr_assert_eq(after.live_bytes, before.live_bytes);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(unit_stats(&u).log_seq, before.log_seq);
}

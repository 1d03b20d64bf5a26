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
    simdisk_copied(copy.disk);
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

/* The power fails in the first opening of the copy, at each call of it: what the echo has too much is never
 * the copy's own. */
Test(held_copy, a_cut_of_the_power_makes_it_no_store)
{
    bool off = true;
    copy_around(overwrite, 0);
    for (unsigned nth = 1; off; nth++) {
        for (unsigned seed = 0; seed < 12; seed++) {
            struct unit c;
            unit_clone(&c, &copy);
            simdisk_cut_at(c.disk, nth, false);
            int r = unit_try_open(&c);
            off = simdisk_is_off(c.disk);
            cr_assert(off || r == 0, "%s", c.why);
            if (!r)
                unit_kill(&c, SIM_RANDOM, seed);
            else
                simdisk_power_on(c.disk, SIM_RANDOM, seed);
            unit_open(&c);
            cr_assert(unit_holds(&c, doc, SIZE, 1), "call %u, seed %u", nth, seed);
            cr_assert_eq(unit_problems(&c), 0, "call %u, seed %u", nth, seed);
            unit_done(&c);
        }
    }
    unit_done(&copy);
}

Test(held_copy, an_error_in_its_first_opening_makes_it_no_store)
{
    bool struck = true;
    copy_around(overwrite, 0);
    for (unsigned nth = 1; struck; nth++) {
        struct unit c;
        unit_clone(&c, &copy);
        simdisk_fail(c.disk, SIM_ANY_CALL, nth, EIO);
        int r = unit_try_open(&c);
        struck = !simdisk_fault_waits(c.disk);
        simdisk_fail(c.disk, SIM_ANY_CALL, 0, 0);
        cr_assert(r == 0 || (r == -EIO && c.why[0]), "call %u: %d", nth, r);
        if (!r) {
            cr_assert(unit_holds(&c, doc, SIZE, 1), "call %u", nth);
            unit_kill(&c, SIM_DROP_ALL, 0);
        }
        unit_open(&c);
        cr_assert(unit_holds(&c, doc, SIZE, 1), "call %u", nth);
        cr_assert_eq(unit_problems(&c), 0, "call %u", nth);
        unit_done(&c);
    }
    unit_done(&copy);
}

/* What it has too much is cut off, and what it has keeps its word. */
Test(held_copy, is_opened_on_a_full_disk)
{
    copy_around(overwrite, 0);
    simdisk_limit(copy.disk, simdisk_used(copy.disk));
    cr_assert_eq(unit_try_open(&copy), 0, "%s", copy.why);
    cr_assert_eq(unit_files(&copy, ".log", NULL), 1);
    unit_kill(&copy, SIM_DROP_ALL, 0);
    simdisk_limit(copy.disk, 0);
    struct unit_place end;
    unit_open(&copy);
    end = unit_log_place(&copy);
    unit_kill(&copy, SIM_DROP_ALL, 0);
    cr_assert_eq(simdisk_flip(copy.disk, end.name, end.offset - 20, 1), 0); /* in the content of "x" */
    unit_open(&copy);
    cr_assert_eq(unit_read_error(&copy, unit_lookup(&copy, "x")), -EIO);
    cr_assert(unit_holds(&copy, doc, SIZE, 1));
    unit_done(&copy);
}

/* As on btrfs over its quota: another has what is its own, and it is removed. */
Test(held_copy, is_opened_where_no_file_can_be_cut)
{
    copy_around(overwrite, 0);
    simdisk_fail_always(copy.disk, SIM_TRUNCATE, ENOSPC);
    cr_assert_eq(unit_try_open(&copy), 0, "%s", copy.why);
    unit_create(&copy, "y");
    cr_assert_eq(eng_sync(copy.eng), 0);
    unit_kill(&copy, SIM_DROP_ALL, 0);
    simdisk_fail_always(copy.disk, SIM_TRUNCATE, 0);
    unit_open(&copy);
    cr_assert(unit_holds(&copy, doc, SIZE, 1) && unit_lookup(&copy, "x") && unit_lookup(&copy, "y"));
    unit_done(&copy);
}

Test(held_copy, without_the_segment_that_was_begun_meanwhile)
{
    copy_around(overwrite_in_another_segment, 0);
    expect_old();
}

/* The store itself may be killed in a hold: what is damaged then has its second copy as ever. And so it is in
 * a copy that has the last batch, damaged or not. */
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
        if (off % 2)
            simdisk_copied(copy.disk);
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

#define N_LATER 6u

static const char *later(unsigned i)
{
    return (const char *[N_LATER]){"l0", "l1", "l2", "l3", "l4", "l5"}[i];
}

/* Killed in a hold, with "doc" overwritten in it from `at` on, in a segment of its own if `alone`, and names
 * made behind it up to `end`; all that is durable, twice. */
static void make_held(bool alone, struct unit_place *at, struct unit_place *end)
{
    doc = unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    unit_file(&u, "w", 3000, 5);
    *at = unit_log_place(&u);
    if (alone)
        cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    overwrite();
    for (unsigned i = 0; i < N_LATER; i++)
        unit_create(&u, later(i));
    cr_assert_eq(eng_tick(u.eng), 0);
    *end = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
}

/* The names are there, and of "doc" nothing that it had before. */
static void expect_new(struct unit *c, const char *when, uint64_t at)
{
    uint8_t all[SIZE];
    for (unsigned again = 0; again < 2; again++) {
        cr_assert_eq(unit_try_open(c), 0, "%s %llu: %s", when, (unsigned long long)at, c->why);
        for (unsigned i = 0; i < N_LATER; i++)
            cr_assert_neq(unit_lookup(c, later(i)), 0, "%s %llu, %u: %s", when, (unsigned long long)at, again,
                          later(i));
        cr_assert(unit_holds(c, doc, SIZE, 2) || eng_read(c->eng, doc, all, SIZE, 0) == -EIO, "%s %llu, %u",
                  when, (unsigned long long)at, again);
        if (!c->opt.read_only)
            unit_kill(c, SIM_DROP_ALL, 0);
        else
            unit_close(c);
    }
}

/* `keep` bytes of a segment, and zeros in [from, to) of these; as the store is mounted, and as a salvage
 * reads it. */
static void damaged(const char *name, uint64_t keep, uint64_t from, uint64_t to, const char *when)
{
    for (unsigned salvage = 0; salvage < 2; salvage++) {
        uint8_t *data;
        size_t size;
        unit_clone(&copy, &u);
        cr_assert_eq(simdisk_get(copy.disk, name, &data, &size), 0);
        memset(data + from, 0, MIN_OF(to, (uint64_t)size) - from);
        if (keep)
            simdisk_put(copy.disk, name, data, MIN_OF(keep, (uint64_t)size));
        else
            cr_assert_eq(simdisk_remove(copy.disk, name), 0);
        free(data);
        copy.opt.read_only = copy.opt.salvage = salvage;
        expect_new(&copy, when, keep < size ? keep : from);
        if (salvage && keep < size) { /* more may have followed */
            cr_assert_eq(unit_try_open(&copy), 0);
            cr_assert_neq(copy.eng->lost_after, UINT64_MAX, "%s", when);
        }
        unit_done(&copy);
    }
}

Test(held_copy, the_store_itself_has_the_full_word_of_its_second_copy)
{
    struct unit_place at, end;
    make_held(false, &at, &end);
    for (uint64_t cut = at.offset; cut < end.offset; cut += 211)
        damaged(at.name, cut, 0, 0, "cut at");
    for (uint64_t off = at.offset / 512 * 512; off < end.offset; off += 512)
        damaged(at.name, UINT64_MAX, MAX_OF(off, at.offset), off + 512, "zeros at");
    damaged(at.name, UINT64_MAX, at.offset, UINT64_MAX, "zeros from");
    unit_open(&u);
}

Test(held_copy, the_store_itself_may_lose_the_segment_that_was_begun_in_a_hold)
{
    struct unit_place at, end;
    make_held(true, &at, &end);
    cr_assert_neq(end.segment, at.segment);
    damaged(end.name, 0, 0, 0, "without");
    damaged(end.name, sizeof(struct segment_header), 0, 0, "cut at");
    unit_open(&u);
}

/* It was whole when it was opened, and what it has is its own from then on, as is what follows. */
Test(held_copy, one_that_was_opened_is_a_store_as_any)
{
    struct unit_place at, end;
    uint8_t *data;
    size_t size;
    make_held(false, &at, &end);
    for (unsigned goes_on = 0; goes_on < 2; goes_on++) {
        unit_clone(&copy, &u);
        simdisk_copied(copy.disk);
        unit_open(&copy);
        cr_assert(unit_holds(&copy, doc, SIZE, 2));
        if (goes_on) {
            unit_create(&copy, "more");
            cr_assert_eq(eng_sync(copy.eng), 0);
            echo_sync(&copy.eng->log.echo);
        }
        unit_kill(&copy, SIM_DROP_ALL, 0);
        cr_assert_eq(simdisk_get(copy.disk, at.name, &data, &size), 0);
        simdisk_put(copy.disk, at.name, data, at.offset);
        free(data);
        unit_open(&copy);
        cr_assert_eq(unit_lookup(&copy, "more") != 0, goes_on == 1);
        unit_kill(&copy, SIM_DROP_ALL, 0);
        expect_new(&copy, "a copy, cut at", at.offset);
        unit_done(&copy);
    }
    unit_open(&u);
}

/* Nor does it lose a name where nobody knows which file it is, now or when it was written: that proves
 * nothing. */
Test(held_copy, of_which_nothing_is_known_loses_no_names)
{
    struct unit_place at, end;
    uint8_t *data;
    size_t size;
    for (unsigned knows = 0; knows < 2; knows++) {
        struct eng_io *io = simdisk_io(u.disk);
        const struct eng_io_ops *known = io->ops;
        struct eng_io_ops unknown = *known;
        unknown.identity = NULL;
        unit_close(&u);
        io->ops = knows ? known : &unknown;
        unit_open(&u);
        make_held(false, &at, &end);
        io->ops = known;
        unit_clone(&copy, &u);
        simdisk_copied(copy.disk);
        cr_assert_eq(simdisk_get(copy.disk, at.name, &data, &size), 0);
        simdisk_put(copy.disk, at.name, data, at.offset);
        free(data);
        simdisk_io(copy.disk)->ops = knows ? &unknown : known;
        expect_new(&copy, "not known, cut at", at.offset);
        unit_done(&copy);
        unit_done(&u);
        setup();
    }
}

/* The first batch that the copy appends has the number of the first that was left out. */
Test(held_copy, what_was_left_out_does_not_come_back)
{
    copy_around(overwrite, 0);
    unit_open(&copy);
    struct unit_place at = unit_log_place(&copy);
    unit_create(&copy, "a");
    cr_assert_eq(eng_sync(copy.eng), 0);
    unit_kill(&copy, SIM_DROP_ALL, 0); /* its second copy was not durable yet */
    cr_assert_eq(simdisk_flip(copy.disk, at.name, at.offset + sizeof(struct batch_header) + 6, 1), 0);
    unit_open(&copy);
    cr_assert(unit_holds(&copy, doc, SIZE, 1));
    cr_assert_eq(unit_lookup(&copy, "a"), 0);
    unit_done(&copy);
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

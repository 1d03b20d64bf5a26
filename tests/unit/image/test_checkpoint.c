/*
 * test_checkpoint.c - checkpoints: what they hold, when they are written, what
 * is kept, and what happens when one is damaged, cut or cannot be written. */
#include "hook.h"
#include "inside.h"

#include "image_files.h"
#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(checkpoint, .init = setup, .fini = teardown);

#define N_FILES 30

static void expect_files(struct unit *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cr_assert(unit_holds(s, unit_lookup(s, (char[]){(char)('a' + i), 0}), 100 * i, i), "file %u of %u", i,
                  n);
    cr_assert_eq(unit_lookup(s, (char[]){(char)('a' + n), 0}), 0);
    cr_assert_eq(unit_problems(s), 0);
}

/* Ten files in the first checkpoint, twenty in the second, thirty in the log. Killed. */
static void two_checkpoints(char ret_newest[64])
{
    for (unsigned i = 0; i < N_FILES; i++) {
        unit_file(&u, (char[]){(char)('a' + i), 0}, 100 * i, i);
        if (i % 10 == 9 && i < 29)
            cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    cr_assert_eq(unit_stats(&u).checkpoints, 2);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert_eq(unit_files(&u, ".cpy", NULL), unit_files(&u, ".ckp", ret_newest));
}

struct checkpoint_names {
    char name[16][64];
    unsigned n;
};

static void record_checkpoint(void *arg, const char *name, uint64_t size)
{
    struct checkpoint_names *names = arg;
    (void)size;
    if (*name == 'c' && strstr(name, ".c") && names->n < 16)
        (void)snprintf(names->name[names->n++], 64, "%s", name);
}

/* The log does not go back to its beginning: nothing but the checkpoint has the first files. */
static struct checkpoint_names only_a_checkpoint(void)
{
    char newest[64];
    struct checkpoint_names names = {0};
    for (unsigned i = 0; i < 20; i++) {
        unit_file(&u, "goes", 30000, i);
        cr_assert_eq(eng_unlink(u.eng, 1, "goes"), 0);
    }
    two_checkpoints(newest);
    unit_open(&u);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert(!unit_has_segment(&u, 1));
    simdisk_each(u.disk, record_checkpoint, &names);
    cr_assert_geq(names.n, 2);
    return names;
}

/* ---- damage ------------------------------------------------------------------------ */

/* The store opens with all that it had, and a scrub makes the copy whole again. */
static void expect_nothing_lost(struct unit *c, const char *what, uint64_t at)
{
    cr_assert_eq(unit_try_open(c), 0, "%s, byte %llu: %s", what, (unsigned long long)at, c->why);
    cr_assert_eq(eng_job_run(c->eng, ENG_JOB_SCRUB, NULL, NULL), 0);
    expect_files(c, N_FILES);
    unit_kill(c, SIM_DROP_ALL, 0);
    c->warnings = 0;
    unit_open(c);
    cr_assert_eq(c->warnings, 0, "%s, byte %llu: %s", what, (unsigned long long)at, c->last_warning);
    expect_files(c, N_FILES);
}

Test(checkpoint, no_byte_of_a_copy_costs_anything)
{
    struct checkpoint_names names = only_a_checkpoint();
    for (unsigned i = 0; i < names.n; i++) {
        uint64_t size = unit_file_size(&u, names.name[i]);
        for (uint64_t at = 0; at < size; at += at + 200 < size ? size / 40 : 3) {
            struct unit c;
            unit_clone(&c, &u);
            cr_assert_eq(simdisk_flip(c.disk, names.name[i], at, 0x01), 0);
            expect_nothing_lost(&c, names.name[i], at);
            unit_done(&c);
        }
    }
}

Test(checkpoint, nor_does_the_end_of_a_copy_or_all_of_it)
{
    struct checkpoint_names names = only_a_checkpoint();
    for (unsigned i = 0; i < names.n; i++) {
        uint8_t *image;
        size_t size;
        struct unit c;
        cr_assert_eq(simdisk_get(u.disk, names.name[i], &image, &size), 0);
        for (size_t cut = 0; cut < size; cut += cut < 200 || cut + 200 > size ? 29 : size / 20) {
            unit_clone(&c, &u);
            simdisk_put(c.disk, names.name[i], image, cut);
            expect_nothing_lost(&c, names.name[i], cut);
            unit_done(&c);
        }
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_remove(c.disk, names.name[i]), 0);
        expect_nothing_lost(&c, names.name[i], 0);
        unit_done(&c);
        free(image);
    }
}

/* Neither copy of any has its end. */
Test(checkpoint, what_both_copies_have_lost_is_not_made_up)
{
    struct checkpoint_names names = only_a_checkpoint();
    for (uint64_t back = 1; back < 200; back += 11) { /* the footer, and the root before it */
        struct unit c;
        unit_clone(&c, &u);
        for (unsigned i = 0; i < names.n; i++)
            cr_assert_eq(simdisk_flip(c.disk, names.name[i], unit_file_size(&u, names.name[i]) - back, 0x20),
                         0);
        cr_assert_eq(unit_try_open(&c), -EBADMSG);
        cr_assert_not_null(strstr(c.why, "checkpoint"), "%s", c.why);
        unit_done(&c);
    }
}

Test(checkpoint, without_any_the_log_must_reach_back_to_its_beginning)
{
    char newest[64];
    struct checkpoint_names names = {0};
    struct unit c;
    two_checkpoints(newest);
    simdisk_each(u.disk, record_checkpoint, &names);
    for (unsigned i = 0; i < names.n; i++) /* of both copies */
        cr_assert_eq(simdisk_flip(u.disk, names.name[i], unit_file_size(&u, names.name[i]) - 1, 1), 0);
    unit_clone(&c, &u);
    unit_open(&c);
    expect_files(&c, N_FILES); /* from the first batch on */
    unit_done(&c);
    cr_assert_eq(simdisk_remove(u.disk, "s00000001.seg"), 0);
    cr_assert_eq(unit_try_open(&u), -EBADMSG);
    cr_assert_not_null(strstr(u.why, "checkpoint"), "%s", u.why);
}

Test(checkpoint, one_of_another_store_is_not_taken)
{
    struct unit other;
    uint8_t *image;
    size_t size;
    char newest[64];
    unit_new(&other, 0);
    unit_file(&other, "foreign", 10, 1);
    unit_close(&other);
    cr_assert_eq(unit_files(&other, ".ckp", newest), 1);
    cr_assert_eq(simdisk_get(other.disk, newest, &image, &size), 0);
    two_checkpoints(newest);
    image_files_put(u.disk, "c0000000000000001.ckp", image, size);
    image_files_put(u.disk, "c00000000000000ff.ckp", image, size);
    unit_open(&u);
    expect_files(&u, N_FILES);
    free(image);
    unit_done(&other);
}

/* ---- what is written, what is kept ---------------------------------------------------- */

Test(checkpoint, only_changed_chunks_are_written_and_their_files_kept)
{
    struct eng_record r = {.parent = 1, .mode = 0644};
    for (unsigned i = 0; i < 6000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "m%u", i);
        r.name = name;
        cr_assert_eq(eng_put_many(u.eng, &r, 1), 1);
    }
    char newest[64];
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(unit_files(&u, ".ckp", newest), 1);
    uint64_t whole = unit_file_size(&u, newest);
    cr_assert_gt(whole, 1000000);
    for (unsigned i = 0; i < 40; i++) { /* of few units, and of pages of the map */
        unit_file(&u, (char[]){'n', (char)('0' + i), 0}, 10, i);
        cr_assert_eq(checkpoint_write(u.eng), 0);
        (void)unit_files(&u, ".ckp", newest);
        if (i < 3)
            cr_assert_lt(unit_file_size(&u, newest), whole / 20, "an increment: %llu of %llu",
                         (unsigned long long)unit_file_size(&u, newest), (unsigned long long)whole);
        cr_assert_lt(unit_stats(&u).checkpoint_bytes, 6 * whole, "what is superseded goes in time");
    }
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    for (unsigned i = 0; i < 40; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, (char[]){'n', (char)('0' + i), 0}), 10, i));
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_gt(unit_stats(&u).checkpoint_bytes, whole, "known after opening, too");
}

Test(checkpoint, is_written_when_due_and_at_closing_only)
{
    cr_assert_eq(eng_config_set(u.eng, "checkpoint_ops", "20"), 0);
    cr_assert_eq(eng_config_set(u.eng, "checkpoint_bytes", "50000"), 0);
    unit_reopen(&u);
    for (unsigned i = 0; i < 20; i++)
        unit_create(&u, (char[]){(char)('a' + i), 0});
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 0, "20 are not more than 20");
    unit_create(&u, "z");
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 1);
    cr_assert_eq(unit_stats(&u).checkpoint_seq, unit_stats(&u).log_seq);
    unit_write(&u, unit_lookup(&u, "a"), 40000, 1, 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 1);
    unit_write(&u, unit_lookup(&u, "a"), 40000, 2, 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 2);
    unit_create(&u, "y");
    unit_reopen(&u);
    cr_assert_eq(unit_stats(&u).checkpoint_seq, unit_stats(&u).log_seq, "closing wrote one");
    uint64_t writes = simdisk_calls_of(u.disk, SIM_PWRITEV);
    unit_close(&u);
    cr_assert_eq(simdisk_calls_of(u.disk, SIM_PWRITEV), writes, "nothing changed, nothing is written");
}

/* ---- while others go on, and while calls fail -------------------------------------------- */

static void change_things(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_SYNC)
        return;
    hook_set(u.eng, NULL, NULL);
    for (unsigned i = 5; i < N_FILES; i++)
        unit_file(&u, (char[]){(char)('a' + i), 0}, 100 * i, i);
    cr_assert_eq(eng_unlink(u.eng, 1, "doomed"), 0);
    unit_write(&u, unit_lookup(&u, "d"), 300, 3, 0);
}

Test(checkpoint, is_of_one_moment_while_writers_go_on)
{
    unit_file(&u, "doomed", 40000, 1);
    for (unsigned i = 0; i < 5; i++)
        unit_file(&u, (char[]){(char)('a' + i), 0}, 100 * i, i + (i == 3));
    uint64_t seq = unit_stats(&u).log_seq;
    hook_set(u.eng, change_things, NULL);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoint_seq, seq);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    expect_files(&u, N_FILES);
    cr_assert_eq(unit_lookup(&u, "doomed"), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0); /* an increment of the one just loaded */
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_files(&u, N_FILES);
}

Test(checkpoint, that_cannot_be_written_harms_nothing)
{
    char newest[64];
    two_checkpoints(newest);
    for (uint64_t nth = 1;; nth++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_open(&c);
        unit_file(&c, "another", 50, 5);
        simdisk_fail(c.disk, SIM_ANY_CALL, nth, ENOSPC);
        int r = checkpoint_write(c.eng);
        simdisk_fail(c.disk, SIM_ANY_CALL, 0, 0);
        if (r) {
            cr_assert(is_read_only(c.eng) || unit_stats(&c).last_error[0], "call %llu",
                      (unsigned long long)nth);
            if (!is_read_only(c.eng))
                cr_assert_eq(unit_files(&c, ".ckp", NULL), c.eng->checkpoints->images.map.n_files,
                             "no half one stays");
        }
        cr_assert(unit_holds(&c, unit_lookup(&c, "another"), 50, 5));
        if (!is_read_only(c.eng))
            cr_assert_eq(checkpoint_write(c.eng), 0, "call %llu: it can be tried again",
                         (unsigned long long)nth);
        unit_kill(&c, SIM_KEEP_ALL, 0);
        unit_open(&c);
        cr_assert(unit_holds(&c, unit_lookup(&c, "another"), 50, 5));
        cr_assert_eq(unit_problems(&c), 0);
        unit_done(&c);
        if (!r && nth > 20)
            break;
        cr_assert_lt(nth, 200);
    }
}

Test(checkpoint, a_failed_one_is_made_up_for)
{
    unit_file(&u, "before", 10, 1);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_file(&u, "of the failed one", 10, 2);
    simdisk_fail(u.disk, SIM_CREATE, 1, EIO);
    cr_assert_eq(checkpoint_write(u.eng), -EIO);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    u.warnings = 0;
    unit_open(&u);
    cr_assert_eq(u.warnings, 0, "%s", u.last_warning); /* of one that cannot be used */
    cr_assert(unit_holds(&u, unit_lookup(&u, "of the failed one"), 10, 2));
    cr_assert_eq(unit_problems(&u), 0);
}

Test(checkpoint, names_are_parsed_exactly)
{
    static const struct {
        const char *name;
        int expect;
        uint64_t id;
    } cases[] = {{"c0000000000000001.ckp", 0, 1},
                 {"cffffffffffffffff.ckp", 0, UINT64_MAX},
                 {"c0000000000000000.ckp", -EINVAL, 0},
                 {"c000000000000001.ckp", -EINVAL, 0},
                 {"c0000000000000001.ckp~", -EINVAL, 0},
                 {"C0000000000000001.ckp", -EINVAL, 0},
                 {"c000000000000000A.ckp", -EINVAL, 0},
                 {"c 000000000000001.ckp", -EINVAL, 0},
                 {"cfedcba9876543210.cpy", 0, UINT64_C(0xfedcba9876543210)},
                 {"c0000000000000001.cpx", -EINVAL, 0},
                 {"s00000001.seg", -EINVAL, 0},
                 {"", -EINVAL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t id = 0;
        unsigned copy = 2;
        cr_assert_eq(image_parse_name(cases[i].name, &id, &copy), cases[i].expect, "%s", cases[i].name);
        cr_assert_eq(id, cases[i].id);
        if (id)
            cr_assert_eq(copy, strstr(cases[i].name, ".cpy") != NULL);
    }
}

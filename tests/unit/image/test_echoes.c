/*
 * test_echoes.c - a recovery with the second copy of the log: what the log has lost comes from there, and
 * whatever is wrong with that copy changes nothing where the log is whole. */
#include "disk/echo_stock.h"
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(echoes, .init = setup, .fini = teardown, .timeout = 240);

#define N_FILES 10u

static struct unit_place places[N_FILES + 1]; /* before each batch of note_files(), and behind the last */

static const char *name_of(unsigned i)
{
    static char name[8];
    (void)snprintf(name, sizeof(name), "f%02u", i);
    return name;
}

/* Files without content, then one with: each a batch of its own, all synced, none said to be durable by
 * another. */
static void make_log(void)
{
    unit_reopen(&u); /* a checkpoint of what was there */
    cr_assert_eq(commit_begin(u.eng), 0);
    int r = log_seal_locked(&u.eng->log);
    r = commit_end(u.eng, r);
    cr_assert_eq(r, 0);
    for (unsigned i = 0; i < N_FILES; i++) {
        if (i)
            places[i] = unit_log_place(&u);
        unit_create(&u, name_of(i));
    }
    places[0] = places[1]; /* the first of a segment */
    places[0].offset = sizeof(struct segment_header);
    places[N_FILES] = unit_log_place(&u);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(unit_files(&u, ".log", NULL), 1);
}

static void expect_files(struct unit *c, unsigned n)
{
    for (unsigned i = 0; i < N_FILES; i++)
        cr_assert_eq(unit_lookup(c, name_of(i)) != 0, i < n, "%s", name_of(i));
}

/* Opened, worked with, and opened again. */
static void expect_healed(struct unit *c, unsigned taken)
{
    unit_open(c);
    expect_files(c, N_FILES);
    cr_assert_eq(unit_stats(c).recovery_echoed, taken);
    unit_create(c, "later");
    cr_assert_eq(eng_tick(c->eng), 0);
    cr_assert_eq(unit_stats(c).checkpoints, taken > 0, "a checkpoint has all of it twice again");
    unit_kill(c, SIM_DROP_ALL, 0);
    c->warnings = 0;
    unit_open(c);
    expect_files(c, N_FILES);
    cr_assert_neq(unit_lookup(c, "later"), 0);
    cr_assert_eq(unit_problems(c), 0);
    cr_assert(!taken || c->warnings == 0, "%s", c->last_warning);
}

Test(echoes, a_flipped_bit_in_a_batch_that_nothing_marks_costs_nothing)
{
    make_log();
    for (unsigned i = 0; i < N_FILES; i++)
        for (uint64_t at = places[i].offset; at < places[i + 1].offset; at += 5) {
            struct unit c;
            unit_clone(&c, &u);
            cr_assert_eq(simdisk_flip(c.disk, places[i].name, at, (uint8_t)(1u << at % 8)), 0);
            expect_healed(&c, 1);
            unit_done(&c);
        }
}

Test(echoes, a_lost_sector_costs_nothing_where_no_content_lies)
{
    make_log();
    for (uint64_t at = 0; at < places[N_FILES].offset; at += 512) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_spoil(c.disk, places[0].name, at, at + 512), 0);
        unit_open(&c);
        expect_files(&c, N_FILES);
        unit_done(&c);
    }
}

/* The segment is cut, or gone. */
Test(echoes, what_is_left_of_a_segment_matters_not)
{
    uint8_t *data;
    size_t size;
    make_log();
    cr_assert_eq(simdisk_get(u.disk, places[0].name, &data, &size), 0);
    for (uint64_t cut = 0; cut <= places[N_FILES].offset; cut += 7) {
        struct unit c;
        unsigned whole = 0;
        while (whole < N_FILES && places[whole + 1].offset <= cut)
            whole++;
        unit_clone(&c, &u);
        if (cut)
            simdisk_put(c.disk, places[0].name, data, cut);
        else
            cr_assert_eq(simdisk_remove(c.disk, places[0].name), 0);
        expect_healed(&c, N_FILES - whole);
        unit_done(&c);
    }
    free(data);
}

Test(echoes, each_missing_segment_costs_its_content_alone)
{
    uint32_t segments[5];
    unit_reopen(&u);
    for (unsigned i = 0; i < 5; i++) { /* each fills a segment */
        uint64_t ino = unit_file(&u, name_of(i), 60000, i);
        struct locator loc;
        cr_assert(unit_locator(&u, ino, 0, &loc));
        segments[i] = loc.seg;
        cr_assert(!i || segments[i] != segments[i - 1]);
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    for (unsigned gone = 0; gone < 5; gone++) {
        struct unit c;
        char name[SEGMENT_NAME_SIZE];
        segment_name(segments[gone], name);
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_remove(c.disk, name), 0);
        for (unsigned again = 0; again < 2; again++) {
            unit_open(&c);
            for (unsigned i = 0; i < 5; i++) {
                uint64_t ino = unit_lookup(&c, name_of(i));
                cr_assert_neq(ino, 0, "%s", name_of(i));
                cr_assert_eq(unit_attr(&c, ino).size, 60000);
                cr_assert(i == gone ? unit_read_error(&c, ino) == -EIO : unit_holds(&c, ino, 60000, i));
            }
            unit_file(&c, again ? "y" : "x", 100, 1);
            if (gone == 4)
                cr_assert_gt(unit_log_place(&c).segment, segments[4], "its number is not used again (I1)");
            cr_assert_eq(eng_sync(c.eng), 0);
            unit_kill(&c, SIM_DROP_ALL, 0);
        }
        unit_done(&c);
    }
}

/* Content is judged when it is read: behind damage in it the log goes on. */
Test(echoes, damaged_content_of_the_last_batches_costs_that_content)
{
    uint64_t inos[3];
    struct locator loc[3];
    unit_reopen(&u);
    for (unsigned i = 0; i < 3; i++) {
        inos[i] = unit_file(&u, name_of(i), 3000, i);
        cr_assert(unit_locator(&u, inos[i], 0, &loc[i]));
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    for (unsigned bad = 0; bad < 3; bad++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_damage(&c, &loc[bad], 100);
        unit_open(&c);
        for (unsigned i = 0; i < 3; i++)
            cr_assert(i == bad ? unit_read_error(&c, inos[i]) == -EIO : unit_holds(&c, inos[i], 3000, i));
        unit_done(&c);
    }
}

Test(echoes, for_reading_only_nothing_is_written_and_a_check_tells)
{
    make_log();
    cr_assert_eq(simdisk_flip(u.disk, places[3].name, places[3].offset + 70, 4), 0);
    u.opt.read_only = true;
    uint64_t calls = simdisk_calls(u.disk, false);
    unit_open(&u);
    expect_files(&u, N_FILES);
    cr_assert_geq(unit_problems(&u), 1);
    cr_assert_eq(simdisk_calls(u.disk, false), calls);
}

/* ---- the opening goes on with it ------------------------------------------------------------ */

Test(echoes, what_the_echo_had_not_got_yet_it_gets_from_the_opening)
{
    unit_reopen(&u);
    unit_create(&u, "synced");
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place p = unit_log_place(&u);
    unit_create(&u, "not synced");
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u); /* it is part of the store from now on */
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert_eq(simdisk_flip(u.disk, p.name, p.offset + 70, 1), 0);
    unit_open(&u);
    cr_assert_neq(unit_lookup(&u, "not synced"), 0);
}

Test(echoes, nothing_comes_to_it_that_is_not_durable_in_the_log)
{
    unit_reopen(&u);
    unit_create(&u, "lost");
    simdisk_fail(u.disk, SIM_DATASYNC, 1, EIO);
    cr_assert_eq(eng_sync(u.eng), -EIO);
    cr_assert_eq(unit_files(&u, ".log", NULL), 0);
}

Test(echoes, a_tick_makes_it_durable)
{
    unit_reopen(&u);
    struct unit_place p = unit_log_place(&u);
    unit_create(&u, "f");
    cr_assert_eq(eng_tick(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert_eq(simdisk_flip(u.disk, p.name, p.offset + 70, 1), 0);
    unit_open(&u);
    cr_assert_neq(unit_lookup(&u, "f"), 0);
}

/* ---- an echo that is wrong ------------------------------------------------------------ */

static void expect_whole(struct unit *c, const char *when)
{
    cr_assert_eq(unit_try_open(c), 0, "%s: %s", when, c->why);
    expect_files(c, N_FILES);
    cr_assert_eq(unit_stats(c).recovery_echoed, 0);
    unit_create(c, "later");
    cr_assert_eq(eng_tick(c->eng), 0);
    unit_kill(c, SIM_DROP_ALL, 0);
    unit_open(c);
    expect_files(c, N_FILES);
    cr_assert_neq(unit_lookup(c, "later"), 0);
    cr_assert_eq(unit_problems(c), 0, "%s", when);
}

Test(echoes, whatever_is_wrong_with_it_costs_nothing)
{
    uint8_t *data;
    size_t size;
    char echo[64], when[64];
    struct unit c;
    make_log();
    cr_assert_eq(unit_files(&u, ".log", echo), 1);
    cr_assert_eq(simdisk_get(u.disk, echo, &data, &size), 0);
    for (size_t at = 0; at < size; at += 3) {
        (void)snprintf(when, sizeof(when), "flip at %zu", at);
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, echo, at, (uint8_t)(1u << at % 8)), 0);
        expect_whole(&c, when);
        unit_done(&c);
    }
    for (size_t cut = 0; cut < size; cut += 11) {
        (void)snprintf(when, sizeof(when), "cut at %zu", cut);
        unit_clone(&c, &u);
        simdisk_put(c.disk, echo, data, cut);
        expect_whole(&c, when);
        unit_done(&c);
    }
    for (size_t at = 0; at < size; at += 512) {
        (void)snprintf(when, sizeof(when), "unreadable at %zu", at);
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_spoil(c.disk, echo, at, at + 512), 0);
        expect_whole(&c, when);
        unit_done(&c);
    }
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_remove(c.disk, echo), 0);
    expect_whole(&c, "missing");
    unit_done(&c);
    free(data);
}

/* The echo of `from`, as another file of `to`. */
static void plant(struct unit *to, struct unit *from, uint32_t id)
{
    uint8_t *data;
    size_t size;
    char name[64];
    struct echo_header h;
    cr_assert_eq(unit_files(from, ".log", name), 1);
    cr_assert_eq(simdisk_get(from->disk, name, &data, &size), 0);
    memcpy(&h, data, sizeof(h));
    h.id = id;
    echo_header_seal(&h);
    memcpy(data, &h, sizeof(h));
    echo_name(id, name);
    simdisk_put(to->disk, name, data, size);
    free(data);
}

/* Two stores that were one until then, each with a batch of its own. */
static void part_ways(struct unit *a, struct unit *b)
{
    unit_reopen(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_clone(a, &u);
    unit_clone(b, &u);
    unit_open(a);
    unit_create(a, "of a");
    unit_create(a, "and more");
    cr_assert_eq(eng_sync(a->eng), 0);
    unit_kill(a, SIM_KEEP_ALL, 0);
    unit_open(b);
    unit_create(b, "of b");
    cr_assert_eq(eng_sync(b->eng), 0);
    unit_kill(b, SIM_KEEP_ALL, 0);
}

Test(echoes, the_word_of_a_whole_log_is_never_doubted)
{
    struct unit a, b;
    char own[64];
    part_ways(&a, &b);
    cr_assert_eq(unit_files(&b, ".log", own), 1);
    cr_assert_eq(simdisk_remove(b.disk, own), 0);
    plant(&b, &a, 0x20);
    unit_open(&b);
    cr_assert_eq(unit_stats(&b).recovery_echoed, 0);
    cr_assert_neq(unit_lookup(&b, "of b"), 0);
    cr_assert_eq(unit_lookup(&b, "of a"), 0);
    cr_assert_eq(unit_file_size(&b, "e00000020.log"), 0, "it is of another past");
    unit_done(&a);
    unit_done(&b);
}

Test(echoes, a_batch_that_does_not_follow_is_not_taken)
{
    struct unit a, b;
    part_ways(&a, &b);
    unit_open(&b);
    unit_create(&b, "marks"); /* of the same number as a's last */
    struct unit_place p = unit_log_place(&b);
    cr_assert_eq(eng_sync(b.eng), 0);
    unit_kill(&b, SIM_KEEP_ALL, 0);
    char name[64];
    while (unit_files(&b, ".log", name) > 0)
        cr_assert_eq(simdisk_remove(b.disk, name), 0);
    plant(&b, &a, 0x20);
    cr_assert_eq(simdisk_flip(b.disk, p.name, p.offset - 20, 1), 0); /* in the last batch */
    unit_open(&b);
    cr_assert_neq(unit_lookup(&b, "of b"), 0);
    cr_assert_eq(unit_lookup(&b, "and more"), 0);
    cr_assert_eq(unit_lookup(&b, "marks"), 0, "nothing says that it was durable");
    unit_done(&a);
    unit_done(&b);
}

/* What could not be read when the log went on without it may be readable later. */
Test(echoes, one_that_could_not_be_read_is_not_there_any_more)
{
    uint8_t *data, *log;
    size_t size, log_size;
    char echo[64];
    make_log();
    cr_assert_eq(unit_files(&u, ".log", echo), 1);
    cr_assert_eq(simdisk_get(u.disk, echo, &data, &size), 0);
    cr_assert_eq(simdisk_get(u.disk, places[0].name, &log, &log_size), 0);
    simdisk_put(u.disk, places[0].name, log, places[N_FILES - 1].offset); /* the last batch is gone */
    cr_assert_eq(simdisk_spoil(u.disk, echo, size - 60, size), 0);
    for (unsigned twice = 0; twice < 2; twice++) { /* whether the batch instead is durable in the echo */
        struct unit c;
        unit_clone(&c, &u);
        unit_open(&c);
        expect_files(&c, N_FILES - 1);
        struct unit_place p = unit_log_place(&c);
        unit_create(&c, "instead");
        cr_assert_eq(eng_sync(c.eng), 0);
        unit_kill(&c, twice ? SIM_KEEP_ALL : SIM_DROP_ALL, 0);
        if (unit_file_size(&c, echo)) /* then it can be read again */
            simdisk_put(c.disk, echo, data, size);
        cr_assert_eq(simdisk_flip(c.disk, p.name, p.offset + 70, 1), 0);
        unit_open(&c);
        expect_files(&c, N_FILES - 1);
        cr_assert_eq(unit_lookup(&c, "instead") != 0, twice == 1);
        unit_done(&c);
    }
    free(data);
    free(log);
    unit_open(&u);
}

Test(echoes, one_of_another_store_is_left_alone)
{
    struct unit other;
    make_log();
    unit_new(&other, 0);
    unit_create(&other, "x");
    cr_assert_eq(eng_sync(other.eng), 0);
    unit_kill(&other, SIM_KEEP_ALL, 0);
    plant(&u, &other, 0x20);
    unit_open(&u);
    expect_files(&u, N_FILES);
    cr_assert_eq(unit_stats(&u).recovery_echoed, 0);
    cr_assert_gt(unit_file_size(&u, "e00000020.log"), 0);
    unit_done(&other);
}

/* ---- scrub, and a full disk ------------------------------------------------------------ */

Test(echoes, a_scrub_makes_good_what_it_has_lost)
{
    struct eng_job_report rep;
    char echo[64];
    unit_reopen(&u);
    unit_create(&u, "f");
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(unit_files(&u, ".log", echo), 1);
    cr_assert_eq(simdisk_rot(u.disk, echo, 100, 1), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &rep), 0);
    cr_assert_eq(rep.scrub.recovery.damaged, 1);
    cr_assert_eq(rep.scrub.recovery.healed, 1);
    cr_assert_eq(unit_files(&u, ".log", NULL), 0, "a checkpoint has it twice");
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &rep), 0);
    cr_assert_eq(rep.scrub.recovery.damaged, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(echoes, without_room_for_it_the_log_goes_on_and_a_figure_tells)
{
    unit_reopen(&u);
    simdisk_fail(u.disk, SIM_CREATE, 1, ENOSPC);
    unit_create(&u, "f");
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(!simdisk_fault_waits(u.disk));
    cr_assert_eq(unit_stats(&u).echo_dropped, 1);
    cr_assert_eq(unit_stats(&u).echo_bytes, 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 1, "which has it twice");
    unit_create(&u, "g");
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_gt(unit_stats(&u).echo_bytes, 0);
    cr_assert_eq(unit_stats(&u).echo_dropped, 1);
}

/*
 * test_passing_errors.c - something is damaged, and what stands in for it cannot be read just then: an error
 * of the moment is no end of the log, and takes nothing away that can be read tomorrow. */
#include "inside.h"

#include "one_store.h"

#include "image/echoes.h"
#include "image/rest.h"

#include <criterion/criterion.h>

#define SIZE 3000u

TestSuite(passing_errors, .init = setup, .fini = teardown, .timeout = 120);

/* One is written when the index is verified, and never before. */
static void write_checkpoint(struct eng *eng)
{
    cr_assert_eq(rest_await(eng), 0);
    cr_assert_eq(checkpoint_write(eng), 0);
}

static struct unit_place last; /* the batch that overwrites the memory */

/* "doc" was overwritten (1, then 2) and all is durable, the second copy of the log as well. */
static void make_store(void)
{
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_tick(u.eng), 0);
    write_checkpoint(u.eng);
    unit_file(&u, "x", SIZE, 5);
    cr_assert_eq(eng_tick(u.eng), 0);
    last = unit_log_place(&u);
    unit_write(&u, doc, SIZE, 2, 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
}

static bool is_old(struct unit *c)
{
    uint64_t doc = unit_lookup(c, "doc");
    cr_assert_neq(doc, 0);
    return unit_holds(c, doc, SIZE, 1);
}

/* Whether the `nth` call of that kind, of an opening of a store whose last batch has a wrong bit, struck. */
static bool fail_at(enum sim_call call, uint64_t nth, int error)
{
    struct unit c;
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, last.name, last.offset + sizeof(struct batch_header) + 6, 1), 0);
    simdisk_fail(c.disk, call, nth, error);
    int r = unit_try_open(&c);
    bool struck = !simdisk_fault_waits(c.disk);
    simdisk_fail(c.disk, call, 0, 0);
    cr_assert(r == 0 || r == -error, "%d: %s", r, c.why);
    if (!r) {
        cr_assert_not(is_old(&c), "%s of call %d, %llu: %s", strerror(error), call, (unsigned long long)nth,
                      c.all_warnings);
        unit_kill(&c, SIM_DROP_ALL, 0);
    }
    cr_assert_eq(unit_try_open(&c), 0, "call %d, %llu: %s", call, (unsigned long long)nth, c.why);
    cr_assert_not(is_old(&c), "the next opening: call %d, %llu", call, (unsigned long long)nth);
    unit_done(&c);
    return struck;
}

Test(passing_errors, of_one_call_of_an_opening)
{
    const enum sim_call calls[] = {SIM_OPEN, SIM_PREAD, SIM_DATASYNC, SIM_FILE_SIZE, SIM_LIST};
    const int errors[] = {EIO, ENOSPC, EDQUOT, ESTALE, ETIMEDOUT, EAGAIN, EACCES, ENOMEM, ENOENT};
    make_store();
    for (size_t i = 0; i < ARRAY_LEN(calls) * ARRAY_LEN(errors); i++) {
        enum sim_call call = calls[i / ARRAY_LEN(errors)];
        uint64_t n = 1;
        while (fail_at(call, n, errors[i % ARRAY_LEN(errors)]))
            n++;
        cr_assert_gt(n, 3, "%d", call);
    }
    unit_open(&u);
}

/* ---- for as long as it is tried ---------------------------------------------------------------- */

static struct eng_io_ops ops;
static const struct eng_io_ops *disk_ops;
static unsigned n_opened, bad_open;

/* For as long as anybody would try again. */
static int open_badly(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    n_opened++;
    return n_opened >= bad_open && n_opened < bad_open + MEDIUM_TRIES
               ? -EIO
               : disk_ops->open(io, name, flags, ret_file);
}

/* A batch that the second copy is known to have. */
Test(passing_errors, of_some_calls_in_a_row)
{
    unsigned n_refused = 0, n = 1;
    make_store();
    for (unsigned i = 0; i <= n; i++) { /* the first has no error */
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, last.name, last.offset + sizeof(struct batch_header) + 6, 1), 0);
        struct eng_io *io = simdisk_io(c.disk);
        disk_ops = io->ops;
        ops = *disk_ops;
        ops.open = open_badly;
        io->ops = &ops;
        n_opened = 0;
        bad_open = i ? i : UINT32_MAX / 2;
        int r = unit_try_open(&c);
        io->ops = disk_ops;
        n = i ? n : n_opened;
        n_refused += r && strstr(c.why, "cannot be read any more") != NULL;
        cr_assert(r == 0 || r == -EIO, "%u: %d: %s", bad_open, r, c.why);
        /* as long as it cannot be read the log may end before it, which is said */
        cr_assert(r || !is_old(&c) || strstr(c.all_warnings, "kept as"), "%u: %s", bad_open, c.all_warnings);
        unit_done(&c);
    }
    cr_assert_eq(n_refused, 1);
    unit_open(&u);
}

static int open_stale(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    uint32_t id;
    bool is_echo = echo_parse_name(name, &id) == 0;
    return is_echo ? -ESTALE : disk_ops->open(io, name, flags, ret_file);
}

/* No error of a medium: nobody takes the file for one that will never be read again. But who looks for what
 * can be had is told, and has the rest. */
Test(passing_errors, of_all_of_the_second_copy_refuse_the_store)
{
    make_store();
    for (unsigned salvage = 0; salvage < 2; salvage++) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, last.name, last.offset + sizeof(struct batch_header) + 6, 1), 0);
        struct eng_io *io = simdisk_io(c.disk);
        disk_ops = io->ops;
        ops = *disk_ops;
        ops.open = open_stale;
        io->ops = &ops;
        c.opt.salvage = c.opt.read_only = salvage;
        int r = unit_try_open(&c);
        io->ops = disk_ops;
        cr_assert_eq(r, salvage ? 0 : -ESTALE, "%s", c.why);
        cr_assert(salvage || strstr(c.why, "cannot be read now"), "%s", c.why);
        cr_assert(!salvage || strstr(c.all_warnings, "second copy of the log is damaged"), "%s",
                  c.all_warnings);
        cr_assert_eq(unit_files(&c, ".kept", NULL), 0);
        unit_done(&c);
    }
    unit_open(&u);
}

/* As a whole, and until somebody has mended the medium: then a salvage has it. */
Test(passing_errors, of_the_second_copy_for_long)
{
    struct unit c;
    char name[64], kept[64] = "";
    uint8_t *data;
    size_t size;
    make_store();
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, last.name, last.offset + sizeof(struct batch_header) + 6, 1), 0);
    cr_assert_eq(unit_files(&c, ".log", name), 1);
    cr_assert_eq(simdisk_get(c.disk, name, &data, &size), 0);
    cr_assert_eq(simdisk_spoil(c.disk, name, 0, size), 0);
    c.warnings = 0;
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    cr_assert(strstr(c.all_warnings, "cannot be read: kept as"), "%s", c.all_warnings);
    cr_assert_eq(unit_files(&c, ".kept", kept), 1);
    unit_file(&c, "more", SIZE, 7); /* another batch of that number */
    cr_assert_eq(eng_sync(c.eng), 0);
    for (unsigned i = 0; i < 4; i++) {
        write_checkpoint(c.eng);
        unit_write(&c, unit_lookup(&c, "more"), SIZE, 7, 0);
        cr_assert_eq(eng_tick(c.eng), 0);
        cr_assert_eq(unit_files(&c, name, NULL), 0, "its number is not used again");
    }
    unit_kill(&c, SIM_KEEP_ALL, 0);
    simdisk_put(c.disk, kept, data, size);
    free(data);
    c.opt.read_only = true;
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    cr_assert_neq(unit_lookup(&c, "more"), 0, "only a salvage reads it");
    unit_done(&c);
    unit_open(&u);
}

/* Nothing was written since. */
Test(passing_errors, what_was_set_aside_a_salvage_reads)
{
    struct unit c;
    char name[64], kept[64] = "";
    uint8_t *data;
    size_t size;
    make_store();
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, last.name, last.offset + sizeof(struct batch_header) + 6, 1), 0);
    cr_assert_eq(unit_files(&c, ".log", name), 1);
    cr_assert_eq(simdisk_get(c.disk, name, &data, &size), 0);
    cr_assert_eq(simdisk_spoil(c.disk, name, 0, size), 0);
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    cr_assert_eq(unit_files(&c, ".kept", kept), 1);
    unit_kill(&c, SIM_KEEP_ALL, 0);
    simdisk_put(c.disk, kept, data, size);
    free(data);
    c.opt.read_only = c.opt.salvage = true;
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    cr_assert_not(is_old(&c));
    unit_done(&c);
    unit_open(&u);
}

/* ---- the second copy alone proves that the last batch was durable ------------------------------ */

static struct locator doc_at;

static void note_many(void)
{
    uint64_t w = unit_lookup(&u, "w");
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(eng_setxattr(u.eng, w, "user.many", &i, sizeof i, 0), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    echoes_gather = 1000;
}

/* "doc" was overwritten (1, then 2) by the last batch; `many`: more than an opening writes anew, before it.
 */
static void make_proven(bool many)
{
    unit_done(&u);
    unit_new(&u, 0);
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    write_checkpoint(u.eng);
    unit_file(&u, "w", SIZE, 5);
    if (many)
        note_many();
    cr_assert_eq(eng_sync(u.eng), 0);
    echo_sync(&u.eng->log.echo);
    for (unsigned i = 0; i < 6; i++) {
        unit_file(&u, (const char *[]){"a", "b", "c", "d", "e", "f"}[i], 6000, 5);
        cr_assert_eq(eng_sync(u.eng), 0);
    }
    unit_write(&u, doc, SIZE, 2, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(unit_locator(&u, doc, 0, &doc_at));
}

static void damage_content(struct unit *c)
{
    char name[SEGMENT_NAME_SIZE];
    uint64_t at = locator_offset(&doc_at) + extent_head_size(doc_at.ext_len) + 100;
    segment_name(doc_at.seg, name);
    cr_assert_eq(simdisk_flip(c->disk, name, at, 1), 0);
}

static bool is_known(struct unit *c)
{
    return unit_read_error(c, unit_lookup(c, "doc")) == -EIO;
}

/* What is known is known for good, until a checkpoint has it. */
static void expect_known(struct unit *c, const char *when, uint64_t seed)
{
    for (unsigned again = 0; again < 3; again++) {
        unit_kill(c, SIM_DROP_ALL, 0);
        c->warnings = 0;
        unit_open(c);
        cr_assert(is_known(c), "%s, %llu: opening %u", when, (unsigned long long)seed, again);
        cr_assert_null(strstr(c->all_warnings, "second copy of the log is damaged"), "%s", c->all_warnings);
        if (again == 1)
            write_checkpoint(c->eng);
    }
    cr_assert_eq(rest_await(c->eng), 0);
    cr_assert_eq(unit_files(c, ".log", NULL), 0, "%s: the checkpoint has all of it", when);
}

/* A cut of the power has torn it; `full`: and the next opening finds no room. */
static void torn(bool many, bool full, unsigned n_seeds, unsigned least)
{
    unsigned n_known = 0;
    make_proven(many);
    for (unsigned seed = 0; seed < n_seeds; seed++) {
        struct unit c;
        unit_clone(&c, &u);
        simdisk_power_on(c.disk, SIM_RANDOM, seed);
        damage_content(&c);
        simdisk_limit(c.disk, full ? simdisk_used(c.disk) : 0);
        unit_open(&c);
        simdisk_limit(c.disk, 0);
        if (is_known(&c)) { /* else it is a torn end */
            expect_known(&c, full ? "full" : "not full", seed);
            n_known++;
        }
        unit_done(&c);
    }
    cr_assert_geq(n_known, least);
}

Test(passing_errors, a_torn_second_copy_goes_when_its_batches_are_elsewhere)
{
    torn(false, false, 120, 30);
}

Test(passing_errors, a_torn_second_copy_with_many_batches)
{
    torn(true, false, 60, 15);
}

Test(passing_errors, a_torn_second_copy_on_a_full_disk)
{
    torn(false, true, 60, 15);
}

/* It is there when others tell how far the echo was durable: that is no damage. Nor is it behind a
 * checkpoint, where a hold keeps it. */
static void torn_stays(bool held, uint64_t seed)
{
    struct unit c;
    unit_clone(&c, &u);
    simdisk_power_on(c.disk, SIM_RANDOM, seed);
    simdisk_limit(c.disk, simdisk_used(c.disk));
    unit_open(&c);
    simdisk_limit(c.disk, 0);
    if (held) {
        cr_assert_eq(eng_hold(c.eng), 0);
        unit_create(&c, "x");
        write_checkpoint(c.eng);
    }
    for (unsigned i = 0; i < 3; i++) {
        unit_create(&c, (const char *[]){"x0", "x1", "x2"}[i]);
        cr_assert_eq(eng_sync(c.eng), 0);
        echo_sync(&c.eng->log.echo);
    }
    unit_kill(&c, SIM_DROP_ALL, 0);
    c.warnings = 0;
    unit_open(&c);
    cr_assert_eq(c.warnings, 0, "%d, seed %llu: %s", held, (unsigned long long)seed, c.all_warnings);
    cr_assert_eq(unit_problems(&c), 0, "%d, seed %llu", held, (unsigned long long)seed);
    unit_done(&c);
}

Test(passing_errors, a_torn_second_copy_that_stays_is_no_damage)
{
    make_proven(false);
    for (unsigned seed = 0; seed < 40; seed++) {
        torn_stays(false, seed);
        torn_stays(true, seed);
    }
}

/* A part of it cannot be read, from the first record on or behind some. */
static void unread(bool many, bool full, uint64_t from)
{
    struct unit c;
    char name[64], kept[64];
    make_proven(many);
    unit_clone(&c, &u);
    simdisk_power_on(c.disk, SIM_KEEP_ALL, 0);
    damage_content(&c);
    cr_assert_eq(unit_files(&c, ".log", name), 1);
    cr_assert_eq(simdisk_spoil(c.disk, name, from, from + 1), 0);
    simdisk_limit(c.disk, full ? simdisk_used(c.disk) : 0);
    unit_open(&c);
    simdisk_limit(c.disk, 0);
    cr_assert(is_known(&c));
    for (unsigned again = 0; again < 3; again++) {
        unit_kill(&c, SIM_DROP_ALL, 0);
        unit_open(&c);
        cr_assert(is_known(&c), "%d %d %llu: opening %u", many, full, (unsigned long long)from, again);
        if (again == 1)
            write_checkpoint(c.eng);
    }
    cr_assert_eq(rest_await(c.eng), 0);
    cr_assert_eq(unit_files(&c, ".log", NULL), 0);
    cr_assert_eq(unit_files(&c, ".kept", kept), 1);
    unit_done(&c);
}

Test(passing_errors, an_unread_second_copy_goes_when_its_batches_are_elsewhere)
{
    unread(false, false, 10);
    unread(false, false, 700);
    unread(true, false, 700);
}

Test(passing_errors, an_unread_second_copy_on_a_full_disk)
{
    unread(false, true, 10);
    unread(false, true, 700);
}

enum { N_MADE = 120 };

static struct {
    struct unit unit;
    struct unit_place quarter; /* of the batch that makes "n31" */
    char echo[64];
    uint8_t *data; /* as it was */
    size_t size;
} cut;

/* The log lost its end, from "n61" on; the echo has that, but a part of it, behind "n80", cannot be read just
 * now. */
static void make_cut(void)
{
    struct unit *c = &cut.unit;
    struct unit_place at = {0};
    char name[64];
    uint8_t *data;
    size_t size;
    unit_clone(c, &u);
    unit_open(c);
    write_checkpoint(c->eng);
    for (unsigned i = 0; i < N_MADE; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        unit_create(c, name);
        cr_assert_eq(eng_sync(c->eng), 0);
        if (i == N_MADE / 4)
            cut.quarter = unit_log_place(c);
        if (i == N_MADE / 2)
            at = unit_log_place(c);
    }
    echo_sync(&c->eng->log.echo);
    cr_assert_eq(unit_files(c, ".log", cut.echo), 1);
    unit_kill(c, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_get(c->disk, at.name, &data, &size), 0);
    simdisk_put(c->disk, at.name, data, at.offset);
    free(data);
    cr_assert_eq(simdisk_get(c->disk, cut.echo, &cut.data, &cut.size), 0);
    cr_assert_eq(simdisk_spoil(c->disk, cut.echo, cut.size / 4 * 3, cut.size / 4 * 3 + 1), 0);
}

static void cut_done(void)
{
    free(cut.data);
    unit_done(&cut.unit);
}

static bool has_all_to(struct unit *c, unsigned end)
{
    char name[64];
    for (unsigned i = 0; i <= end; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        if (!unit_lookup(c, name))
            return false;
    }
    return true;
}

static void expect_not_cut(bool full, uint64_t gather)
{
    char kept[64];
    size_t kept_size;
    struct unit *c = &cut.unit;
    make_cut();
    uint64_t before = echoes_gather;
    echoes_gather = gather;
    simdisk_limit(c->disk, full ? simdisk_used(c->disk) : 0);
    unit_open(c);
    cr_assert(has_all_to(c, 80) && !has_all_to(c, 119));
    simdisk_limit(c->disk, 0);
    unit_kill(c, SIM_KEEP_ALL, 0);
    echoes_gather = before;
    (void)snprintf(kept, sizeof kept, "%.*s.kept", (int)strcspn(cut.echo, "."), cut.echo);
    uint8_t *now;
    cr_assert_eq(simdisk_get(c->disk, kept, &now, &kept_size), 0);
    cr_assert_eq(kept_size, cut.size);
    free(now);
    simdisk_put(c->disk, kept, cut.data, cut.size); /* it can be read again */
    c->opt.read_only = c->opt.salvage = true;
    unit_open(c);
    cr_assert(has_all_to(c, N_MADE - 1));
    cut_done();
}

Test(passing_errors, an_unread_second_copy_is_not_cut)
{
    unit_close(&u);
    expect_not_cut(false, echoes_gather);
    expect_not_cut(false, 1000);
    expect_not_cut(true, echoes_gather);
    unit_open(&u);
}

/* And later the log loses what it has now. */
static void expect_told(bool full, uint64_t gather)
{
    struct unit *c = &cut.unit;
    make_cut();
    uint64_t before = echoes_gather;
    echoes_gather = gather;
    simdisk_limit(c->disk, full ? simdisk_used(c->disk) : 0);
    unit_open(c);
    cr_assert(has_all_to(c, 80) && !has_all_to(c, 119));
    simdisk_limit(c->disk, 0);
    for (unsigned again = 0; again < 3; again++) {
        unit_kill(c, SIM_DROP_ALL, 0);
        if (!again)
            cr_assert_eq(simdisk_flip(c->disk, cut.quarter.name,
                                      cut.quarter.offset + sizeof(struct batch_header) + 6, 1),
                         0);
        cr_assert_eq(unit_try_open(c), 0, "%d, %u: %s", full, again, c->why);
        cr_assert(has_all_to(c, 80), "%d, %u: %s", full, again, c->all_warnings);
    }
    echoes_gather = before;
    cut_done();
}

Test(passing_errors, what_an_unread_second_copy_tells_is_written_anew)
{
    unit_close(&u);
    expect_told(false, echoes_gather);
    expect_told(false, 1000);
    expect_told(true, echoes_gather);
    unit_open(&u);
}

/* At the nth call of an opening; whether it came to that. */
static bool interrupted(unsigned nth, bool power)
{
    struct unit c;
    unit_clone(&c, &cut.unit);
    if (power)
        simdisk_cut_at(c.disk, nth, false);
    else
        simdisk_fail(c.disk, SIM_ANY_CALL, nth, EIO);
    int r = unit_try_open(&c);
    bool struck = power ? simdisk_is_off(c.disk) : !simdisk_fault_waits(c.disk);
    if (!r)
        unit_kill(&c, SIM_RANDOM, nth);
    else
        simdisk_power_on(c.disk, SIM_RANDOM, nth);
    cr_assert_eq(unit_try_open(&c), 0, "%d, call %u: %s", power, nth, c.why);
    cr_assert(has_all_to(&c, 80), "%d, call %u: %s", power, nth, c.all_warnings);
    unit_done(&c);
    return struck;
}

Test(passing_errors, of_an_opening_that_writes_a_second_copy_anew)
{
    unit_close(&u);
    make_cut();
    for (unsigned power = 0; power < 2; power++) {
        unsigned n = 1;
        while (interrupted(n, power))
            n++;
        cr_assert_gt(n, 5);
    }
    cut_done();
    unit_open(&u);
}

Test(passing_errors, an_unread_second_copy_without_room_refuses_the_store)
{
    struct unit *c = &cut.unit;
    unit_close(&u);
    make_cut();
    cr_assert_eq(simdisk_remove(c->disk, "reserve"), 0);
    simdisk_limit(c->disk, simdisk_used(c->disk));
    cr_assert_eq(unit_try_open(c), -ENOSPC);
    cr_assert(strstr(c->why, "make room"), "%s", c->why);
    c->opt.read_only = true;
    unit_open(c);
    cr_assert(has_all_to(c, 80));
    unit_close(c);
    c->opt.read_only = false;
    simdisk_limit(c->disk, 0);
    for (unsigned again = 0; again < 2; again++) {
        unit_open(c);
        cr_assert(has_all_to(c, 80), "%u", again);
        unit_kill(c, SIM_DROP_ALL, 0);
    }
    cut_done();
    unit_open(&u);
}

/* What another one has behind it nobody can tell today, and a salvage can when it is read again. */
Test(passing_errors, what_follows_an_unread_second_copy_stays)
{
    char name[64], kept[64];
    uint8_t *data;
    size_t size;
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    write_checkpoint(u.eng);
    struct unit_place at = unit_log_place(&u);
    unit_create(&u, "x");
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_files(&u, ".log", name), 1);
    echo_cut(&u.eng->log.echo, u.eng->log.seq); /* as by a checkpoint that was never written */
    unit_write(&u, doc, SIZE, 2, 0);
    unit_create(&u, "y");
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_files(&u, ".log", NULL), 2);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_get(u.disk, at.name, &data, &size), 0);
    simdisk_put(u.disk, at.name, data, at.offset);
    free(data);
    cr_assert_eq(simdisk_get(u.disk, name, &data, &size), 0);
    cr_assert_eq(simdisk_spoil(u.disk, name, 0, size), 0);
    unit_open(&u);
    cr_assert_eq(unit_lookup(&u, "x"), 0);
    cr_assert_eq(unit_files(&u, ".log", NULL), 0);
    cr_assert_eq(unit_files(&u, ".kept", NULL), 2);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    (void)snprintf(kept, sizeof kept, "%.*s.kept", (int)strcspn(name, "."), name);
    simdisk_put(u.disk, kept, data, size);
    free(data);
    u.opt.read_only = u.opt.salvage = true;
    unit_open(&u);
    cr_assert(unit_lookup(&u, "x") && unit_lookup(&u, "y"));
    cr_assert_not(is_old(&u));
}

/* There is no second copy of more than an opening writes: what has no other word comes first. */
Test(passing_errors, the_last_batches_of_many_are_written_anew)
{
    char name[64];
    make_proven(true);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    while (unit_files(&u, ".log", name))
        cr_assert_eq(simdisk_remove(u.disk, name), 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "doc"), SIZE, 2));
    unit_kill(&u, SIM_DROP_ALL, 0);
    damage_content(&u);
    unit_open(&u);
    cr_assert(is_known(&u));
}

/* It writes no checkpoint then. */
Test(passing_errors, a_store_closed_before_it_was_loaded_has_its_second_copy)
{
    struct unit c;
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    unit_close(&u);
    rest_from = 0;
    unit_open(&u);
    unit_file(&u, "later", SIZE, 5);
    struct unit_place at = unit_log_place(&u);
    unit_write(&u, doc, SIZE, 2, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_not(loading_is_done(&u.eng->loading));
    unit_close(&u);
    unit_clone(&c, &u);
    simdisk_power_on(c.disk, SIM_DROP_ALL, 0);
    cr_assert_eq(simdisk_flip(c.disk, at.name, at.offset + sizeof(struct batch_header) + 6, 1), 0);
    unit_open(&c);
    cr_assert_not(is_old(&c));
    unit_done(&c);
    unit_open(&u);
}

/* ---- the checkpoint ---------------------------------------------------------------------------- */

static void damage_roots(struct unit *c, bool passing)
{
    const char *const suffixes[] = {".ckp", ".cpy"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char name[64];
        cr_assert_eq(unit_files(c, suffixes[i], name), 1);
        uint64_t size = unit_file_size(c, name);
        cr_assert_eq(passing ? simdisk_spoil(c->disk, name, size - 512, size)
                             : simdisk_flip(c->disk, name, size - sizeof(struct image_footer) - 20, 1),
                     0);
    }
}

/* The first segment is there, and what says that the log went on is not: it seems whole. */
static void make_beginning(void)
{
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(eng_setxattr(u.eng, doc, "user.n", &i, sizeof i, 0), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "doc", ENG_ROOT_INO, "renamed", 0), 0);
    unit_close(&u);
    cr_assert(unit_has_segment(&u, 1));
    simdisk_power_on(u.disk, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_remove(u.disk, "s00000002.seg"), 0);
}

Test(passing_errors, of_both_roots_refuse_the_store)
{
    struct unit c;
    make_beginning();
    unit_clone(&c, &u);
    damage_roots(&c, true);
    cr_assert_eq(unit_try_open(&c), -EIO);
    cr_assert(strstr(c.why, "no checkpoint can be read"), "%s", c.why);
    cr_assert_eq(unit_files(&c, ".ckp", NULL), 1);
    cr_assert_eq(unit_files(&c, ".cpy", NULL), 1);
    c.opt.read_only = c.opt.salvage = true;
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    unit_done(&c);
    unit_open(&u);
}

/* Two faults, and the store is there as it began: a repair may still get something out of the files. */
Test(passing_errors, files_of_a_damaged_checkpoint_stay_until_the_next)
{
    struct unit c;
    char name[64];
    make_beginning();
    unit_clone(&c, &u);
    damage_roots(&c, false);
    cr_assert_eq(unit_files(&c, ".ckp", name), 1);
    unit_open(&c);
    cr_assert_eq(unit_files(&c, name, NULL), 1);
    write_checkpoint(c.eng);
    cr_assert_eq(unit_files(&c, name, NULL), 0);
    unit_done(&c);
    unit_open(&u);
}

/* As long as the disk refuses each sync no checkpoint can be adopted, and the log alone, the beginning of
 * which is there, has a gap. */
Test(passing_errors, of_each_sync_are_no_damage)
{
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    unit_file(&u, "kept", SIZE, 5);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(log_seal_locked(&u.eng->log), 0);
        unit_write(&u, doc, SIZE, 2 + i, 0);
        cr_assert_eq(eng_tick(u.eng), 0);
        write_checkpoint(u.eng);
    }
    (void)retire_segments(u.eng);
    cr_assert(unit_has_segment(&u, 1) && !unit_has_segment(&u, 2));
    unit_kill(&u, SIM_DROP_ALL, 0);
    simdisk_fail_always(u.disk, SIM_DATASYNC, EIO);
    cr_assert_eq(unit_try_open(&u), -EIO, "%s", u.why);
    simdisk_fail_always(u.disk, SIM_DATASYNC, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "doc"), SIZE, 4));
}

/*
 * test_passing_errors.c - something is damaged, and what stands in for it cannot be read just then: an error
 * of the moment is no end of the log, and takes nothing away that can be read tomorrow. */
#include "inside.h"

#include "one_store.h"

#include "image/rest.h"

#include <criterion/criterion.h>

#define SIZE 3000u

TestSuite(passing_errors, .init = setup, .fini = teardown, .timeout = 120);

static struct unit_place last; /* the batch that overwrites the memory */

/* "doc" was overwritten (1, then 2) and all is durable, the second copy of the log as well. */
static void make_store(void)
{
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
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
static bool fail_at(enum sim_call call, uint64_t nth, uint64_t flip)
{
    struct unit c;
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, last.name, last.offset + flip, 1), 0);
    simdisk_fail(c.disk, call, nth, EIO);
    int r = unit_try_open(&c);
    bool struck = !simdisk_fault_waits(c.disk);
    simdisk_fail(c.disk, call, 0, 0);
    cr_assert(r == 0 || r == -EIO, "%d: %s", r, c.why);
    if (!r) {
        cr_assert_not(is_old(&c), "call %d, %llu: %s", call, (unsigned long long)nth, c.all_warnings);
        unit_kill(&c, SIM_DROP_ALL, 0);
    }
    cr_assert_eq(unit_try_open(&c), 0, "call %d, %llu: %s", call, (unsigned long long)nth, c.why);
    cr_assert_not(is_old(&c), "the next opening: call %d, %llu", call, (unsigned long long)nth);
    unit_done(&c);
    return struck;
}

Test(passing_errors, of_one_call_of_an_opening)
{
    const enum sim_call calls[] = {SIM_OPEN, SIM_PREAD, SIM_DATASYNC};
    make_store();
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        uint64_t n = 1;
        while (fail_at(calls[i], n, sizeof(struct batch_header) + 6))
            n++;
        cr_assert_gt(n, 3, "%zu", i);
    }
    unit_open(&u);
}

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
        cr_assert_eq(checkpoint_write(c.eng), 0);
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

/* Content is damaged that the second copy alone proves to have been durable, and a cut of the power has torn
 * that: what it has is written anew before it goes. */
Test(passing_errors, a_torn_second_copy_goes_when_its_batches_are_elsewhere)
{
    unsigned n_known = 0;
    struct locator loc;
    uint64_t doc = unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_file(&u, "w", SIZE, 5);
    cr_assert_eq(eng_tick(u.eng), 0);
    for (unsigned i = 0; i < 6; i++) {
        unit_file(&u, (const char *[]){"a", "b", "c", "d", "e", "f"}[i], 6000, 5);
        cr_assert_eq(eng_sync(u.eng), 0);
    }
    unit_write(&u, doc, SIZE, 2, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(unit_locator(&u, doc, 0, &loc));
    for (unsigned seed = 0; seed < 200; seed++) {
        struct unit c;
        char name[SEGMENT_NAME_SIZE];
        unit_clone(&c, &u);
        simdisk_power_on(c.disk, SIM_RANDOM, seed);
        segment_name(loc.seg, name);
        cr_assert_eq(
            simdisk_flip(c.disk, name, locator_offset(&loc) + extent_head_size(loc.ext_len) + 100, 1), 0);
        unit_open(&c);
        bool known = unit_read_error(&c, unit_lookup(&c, "doc")) == -EIO; /* else it is a torn end */
        unit_kill(&c, SIM_DROP_ALL, 0);
        unit_open(&c);
        cr_assert(!known || !is_old(&c), "seed %u", seed);
        n_known += known;
        unit_done(&c);
    }
    cr_assert_gt(n_known, 50);
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
    cr_assert_eq(checkpoint_write(c.eng), 0);
    cr_assert_eq(unit_files(&c, name, NULL), 0);
    unit_done(&c);
    unit_open(&u);
}

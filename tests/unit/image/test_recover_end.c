/*
 * test_recover_end.c - where the log ends: what an error of the medium, or one bad batch that no mark speaks
 * for, may cost. Never what an opening could read the next time, and never a file with whole batches. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define N_FILES 40
#define SIZE 5000u

TestSuite(recover_end, .init = setup, .fini = teardown);

static struct unit_place places[N_FILES]; /* of the first batch of each file */

static const char *name_of(unsigned i)
{
    static char name[8];
    (void)snprintf(name, sizeof name, "f%02u", i);
    return name;
}

/* N_FILES files over some segments, made durable by one sync at the end, and killed: no mark covers them. */
static void make_store(void)
{
    for (unsigned i = 0; i < N_FILES; i++) {
        places[i] = unit_log_place(&u);
        unit_file(&u, name_of(i), SIZE, i);
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_gt(unit_log_place(&u).segment, places[0].segment + 2, "several segments");
    unit_kill(&u, SIM_DROP_ALL, 0);
}

/* The first n files are there, and only they. */
static void expect_first(struct unit *c, unsigned n)
{
    for (unsigned i = 0; i < N_FILES; i++) {
        uint64_t ino = unit_lookup(c, name_of(i));
        if (i < n)
            cr_assert(unit_holds(c, ino, SIZE, i), "file %u of %u", i, n);
        else
            cr_assert_eq(ino, 0, "file %u, of %u", i, n);
    }
}

/* ---- errors of the medium ------------------------------------------------------------------ */

/* One call fails once while a copy of the store is opened. *ret_hit: there were so many calls. */
static int open_with_fault(struct unit *c, enum sim_call call, uint64_t nth, bool *ret_hit)
{
    unit_clone(c, &u);
    simdisk_fail(c->disk, call, nth, EIO);
    int r = unit_try_open(c);
    *ret_hit = !simdisk_fault_waits(c->disk);
    simdisk_fail(c->disk, call, 0, 0);
    return r;
}

/* Whatever fails once, nothing is lost: the store is whole, or it is refused and whole the next time. */
static void one_fault(enum sim_call call)
{
    unsigned opened = 0, calls = 0;
    bool hit = true;
    for (uint64_t nth = 1; hit; nth++) {
        struct unit c;
        int r = open_with_fault(&c, call, nth, &hit);
        opened += r == 0;
        calls += hit;
        cr_assert(r == 0 || (r == -EIO && c.why[0]), "%s %u: %d %s", sim_call_names[call], (unsigned)nth, r,
                  c.why);
        if (r)
            unit_open(&c);
        expect_first(&c, N_FILES);
        cr_assert_eq(unit_files(&c, ".kept", NULL), 0);
        unit_done(&c);
    }
    cr_assert_gt(calls, 3);
    cr_assert_gt(opened, calls / 2, "of %u calls that fail once %u are tried again", calls, opened);
}

Test(recover_end, a_read_that_fails_once_loses_nothing)
{
    make_store();
    one_fault(SIM_PREAD);
}

Test(recover_end, an_opening_or_a_size_that_fails_once_loses_nothing)
{
    make_store();
    one_fault(SIM_OPEN);
    one_fault(SIM_FILE_SIZE);
}

Test(recover_end, the_same_behind_a_checkpoint)
{
    unit_file(&u, "before", SIZE, 7);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    make_store();
    one_fault(SIM_PREAD);
    one_fault(SIM_OPEN);
}

/* A sector that stays bad, with good batches behind it: refused, and nothing is changed. */
Test(recover_end, a_bad_sector_before_good_batches_is_refused)
{
    make_store();
    for (unsigned i = 1; i + 1 < N_FILES; i += 9) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_spoil(c.disk, places[i].name, places[i].offset, places[i].offset + 64), 0);
        cr_assert_eq(unit_try_open(&c), -EIO, "%u", i);
        cr_assert_not_null(strstr(c.why, places[i].name), "%s", c.why);
        cr_assert_eq(simdisk_spoil(c.disk, places[i].name, 0, 0), 0);
        unit_open(&c);
        expect_first(&c, N_FILES);
        unit_done(&c);
    }
}

/* The end of the log is gone from some place on: so much a cut of the power does not do. */
Test(recover_end, a_long_stretch_that_cannot_be_read_is_refused)
{
    struct unit c;
    unit_file(&u, "large", 300000, 3);
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place from = unit_log_place(&u);
    unit_file(&u, "last", 200000, 4); /* a batch larger than a segment has one of its own */
    struct unit_place end = unit_log_place(&u);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_clone(&c, &u);
    if (end.segment != from.segment)
        from = (struct unit_place){.segment = end.segment, .offset = sizeof(struct segment_header)};
    segment_name(from.segment, from.name);
    cr_assert_eq(simdisk_spoil(c.disk, from.name, from.offset, from.offset + (100u << 10)), 0);
    cr_assert_eq(unit_try_open(&c), -EIO, "%s", c.why);
    unit_done(&c);
}

/* ---- a bad batch ------------------------------------------------------------------------------ */

struct taken {
    unsigned n, right;
    bool seen[N_FILES];
};

static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    struct taken *t = arg;
    t->n++;
    for (unsigned i = 0; i < N_FILES; i++) {
        uint8_t *bytes = unit_bytes(SIZE, i);
        if (piece->size == SIZE && !strcmp(piece->path, name_of(i)) && !memcmp(bytes, data, SIZE)) {
            t->right += !t->seen[i];
            t->seen[i] = true;
        }
        free(bytes);
    }
    return 0;
}

static void add_kept(void *arg, const char *name, uint64_t size)
{
    *(int64_t *)arg += strstr(name, ".kept") ? (int64_t)size : 0;
}

/* The space receipt has what is set aside, and no more of it once people have removed it. */
static void expect_receipt(struct unit *c)
{
    struct eng_space sp;
    unsigned i = 0;
    int64_t kept = 0;
    simdisk_each(c->disk, add_kept, &kept);
    cr_assert_eq(eng_space(c->eng, &sp), 0);
    while (sp.kinds[i].id != ENG_SPACE_SET_ASIDE)
        i++;
    cr_assert_eq(sp.kinds[i].bytes, kept, "%lld of %lld", (long long)sp.kinds[i].bytes, (long long)kept);
}

/* One bit of a batch in the midst: the log ends there, and what was written behind it can still be had. */
Test(recover_end, a_bad_batch_destroys_nothing_that_follows)
{
    make_store();
    for (unsigned i = 1; i + 1 < N_FILES; i += 7) {
        struct unit c;
        unsigned later = unit_files(&u, ".seg", NULL) - places[i].segment;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, places[i].name, places[i].offset + 70, 4), 0);
        unit_open(&c);
        expect_first(&c, i);
        cr_assert_geq(c.warnings, later);
        /* what follows in the segment of the bad batch is garbage, of which the next opening would tell */
        cr_assert_eq(eng_config_set(c.eng, "startup_fragmentation", "1"), 0);
        cr_assert_eq(unit_files(&c, ".kept", NULL), later, "%u", i);
        expect_receipt(&c);
        for (unsigned again = 0; again < 2; again++) { /* for good */
            unit_write(&c, unit_create(&c, again ? "y" : "x"), SIZE, 99, 0);
            c.warnings = 0;
            unit_reopen(&c);
            cr_assert_eq(c.warnings, later > 0, "each opening says that they are there: %s", c.last_warning);
            expect_receipt(&c);
            cr_assert_eq(unit_files(&c, ".kept", NULL), later);
            expect_first(&c, i);
        }
        struct unit less;
        char last[64];
        unit_clone(&less, &c);
        if (unit_files(&less, ".kept", last))
            cr_assert_eq(simdisk_remove(less.disk, last), 0);
        unit_open(&less);
        expect_receipt(&less);
        unit_done(&less);
        unit_close(&c);
        c.opt.read_only = c.opt.salvage = true;
        unit_open(&c);
        struct taken t = {0};
        cr_assert_eq(eng_lost(c.eng, take_piece, &t), 0);
        unsigned in_kept = 0;
        for (unsigned k = i; k < N_FILES; k++)
            in_kept += places[k].segment > places[i].segment;
        cr_assert_geq(t.right, in_kept, "%u: %u of %u", i, t.right, in_kept);
        unit_done(&c);
    }
}

/* Whatever a later opening does, it does not remove what this one could not keep. */
Test(recover_end, what_cannot_be_kept_refuses_the_store)
{
    struct unit c;
    make_store();
    unsigned later = unit_files(&u, ".seg", NULL) - places[5].segment;
    cr_assert_gt(later, 1);
    for (unsigned nth = 1; nth <= later; nth++) {
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, places[5].name, places[5].offset + 70, 4), 0);
        simdisk_fail(c.disk, SIM_RENAME, nth, EIO);
        cr_assert_eq(unit_try_open(&c), -EIO);
        cr_assert_not_null(strstr(c.why, ".kept"), "%s", c.why);
        unit_open(&c);
        expect_first(&c, 5);
        cr_assert_eq(unit_files(&c, ".kept", NULL), later);
        unit_done(&c);
    }
}

/* An opening that knows of the segments set aside by their names alone gives others other numbers. */
Test(recover_end, a_kept_segment_is_never_replaced)
{
    struct unit c;
    struct unit_place at[8];
    make_store();
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, places[5].name, places[5].offset + 70, 4), 0);
    unit_open(&c);
    unsigned kept = unit_files(&c, ".kept", NULL);
    cr_assert_gt(kept, 1);
    unit_kill(&c, SIM_DROP_ALL, 0); /* before it has written anything of how far the numbers are used */
    unit_open(&c);
    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "r%u", i);
        unit_file(&c, name, 4 * SIZE, i);
        at[i] = unit_log_place(&c);
    }
    unsigned later = unit_log_place(&c).segment - at[1].segment;
    cr_assert_gt(later, 1);
    cr_assert_eq(eng_sync(c.eng), 0);
    unit_kill(&c, SIM_DROP_ALL, 0);
    cr_assert_eq(simdisk_flip(c.disk, at[1].name, at[1].offset + 70, 4), 0);
    unit_open(&c);
    cr_assert_eq(unit_files(&c, ".kept", NULL), kept + later);
    unit_done(&c);
}

/* How many of the files can be had of a copy: by their names, or among what is lost. */
static unsigned can_be_had(struct unit *of)
{
    struct unit c;
    struct taken t = {0};
    unsigned n = 0;
    unit_clone(&c, of);
    c.opt.read_only = c.opt.salvage = true;
    unit_open(&c);
    cr_assert_eq(eng_lost(c.eng, take_piece, &t), 0);
    for (unsigned i = 0; i < N_FILES; i++)
        n += t.seen[i] || unit_lookup(&c, name_of(i));
    unit_done(&c);
    return n;
}

/* Damage, then lives, then a repair. `writes`: each life does; `in_order`: each ends so. */
static void live_on(const char *segment, uint64_t offset, bool writes, bool in_order)
{
    struct unit c;
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, segment, offset, 4), 0);
    for (unsigned life = 0; life < 3; life++) {
        char name[8];
        (void)snprintf(name, sizeof name, "l%u", life);
        unit_open(&c);
        if (writes) {
            unit_file(&c, name, SIZE, 99);
            cr_assert_eq(eng_sync(c.eng), 0);
        }
        if (in_order)
            unit_close(&c);
        else
            unit_kill(&c, SIM_DROP_ALL, 0);
        unsigned n = can_be_had(&c);
        cr_assert_eq(n, N_FILES, "%s at %u, %d %d: %u files after %u lives", segment, (unsigned)offset,
                     writes, in_order, n, life + 1);
    }
    unit_done(&c);
}

/* In the same segment as the bad batch, too, and also when that is the first of its segment. */
Test(recover_end, what_follows_a_bad_batch_can_be_had_for_good)
{
    make_store();
    for (unsigned how = 0; how < 4; how++) {
        for (unsigned i = 1; i < N_FILES; i++) {
            live_on(places[i].name, places[i].offset + 70, how & 1, how & 2);
            if (places[i].segment != places[i - 1].segment)
                live_on(places[i].name, sizeof(struct segment_header) + 70, how & 1, how & 2);
        }
    }
}

/* Before anything is changed the whole tail can be had: nothing says which of it was durable. */
Test(recover_end, salvage_hands_out_what_follows_a_bad_batch)
{
    struct unit c;
    make_store();
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, places[5].name, places[5].offset + 70, 4), 0);
    c.opt.read_only = c.opt.salvage = true;
    unit_open(&c);
    expect_first(&c, 5);
    struct taken t = {0};
    cr_assert_eq(eng_lost(c.eng, take_piece, &t), 0);
    cr_assert_geq(t.right, N_FILES - 6);
    unit_done(&c);
}

/* ---- marks, each alone ----------------------------------------------------------------------- */

/* Writes until the log goes on in another segment; *ret_last: where the last batch of the one before lies. */
static struct unit_place fill_segment(bool sync, struct unit_place *ret_last)
{
    struct unit_place at = unit_log_place(&u), next;
    uint64_t ino = unit_file(&u, "f", SIZE, 1);
    for (next = unit_log_place(&u); next.segment == at.segment; next = unit_log_place(&u)) {
        *ret_last = at;
        at = next;
        unit_write(&u, ino, 20000, 7, 0);
        if (sync)
            cr_assert_eq(eng_sync(u.eng), 0);
    }
    return next;
}

static bool flip_and_try(struct unit *c, struct unit_place at)
{
    cr_assert_eq(simdisk_flip(c->disk, at.name, at.offset + 20, 1), 0);
    return unit_try_open(c) == 0;
}

/* Without it what no mark speaks for is a torn end. */
Test(recover_end, a_checkpoint_that_cannot_be_used_still_tells_what_was_durable)
{
    struct unit c;
    unit_file(&u, "before", SIZE, 1);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_file(&u, "f", SIZE, 2);
    struct unit_place last = unit_log_place(&u);
    unit_create(&u, "last");
    for (int marked = 0; marked < 2; marked++) {
        if (marked)
            cr_assert_eq(checkpoint_write(u.eng), 0);
        unit_clone(&c, &u);
        unit_kill(&c, SIM_KEEP_ALL, 0);
        for (unsigned copy = 0; marked && copy < IMAGE_COPIES; copy++) {
            char name[IMAGE_NAME_SIZE];
            image_name(u.eng->checkpoints->images.map.id, copy, name);
            cr_assert_eq(simdisk_flip(c.disk, name, 100, 1), 0);
        }
        cr_assert_eq(flip_and_try(&c, last), !marked, "%d: %s", marked, c.why);
        unit_done(&c);
    }
}

/* Its first batch was lost, or is as bad. */
Test(recover_end, a_header_alone_tells_what_was_durable)
{
    struct unit c;
    struct unit_place last = {0}, next = fill_segment(true, &last);
    struct segment_header h;
    uint8_t *data;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, next.name, &data, &size), 0);
    memcpy(&h, data, sizeof h);
    free(data);
    unit_clone(&c, &u);
    unit_kill(&c, SIM_KEEP_ALL, 0);
    unit_without_echo(&c);
    simdisk_put(c.disk, next.name, &h, sizeof h);
    cr_assert(!flip_and_try(&c, last), "%s", c.why);
    unit_done(&c);
}

/* The end of one segment cannot be read, nor what the next one holds behind its header: so much is no torn
 * end. */
Test(recover_end, what_cannot_be_read_in_the_next_segment_may_follow)
{
    struct unit c;
    struct unit_place last = {0}, next = fill_segment(false, &last);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    for (int whole = 0; whole < 2; whole++) {
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_spoil(c.disk, last.name, last.offset, last.offset + 64), 0);
        if (!whole) {
            cr_assert_eq(simdisk_spoil(c.disk, next.name, sizeof(struct segment_header), next.offset), 0);
            cr_assert_eq(unit_try_open(&c), -EIO, "%s", c.why);
        } else { /* there is no next one */
            cr_assert_eq(simdisk_remove(c.disk, next.name), 0);
            cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
        }
        unit_done(&c);
    }
}

/* One that is killed again and again gets its checkpoints, too. */
Test(recover_end, a_replayed_log_counts_for_the_next_checkpoint)
{
    bool due = false;
    for (unsigned life = 0; life < 4; life++) {
        cr_assert_eq(eng_config_set(u.eng, "checkpoint_bytes", "100000"), 0);
        char name[8];
        (void)snprintf(name, sizeof name, "l%u", life);
        due = marks_are_due(&u.eng->marks, &u.eng->config, u.eng->log.bytes, u.eng->log.seq);
        cr_assert_eq(due, life == 3, "after %u lives of 40,000 bytes", life);
        unit_file(&u, name, 40000, life);
        cr_assert_eq(eng_sync(u.eng), 0);
        unit_kill(&u, SIM_DROP_ALL, 0);
        unit_open(&u);
    }
}

/* ---- headers ---------------------------------------------------------------------------------- */

/* A header that its batch speaks for need not be written anew for the store to be whole. */
Test(recover_end, a_header_that_cannot_be_mended_refuses_nothing)
{
    make_store();
    for (int error = 0; error < 2; error++) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, places[N_FILES - 1].name, 20, 1), 0);
        simdisk_fail_always(c.disk, SIM_PWRITEV, error ? ENOSPC : EIO);
        cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
        simdisk_fail(c.disk, SIM_PWRITEV, 0, 0);
        cr_assert_geq(c.warnings, 1);
        expect_first(&c, N_FILES);
        unit_done(&c);
        unit_clone(&c, &u); /* an error that passes */
        cr_assert_eq(simdisk_flip(c.disk, places[N_FILES - 1].name, 20, 1), 0);
        simdisk_fail(c.disk, SIM_PWRITEV, 1, error ? ENOSPC : EIO);
        unit_open(&c);
        cr_assert(!simdisk_fault_waits(c.disk));
        cr_assert_eq(unit_problems(&c), 0);
        unit_done(&c);
    }
}

/* Its first batch could not be written. */
Test(recover_end, a_segment_without_a_batch_is_durable_before_a_checkpoint_names_it)
{
    uint64_t ino = unit_file(&u, "f", 60000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    uint8_t *data = unit_bytes(60000, 2);
    uint32_t segment = unit_log_place(&u).segment;
    simdisk_fail(u.disk, SIM_PWRITEV, 3, ENOMEM); /* behind the summary of the one before and the header */
    cr_assert_eq(eng_write(u.eng, ino, data, 60000, 0), -ENOMEM);
    free(data);
    cr_assert_eq(unit_log_place(&u).segment, segment + 1);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert(unit_holds(&u, unit_lookup(&u, "f"), 60000, 1));
}

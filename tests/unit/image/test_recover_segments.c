/*
 * test_recover_segments.c - recovery of stores with segments that are missing,
 * damaged, strange, or gone for good reason. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(recover_segments, .init = setup, .fini = teardown);

/* Files of 40000 bytes, so that each lies in a segment of its own; checkpointed and closed. */
static void four_segments(uint32_t ids[4])
{
    for (int i = 0; i < 4; i++) {
        struct locator loc;
        uint64_t ino = unit_file(&u, (char[]){(char)('a' + i), 0}, 40000, (uint64_t)i);
        cr_assert(unit_locator(&u, ino, 0, &loc));
        ids[i] = loc.seg;
        cr_assert(i == 0 || ids[i] > ids[i - 1]);
    }
    unit_close(&u);
}

static void record_damage(void *arg, const struct eng_damage *d)
{
    *(struct eng_damage *)arg = *d;
}

Test(recover_segments, a_missing_segment_is_eio_for_what_lies_in_it_only)
{
    uint32_t ids[4];
    char name[SEGMENT_NAME_SIZE];
    four_segments(ids);
    segment_name(ids[1], name);
    cr_assert_eq(simdisk_remove(u.disk, name), 0);
    u.warnings = 0;
    unit_open(&u);
    cr_assert_geq(u.warnings, 1);
    cr_assert_not_null(strstr(u.last_warning, name), "%s", u.last_warning);
    cr_assert_eq(unit_read_error(&u, unit_lookup(&u, "b")), -EIO);
    struct eng_damage d = {0};
    cr_assert_eq(eng_damaged(u.eng, record_damage, &d), 0);
    cr_assert_eq(d.segment, ids[1]);
    cr_assert_str_eq(d.path, "b");
    for (int i = 0; i < 4; i++)
        cr_assert(i == 1 ||
                  unit_holds(&u, unit_lookup(&u, (char[]){(char)('a' + i), 0}), 40000, (uint64_t)i));
    cr_assert_gt(unit_problems(&u), 0);
    unit_write(&u, unit_lookup(&u, "b"), 40000, 9, 0); /* restored */
    cr_assert(unit_holds(&u, unit_lookup(&u, "b"), 40000, 9));
    unit_reopen(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "b"), 40000, 9));
    cr_assert_eq(unit_problems(&u), 0);
}

Test(recover_segments, a_damaged_segment_header_harms_no_content_but_check_tells)
{
    uint32_t ids[4];
    char name[SEGMENT_NAME_SIZE];
    four_segments(ids);
    segment_name(ids[1], name);
    cr_assert_eq(simdisk_flip(u.disk, name, 20, 1), 0);
    unit_open(&u);
    for (int i = 0; i < 4; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, (char[]){(char)('a' + i), 0}), 40000, (uint64_t)i));
    cr_assert_eq(unit_problems(&u), 1);
}

Test(recover_segments, a_damaged_header_of_a_segment_whose_log_is_needed_is_refused)
{
    unit_reopen(&u);
    uint32_t first = unit_log_place(&u).segment;
    uint64_t ino = unit_create(&u, "f");
    while (unit_log_place(&u).segment == first)
        unit_write(&u, ino, 20000, 1, 0);
    struct unit_place p = unit_log_place(&u);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_create(&u, "after"); /* carries the mark; it lies in the damaged segment itself */
    while (unit_log_place(&u).segment == p.segment)
        unit_write(&u, ino, 20000, 1, 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
    struct unit c;
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, p.name, 20, 1), 0);
    cr_assert_eq(unit_try_open(&c), 0, "its first batch says the same: %s", c.why);
    cr_assert_neq(unit_lookup(&c, "after"), 0);
    unit_done(&c);
    cr_assert_eq(simdisk_flip(u.disk, p.name, 20, 1), 0);
    cr_assert_eq(simdisk_flip(u.disk, p.name, sizeof(struct segment_header) + 20, 1), 0);
    cr_assert_eq(unit_try_open(&u), -EBADMSG, "neither is there");
}

/* Of opening one file, or reading some bytes of it, the first ones unless said otherwise. */
static struct eng_io_ops bad_ops;
static const struct eng_io_ops *good_ops;
static struct io_file *bad_files[4]; /* open at a time */
static char bad_name[SEGMENT_NAME_SIZE];
static uint64_t bad_from, bad_bytes = sizeof(struct segment_header);
static int bad_open;

static int open_bad(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    if (bad_open && !strcmp(name, bad_name))
        return bad_open;
    int r = good_ops->open(io, name, flags, ret_file);
    for (size_t i = 0; !r && !strcmp(name, bad_name) && i < ARRAY_LEN(bad_files); i++) {
        if (bad_files[i])
            continue;
        bad_files[i] = *ret_file;
        break;
    }
    return r;
}

static void close_bad(struct io_file *file)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_files); i++)
        if (file == bad_files[i])
            bad_files[i] = NULL;
    good_ops->close(file);
}

static ssize_t pread_bad(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_files); i++)
        if (file == bad_files[i] && offset < bad_bytes && offset + size > bad_from)
            return -EIO;
    return good_ops->pread(file, buf, size, offset);
}

/* Opens a copy of the store whose segment `id` has a bad sector at its beginning. */
static int open_with_bad_sector(struct unit *c, uint32_t id)
{
    unit_clone(c, &u);
    unit_without_echo(c);
    struct eng_io *io = simdisk_io(c->disk);
    good_ops = io->ops;
    bad_ops = *good_ops;
    bad_ops.open = open_bad;
    bad_ops.close = close_bad;
    bad_ops.pread = pread_bad;
    io->ops = &bad_ops;
    memset(bad_files, 0, sizeof bad_files);
    segment_name(id, bad_name);
    return unit_try_open(c);
}

Test(recover_segments, an_unreadable_header_is_like_a_bad_one)
{
    uint32_t ids[4];
    four_segments(ids);
    for (int bad = 0; bad < 4; bad++) {
        struct unit c;
        cr_assert_eq(open_with_bad_sector(&c, ids[bad]), 0, "%d: %s", bad, c.why);
        for (int i = 0; i < 4; i++)
            cr_assert(unit_holds(&c, unit_lookup(&c, (char[]){(char)('a' + i), 0}), 40000, (uint64_t)i));
        unit_done(&c);
    }
}

/* In the log behind the checkpoint: the first batch says what the header says; with both gone it is refused.
 */
Test(recover_segments, an_unreadable_header_of_the_log_costs_nothing_that_its_batch_proves)
{
    struct unit c;
    uint32_t first = unit_log_place(&u).segment;
    uint64_t ino = unit_create(&u, "f");
    while (unit_log_place(&u).segment == first)
        unit_write(&u, ino, 20000, 1, 0);
    struct unit_place last = unit_log_place(&u);
    unit_file(&u, "acknowledged", 1000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert_eq(open_with_bad_sector(&c, last.segment), 0, "%s", c.why);
    cr_assert(unit_holds(&c, unit_lookup(&c, "acknowledged"), 1000, 1));
    unit_done(&c);
    bad_bytes = 4096;
    cr_assert_eq(open_with_bad_sector(&c, last.segment), -EIO);
    cr_assert_eq(unit_files(&c, last.name, NULL), 1);
    unit_done(&c);
}

/* Survivors that no checkpoint knows yet, but the log behind it: nobody needs their header. */
Test(recover_segments, an_unreadable_header_of_new_survivors_is_not_needed)
{
    struct unit c;
    struct locator loc;
    for (int i = 0; i < 4; i++) {
        uint64_t ino = unit_file(&u, (char[]){(char)('a' + i), 0}, 40000, (uint64_t)i);
        unit_write(&u, ino, 2000, 9, 0);
    }
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    uint64_t b = unit_lookup(&u, "b");
    cr_assert(unit_locator(&u, b, unit_extents(&u, b) - 1, &loc));
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(open_with_bad_sector(&c, loc.seg), 0, "%s", c.why);
    cr_assert_eq(unit_read_error(&c, unit_lookup(&c, "b")), 0);
    unit_done(&c);
}

/* A number that the checkpoint has behind it is no end of the log. The file stays: who knows what is in it.
 */
Test(recover_segments, an_old_file_that_cannot_be_read_is_left_alone)
{
    struct unit c;
    uint64_t ino = unit_create(&u, "f");
    for (int i = 0; i < 12; i++)
        unit_write(&u, ino, 40000, 1, 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(checkpoint_write(u.eng), 0);
        unit_write(&u, ino, 100, 1, 0);
        (void)retire_segments(u.eng);
    }
    cr_assert_not(unit_has_segment(&u, 1));
    unit_close(&u);
    simdisk_put(u.disk, "s00000001.seg", "?", 1);
    cr_assert_eq(open_with_bad_sector(&c, 1), 0, "%s", c.why);
    cr_assert_not_null(strstr(c.last_warning, "s00000001.seg cannot be read"), "%s", c.last_warning);
    cr_assert_eq(unit_files(&c, "s00000001.seg", NULL), 1);
    unit_done(&c);
}

Test(recover_segments, a_file_that_cannot_be_read_may_be_the_end_of_the_log)
{
    struct unit c;
    uint32_t ids[4];
    four_segments(ids);
    simdisk_put(u.disk, "s00000077.seg", "?", 1);
    cr_assert_eq(open_with_bad_sector(&c, 0x77), -EIO);
    cr_assert_not_null(strstr(c.why, "s00000077.seg"), "%s", c.why);
    cr_assert_eq(unit_files(&c, "s00000077.seg", NULL), 1);
    unit_done(&c);
}

/* Its inode cannot be read, or something else has its name: as if it was missing, but nothing is removed. */
Test(recover_segments, a_file_that_cannot_be_opened_is_eio_for_what_lies_in_it_only)
{
    static const int errors[] = {-EIO, -EISDIR, -ELOOP, -EBADMSG, -ENXIO};
    uint32_t ids[4];
    four_segments(ids);
    for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
        struct unit c;
        bad_open = errors[e];
        cr_assert_eq(open_with_bad_sector(&c, ids[1]), 0, "%d: %s", bad_open, c.why);
        for (int i = 0; i < 4; i++)
            cr_assert(i == 1 ||
                      unit_holds(&c, unit_lookup(&c, (char[]){(char)('a' + i), 0}), 40000, (uint64_t)i));
        int r = unit_read_error(&c, unit_lookup(&c, "b"));
        cr_assert_eq(r, -EIO, "%d: %d", bad_open, r);
        struct eng_job_report report;
        cr_assert_eq(eng_job_run(c.eng, ENG_JOB_SCRUB, NULL, &report), 0, "%d: it goes on", bad_open);
        cr_assert_gt(report.scrub.extents, 3);
        cr_assert_eq(unit_files(&c, bad_name, NULL), 1);
        simdisk_io(c.disk)->ops = good_ops;
        cr_assert(unit_holds(&c, unit_lookup(&c, "b"), 40000, 1), "it can be opened again");
        unit_done(&c);
    }
}

/* A folder, a link, a pipe with a name of ours holds no log; what fails otherwise may. */
Test(recover_segments, what_is_no_file_ends_no_log)
{
    static const int errors[] = {-EISDIR, -ELOOP, -EBADMSG, -ENXIO, -EIO, -EACCES, -EMFILE};
    uint32_t ids[4];
    four_segments(ids);
    simdisk_put(u.disk, "s0000ffff.seg", "?", 1);
    for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
        struct unit c;
        bad_open = errors[e];
        int r = open_with_bad_sector(&c, 0xffff);
        cr_assert_eq(r, e < 4 ? 0 : bad_open, "%d: %d %s", bad_open, r, c.why);
        cr_assert_eq(unit_files(&c, "s0000ffff.seg", NULL), 1);
        cr_assert(!r || strstr(c.why, "s0000ffff.seg"), "%s", c.why);
        unit_done(&c);
    }
}

/* ---- a sector of the log ------------------------------------------------------------------ */

/* Two files that are durable, one that is not known to be; of its first, second or last batch a sector at
 * `at` is bad. */
static int open_with_bad_tail(struct unit *c, unsigned batch, uint64_t at)
{
    struct unit_place places[3];
    unit_file(&u, "durable", 5000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    for (unsigned i = 0; i < 3; i++) {
        places[i] = unit_log_place(&u);
        unit_write(&u, unit_lookup(&u, "durable"), 9000, 2 + i, 10000 * (i + 1));
    }
    unit_kill(&u, SIM_KEEP_ALL, 0);
    bad_from = places[batch].offset + at;
    bad_bytes = bad_from + 8;
    return open_with_bad_sector(c, places[batch].segment);
}

Test(recover_segments, an_unreadable_last_batch_is_a_torn_end)
{
    struct unit c;
    cr_assert_eq(open_with_bad_tail(&c, 2, 0), 0, "%s", c.why);
    cr_assert_geq(c.warnings, 1);
    uint64_t ino = unit_lookup(&c, "durable");
    cr_assert_eq(unit_attr(&c, ino).size, 29000, "what is before it is there");
    cr_assert_eq(unit_read_error(&c, ino), 0);
    unit_write(&c, ino, 100, 9, 0);
    cr_assert_eq(eng_sync(c.eng), 0);
    unit_done(&c);
}

/* Of a batch, or of its content, with whole batches behind it: the next opening may read it. */
Test(recover_segments, what_cannot_be_read_before_whole_batches_is_refused)
{
    for (unsigned batch = 0; batch < 2; batch++)
        for (uint64_t at = 0; at <= 600; at += 600) {
            struct unit c;
            cr_assert_eq(open_with_bad_tail(&c, batch, at), -EIO, "%u, %u", batch, (unsigned)at);
            simdisk_io(c.disk)->ops = good_ops;
            unit_open(&c);
            cr_assert_eq(unit_attr(&c, unit_lookup(&c, "durable")).size, 39000);
            unit_done(&c);
            unit_done(&u);
            unit_new(&u, 0);
        }
}

/* A batch behind the bad sector, in the same segment or another, says that it was durable. */
Test(recover_segments, an_unreadable_batch_that_was_durable_is_refused)
{
    for (unsigned i = 0; i < 2; i++) {
        struct unit c;
        struct unit_place p = unit_log_place(&u);
        unit_file(&u, i ? "b" : "a", 5000, 1);
        cr_assert_eq(eng_sync(u.eng), 0);
        while (i && unit_log_place(&u).segment == p.segment)
            unit_file(&u, (char[]){'x', (char)('0' + unit_log_place(&u).offset / 1024), 0}, 900, 1);
        unit_create(&u, i ? "after b" : "after a");
        bad_from = p.offset;
        bad_bytes = bad_from + 8;
        cr_assert_lt(open_with_bad_sector(&c, p.segment), 0);
        cr_assert_not_null(strstr(c.why, p.name), "%s", c.why);
        cr_assert_eq(unit_files(&c, p.name, NULL), 1);
        unit_done(&c);
    }
}

static void use_with_stray_names(const char *checkpoint)
{
    unit_file(&u, "f", 100, 1);
    unit_close(&u);
    simdisk_put(u.disk, "sfffffffe.seg", "junk", 4);
    simdisk_put(u.disk, "s3fffffff.seg", "junk", 4);
    simdisk_put(u.disk, checkpoint, "junk", 4);
    unit_open(&u);
    for (int i = 0; i < 8; i++)
        unit_write(&u, unit_lookup(&u, "f"), 30000, 1, 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_lt(u.eng->segments.next_id, 100);
    cr_assert_lt(u.eng->checkpoints->images.map.id, 100);
    cr_assert_gt(u.eng->checkpoints->images.map.id, 0);
    unit_reopen(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "f"), 30000, 1));
    cr_assert_eq(unit_problems(&u), 0);
}

Test(recover_segments, names_of_files_use_no_numbers_up)
{
    use_with_stray_names("cffffffffffffff00.ckp");
}

Test(recover_segments, nor_does_the_greatest_number_of_all)
{
    use_with_stray_names("cffffffffffffffff.ckp");
}

/* Of checkpoints the greater number is the younger one, so that the next must be greater than any of ours. */
Test(recover_segments, numbers_of_checkpoints_go_on_however_great_they_are)
{
    unit_file(&u, "f", 100, 1);
    u.eng->checkpoints->next_id = UINT64_C(1) << 40;
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    unit_write(&u, unit_lookup(&u, "f"), 100, 2, 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_gt(u.eng->checkpoints->images.map.id, UINT64_C(1) << 40);
    unit_reopen(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "f"), 100, 2));
}

/* What another store's batches say was durable there says nothing here, with their header or without. */
Test(recover_segments, batches_of_another_store_are_no_evidence)
{
    struct unit other;
    uint8_t *image;
    size_t size;
    unit_new(&other, 0);
    for (int i = 0; i < 50; i++) {
        unit_create(&other, (char[]){(char)('A' + i), 0});
        cr_assert_eq(eng_sync(other.eng), 0);
    }
    unit_kill(&other, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_get(other.disk, "s00000001.seg", &image, &size), 0);
    unit_done(&other);
    unit_file(&u, "mine", 100, 2);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    simdisk_put(u.disk, "s00000044.seg", image, size);
    cr_assert_eq(simdisk_flip(u.disk, "s00000044.seg", 20, 1), 0);
    free(image);
    cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
    cr_assert(unit_holds(&u, unit_lookup(&u, "mine"), 100, 2));
    cr_assert_eq(unit_lookup(&u, "A"), 0);
}

Test(recover_segments, what_belongs_to_no_state_is_removed)
{
    unit_file(&u, "f", 100, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    simdisk_put(u.disk, "s00000077.seg", "half a header", 13);
    simdisk_put(u.disk, "c0000000000000099.ckp", "half a checkpoint", 17);
    simdisk_put(u.disk, "notes.txt", "not ours", 8);
    unit_open(&u);
    cr_assert_eq(unit_files(&u, "s00000077.seg", NULL), 0);
    cr_assert_eq(unit_files(&u, "c0000000000000099.ckp", NULL), 0);
    cr_assert_eq(unit_files(&u, "notes.txt", NULL), 1);
    cr_assert(unit_holds(&u, unit_lookup(&u, "f"), 100, 1));
    uint32_t before = unit_log_place(&u).segment;
    while (unit_log_place(&u).segment == before)
        unit_write(&u, unit_lookup(&u, "f"), 20000, 1, 0);
    cr_assert_lt(unit_log_place(&u).segment, 0x77, "a name alone uses no numbers up");
}

/* Deletes what lies in the youngest segment, until that is unlinked; its number. */
static uint32_t lose_youngest_segment(void)
{
    uint32_t youngest = 0;
    struct locator loc;
    for (int pass = 0; pass < 2; pass++) {
        for (char name[2] = "a"; name[0] <= 'h'; name[0]++) {
            uint64_t ino = unit_lookup(&u, name);
            if (!ino || !unit_locator(&u, ino, unit_extents(&u, ino) - 1, &loc))
                continue;
            if (pass && loc.seg == youngest)
                cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name), 0);
            youngest = MAX_OF(youngest, loc.seg);
        }
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    (void)retire_segments(u.eng);
    cr_assert_not(unit_has_segment(&u, youngest));
    return youngest;
}

Test(recover_segments, segment_numbers_are_never_used_twice)
{
    for (char name[2] = "a"; name[0] <= 'h'; name[0]++) {
        uint64_t ino = unit_file(&u, name, 300000, 1); /* survivors of more than one segment */
        unit_write(&u, ino, 2000, 2, 0);               /* and garbage in each */
    }
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    uint32_t lost = lose_youngest_segment();
    cr_assert_gt(lost, unit_log_place(&u).segment,
                 "%u %u the case of interest: nothing on the disk has a greater number", lost,
                 unit_log_place(&u).segment);
    uint64_t total = unit_stats(&u).total_bytes;
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(unit_stats(&u).total_bytes, total);
    uint32_t before = unit_log_place(&u).segment;
    while (unit_log_place(&u).segment == before)
        unit_write(&u, unit_lookup(&u, "a"), 20000, 1, 0);
    cr_assert_gt(unit_log_place(&u).segment, lost, "I1");
}

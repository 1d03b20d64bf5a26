/*
 * test_restarts.c - stores that died more than once: what an earlier run left
 * behind the end of the log must neither join on nor be taken for evidence,
 * and evidence of what was durable must not be overlooked. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(restarts, .init = setup, .fini = teardown);

/* Writes to `name` until the log has gone on to another segment; each write durable if `sync`. */
static void roll_over(const char *name, bool sync)
{
    uint32_t before = u.eng->log.active ? u.eng->log.active->id : 0;
    uint64_t ino = unit_lookup(&u, name);
    while (!u.eng->log.active || u.eng->log.active->id == before) {
        unit_write(&u, ino, 20000, 7, 0);
        if (sync)
            cr_assert_eq(eng_sync(u.eng), 0);
    }
}

/* Makes a batch whose header and ops are whole, but not its content, the end of the log. */
static void leave_torn_content(void)
{
    unit_create(&u, "torn");
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_write(&u, unit_lookup(&u, "torn"), 3000, 2, 0);
    struct unit_place end = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_flip(u.disk, end.name, end.offset - 100, 1), 0);
    unit_open(&u);
    cr_assert_eq(unit_attr(&u, unit_lookup(&u, "torn")).size, 0);
}

Test(restarts, a_torn_batch_is_not_taken_for_the_one_that_got_its_number)
{
    leave_torn_content();
    unit_file(&u, "second", 5000, 1); /* has the numbers of the torn one and after */
    cr_assert_eq(eng_sync(u.eng), 0);
    roll_over("second", true); /* headers of younger segments say that these numbers are durable */
    roll_over("second", true);
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
    cr_assert_eq(unit_attr(&u, unit_lookup(&u, "torn")).size, 0);
    cr_assert(unit_holds(&u, unit_lookup(&u, "second"), 20000, 7));
    cr_assert_eq(unit_problems(&u), 0);
}

Test(restarts, the_same_within_one_segment)
{
    leave_torn_content();
    unit_file(&u, "second", 5000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_create(&u, "third"); /* carries the mark */
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
    cr_assert(unit_holds(&u, unit_lookup(&u, "second"), 5000, 1));
    cr_assert_neq(unit_lookup(&u, "third"), 0);
    cr_assert_eq(unit_attr(&u, unit_lookup(&u, "torn")).size, 0);
}

Test(restarts, marks_in_younger_segments_count)
{
    unit_file(&u, "f", 100, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place bad = unit_log_place(&u);
    unit_create(&u, "bad");
    roll_over("f", false); /* that header knows nothing newer */
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_create(&u, "mark"); /* but this batch does */
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
    cr_assert_eq(simdisk_flip(u.disk, bad.name, bad.offset + 20, 1), 0);
    cr_assert_eq(unit_try_open(&u), -EBADMSG, "durable batches must not be thrown away silently");
    char last[64];
    cr_assert_eq(unit_files(&u, ".seg", last), 2, "and their files stay");
}

Test(restarts, a_damaged_header_of_the_last_segment_loses_nothing_silently)
{
    unit_file(&u, "f", 100, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    roll_over("f", false);
    struct unit_place last = unit_log_place(&u);
    unit_file(&u, "acknowledged", 1000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_create(&u, "mark");
    unit_kill(&u, SIM_KEEP_ALL, 0);
    for (uint64_t at = 0; at < sizeof(struct segment_header); at += 5) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, last.name, at, 4), 0);
        cr_assert_eq(unit_try_open(&c), 0, "flipped at %llu: %s", (unsigned long long)at, c.why);
        cr_assert(unit_holds(&c, unit_lookup(&c, "acknowledged"), 1000, 1));
        cr_assert_neq(unit_lookup(&c, "mark"), 0);
        cr_assert_eq(unit_files(&c, last.name, NULL), 1);
        unit_done(&c);
    }
}

/* Nothing but the batches themselves says that they are there: no mark, since nothing came after the flush.
 */
Test(restarts, a_damaged_header_does_not_take_fsynced_batches_along)
{
    unit_file(&u, "f", 100, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    roll_over("f", false);
    struct unit_place last = unit_log_place(&u);
    unit_file(&u, "acknowledged", 1000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    for (uint64_t at = 0; at < sizeof(struct segment_header); at++) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, last.name, at, 4), 0);
        cr_assert_eq(unit_try_open(&c), 0, "flipped at %llu: %s", (unsigned long long)at, c.why);
        cr_assert(unit_holds(&c, unit_lookup(&c, "acknowledged"), 1000, 1));
        unit_file(&c, "after", 100, 2);
        cr_assert_eq(unit_problems(&c), 0, "it is mended");
        unit_reopen(&c);
        cr_assert(unit_holds(&c, unit_lookup(&c, "acknowledged"), 1000, 1));
        cr_assert(unit_holds(&c, unit_lookup(&c, "after"), 100, 2));
        unit_done(&c);
    }
}

/* With the first batch gone, too, what is behind it belongs nowhere: it is not served, and it stays. */
Test(restarts, batches_behind_a_damaged_beginning_are_not_removed)
{
    unit_file(&u, "f", 100, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    roll_over("f", false);
    struct unit_place last = unit_log_place(&u);
    unit_create(&u, "more");
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert_eq(simdisk_flip(u.disk, last.name, 20, 4), 0);
    cr_assert_eq(simdisk_flip(u.disk, last.name, sizeof(struct segment_header) + 20, 4), 0);
    u.warnings = 0;
    unit_open(&u);
    cr_assert_eq(unit_files(&u, last.name, NULL), 1);
    cr_assert_geq(u.warnings, 1);
    for (int i = 0; i < 6; i++) /* and its number is passed over */
        unit_write(&u, unit_lookup(&u, "f"), 30000, 3, 0);
    cr_assert_neq(unit_log_place(&u).segment, last.segment);
    unit_reopen(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "f"), 30000, 3));
    cr_assert_eq(unit_files(&u, last.name, NULL), 1);
}

/* A batch as another store may have written it, or somebody who means ill. */
static void forge_batch(uint8_t out[sizeof(struct batch_header)])
{
    struct batch_header h = {.magic = BATCH_MAGIC, .seq = 1000, .durable_seq = 999};
    h.sum = batch_sum(&h, "");
    memcpy(out, &h, sizeof h);
}

Test(restarts, content_that_looks_like_a_batch_is_no_evidence)
{
    uint8_t content[4096 + sizeof(struct batch_header)] = {0};
    unit_create(&u, "copy of a segment");
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place bad = unit_log_place(&u);
    for (size_t at = 0; at + sizeof(struct batch_header) <= sizeof content; at += sizeof(struct batch_header))
        forge_batch(content + at);
    uint64_t ino = unit_lookup(&u, "copy of a segment");
    cr_assert_eq(eng_write(u.eng, ino, content, sizeof content, 0), (ssize_t)sizeof content);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_flip(u.disk, bad.name, bad.offset + 20, 1), 0); /* torn */
    cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
    cr_assert_eq(unit_attr(&u, unit_lookup(&u, "copy of a segment")).size, 0);
}

Test(restarts, a_batch_with_the_content_of_another_try_is_torn)
{
    uint8_t *one, *two;
    size_t size_one, size_two;
    unit_create(&u, "f");
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place p = unit_log_place(&u);
    uint64_t ino = unit_lookup(&u, "f");
    unit_kill(&u, SIM_KEEP_ALL, 0);
    /* Two tries of one batch at one place: same number, inode, offset and length, other content. */
    struct unit c;
    unit_clone(&c, &u);
    unit_open(&c);
    unit_write(&c, ino, 3000, 1, 0);
    struct locator loc;
    cr_assert(unit_locator(&c, ino, 0, &loc));
    unit_kill(&c, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_get(c.disk, p.name, &one, &size_one), 0);
    unit_done(&c);
    unit_open(&u);
    unit_write(&u, ino, 3000, 2, 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_get(u.disk, p.name, &two, &size_two), 0);
    cr_assert_eq(size_one, size_two);
    cr_assert_gt(locator_offset(&loc), p.offset);
    memcpy(two + locator_offset(&loc), one + locator_offset(&loc), size_one - locator_offset(&loc));
    simdisk_put(u.disk, p.name, two, size_two);
    cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
    cr_assert_eq(unit_attr(&u, ino).size, 0, "the ops are of one try, the content of the other");
    free(one);
    free(two);
}

Test(restarts, what_a_failed_sync_lost_is_not_called_durable_by_the_next_run)
{
    unit_file(&u, "first", 1000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_file(&u, "second", 1000, 2);
    simdisk_fail(u.disk, SIM_DATASYNC, 1, EIO);
    cr_assert_eq(eng_sync(u.eng), -EIO);
    cr_assert_eq(eng_sync(u.eng), -EIO, "it stays failed (I11)");
    for (int clean = 0; clean < 2; clean++) {
        struct unit c;
        unit_clone(&c, &u); /* the process dies, and the page cache lives on */
        unit_open(&c);      /* what it shows now is durable */
        bool there = unit_lookup(&c, "second") != 0;
        unit_file(&c, "third", 1000, 3);
        cr_assert_eq(eng_sync(c.eng), 0);
        if (clean)
            unit_reopen(&c);
        unit_kill(&c, SIM_DROP_ALL, 0);
        cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
        cr_assert(unit_holds(&c, unit_lookup(&c, "first"), 1000, 1));
        cr_assert(unit_holds(&c, unit_lookup(&c, "third"), 1000, 3));
        if (there)
            cr_assert(unit_holds(&c, unit_lookup(&c, "second"), 1000, 2));
        unit_done(&c);
    }
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
}

/* The end of one segment was lost, but not the next one, in which the log went on; and that was there again
 * under its name after it had been set aside. */
Test(restarts, a_segment_of_an_earlier_run_does_not_join_on)
{
    uint8_t *first, *next;
    size_t first_size, next_size;
    unit_file(&u, "first", 1000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place before = unit_log_place(&u);
    cr_assert_eq(simdisk_get(u.disk, before.name, &first, &first_size), 0);
    roll_over("first", false);
    struct unit_place after = unit_log_place(&u);
    uint64_t seq = u.eng->log.seq;
    unit_create(&u, "late");
    cr_assert_eq(simdisk_get(u.disk, after.name, &next, &next_size), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    simdisk_put(u.disk, before.name, first, first_size);
    unit_open(&u);
    cr_assert_eq(unit_lookup(&u, "late"), 0);
    for (char name[2] = "a"; u.eng->log.seq + 1 < seq; name[0]++)
        unit_create(&u, name);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    char kept[SEGMENT_NAME_SIZE];
    segment_kept_name(after.segment, kept);
    cr_assert_eq(simdisk_remove(u.disk, kept), 0);
    simdisk_put(u.disk, after.name, next, next_size);
    cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
    cr_assert_neq(unit_lookup(&u, "a"), 0);
    cr_assert_eq(unit_lookup(&u, "late"), 0);
    cr_assert(unit_holds(&u, unit_lookup(&u, "first"), 1000, 1));
    free(first);
    free(next);
}

Test(restarts, a_number_that_two_runs_tried_ends_no_recovery)
{
    leave_torn_content();
    for (uint64_t run = 0; run < 3; run++) { /* each begins a segment with the same number, and dies in it */
        unit_write(&u, unit_lookup(&u, "torn"), 3000, 10 + run, 0);
        struct unit_place end = unit_log_place(&u);
        unit_kill(&u, SIM_KEEP_ALL, 0);
        cr_assert_eq(simdisk_flip(u.disk, end.name, end.offset - 100, 1), 0);
        cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
        cr_assert_eq(unit_attr(&u, unit_lookup(&u, "torn")).size, 0);
    }
    unit_write(&u, unit_lookup(&u, "torn"), 3000, 20, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "torn"), 3000, 20));
}

Test(restarts, files_of_other_stores_are_left_alone)
{
    struct unit other;
    unit_new(&other, 0);
    unit_file(&other, "f", 100, 1);
    unit_close(&other);
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_get(other.disk, "s00000001.seg", &image, &size), 0);
    unit_done(&other);
    simdisk_put(u.disk, "s00000044.seg", image, size);
    free(image);
    unit_file(&u, "mine", 100, 2);
    unit_reopen(&u);
    cr_assert_eq(unit_files(&u, "s00000044.seg", NULL), 1);
    cr_assert(unit_holds(&u, unit_lookup(&u, "mine"), 100, 2));
}

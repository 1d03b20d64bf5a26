/*
 * test_scrub.c - verifying everything where it lies: what is found, what is
 * not blamed, and the handling of the job. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

#define N_FILES 40

static struct unit u;
static uint64_t inos[N_FILES];

static void setup(void)
{
    unit_new(&u, 0);
    for (int i = 0; i < N_FILES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%d", i);
        inos[i] = unit_file(&u, name, 5000 + (size_t)i * 900, (uint64_t)i);
        unit_write(&u, inos[i], 50, 1, 7000); /* some in several pieces, some with holes */
    }
    uint8_t *value = unit_bytes(3072, 1);
    cr_assert_eq(eng_setxattr(u.eng, inos[0], "user.big", value, 3072, 0), 0);
    cr_assert_eq(eng_setxattr(u.eng, inos[0], "user.small", value, 10, 0), 0);
    free(value);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(scrub, .init = setup, .fini = teardown);

static void record(void *arg, const struct eng_job_report *rep)
{
    *(struct eng_job_report *)arg = *rep;
}

static struct eng_job_report scrub(void)
{
    struct eng_job_report rep = {0}, status;
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_SCRUB, NULL, record, &rep), 0);
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_SCRUB, &status), 0);
    cr_assert_eq(memcmp(&rep, &status, sizeof(rep)), 0);
    return rep;
}

Test(scrub, reads_every_live_byte_and_changes_nothing)
{
    uint64_t extents = 1; /* the large xattr */
    for (int i = 0; i < N_FILES; i++)
        extents += unit_extents(&u, inos[i]);
    struct eng_stats before = unit_stats(&u);
    uint64_t calls = simdisk_calls(u.disk, false);
    struct eng_job_report rep = scrub();
    cr_assert_eq(rep.state, ENG_JOB_DONE);
    cr_assert_eq(rep.error, 0);
    cr_assert_eq(rep.total, before.live_bytes);
    cr_assert_eq(rep.done, before.live_bytes);
    cr_assert_eq(rep.scrub.extents, extents);
    cr_assert_eq(rep.scrub.damaged, 0);
    cr_assert_eq(simdisk_calls(u.disk, false), calls);
    cr_assert_eq(unit_stats(&u).log_seq, before.log_seq);
}

Test(scrub, an_empty_store_is_done_at_once)
{
    unit_done(&u);
    unit_new(&u, 0);
    struct eng_job_report rep = scrub();
    cr_assert(rep.state == ENG_JOB_DONE && rep.scrub.extents == 0 && rep.total == 0);
}

static void count(void *arg, const struct eng_damage *d)
{
    unsigned *n = arg;
    cr_assert_str_eq(d->reason, "checksum mismatch");
    cr_assert(d->ino == inos[3] || d->ino == inos[0] || d->ino == inos[N_FILES - 1]);
    cr_assert(d->path[0] == 'f');
    ++*n;
}

Test(scrub, finds_each_damaged_range_and_no_other)
{
    struct locator loc;
    struct xattr_view view;
    unsigned n = 0;
    cr_assert(unit_locator(&u, inos[3], 0, &loc));
    unit_damage(&u, &loc, 0);
    cr_assert(unit_locator(&u, inos[N_FILES - 1], 1, &loc));
    unit_damage(&u, &loc, 0);
    const struct inode_rec *inode = index_inode(&u.eng->idx, inos[0]);
    cr_assert(index_xattr(&u.eng->idx, index_find_xattr(&u.eng->idx, inode, "user.big", 8), &view));
    unit_damage(&u, &view.loc, 100);
    for (int pass = 0; pass < 2; pass++) {
        struct eng_job_report rep = scrub();
        cr_assert_eq(rep.scrub.damaged, 3);
        cr_assert_eq(rep.error, 0, "damage is a finding, not a failure");
        cr_assert_eq(unit_stats(&u).damaged_extents, 3, "not counted again");
    }
    cr_assert_eq(eng_damaged(u.eng, count, &n), 0);
    cr_assert_eq(n, 3);
}

Test(scrub, damage_in_dead_bytes_is_nobodys)
{
    struct locator loc;
    cr_assert(unit_locator(&u, inos[3], 0, &loc));
    unit_damage(&u, &loc, 0);
    unit_write(&u, inos[3], 20000, 9, 0);
    cr_assert_eq(scrub().scrub.damaged, 0);
}

static void overwrite(struct unit *at)
{
    for (int i = 0; i < N_FILES; i++)
        unit_write(at, inos[i], 40000, 5, 0);
}

/* The disk spoils a read, and by then the file has been written anew. */
static struct eng_io_ops bad_ops;
static ssize_t (*good_pread)(struct io_file *file, void *buf, size_t size, uint64_t offset);
static unsigned spoilt;

static ssize_t spoil(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    ssize_t n = good_pread(file, buf, size, offset);
    if (offset % IO_ALIGN && spoilt++ == 0) { /* what is read of a recovery's is read in whole blocks */
        overwrite(&u);
        ((uint8_t *)buf)[0] ^= 1;
    }
    return n;
}

Test(scrub, what_was_superseded_meanwhile_is_no_damage)
{
    struct eng_io *io = simdisk_io(u.disk);
    const struct eng_io_ops *ops = io->ops;
    bad_ops = *ops;
    good_pread = ops->pread;
    bad_ops.pread = spoil;
    io->ops = &bad_ops;
    struct eng_job_report rep = scrub();
    io->ops = ops;
    cr_assert_gt(spoilt, 0);
    cr_assert_eq(rep.scrub.damaged, 0);
    cr_assert_eq(unit_stats(&u).damaged_extents, 0);
}

Test(scrub, read_errors_are_damage)
{
    simdisk_fail_always(u.disk, SIM_PREAD, EIO);
    struct eng_job_report rep = scrub();
    simdisk_fail_always(u.disk, SIM_PREAD, 0);
    cr_assert_eq(rep.scrub.damaged, rep.scrub.extents);
    cr_assert_eq(rep.error, 0);
}

static unsigned errors;

static ssize_t count_errors(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    ssize_t n = good_pread(file, buf, size, offset);
    errors += n == -EIO;
    return n;
}

/* Each time takes a disk seconds; what lies before it is read without it. */
Test(scrub, a_sector_that_cannot_be_read_is_asked_for_a_few_times)
{
    struct eng_io *io = simdisk_io(u.disk);
    const struct eng_io_ops *ops = io->ops;
    struct locator loc;
    for (unsigned i = 0; i < 400; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "small%u", i);
        uint64_t ino = unit_file(&u, name, 100, i);
        cr_assert(i != 300 || unit_locator(&u, ino, 0, &loc));
    }
    cr_assert_eq(checkpoint_write(u.eng), 0);
    char name[SEGMENT_NAME_SIZE];
    segment_name(loc.seg, name);
    uint64_t at = locator_offset(&loc) / 512 * 512;
    cr_assert_eq(simdisk_spoil(u.disk, name, at, at + 512), 0);
    bad_ops = *ops;
    good_pread = ops->pread;
    bad_ops.pread = count_errors;
    io->ops = &bad_ops;
    struct eng_job_report rep = scrub();
    io->ops = ops;
    cr_assert(rep.scrub.damaged >= 1 && rep.scrub.damaged <= 8, "%u", (unsigned)rep.scrub.damaged);
    cr_assert(errors >= 1 && errors <= 20, "%u", errors);
}

/* All from the first read of content on, which is a long one; the job is cancelled at the 30th. */
static ssize_t read_nothing(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    if (!errors && size != SEGMENT_WINDOW)
        return good_pread(file, buf, size, offset);
    if (++errors == 30)
        cr_assert_eq(eng_job_cancel(u.eng, ENG_JOB_SCRUB), 0);
    return -EIO;
}

/* Each error may take seconds. */
Test(scrub, can_be_cancelled_where_nothing_can_be_read)
{
    enum { N = 600 };
    unit_done(&u);
    unit_new(&u, UINT64_C(64) << 20);
    struct eng_io *io = simdisk_io(u.disk);
    const struct eng_io_ops *ops = io->ops;
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "more%u", i);
        unit_file(&u, name, 8000, i);
    }
    bad_ops = *ops;
    good_pread = ops->pread;
    bad_ops.pread = read_nothing;
    io->ops = &bad_ops;
    struct eng_job_report rep = scrub();
    io->ops = ops;
    cr_assert_eq(rep.state, ENG_JOB_CANCELLED);
    cr_assert(rep.scrub.extents > 10 && rep.scrub.extents < N / 2, "%u", (unsigned)rep.scrub.extents);
}

Test(scrub, is_a_job_of_its_own)
{
    struct eng_job_report rep = {0};
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_SCRUB, &rep), 0);
    cr_assert_eq(rep.state, ENG_JOB_IDLE);
    cr_assert_eq(eng_job_pause(u.eng, ENG_JOB_SCRUB), -ESRCH);
    cr_assert_eq(eng_job_resume(u.eng, ENG_JOB_SCRUB), -ESRCH);
    cr_assert_eq(eng_job_cancel(u.eng, ENG_JOB_SCRUB), -ESRCH);
    cr_assert_eq(eng_job_wait(u.eng, ENG_JOB_SCRUB, record, &rep), 0);
    cr_assert_eq(rep.state, ENG_JOB_IDLE, "none runs: the answer comes at once");
    cr_assert_eq(eng_job_rate(u.eng, ENG_JOB_SCRUB, 123456789), 0);
    cr_assert_eq(scrub().rate, 123456789);
    unit_close(&u);
    u.opt.read_only = true;
    unit_open(&u);
    cr_assert_eq(scrub().scrub.damaged, 0, "reading needs no writing");
}

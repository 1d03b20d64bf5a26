/*
 * test_bad_sectors.c - sectors that cannot be read, beside another damage or where the log is to go on: they
 * cost no whole batch, neither at the first opening nor at those that follow. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define N_LATER 8u
#define SIZE 3000u

TestSuite(bad_sectors, .init = setup, .fini = teardown, .timeout = 60);

static struct unit_place places[N_LATER + 1]; /* of the first batch of each but the first, and the end */

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "later%u", i);
    return name;
}

static void make_later(void)
{
    for (unsigned i = 0; i < N_LATER; i++) {
        unit_file(&u, name_of(i), SIZE, 10 + i);
        places[i + 1] = unit_log_place(&u);
    }
}

/* The files stand in a segment of their own, made durable by one sync that no mark speaks of. */
static void make_own_segment(void)
{
    unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    make_later();
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(places[1].segment, places[N_LATER].segment);
    unit_kill(&u, SIM_DROP_ALL, 0);
}

static int count_right(void *arg, const struct eng_lost *piece, const void *data)
{
    for (unsigned i = 0; i < N_LATER; i++) {
        uint8_t *bytes = unit_bytes(SIZE, 10 + i);
        *(unsigned *)arg +=
            piece->size == SIZE && !strcmp(piece->path, name_of(i)) && !memcmp(bytes, data, SIZE);
        free(bytes);
    }
    return 0;
}

/* How many of the files a repair gets, by what they say of themselves. */
static unsigned can_be_had(struct unit *of)
{
    struct unit c;
    unsigned n = 0;
    unit_clone(&c, of);
    c.opt.read_only = c.opt.salvage = true;
    unit_open(&c);
    cr_assert_eq(eng_lost(c.eng, count_right, &n), 0);
    unit_done(&c);
    return n;
}

/* One bit of the first batch is wrong, and from..to cannot be read, at the first opening: `n` can be had. */
static void expect_kept(uint64_t from, uint64_t to, unsigned n)
{
    struct unit c;
    const char *name = places[N_LATER].name;
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, name, sizeof(struct segment_header) + 70, 1), 0);
    cr_assert_eq(simdisk_spoil(c.disk, name, from, to), 0);
    unit_open(&c);
    cr_assert_eq(unit_files(&c, ".kept", NULL), 1, "%u to %u", (unsigned)from, (unsigned)to);
    for (unsigned life = 0; life < 3; life++) { /* for good */
        unit_file(&c, life ? life > 1 ? "y" : "x" : "w", SIZE, 99);
        cr_assert_eq(eng_sync(c.eng), 0);
        unit_reopen(&c);
        cr_assert_eq(unit_files(&c, ".kept", NULL), 1, "%u to %u, life %u", (unsigned)from, (unsigned)to,
                     life);
    }
    cr_assert_geq(can_be_had(&c), n);
    unit_done(&c);
}

Test(bad_sectors, whole_batches_behind_a_bad_one_are_kept_beside_one)
{
    make_own_segment();
    uint64_t end = places[N_LATER].offset;
    expect_kept(end - 1024, end - 512, N_LATER - 2);
    expect_kept(places[4].offset - 700, places[4].offset - 100, N_LATER - 2);
}

/* What lies there may be whole batches, and may be read by the next opening. */
Test(bad_sectors, what_cannot_be_read_behind_a_bad_batch_is_kept)
{
    make_own_segment();
    expect_kept(places[1].offset + 512, places[N_LATER].offset, 0);
}

/* ---- the head of the segment in which the log goes on ------------------------------------- */

/* It stays unreadable. Each later opening must do without it, however the one before has ended. */
Test(bad_sectors, the_log_leaves_a_segment_whose_head_cannot_be_read)
{
    char last[64];
    unit_file(&u, "pad", SIZE, 0);
    unit_file(&u, "doc", SIZE, 1);
    unit_close(&u);
    unit_files(&u, ".seg", last);
    for (unsigned life = 0; life < 4; life++) {
        cr_assert_eq(simdisk_spoil(u.disk, last, 0, 512), 0);
        cr_assert_eq(unit_try_open(&u), 0, "life %u: %s", life, u.why);
        cr_assert(unit_holds(&u, unit_lookup(&u, "doc"), SIZE, 1));
        for (unsigned i = 0; i < life; i++)
            cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), SIZE, i));
        unit_file(&u, name_of(life), SIZE, life);
        cr_assert_eq(eng_sync(u.eng), 0);
        cr_assert_str_neq(unit_log_place(&u).name, last);
        unit_kill(&u, SIM_DROP_ALL, 0);
    }
    unit_open(&u);
}

/* The log is replayed from behind that head, and only the segment itself has these batches. */
Test(bad_sectors, a_head_behind_which_the_log_goes_on_is_not_needed)
{
    char last[64];
    unit_file(&u, "pad", SIZE, 0);
    unit_close(&u);
    unit_open(&u);
    unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    (void)snprintf(last, sizeof last, "%s", unit_log_place(&u).name);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_without_echo(&u);
    for (unsigned life = 0; life < 3; life++) {
        cr_assert_eq(simdisk_spoil(u.disk, last, 0, 512), 0);
        cr_assert_eq(unit_try_open(&u), 0, "life %u: %s", life, u.why);
        cr_assert(unit_holds(&u, unit_lookup(&u, "doc"), SIZE, 1));
        unit_kill(&u, SIM_DROP_ALL, 0);
    }
    unit_open(&u);
}

/* ---- the block in which the log ends ------------------------------------------------------- */

static uint64_t bad_from; /* the beginning of that block */

/* All of it is in a checkpoint; closed, or killed then. The last batch ends in a block of its own. */
static void make_end(bool closed)
{
    unit_file(&u, "doc", SIZE, 1);
    unit_file(&u, "last", 2 * SIZE, 2);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    places[0] = unit_log_place(&u);
    bad_from = (places[0].offset - 1) / 4096 * 4096;
    cr_assert_gt(bad_from, 0);
    cr_assert_neq(places[0].offset % 4096, 0);
    if (closed)
        unit_close(&u);
    else
        unit_kill(&u, SIM_DROP_ALL, 0);
}

static void expect_later(unsigned n)
{
    cr_assert(unit_holds(&u, unit_lookup(&u, "doc"), SIZE, 1));
    for (unsigned i = 0; i < n; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), SIZE, 10 + i), "%u", i);
}

/* What is synced behind such a block is there however often the power fails, and nobody waits for the block
 * to be better. */
Test(bad_sectors, no_opening_goes_on_in_a_block_that_cannot_be_read)
{
    struct unit whole = u;
    for (unsigned i = 0; i < 4; i++) {
        if (i)
            unit_new(&u, 0);
        make_end(i % 2);
        uint64_t from = i < 2 ? bad_from : places[0].offset / 512 * 512, to = from + (i < 2 ? 4096 : 512);
        cr_assert_eq(simdisk_spoil(u.disk, places[0].name, from, to), 0);
        for (unsigned life = 0; life < 3; life++) {
            u.warnings = 0;
            cr_assert_eq(unit_try_open(&u), 0, "%u, life %u: %s", i, life, u.why);
            cr_assert(life || strstr(u.all_warnings, "where the log ends"), "%s", u.all_warnings);
            expect_later(life);
            unit_file(&u, name_of(life), SIZE, 10 + life);
            cr_assert_eq(eng_sync(u.eng), 0);
            cr_assert_str_neq(unit_log_place(&u).name, places[0].name);
            unit_kill(&u, SIM_DROP_ALL, 0);
        }
        unit_open(&u);
        if (!i)
            whole = u;
        else
            unit_done(&u);
    }
    u = whole;
}

/* The medium has something else there than memory. */
Test(bad_sectors, nor_where_only_memory_says_that_nothing_follows)
{
    struct unit c;
    for (unsigned i = 0; i < LOG_AHEAD_FSYNCS + 4; i++) {
        unit_file(&u, name_of(i), 100, i);
        cr_assert_eq(eng_fsync(u.eng, ENG_ROOT_INO), 0);
    }
    cr_assert_eq(checkpoint_write(u.eng), 0);
    places[0] = unit_log_place(&u);
    cr_assert_gt(unit_file_size(&u, places[0].name), places[0].offset + 100);
    for (unsigned rotten = 0; rotten < 2; rotten++) {
        unit_clone(&c, &u);
        if (rotten)
            cr_assert_eq(simdisk_rot(c.disk, places[0].name, places[0].offset + 80, 1), 0);
        unit_open(&c);
        unit_file(&c, "new", SIZE, 9);
        cr_assert_eq(!strcmp(unit_log_place(&c).name, places[0].name), !rotten);
        unit_done(&c);
    }
}

/* The block goes bad while the store is open: one new segment, and each change is made. */
Test(bad_sectors, the_log_leaves_a_block_that_goes_bad)
{
    make_end(false);
    unit_open(&u);
    unit_file(&u, name_of(0), SIZE, 10);
    cr_assert_eq(eng_sync(u.eng), 0);
    for (unsigned i = 0; i < 4; i++) /* the sector has nothing of a file */
        unit_mkdir(&u, (const char *[]){"d", "f", "g", "h"}[i]);
    cr_assert_eq(eng_sync(u.eng), 0);
    places[1] = unit_log_place(&u);
    cr_assert_str_eq(places[1].name, places[0].name);
    uint64_t seq = unit_stats(&u).log_seq;
    unsigned segments = unit_files(&u, ".seg", NULL);
    bad_from = (places[1].offset - 1) / 512 * 512;
    cr_assert_eq(simdisk_spoil(u.disk, places[1].name, bad_from, bad_from + 512), 0);
    u.warnings = 0;
    unit_mkdir(&u, "e");
    cr_assert_eq(u.warnings, 1, "%s", u.all_warnings);
    cr_assert_eq(unit_stats(&u).log_seq, seq + 1);
    for (unsigned i = 1; i < N_LATER; i++)
        unit_file(&u, name_of(i), SIZE, 10 + i);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "last"), 0);
    cr_assert_eq(unit_files(&u, ".seg", NULL), segments + 1);
    cr_assert_eq(u.warnings, 1, "%s", u.all_warnings);
    for (unsigned life = 0; life < 3; life++) {
        expect_later(N_LATER);
        cr_assert(unit_lookup(&u, "d") && unit_lookup(&u, "e") && !unit_lookup(&u, "last"));
        cr_assert_eq(eng_sync(u.eng), 0);
        unit_kill(&u, life ? SIM_DROP_ALL : SIM_KEEP_ALL, 0);
        unit_open(&u);
    }
    cr_assert_eq(unit_problems(&u), 1, "the batch in that sector, for which a checkpoint is written");
    cr_assert_eq(unit_problems(&u), 0);
}

/* A part of the batch is in the file already. It never happened; the next segment has its number. */
Test(bad_sectors, what_is_left_of_a_batch_behind_which_the_log_left_is_none)
{
    static const char *const names[] = {"first", "second"};
    for (unsigned i = 0; i < LOG_AHEAD_FSYNCS + 4; i++) {
        unit_file(&u, name_of(i), 100, i);
        cr_assert_eq(eng_fsync(u.eng, ENG_ROOT_INO), 0);
    }
    struct unit_place at = unit_log_place(&u);
    uint64_t bad = at.offset / 4096 * 4096 + 2 * 4096;
    cr_assert_gt(unit_file_size(&u, at.name), bad + 4096);
    cr_assert_eq(simdisk_spoil(u.disk, at.name, bad, bad + 4096), 0);
    for (unsigned i = 0; i < 2; i++)
        unit_file(&u, names[i], bad + 1000 - at.offset, 50 + i);
    cr_assert_str_neq(unit_log_place(&u).name, at.name);
    for (unsigned life = 0; life < 2; life++) {
        for (unsigned i = 0; i < 2; i++)
            cr_assert(unit_holds(&u, unit_lookup(&u, names[i]), bad + 1000 - at.offset, 50 + i));
        cr_assert_eq(unit_problems(&u), 0);
        unit_kill(&u, life ? SIM_DROP_ALL : SIM_KEEP_ALL, 0);
        unit_open(&u);
    }
}

/* ---- a disk that takes no batch --------------------------------------------------------------- */

static const struct eng_io_ops *disk_ops;

static ssize_t take_headers(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    bool is_header = n == 1 && iov->iov_len == sizeof(struct segment_header);
    return is_header ? disk_ops->pwritev(file, iov, n, offset) : -EIO;
}

static unsigned n_arrived;

/* All bytes arrive, and it is said that they did not. */
static ssize_t arrive_and_fail(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    n_arrived++;
    (void)disk_ops->pwritev(file, iov, n, offset);
    return -EIO;
}

/* The batch that failed would stay whole beside the next of its number. */
Test(bad_sectors, a_segment_that_cannot_be_cut_is_not_left)
{
    struct eng_attr attr;
    unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place at = unit_log_place(&u);
    disk_ops = simdisk_io(u.disk)->ops;
    struct eng_io_ops ops = *disk_ops;
    ops.pwritev = arrive_and_fail;
    simdisk_io(u.disk)->ops = &ops;
    simdisk_fail_always(u.disk, SIM_TRUNCATE, EIO);
    cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, "ghost", S_IFREG | 0600, 0, NULL, &attr), -EIO);
    simdisk_io(u.disk)->ops = disk_ops;
    simdisk_fail_always(u.disk, SIM_TRUNCATE, 0);
    cr_assert_eq(n_arrived, 1, "it is tried once");
    cr_assert_str_eq(unit_log_place(&u).name, at.name);
    unit_file(&u, "next", SIZE, 2);
    cr_assert_eq(eng_fsync(u.eng, ENG_ROOT_INO), 0);
    cr_assert_str_eq(unit_log_place(&u).name, at.name, "which takes the same place");
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(unit_lookup(&u, "ghost"), 0);
    cr_assert(unit_holds(&u, unit_lookup(&u, "next"), SIZE, 2));
    cr_assert_eq(unit_problems(&u), 0);
}

/* No segment for each of them. */
Test(bad_sectors, one_segment_is_left_for_all_that_fails)
{
    struct eng_io_ops ops;
    struct eng_attr attr;
    unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unsigned segments = unit_files(&u, ".seg", NULL);
    disk_ops = simdisk_io(u.disk)->ops;
    ops = *disk_ops;
    ops.pwritev = take_headers;
    simdisk_io(u.disk)->ops = &ops;
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, name_of(i), S_IFREG | 0644, 0, NULL, &attr), -EIO);
    cr_assert_eq(unit_files(&u, ".seg", NULL), segments + 1);
    simdisk_io(u.disk)->ops = disk_ops;
    for (unsigned i = 0; i < N_LATER; i++)
        unit_file(&u, name_of(i), SIZE, 10 + i);
    cr_assert_eq(unit_files(&u, ".seg", NULL), segments + 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_later(N_LATER);
    cr_assert_eq(unit_problems(&u), 0);
}

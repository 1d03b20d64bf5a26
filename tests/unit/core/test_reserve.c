/*
 * test_reserve.c - a full disk: the reserve is there, removing and compacting
 * go on, reading does not suffer, and the reserve is whole again afterwards. */
#include "image/checkpoint.h"
#include "inside.h"
#include "upkeep/install.h"

#include "unit_store.h"

#include <criterion/criterion.h>

#define DISK (UINT64_C(12) << 20)

static struct unit u;
static struct eng_io_ops ops; /* in the place of the disk's own, */
static const struct eng_io_ops *disk_ops;

static void setup(void)
{
    unit_new(&u, 1 << 20);
    simdisk_limit(u.disk, DISK);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(reserve, .init = setup, .fini = teardown, .timeout = 100);

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof(name), "f%u", i);
    return name;
}

/* Writes files until there is no room; how many are there. */
static unsigned fill_disk(void)
{
    uint8_t *bytes = unit_bytes(100000, 1);
    struct eng_record r = {.parent = 1, .content = bytes, .size = 100000, .mode = 0644};
    unsigned n = 0;
    for (;; n++) {
        r.name = name_of(n);
        ssize_t stored = eng_put_many(u.eng, &r, 1);
        cr_assert(stored == 1 || stored == -ENOSPC || (stored == 0 && r.result == -ENOSPC), "%zd", stored);
        if (stored != 1)
            break;
        cr_assert_lt(n, 1000);
    }
    free(bytes);
    return n;
}

static void expect_files(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), 100000, 1), "file %u", i);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(reserve, is_set_aside_and_known_again)
{
    uint64_t size = unit_stats(&u).reserve_bytes;
    cr_assert_geq(size, 1 << 20);
    cr_assert_eq(unit_file_size(&u, "reserve"), size);
    unit_reopen(&u);
    cr_assert_geq(unit_stats(&u).reserve_bytes, size);
    unit_close(&u);
    u.opt.read_only = true;
    unit_open(&u);
    cr_assert_geq(unit_stats(&u).reserve_bytes, size);
}

/* As a copy of a store may be, made with holes, on a disk that has no room for it. */
Test(reserve, what_has_a_size_and_no_blocks_is_none)
{
    unit_close(&u);
    simdisk_fail_always(u.disk, SIM_ALLOCATE, ENOSPC);
    unit_open(&u);
    cr_assert_eq(unit_stats(&u).reserve_bytes, 0);
    cr_assert_eq(unit_file_size(&u, "reserve"), 0);
    simdisk_fail_always(u.disk, SIM_ALLOCATE, 0);
    unit_reopen(&u);
    cr_assert_geq(unit_stats(&u).reserve_bytes, 1 << 20);
}

static uint64_t size_with_files(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        unit_file(&u, name_of(i), 100000, 1);
    return unit_stats(&u).reserve_bytes;
}

Test(reserve, follows_the_store_within_a_segment_and_stands_still_while_held)
{
    unit_done(&u);
    unit_new(&u, UINT64_C(64) << 20);
    uint64_t size = size_with_files(0, 80);
    cr_assert_geq(size, 2 << 20, "a quarter of the store, and the index");
    reserve_freeze(u.eng, true);
    cr_assert_eq(size_with_files(80, 100), size);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).reserve_bytes, size, "held");
    reserve_freeze(u.eng, false);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_gt(unit_stats(&u).reserve_bytes, size);
    reserve_freeze(u.eng, true);
    cr_assert_geq(size_with_files(100, 400), 6 << 20, "half of what it should be is too little");
    reserve_freeze(u.eng, false);
}

/* One memory behind all others keeps the tables as long as they are. */
Test(reserve, what_was_removed_needs_none)
{
    enum { N = 20000, BATCH = 1000 };
    static char names[BATCH][16];
    static struct eng_record records[BATCH];
    unit_done(&u);
    unit_new(&u, UINT64_C(64) << 20);
    uint64_t before = unit_stats(&u).reserve_bytes;
    for (unsigned i = 0; i < N; i += BATCH) {
        for (unsigned k = 0; k < BATCH; k++) {
            (void)snprintf(names[k], sizeof names[k], "%s", name_of(i + k));
            records[k] = (struct eng_record){.parent = 1, .name = names[k], .content = "", .mode = 0644};
        }
        cr_assert_eq(eng_put_many(u.eng, records, BATCH), BATCH);
    }
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_gt(unit_stats(&u).reserve_bytes, 4 * before);
    for (unsigned i = 0; i < N - 1; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_lt(unit_stats(&u).reserve_bytes, 3 * before);
    unit_reopen(&u);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_lt(unit_stats(&u).reserve_bytes, 3 * before);
    cr_assert_lt(unit_stats(&u).index_bytes, 20 * TABLE_CHUNK_SIZE);
}

Test(reserve, a_full_disk_can_be_read_emptied_and_used_again)
{
    unsigned n = fill_disk();
    cr_assert_gt(n, 50);
    expect_files(0, n);
    cr_assert_str_eq(unit_stats(&u).read_only_reason, "", "full is not broken");
    cr_assert_eq(eng_sync(u.eng), 0);
    for (unsigned i = 0; i < n / 2; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0, "removing always works: file %u", i);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    expect_files(n / 2, n);
    for (unsigned i = 0; i < n / 4; i++)
        unit_file(&u, name_of(i), 100000, 1);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_geq(unit_stats(&u).reserve_bytes, 1 << 20, "whole again");
    expect_files(0, n / 4);
}

/* As on btrfs over its quota, where a file can be removed, but not cut. */
Test(reserve, what_cannot_be_cut_is_made_anew)
{
    unsigned n = fill_disk();
    simdisk_fail_always(u.disk, SIM_TRUNCATE, ENOSPC);
    for (unsigned i = 0; i < n / 2; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0, "file %u", i);
    for (unsigned i = 0; i < 4000; i++) { /* until half of it is used up */
        int r = eng_setattr(u.eng, unit_lookup(&u, name_of(n / 2)), &(struct eng_attr){.size = 90000},
                            ENG_SET_SIZE, NULL);
        cr_assert_eq(r, 0, "%u: %d", i, r);
    }
    uint64_t size = unit_stats(&u).reserve_bytes;
    cr_assert_eq(unit_file_size(&u, "reserve"), size);
    simdisk_fail_always(u.disk, SIM_TRUNCATE, 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_geq(unit_stats(&u).reserve_bytes, 1 << 20, "whole again");
    expect_files(n / 2 + 1, n);
}

/* As on btrfs, whose extents are in use until all of each was cut. */
Test(reserve, what_is_cut_goes_back_piece_by_piece)
{
    simdisk_whole_extents(u.disk);
    unit_spend_reserve(&u);
    cr_assert_eq(eng_tick(u.eng), 0);
    uint64_t used = simdisk_used(u.disk), have = reserve_bytes(u.eng);
    cr_assert_geq(have, 1 << 20);
    for (unsigned i = 1; i <= 2; i++) {
        cr_assert(reserve_spend(u.eng, RESERVE_SOME));
        cr_assert_eq(used - simdisk_used(u.disk), have - reserve_bytes(u.eng), "%u", i);
        cr_assert_eq(have - reserve_bytes(u.eng), i << 18);
    }
}

/* What an older version has set aside, or somebody has put together, is one extent. */
Test(reserve, of_one_extent_is_made_anew)
{
    unsigned n = fill_disk();
    simdisk_whole_extents(u.disk);
    simdisk_tell_space(u.disk, SIM_TELLS_PLENTY);
    simdisk_limit(u.disk, simdisk_used(u.disk));
    cr_assert_eq(eng_hold(u.eng), 0); /* no compaction helps */
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    for (unsigned i = 0; i < n / 2; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0, "file %u", i);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_geq(unit_stats(&u).reserve_bytes, 1 << 20, "whole again");
    expect_files(n / 2, n);
}

static unsigned n_asked;

static int give_back_counted(struct eng_io *io)
{
    n_asked++;
    return disk_ops->give_back(io);
}

/* As on btrfs, which frees what was removed only with its transaction: whoever finds no room has the file
 * system end that first, whatever was removed, and once. */
static void expect_awaited(const char *what)
{
    cr_assert(reserve_spend(u.eng, RESERVE_ALL), "%s", what);
    cr_assert_not(reserve_spend(u.eng, RESERVE_ALL), "%s: once", what);
}

Test(reserve, what_was_removed_is_awaited)
{
    struct segment *out;
    unit_file(&u, "f", 100000, 1);
    simdisk_whole_extents(u.disk);
    unit_spend_reserve(&u);
    while (reserve_spend(u.eng, RESERVE_ALL))
        ;
    cr_assert_eq(segments_create(&u.eng->segments, SEGMENT_SURVIVORS, 1, 0, 0, &out), 0);
    install_drop(u.eng, out);
    expect_awaited("an output that was given up");
    cr_assert_eq(checkpoint_write(u.eng), 0);
    expect_awaited("files of older checkpoints");
    unit_file(&u, "g", 100000, 1);
    disk_ops = simdisk_io(u.disk)->ops;
    ops = *disk_ops;
    ops.give_back = give_back_counted;
    simdisk_io(u.disk)->ops = &ops;
    n_asked = 0;
    simdisk_fail_always(u.disk, SIM_PWRITEV, ENOSPC);
    cr_assert_eq(checkpoint_write(u.eng), -ENOSPC);
    simdisk_fail_always(u.disk, SIM_PWRITEV, 0);
    simdisk_io(u.disk)->ops = disk_ops;
    cr_assert_eq(n_asked, 1, "the files that it has begun");
}

/* As over a quota, of which the disk says nothing: what is left has room for the survivors of one segment at
 * a time, but not for a whole one of them. */
Test(reserve, a_disk_that_has_refused_is_not_believed)
{
    simdisk_tell_space(u.disk, SIM_TELLS_PLENTY);
    unsigned n = fill_disk();
    cr_assert_eq(eng_hold(u.eng), 0); /* no compaction helps */
    for (unsigned i = 0; i < n; i++) {
        if (i % 4)
            cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0, "file %u", i);
    }
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    simdisk_limit(u.disk, simdisk_used(u.disk) + (900 << 10) - reserve_bytes(u.eng));
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0, "%llu in the reserve",
                 (unsigned long long)reserve_bytes(u.eng));
    for (unsigned i = 0; i < n; i += 4)
        cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), 100000, 1), "file %u", i);
    cr_assert_eq(unit_problems(&u), 0);
}

/* What there is others want meanwhile, as the compaction that it was given back for. */
Test(reserve, a_growth_in_vain_takes_nothing)
{
    unit_spend_reserve(&u);
    simdisk_tell_space(u.disk, SIM_TELLS_PLENTY);
    uint64_t used = simdisk_used(u.disk);
    simdisk_limit(u.disk, used + (600 << 10));
    cr_assert_not(reserve_fill(u.eng, RESERVE_ROOM_MIN));
    cr_assert_eq(reserve_bytes(u.eng), 0);
    cr_assert_eq(simdisk_used(u.disk), used);
}

Test(reserve, garbage_is_room)
{
    unsigned n = fill_disk();
    for (unsigned i = n / 2; i < n; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    for (unsigned i = 0; i < 5 * n; i++) /* what is overwritten and removed is room for what comes */
        unit_write(&u, unit_lookup(&u, name_of(i % (n / 2))), 100000, 1, 0);
    expect_files(0, n / 2);
    cr_assert_gt(unit_stats(&u).compactions_ok, 0, "it compacted to go on");
}

Test(reserve, a_full_disk_survives_a_kill)
{
    unsigned n = fill_disk();
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_files(0, n);
    cr_assert_eq(eng_unlink(u.eng, 1, name_of(0)), 0);
    unit_reopen(&u);
    expect_files(1, n);
}

/* ---- beside somebody who fills the disk --------------------------------------------------------- */

static int open_beside(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    simdisk_limit(u.disk, simdisk_used(u.disk));
    return disk_ops->open(io, name, flags, ret_file);
}

static ssize_t write_beside(struct io_file *file, const struct iovec *iov, int n, uint64_t at)
{
    simdisk_limit(u.disk, simdisk_used(u.disk));
    return disk_ops->pwritev(file, iov, n, at);
}

/* Somebody takes whatever is free before each creation and each write. */
static void fill_from_now_on(void)
{
    disk_ops = simdisk_io(u.disk)->ops;
    ops = *disk_ops;
    ops.open = open_beside;
    ops.pwritev = write_beside;
    simdisk_io(u.disk)->ops = &ops;
}

/* A checkpoint takes what it needs of the reserve, and the rest stays; after it, what has become free. */
Test(reserve, what_a_checkpoint_gets_of_it_nobody_else_takes)
{
    simdisk_limit(u.disk, 0);
    for (unsigned i = 0; i < 8000; i++)
        cr_assert_eq(eng_create(u.eng, NULL, 1, name_of(i), S_IFREG | 0600, 0, NULL, NULL), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    char name[IMAGE_NAME_SIZE];
    struct ckpt_position at;
    uint64_t have = reserve_bytes(u.eng), checkpoints = unit_stats(&u).checkpoints;
    fill_from_now_on();
    cr_assert_eq(checkpoint_write(u.eng), 0, "%s", u.last_warning);
    simdisk_io(u.disk)->ops = disk_ops;
    image_name(checkpoint_newest(u.eng, &at), 0, name);
    uint64_t size = unit_file_size(&u, name);
    cr_assert_eq(unit_stats(&u).checkpoints, checkpoints + 1);
    cr_assert_gt(size, 512 << 10);
    cr_assert_geq(reserve_bytes(u.eng) + 2 * size + (1 << 20), have, "%llu of %llu are left for 2 of %llu",
                  (unsigned long long)reserve_bytes(u.eng), (unsigned long long)have,
                  (unsigned long long)size);
}

Test(reserve, work_that_has_to_have_room_gets_what_the_disk_lacks)
{
    simdisk_limit(u.disk, simdisk_used(u.disk) + (100 << 10));
    uint64_t have = reserve_bytes(u.eng);
    cr_assert(reserve_open_up(u.eng, 300 << 10));
    cr_assert_eq(have - reserve_bytes(u.eng), 256 << 10);
    cr_assert(reserve_open_up(u.eng, 300 << 10));
    cr_assert_eq(have - reserve_bytes(u.eng), 256 << 10, "it is there now");
    cr_assert_not(reserve_open_up(u.eng, have + (200 << 10)));
    cr_assert_eq(have - reserve_bytes(u.eng), 256 << 10);
}

Test(reserve, an_orderly_end_on_a_full_disk_leaves_one)
{
    unsigned n = fill_disk();
    uint64_t have = reserve_bytes(u.eng);
    cr_assert_geq(have, 1 << 20);
    for (unsigned i = 0; i < n / 2; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    unit_close(&u);
    cr_assert_geq(unit_file_size(&u, "reserve"), have, "%llu of %llu",
                  (unsigned long long)unit_file_size(&u, "reserve"), (unsigned long long)have);
    unit_open(&u);
    expect_files(n / 2, n);
}

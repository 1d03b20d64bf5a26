/*
 * test_checkpoint_files.c - how many checkpoint files there are, what they cost to write, to keep and to
 * load: counted in calls and bytes, not in time. */
#include "hook.h"
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define CHUNKS 100u
#define CHUNKS_MANY 400u
#define IN_CHUNK (TABLE_CHUNK_SIZE / 128) /* inodes */
#define ROUNDS 300u

static struct unit u;
static unsigned n_chunks;
static uint64_t inos[CHUNKS_MANY]; /* one of each chunk of inodes */
static const struct eng_io_ops *disk_ops;
static struct eng_io_ops ops;
static uint64_t written; /* bytes */

static ssize_t counting_pwritev(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    ssize_t done = disk_ops->pwritev(file, iov, n, offset);
    written += done > 0 ? (uint64_t)done : 0;
    return done;
}

static void setup(void)
{
    unit_new(&u, UINT64_C(16) << 20);
    disk_ops = simdisk_io(u.disk)->ops;
    ops = *disk_ops;
    ops.pwritev = counting_pwritev;
    simdisk_io(u.disk)->ops = &ops;
}

/* As many files as fill so many chunks of inodes, in one checkpoint. */
static void fill(unsigned chunks)
{
    static struct eng_record records[IN_CHUNK];
    static char names[IN_CHUNK][16];
    n_chunks = chunks;
    for (unsigned c = 0; c < chunks; c++) {
        for (unsigned i = 0; i < IN_CHUNK; i++) {
            (void)snprintf(names[i], sizeof names[i], "f%u", c * IN_CHUNK + i);
            records[i] = (struct eng_record){.parent = ENG_ROOT_INO, .name = names[i], .mode = 0600};
        }
        cr_assert_eq(eng_put_many(u.eng, records, IN_CHUNK), IN_CHUNK);
        inos[c] = unit_lookup(&u, names[0]);
    }
    cr_assert_eq(checkpoint_write(u.eng), 0);
}

static void teardown(void)
{
    simdisk_io(u.disk)->ops = disk_ops;
    unit_done(&u);
}

TestSuite(checkpoint_files, .init = setup, .fini = teardown, .timeout = 200);

/* One inode, in another chunk each time. */
static void change(unsigned round)
{
    struct eng_attr attr = {.mode = 0400 + round % 8 * 8};
    cr_assert_eq(eng_setattr(u.eng, inos[round % n_chunks], &attr, ENG_SET_MODE, NULL), 0);
}

static void expect_changes(unsigned rounds)
{
    for (unsigned i = rounds > n_chunks ? rounds - n_chunks : 0; i < rounds; i++)
        cr_assert_eq(unit_attr(&u, inos[i % n_chunks]).mode & 07777, 0400 + i % 8 * 8, "round %u", i);
}

static uint64_t opens(void)
{
    return simdisk_calls_of(u.disk, SIM_OPEN);
}

Test(checkpoint_files, there_are_few_however_little_each_adds)
{
    fill(CHUNKS_MANY);
    uint64_t first = 0, sum = 0, image = unit_stats(&u).checkpoint_bytes;
    for (unsigned round = 0; round < ROUNDS; round++) {
        change(round);
        cr_assert_eq(eng_sync(u.eng), 0);
        uint64_t before = written, opened = opens(), measured = simdisk_calls_of(u.disk, SIM_FILE_SIZE);
        cr_assert_eq(checkpoint_write(u.eng), 0);
        first = first ? first : written - before;
        sum += written - before;
        cr_assert_leq(u.eng->checkpoints->kept[0].n_files, CKPT_FILES_MAX, "round %u", round);
        cr_assert_leq(unit_files(&u, ".ckp", NULL), 2 * CKPT_FILES_MAX, "round %u", round);
        cr_assert_leq(opens() - opened, 2, "round %u opened %u files", round, (unsigned)(opens() - opened));
        cr_assert_leq(simdisk_calls_of(u.disk, SIM_FILE_SIZE) - measured, 2);
    }
    /* A whole image whenever there are too many would be seven times as much. */
    cr_assert_gt(image, 50 * first, "a checkpoint of one change is small");
    cr_assert_leq(sum, 2 * ROUNDS * first, "%u checkpoints of %llu bytes took %llu", ROUNDS,
                  (unsigned long long)first, (unsigned long long)sum);
    cr_assert_leq(unit_stats(&u).checkpoint_bytes, 4 * image);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_changes(ROUNDS);
    cr_assert_eq(unit_problems(&u), 0);
}

/* The images of neighbouring chunks lie in different files, those of one file in many places. */
Test(checkpoint_files, loading_opens_each_a_few_times)
{
    fill(CHUNKS);
    for (unsigned round = 0; round < CHUNKS / 2; round++) {
        change(round);
        change(round + CHUNKS / 2);
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    size_t files = u.eng->checkpoints->kept[0].n_files, chunks = 0;
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        chunks += index_table(&u.eng->idx, i)->n_chunks;
    cr_assert(files >= CHUNKS / 2 && chunks > CHUNKS, "%zu files, %zu chunks", files, chunks);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    uint64_t before = opens();
    unit_open(&u);
    /* of the newer one each is made durable, compared with what is claimed of it, and read; of the older one
     * made durable; then measured. Besides: a few that two runs of a thread share, and the segments */
    cr_assert_leq(opens() - before, 5 * files + 20, "%u opened, %zu files, %zu chunks",
                  (unsigned)(opens() - before), files, chunks);
}

/* Power fails at each call of a checkpoint that takes over from others. */
Test(checkpoint_files, a_merging_checkpoint_may_be_cut_anywhere)
{
    unsigned rounds = 8;
    bool merged = false;
    fill(CHUNKS);
    for (unsigned round = 0; round < rounds; round++) {
        change(round);
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    size_t had = u.eng->checkpoints->kept[0].n_files;
    cr_assert_geq(had, rounds);
    unit_kill(&u, SIM_DROP_ALL, 0);
    for (uint64_t nth = 1;; nth++) {
        struct unit whole = u;
        unit_clone(&u, &whole);
        simdisk_io(u.disk)->ops = disk_ops;
        unit_open(&u);
        u.eng->checkpoints->files.max = 4;
        change(rounds);
        cr_assert_eq(eng_sync(u.eng), 0);
        simdisk_cut_at(u.disk, nth, false);
        int r = checkpoint_write(u.eng);
        bool over = !simdisk_is_off(u.disk);
        merged = merged || (over && u.eng->checkpoints->kept[0].n_files < had);
        unit_kill(&u, nth % 2 ? SIM_DROP_ALL : SIM_RANDOM, nth);
        unit_open(&u);
        expect_changes(rounds + 1);
        cr_assert(over ? r == 0 : true);
        unit_done(&u);
        u = whole;
        if (over)
            break;
    }
    cr_assert(merged);
}

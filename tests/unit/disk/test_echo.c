/*
 * test_echo.c - the second copy of the log's metadata: what is written when, what comes back of damaged
 * files, and what a failure costs. */
#include "disk/echo_stock.h"
#include "simdisk.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define STORE UINT64_C(0x1122334455667788)
#define N 6u

static struct simdisk *disk;
static struct eng_io *io;
static struct echo echo;
static uint64_t sums[N + 1]; /* of each batch; 0: before the first */
static uint32_t lens[N + 1];

static void begin(void)
{
    disk = simdisk_new();
    io = simdisk_io(disk);
    echo_init(&echo, io);
    echo.store = STORE;
}

static void end(void)
{
    echo_free(&echo);
    simdisk_free(disk);
}

TestSuite(echo, .init = begin, .fini = end, .timeout = 60);

/* Batch `seq`: its ops are bytes of that number, as many as nothing else tells. */
static struct batch_header make_batch(uint64_t seq, uint8_t ops[256])
{
    struct batch_header h = {.magic = BATCH_MAGIC,
                             .n_ops = 1,
                             .seq = seq,
                             .chain = sums[seq - 1],
                             .ops_len = (uint32_t)(16 + seq * 8),
                             .extents_len = 64,
                             .store = STORE};
    memset(ops, (int)seq, 256);
    h.sum = batch_sum(&h, ops);
    sums[seq] = h.sum;
    lens[seq] = h.ops_len;
    return h;
}

static void note(uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        uint8_t ops[256];
        struct batch_header h = make_batch(seq, ops);
        echo_note(&echo, 7, 80 + seq * 1000, &h, ops);
    }
}

static void give(void)
{
    struct buf records = echo_take(&echo);
    echo_give(&echo, &records);
    cr_assert_null(records.data, "they were taken over");
}

static void write_all(uint64_t from, uint64_t to)
{
    note(from, to);
    give();
    echo_drain(&echo);
}

static struct echo_stock load(void)
{
    struct echo_stock stock = {0};
    cr_assert_eq(echo_stock_load(&stock, io, STORE, true), 0);
    return stock;
}

/* Whether the stock has that batch, as it was. */
static bool has(const struct echo_stock *stock, uint64_t seq)
{
    struct batch_header h;
    CLEANUP_BUF struct buf ops = {0};
    const struct echo_ref *ref = echo_stock_find(stock, seq, sums[seq - 1]);
    if (!ref)
        return false;
    cr_assert_eq(ref->sum, sums[seq], "batch %llu is another", (unsigned long long)seq);
    cr_assert_eq(ref->segment, 7);
    cr_assert_eq(ref->offset, 80 + seq * 1000);
    cr_assert_eq(echo_stock_read(stock, io, ref, &h, &ops), 0);
    cr_assert_eq(h.seq, seq);
    cr_assert_eq(h.ops_len, lens[seq]);
    for (uint32_t i = 0; i < h.ops_len; i++)
        cr_assert_eq(ops.data[i], (uint8_t)seq);
    return true;
}

static void expect_all(uint64_t from, uint64_t to, const char *when)
{
    struct echo_stock stock = load();
    for (uint64_t seq = 1; seq <= N; seq++)
        if (sums[seq])
            cr_assert_eq(has(&stock, seq), seq >= from && seq <= to, "%s: batch %llu", when,
                         (unsigned long long)seq);
    echo_stock_free(&stock);
}

static unsigned n_files;

static void count_file(void *arg, const char *name, uint64_t size)
{
    uint32_t id;
    (void)arg;
    (void)size;
    n_files += echo_parse_name(name, &id) == 0;
}

static unsigned files(void)
{
    n_files = 0;
    simdisk_each(disk, count_file, NULL);
    return n_files;
}

Test(echo, what_was_noted_comes_back_once_it_is_durable_in_the_log)
{
    note(1, 3);
    echo_drain(&echo);
    cr_assert_eq(files(), 0, "nothing is written of what nobody flushed");
    give();
    echo_drain(&echo);
    expect_all(1, 3, "given");
    write_all(4, N);
    expect_all(1, N, "more of it");
    cr_assert_eq(files(), 1);
    cr_assert_eq(echo_lacks(&echo), 0);
}

Test(echo, a_name_is_one_and_no_other)
{
    static const char *const others[] = {"e00000001.log.tmp", "e0000001.log",  "E00000001.log",
                                         "e00000001.lo",      "s00000001.seg", "e0x000001.log",
                                         "e 0000001.log"};
    char name[ECHO_NAME_SIZE];
    uint32_t id = 0;
    echo_name(0xfedc0123, name);
    cr_assert_str_eq(name, "efedc0123.log");
    cr_assert_eq(echo_parse_name(name, &id), 0);
    cr_assert_eq(id, 0xfedc0123);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        cr_assert_eq(echo_parse_name(others[i], &id), -EINVAL, "%s", others[i]);
}

Test(echo, it_survives_the_power_once_it_was_synced)
{
    write_all(1, 3);
    echo_sync(&echo);
    write_all(4, N);
    simdisk_power_on(disk, SIM_DROP_ALL, 0);
    expect_all(1, 3, "synced");
}

Test(echo, a_sync_writes_what_was_given)
{
    note(1, 2);
    give();
    echo_sync(&echo);
    simdisk_power_on(disk, SIM_DROP_ALL, 0);
    expect_all(1, 2, "given");
}

Test(echo, a_checkpoint_ends_a_file_and_takes_it_away)
{
    write_all(1, 2);
    note(3, 4); /* not durable when the checkpoint begins; of these 3 is in it */
    echo_cut(&echo, 3);
    give();
    echo_drain(&echo);
    cr_assert_eq(files(), 2);
    expect_all(1, 4, "both files");
    echo_forget(&echo, 3, false);
    cr_assert_eq(files(), 2, "held");
    echo_forget(&echo, 3, true);
    cr_assert_eq(files(), 1);
    expect_all(4, 4, "the older one is gone");
    write_all(5, N);
    cr_assert_eq(files(), 1, "it goes on in the younger one");
    expect_all(4, N, "gone on");
    echo_forget(&echo, N, true);
    cr_assert_eq(files(), 0);
    cr_assert_eq(atomic_load(&echo.bytes), 0);
}

Test(echo, a_checkpoint_that_failed_leaves_both_files)
{
    write_all(1, 3);
    echo_cut(&echo, 3);
    write_all(4, 5);
    write_all(6, 6);
    cr_assert_eq(files(), 2);
    expect_all(1, N, "all");
}

/* ---- damage ------------------------------------------------------------ */

/* At most one of the records is missing, and none is another. */
static unsigned n_missing(void)
{
    struct echo_stock stock = load();
    unsigned n = 0;
    for (uint64_t seq = 1; seq <= N; seq++)
        n += !has(&stock, seq);
    echo_stock_free(&stock);
    return n;
}

Test(echo, a_flipped_bit_costs_the_record_in_which_it_lies)
{
    uint8_t *data;
    size_t size;
    unsigned told = 0;
    write_all(1, N - 1);
    echo_sync(&echo);
    write_all(N, N);
    cr_assert_eq(simdisk_get(disk, "e00000001.log", &data, &size), 0);
    free(data);
    for (uint64_t bit = 0; bit < size * 8; bit++) {
        cr_assert_eq(simdisk_flip(disk, "e00000001.log", bit / 8, (uint8_t)(1u << bit % 8)), 0);
        cr_assert_leq(n_missing(), bit < sizeof(struct echo_header) * 8 ? 0u : 1u, "bit %llu",
                      (unsigned long long)bit);
        struct echo_stock stock = load();
        cr_assert_eq(stock.n_files, 1);
        told += stock.files[0].damaged;
        echo_stock_free(&stock);
        cr_assert_eq(simdisk_flip(disk, "e00000001.log", bit / 8, (uint8_t)(1u << bit % 8)), 0);
    }
    /* of the last record nothing tells that it was durable */
    cr_assert_geq(told, (size - sizeof(struct echo_record) - lens[N]) * 8);
}

/* A cut of the power keeps what it likes of what was not synced: the first records may be missing. */
Test(echo, what_was_never_durable_is_torn_and_not_damaged)
{
    for (unsigned synced = 0; synced < 2; synced++) {
        struct echo_stock stock;
        if (synced)
            echo_sync(&echo);
        write_all(1 + synced * 3, 3 + synced * 2);
        cr_assert_eq(simdisk_flip(disk, "e00000001.log", sizeof(struct echo_header) + 5, 1), 0);
        stock = load();
        cr_assert_eq(stock.files[0].damaged, synced);
        cr_assert_eq(stock.files[0].torn, !synced);
        echo_stock_free(&stock);
        cr_assert_eq(simdisk_flip(disk, "e00000001.log", sizeof(struct echo_header) + 5, 1), 0);
    }
}

/* The sync of batches 3 and 4 fails: the power takes one of them and leaves the other. What comes after them
 * is durable. */
Test(echo, what_a_failed_sync_may_have_lost_is_torn_and_not_damaged)
{
    uint8_t *data;
    size_t size, third = sizeof(struct echo_header);
    write_all(1, 2);
    echo_sync(&echo);
    third += 2 * sizeof(struct echo_record) + lens[1] + lens[2];
    write_all(3, 4);
    cr_assert_eq(simdisk_get(disk, "e00000001.log", &data, &size), 0);
    simdisk_fail(disk, SIM_DATASYNC, 1, EIO);
    echo_sync(&echo);
    cr_assert_eq(echo_lacks(&echo), 4);
    write_all(5, 5);
    echo_sync(&echo);
    write_all(6, 6);
    memset(data + third, 0, sizeof(struct echo_record));
    simdisk_put(disk, "e00000001.log", data, size);
    free(data);
    struct echo_stock stock = load();
    cr_assert_eq(stock.n_refs, 5);
    cr_assert(stock.files[0].torn && !stock.files[0].damaged);
    echo_stock_free(&stock);
}

Test(echo, a_lost_sector_costs_what_lies_in_it)
{
    write_all(1, N);
    echo_sync(&echo);
    for (uint64_t from = 0; from < 512; from += 8) {
        cr_assert_eq(simdisk_spoil(disk, "e00000001.log", from, from + 8), 0);
        struct echo_stock stock = load();
        cr_assert(stock.files[0].damaged);
        unsigned n = 0;
        for (uint64_t seq = 1; seq <= N;
             seq++) /* that of the sector cannot be read, nor what lies beside it */
            n += echo_stock_find(&stock, seq, sums[seq - 1]) != NULL;
        cr_assert_geq(n, 1);
        echo_stock_free(&stock);
    }
}

Test(echo, a_file_that_was_cut_has_the_records_before)
{
    uint8_t *data;
    size_t size, whole = sizeof(struct echo_header);
    write_all(1, N);
    cr_assert_eq(simdisk_get(disk, "e00000001.log", &data, &size), 0);
    for (size_t cut = 0; cut <= size; cut++) {
        unsigned n = 0;
        for (size_t at = whole; n < N && at + sizeof(struct echo_record) + lens[n + 1] <= cut; n++)
            at += sizeof(struct echo_record) + lens[n + 1];
        simdisk_put(disk, "e00000001.log", data, cut);
        cr_assert_eq(n_missing(), N - n, "cut at %zu", cut);
    }
    free(data);
}

Test(echo, one_of_another_store_says_nothing)
{
    write_all(1, N);
    struct echo_stock stock = {0};
    cr_assert_eq(echo_stock_load(&stock, io, STORE + 1, true), 0);
    cr_assert_eq(stock.n_refs, 0);
    cr_assert(stock.files[0].alien);
    echo_stock_free(&stock);
}

Test(echo, a_batch_that_does_not_follow_is_not_found)
{
    write_all(1, N);
    struct echo_stock stock = load();
    cr_assert_null(echo_stock_find(&stock, 3, sums[2] + 1));
    cr_assert_not_null(echo_stock_find(&stock, 3, sums[2]));
    echo_stock_free(&stock);
}

Test(echo, a_huge_file_is_not_believed)
{
    struct io_file *file;
    cr_assert_eq(io->ops->open(io, "e00000005.log", IO_RDWR | IO_CREATE, &file), 0);
    cr_assert_eq(io->ops->allocate(file, 0, UINT64_C(1) << 38), 0);
    io->ops->close(file);
    struct echo_stock stock = load();
    cr_assert_eq(stock.n_refs, 0);
    cr_assert(stock.files[0].torn);
    echo_stock_free(&stock);
}

/* ---- failures ------------------------------------------------------------ */

Test(echo, what_does_not_fit_on_the_disk_is_told_and_the_rest_comes_back)
{
    write_all(1, 2);
    simdisk_fail(disk, SIM_PWRITEV, 1, ENOSPC);
    write_all(3, 4);
    cr_assert_eq(echo_lacks(&echo), 4);
    cr_assert_eq(atomic_load(&echo.dropped), 2);
    write_all(5, N);
    struct echo_stock stock = load();
    for (uint64_t seq = 1; seq <= N; seq++)
        cr_assert_eq(has(&stock, seq), seq <= 2 || seq >= 5);
    echo_stock_free(&stock);
    echo_forget(&echo, 3, true);
    cr_assert_eq(echo_lacks(&echo), 4, "batch 4 still is");
    echo_forget(&echo, 4, true);
    cr_assert_eq(echo_lacks(&echo), 0);
}

Test(echo, on_a_full_disk_it_takes_nothing)
{
    atomic_store(&echo.lean, true);
    write_all(1, 2);
    cr_assert_eq(files(), 0);
    cr_assert_eq(echo_lacks(&echo), 2);
    atomic_store(&echo.lean, false);
    write_all(3, N);
    cr_assert_eq(files(), 1);
}

Test(echo, a_file_that_cannot_be_begun_leaves_none)
{
    simdisk_fail(disk, SIM_PWRITEV, 1, EIO);
    write_all(1, 2);
    cr_assert_eq(files(), 0);
    simdisk_fail(disk, SIM_CREATE, 1, EMFILE);
    write_all(3, 3);
    cr_assert_eq(echo_lacks(&echo), 3);
    write_all(4, N);
    cr_assert_eq(files(), 1);
}

Test(echo, after_a_failed_sync_another_file_goes_on)
{
    write_all(1, 2);
    simdisk_fail(disk, SIM_DATASYNC, 1, EIO);
    echo_sync(&echo);
    cr_assert_eq(echo_lacks(&echo), 2);
    write_all(3, N);
    cr_assert_eq(files(), 2);
    echo_sync(&echo);
    simdisk_power_on(disk, SIM_DROP_ALL, 0);
    struct echo_stock stock = load();
    for (uint64_t seq = 3; seq <= N; seq++)
        cr_assert(has(&stock, seq));
    echo_stock_free(&stock);
}

/* A descriptor for each checkpoint would be too many. */
Test(echo, in_a_hold_what_a_checkpoint_has_is_closed_and_stays)
{
    for (uint64_t seq = 1; seq <= N; seq++) {
        write_all(seq, seq);
        echo_cut(&echo, seq);
        if (seq == 3)
            echo_forget(&echo, seq, false); /* before it is durable */
        echo_sync(&echo);
        echo_forget(&echo, seq, false);
        cr_assert_null(echo.files[seq - 1].file, "%llu", (unsigned long long)seq);
    }
    cr_assert_eq(files(), N);
    expect_all(1, N, "in a hold");
    echo_forget(&echo, N, true);
    cr_assert_eq(files(), 0);
}

Test(echo, names_that_are_taken_are_passed_by)
{
    simdisk_put(disk, "e00000001.log", "mine", 4);
    simdisk_put(disk, "e00000002.log", "mine", 4);
    write_all(1, N);
    cr_assert_eq(echo_lacks(&echo), 0);
    expect_all(1, N, "in the third");
}

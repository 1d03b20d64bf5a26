/*
 * test_search_costs.c - how much of a segment is read to find the batches in it that nothing leads to: what
 * looks like the header of a batch may say any length, and be there again and again. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define SIZE ((size_t)512 << 10)
#define FORGED "s00000099.seg"

TestSuite(search_costs, .init = setup, .fini = teardown, .timeout = 60);

static struct eng_io_ops counting;
static ssize_t (*disk_pread)(struct io_file *file, void *buf, size_t size, uint64_t offset);
static uint64_t bytes_read;

static ssize_t count(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    ssize_t n = disk_pread(file, buf, size, offset);
    bytes_read += n > 0 ? (uint64_t)n : 0;
    return n;
}

/* The bytes that an opening reads. */
static uint64_t opening_reads(void)
{
    struct eng_io *io = simdisk_io(u.disk);
    const struct eng_io_ops *plain = io->ops;
    counting = *plain;
    disk_pread = plain->pread;
    counting.pread = count;
    io->ops = &counting;
    bytes_read = 0;
    unit_open(&u);
    io->ops = plain;
    return bytes_read;
}

/* A segment of this store, which has a header and zeros. The caller frees it. */
static uint8_t *begin(void)
{
    struct segment_header h = {.kind = SEGMENT_LOG, .id = 0x99, .first_seq = 1000, .chain = 77};
    uint8_t *bytes = calloc(1, SIZE);
    UNIT_NEED(bytes);
    memcpy(h.uuid, u.eng->sb.uuid, sizeof h.uuid);
    segment_header_seal(&h, FORMAT_VERSION);
    memcpy(bytes, &h, sizeof h);
    return bytes;
}

static void put(uint8_t *bytes, size_t at, uint64_t seq, size_t len, bool whole)
{
    struct batch_header h = {
        .magic = BATCH_MAGIC, .seq = seq, .store = u.eng->log.store, .ops_len = (uint32_t)len};
    h.sum = whole ? batch_sum(&h, bytes + at + sizeof h) : 1;
    memcpy(bytes + at, &h, sizeof h);
}

static void put_file(uint8_t *bytes)
{
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
    simdisk_put(u.disk, FORGED, bytes, SIZE);
    free(bytes);
}

Test(search_costs, heads_that_nest_cost_no_more_than_some_times_the_file)
{
    unit_file(&u, "doc", 3000, 1);
    uint8_t *bytes = begin();
    size_t end = SIZE - sizeof(struct batch_header);
    for (size_t at = sizeof(struct segment_header); at < end; at += sizeof(struct batch_header))
        put(bytes, at, 2000, end - at, false);
    put(bytes, end, 3000, 0, true);
    put_file(bytes);
    uint64_t n = opening_reads();
    cr_assert_leq(n, 10 * SIZE + (8u << 20), "%llu bytes", (unsigned long long)n);
    cr_assert(strstr(u.all_warnings, "more of it looks like batches"), "%s", u.all_warnings);
    cr_assert(strstr(u.all_warnings, "s00000099.seg has whole batches behind the bad one"),
              "what is whole and small is found behind them all: %s", u.all_warnings);
    cr_assert(unit_holds(&u, unit_lookup(&u, "doc"), 3000, 1));
}

/* And where there is none the file is kept all the same: nobody knows what was passed by. */
Test(search_costs, what_was_passed_by_is_kept)
{
    uint8_t *bytes = begin();
    size_t end = SIZE - sizeof(struct batch_header);
    for (size_t at = sizeof(struct segment_header); at < end; at += sizeof(struct batch_header))
        put(bytes, at, 2000, end - at, false);
    put_file(bytes);
    (void)opening_reads();
    cr_assert(strstr(u.all_warnings, "kept as s00000099.kept"), "%s", u.all_warnings);
}

/* Ordinary damage: batches one behind the other, of which only every tenth is whole, cost no more than the
 * file once more; and each that is whole is found. */
Test(search_costs, all_that_is_whole_is_found_between_what_is_damaged)
{
    const size_t len = 4096 - sizeof(struct batch_header);
    uint8_t *bytes = begin();
    uint64_t seq = 2000;
    size_t at = sizeof(struct segment_header);
    for (; at + 4096 <= SIZE; at += 4096, seq++)
        put(bytes, at, seq, len, seq % 10 == 9 || at + 8192 > SIZE);
    put_file(bytes);
    uint64_t n = opening_reads();
    cr_assert_null(strstr(u.all_warnings, "looks like batches"), "%s", u.all_warnings);
    cr_assert(strstr(u.all_warnings, "s00000099.seg has whole batches"), "%s", u.all_warnings);
    cr_assert_leq(n, 4 * SIZE + (8u << 20), "%llu bytes", (unsigned long long)n);
}

/* ---- a salvage ------------------------------------------------------------------------------- */

static int count_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)piece, (void)data;
    ++*(unsigned *)arg;
    return 0;
}

/* What says that it is an extent of 256 KiB is one only if its head is whole. */
Test(search_costs, heads_of_extents_that_nest_cost_a_salvage_little)
{
    const struct extent_header h = {.magic = EXTENT_MAGIC, .len = EXTENT_MAX, .ino = 7, .sum = 1};
    unsigned n = 0;
    uint8_t *bytes = begin();
    for (size_t at = sizeof(struct segment_header); at + sizeof h <= SIZE; at += sizeof h)
        memcpy(bytes + at, &h, sizeof h);
    put_file(bytes);
    u.opt.read_only = u.opt.salvage = true;
    unit_open(&u);
    struct eng_io *io = simdisk_io(u.disk);
    const struct eng_io_ops *plain = io->ops;
    counting = *plain;
    disk_pread = plain->pread;
    counting.pread = count;
    io->ops = &counting;
    bytes_read = 0;
    cr_assert_eq(eng_lost(u.eng, count_piece, &n), 0);
    io->ops = plain;
    cr_assert_eq(n, 0);
    cr_assert_leq(bytes_read, 16 * SIZE + (1u << 20), "%llu bytes", (unsigned long long)bytes_read);
}

/* Whose it is the only batch tells, which cannot be read. */
Test(search_costs, a_salvage_says_what_it_could_not_read)
{
    enum { AT = 8192, LEN = 4096 };
    unsigned n = 0;
    uint8_t *bytes = begin();
    memset(bytes, 0xff, sizeof(struct segment_header));
    put(bytes, AT, 2000, LEN, true);
    put_file(bytes);
    cr_assert_eq(simdisk_spoil(u.disk, FORGED, AT + 2048, AT + 2049), 0);
    u.opt.read_only = u.opt.salvage = true;
    unit_open(&u);
    cr_assert_eq(eng_lost(u.eng, count_piece, &n), 0);
    cr_assert(strstr(u.all_warnings, "not all of it was read"), "%s", u.all_warnings);
}

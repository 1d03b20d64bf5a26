/*
 * test_echo_stock.c - how much of an echo file is read to find its records, whatever lies in it: a header
 * whose sum is right may say any length, and be there again and again. */
#include "disk/echo_stock.h"

#include "must.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define STORE UINT64_C(0x1234567890)

/* The linker wraps qsort(). */
void __real_qsort(void *array, size_t n, size_t size, int (*compare)(const void *a, const void *b));
void __wrap_qsort(void *array, size_t n, size_t size, int (*compare)(const void *a, const void *b));
static size_t n_sorted;

void __wrap_qsort(void *array, size_t n, size_t size, int (*compare)(const void *a, const void *b))
{
    n_sorted += n;
    __real_qsort(array, n, size, compare);
}

static uint8_t *file;
static size_t file_size, end;
static uint64_t bytes_read;

static int read_file(void *arg, void *buf, size_t size, uint64_t off)
{
    (void)arg;
    MUST(off + size <= file_size);
    bytes_read += size;
    memcpy(buf, file + off, size);
    return 0;
}

static void begin_file(uint32_t id, size_t size)
{
    struct echo_header h = {.store = STORE, .id = id, .created = 1};
    echo_header_seal(&h);
    file = calloc(1, file_size = size);
    MUST(file);
    memcpy(file, &h, sizeof h);
    end = sizeof h;
}

static void begin(size_t size)
{
    begin_file(1, size);
}

/* A record whose ops are `len` bytes; they are not written, and its batch's sum is wrong, unless `whole`. */
static void put(uint64_t seq, uint32_t len, bool whole)
{
    struct echo_record rec = {.magic = ECHO_RECORD_MAGIC, .segment = 1, .offset = 80};
    rec.batch = (struct batch_header){
        .magic = BATCH_MAGIC, .n_ops = 1, .seq = seq, .store = STORE, .ops_len = len, .sum = 1};
    MUST(end + sizeof rec <= file_size);
    if (whole)
        rec.batch.sum = batch_sum(&rec.batch, file + end + sizeof rec);
    rec.sum = echo_record_sum(&rec);
    memcpy(file + end, &rec, sizeof rec);
    end += sizeof rec;
}

static struct echo_stock stock;

static void scan(void)
{
    const struct echo_source source = {.read = read_file};
    stock = (struct echo_stock){0};
    bytes_read = 0;
    cr_assert_eq(echo_stock_scan(&stock, &source, STORE, 1, file_size), 0);
}

static void done(void)
{
    echo_stock_free(&stock);
    free(file);
}

/* Each of many headers says that its ops are far longer than the space to the next one. */
Test(echo_stock, heads_that_nest_cost_no_more_than_some_times_the_file)
{
    begin(1 << 20);
    while (end < file_size - (300 << 10))
        put(7, 256 << 10, false);
    end = file_size - sizeof(struct echo_record) - 8;
    put(9, 8, true);
    scan();
    cr_assert_leq(bytes_read, 14 * file_size, "%llu bytes of a file of %zu", (unsigned long long)bytes_read,
                  file_size);
    cr_assert_eq(stock.n_refs, 1, "what is whole and small is found behind them all");
    cr_assert_eq(stock.refs[0].seq, 9);
    cr_assert(stock.files[0].damaged && stock.files[0].unread, "and nobody takes the file for whole");
    done();
}

/* What says that it is more than any batch has is none, however right its sums are. */
Test(echo_stock, no_record_is_longer_than_a_batch)
{
    begin(BATCH_OPS_MAX + (1 << 20));
    put(7, BATCH_OPS_MAX + 8, true);
    scan();
    cr_assert_eq(stock.n_refs, 0);
    done();
    begin(BATCH_OPS_MAX + (1 << 20));
    put(7, BATCH_OPS_MAX, true);
    scan();
    cr_assert_eq(stock.n_refs, 1);
    done();
}

/* Ordinary damage: the ops of all but every tenth record. */
Test(echo_stock, all_that_is_whole_is_found_between_what_is_damaged)
{
    const uint32_t len = 100 << 10;
    const unsigned n = 80;
    begin((size_t)9 << 20);
    for (unsigned i = 0; i < n; i++) {
        put(1 + i, len, i % 10 == 9);
        end += len;
    }
    scan();
    cr_assert_eq(stock.n_refs, n / 10, "%zu", stock.n_refs);
    cr_assert(!stock.files[0].unread, "nothing was passed by");
    cr_assert_leq(bytes_read, 3 * file_size);
    done();
}

Test(echo_stock, the_records_of_many_files_are_sorted_once)
{
    enum { FILES = 40, IN_FILE = 25 };
    const struct echo_source source = {.read = read_file};
    stock = (struct echo_stock){0};
    for (uint32_t id = FILES; id > 0; id--) {
        begin_file(id, 8 << 10);
        for (unsigned i = 0; i < IN_FILE; i++) {
            put(id * IN_FILE + i, 8, true);
            end += 8;
        }
        cr_assert_eq(echo_stock_scan(&stock, &source, STORE, id, file_size), 0);
        free(file);
    }
    echo_stock_sort(&stock);
    cr_assert_eq(stock.n_refs, FILES * IN_FILE);
    for (size_t i = 1; i < stock.n_refs; i++)
        cr_assert_lt(stock.refs[i - 1].seq, stock.refs[i].seq);
    cr_assert_eq(n_sorted, stock.n_refs, "%zu", n_sorted);
    echo_stock_free(&stock);
}

/* The same batch in two files; bit 1 of what each is: nothing makes one doubt it, bit 0: it was not set
 * aside. */
Test(echo_stock, of_several_records_the_best_is_found)
{
    const struct echo_source source = {.read = read_file};
    stock = (struct echo_stock){0};
    for (uint32_t id = 1; id <= 2; id++) {
        begin_file(id, 8 << 10);
        put(7, 8, true);
        cr_assert_eq(echo_stock_scan(&stock, &source, STORE, id, file_size), 0);
        free(file);
    }
    echo_stock_sort(&stock);
    cr_assert(stock.n_refs == 2 && stock.refs[0].file == 0);
    for (unsigned i = 0; i < 16; i++) {
        unsigned ranks[2] = {i % 4, i / 4};
        for (unsigned k = 0; k < 2; k++) {
            stock.refs[k].held = stock.files[k].copied = !(ranks[k] & 2);
            stock.files[k].kept = !(ranks[k] & 1);
        }
        cr_assert_eq(echo_stock_find(&stock, 7, 0), &stock.refs[ranks[1] >= ranks[0]], "%u and %u", ranks[0],
                     ranks[1]);
        stock.refs[1].held = false; /* of what was not written in a hold a copy is as good */
        cr_assert_eq(echo_stock_find(&stock, 7, 0), &stock.refs[(ranks[1] | 2) >= ranks[0]]);
        stock.refs[1].held = true;
        stock.files[1].copied = false; /* and in the store itself so is what was */
        cr_assert_eq(echo_stock_find(&stock, 7, 0), &stock.refs[(ranks[1] | 2) >= ranks[0]]);
    }
    echo_stock_free(&stock);
}

/*
 * test_log.c - transactions and batches as bytes, segments that roll over, and
 * the sharing of flushes. The log stands alone here, without an index. */
#include "disk/log.h"

#include "simdisk.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define SEGMENT_SIZE 65536u

static struct simdisk *disk;
static struct eng_io *io;
static struct fault_hook hook;
static struct segments segments;
static struct log lg;
/* What stage() drafts lives until the test ends. */
static struct draft drafts[64];
static size_t n_drafts;

static void setup(void)
{
    disk = simdisk_new();
    io = simdisk_io(disk);
    segments_init(&segments, io, &hook);
    memset(segments.uuid, 0x5a, sizeof(segments.uuid));
    log_init(&lg, io, &segments, &hook, SEGMENT_SIZE);
}

static void teardown(void)
{
    while (n_drafts)
        draft_free(&drafts[--n_drafts]);
    log_free(&lg);
    segments_free(&segments);
    simdisk_free(disk);
}

TestSuite(log, .init = setup, .fini = teardown);

/* Adds a write of `size` bytes to the transaction. */
static void stage(struct txn *txn, uint64_t ino, const void *data, uint32_t size, const char *name)
{
    struct draft *draft = &drafts[n_drafts++];
    struct op *op = txn_op(txn, OP_EXTENT);
    cr_assert(op && n_drafts <= ARRAY_LEN(drafts));
    op->ino = ino;
    cr_assert_eq(draft_extent(draft, data, size, name, (uint32_t)strlen(name)), 0);
    cr_assert_eq(txn_extent(txn, draft, 0, ino, 0), 0);
}

static int append(struct txn *txn)
{
    pthread_mutex_lock(&lg.lock);
    int r = log_wants_segment_locked(&lg, log_batch_size(txn)) ? log_new_segment_locked(&lg) : 0;
    if (!r)
        r = log_append_locked(&lg, txn);
    pthread_mutex_unlock(&lg.lock);
    return r;
}

static int append_file(uint32_t size)
{
    CLEANUP_TXN struct txn txn = {0};
    uint8_t *data = unit_bytes(size, size);
    stage(&txn, 2, data, size, "f");
    int r = append(&txn);
    free(data);
    return r;
}

static void get(uint32_t id, uint8_t **ret_data, size_t *ret_size)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(id, name);
    cr_assert_eq(simdisk_get(disk, name, ret_data, ret_size), 0);
}

/* ---- bytes --------------------------------------------------------------------------- */

Test(log, a_batch_is_header_ops_and_extents)
{
    static const uint32_t sizes[] = {1, 7, 8, 4096, 4097, 16384, 16385, 30001};
    CLEANUP_TXN struct txn txn = {0};
    uint8_t *data[ARRAY_LEN(sizes)], *image;
    size_t size;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        data[i] = unit_bytes(sizes[i], i);
        stage(&txn, 100 + i, data[i], sizes[i], i % 2 ? "a/path" : "");
    }
    uint64_t expect = log_batch_size(&txn);
    cr_assert_eq(append(&txn), 0);
    cr_assert_eq(lg.tail, sizeof(struct segment_header) + expect);
    get(1, &image, &size);
    cr_assert_eq(size, lg.tail);

    struct batch_header h;
    memcpy(&h, image + sizeof(struct segment_header), sizeof(h));
    const uint8_t *ops = image + sizeof(struct segment_header) + sizeof(h);
    cr_assert(h.magic == BATCH_MAGIC && h.seq == 1 && h.chain == 0 && h.durable_seq == 0);
    cr_assert_eq(h.n_ops, ARRAY_LEN(sizes));
    cr_assert_eq(h.sum, batch_sum(&h, ops));
    cr_assert_eq(sizeof(h) + h.ops_len + h.extents_len, expect);
    struct segment *seg;
    cr_assert_eq(segments_pin(&segments, 1, &seg), 0);
    for (size_t i = 0, at = 0; i < ARRAY_LEN(sizes); i++) {
        struct op op;
        size_t used;
        uint8_t *back = malloc(sizes[i]);
        cr_assert_eq(op_decode(ops + at, h.ops_len - at, &op, &used), 0);
        at += used;
        cr_assert(locator_equal(&op.loc, &txn.ops[i].loc), "the caller got the same place as the log");
        cr_assert(op.loc.seg == 1 && op.loc.len == sizes[i] && op.loc.ext_len == sizes[i]);
        cr_assert_eq(segment_read(seg, io->ops, 100 + i, 0, &op.loc, 0, sizes[i], back), 0);
        cr_assert_eq(memcmp(back, data[i], sizes[i]), 0);
        struct extent_header eh;
        memcpy(&eh, image + locator_offset(&op.loc), sizeof(eh));
        cr_assert(eh.sum == op.hsum && eh.seq == 1 && eh.name_len == (i % 2 ? 6 : 0));
        free(back);
        free(data[i]);
    }
    segments_unpin(seg);
    free(image);
}

Test(log, batches_are_numbered_and_chained)
{
    uint64_t sums[5] = {0}, at = sizeof(struct segment_header);
    uint8_t *image;
    size_t size;
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(append_file(100), 0);
        sums[i + 1] = lg.chain;
        if (i == 1)
            cr_assert_eq(log_sync(&lg, NULL), 0);
    }
    get(1, &image, &size);
    for (unsigned i = 0; i < 4; i++) {
        struct batch_header h;
        memcpy(&h, image + at, sizeof(h));
        cr_assert_eq(h.seq, i + 1);
        cr_assert_eq(h.chain, sums[i]);
        cr_assert_eq(h.sum, sums[i + 1]);
        cr_assert_eq(h.durable_seq, i < 2 ? 0 : 2, "the durable mark (I7)");
        at += sizeof(h) + h.ops_len + h.extents_len;
    }
    cr_assert_eq(at, unit_log_end(image, size));
    free(image);
}

Test(log, a_transaction_can_be_used_again)
{
    CLEANUP_TXN struct txn txn = {0};
    for (int i = 0; i < 3; i++) {
        stage(&txn, 5, "content", 7, "name");
        uint64_t size = log_batch_size(&txn), tail = lg.tail;
        cr_assert_eq(append(&txn), 0);
        cr_assert_eq(size, lg.tail - (i ? tail : sizeof(struct segment_header)));
        txn_reset(&txn);
        cr_assert_eq(log_batch_size(&txn), sizeof(struct batch_header));
    }
}

/* ---- segments -------------------------------------------------------------------------- */

Test(log, rolls_over_when_a_batch_does_not_fit)
{
    while (lg.active == NULL || lg.active->id == 1) {
        uint64_t tail = lg.active ? lg.tail : 0;
        cr_assert_eq(append_file(7000), 0);
        cr_assert_leq(lg.tail, SEGMENT_SIZE);
        if (lg.active->id == 2)
            cr_assert_gt(tail + 7000, SEGMENT_SIZE - 1000, "not before it was full");
    }
    struct segment_header h;
    uint8_t *image;
    size_t size;
    get(2, &image, &size);
    memcpy(&h, image, sizeof(h));
    cr_assert_eq(segment_header_check(&h, segments.uuid, 2), 0);
    cr_assert_eq(h.kind, SEGMENT_LOG);
    cr_assert_eq(h.first_seq, lg.seq);
    struct batch_header b;
    memcpy(&b, image + sizeof(h), sizeof(b));
    cr_assert(b.seq == h.first_seq && b.chain == h.chain && h.durable_seq == 0);
    free(image);

    cr_assert_eq(append_file(200000), 0, "larger than a segment: one of its own");
    cr_assert_eq(lg.active->id, 3);
    cr_assert_eq(append_file(10), 0);
    cr_assert_eq(lg.active->id, 4);
    pthread_mutex_lock(&lg.lock);
    cr_assert_eq(log_seal_locked(&lg), 0);
    cr_assert_eq(log_seal_locked(&lg), 0, "nothing to seal is fine");
    pthread_mutex_unlock(&lg.lock);
    cr_assert_eq(append_file(10), 0);
    cr_assert_eq(lg.active->id, 5);
}

Test(log, a_failed_append_changes_nothing)
{
    uint8_t *image;
    size_t size;
    cr_assert_eq(append_file(100), 0);
    uint64_t tail = lg.tail, seq = lg.seq, chain = lg.chain, bytes = lg.bytes;
    simdisk_fail(disk, SIM_PWRITEV, 1, ENOSPC);
    cr_assert_eq(append_file(50), -ENOSPC);
    cr_assert(lg.tail == tail && lg.seq == seq && lg.chain == chain && lg.bytes == bytes);
    cr_assert_eq(append_file(50), 0);
    get(1, &image, &size);
    struct batch_header h;
    memcpy(&h, image + tail, sizeof(h));
    cr_assert(h.seq == seq + 1 && h.chain == chain);
    free(image);

    cr_assert_eq(append_file(60000), 0);
    uint32_t id = lg.active->id;
    simdisk_fail(disk, SIM_CREATE, 1, ENOSPC); /* of the next segment */
    cr_assert_eq(append_file(60000), -ENOSPC);
    cr_assert_eq(append_file(60000), 0);
    cr_assert_gt(lg.active->id, id);
    cr_assert_eq(lg.seq, seq + 3);
}

/* ---- flushes ----------------------------------------------------------------------------- */

Test(log, a_flush_covers_all_sealed_segments_once)
{
    bool led = true;
    cr_assert_eq(log_sync(&lg, &led), 0);
    cr_assert_not(led, "nothing to flush");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(append_file(60000), 0);
    uint64_t data = simdisk_calls_of(disk, SIM_DATASYNC), dir = simdisk_calls_of(disk, SIM_SYNCDIR);
    cr_assert_eq(log_sync(&lg, &led), 0);
    cr_assert(led);
    cr_assert_eq(simdisk_calls_of(disk, SIM_DATASYNC) - data, 3);
    cr_assert_eq(simdisk_calls_of(disk, SIM_SYNCDIR) - dir, 1);
    cr_assert_eq(log_durable(&lg), 3);
    cr_assert_eq(append_file(10), 0);
    cr_assert_eq(log_sync(&lg, &led), 0);
    cr_assert_eq(simdisk_calls_of(disk, SIM_DATASYNC) - data, 4, "the sealed ones are not flushed again");
    cr_assert_eq(log_sync(&lg, &led), 0);
    cr_assert_not(led);
    cr_assert_eq(lg.syncs, 2);
    cr_assert_eq(segments_pinned(&segments), 1, "the active one");
}

Test(log, a_failed_flush_fails_all_later_ones)
{
    static const enum sim_call calls[] = {SIM_DATASYNC, SIM_SYNCDIR};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (i) {
            teardown();
            setup();
        }
        cr_assert_eq(append_file(60000), 0);
        cr_assert_eq(append_file(60000), 0);
        simdisk_fail(disk, calls[i], 1, EIO);
        cr_assert_eq(log_sync(&lg, NULL), -EIO);
        cr_assert_eq(log_durable(&lg), 0);
        cr_assert_eq(append_file(10), 0);
        cr_assert_eq(log_sync(&lg, NULL), -EIO, "although the disk would say yes now (I11)");
        cr_assert_eq(log_durable(&lg), 0);
        cr_assert_eq(lg.failed, EIO);
    }
}

/* Threads that sync while a flush is under way share the next one. */
#define N_THREADS 8

static pthread_barrier_t in_flush;
static bool first_flush = true;

static void in_first_flush(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_SYNC || !first_flush)
        return;
    first_flush = false; /* only the leader of the first flush gets here */
    pthread_barrier_wait(&in_flush);
    pthread_barrier_wait(&in_flush);
}

static void *sync_thread(void *arg)
{
    bool led = false;
    int r = log_sync(&lg, &led);
    return (void *)(uintptr_t)(r == 0 && log_durable(&lg) >= *(uint64_t *)arg ? 1 + led : 0);
}

Test(log, concurrent_callers_share_flushes)
{
    pthread_t leader, others[N_THREADS];
    uint64_t one = 1, two = 2;
    unsigned flushes = 0;
    void *result;
    hook = (struct fault_hook){in_first_flush, NULL};
    pthread_barrier_init(&in_flush, NULL, 2);
    cr_assert_eq(append_file(10), 0);
    pthread_create(&leader, NULL, sync_thread, &one);
    pthread_barrier_wait(&in_flush);
    cr_assert_eq(append_file(20), 0, "appending goes on during a flush");
    for (int i = 0; i < N_THREADS; i++)
        pthread_create(&others[i], NULL, sync_thread, &two);
    pthread_barrier_wait(&in_flush);
    pthread_join(leader, &result);
    cr_assert_eq((uintptr_t)result, 2);
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(others[i], &result);
        cr_assert_neq((uintptr_t)result, 0);
        flushes += (uintptr_t)result == 2;
    }
    cr_assert_eq(flushes, 1, "one flush for eight callers");
    cr_assert_eq(lg.syncs, 2);
    hook = (struct fault_hook){NULL, NULL};
    pthread_barrier_destroy(&in_flush);
}

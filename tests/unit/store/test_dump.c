/*
 * test_dump.c - the records of a segment: all are told, and no damage goes untold or leads astray. */
#include "disk/codec.h"

#include "must.h"
#include "past_states.h"

#include "one_store.h"

#include <criterion/criterion.h>

static const char log_name[] = "s00000001.seg";

TestSuite(dump, .init = setup, .fini = teardown);

struct told {
    size_t items, problems, kinds[OP_TYPES], data, gaps, zeros, summaries;
    uint64_t end; /* of the records at depth 0 and 1, which must touch each other */
    bool touches;
    char text[64 << 10], problem[200]; /* the last */
    size_t len;
};

static int on_item(void *arg, const struct eng_dump_item *item)
{
    static const char *const ops[] = {
        "",      "create",    "link",         "unlink",    "repoint",  "attr", "truncate", "extent",
        "punch", "xattr-set", "xattr-extent", "xattr-del", "relocate", "free", "segment"};
    struct told *t = arg;
    t->items++;
    t->problems += item->problem != NULL;
    if (item->problem)
        (void)snprintf(t->problem, sizeof t->problem, "%s", item->problem);
    t->data += !strcmp(item->kind, "data");
    t->gaps += !strcmp(item->kind, "unreadable");
    t->zeros += !strcmp(item->kind, "zeros");
    t->summaries += !strcmp(item->kind, "summary");
    for (size_t i = 1; i < OP_TYPES_PLAIN; i++)
        t->kinds[i] += item->depth == 2 && !strcmp(item->kind, ops[i]);
    if (item->depth < 2) {
        t->touches = t->touches && item->offset == t->end;
        t->end = item->offset + item->size;
    }
    for (size_t i = 0; i < item->n_fields; i++)
        if (item->fields[i].type == ENG_DUMP_BYTES && t->len + item->fields[i].len + 1 < sizeof t->text) {
            memcpy(t->text + t->len, item->fields[i].bytes, item->fields[i].len);
            t->len += item->fields[i].len;
            t->text[t->len++] = '\n';
        }
    return 0;
}

static struct told *dump(uint32_t segment)
{
    struct told *t = calloc(1, sizeof *t);
    UNIT_NEED(t);
    t->touches = true;
    cr_assert_eq(eng_dump(NULL, u.opt.io, segment, true, on_item, t), 0);
    return t;
}

/* A bit of everything, in one segment. */
static void fill(void)
{
    struct eng_caller who = {0};
    uint64_t a = unit_file(&u, "alpha", 5000, 1), b = unit_file(&u, "beta", 100, 2);
    uint8_t *value = unit_bytes(3072, 1);
    cr_assert_eq(eng_setxattr(u.eng, a, "user.big", value, 3072, 0), 0);
    cr_assert_eq(eng_setxattr(u.eng, a, "user.small", "tiny", 4, 0), 0);
    cr_assert_eq(eng_removexattr(u.eng, a, "user.small"), 0);
    free(value);
    cr_assert_eq(eng_fallocate(u.eng, a, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, 4096), 0);
    struct eng_attr attr = {.size = 10, .mode = 0600};
    cr_assert_eq(eng_setattr(u.eng, b, &attr, ENG_SET_SIZE, NULL), 0);
    cr_assert_eq(eng_setattr(u.eng, b, &attr, ENG_SET_MODE, NULL), 0);
    cr_assert_eq(eng_rename(u.eng, &who, ENG_ROOT_INO, "beta", ENG_ROOT_INO, "alpha", 0), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "alpha"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
}

Test(dump, tells_every_record)
{
    fill();
    struct told *t = dump(1);
    cr_assert_eq(t->problems, 0);
    cr_assert(t->touches, "a place of the file is told twice or not at all");
    for (size_t i = OP_CREATE; i <= OP_XATTR_DEL; i++)
        cr_assert_gt(t->kinds[i], 0, "operation %zu is not told", i);
    cr_assert_eq(t->data, 3);
    cr_assert(strstr(t->text, "alpha\n") && strstr(t->text, "user.big\n") && strstr(t->text, "tiny\n"));
    free(t);
}

static size_t past_ops;

static int on_past(void *arg, const struct eng_dump_item *item)
{
    past_ops += item->depth == 2 && (!strcmp(item->kind, "keep") || !strcmp(item->kind, "drop"));
    return on_item(arg, item);
}

/* What only a history has: ops of its own, and flags of those that names end by. */
Test(dump, tells_of_a_past)
{
    struct txn txn = {0};
    struct told *t = calloc(1, sizeof *t);
    uint64_t a = unit_file(&u, "alpha", 5000, 1);
    MUST(t && store_set_history(u.eng) == 0);
    uint64_t number = keep_state(&u, a);
    unit_write(&u, a, 100, 2, 0);
    drop_state(&u, number);
    MUST(commit_begin(u.eng) == 0);
    struct op *op = txn_op(&txn, OP_UNLINK);
    *op = (struct op){.type = OP_UNLINK,
                      .flags = OP_KEPT | OP_MOVED,
                      .parent = ENG_ROOT_INO,
                      .ino = a,
                      .name = "alpha",
                      .name_len = 5};
    past_commit(&u, &txn);
    MUST(eng_sync(u.eng) == 0);
    cr_assert_eq(eng_dump(NULL, u.opt.io, 1, true, on_past, t), 0);
    cr_assert_eq(t->problems, 0);
    cr_assert_eq(past_ops, 2);
    cr_assert(strstr(t->text, "kept moved\n"));
    free(t);
}

Test(dump, tells_survivors)
{
    uint64_t a = unit_file(&u, "alpha", 5000, 1);
    unit_file(&u, "beta", 5000, 2);
    unit_write(&u, a, 5000, 3, 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    bool survivors = false;
    for (uint32_t id = 2; id < u.eng->segments.next_id && !survivors; id++) {
        struct told *t = calloc(1, sizeof *t);
        t->touches = true;
        if (eng_dump(NULL, u.opt.io, id, true, on_item, t) == 0 && strstr(t->text, "survivors\n")) {
            survivors = true;
            cr_assert_eq(t->problems, 0);
            cr_assert_eq(t->data, 2);
            cr_assert_eq(t->summaries, 1);
            cr_assert(t->touches);
        }
        free(t);
    }
    cr_assert(survivors);
}

Test(dump, every_turned_byte_of_a_summary_is_told)
{
    size_t size;
    uint8_t *data;
    fill();
    pthread_mutex_lock(&u.eng->log.lock);
    uint64_t end = u.eng->log.tail;
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    pthread_mutex_unlock(&u.eng->log.lock);
    cr_assert_eq(simdisk_get(u.disk, log_name, &data, &size), 0);
    cr_assert_gt(size, end);
    struct told *t = dump(1);
    cr_assert(t->summaries == 1 && t->problems == 0 && t->touches && t->end == size);
    free(t);
    for (size_t i = end; i < size; i++) {
        data[i] ^= 0x5a;
        simdisk_put(u.disk, log_name, data, size);
        t = dump(1);
        MUST(t->problems == 1 && t->summaries + t->gaps == 1 && t->touches && t->end == size);
        free(t);
        data[i] ^= 0x5a;
    }
    free(data);
}

Test(dump, every_turned_byte_is_told)
{
    fill();
    size_t size;
    uint8_t *data;
    cr_assert_eq(simdisk_get(u.disk, log_name, &data, &size), 0);
    struct told *whole = dump(1);
    size_t untold = 0;
    for (size_t i = 0; i < size; i++) {
        data[i] ^= 0x5a;
        simdisk_put(u.disk, log_name, data, size);
        struct told *t = dump(1);
        MUST(t->items > 0 && t->touches && t->end == size);
        untold += t->problems == 0;
        free(t);
        data[i] ^= 0x5a;
    }
    /* Not covered by any checksum: what fills the extents up to 8 bytes, and their path hints. */
    cr_assert_leq(untold, whole->data * 16, "%zu bytes", untold);
    free(whole);
    free(data);
}

Test(dump, a_file_cut_anywhere_is_told_to_its_end)
{
    fill();
    size_t size;
    uint8_t *data;
    cr_assert_eq(simdisk_get(u.disk, log_name, &data, &size), 0);
    for (size_t n = 0; n < size; n++) {
        simdisk_put(u.disk, log_name, data, n);
        struct told *t = dump(1);
        MUST(t->items > 0 && t->touches && (n < sizeof(struct segment_header) || t->end == n));
        free(t);
    }
    free(data);
}

Test(dump, each_sector_that_cannot_be_read_is_told_and_no_more)
{
    fill();
    size_t size, n_whole;
    uint8_t *data;
    cr_assert_eq(simdisk_get(u.disk, log_name, &data, &size), 0);
    struct told *whole = dump(1);
    n_whole = whole->items;
    for (size_t at = 0; at < size; at += 512) {
        size_t end = MIN_OF(at + 512, size);
        simdisk_put(u.disk, log_name, data, size);
        cr_assert_eq(simdisk_spoil(u.disk, log_name, at, end), 0);
        struct told *t = dump(1);
        cr_assert(t->touches && t->end == size, "%zu", at);
        cr_assert_gt(t->problems, 0, "%zu", at);
        /* the smallest record takes 32 bytes */
        cr_assert_geq(t->items, n_whole - 512 / 32 - 3, "%zu: %zu of %zu", at, t->items, n_whole);
        free(t);
    }
    free(whole);
    /* what looks like zeros that were written ahead */
    data = realloc(data, size + 4096);
    memset(data + size, 0, 4096);
    simdisk_put(u.disk, log_name, data, size + 4096);
    cr_assert_eq(simdisk_spoil(u.disk, log_name, size + 1024, size + 1536), 0);
    struct told *t = dump(1);
    cr_assert_eq(t->zeros, 0);
    cr_assert_eq(t->problems, 1);
    cr_assert(strstr(t->problem, "cannot be read"), "%s", t->problem);
    free(t);
    free(data);
}

Test(dump, zeros_at_the_end_are_no_damage)
{
    fill();
    size_t size;
    uint8_t *data;
    cr_assert_eq(simdisk_get(u.disk, log_name, &data, &size), 0);
    data = realloc(data, size + 4096);
    memset(data + size, 0, 4096);
    simdisk_put(u.disk, log_name, data, size + 4096);
    struct told *t = dump(1);
    cr_assert_eq(t->zeros, 1);
    cr_assert_eq(t->problems, 0);
    free(t);
    free(data);
}

Test(dump, stops_when_it_is_told_to_and_finds_what_is_missing)
{
    fill();
    cr_assert_eq(eng_dump(NULL, u.opt.io, 99, false, on_item, NULL), -ENOENT);
    cr_assert_eq(eng_dump("/nonexistent", NULL, 1, false, on_item, NULL), -ENOENT);
}

struct until {
    uint64_t last;
    size_t later, at_once;
};

static int on_item_until(void *arg, const struct eng_dump_item *item)
{
    struct until *t = arg;
    t->last = item->offset + item->size;
    t->later += item->later;
    t->at_once += !item->later;
    return 0;
}

Test(dump, ends_where_it_is_told)
{
    fill();
    pthread_mutex_lock(&u.eng->log.lock);
    uint64_t tail = u.eng->log.tail;
    pthread_mutex_unlock(&u.eng->log.lock);
    struct until t = {0};
    cr_assert_eq(eng_dump_until(NULL, u.opt.io, 1, true, tail, on_item_until, &t), 0);
    cr_expect(t.last == tail && t.at_once && !t.later);
    t = (struct until){0};
    cr_assert_eq(eng_dump_until(NULL, u.opt.io, 1, true, 1000, on_item_until, &t), 0);
    cr_expect_eq(t.last, 1000);
    t = (struct until){0};
    cr_assert_eq(eng_dump_until(NULL, u.opt.io, 1, true, 10, on_item_until, &t), 0);
    cr_expect_eq(t.last, 10);
}

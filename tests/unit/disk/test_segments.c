/*
 * test_segments.c - segment files: numbers, pins, retirement, and verified reads. */
#include "disk/segments.h"

#include "simdisk.h"
#include "unit_store.h"

#include "rng.h"

#include <criterion/criterion.h>

static struct simdisk *disk;
static struct eng_io *io;
static struct fault_hook hook;
static struct segments segments;

static void setup(void)
{
    disk = simdisk_new();
    io = simdisk_io(disk);
    segments_init(&segments, io, &hook);
}

static void teardown(void)
{
    segments_free(&segments);
    simdisk_free(disk);
}

TestSuite(segments, .init = setup, .fini = teardown);

static struct segment *create(void)
{
    struct segment *seg;
    cr_assert_eq(segments_create(&segments, SEGMENT_LOG, 7, 8, 6, &seg), 0);
    return seg;
}

Test(segments, names_are_parsed_exactly)
{
    static const struct {
        const char *name;
        int expect;
        uint32_t id;
    } cases[] = {{"s00000001.seg", 0, 1},
                 {"sfffffffe.seg", 0, UINT32_MAX - 1},
                 {"s00000000.seg", -EINVAL, 0},
                 {"s0000001.seg", -EINVAL, 0},
                 {"s000000001.seg", -EINVAL, 0},
                 {"s00000001.seg.tmp", -EINVAL, 0},
                 {"s0000000A.seg", -EINVAL, 0},
                 {"S00000001.seg", -EINVAL, 0},
                 {"s+0000001.seg", -EINVAL, 0},
                 {"superblock", -EINVAL, 0},
                 {"", -EINVAL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t id = 0;
        char again[SEGMENT_NAME_SIZE];
        cr_assert_eq(segment_parse_name(cases[i].name, &id), cases[i].expect, "%s", cases[i].name);
        cr_assert_eq(id, cases[i].id);
        segment_name(id, again);
        cr_assert(cases[i].expect || strcmp(again, cases[i].name) == 0);
    }
}

Test(segments, creates_a_file_with_a_header)
{
    struct segment_header h;
    uint8_t *image;
    size_t size;
    memset(segments.uuid, 0x77, 16);
    struct segment *seg = create();
    cr_assert(seg->id == 1 && seg->pins == 1 && seg->kind == SEGMENT_LOG && seg->size == sizeof(h));
    cr_assert_eq(simdisk_get(disk, "s00000001.seg", &image, &size), 0);
    cr_assert_eq(size, sizeof(h));
    memcpy(&h, image, sizeof(h));
    cr_assert_eq(segment_header_check(&h, segments.uuid, 1), 0);
    cr_assert(h.first_seq == 7 && h.chain == 8 && h.durable_seq == 6);
    segments_unpin(seg);
    free(image);
}

Test(segments, numbers_are_used_once)
{
    struct segment *seg = create();
    cr_assert_eq(seg->id, 1);
    segments_unpin(seg);
    cr_assert_eq(segments_retire(&segments, 1), 0);
    seg = create();
    cr_assert_eq(seg->id, 2, "I1");
    segments_unpin(seg);
    cr_assert_eq(segments_add(&segments, 40, SEGMENT_LOG, 100), 0);
    cr_assert_eq(segments_add(&segments, 40, SEGMENT_LOG, 100), -EEXIST);
    seg = create();
    cr_assert_eq(seg->id, 41);
    segments_unpin(seg);
    segments.next_id = UINT32_MAX;
    cr_assert_eq(segments_create(&segments, SEGMENT_LOG, 1, 0, 0, &seg), -ENOSPC);
}

/* What is kept as a sum is what adding up gives, whatever came and went. */
Test(segments, the_sum_of_all_sizes_is_kept)
{
    struct segment *seg, *all[64] = {0};
    uint64_t rng = 5, sum, last = 0;
    for (unsigned step = 0; step < 4000; step++) {
        unsigned i = (unsigned)rng_below(&rng, ARRAY_LEN(all));
        unsigned what = (unsigned)rng_below(&rng, 4);
        if (!all[i] && what == 0) {
            all[i] = create();
        } else if (all[i] && what == 1) {
            uint32_t id = all[i]->id;
            cr_assert_eq(segments_remove(&segments, id, &seg), -EBUSY);
            segments_unpin(all[i]);
            cr_assert_eq(segments_retire(&segments, id), 0);
            all[i] = NULL;
        } else if (all[i]) {
            segments_resize(&segments, all[i], rng_below(&rng, 1 << 20));
        }
        sum = 0;
        for (uint32_t id = 0; (id = segments_after(&segments, id)) != 0;)
            sum += segments_size_of(&segments, id);
        cr_assert_eq(segments_bytes(&segments), sum, "step %u", step);
        last = MAX_OF(last, sum);
    }
    cr_assert_gt(last, 1 << 20);
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        segments_unpin(all[i]);
}

Test(segments, a_failed_creation_leaves_no_file)
{
    static const enum sim_call calls[] = {SIM_CREATE, SIM_PWRITEV};
    struct segment *seg;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        simdisk_fail(disk, calls[i], 1, ENOSPC);
        cr_assert_eq(segments_create(&segments, SEGMENT_LOG, 1, 0, 0, &seg), -ENOSPC);
        uint64_t bytes = segments_bytes(&segments);
        cr_assert_eq(bytes, 0);
        for (uint32_t id = 1; id < 5; id++) {
            char name[SEGMENT_NAME_SIZE];
            uint8_t *image;
            size_t size;
            segment_name(id, name);
            cr_assert_eq(simdisk_get(disk, name, &image, &size), -ENOENT);
            cr_assert_not(segments_has(&segments, id));
        }
    }
    segments_unpin(create());
}

Test(segments, a_pinned_segment_is_not_retired)
{
    struct segment *a = create(), *again;
    cr_assert_eq(segments_pin(&segments, 1, &again), 0);
    cr_assert_eq(a, again);
    cr_assert_eq(segments_pinned(&segments), 1);
    cr_assert_eq(segments_retire(&segments, 1), -EBUSY);
    segments_unpin(a);
    cr_assert_eq(segments_retire(&segments, 1), -EBUSY, "pinned twice");
    segments_unpin(again);
    cr_assert_eq(segments_pinned(&segments), 0);
    cr_assert_eq(segments_retire(&segments, 1), 0);
    cr_assert_eq(segments_retire(&segments, 1), -ENOENT);
    cr_assert_eq(segments_pin(&segments, 1, &again), -ENOENT);
    cr_assert_eq(segments_pin(&segments, 77, &again), -ENOENT);
    cr_assert_eq(segments_size_of(&segments, 1), 0);
    segments_unpin(NULL);
}

Test(segments, a_segment_whose_unlink_fails_is_gone_all_the_same)
{
    struct segment *seg = create();
    segments_unpin(seg);
    simdisk_fail(disk, SIM_UNLINK, 1, EIO);
    cr_assert_eq(segments_retire(&segments, 1), -EIO);
    cr_assert_eq(segments_pin(&segments, 1, &seg), -ENOENT);
    cr_assert_not(segments_has(&segments, 1));
}

Test(segments, only_so_many_files_stay_open)
{
    struct segment *seg;
    unsigned refused = 0;
    for (uint32_t id = 1; id <= 700; id++) {
        char name[SEGMENT_NAME_SIZE];
        segment_name(id, name);
        simdisk_put(disk, name, name, sizeof(name));
        cr_assert_eq(segments_add(&segments, id, SEGMENT_LOG, sizeof(name)), 0);
    }
    cr_assert_eq(segments_bytes(&segments), 700 * SEGMENT_NAME_SIZE);
    cr_assert_eq(segments_pin(&segments, 1, &seg), 0);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t id = 2; id <= 700; id++) {
            struct segment *other;
            char name[SEGMENT_NAME_SIZE], back[SEGMENT_NAME_SIZE];
            cr_assert_eq(segments_pin(&segments, id, &other), 0);
            segment_name(id, name);
            cr_assert_eq(io_pread_full(other->file, io->ops, back, sizeof(back), 0), sizeof(back));
            cr_assert_str_eq(back, name);
            segments_unpin(other);
        }
        cr_assert_leq(segments.n_open, 512);
        cr_assert_not_null(seg->file, "a pinned one is never closed");
    }
    simdisk_fail(disk, SIM_OPEN, 1, EMFILE);
    segments_unpin(seg);
    for (uint32_t id = 2; id <= 700; id++) { /* some of them are closed by now */
        struct segment *other;
        int r = segments_pin(&segments, id, &other);
        if (r) {
            cr_assert_eq(r, -EMFILE);
            refused++;
            cr_assert_eq(segments_pin(&segments, id, &other), 0);
        }
        segments_unpin(other);
    }
    cr_assert_eq(refused, 1);
}

Test(segments, those_just_made_count_as_well)
{
    for (unsigned i = 0; i < 600; i++) {
        struct segment *seg;
        cr_assert_eq(segments_create(&segments, SEGMENT_SURVIVORS, 1, 0, 0, &seg), 0);
        segments_unpin(seg);
        cr_assert_leq(segments.n_open, 512);
    }
}

/* ---- verified reads -------------------------------------------------------------------- */

#define LEN 20000u

/* One extent of LEN bytes of inode 9, at file offset 1000. */
static struct segment *with_extent(struct locator *ret_loc, uint8_t **ret_payload)
{
    struct segment *seg = create();
    uint8_t *image = calloc(1, extent_size(LEN, 0));
    *ret_payload = unit_bytes(LEN, 1);
    (void)extent_head_encode(image, 9, 1000, 5, *ret_payload, LEN, NULL, 0);
    memcpy(image + extent_head_size(LEN), *ret_payload, LEN);
    struct iovec iov = {image, extent_size(LEN, 0)};
    cr_assert_eq(io_pwritev_full(seg->file, io->ops, &iov, 1, 800), 0);
    *ret_loc = (struct locator){.seg = seg->id, .off8 = 100, .len = LEN, .ext_len = LEN};
    free(image);
    return seg;
}

Test(segments, any_range_of_an_extent_can_be_read)
{
    struct locator whole;
    uint8_t *payload, buf[LEN];
    struct segment *seg = with_extent(&whole, &payload);
    static const uint32_t edges[] = {0, 1, 4095, 4096, 4097, 8192, 16384, 19999, LEN};
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        for (size_t j = i + 1; j < ARRAY_LEN(edges); j++) {
            struct locator part = whole; /* [skip, skip + len) of it, and a range of that */
            part.skip = edges[i];
            part.len = edges[j] - edges[i];
            uint64_t off = 1000 + part.skip;
            cr_assert_eq(segment_read(seg, io->ops, 9, off, &part, 0, part.len, buf), 0);
            cr_assert_eq(memcmp(buf, payload + part.skip, part.len), 0);
            cr_assert_eq(segment_read(seg, io->ops, 9, off, &part, part.len - 1, 1, buf), 0);
            cr_assert_eq(buf[0], payload[edges[j] - 1]);
        }
    }
    segments_unpin(seg);
    free(payload);
}

Test(segments, what_is_not_that_extent_is_damage)
{
    struct locator loc, other;
    uint8_t *payload, buf[LEN];
    struct segment *seg = with_extent(&loc, &payload);
    cr_assert_eq(segment_read(seg, io->ops, 8, 1000, &loc, 0, 1, buf), -EBADMSG, "another inode");
    cr_assert_eq(segment_read(seg, io->ops, 9, 1001, &loc, 0, 1, buf), -EBADMSG, "another offset");
    cr_assert_eq(segment_read(seg, io->ops, 9, EXTENT_XATTR_OFF, &loc, 0, 1, buf), -EBADMSG, "an xattr");
    other = loc;
    other.off8++;
    cr_assert_eq(segment_read(seg, io->ops, 9, 1000, &other, 0, 1, buf), -EBADMSG, "another place");
    other = loc;
    other.ext_len--;
    cr_assert_eq(segment_read(seg, io->ops, 9, 1000, &other, 0, 1, buf), -EBADMSG, "another length");
    other = loc;
    other.off8 = UINT32_MAX;
    cr_assert_eq(segment_read(seg, io->ops, 9, 1000, &other, 0, 1, buf), -EBADMSG, "behind the end");
    memset(buf, 0xee, LEN);
    cr_assert_eq(simdisk_flip(disk, "s00000001.seg", 800 + extent_head_size(LEN) + 5000, 1), 0);
    cr_assert_eq(segment_read(seg, io->ops, 9, 1000, &loc, 0, LEN, buf), -EBADMSG);
    for (unsigned i = 0; i < LEN; i++)
        cr_assert(buf[i] == 0xee, "not a byte of it was handed out (I6)");
    cr_assert_eq(segment_read(seg, io->ops, 9, 1000, &loc, 0, 4096, buf), 0);
    simdisk_fail(disk, SIM_PREAD, 1, EIO);
    cr_assert_eq(segment_read(seg, io->ops, 9, 1000, &loc, 0, 4096, buf), -EIO);
    cr_assert_eq(io->ops->truncate(seg->file, 5000), 0);
    cr_assert_eq(segment_read(seg, io->ops, 9, 1000, &loc, 0, LEN, buf), -EBADMSG, "cut off");
    segments_unpin(seg);
    free(payload);
}

/*
 * test_extents.c - the map from offsets to locators: holes punched at every
 * position, moves that compare, and random histories against a byte-wise map. */
#include "index/apply.h"
#include "index/extents.h"

#include "base/util.h"
#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>

#define SEG 5u
#define SIZE 400u

static struct index idx;
static uint64_t ino;
static uint32_t slot;

static void setup(void)
{
    static const struct op create = {.type = OP_CREATE, .ino = 1, .mode = S_IFDIR | 0755};
    cr_assert_eq(index_init(&idx, 1), 0);
    cr_assert_eq(index_reserve(&idx, &create, 1), 0);
    cr_assert_eq(index_apply(&idx, &create, 1), 0);
    ino = index_predict_ino(&idx, NULL);
    slot = ino_slot(ino);
    const struct op file = {.type = OP_CREATE, .ino = ino, .mode = S_IFREG | 0644};
    cr_assert_eq(index_reserve(&idx, &file, 1), 0);
    cr_assert_eq(index_apply(&idx, &file, 2), 0);
    for (uint32_t seg = SEG; seg < SEG + 3; seg++) {
        cr_assert_eq(index_touch_segment(&idx, seg, SEGMENT_LOG, 1), 0);
        cr_assert_eq(segment_account(&idx, seg, 0, 1000000, 0), 0);
    }
}

static void teardown(void)
{
    index_free(&idx);
}

TestSuite(extents, .init = setup, .fini = teardown);

static void reserve(void)
{
    const struct op op = {.type = OP_PUNCH, .ino = ino};
    MUST(index_reserve(&idx, &op, 1) == 0);
}

static void put(uint64_t off, uint32_t off8, uint32_t len)
{
    const struct locator loc = {SEG, off8, 0, len, len};
    reserve();
    MUST(extents_put(&idx, slot, off, &loc) == 0);
}

/* The map as text: "off:off8+skip+len ...". */
static const char *text(void)
{
    static char buf[512];
    size_t n = 0;
    uint64_t at = 0, off;
    struct locator loc;
    buf[0] = 0;
    while (index_extent(&idx, slot, at, &off, &loc) == 0 && n < sizeof(buf) - 64) {
        n += (size_t)snprintf(buf + n, sizeof(buf) - n, "%s%llu:%u+%u+%u", n ? " " : "",
                              (unsigned long long)off, loc.off8, loc.skip, loc.len);
        at = off + loc.len;
    }
    return buf;
}

Test(extents, holes_at_every_position)
{
    static const struct {
        uint64_t off, len;
        const char *expect;
        uint64_t live;
    } cases[] = {
        {0, 0, "0:1+0+100 100:2+0+50 200:3+0+100", 250},
        {0, 100, "100:2+0+50 200:3+0+100", 150},
        {0, 1, "1:1+1+99 100:2+0+50 200:3+0+100", 249},
        {99, 1, "0:1+0+99 100:2+0+50 200:3+0+100", 249},
        {40, 20, "0:1+0+40 60:1+60+40 100:2+0+50 200:3+0+100", 230},
        {90, 20, "0:1+0+90 110:2+10+40 200:3+0+100", 230},
        {90, 120, "0:1+0+90 210:3+10+90", 180},
        {150, 50, "0:1+0+100 100:2+0+50 200:3+0+100", 250}, /* a hole already */
        {149, 52, "0:1+0+100 100:2+0+49 201:3+1+99", 248},
        {250, UINT64_MAX, "0:1+0+100 100:2+0+50 200:3+0+50", 200},
        {300, 1000, "0:1+0+100 100:2+0+50 200:3+0+100", 250},
        {0, UINT64_MAX, "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        teardown();
        setup();
        put(0, 1, 100);
        put(100, 2, 50);
        put(200, 3, 100);
        reserve();
        uint64_t generation = index_slot(&idx, slot)->generation;
        cr_assert_eq(extents_punch(&idx, slot, cases[i].off, cases[i].len, 77), 0);
        cr_assert_str_eq(text(), cases[i].expect, "case %zu: %s", i, text());
        const struct inode_rec *inode = index_slot(&idx, slot);
        const struct seg_rec *seg = index_segment(&idx, SEG);
        cr_assert(inode_bytes(inode) == cases[i].live && seg->live == cases[i].live &&
                  idx.s.live == cases[i].live);
        cr_assert_eq(seg->total, 1000000);
        cr_assert_eq(seg->n_live, inode_n_extents(inode));
        cr_assert_eq(seg->death_seq, cases[i].live < 250 ? 77 : 0, "I4 asks for the last death");
        cr_assert_eq(inode->generation > generation, cases[i].live < 250, "I2");
    }
}

Test(extents, the_first_one_stands_in_the_inode)
{
    const struct inode_rec *inode = index_slot(&idx, slot);
    put(0, 1, 100);
    inode = index_slot(&idx, slot);
    cr_assert(inode->flags & INODE_INLINE);
    cr_assert_eq(idx.extents.count, 0);
    put(100, 2, 100);
    inode = index_slot(&idx, slot);
    cr_assert_not(inode->flags & INODE_INLINE);
    cr_assert_eq(idx.extents.count, 2);
    reserve();
    cr_assert_eq(extents_punch(&idx, slot, 0, 200, 3), 0);
    cr_assert_eq(idx.extents.count, 0);
    put(0, 3, 10);
    cr_assert(index_slot(&idx, slot)->flags & INODE_INLINE);
    reserve();
    cr_assert_eq(extents_punch(&idx, slot, 0, 5, 3), 0); /* what is left does not begin at 0 */
    cr_assert_not(index_slot(&idx, slot)->flags & INODE_INLINE);
    cr_assert_str_eq(text(), "5:3+5+5");
}

Test(extents, a_move_compares_the_whole_location)
{
    const struct locator from = {SEG, 10, 4, 96, 100}, to = {SEG + 1, 50, 0, 96, 96};
    for (int in_tree = 0; in_tree < 2; in_tree++) {
        uint64_t off = in_tree ? 500 : 0;
        reserve();
        cr_assert_eq(extents_put(&idx, slot, off, &from), 0);
        struct locator wrong[5] = {from, from, from, from, from};
        wrong[0].seg++;
        wrong[1].off8++;
        wrong[2].skip++;
        wrong[3].len--;
        wrong[4].ext_len++;
        for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
            cr_assert_eq(extents_move(&idx, slot, off, &wrong[i], &to, 9), 1, "I3, field %zu", i);
        cr_assert_eq(extents_move(&idx, slot, off + 1, &from, &to, 9), 1, "another slot");
        cr_assert_eq(index_segment(&idx, SEG)->live, 96);
        cr_assert_eq(extents_move(&idx, slot, off, &from, &to, 9), 0);
        cr_assert_eq(extents_move(&idx, slot, off, &from, &to, 9), 1, "it is not there any more");
        cr_assert_eq(index_segment(&idx, SEG)->live, 0);
        cr_assert_eq(index_segment(&idx, SEG)->death_seq, 9);
        cr_assert_eq(index_segment(&idx, SEG + 1)->live, 96u * (unsigned)(in_tree + 1));
        cr_assert_eq(index_segment(&idx, SEG + 1)->death_seq, 0);
    }
    cr_assert_eq(extents_move(&idx, 9999, 0, &from, &to, 9), 1, "no such inode");
}

Test(extents, what_cannot_be_is_refused)
{
    const struct locator none = {SEG, 1, 0, 0, 10}, lost = {99, 1, 0, 10, 10}, good = {SEG, 1, 0, 10, 10};
    reserve();
    cr_assert_eq(extents_put(&idx, slot, 0, &none), -EBADMSG);
    cr_assert_eq(extents_put(&idx, 9999, 0, &good), -EBADMSG);
    cr_assert_eq(extents_put(&idx, slot, 0, &lost), -EBADMSG, "a segment that nobody knows");
    teardown();
    setup();
    put(5, 1, 10);
    reserve();
    cr_assert_eq(extents_put(&idx, slot, 5, &good), -EBADMSG, "something is there");
    cr_assert_eq(segment_account(&idx, SEG, -11, 0, 1), -EBADMSG, "more dies than lives");
}

/* Each byte of the file: the place of its content, or 0. */
static struct {
    uint32_t seg, place;
} map[SIZE];

static void compare(void)
{
    uint64_t off, live = 0;
    struct locator loc;
    unsigned n = 0;
    for (uint64_t at = 0; at < SIZE;) {
        int r = index_extent(&idx, slot, at, &off, &loc);
        uint64_t end = r ? SIZE : MAX_OF(off, at);
        for (; at < end; at++)
            MUST(map[at].seg == 0);
        if (r)
            break;
        MUST(off == at); /* all of an extent is found from its first byte on */
        for (; at < off + loc.len; at++)
            MUST(map[at].seg == loc.seg && map[at].place == loc.off8 * 8 + loc.skip + (at - off));
        live += loc.len;
        n++;
    }
    const struct inode_rec *inode = index_slot(&idx, slot);
    MUST(inode_bytes(inode) == live && inode_n_extents(inode) == n && idx.s.live == live);
    uint64_t sum = 0, n_live = 0;
    for (uint32_t seg = SEG; seg < SEG + 3; seg++) {
        sum += index_segment(&idx, seg)->live;
        n_live += index_segment(&idx, seg)->n_live;
    }
    MUST(sum == live && n_live == n);
}

Test(extents, random_histories_agree_with_a_bytewise_map)
{
    uint64_t rng = test_seed();
    uint32_t place = 1;
    struct index view;
    uint64_t freeze = 0;
    for (unsigned i = 0; i < 40000; i++) {
        uint64_t off = rng_below(&rng, SIZE), len = 1 + rng_below(&rng, rng_below(&rng, 4) ? 12 : SIZE - off);
        uint32_t seg = SEG + (uint32_t)rng_below(&rng, 3);
        len = MIN_OF(len, SIZE - off);
        uint64_t kind = rng_below(&rng, 10), at;
        struct locator loc;
        reserve();
        if (kind < 7) { /* a hole, or a write */
            MUST(extents_punch(&idx, slot, off, len, i) == 0);
            memset(&map[off], 0, len * sizeof(map[0]));
        }
        if (kind < 5) {
            loc = (struct locator){seg, place, 0, (uint32_t)len, (uint32_t)len};
            MUST(extents_put(&idx, slot, off, &loc) == 0);
            for (uint64_t b = 0; b < len; b++) {
                map[off + b].seg = seg;
                map[off + b].place = place * 8 + (uint32_t)b;
            }
            place += 100;
        } else if (kind >= 7 && index_extent(&idx, slot, off, &at, &loc) == 0) {
            struct locator to = {seg, place, 0, loc.len, loc.len};
            MUST(extents_move(&idx, slot, at, &loc, &to, i) == 0);
            for (uint64_t b = 0; b < loc.len; b++) {
                map[at + b].seg = seg;
                map[at + b].place = place * 8 + (uint32_t)b;
            }
            place += 100;
        }
        if (i % 10 == 0)
            compare();
        if (i % 1000 == 500)
            MUST(index_freeze(&idx, NULL, &view, &freeze) == 0);
        if (i % 1000 == 900) {
            index_free(&view);
            index_thaw(&idx, freeze);
        }
    }
    cr_assert_eq(chunk_pool_overdrafts(idx.pool), 0);
}

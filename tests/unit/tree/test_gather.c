/*
 * test_gather.c - however a file is written, a block of it is in few extents, so that a read is put together
 * from few pieces. Each history is run once more with the bound lifted, to see that it is one that tries. */
#include "hook.h"
#include "index/extents.h"
#include "inside.h"

#include "must.h"
#include "one_file.h"
#include "rng.h"

#include <criterion/criterion.h>

#define BYTES (64u << 10) /* of the file */
#define MOST 17u          /* extents of a block: 16, and one that reaches in from the block before */

static uint8_t want[BYTES];
static size_t want_size;

TestSuite(gather, .init = setup, .fini = teardown);

static void put(size_t off, size_t size, uint8_t byte)
{
    memset(want + off, byte, size);
    want_size = MAX_OF(want_size, off + size);
    MUST(eng_write(u.eng, f, want + off, size, off) == (ssize_t)size);
}

static void set_size(size_t size)
{
    const struct eng_attr attr = {.size = size};
    if (size < want_size)
        memset(want + size, 0, want_size - size);
    want_size = size;
    MUST(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL) == 0);
}

static void punch(size_t off, size_t size, unsigned flags)
{
    memset(want + off, 0, size);
    MUST(eng_fallocate(u.eng, f, flags | ENG_FALLOC_KEEP_SIZE, off, size) == 0);
}

static uint32_t most_in_a_block(void)
{
    uint32_t most = 0, n;
    uint64_t end;
    for (uint64_t at = 0; at < BYTES; at += BLOCK_SIZE) {
        MUST(extents_count(&u.eng->idx, ino_slot(f), at, at + BLOCK_SIZE, UINT32_MAX, &n, &end) == 0);
        most = MAX_OF(most, n);
    }
    return most;
}

/* ---- histories --------------------------------------------------------------------------------- */

static void each_second_byte(void)
{
    put(0, BYTES, 1);
    for (size_t i = 0; i < BYTES; i += 2)
        put(i, 1, 2);
}

static void backwards(void)
{
    set_size(BYTES);
    for (size_t i = BYTES; i-- > 0;)
        put(i, 1, (uint8_t)(1 + i % 251));
}

static void across_blocks(void)
{
    put(0, BYTES, 1);
    for (size_t i = BLOCK_SIZE; i < BYTES; i += BLOCK_SIZE)
        for (size_t k = 400; k > 0; k -= 2) {
            put(i - k, 2 * k - 1, (uint8_t)k);
            put(i - k, 1, (uint8_t)~k);
            put(i + k, 1, (uint8_t)~k);
        }
}

static void gaps_at_the_end(void)
{
    for (size_t i = 0; i + 2 < BYTES; i += 2) {
        set_size(i + 1);
        want[i + 1] = 3;
        MUST(eng_append(u.eng, f, want + i + 1, 1, NULL) == 1);
        want_size = i + 2;
    }
}

static void behind_the_end(void)
{
    for (size_t i = 1; i < BYTES; i += 3)
        put(i, 1, 4);
}

static void holes(void)
{
    put(0, BYTES, 1);
    for (size_t i = 0; i < BYTES; i += 2)
        punch(i, 1, ENG_FALLOC_PUNCH_HOLE);
}

static void zeros(void)
{
    put(0, BYTES, 1);
    for (size_t i = 1; i < BYTES; i += 2)
        punch(i, 1, ENG_FALLOC_ZERO_RANGE);
}

static void long_holes(void) /* each from within one block into the next but one */
{
    put(0, BYTES, 1);
    for (size_t i = 0; i < 3 * BLOCK_SIZE; i += 4) {
        put(i, 2 * BLOCK_SIZE + 3, 5);
        punch(i + 1, 2 * BLOCK_SIZE, ENG_FALLOC_PUNCH_HOLE);
    }
}

static uint64_t rng;

static void anything(void)
{
    static unsigned n;
    for (unsigned i = 0; i < 30000; i++) {
        size_t off = (size_t)rng_below(&rng, BYTES / 4 - 40), size = 1 + (size_t)rng_below(&rng, 3);
        if (rng_below(&rng, 50) == 0)
            size = 1 + (size_t)rng_below(&rng, 9000);
        switch (rng_below(&rng, 8)) {
        case 0:
            punch(off, MIN_OF(size, (size_t)BYTES - off), ENG_FALLOC_PUNCH_HOLE);
            break;
        case 1:
            if (rng_below(&rng, 100) == 0)
                set_size(off);
            break;
        default:
            put(off, size, (uint8_t)++n);
        }
    }
}

static const struct history {
    const char *name;
    void (*run)(void);
} histories[] = {
    {"each second byte", each_second_byte},
    {"backwards", backwards},
    {"across blocks", across_blocks},
    {"gaps at the end", gaps_at_the_end},
    {"behind", behind_the_end},
    {"holes", holes},
    {"zeros", zeros},
    {"long holes", long_holes},
    {"anything", anything},
};

static uint32_t run(const struct history *h, uint32_t block_extents)
{
    teardown();
    setup();
    memset(want, 0, sizeof want);
    want_size = 0;
    hook_block_extents(u.eng, block_extents);
    h->run();
    cr_assert_eq(unit_attr(&u, f).size, want_size, "%s", h->name);
    cr_assert(unit_holds_bytes(&u, f, want, want_size), "%s", h->name);
    cr_assert_eq(unit_problems(&u), 0, "%s", h->name);
    uint32_t most = most_in_a_block();
    unit_reopen(&u);
    cr_assert(unit_holds_bytes(&u, f, want, want_size), "%s", h->name);
    return most;
}

Test(gather, a_block_is_in_few_extents, .timeout = 200)
{
    uint64_t seed = rng = test_seed();
    for (size_t i = 0; i < ARRAY_LEN(histories); i++) {
        uint32_t most = run(&histories[i], 0);
        cr_assert_leq(most, MOST, "%s: %u", histories[i].name, most);
        rng = seed;
        most = run(&histories[i], UINT32_MAX);
        cr_assert_gt(most, 2 * MOST, "%s tries nothing: %u", histories[i].name, most);
    }
}

/* ---- others beside ------------------------------------------------------------------------------- */

static size_t next_byte;

/* Each write finds that another one came first, so that what it knows of its block is out of date. */
static void one_more(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_WRITE_DRAFTED || next_byte + 4 > BYTES)
        return;
    hook_set(u.eng, NULL, NULL);
    for (unsigned i = 0; i < 3; i++, next_byte += 2)
        put(next_byte, 1, 9);
    hook_set(u.eng, one_more, NULL);
}

Test(gather, writers_that_race_add_no_more, .timeout = 200)
{
    put(0, BYTES, 1);
    next_byte = 0;
    hook_set(u.eng, one_more, NULL);
    while (next_byte + 40 < BYTES) {
        size_t mine = next_byte + 21;
        put(mine, 1, 7);
        want[mine] = 7;
        cr_assert_leq(most_in_a_block(), MOST);
    }
    hook_set(u.eng, NULL, NULL);
    cr_assert(unit_holds_bytes(&u, f, want, BYTES));
}

/* Big writes that end within crowded blocks stay whole extents beside what they take along. */
Test(gather, only_the_blocks_at_both_ends_are_taken_along)
{
    each_second_byte();
    uint64_t total = unit_stats(&u).total_bytes;
    put(BLOCK_SIZE + 100, 3 * BLOCK_SIZE, 8);
    total = unit_stats(&u).total_bytes - total;
    cr_assert_leq(total, 4 * BLOCK_SIZE, "%llu", (unsigned long long)total);
    cr_assert(unit_holds_bytes(&u, f, want, BYTES));
}

/* What cannot be read is not taken along, and is not written over. */
Test(gather, what_is_damaged_stays_where_it_is)
{
    each_second_byte();
    uint64_t off;
    struct locator loc;
    MUST(index_extent(&u.eng->idx, ino_slot(f), 4, &off, &loc) == 0);
    unit_damage(&u, &loc, loc.skip);
    for (size_t i = 1000; i < 1200; i += 2)
        put(i, 1, 6);
    uint8_t got;
    cr_assert_eq(eng_read(u.eng, f, &got, 1, 1100), 1);
    cr_assert_eq(got, 6);
    cr_assert_eq(eng_read(u.eng, f, &got, 1, off), -EIO);
}

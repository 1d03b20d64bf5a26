/*
 * test_rewrite.c - writes that take content along, and gathering, in a store that has a history: only what
 * differs goes to the past, and what comes to another place alone is no change.
 *
 *     test_rewrite --verbose --filter rewrite/costs_as_much_as_ever      prints bytes of the log */
#include "hook.h"
#include "index/extents.h"
#include "past_states.h"
#include "rng.h"
#include "tree/content.h"

#include <criterion/criterion.h>

static struct unit u;
static uint64_t f;

static void setup(void)
{
    unit_new(&u, 0);
    MUST(store_set_history(u.eng) == 0);
    f = unit_create(&u, "f");
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(rewrite, .init = setup, .fini = teardown, .timeout = 200);

static const struct inode_rec *head(void)
{
    return index_inode(&u.eng->idx, f);
}

/* ---- appends ------------------------------------------------------------------------------- */

#define APPENDS 10000u
#define APPEND_MAX 200u

static uint8_t all[APPENDS * APPEND_MAX];
static uint64_t sizes[APPENDS + 1]; /* after so many appends */
static uint64_t states[APPENDS];    /* number i: the state of so many, kept before the next */
static unsigned n_appends;          /* that are there */

static void append_one(uint64_t *rng)
{
    uint64_t at = sizes[n_appends], size = 1 + rng_below(rng, APPEND_MAX);
    for (uint64_t i = 0; i < size; i++)
        all[at + i] = (uint8_t)rng_below(rng, 256);
    states[n_appends] = keep_state(&u, f);
    MUST(eng_append(u.eng, f, all + at, size, NULL) == (ssize_t)size);
    sizes[++n_appends] = at + size;
}

/* What a crash has taken was the end: so many are left, and perhaps a state that was kept before one that is
 * not. */
static void count_appends(void)
{
    uint64_t size = head()->size;
    while (n_appends && sizes[n_appends] > size)
        n_appends--;
    cr_assert_eq(sizes[n_appends], size, "each is there as a whole");
    uint64_t n = u.eng->idx.s.n_past;
    cr_assert(n == n_appends || n == n_appends + 1u, "%llu of %u", (unsigned long long)n, n_appends);
    if (n > n_appends) { /* the same once more is one state too many */
        uint32_t slot = head()->past;
        (void)past_commit_op(&u, &(struct op){.type = OP_DROP,
                                              .past = index_ino(index_slot(&u.eng->idx, slot), slot),
                                              .len = UINT64_MAX});
    }
}

/* Each state is there, in this order, and what it keeps for itself is nothing. Of one in `step` the end is
 * read, and of some all. */
static void expect_appends(unsigned step)
{
    const struct index *idx = &u.eng->idx;
    uint8_t buf[2 * APPEND_MAX];
    uint32_t slot = head()->past;
    for (unsigned i = n_appends; i-- > 0; slot = index_slot(idx, slot)->past) {
        const struct inode_rec *past = index_slot(idx, slot);
        MUST(past && index_ino(past, slot) == states[i] && past->size == sizes[i]);
        MUST(inode_n_extents(past) == 0);
        if (i % step)
            continue;
        uint64_t off = sizes[i] - MIN_OF(sizes[i], (uint64_t)sizeof buf);
        MUST(past_bytes(&u, states[i], buf, off, sizes[i]));
        MUST(memcmp(buf, all + off, sizes[i] - off) == 0);
        if (i % 499 == 0)
            MUST(past_holds_bytes(&u, states[i], all, sizes[i]));
    }
    MUST(slot == 0 && idx->s.past_live == 0);
    cr_assert(unit_holds_bytes(&u, f, all, sizes[n_appends]));
}

Test(rewrite, of_ten_thousand_appends_each_state_is_there)
{
    uint64_t rng = test_seed();
    while (n_appends < APPENDS)
        append_one(&rng);
    expect_appends(1);
    cr_assert_lt(inode_n_extents(head()), 300, "small ones are taken along as ever");
    cr_assert_eq(unit_stats(&u).live_bytes, sizes[APPENDS]);
    unit_reopen(&u);
    expect_appends(100);
    cr_assert_eq(unit_problems(&u), 0);
}

/* The process dies, or the power fails, again and again. */
Test(rewrite, of_appends_before_a_crash_each_state_is_there)
{
    uint64_t rng = test_seed();
    for (unsigned life = 0; life < 60; life++) {
        unsigned synced = n_appends;
        for (uint64_t n = rng_below(&rng, 60); n > 0; n--) {
            append_one(&rng);
            if (rng_below(&rng, 20) == 0) {
                MUST(eng_sync(u.eng) == 0);
                synced = n_appends;
            }
        }
        unit_kill(&u, (enum sim_survival)(life % SIM_N_SURVIVALS), rng);
        unit_open(&u);
        count_appends();
        cr_assert_geq(n_appends, synced);
        expect_appends(1);
    }
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- whatever is written ---------------------------------------------------------------------- */

#define BYTES (48u << 10) /* of the file */
#define KEPT 24u

static struct kept {
    uint64_t number;
    size_t size;
    uint8_t bytes[BYTES];
} kept[KEPT], now;
static unsigned n_kept;
static unsigned n_tails, n_past_tails; /* writes that met one */

static void keep_now(void)
{
    kept[n_kept] = now;
    kept[n_kept++].number = keep_state(&u, f);
}

static void expect_kept(const char *when)
{
    for (unsigned i = 0; i < n_kept; i++)
        cr_assert(past_holds_bytes(&u, kept[i].number, kept[i].bytes, kept[i].size), "%s: state %u", when, i);
    cr_assert(unit_holds_bytes(&u, f, now.bytes, now.size), "%s", when);
}

static void put(size_t off, size_t size, uint8_t byte)
{
    n_tails += (head()->flags & INODE_TAIL) > 0;
    n_past_tails += (head()->flags & INODE_PAST_TAIL) > 0;
    memset(now.bytes + off, byte, size);
    MUST(eng_write(u.eng, f, now.bytes + off, size, off) == (ssize_t)size);
    now.size = MAX_OF(now.size, off + size);
}

static void punch(size_t off, size_t size)
{
    MUST(eng_fallocate(u.eng, f, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, off, size) == 0);
    memset(now.bytes + off, 0, MIN_OF(size, now.size > off ? now.size - off : 0));
}

/* Leaves a tail, as a crash may, where that may be. */
static void set_size(size_t size)
{
    const struct eng_attr attr = {.size = size};
    if (size < now.size && !(head()->flags & INODE_TAIL))
        (void)past_commit_op(&u, &(struct op){.type = OP_TRUNCATE, .flags = OP_LATER, .ino = f, .len = size});
    else
        MUST(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL) == 0);
    memset(now.bytes + size, 0, BYTES - size);
    now.size = size;
}

static void change_something(uint64_t *rng)
{
    static uint8_t byte;
    size_t size = 1 + (size_t)rng_below(rng, rng_below(rng, 60) ? 4 : 9000);
    size_t off = (size_t)rng_below(rng, rng_below(rng, 3) ? 3 * BLOCK_SIZE : BYTES - 9001);
    size_t end = now.size;
    byte++;
    switch (rng_below(rng, 12)) {
    case 0:
        punch(off, size);
        break;
    case 1:
        if (rng_below(rng, 20) == 0)
            set_size(off);
        break;
    case 2: /* behind the end, perhaps within a crowded block */
        put(MIN_OF(end + (size_t)rng_below(rng, 30), (size_t)BYTES - 9001), size, byte);
        break;
    case 3:
    case 4:
        put(MIN_OF(end, (size_t)BYTES - 9001), size, byte);
        break;
    case 5:
        if (rng_below(rng, 20) == 0)
            MUST(content_gather(u.eng, f, off, off + 20000) == 0);
        break;
    default:
        put(off, size, byte);
    }
}

Test(rewrite, of_whatever_is_written_each_state_is_there)
{
    uint64_t rng = test_seed();
    for (unsigned store = 0; store < 6; store++) {
        hook_slice(u.eng, store % 3 * 5);
        for (n_kept = 0; n_kept < KEPT;) {
            for (uint64_t n = rng_below(&rng, 400); n > 0; n--)
                change_something(&rng);
            keep_now();
            if (rng_below(&rng, 6) == 0) {
                unit_kill(&u, SIM_KEEP_ALL, 0);
                unit_open(&u);
                hook_slice(u.eng, store % 3 * 5);
            }
        }
        expect_kept("at last");
        cr_assert_eq(unit_problems(&u), 0);
        unit_reopen(&u);
        expect_kept("once more");
        memset(&now, 0, sizeof now);
        teardown();
        setup();
    }
    cr_assert(n_tails && n_past_tails, "%u %u", n_tails, n_past_tails);
}

/* ---- gathering --------------------------------------------------------------------------------- */

/* A file in many extents, a state that has some of them for itself, and one that has nothing. */
static void scatter(void)
{
    hook_block_extents(u.eng, UINT32_MAX);
    put(0, 3 * BLOCK_SIZE, 1);
    for (size_t i = 0; i < 3 * BLOCK_SIZE; i += 8)
        put(i, 1, (uint8_t)i);
    keep_now();
    for (size_t i = 4; i < 2 * BLOCK_SIZE; i += 8)
        put(i, 1, (uint8_t)i);
    punch(BLOCK_SIZE, 100);
    keep_now();
    put(10, 1, 77);
    hook_block_extents(u.eng, 0);
}

Test(rewrite, gathering_makes_no_state)
{
    scatter();
    struct inode_rec before = *head();
    struct eng_attr attr = unit_attr(&u, f), after;
    struct index_scalars was = u.eng->idx.s;
    uint64_t begin = past_head_begin(&u.eng->idx, head());
    struct eng_feed *feed;
    struct eng_change change;
    MUST(eng_feed_open(u.eng, ENG_FEED_NOW, &feed) == 0);
    cr_assert_eq(content_gather(u.eng, f, 0, BYTES), 0);
    cr_assert_lt(inode_n_extents(head()), 5);
    cr_assert_gt(before.extents.n, 1000);
    after = unit_attr(&u, f);
    cr_assert(after.version == attr.version && after.mtime == attr.mtime && after.ctime == attr.ctime);
    cr_assert(head()->state == before.state && head()->past == before.past && head()->size == before.size);
    cr_assert_gt(head()->generation, before.generation, "readers notice that it lies elsewhere");
    cr_assert_eq(past_head_begin(&u.eng->idx, head()), begin);
    cr_assert_eq(u.eng->idx.s.inexact, was.inexact);
    cr_assert(u.eng->idx.s.n_past == was.n_past && u.eng->idx.s.past_live == was.past_live);
    cr_assert_eq(eng_feed_read(feed, &change, 1), 0, "nobody is told");
    eng_feed_close(feed);
    expect_kept("gathered");
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(head()->state == before.state && head()->version == before.version);
    expect_kept("replayed");
    cr_assert_eq(unit_problems(&u), 0);
}

static unsigned n_cuts;

/* The process dies here: the next life has all states, and goes on gathering. */
static void die_between(void *arg, enum fault_point point)
{
    struct unit c, *live = arg;
    if (point != FP_WRITE_DRAFTED || n_cuts++ % 4)
        return;
    unit_clone(&c, live);
    unit_open(&c);
    for (unsigned i = 0; i < n_kept; i++)
        cr_assert(past_holds_bytes(&c, kept[i].number, kept[i].bytes, kept[i].size), "cut %u", n_cuts);
    cr_assert_eq(content_gather(c.eng, f, 0, BYTES), 0);
    cr_assert_lt(unit_extents(&c, f), 5);
    cr_assert(unit_holds_bytes(&c, f, now.bytes, now.size));
    cr_assert_eq(unit_problems(&c), 0);
    unit_done(&c);
}

Test(rewrite, gathering_may_end_between_any_two_slices)
{
    scatter();
    uint64_t state = head()->state;
    hook_slice(u.eng, 50);
    hook_set(u.eng, die_between, &u);
    cr_assert_eq(content_gather(u.eng, f, 0, BYTES), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_gt(n_cuts, 20);
    cr_assert_eq(head()->state, state);
    expect_kept("in slices");
}

/* A write of [off, end) over content of which the block at `crowded` is in many extents: what lies beside it
 * in its blocks is the same as before. */
static void write_beside(size_t off, size_t end, size_t crowded)
{
    static uint8_t bytes[3 * EXTENT_MAX], old[sizeof bytes];
    memset(old, 1, sizeof old);
    MUST(eng_write(u.eng, f, old, sizeof old, 0) == (ssize_t)sizeof old);
    hook_block_extents(u.eng, UINT32_MAX);
    for (size_t i = crowded; i < crowded + BLOCK_SIZE; i += 100)
        MUST(eng_write(u.eng, f, "x", 1, i) == 1 && (old[i] = 'x'));
    hook_block_extents(u.eng, 0);
    uint64_t state = keep_state(&u, f), version = head()->version, live = u.eng->idx.s.past_live;
    uint64_t written = unit_stats(&u).total_bytes;
    memcpy(bytes, old, sizeof bytes);
    memset(bytes + off, 2, end - off);
    MUST(eng_write(u.eng, f, bytes + off, end - off, off) == (ssize_t)(end - off));
    cr_assert_gt(unit_stats(&u).total_bytes - written, end - off, "something is taken along");
    cr_assert(unit_holds_bytes(&u, f, bytes, sizeof bytes));
    cr_assert(past_holds_bytes(&u, state, old, sizeof old));
    cr_assert_eq(u.eng->idx.s.past_live - live, end - off, "what is the same is not kept");
    cr_assert_eq(head()->version, version + 1);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(rewrite, large_writes_over_crowded_blocks)
{
    write_beside(10, 2 * EXTENT_MAX + 100, 0);
    write_beside(10, 2 * EXTENT_MAX + 100, 2 * EXTENT_MAX);
    write_beside(10, EXTENT_MAX + 5, EXTENT_MAX); /* its second extent is all the same */
    set_size(0);
    write_beside(10, 20, 0);
}

/* ---- from the log alone ------------------------------------------------------------------------- */

/* Appends until the last one takes others along; where it begins. *ret_before: the size before it. */
static struct unit_place append_some(uint64_t *ret_before)
{
    struct unit_place place;
    unsigned before;
    do {
        before = unit_extents(&u, f);
        MUST(before < 50 && eng_sync(u.eng) == 0);
        *ret_before = head()->size;
        place = unit_log_place(&u);
        memset(now.bytes + *ret_before, (int)before + 1, 100);
        MUST(eng_append(u.eng, f, now.bytes + *ret_before, 100, NULL) == 100);
    } while (unit_extents(&u, f) > before);
    now.size = head()->size;
    return place;
}

/* Of a batch behind what is durable all content counts. */
Test(rewrite, one_with_any_byte_wrong_is_left_out)
{
    uint64_t before;
    uint8_t *image;
    size_t size;
    struct unit_place place = append_some(&before);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    MUST(simdisk_get(u.disk, place.name, &image, &size) == 0);
    size = unit_log_end(image, size);
    free(image);
    MUST(size > place.offset + 800);
    for (uint64_t at = place.offset; at < size - 8; at += 3) { /* a path hint is at the end */
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, place.name, at, 1), 0);
        unit_open(&c);
        cr_assert(unit_holds_bytes(&c, f, now.bytes, before), "flipped at %llu", (unsigned long long)at);
        unit_done(&c);
    }
    unit_open(&u);
    cr_assert(unit_holds_bytes(&u, f, now.bytes, now.size));
}

static unsigned n_lost;

static int take_lost(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg;
    n_lost += piece->offset == 0 && piece->size == now.size && !memcmp(data, now.bytes, now.size);
    return 0;
}

/* Its content describes itself, as any does. */
Test(rewrite, salvage_hands_out_what_follows_a_bad_batch)
{
    uint64_t before;
    struct unit_place bad = unit_log_place(&u);
    (void)append_some(&before);
    unit_file(&u, "behind", 10, 1);
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
    cr_assert_eq(simdisk_flip(u.disk, bad.name, bad.offset + 70, 4), 0);
    u.opt.read_only = u.opt.salvage = true;
    unit_open(&u);
    cr_assert_eq(eng_lost(u.eng, take_lost, NULL), 0);
    cr_assert_eq(n_lost, 1);
}

/* ---- what it costs ------------------------------------------------------------------------------- */

/* Bytes of the log for so many appends of 100 bytes, and gathering at last. */
static uint64_t append_cost(bool with_history, uint64_t *ret_gathering)
{
    static const char bytes[100];
    unit_done(&u);
    unit_new(&u, 0);
    MUST(!with_history || store_set_history(u.eng) == 0);
    f = unit_create(&u, "f");
    uint64_t before = log_bytes(&u.eng->log);
    for (unsigned i = 0; i < APPENDS; i++)
        MUST(eng_append(u.eng, f, bytes, sizeof bytes, NULL) == (ssize_t)sizeof bytes);
    uint64_t cost = log_bytes(&u.eng->log) - before;
    MUST(content_gather(u.eng, f, 0, head()->size) == 0);
    *ret_gathering = log_bytes(&u.eng->log) - before - cost;
    return cost;
}

Test(rewrite, costs_as_much_as_ever)
{
    uint64_t gathering, gathering_ever, ever = append_cost(false, &gathering_ever);
    uint64_t cost = append_cost(true, &gathering);
    cr_log_info("%u appends of 100 bytes: %llu bytes of log, with a history %llu; gathered: %llu, %llu",
                APPENDS, (unsigned long long)ever, (unsigned long long)cost,
                (unsigned long long)gathering_ever, (unsigned long long)gathering);
    cr_assert(cost >= ever && cost - ever <= ever / 100);
    cr_assert_lt(gathering, gathering_ever, "no times need to be staged");
}

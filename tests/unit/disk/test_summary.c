/*
 * test_summary.c - summaries of segments: what goes in comes out, in few bytes, and nothing else does. */
#include "disk/summary.h"

#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>

#define SEGMENT 7u
#define STORE UINT64_C(0x1234567890)

static struct summary s;

static void teardown(void)
{
    summary_free(&s);
}

TestSuite(summary, .fini = teardown, .timeout = 60);

struct list {
    const struct summary_entry *expected;
    uint32_t n;
    int stop_at;
};

static int compare(void *arg, const struct summary_entry *e)
{
    struct list *l = arg;
    const struct summary_entry *x = &l->expected[l->n];
    MUST(e->off8 == x->off8 && e->len == x->len && e->slot == x->slot && e->off == x->off);
    return (int)++l->n == l->stop_at ? 5 : 0;
}

static struct summary_footer footer(void)
{
    struct summary_footer f;
    memcpy(&f, s.bytes.data + s.bytes.len - sizeof(f), sizeof(f));
    return f;
}

/* Of a segment whose batches end at `end`: the sealed summary as a file has it. */
static int each(const struct summary_footer *f, uint64_t end,
                int (*emit)(void *arg, const struct summary_entry *e), void *arg)
{
    struct summary file = {.bytes = {.data = s.bytes.data, .len = f->len}, .n = f->n};
    struct summary_entry e;
    int r = summary_entries_check(f, s.bytes.data);
    if (r)
        return r;
    struct summary_reader reader = summary_begin(&file, end);
    while ((r = summary_next(&reader, &e)) == 1) {
        r = emit(arg, &e);
        if (r)
            return r;
    }
    return r;
}

static int decode(const struct summary_footer *f, uint64_t end, struct list *l)
{
    return each(f, end, compare, l);
}

static void round_trip(const struct summary_entry *entries, uint32_t n, uint64_t end)
{
    summary_reset(&s);
    for (uint32_t i = 0; i < n; i++)
        summary_add(&s, &entries[i]);
    uint64_t size = summary_size(&s);
    MUST(summary_seal(&s, SEGMENT, STORE) == 0 && s.bytes.len == size && size % 8 == 0);
    struct summary_footer f = footer();
    struct list l = {.expected = entries};
    MUST(summary_footer_check(&f, SEGMENT, STORE, end + size) == 0);
    MUST(decode(&f, end, &l) == 0 && l.n == n);
}

Test(summary, extremes_come_back)
{
    static const struct summary_entry entries[] = {
        {10, 1, 1, 0},
        {11, EXTENT_MAX, UINT32_MAX, UINT64_MAX - 1},
        {UINT32_MAX - 2, EXTENT_MAX, 1, EXTENT_XATTR_OFF},
        {UINT32_MAX - 1, 2, UINT32_MAX, 1},
    };
    round_trip(entries, 4, UINT64_C(8) * UINT32_MAX);
    round_trip(entries, 0, sizeof(struct segment_header));
}

Test(summary, small_memories_take_few_bytes)
{
    static struct summary_entry entries[10000];
    uint64_t rng = test_seed();
    for (uint32_t i = 0; i < 10000; i++)
        entries[i] = (struct summary_entry){
            .off8 = 20 + i * 60, .len = 300, .slot = 1 + (uint32_t)rng_below(&rng, 1000000)};
    round_trip(entries, 10000, 20000000);
    MUST(s.bytes.len < 10000 * 6); /* overwritten at random */
    for (uint32_t i = 0; i < 10000; i++)
        entries[i].slot = i + 1;
    round_trip(entries, 10000, 20000000);
    MUST(s.bytes.len < 10000 * 4); /* in order */
}

Test(summary, random_lists_come_back)
{
    static struct summary_entry entries[300];
    uint64_t rng = test_seed();
    for (int round = 0; round < 500; round++) {
        uint32_t n = (uint32_t)rng_below(&rng, 300), place = 9;
        for (uint32_t i = 0; i < n; i++) {
            place += 1 + (uint32_t)rng_below(&rng, rng_below(&rng, 2) ? 100 : 40000);
            entries[i] = (struct summary_entry){
                .off8 = place,
                .len = 1 + (uint32_t)rng_below(&rng, EXTENT_MAX),
                .slot = 1 + (uint32_t)rng_below(&rng, rng_below(&rng, 2) ? 100 : UINT32_MAX),
                .off = rng_below(&rng, 3) ? rng_below(&rng, 2) * 4096 : rng_next(&rng)};
        }
        round_trip(entries, n, (uint64_t)place * 8 + 8);
    }
}

Test(summary, each_flipped_bit_is_noticed)
{
    static const struct summary_entry entries[] = {
        {10, 300, 5, 0}, {80, 300, 6, 0}, {200, 7, 6, 4096}, {300, 7, 2, EXTENT_XATTR_OFF}};
    struct list l;
    round_trip(entries, 4, 4096);
    for (size_t bit = 0; bit < s.bytes.len * 8; bit++) {
        s.bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct summary_footer f = footer();
        l = (struct list){.expected = entries};
        MUST(summary_footer_check(&f, SEGMENT, STORE, 4096 + s.bytes.len) != 0 ||
             decode(&f, 4096, &l) == -EBADMSG);
        MUST(l.n == 0); /* nothing is told of it */
        s.bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* Seals again what a forger has written. */
static struct summary_footer forge(uint32_t n)
{
    struct summary_footer f = footer();
    f.n = n;
    f.entries_sum = codec_hash(s.bytes.data, f.len);
    f.sum = codec_hash(&f, offsetof(struct summary_footer, sum));
    return f;
}

static int ignore(void *arg, const struct summary_entry *e)
{
    uint32_t *last = arg;
    MUST(e->off8 > *last && e->off8 < 512 && e->len > 0 && e->len <= EXTENT_MAX && e->slot > 0);
    *last = e->off8;
    return 0;
}

Test(summary, forged_entries_are_refused_or_possible)
{
    static const struct summary_entry entries[] = {
        {10, 300, 5, 0}, {80, 300, 6, 0}, {200, 7, 6, 4096}, {300, 7, 2, EXTENT_XATTR_OFF}};
    uint64_t rng = test_seed();
    unsigned refused = 0;
    for (int round = 0; round < 20000; round++) {
        round_trip(entries, 4, 4096);
        for (uint32_t k = 1 + (uint32_t)rng_below(&rng, 4); k > 0; k--)
            s.bytes.data[rng_below(&rng, s.bytes.len - sizeof(struct summary_footer))] =
                (uint8_t)rng_next(&rng);
        struct summary_footer f = forge((uint32_t)rng_below(&rng, 6));
        uint32_t last = 0;
        int r = each(&f, 4096, ignore, &last);
        MUST(r == 0 || r == -EBADMSG);
        refused += r != 0;
    }
    MUST(refused > 10000);
}

Test(summary, that_of_another_segment_or_store_is_none)
{
    static const struct summary_entry entry = {10, 300, 5, 0};
    struct list l = {.expected = &entry, .stop_at = 1};
    round_trip(&entry, 1, 4096);
    struct summary_footer f = footer();
    uint64_t size = 4096 + s.bytes.len;
    MUST(summary_footer_check(&f, SEGMENT, STORE, size) == 0);
    MUST(summary_footer_check(&f, SEGMENT + 1, STORE, size) == -EBADMSG);
    MUST(summary_footer_check(&f, SEGMENT, STORE + 1, size) == -EBADMSG);
    MUST(summary_footer_check(&f, SEGMENT, STORE, sizeof(struct segment_header) + s.bytes.len - 1) ==
         -EBADMSG);
    MUST(decode(&f, 4096, &l) == 5);
    f.n = 4096 / 48 + 3; /* more than the file has room for */
    f.sum = codec_hash(&f, offsetof(struct summary_footer, sum));
    MUST(summary_footer_check(&f, SEGMENT, STORE, 4096) == -EBADMSG);
    s.lost = true;
    MUST(summary_seal(&s, SEGMENT, STORE) == -ENODATA);
}

static void add_all(struct summary *to, const struct summary_entry *entries, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        summary_add(to, &entries[i]);
}

static bool same(const struct summary *a, const struct summary *b)
{
    return a->n == b->n && a->bytes.len == b->bytes.len &&
           (!a->bytes.len || !memcmp(a->bytes.data, b->bytes.data, a->bytes.len));
}

/* What was added in two parts is what was added at once, and so is what comes after. */
Test(summary, two_parts_join)
{
    static struct summary_entry entries[40];
    uint64_t rng = test_seed();
    for (int round = 0; round < 2000; round++) {
        uint32_t n = (uint32_t)rng_below(&rng, 30), cut = (uint32_t)rng_below(&rng, n + 1), place = 9;
        for (uint32_t i = 0; i < n + 5; i++) {
            place += 1 + (uint32_t)rng_below(&rng, rng_below(&rng, 2) ? 100 : 40000);
            entries[i] =
                (struct summary_entry){.off8 = place,
                                       .len = 1 + (uint32_t)rng_below(&rng, rng_below(&rng, 2) ? 3 : 4000),
                                       .slot = 1 + (uint32_t)rng_below(&rng, UINT32_MAX),
                                       .off = rng_below(&rng, 2) * 4096};
        }
        struct summary once = {0}, before = {0};
        summary_reset(&s);
        add_all(&once, entries, n);
        add_all(&before, entries, cut);
        add_all(&s, entries + cut, n - cut);
        MUST(summary_join(&s, &before) == 0);
        MUST(same(&s, &once));
        add_all(&once, entries + n, 5);
        add_all(&s, entries + n, 5);
        MUST(same(&s, &once));
        summary_free(&once);
        summary_free(&before);
    }
}

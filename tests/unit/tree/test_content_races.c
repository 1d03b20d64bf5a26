/*
 * test_content_races.c - content under change: readers that are overtaken at
 * the worst moment (I1, I2), and long random histories against a plain buffer. */
#include "hook.h"
#include "inside.h"

#include "must.h"
#include "one_file.h"
#include "rng.h"

#include <criterion/criterion.h>

TestSuite(content_races, .init = setup, .fini = teardown);

/* ---- readers that are overtaken ------------------------------------------------------- */

static struct overtaking {
    enum fault_point at;
    unsigned times;
    bool compact;
    uint64_t seed;
} over;

/* Rewrites the file, and takes the segments of its old content away. */
static void overtake(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != over.at || !over.times)
        return;
    over.times--;
    hook_set(u.eng, NULL, NULL);
    unit_write(&u, f, 50000, ++over.seed, 0);
    if (over.compact)
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    hook_set(u.eng, overtake, NULL);
}

Test(content_races, an_overtaken_reader_starts_again)
{
    for (unsigned i = 0; i < 16; i++) {
        over = (struct overtaking){.at = i & 1 ? FP_READ_COLLECTED : FP_READ_PINNED,
                                   .compact = i & 2,
                                   .times = i & 4 ? 100 : 1,
                                   .seed = i};
        unsigned times = over.times;
        unit_write(&u, f, 50000, over.seed, 0);
        uint64_t restarts = unit_stats(&u).read_restarts;
        hook_set(u.eng, overtake, NULL);
        uint8_t *buf = malloc(50000);
        cr_assert_eq(eng_read(u.eng, f, buf, 50000, 0), 50000, "case %u", i);
        hook_set(u.eng, NULL, NULL);
        uint8_t *want = unit_bytes(50000, over.seed);
        cr_assert_eq(memcmp(buf, want, 50000), 0, "case %u: the content as of the last pinning", i);
        restarts = unit_stats(&u).read_restarts - restarts;
        cr_assert(times == 1 ? restarts == 1 : restarts >= 5 && restarts < 100,
                  "case %u: %llu restarts; a reader is not kept out for ever", i,
                  (unsigned long long)restarts);
        free(buf);
        free(want);
    }
    cr_assert_eq(unit_stats(&u).damaged_extents, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(unit_stats(&u).pinned_segments, u.eng->log.active != NULL, "readers leave no pin behind");
}

static void unlink_it(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_READ_COLLECTED)
        return;
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
}

Test(content_races, a_file_removed_under_a_reader_is_stale_not_damaged)
{
    char buf[100];
    unit_write(&u, f, 50000, 1, 0);
    hook_set(u.eng, unlink_it, NULL);
    cr_assert_eq(eng_read(u.eng, f, buf, 100, 0), -ESTALE);
    cr_assert_eq(unit_stats(&u).damaged_extents, 0);
}

/* ---- random operations against a plain buffer --------------------------------------------- */

#define MODEL_MAX (300u << 10)

struct model {
    uint8_t bytes[MODEL_MAX];
    size_t size;
};

static void model_write(struct model *m, const uint8_t *data, size_t size, size_t off)
{
    memcpy(m->bytes + off, data, size);
    m->size = MAX_OF(m->size, off + size);
}

static void set_size(struct model *m, size_t size)
{
    struct eng_attr attr = {.size = size};
    MUST(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL) == 0);
    if (size < m->size)
        memset(m->bytes + size, 0, m->size - size);
    m->size = size;
}

static void step(struct model *m, uint64_t *rng)
{
    static uint8_t data[MODEL_MAX];
    size_t off = (size_t)rng_below(rng, MODEL_MAX), max = MODEL_MAX - off;
    size_t size = 1 + (size_t)rng_below(rng, rng_below(rng, 3) ? 5000 : 60000);
    size = MIN_OF(size, max);
    rng_fill(data, size, rng_next(rng));
    uint64_t kind = rng_below(rng, 100), at;
    if (kind < 35) {
        MUST(eng_write(u.eng, f, data, size, off) == (ssize_t)size);
        model_write(m, data, size, off);
    } else if (kind < 60 && m->size + size <= MODEL_MAX) {
        size = 1 + size % 300;
        if (m->size + size > MODEL_MAX)
            return;
        MUST(eng_append(u.eng, f, data, size, &at) == (ssize_t)size);
        MUST(at == m->size);
        model_write(m, data, size, m->size);
    } else if (kind < 70) {
        set_size(m, off);
    } else if (kind < 85) {
        unsigned flags = kind < 78 ? ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE : ENG_FALLOC_ZERO_RANGE;
        MUST(eng_fallocate(u.eng, f, flags, off, size) == 0);
        memset(m->bytes + off, 0, size);
        if (flags == ENG_FALLOC_ZERO_RANGE)
            m->size = MAX_OF(m->size, off + size);
    } else {
        ssize_t n = eng_read(u.eng, f, data, size, off);
        MUST(n == (ssize_t)(off < m->size ? MIN_OF(size, m->size - off) : 0));
        MUST(n <= 0 || memcmp(data, m->bytes + off, (size_t)n) == 0);
    }
}

/* Every now and then the store is compacted, checkpointed, closed or killed. */
static void disturb(uint64_t *rng)
{
    switch (rng_below(rng, 4)) {
    case 0:
        MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        break;
    case 1:
        MUST(checkpoint_write(u.eng) == 0);
        break;
    case 2:
        unit_reopen(&u);
        break;
    default:
        unit_kill(&u, SIM_KEEP_ALL, 0);
        unit_open(&u);
    }
    MUST(unit_problems(&u) == 0);
}

Test(content_races, random_histories_agree_with_a_buffer)
{
    static struct model m;
    uint64_t rng = test_seed();
    for (unsigned i = 0; i < 3000; i++) {
        step(&m, &rng);
        if (i % 60 == 59)
            disturb(&rng);
        if (i % 20 == 19) {
            MUST(unit_attr(&u, f).size == m.size);
            MUST(unit_holds_bytes(&u, f, m.bytes, m.size));
        }
    }
    MUST(unit_problems(&u) == 0);
}

/* ---- reads of very many extents -------------------------------------------------------- */

#define SLICED_EXTENTS 2500u
#define SLICED_SIZE (2 * SLICED_EXTENTS)
#define SLICE_MAX 1024u /* extents that one look at the index may collect */

static struct slicing {
    unsigned looks, changes; /* seen; still to be made, one at each second look */
    uint8_t byte;
} slicing;

/* The whole file in one write: a version of one byte value. */
static void rewrite(uint8_t byte)
{
    static uint8_t all[SLICED_SIZE];
    memset(all, byte, sizeof(all));
    cr_assert_eq(eng_write(u.eng, f, all, sizeof(all), 0), (ssize_t)sizeof(all));
    for (unsigned i = 0; i < SLICED_EXTENTS; i++) /* and in many extents again, without another content */
        cr_assert_eq(eng_write(u.eng, f, &byte, 1, 2 * (uint64_t)i), 1);
}

static void look(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_READ_COLLECTED)
        return;
    slicing.looks++;
    if (slicing.looks % 2 || !slicing.changes)
        return;
    slicing.changes--;
    hook_set(u.eng, NULL, NULL);
    rewrite(++slicing.byte);
    hook_set(u.eng, look, NULL);
}

static unsigned read_in_slices(unsigned changes, uint8_t *buf)
{
    slicing = (struct slicing){.changes = changes, .byte = 1};
    hook_block_extents(u.eng, UINT32_MAX);
    rewrite(1);
    hook_set(u.eng, look, NULL);
    cr_assert_eq(eng_read(u.eng, f, buf, SIZE_MAX / 4, 0), SLICED_SIZE, "never short");
    hook_set(u.eng, NULL, NULL);
    return slicing.looks;
}

Test(content_races, a_read_of_very_many_extents_takes_them_in_slices_of_one_version)
{
    uint8_t *buf = malloc(SLICED_SIZE);
    unsigned looks = read_in_slices(0, buf);
    cr_assert_gt(unit_extents(&u, f), SLICED_EXTENTS);
    cr_assert_geq(looks, unit_extents(&u, f) / SLICE_MAX, "no look collects them all");
    for (unsigned i = 0; i < SLICED_SIZE; i++)
        cr_assert_eq(buf[i], 1);
    for (unsigned changes = 1; changes <= 3; changes++) {
        (void)read_in_slices(changes, buf);
        for (unsigned i = 0; i < SLICED_SIZE; i++)
            cr_assert_eq(buf[i], 1 + changes, "byte %u after %u changes: of one version", i, changes);
    }
    looks = read_in_slices(1000, buf); /* written all the time: it ends all the same */
    cr_assert_lt(looks, 1000);
    free(buf);
}

/*
 * test_digest.c - the digest of a file's content: what it is of, that it ends whatever others do to the file,
 * and what it refuses. */
#include "hook.h"
#include "inside.h"

#include "must.h"
#include "one_file.h"

#include <criterion/criterion.h>

#define MIB (UINT64_C(1) << 20)
#define PUNCH (ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE)

TestSuite(digest, .init = setup, .fini = teardown, .timeout = 60);

static void truncate_to(uint64_t size)
{
    struct eng_attr attr = {.size = size};
    cr_assert_eq(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL), 0);
}

/* ---- a file that is written meanwhile ---------------------------------------------- */

static struct {
    unsigned reads;  /* that were seen */
    unsigned skip;   /* before the first write */
    unsigned writes; /* that may still be made */
    uint64_t seed;
} writer;

/* Overwrites the beginning of the file while a reader looks at any part of it. */
static void write_meanwhile(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_READ_COLLECTED)
        return;
    if (++writer.reads <= writer.skip || !writer.writes)
        return;
    writer.writes--;
    hook_set(u.eng, NULL, NULL);
    unit_write(&u, f, 100, ++writer.seed, 0);
    hook_set(u.eng, write_meanwhile, NULL);
}

static int hash_beside_writer(unsigned skip, unsigned writes, uint64_t *ret_hash)
{
    writer.reads = 0;
    writer.skip = skip;
    writer.writes = writes;
    hook_set(u.eng, write_meanwhile, NULL);
    int r = eng_content_hash(u.eng, f, ret_hash);
    hook_set(u.eng, NULL, NULL);
    return r;
}

Test(digest, of_a_file_that_is_written_all_the_time_ends)
{
    uint64_t hash;
    const size_t sizes[] = {200, 700000, 3u << 20};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        unit_write(&u, f, sizes[i], 3, 0);
        cr_assert_eq(hash_beside_writer(0, UINT32_MAX, &hash), -EBUSY);
        cr_assert_geq(writer.reads, 16, "%u reads: it tries again", writer.reads);
        cr_assert_leq(writer.reads, 4096, "%u reads: it does not try for ever", writer.reads);
    }
}

Test(digest, of_a_file_that_was_written_meanwhile_is_of_what_is_there)
{
    uint8_t *want = unit_bytes(700000, 3);
    for (unsigned i = 0; i < 15; i++) { /* from the first read on, or the last of the three */
        uint64_t hash;
        unsigned skip = i % 3, writes = 1 + i / 3;
        unit_write(&u, f, 700000, 3, 0);
        cr_assert_eq(hash_beside_writer(skip, writes, &hash), 0);
        cr_assert_eq(writer.writes, 0);
        uint8_t *start = unit_bytes(100, writer.seed);
        memcpy(want, start, 100);
        cr_assert_eq(hash, codec_hash(want, 700000), "%u writes after %u reads", writes, skip);
        free(start);
    }
    free(want);
}

static void remove_it(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_READ_COLLECTED)
        return;
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0); /* which frees it */
}

Test(digest, of_a_file_that_is_removed_meanwhile_is_refused)
{
    uint64_t hash;
    unit_write(&u, f, 700000, 3, 0);
    hook_set(u.eng, remove_it, NULL);
    cr_assert_eq(eng_content_hash(u.eng, f, &hash), -ESTALE);
}

static void shrink_it(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_READ_COLLECTED)
        return;
    hook_set(u.eng, NULL, NULL);
    truncate_to(10);
}

Test(digest, of_a_file_that_shrinks_meanwhile_is_of_what_is_left)
{
    uint64_t hash;
    unit_write(&u, f, 700000, 3, 0);
    uint8_t *want = unit_bytes(700000, 3);
    hook_set(u.eng, shrink_it, NULL);
    cr_assert_eq(eng_content_hash(u.eng, f, &hash), 0);
    cr_assert_eq(hash, codec_hash(want, 10));
    free(want);
}

/* ---- holes --------------------------------------------------------------------------- */

Test(digest, holes_beyond_the_limit_are_refused_at_once)
{
    uint64_t hash;
    const uint64_t max = ENG_DIGEST_HOLES_MAX;
    const uint64_t too_large[] = {max + 1, max * 2, ENG_FILE_SIZE_MAX};
    for (size_t i = 0; i < ARRAY_LEN(too_large); i++) {
        truncate_to(too_large[i]);
        cr_expect_eq(eng_content_hash(u.eng, f, &hash), -EFBIG);
    }
    truncate_to(ENG_FILE_SIZE_MAX);
    unit_write(&u, f, 70000, 1, 0);
    unit_write(&u, f, 70000, 1, ENG_FILE_SIZE_MAX - 70000);
    cr_expect_eq(eng_content_hash(u.eng, f, &hash), -EFBIG, "some content does not change that");
    /* As much as is allowed: the first step is taken, and only that. */
    struct eng_digest *d;
    struct eng_digest_value value;
    char buf[4096];
    truncate_to(0);
    truncate_to(max);
    cr_assert_eq(eng_digest_begin(u.eng, f, ENG_DIGEST_XXH3_64, &d), 0);
    cr_expect_eq(eng_digest_step(d, buf, sizeof buf, &value), 1);
    truncate_to(max + 1);
    cr_expect_eq(eng_digest_step(d, buf, sizeof buf, &value), -EFBIG, "it has become too large meanwhile");
    eng_digest_end(d);
}

Test(digest, holes_are_zeros_and_cost_no_reads)
{
    uint64_t hash;
    const size_t size = 40 * MIB;
    uint8_t *want = calloc(1, size), *piece = unit_bytes(70000, 5);
    const uint64_t places[] = {0, 5 * MIB + 17, 20 * MIB, 20 * MIB + 70000, 30 * MIB + 4096};
    MUST(want && piece);
    truncate_to(size);
    cr_assert_eq(hash_beside_writer(0, 0, &hash), 0);
    cr_assert_eq(hash, codec_hash(want, size));
    cr_assert_eq(writer.reads, 0);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        unit_write(&u, f, 70000, 5, places[i]);
        memcpy(want + places[i], piece, 70000);
        cr_assert_eq(hash_beside_writer(0, 0, &hash), 0);
        cr_assert_eq(hash, codec_hash(want, size), "place %zu", i);
        cr_assert_leq(writer.reads, 2 * (i + 1));
    }
    cr_assert_eq(eng_fallocate(u.eng, f, PUNCH, 100, 20 * MIB), 0);
    memset(want + 100, 0, 20 * MIB);
    cr_assert_eq(eng_content_hash(u.eng, f, &hash), 0);
    cr_assert_eq(hash, codec_hash(want, size));
    free(want);
    free(piece);
}

/* ---- steps ------------------------------------------------------------------------------ */

Test(digest, steps_of_any_size_give_the_same)
{
    uint8_t *want = unit_bytes(700000, 3);
    const size_t sizes[] = {1000, 4096, 65536, 262144, 1 << 20};
    unit_write(&u, f, 700000, 3, 0);
    uint64_t hash = codec_hash(want, 700000);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct eng_digest *d;
        struct eng_digest_value value;
        uint8_t *buf = malloc(sizes[i]);
        size_t steps = 1;
        cr_assert_eq(eng_digest_begin(u.eng, f, ENG_DIGEST_XXH3_64, &d), 0);
        int r;
        while ((r = eng_digest_step(d, buf, sizes[i], &value)) == 1)
            steps++;
        cr_assert_eq(r, 0);
        cr_assert_eq(steps, (700000 + sizes[i] - 1) / sizes[i] + 1, "a step reads one buffer and no more");
        cr_assert_eq(value.version, unit_attr(&u, f).version);
        cr_assert_eq(value.size, 8u);
        for (unsigned b = 0; b < 8; b++)
            cr_assert_eq(value.bytes[b], (uint8_t)(hash >> (56 - 8 * b)));
        for (unsigned b = 8; b < ENG_DIGEST_MAX; b++)
            cr_assert_eq(value.bytes[b], 0);
        /* Again, with the same: once more from the beginning. */
        cr_assert_eq(eng_digest_step(d, buf, sizes[i], &value), 1);
        eng_digest_end(d);
        free(buf);
    }
    free(want);
}

/* ---- of the past ------------------------------------------------------------------------- */

static struct eng_view *snapshot(const char *name)
{
    struct eng_view *view = NULL;
    uint64_t batch;
    cr_assert_eq(eng_snapshot_create(u.eng, name, &batch), 0);
    cr_assert_eq(eng_view_open(u.eng, batch, &view), 0);
    return view;
}

static int digest_in(struct eng_view *view, struct eng_digest_value *ret_value, unsigned *ret_steps)
{
    struct eng_digest *d;
    uint8_t *buf = malloc(65536);
    cr_assert_eq(eng_view_digest_begin(view, f, ENG_DIGEST_XXH3_64, &d), 0);
    int r = 1;
    for (*ret_steps = 0; r == 1; (*ret_steps)++)
        r = eng_digest_step(d, buf, 65536, ret_value);
    eng_digest_end(d);
    free(buf);
    return r;
}

static uint64_t number(const struct eng_digest_value *value)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < 8; i++)
        hash = hash << 8 | value->bytes[i];
    return hash;
}

Test(digest, in_a_view_is_that_of_then)
{
    struct eng_digest_value value;
    unsigned steps;
    uint8_t *want = unit_bytes(700000, 3);
    unit_write(&u, f, 700000, 3, 0);
    const uint64_t hash = codec_hash(want, 700000), version = unit_attr(&u, f).version;
    struct eng_view *view = snapshot("s");
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(digest_in(view, &value, &steps), 0);
        cr_assert_eq(number(&value), hash, "after %u changes", i);
        cr_assert_eq(value.version, version);
        if (i == 0)
            unit_write(&u, f, 1000, 9, 200000);
        else
            truncate_to(100);
    }
    cr_assert_neq(unit_attr(&u, f).version, version, "a version is one content");
    eng_view_close(view);
    free(want);
}

Test(digest, in_a_view_holes_count_as_in_the_present)
{
    struct eng_digest_value value;
    unsigned steps;
    truncate_to(ENG_DIGEST_HOLES_MAX * 2);
    unit_write(&u, f, 70000, 1, 0);
    struct eng_view *large = snapshot("large");
    truncate_to(40 * MIB);
    struct eng_view *small = snapshot("small");
    cr_expect_eq(digest_in(large, &value, &steps), -EFBIG);
    unit_write(&u, f, 70000, 2, 0);
    cr_expect_eq(digest_in(large, &value, &steps), -EFBIG);
    cr_expect_leq(steps, ENG_DIGEST_HOLES_MAX / 65536 / 16 + 3, "it has not read the zeros");
    uint8_t *want = calloc(1, 40 * MIB), *piece = unit_bytes(70000, 1);
    MUST(want);
    memcpy(want, piece, 70000);
    cr_expect_eq(digest_in(small, &value, &steps), 0);
    cr_expect_eq(number(&value), codec_hash(want, 40 * MIB));
    cr_expect_leq(steps, 50, "%u", steps);
    eng_view_close(large);
    eng_view_close(small);
    free(want);
    free(piece);
}

Test(digest, what_is_wrong_is_refused)
{
    struct eng_digest *d = NULL;
    struct eng_digest_value value;
    char buf[16];
    cr_expect_eq(eng_digest_begin(NULL, f, ENG_DIGEST_XXH3_64, &d), -EINVAL);
    cr_expect_eq(eng_digest_begin(u.eng, f, ENG_DIGEST_XXH3_64, NULL), -EINVAL);
    cr_expect_eq(eng_digest_begin(u.eng, f, (enum eng_digest_kind)7, &d), -EINVAL);
    cr_expect_eq(eng_view_digest_begin(NULL, f, ENG_DIGEST_XXH3_64, &d), -EINVAL);
    cr_expect_eq(eng_digest_step(NULL, buf, sizeof buf, &value), -EINVAL);
    cr_assert_eq(eng_digest_begin(u.eng, f, ENG_DIGEST_XXH3_64, &d), 0);
    cr_expect_eq(eng_digest_step(d, NULL, sizeof buf, &value), -EINVAL);
    cr_expect_eq(eng_digest_step(d, buf, 0, &value), -EINVAL);
    cr_expect_eq(eng_digest_step(d, buf, sizeof buf, NULL), -EINVAL);
    cr_expect_eq(eng_digest_step(d, buf, sizeof buf, &value), 0, "of nothing");
    eng_digest_end(d);
    eng_digest_end(NULL);
    cr_assert_eq(eng_digest_begin(u.eng, ENG_ROOT_INO, ENG_DIGEST_XXH3_64, &d), 0);
    cr_expect_eq(eng_digest_step(d, buf, sizeof buf, &value), -ENODATA);
    eng_digest_end(d);
    cr_assert_eq(eng_digest_begin(u.eng, f + 1000, ENG_DIGEST_XXH3_64, &d), 0);
    cr_expect_eq(eng_digest_step(d, buf, sizeof buf, &value), -ESTALE);
    eng_digest_end(d);
}

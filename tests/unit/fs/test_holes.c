/*
 * test_holes.c - SEEK_DATA and SEEK_HOLE in whole blocks: beside a map of the bytes that have content. */
#include "holes.h"
#include "hook.h"
#include "one_store.h"
#include "rng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

TestSuite(holes, .init = setup, .fini = teardown, .timeout = 240);

enum { SIZE = 24 * 4096, BLOCK = 4096 };

struct map {
    bool has[SIZE];
    uint64_t size;
};

static bool is_data(const struct map *m, uint64_t block)
{
    for (uint64_t i = block * BLOCK; i < (block + 1) * BLOCK && i < m->size; i++)
        if (m->has[i])
            return true;
    return false;
}

/* As the manual has it; UINT64_MAX: ENXIO. */
static uint64_t expected(const struct map *m, uint64_t at, int whence)
{
    if (at >= m->size)
        return UINT64_MAX;
    for (uint64_t block = at / BLOCK; block * BLOCK < m->size; block++)
        if (is_data(m, block) == (whence == SEEK_DATA))
            return block * BLOCK > at ? block * BLOCK : at;
    return whence == SEEK_DATA ? UINT64_MAX : m->size;
}

static void compare(const struct map *m, uint64_t ino, uint64_t seed)
{
    static const int whences[] = {SEEK_DATA, SEEK_HOLE};
    for (uint64_t at = 0; at <= m->size + BLOCK; at += at % 61 + 1)
        for (size_t i = 0; i < 2; i++) {
            uint64_t want = expected(m, at, whences[i]), got = 1;
            int r = holes_seek(u.eng, ino, at, whences[i], &got);
            cr_assert_eq(r, want == UINT64_MAX ? -ENXIO : 0, "seed %llu, %s %llu: %d",
                         (unsigned long long)seed, i ? "hole" : "data", (unsigned long long)at, r);
            cr_assert(r || got == want, "seed %llu, %s %llu: %llu, not %llu", (unsigned long long)seed,
                      i ? "hole" : "data", (unsigned long long)at, (unsigned long long)got,
                      (unsigned long long)want);
        }
}

static void change(struct map *m, uint64_t ino, uint64_t *rng)
{
    uint64_t off = rng_below(rng, SIZE), n = 1 + rng_below(rng, rng_below(rng, 3) ? 300 : 12000);
    n = off + n > SIZE ? SIZE - off : n;
    switch (rng_below(rng, 4)) {
    case 0:
        cr_assert_eq(eng_fallocate(u.eng, ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, off, n), 0);
        memset(m->has + off, 0, n);
        break;
    case 1:
        if (rng_below(rng, 4))
            break;
        cr_assert_eq(eng_setattr(u.eng, ino, &(struct eng_attr){.size = off}, ENG_SET_SIZE, NULL), 0);
        memset(m->has + off, 0, SIZE - off);
        m->size = off;
        break;
    default:
        unit_write(&u, ino, n, 1, off);
        memset(m->has + off, 1, n);
        m->size = off + n > m->size ? off + n : m->size;
    }
}

Test(holes, blocks_with_any_content_are_data)
{
    static struct map m;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        uint64_t rng = seed;
        uint64_t ino = unit_create(&u, "f");
        memset(&m, 0, sizeof(m));
        compare(&m, ino, seed);
        for (int i = 0; i < 12; i++) {
            change(&m, ino, &rng);
            compare(&m, ino, seed);
        }
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    }
}

/* As many extents as one counts as, so that small files do: what a question takes beside is little then. */
static uint64_t weight = 1;
static uint64_t questions;

int __real_eng_seek_some(struct eng *eng, uint64_t ino, uint64_t at, int whence, uint64_t *looks,
                         uint64_t *ret);
int __wrap_eng_seek_some(struct eng *eng, uint64_t ino, uint64_t at, int whence, uint64_t *looks,
                         uint64_t *ret);
int __wrap_eng_seek_some(struct eng *eng, uint64_t ino, uint64_t at, int whence, uint64_t *looks,
                         uint64_t *ret)
{
    uint64_t before = *looks / weight, left = before;
    int r = __real_eng_seek_some(eng, ino, at, whence, &left, ret);
    questions++;
    *looks -= (before - left) * weight;
    return r;
}

/* The numbers of holes.c. */
enum { LOOKS = 1 << 20, QUESTION = 32 };
static const uint64_t END = UINT64_C(1) << 40;

static uint64_t hole_from(uint64_t ino, uint64_t at)
{
    uint64_t found = 0;
    cr_assert_eq(holes_seek(u.eng, ino, at, SEEK_HOLE, &found), 0);
    return found;
}

/* One byte in each block: no block is a hole, and to know that takes two questions for each. */
Test(holes, a_request_asks_so_many_questions)
{
    enum { BLOCKS = LOOKS / (QUESTION + 1) / 2 };
    uint64_t ino = unit_create(&u, "f");
    for (uint64_t i = 0; i < BLOCKS + 10; i++)
        cr_assert_eq(eng_write(u.eng, ino, "x", 1, i * BLOCK), 1);
    cr_assert_eq(eng_setattr(u.eng, ino, &(struct eng_attr){.size = END}, ENG_SET_SIZE, NULL), 0);
    cr_expect_eq(hole_from(ino, 11 * BLOCK + 5), (uint64_t)BLOCK * (BLOCKS + 10), "as many as it may ask");
    questions = 0;
    cr_expect_eq(hole_from(ino, 9 * BLOCK), END, "one more: all is called data");
    cr_expect_leq(questions, 2 * BLOCKS + 1);
}

/* One question may take many slices of the engine: what they look at counts, of one run and of many. */
Test(holes, a_request_looks_at_so_many_extents)
{
    enum { EXTENTS = 1024, PIECE = 1024, RUN = 64 };
    uint64_t one = unit_create(&u, "one"), many = unit_create(&u, "many");
    static const char data[PIECE];
    for (uint64_t i = EXTENTS; i-- > 0;) { /* backwards, so that none takes others along */
        cr_assert_eq(eng_write(u.eng, one, data, PIECE, i * PIECE), PIECE);
        cr_assert_eq(eng_write(u.eng, many, data, PIECE, i * PIECE + i / RUN * 2 * PIECE), PIECE);
    }
    cr_assert_eq(eng_setattr(u.eng, one, &(struct eng_attr){.size = END}, ENG_SET_SIZE, NULL), 0);
    cr_assert_eq(eng_setattr(u.eng, many, &(struct eng_attr){.size = END}, ENG_SET_SIZE, NULL), 0);
    hook_slice(u.eng, 16);
    weight = LOOKS / EXTENTS;
    questions = 0;
    cr_expect_eq(hole_from(one, 0), END, "too many for one question");
    cr_expect_leq(questions, 2);
    cr_expect_eq(hole_from(one, 16 * PIECE), EXTENTS * PIECE, "so many it looks at");
    cr_expect_eq(hole_from(many, 0), END, "too many for all questions together");
    cr_expect_eq(hole_from(many, 3 * 66 * PIECE), (EXTENTS + EXTENTS / RUN * 2) * PIECE);
}

Test(holes, what_is_no_file_and_what_is_no_question)
{
    uint64_t found;
    cr_expect_eq(holes_seek(u.eng, 99, 0, SEEK_DATA, &found), -ESTALE);
    cr_expect_eq(holes_seek(u.eng, ENG_ROOT_INO, 0, SEEK_SET, &found), -EINVAL);
}

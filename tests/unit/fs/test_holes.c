/*
 * test_holes.c - SEEK_DATA and SEEK_HOLE in whole blocks: beside a map of the bytes that have content. */
#include "holes.h"
#include "one_store.h"
#include "rng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

TestSuite(holes, .init = setup, .fini = teardown, .timeout = 60);

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

/* One byte in each block: no block is a hole, and to know that takes a look at each. */
Test(holes, a_question_takes_so_many_looks)
{
    enum { LOOKS = 16384 };
    uint64_t ino = unit_create(&u, "f"), found = 0;
    for (uint64_t i = 0; i < LOOKS + 10; i++)
        cr_assert_eq(eng_write(u.eng, ino, "x", 1, i * BLOCK), 1);
    uint64_t end = UINT64_C(1) << 40;
    cr_assert_eq(eng_setattr(u.eng, ino, &(struct eng_attr){.size = end}, ENG_SET_SIZE, NULL), 0);
    cr_expect_eq(holes_seek(u.eng, ino, 11 * BLOCK + 5, SEEK_HOLE, &found), 0);
    cr_expect_eq(found, (uint64_t)BLOCK * (LOOKS + 10), "as many as it may take");
    cr_expect_eq(holes_seek(u.eng, ino, 10 * BLOCK, SEEK_HOLE, &found), 0);
    cr_expect_eq(found, end, "one more: all is called data");
}

Test(holes, what_is_no_file_and_what_is_no_question)
{
    uint64_t found;
    cr_expect_eq(holes_seek(u.eng, 99, 0, SEEK_DATA, &found), -ESTALE);
    cr_expect_eq(holes_seek(u.eng, ENG_ROOT_INO, 0, SEEK_SET, &found), -EINVAL);
}

/*
 * test_pieces.c - of pieces that overlap the younger counts, byte by byte, and no piece is looked at for each
 * other one. */
#include "ctl/pieces.h"

#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

static struct pieces p;

static void add(uint64_t ino, uint64_t offset, uint64_t size, uint64_t seq, const char *path)
{
    struct piece piece = {.ino = ino, .offset = offset, .size = size, .seq = seq, .segment = 1, .at = p.n};
    piece.path = path ? strdup(path) : NULL;
    cr_assert_eq(pieces_add(&p, &piece), 0);
}

#define N_FILES 3u
#define FILE_SIZE 300u

static uint64_t got[N_FILES][FILE_SIZE], expect[N_FILES][FILE_SIZE]; /* the seq of each byte; 0: nobody's */
static size_t at;

static int take(void *arg, uint64_t from, uint64_t to)
{
    (void)arg;
    const struct piece *piece = &p.all[at];
    cr_assert_lt(from, to);
    cr_assert_leq(to, piece->size);
    for (uint64_t i = from; i < to; i++) {
        uint64_t *byte = &got[piece->ino][piece->offset + i];
        cr_assert_eq(*byte, 0, "no byte is written twice");
        *byte = piece->seq;
    }
    return 0;
}

Test(pieces, of_those_that_overlap_the_younger_counts)
{
    for (uint64_t seed = 0; seed < 300; seed++) {
        uint64_t rng = seed, n = rng_below(&rng, 60);
        memset(got, 0, sizeof got);
        memset(expect, 0, sizeof expect);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t ino = rng_below(&rng, N_FILES), offset = rng_below(&rng, FILE_SIZE - 1);
            uint64_t size = 1 + rng_below(&rng, rng_below(&rng, 2) ? FILE_SIZE - offset : 1);
            uint64_t seq = (i * 37 + 5) % 61 + 1; /* they come in no order */
            add(ino, offset, size, seq, NULL);
            for (uint64_t b = offset; b < offset + size; b++)
                expect[ino][b] = expect[ino][b] > seq ? expect[ino][b] : seq;
        }
        cr_assert_eq(pieces_settle(&p), 0);
        for (at = 0; at < p.n; at++) {
            cr_assert_eq(pieces_find(&p, &p.all[at]), at);
            cr_assert_eq(pieces_visible(&p, at, take, NULL), 0);
        }
        cr_assert_eq(memcmp(got, expect, sizeof got), 0, "seed %llu", (unsigned long long)seed);
        pieces_free(&p);
    }
}

static int stop(void *arg, uint64_t from, uint64_t to)
{
    (void)from, (void)to;
    return *(int *)arg += 1;
}

Test(pieces, what_the_caller_says_ends_it)
{
    int calls = 0;
    add(1, 0, 30, 1, NULL);
    add(1, 10, 10, 2, NULL);
    cr_assert_eq(pieces_settle(&p), 0);
    cr_assert_eq(pieces_visible(&p, 0, stop, &calls), 1);
    cr_assert_eq(calls, 1);
    struct piece other = p.all[0];
    other.at = 77;
    cr_assert_eq(pieces_find(&p, &other), SIZE_MAX);
    other = p.all[0];
    other.size = 31;
    cr_assert_eq(pieces_find(&p, &other), SIZE_MAX, "what is read anew must be the same");
    pieces_free(&p);
}

Test(pieces, a_file_has_the_path_of_the_youngest_that_tells)
{
    add(2, 0, 1, 9, "of another");
    add(1, 0, 1, 3, "new");
    add(1, 1, 1, 2, "old");
    add(1, 2, 1, 4, NULL);
    add(3, 0, 1, 9, NULL);
    cr_assert_eq(pieces_settle(&p), 0);
    cr_assert_eq(pieces_files(&p), 3);
    for (size_t i = 0; i < p.n; i++) {
        const char *path = pieces_path(&p, i);
        cr_assert(p.all[i].ino == 3 ? !path
                                    : path && !strcmp(path, p.all[i].ino == 1 ? "new" : "of another"));
    }
    pieces_free(&p);
}

/* ---- what it costs --------------------------------------------------------------------------- */

#define MANY 100000u

static uint64_t runs;

static int count(void *arg, uint64_t from, uint64_t to)
{
    (void)arg, (void)from, (void)to;
    runs++;
    return 0;
}

/* Both steps of all pieces; in proportion to the places where they begin and end. */
static void costs_no_more_than(uint64_t n_cuts, const char *what)
{
    runs = 0;
    cr_assert_eq(pieces_settle(&p), 0);
    for (size_t i = 0; i < p.n; i++)
        cr_assert_eq(pieces_visible(&p, i, count, NULL), 0);
    cr_assert_gt(p.n_cuts, 0);
    cr_assert_leq(p.n_cuts, n_cuts, "%s: %llu", what, (unsigned long long)p.n_cuts);
    pieces_free(&p);
}

Test(pieces, many_of_one_file_cost_in_proportion, .timeout = 60)
{
    for (uint64_t i = 0; i < MANY; i++)
        add(1, i * 4096, 4096, i + 1, NULL);
    costs_no_more_than(UINT64_C(4) * MANY, "one behind the other");
    cr_assert_eq(runs, MANY);
    for (uint64_t i = 0; i < MANY; i++)
        add(1, 0, 4096, i + 1, NULL);
    costs_no_more_than(UINT64_C(6) * MANY, "one over the other");
    cr_assert_eq(runs, 1);
    for (uint64_t i = 0; i < MANY; i++)
        add(1, (MANY - i) * 64, 4096, i + 1, NULL); /* each place in 64 */
    costs_no_more_than(UINT64_C(300) * MANY, "half over the other");
    for (uint64_t i = 0; i < MANY; i++)
        add(i, 0, 4096, 1, "p");
    costs_no_more_than(UINT64_C(4) * MANY, "each of its own");
    cr_assert_eq(runs, MANY);
}

/*
 * test_held_log.c - in a hold no file goes: many checkpoints leave what the echo had before them. A kill
 * then, and the next opening looks for no more of it than for what comes behind the checkpoint that it starts
 * from; but nothing goes before all of that checkpoint is known to be whole. */
#include "inside.h"

#include "one_store.h"

#include "disk/echo_stock.h"
#include "image/rest.h"

#include <criterion/criterion.h>

TestSuite(held_log, .init = setup, .fini = teardown, .timeout = 120);

enum { CHECKPOINTS = 6, BATCHES = 40, BEHIND = 7 };

/* The linker wraps qsort(): all that the echo is found to have is sorted. */
void __real_qsort(void *array, size_t n, size_t size, int (*compare)(const void *a, const void *b));
void __wrap_qsort(void *array, size_t n, size_t size, int (*compare)(const void *a, const void *b));
static size_t n_refs;

void __wrap_qsort(void *array, size_t n, size_t size, int (*compare)(const void *a, const void *b))
{
    n_refs += size == sizeof(struct echo_ref) ? n : 0;
    __real_qsort(array, n, size, compare);
}

static uint64_t doc, newest;   /* the file; the checkpoint */
static struct piece_ref piece; /* of that one alone, which no opening needs */
static struct unit_place lost; /* of a batch that the newest checkpoint has, and the one before has not */
static uint32_t last;          /* what "doc" was given last */

static void change(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        last++;
        cr_assert_eq(eng_setxattr(u.eng, doc, "user.n", &last, sizeof last, 0), 0);
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    echo_sync(&u.eng->log.echo);
}

static void make_held(void)
{
    last = 0;
    uint64_t other = unit_file(&u, "other", 100, 0);
    doc = unit_file(&u, "doc", 3000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    for (unsigned i = 0; i < CHECKPOINTS; i++) {
        change(BATCHES);
        lost = unit_log_place(&u);
        change(BATCHES);
        for (unsigned k = 0; k < 3; k++)
            unit_write(&u, other, 100, k, k * 10000);
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    const struct map_entry *tree = u.eng->checkpoints->images.map.tables[TABLE_EXTENTS].entries;
    piece = tree->refs[tree->n_refs - 1];
    newest = u.eng->checkpoints->images.map.id;
    change(BEHIND);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(unit_files(&u, ".log", NULL), CHECKPOINTS + 1);
}

static void expect_last(struct unit *c)
{
    uint32_t n = 0;
    uint64_t ino = unit_lookup(c, "doc");
    cr_assert_eq(eng_getxattr(c->eng, ino, "user.n", &n, sizeof n), sizeof n);
    cr_assert_eq(n, last, "%u of %u: %s", n, last, c->all_warnings);
    cr_assert(unit_holds(c, ino, 3000, 1));
}

/* However a store can be opened. */
static const struct eng_options ways[] = {
    {.read_only = true}, {.read_only = true, .snapshot = true}, {.read_only = true, .salvage = true}, {0}};

static void begin_way(struct unit *c, size_t i)
{
    unit_clone(c, &u);
    c->opt.read_only = ways[i].read_only;
    c->opt.snapshot = ways[i].snapshot;
    c->opt.salvage = ways[i].salvage;
    n_refs = 0;
    cr_assert_eq(unit_try_open(c), 0, "%zu: %s", i, c->why);
    expect_last(c);
}

Test(held_log, of_what_the_newest_checkpoint_has_nothing_is_kept)
{
    make_held();
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct unit c;
        begin_way(&c, i);
        cr_assert_eq(n_refs, BEHIND, "%zu: %zu records", i, n_refs);
        cr_assert_eq(c.warnings, 0, "%s", c.all_warnings);
        cr_assert_eq(rest_await(c.eng), 0);
        if (!c.opt.read_only) /* and there are no others any more */
            cr_assert_eq(unit_files(&c, ".log", NULL), 1);
        unit_done(&c);
    }
    unit_open(&u);
}

/* The first piece of the newest checkpoint, or of all: roots are whole. */
static void spoil_image(void *arg, const char *name, uint64_t size)
{
    const bool *all = arg;
    uint64_t id;
    unsigned copy;
    if (size && image_parse_name(name, &id, &copy) == 0 && (*all || id == newest))
        cr_assert_eq(simdisk_flip(u.disk, name, sizeof(struct piece_header) + 9, 1), 0);
}

/* Nothing but the echo has one of the batches that the newest checkpoint, or all of them, have lost. */
static void expect_loaded_again(bool all)
{
    make_held();
    simdisk_each(u.disk, spoil_image, &all);
    cr_assert_eq(simdisk_flip(u.disk, lost.name, lost.offset + sizeof(struct batch_header) + 6, 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct unit c;
        begin_way(&c, i);
        cr_assert(strstr(c.all_warnings, "cannot be used"), "%s", c.all_warnings);
        cr_assert_eq(unit_stats(&c).recovery_echoed, 1, "%zu: %s", i, c.all_warnings);
        if (!c.opt.read_only) {
            unit_kill(&c, SIM_DROP_ALL, 0);
            unit_open(&c);
            expect_last(&c);
        }
        unit_done(&c);
    }
    unit_open(&u);
}

Test(held_log, what_an_older_checkpoint_lacks_is_looked_for_once_more)
{
    expect_loaded_again(false);
}

Test(held_log, and_without_a_checkpoint_all_of_it)
{
    expect_loaded_again(true);
}

/* ---- before the newest checkpoint is known to be whole ------------------------------------------------ */

static void spoil_piece(struct unit *c)
{
    cr_assert_eq(piece.file, newest);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        char name[IMAGE_NAME_SIZE];
        image_name(piece.file, copy, name);
        cr_assert_eq(simdisk_flip(c->disk, name, piece.offset + sizeof(struct piece_header), 1), 0);
    }
}

static void lose_batch(struct unit *c)
{
    cr_assert_eq(simdisk_flip(c->disk, lost.name, lost.offset + sizeof(struct batch_header) + 6, 1), 0);
}

static void open_lazily(struct unit *c)
{
    cr_assert_eq(unit_try_open(c), 0, "%s", c->why);
    cr_assert_not(loading_is_done(&c->eng->loading));
    expect_last(c);
}

/* A store that is large answers at once: what it needs of the newest checkpoint is whole, something else is
 * not, and one before has to take its place. */
Test(held_log, goes_once_the_newest_checkpoint_is_known_to_be_whole)
{
    struct unit c;
    make_held();
    rest_from = 0;
    for (unsigned lives = 1; lives < 4; lives++) { /* the last one finds the damage */
        unit_clone(&c, &u);
        spoil_piece(&c);
        lose_batch(&c);
        for (unsigned i = 0; i < lives; i++) {
            open_lazily(&c);
            if (i + 1 == lives)
                cr_assert_eq(rest_await(c.eng), -EIO);
            cr_assert_eq(unit_files(&c, ".log", NULL), CHECKPOINTS + 1);
            unit_kill(&c, SIM_DROP_ALL, 0);
        }
        cr_assert_eq(unit_try_open(&c), 0, "%u lives: %s", lives, c.why);
        expect_last(&c);
        cr_assert_eq(unit_stats(&c).recovery_echoed, 1, "%s", c.all_warnings);
        unit_done(&c);
    }
    unit_clone(&c, &u);
    open_lazily(&c);
    cr_assert_eq(rest_await(c.eng), 0);
    cr_assert_eq(unit_files(&c, ".log", NULL), 1, "what the checkpoint has goes when it is verified");
    cr_assert_eq(unit_problems(&c), 0);
    unit_done(&c);
    unit_open(&u);
}

/* The last batches of the log: the first of them is lost, in both copies. The others lie in the echo behind
 * what a checkpoint has. `first`: in place of the first record of that file. */
static void make_gap(struct unit *c, bool first)
{
    uint8_t *all, *old;
    size_t n_all, n_old;
    char name[ECHO_NAME_SIZE], last_name[64];
    struct echo_record rec;
    make_held();
    unit_clone(c, &u);
    simdisk_power_on(c->disk, SIM_KEEP_ALL, 0);
    cr_assert_eq(unit_files(c, ".log", last_name), CHECKPOINTS + 1);
    cr_assert_eq(simdisk_get(c->disk, last_name, &all, &n_all), 0);
    memcpy(&rec, all + sizeof(struct echo_header), sizeof rec);
    size_t from = sizeof(struct echo_header) + sizeof rec + rec.batch.ops_len, n = n_all - from;
    char seg[SEGMENT_NAME_SIZE];
    uint8_t *log;
    size_t n_log;
    segment_name(rec.segment, seg);
    cr_assert_eq(simdisk_get(c->disk, seg, &log, &n_log), 0);
    simdisk_put(c->disk, seg, log, rec.offset);
    free(log);
    cr_assert_eq(simdisk_remove(c->disk, last_name), 0);
    uint32_t id;
    cr_assert_eq(echo_parse_name(last_name, &id), 0);
    echo_name(id - 1, name); /* that from the checkpoint before to the newest */
    cr_assert_eq(simdisk_get(c->disk, name, &old, &n_old), 0);
    uint8_t *joined = malloc(n_old + n);
    size_t at = first ? sizeof(struct echo_header) : n_old;
    memcpy(joined, old, at);
    memcpy(joined + at, all + from, n);
    memcpy(joined + at + n, old + at, n_old - at);
    simdisk_put(c->disk, name, joined, n_old + n);
    free(joined);
    free(old);
    free(all);
    last -= BEHIND;
}

/* What it has of another past goes at once all the same. */
static void expect_cut(bool first)
{
    struct unit c;
    make_gap(&c, first);
    rest_from = 0;
    spoil_piece(&c);
    lose_batch(&c);
    open_lazily(&c);
    cr_assert_eq(unit_files(&c, ".kept", NULL), first, "%s", c.all_warnings);
    cr_assert_eq(unit_files(&c, ".log", NULL), CHECKPOINTS - first, "%s", c.all_warnings);
    last = 1000;
    cr_assert_eq(eng_setxattr(c.eng, doc, "user.n", &last, sizeof last, 0), 0);
    cr_assert_eq(eng_sync(c.eng), 0);
    cr_assert_eq(rest_await(c.eng), -EIO);
    unit_kill(&c, SIM_DROP_ALL, 0);
    if (first) { /* only a salvage reads that */
        cr_assert_eq(unit_try_open(&c), -EBADMSG);
        c.opt.read_only = c.opt.salvage = true;
    }
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    expect_last(&c);
    unit_done(&c);
    unit_open(&u);
}

Test(held_log, of_another_past_goes_at_once)
{
    expect_cut(false);
}

Test(held_log, what_cannot_be_cut_is_set_aside)
{
    expect_cut(true);
}

/*
 * test_held_log.c - in a hold no file goes: many checkpoints leave what the echo had before them. A kill
 * then, and the next opening looks for no more of it than for what comes behind the checkpoint that it starts
 * from. */
#include "inside.h"

#include "one_store.h"

#include "disk/echo_stock.h"

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
    doc = unit_file(&u, "doc", 3000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    for (unsigned i = 0; i < CHECKPOINTS; i++) {
        change(BATCHES);
        lost = unit_log_place(&u);
        change(BATCHES);
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
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

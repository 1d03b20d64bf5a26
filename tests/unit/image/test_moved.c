/*
 * test_moved.c - damage in the log that says where a compaction has moved content, after the segments that it
 * emptied are gone: whatever is damaged, none of the only copies goes. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define N_FILES 40
#define SIZE 5000u
#define PAGE 4096u

TestSuite(moved, .init = setup, .fini = teardown, .timeout = 120);

static const char *name_of(unsigned i)
{
    static char name[8];
    (void)snprintf(name, sizeof name, "f%02u", i);
    return name;
}

static struct unit_place end; /* of the log */
static uint32_t moved_to;     /* the segment of survivors */
static uint64_t relocations;  /* where the last batch with operations ends */

/* Where the last batch with operations of the last segment ends. */
static void find_relocations(void)
{
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, end.name, &image, &size), 0);
    for (uint64_t at = sizeof(struct segment_header); at < end.offset;) {
        struct batch_header h;
        memcpy(&h, image + at, sizeof h);
        cr_assert_eq(h.magic, BATCH_MAGIC);
        if (h.n_ops)
            relocations = at + sizeof h + h.ops_len + h.extents_len;
        at += sizeof h + h.ops_len + h.extents_len;
    }
    free(image);
    cr_assert_gt(relocations, 0);
}

/* Half of the files are old, and all of them are moved out of their segments, which go; then it dies. */
static void make_store(bool later)
{
    struct locator loc;
    for (unsigned i = 0; i < N_FILES; i++)
        unit_file(&u, name_of(i), SIZE, i);
    unit_reopen(&u); /* durable long since */
    for (unsigned i = 0; i < N_FILES; i += 2)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(unit_locator(&u, unit_lookup(&u, name_of(1)), 0, &loc));
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_not(unit_has_segment(&u, loc.seg), "it was emptied, and nothing keeps it");
    cr_assert(unit_locator(&u, unit_lookup(&u, name_of(1)), 0, &loc));
    moved_to = loc.seg;
    if (later) {
        unit_file(&u, "later", 100, 1);
        cr_assert_eq(eng_sync(u.eng), 0);
        unit_file(&u, "last", 100, 2);
        cr_assert_eq(eng_sync(u.eng), 0);
    }
    end = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    find_relocations();
}

static unsigned whole_files(struct unit *c)
{
    unsigned n = 0;
    for (unsigned i = 1; i < N_FILES; i += 2) {
        uint64_t ino = unit_lookup(c, name_of(i));
        n += ino && unit_holds(c, ino, SIZE, i);
    }
    return n;
}

/* Opened twice: either all is there, or the store is refused and still has all its files. */
static void expect_nothing_lost(struct unit *c, const char *what, uint64_t at, unsigned *refused)
{
    unsigned before = unit_files(c, ".seg", NULL);
    int r = unit_try_open(c);
    if (r) {
        cr_assert(c->why[0]);
        cr_assert_eq(unit_files(c, ".seg", NULL), before, "%s %lu: refused, and files went", what, at);
        ++*refused;
        return;
    }
    cr_assert_eq(whole_files(c), N_FILES / 2, "%s %lu: opened without what was moved", what, at);
    unit_reopen(c);
    cr_assert_eq(whole_files(c), N_FILES / 2, "%s %lu", what, at);
}

/* Nothing was written since: only what the compaction itself has written can tell that its batches were
 * durable. */
Test(moved, one_bit_in_what_says_so_costs_nothing)
{
    unsigned refused = 0;
    make_store(false);
    for (uint64_t at = 0; at < end.offset; at += at < relocations ? 7 : 61) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, end.name, at, (uint8_t)(1u << at % 8)), 0);
        expect_nothing_lost(&c, "bit", at, &refused);
        unit_done(&c);
    }
    cr_assert_gt(refused, 10);
}

/* The word about a batch may not go with it: no sector, and no page of memory or disk, has both. */
static void spoil_each(uint64_t size, bool readable)
{
    unsigned refused = 0;
    for (uint64_t at = 0; at < end.offset; at += size) {
        struct unit c;
        uint8_t *image;
        size_t len;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_get(c.disk, end.name, &image, &len), 0);
        if (readable) {
            memset(image + at, 0, MIN_OF(size, len - at));
            simdisk_put(c.disk, end.name, image, len);
        } else {
            cr_assert_eq(simdisk_spoil(c.disk, end.name, at, at + size), 0);
        }
        free(image);
        expect_nothing_lost(&c, readable ? "zeros" : "unreadable", at, &refused);
        unit_done(&c);
    }
    cr_assert_gt(refused, 0);
}

Test(moved, one_bad_page_costs_nothing)
{
    make_store(false);
    for (int readable = 0; readable < 2; readable++) {
        spoil_each(512, readable);
        spoil_each(PAGE, readable);
    }
}

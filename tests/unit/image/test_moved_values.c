/*
 * test_moved_values.c - values of attributes that a compaction moved, where the log that says so is damaged:
 * none of the only copies goes, each comes back under its name or as a piece, and none under another. */
#include "inside.h"

#include "hook.h"
#include "one_store.h"

#include <criterion/criterion.h>

#define N_FILES 40u
#define SIZE 5000u
#define VALUE 3000u /* bytes of each, so that one may be taken for another */

TestSuite(moved_values, .init = setup, .fini = teardown, .timeout = 120);

static const char *name_of(unsigned i)
{
    static char name[8];
    (void)snprintf(name, sizeof name, "f%02u", i);
    return name;
}

static const char *const attrs[] = {"user.engram.embedding", "user.engram.other"};

static void set_value(uint64_t ino, unsigned which, uint64_t seed)
{
    uint8_t *bytes = unit_bytes(VALUE, seed);
    cr_assert_eq(eng_setxattr(u.eng, ino, attrs[which], bytes, VALUE, 0), 0);
    free(bytes);
}

static uint64_t seed_of(unsigned i, unsigned which)
{
    return 100 + (uint64_t)2 * i + which;
}

static struct unit_place end; /* of the log, in which the compaction has begun a segment */

/* ---- a store ------------------------------------------------------------------------------ */

/* `content`: the memories have some; `n`: values that each has. */
static void make_memories(bool content, unsigned n)
{
    for (unsigned i = 0; i < N_FILES; i++) {
        uint64_t ino =
            content || i % 2 == 0 ? unit_file(&u, name_of(i), SIZE, i) : unit_create(&u, name_of(i));
        for (unsigned k = 0; k < n; k++)
            set_value(ino, k, seed_of(i, k));
    }
    unit_reopen(&u); /* durable long since */
    for (unsigned i = 0; i < N_FILES; i += 2)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
}

/* All is moved out of the segments, which go; then it dies. */
static void compact_and_die(void)
{
    struct unit_place begin = unit_log_place(&u);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    end = unit_log_place(&u);
    cr_assert_neq(begin.segment, end.segment, "it has begun a segment of its own");
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u); /* which has what the log loses */
}

/* The first batch of relocations. */
static uint64_t find_relocations(void)
{
    uint8_t *image;
    size_t size;
    uint64_t found = 0;
    cr_assert_eq(simdisk_get(u.disk, end.name, &image, &size), 0);
    for (uint64_t at = sizeof(struct segment_header); at < end.offset && !found;) {
        struct batch_header h;
        memcpy(&h, image + at, sizeof h);
        cr_assert_eq(h.magic, BATCH_MAGIC);
        found = h.n_ops > 1 ? at : 0;
        at += sizeof h + h.ops_len + h.extents_len;
    }
    free(image);
    cr_assert_gt(found, 0);
    return found;
}

static void flip_relocations(struct unit *c)
{
    unit_clone(c, &u);
    cr_assert_eq(simdisk_flip(c->disk, end.name, find_relocations() + 70, 1), 0);
}

/* With them go their marks. */
static void truncate_log(struct unit *c)
{
    uint8_t *image;
    size_t size;
    unit_clone(c, &u);
    cr_assert_eq(simdisk_get(c->disk, end.name, &image, &size), 0);
    simdisk_put(c->disk, end.name, image, find_relocations());
    free(image);
}

/* ---- what comes of it ---------------------------------------------------------------------------- */

static struct unit c;
static unsigned n_pieces[2 * N_FILES]; /* values by their seed */

static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg;
    for (unsigned i = 0; i < 2 * N_FILES && piece->offset == ENG_LOST_VALUE && piece->size == VALUE; i++) {
        uint8_t *bytes = unit_bytes(VALUE, 100 + i);
        n_pieces[i] += memcmp(bytes, data, VALUE) == 0;
        free(bytes);
    }
    return 0;
}

static void salvage(void)
{
    c.opt.read_only = c.opt.salvage = true;
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    memset(n_pieces, 0, sizeof n_pieces);
    cr_assert_eq(eng_lost(c.eng, take_piece, NULL), 0);
}

/* 1: the memory has this value. An error: it has none. */
static int holds_value(unsigned i, unsigned which)
{
    uint8_t value[VALUE], *bytes = unit_bytes(VALUE, seed_of(i, which));
    ssize_t r = eng_getxattr(c.eng, unit_lookup(&c, name_of(i)), attrs[which], value, VALUE);
    cr_assert(r < 0 || (r == VALUE && memcmp(value, bytes, VALUE) == 0), "%s has another %s", name_of(i),
              attrs[which]);
    free(bytes);
    return r < 0 ? (int)r : 1;
}

/* Of the memories that are left. */
static unsigned n_whole(unsigned n, unsigned *ret_pieces)
{
    unsigned whole = 0;
    *ret_pieces = 0;
    for (unsigned i = 1; i < N_FILES; i += 2)
        for (unsigned k = 0; k < n; k++) {
            whole += holds_value(i, k) == 1;
            *ret_pieces += n_pieces[seed_of(i, k) - 100];
        }
    return whole;
}

static void expect_salvaged(unsigned n)
{
    unsigned pieces;
    salvage();
    cr_assert_eq(n_whole(n, &pieces), n * N_FILES / 2);
    cr_assert_eq(pieces, 0, "not a second time: %u", pieces);
    cr_assert_eq(index_verify(&c.eng->idx, false, NULL, NULL), 0);
    unit_done(&c);
}

Test(moved_values, come_back_with_the_content)
{
    make_memories(true, 1);
    compact_and_die();
    flip_relocations(&c);
    cr_assert_eq(unit_try_open(&c), -EBADMSG);
    expect_salvaged(1);
    unit_open(&u);
}

/* Nothing else was moved that would be wanted. */
static void refuse_and_salvage(unsigned n)
{
    make_memories(false, n);
    compact_and_die();
    truncate_log(&c);
    unsigned before = unit_files(&c, ".seg", NULL);
    cr_assert_eq(unit_try_open(&c), -EBADMSG);
    cr_assert(n > 1 || strstr(c.why, "only copy"), "%s", c.why); /* later survivors have a mark */
    cr_assert_eq(unit_files(&c, ".seg", NULL), before);
    expect_salvaged(n);
    unit_open(&u);
}

Test(moved_values, an_only_copy_is_not_removed)
{
    refuse_and_salvage(1);
}

Test(moved_values, two_of_one_length_keep_their_names)
{
    refuse_and_salvage(2);
}

/* ---- where nobody knows ---------------------------------------------------------------------------- */

/* Behind a damaged survivor nothing is believed. */
Test(moved_values, what_follows_a_damaged_survivor_is_handed_out)
{
    char name[64];
    unsigned pieces;
    make_memories(false, 1);
    compact_and_die();
    flip_relocations(&c);
    unit_files(&c, ".seg", name);
    if (strcmp(name, end.name) == 0)
        segment_name(end.segment - 1, name);
    cr_assert_eq(simdisk_flip(c.disk, name, sizeof(struct segment_header) + 3, 1), 0);
    salvage();
    unsigned whole = n_whole(1, &pieces);
    cr_assert_lt(whole, N_FILES / 2);
    cr_assert_eq(whole + pieces, N_FILES / 2 - 1, "but for the damaged one: %u and %u", whole, pieces);
    unit_done(&c);
    unit_open(&u);
}

static void remove_others(void *arg, enum fault_point point)
{
    bool *done = arg;
    if (point != FP_COMPACT_COPIED || *done)
        return;
    *done = true;
    for (unsigned i = 1; i < N_FILES; i += 2)
        cr_assert_eq(eng_removexattr(u.eng, unit_lookup(&u, name_of(i)), attrs[i / 2 % 2]), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
}

/* Two were copied, and one of them went before it was installed: the copies do not say which. */
Test(moved_values, of_two_copies_none_is_given_a_name_that_may_be_of_the_other)
{
    bool done = false;
    make_memories(false, 2);
    hook_set(u.eng, remove_others, &done);
    compact_and_die();
    cr_assert(done);
    flip_relocations(&c);
    salvage();
    for (unsigned i = 1; i < N_FILES; i += 2) {
        unsigned stays = 1 - i / 2 % 2;
        int r = holds_value(i, stays);
        cr_assert(r == 1 || n_pieces[seed_of(i, stays) - 100] == 1, "%u: %d", i, r);
        cr_assert_eq(holds_value(i, 1 - stays), -ENODATA);
    }
    unit_done(&c);
    unit_open(&u);
}

/* The other one is where it was: what is left of the copies is of the one that is lacking. */
Test(moved_values, beside_one_that_was_not_moved)
{
    unsigned pieces;
    make_memories(false, 1);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    for (unsigned i = 1; i < N_FILES; i += 2)
        set_value(unit_lookup(&u, name_of(i)), 1, seed_of(i, 1)); /* no garbage beside them */
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    unit_create(&u, "log");
    compact_and_die();
    flip_relocations(&c);
    salvage();
    cr_assert_eq(n_whole(2, &pieces), N_FILES);
    unit_done(&c);
    unit_open(&u);
}

/* Overwritten after a compaction, and the segment of the new ones goes missing: an error for that, and never
 * what it replaced. */
Test(moved_values, no_older_one_stands_for_what_is_missing)
{
    uint64_t ino;
    make_memories(false, 1);
    compact_and_die();
    unit_open(&u);
    ino = unit_lookup(&u, name_of(1));
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    set_value(ino, 0, 1001);
    struct unit_place place = unit_log_place(&u);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    for (unsigned i = 0; i < 2; i++) {
        unit_create(&u, i ? "x" : "y");
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    unit_close(&u);
    cr_assert_eq(simdisk_remove(u.disk, place.name), 0);
    for (int how = 0; how < 2; how++) {
        uint8_t value[VALUE];
        unit_clone(&c, &u);
        c.opt.salvage = c.opt.read_only = how;
        unit_open(&c);
        cr_assert_eq(eng_getxattr(c.eng, ino, attrs[0], value, VALUE), -EIO, "%d", how);
        unit_done(&c);
    }
    unit_open(&u);
}

/* ---- behind the damage ------------------------------------------------------------------------------ */

Test(moved_values, those_behind_the_damage_are_handed_out)
{
    uint64_t ino = unit_file(&u, name_of(1), SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    struct unit_place at = unit_log_place(&u);
    for (unsigned i = 0; i < 3; i++) {
        set_value(ino, 0, seed_of(i, 0));
        cr_assert_eq(eng_sync(u.eng), 0);
    }
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u); /* which has what the log loses */
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, at.name, at.offset + 70, 1), 0);
    salvage();
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(n_pieces[seed_of(i, 0) - 100], 1, "%u", i);
    unit_done(&c);
    unit_open(&u);
}

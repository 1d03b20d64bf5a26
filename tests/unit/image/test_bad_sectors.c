/*
 * test_bad_sectors.c - sectors that cannot be read, beside another damage or where the log is to go on: they
 * cost no whole batch, neither at the first opening nor at those that follow. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define N_LATER 8u
#define SIZE 3000u

TestSuite(bad_sectors, .init = setup, .fini = teardown, .timeout = 60);

static struct unit_place places[N_LATER + 1]; /* of the first batch of each but the first, and the end */

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "later%u", i);
    return name;
}

static void make_later(void)
{
    for (unsigned i = 0; i < N_LATER; i++) {
        unit_file(&u, name_of(i), SIZE, 10 + i);
        places[i + 1] = unit_log_place(&u);
    }
}

/* The files stand in a segment of their own, made durable by one sync that no mark speaks of. */
static void make_own_segment(void)
{
    unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    make_later();
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(places[1].segment, places[N_LATER].segment);
    unit_kill(&u, SIM_DROP_ALL, 0);
}

static int count_right(void *arg, const struct eng_lost *piece, const void *data)
{
    for (unsigned i = 0; i < N_LATER; i++) {
        uint8_t *bytes = unit_bytes(SIZE, 10 + i);
        *(unsigned *)arg +=
            piece->size == SIZE && !strcmp(piece->path, name_of(i)) && !memcmp(bytes, data, SIZE);
        free(bytes);
    }
    return 0;
}

/* How many of the files a repair gets, by what they say of themselves. */
static unsigned can_be_had(struct unit *of)
{
    struct unit c;
    unsigned n = 0;
    unit_clone(&c, of);
    c.opt.read_only = c.opt.salvage = true;
    unit_open(&c);
    cr_assert_eq(eng_lost(c.eng, count_right, &n), 0);
    unit_done(&c);
    return n;
}

/* One bit of the first batch is wrong, and from..to cannot be read, at the first opening: `n` can be had. */
static void expect_kept(uint64_t from, uint64_t to, unsigned n)
{
    struct unit c;
    const char *name = places[N_LATER].name;
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, name, sizeof(struct segment_header) + 70, 1), 0);
    cr_assert_eq(simdisk_spoil(c.disk, name, from, to), 0);
    unit_open(&c);
    cr_assert_eq(unit_files(&c, ".kept", NULL), 1, "%u to %u", (unsigned)from, (unsigned)to);
    for (unsigned life = 0; life < 3; life++) { /* for good */
        unit_file(&c, life ? life > 1 ? "y" : "x" : "w", SIZE, 99);
        cr_assert_eq(eng_sync(c.eng), 0);
        unit_reopen(&c);
        cr_assert_eq(unit_files(&c, ".kept", NULL), 1, "%u to %u, life %u", (unsigned)from, (unsigned)to,
                     life);
    }
    cr_assert_geq(can_be_had(&c), n);
    unit_done(&c);
}

Test(bad_sectors, whole_batches_behind_a_bad_one_are_kept_beside_one)
{
    make_own_segment();
    uint64_t end = places[N_LATER].offset;
    expect_kept(end - 1024, end - 512, N_LATER - 2);
    expect_kept(places[4].offset - 700, places[4].offset - 100, N_LATER - 2);
}

/* What lies there may be whole batches, and may be read by the next opening. */
Test(bad_sectors, what_cannot_be_read_behind_a_bad_batch_is_kept)
{
    make_own_segment();
    expect_kept(places[1].offset + 512, places[N_LATER].offset, 0);
}

/* ---- the head of the segment in which the log goes on ------------------------------------- */

/* It stays unreadable. Each later opening must do without it, however the one before has ended. */
Test(bad_sectors, the_log_leaves_a_segment_whose_head_cannot_be_read)
{
    char last[64];
    unit_file(&u, "pad", SIZE, 0);
    unit_file(&u, "doc", SIZE, 1);
    unit_close(&u);
    unit_files(&u, ".seg", last);
    for (unsigned life = 0; life < 4; life++) {
        cr_assert_eq(simdisk_spoil(u.disk, last, 0, 512), 0);
        cr_assert_eq(unit_try_open(&u), 0, "life %u: %s", life, u.why);
        cr_assert(unit_holds(&u, unit_lookup(&u, "doc"), SIZE, 1));
        for (unsigned i = 0; i < life; i++)
            cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), SIZE, i));
        unit_file(&u, name_of(life), SIZE, life);
        cr_assert_eq(eng_sync(u.eng), 0);
        cr_assert_str_neq(unit_log_place(&u).name, last);
        unit_kill(&u, SIM_DROP_ALL, 0);
    }
    unit_open(&u);
}

/* The log is replayed from behind that head, and only the segment itself has these batches. */
Test(bad_sectors, a_head_behind_which_the_log_goes_on_is_not_needed)
{
    char last[64];
    unit_file(&u, "pad", SIZE, 0);
    unit_close(&u);
    unit_open(&u);
    unit_file(&u, "doc", SIZE, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    (void)snprintf(last, sizeof last, "%s", unit_log_place(&u).name);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_without_echo(&u);
    for (unsigned life = 0; life < 3; life++) {
        cr_assert_eq(simdisk_spoil(u.disk, last, 0, 512), 0);
        cr_assert_eq(unit_try_open(&u), 0, "life %u: %s", life, u.why);
        cr_assert(unit_holds(&u, unit_lookup(&u, "doc"), SIZE, 1));
        unit_kill(&u, SIM_DROP_ALL, 0);
    }
    unit_open(&u);
}

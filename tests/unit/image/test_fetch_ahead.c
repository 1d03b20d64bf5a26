/*
 * test_fetch_ahead.c - a change of a store that is still being loaded: what it needs of the index is read
 * before everybody waits for it, and a read that fails has changed nothing. */
#include "inside.h"

#include "looked_reads.h"
#include "must.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <errno.h>

#define FILES 6000u
#define NAME_SIZE 200u
#define SHORT_SIZE 8u

static struct unit u;

static const char *name_of(unsigned i, unsigned size)
{
    static _Thread_local char name[ENG_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "%0*u", (int)size, i);
    return name;
}

static int create(struct unit *c, unsigned i, unsigned size)
{
    return eng_create(c->eng, NULL, ENG_ROOT_INO, name_of(i, size), S_IFREG | 0644, 0, NULL, NULL);
}

static void put_files(void)
{
    enum { BATCH = 500 };
    static char names[BATCH][NAME_SIZE + 1];
    struct eng_record records[BATCH];
    for (unsigned i = 0; i < FILES; i += BATCH) {
        for (unsigned k = 0; k < BATCH; k++) {
            memcpy(names[k], name_of(i + k, NAME_SIZE), NAME_SIZE + 1);
            records[k] =
                (struct eng_record){.parent = ENG_ROOT_INO, .name = names[k], .content = "", .mode = 0644};
        }
        MUST(eng_put_many(u.eng, records, BATCH) == BATCH);
    }
}

/* In each chunk of names there is room for a name as long as they all are, and for none that is longer. */
static void setup(void)
{
    rest_from = UINT64_MAX;
    unit_new(&u, 4 << 20);
    put_files();
    for (unsigned i = 0; i < FILES; i += 2)
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i, NAME_SIZE)) == 0);
    MUST(commit_orphans(u.eng) == 0);
    unit_close(&u);
    rest_from = 0;
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(fetch_ahead, .init = setup, .fini = teardown, .timeout = 600);

/* ---- what is read while all wait --------------------------------------------------------------- */

static unsigned absent_names(void)
{
    const struct table *t = &u.eng->idx.names.cells;
    unsigned n = 0;
    for (uint32_t c = 0; c < t->n_chunks; c++)
        n += t->states[c] == TABLE_ABSENT;
    return n;
}

Test(fetch_ahead, a_name_that_fits_nowhere_reads_no_names)
{
    open_looking(&u);
    unsigned before = absent_names();
    MUST(before >= 15);
    for (unsigned i = 0; i < 5; i++)
        MUST(create(&u, i, NAME_SIZE + 40) == 0);
    cr_assert(reads.n > 0 && reads.n_waited_for == 0, "%u of %u", reads.n_waited_for, reads.n);
    cr_assert_leq(before - absent_names(), 3u); /* the last, and those of names of the same bucket */
    close_looking(&u);
    unit_open(&u);
    MUST(eng_tick(u.eng) == 0 && unit_problems(&u) == 0);
}

Test(fetch_ahead, a_name_whose_read_fails_can_be_put_again)
{
    unsigned failed = 0;
    for (int nth = 1; nth <= 40; nth++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_open(&c);
        simdisk_fail_from(c.disk, SIM_PREAD, (uint64_t)nth, ENOMEM);
        int r = create(&c, 7, NAME_SIZE + 40);
        simdisk_fail(c.disk, SIM_PREAD, 0, 0);
        cr_assert(r == 0 || r == -ENOMEM, "read %d: %d", nth, r);
        failed += r == -ENOMEM;
        MUST(!r || create(&c, 7, NAME_SIZE + 40) == 0);
        MUST(unit_lookup(&c, name_of(1, NAME_SIZE)));
        unit_done(&c);
    }
    cr_assert(failed >= 3 && failed < 40, "%u failed", failed);
}

/* Things whose parts lie in chunks of their own: a target behind a name, a chain of xattrs, many extents, a
 * tail that a truncation has left. */
static void put_others(void)
{
    static char target[ENG_SYMLINK_MAX + 1];
    memset(target, 't', ENG_SYMLINK_MAX);
    rest_from = UINT64_MAX;
    unit_open(&u);
    uint64_t many = unit_create(&u, "many"), attributes = unit_create(&u, "attributes");
    for (unsigned i = 0; i < 60; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "link%u", i);
        MUST(eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFLNK | 0777, 0, target, NULL) == 0);
        (void)snprintf(name, sizeof name, "user.%u", i);
        MUST(eng_setxattr(u.eng, attributes, name, target, 900, 0) == 0);
    }
    for (unsigned i = 0; i < 6000; i++)
        unit_write(&u, many, 1, i, 8192 * (uint64_t)i);
    unit_close(&u);
    rest_from = 0;
}

static long change(unsigned k)
{
    struct eng_attr attr = {.size = 8192 * 100};
    uint64_t many = unit_lookup(&u, "many"), attributes = unit_lookup(&u, "attributes");
    switch (k) {
    case 0:
        return eng_unlink(u.eng, ENG_ROOT_INO, "link7");
    case 1:
        return eng_rename(u.eng, NULL, ENG_ROOT_INO, "link20", ENG_ROOT_INO, "link30", 0);
    case 2:
        return eng_removexattr(u.eng, attributes, "user.1");
    case 3:
        return eng_setxattr(u.eng, attributes, "user.9", "x", 1, 0);
    case 4:
        return eng_fallocate(u.eng, many, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 8192 * 1000,
                             8192 * 400);
    case 5:
        return eng_write(u.eng, many, "123", 3, 8192 * 3000);
    case 6:
        return eng_setattr(u.eng, many, &attr, ENG_SET_SIZE, NULL);
    case 7:
        return eng_write(u.eng, many, "123", 3, 8192 * 5000);
    case 8:
        return eng_unlink(u.eng, ENG_ROOT_INO, "many");
    case 9:
        return eng_unlink(u.eng, ENG_ROOT_INO, "attributes");
    case 10:
        return eng_rename(u.eng, NULL, ENG_ROOT_INO, name_of(2001, NAME_SIZE), ENG_ROOT_INO,
                          name_of(4001, NAME_SIZE), ENG_RENAME_EXCHANGE);
    case 11:
        return commit_orphans(u.eng);
    default:
        return 1;
    }
}

/* Leaves that were split in random order lie in chunks far from those of their neighbours. */
static void put_extents(void)
{
    rest_from = UINT64_MAX;
    unit_open(&u);
    for (unsigned k = 0; k < FILES / 2; k++) {
        uint64_t ino = unit_lookup(&u, name_of(k * 1009 % (FILES / 2) * 2 + 1, NAME_SIZE));
        for (uint64_t i = 0; i < 4; i++)
            unit_write(&u, ino, 1, i, 8192 * i);
    }
    unit_close(&u);
    rest_from = 0;
}

static long change_of_content(unsigned k)
{
    const char *name = name_of(k * 3001 % (FILES / 2) * 2 + 1, NAME_SIZE);
    struct eng_attr attr = {.size = 0};
    uint64_t ino = unit_lookup(&u, name);
    switch (k % 4) {
    case 0:
        return eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL);
    case 1:
        return eng_write(u.eng, ino, "123", 3, 60000) - 3;
    case 2:
        return eng_unlink(u.eng, ENG_ROOT_INO, name);
    default:
        return create(&u, k, NAME_SIZE + 1);
    }
}

Test(fetch_ahead, nor_do_those_that_take_neighbours_along)
{
    put_extents();
    for (unsigned k = 0; k < 100; k++) {
        struct unit all = u;
        unit_clone(&u, &all);
        open_looking(&u);
        MUST(change_of_content(k) == 0 && commit_orphans(u.eng) == 0);
        cr_assert_eq(reads.n_waited_for, 0, "change %u: %u of %u", k, reads.n_waited_for, reads.n);
        close_looking(&u);
        unit_done(&u);
        u = all;
    }
}

/* Short names, many to a chunk of their dentries. */
static void put_short_names(unsigned n)
{
    enum { BATCH = 1000 };
    static char names[BATCH][SHORT_SIZE + 1];
    struct eng_record records[BATCH];
    for (unsigned i = 0; i < n; i += BATCH) {
        for (unsigned k = 0; k < BATCH; k++) {
            memcpy(names[k], name_of(i + k, SHORT_SIZE), SHORT_SIZE + 1);
            records[k] =
                (struct eng_record){.parent = ENG_ROOT_INO, .name = names[k], .content = "", .mode = 0644};
        }
        MUST(eng_put_many(u.eng, records, BATCH) == BATCH);
    }
}

/* Removes short names, from the i-th on, until three in turn have joined one bucket with another: the next
 * joins two. */
static unsigned until_two_are_joined(unsigned i)
{
    for (unsigned in_turn = 0; in_turn != 3; i += 2) {
        uint64_t buckets = u.eng->idx.s.n_buckets;
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i, SHORT_SIZE)) == 0);
        in_turn = buckets - u.eng->idx.s.n_buckets == 1 ? in_turn + 1 : 0;
    }
    return i;
}

/* What is in the second lies in a chunk that nothing else needs, with about one pair of buckets in four. */
Test(fetch_ahead, nor_do_removals_that_join_buckets)
{
    enum { SHORT = 40000 };
    unsigned i = 0;
    rest_from = UINT64_MAX;
    unit_open(&u);
    put_short_names(SHORT);
    for (; i < SHORT / 2; i += 2)
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i, SHORT_SIZE)) == 0);
    for (unsigned k = 0; k < 60; k++) {
        i = until_two_are_joined(i);
        MUST(checkpoint_write(u.eng) == 0); /* no log is replayed, which would load more with each */
        unit_close(&u);
        rest_from = 0;
        open_looking(&u);
        uint64_t buckets = u.eng->idx.s.n_buckets;
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of(2 * k + 1, SHORT_SIZE)) == 0);
        MUST(u.eng->idx.s.n_buckets == buckets - 2);
        cr_assert_eq(reads.n_waited_for, 0, "removal %u: %u of %u", k, reads.n_waited_for, reads.n);
        close_looking(&u);
        rest_from = UINT64_MAX;
        unit_open(&u);
    }
}

/* Each of them splits a bucket. */
Test(fetch_ahead, nor_does_a_batch_of_many_names)
{
    enum { BATCH = 100 };
    static char names[BATCH][NAME_SIZE + 1];
    struct eng_record records[BATCH];
    for (unsigned k = 0; k < BATCH; k++) {
        (void)snprintf(names[k], sizeof names[k], "new%u", k);
        records[k] =
            (struct eng_record){.parent = ENG_ROOT_INO, .name = names[k], .content = "", .mode = 0644};
    }
    rest_from = UINT64_MAX;
    unit_open(&u);
    for (unsigned i = 0; u.eng->idx.s.n_names < u.eng->idx.s.n_buckets; i++)
        MUST(create(&u, i, NAME_SIZE + 1) == 0);
    unit_close(&u);
    rest_from = 0;
    open_looking(&u);
    uint64_t buckets = u.eng->idx.s.n_buckets;
    MUST(eng_put_many(u.eng, records, BATCH) == BATCH);
    cr_assert_geq(u.eng->idx.s.n_buckets, buckets + BATCH);
    cr_assert_eq(reads.n_waited_for, 0, "%u of %u", reads.n_waited_for, reads.n);
    close_looking(&u);
}

/* Each alone, since one brings what another needs. */
Test(fetch_ahead, no_change_reads_the_index_while_all_wait)
{
    put_others();
    for (unsigned k = 0, more = 1; more; k++) {
        struct unit all = u;
        unit_clone(&u, &all);
        open_looking(&u);
        long r = change(k);
        more = r != 1;
        cr_assert_geq(r, 0, "change %u: %ld", k, r);
        if (r == 0)
            (void)commit_orphans(u.eng);
        cr_assert_eq(reads.n_waited_for, 0, "change %u: %u of %u", k, reads.n_waited_for, reads.n);
        close_looking(&u);
        unit_done(&u);
        u = all;
    }
}

/* The first inode since it was opened goes behind all others, into a chunk that only they have led to. */
Test(fetch_ahead, nor_does_the_next_inode)
{
    unit_done(&u);
    rest_from = UINT64_MAX;
    unit_new(&u, 0);
    for (unsigned i = 0; i < 700; i++)
        MUST(create(&u, i, 10) == 0);
    unit_close(&u);
    rest_from = 0;
    open_looking(&u);
    MUST(u.eng->idx.inodes.n_chunks > 1 && u.eng->idx.inodes.n_free == 0);
    MUST(create(&u, 700, 10) == 0 && reads.n > 0);
    cr_assert_eq(reads.n_waited_for, 0, "%u of %u", reads.n_waited_for, reads.n);
    close_looking(&u);
}

/* ---- what is walked while all wait ---------------------------------------------------------------- */

static unsigned known_names(void)
{
    const struct names *h = &u.eng->idx.names;
    unsigned n = 0;
    for (uint32_t c = 0; c < h->cells.n_chunks; c++)
        n += names_runs(h, c)->known;
    return n;
}

/* What is free is found bit by bit, by changes that find no place otherwise, and all of it is used. */
Test(fetch_ahead, names_become_known_bit_by_bit)
{
    unit_open(&u);
    MUST(create(&u, 0, NAME_SIZE + 40) == 0); /* when nothing was there yet */
    MUST(eng_tick(u.eng) == 0);
    uint32_t used = u.eng->idx.names.cells.used;
    unsigned n = known_names(), rounds = 0;
    for (; n < u.eng->idx.names.cells.n_chunks; rounds++) {
        unsigned before = n;
        MUST(rounds < 100 && create(&u, 1 + rounds, NAME_SIZE + 40) == 0);
        n = known_names();
        cr_assert(n <= before + 6, "%u chunks were walked for one name", n - before);
    }
    cr_assert(rounds >= 3);
    used = u.eng->idx.names.cells.used;
    for (unsigned i = 0; i < FILES; i += 2)
        MUST(create(&u, i, NAME_SIZE) == 0);
    cr_assert_eq(u.eng->idx.names.cells.used, used);
    MUST(unit_problems(&u) == 0);
}

/*
 * test_free_chains.c - what a checkpoint says is free is not in use (I10), although its sums are right: a
 * chain that leads to a record in use would hand that out a second time. Such a checkpoint is made from the
 * memory of an open store, and refused; the log behind it has all. */
#include "image/self_check.h"
#include "index/chunk_check.h"
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

#define NAMES 60

TestSuite(free_chains, .init = setup, .fini = teardown, .timeout = 60);

static const char *name_of(int i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "name%d", i);
    return name;
}

static void create(int from, int end)
{
    for (int i = from; i < end; i++)
        cr_assert(unit_create(&u, name_of(i)) != 0);
}

/* After a kill, of a checkpoint that was not right. */
static void expect_refused(void)
{
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(strstr(u.all_warnings, "cannot be used"), "%s", u.all_warnings);
    cr_assert_eq(unit_problems(&u), 0);
    create(40, NAMES);
    for (int i = 0; i < NAMES; i++)
        cr_assert(unit_lookup(&u, name_of(i)) != 0, "%d", i);
    cr_assert_eq(unit_problems(&u), 0);
    for (int i = 0; i < NAMES; i++)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)), 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* The table says that the record, which is in use, is free. */
static void forge(unsigned which, uint16_t place)
{
    self_check_is_forged = true;
    create(0, 40);
    struct table *t = index_table(&u.eng->idx, which);
    cr_assert(t->used > place && t->n_free == 0);
    t->metas[0] = (struct table_meta){.free_head = place, .n_free = 1};
    t->n_free = 1;
    expect_refused();
}

Test(free_chains, of_buckets_there_are_none)
{
    forge(TABLE_BUCKETS, 7);
}

Test(free_chains, lead_to_no_dentry_in_use)
{
    forge(TABLE_DENTRIES, 7);
}

Test(free_chains, lead_to_no_inode_in_use)
{
    forge(TABLE_INODES, 7);
}

Test(free_chains, lead_to_no_segment_in_use)
{
    forge(TABLE_SEGMENTS, 1);
}

/* A chain that begins well. */
Test(free_chains, lead_to_none_in_use_further_on)
{
    self_check_is_forged = true;
    create(0, 42);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(41)), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(40)), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    struct table *t = &u.eng->idx.dentries;
    cr_assert_eq(t->n_free, 2);
    t->metas[0].n_free = 3; /* the last one leads to record 0, which is not */
    uint32_t last = t->metas[0].free_head, in_use = 7;
    memcpy(&last, (const uint8_t *)table_get(t, last), 4);
    memcpy(table_mut(t, last), &in_use, 4);
    t->n_free = 3;
    expect_refused();
}

/* It ends where no record is, whatever the bytes there say. */
Test(free_chains, lead_nowhere_else)
{
    static uint32_t chunk[TABLE_CHUNK_SIZE / sizeof(uint32_t)];
    struct table_meta m = {.n_free = 2};
    chunk[0] = 0x7fffffff;
    cr_assert_eq(index_check_free(0, &m, (const uint8_t *)chunk), -EBADMSG);
}

/* What is neither in use nor free is never used again, which is told and harms nobody. */
Test(free_chains, have_all_that_is_free)
{
    self_check_is_forged = true;
    create(0, 41);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(40)), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    struct table *t = &u.eng->idx.dentries;
    cr_assert_eq(t->n_free, 1);
    t->metas[0].n_free = 0;
    t->n_free = 0;
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(u.warnings, 0, "%s", u.all_warnings);
    for (int i = 0; i < 40; i++)
        cr_assert(unit_lookup(&u, name_of(i)) != 0, "%d", i);
    cr_assert_geq(unit_problems(&u), 1);
}

/* The log goes on where a batch can end. */
Test(free_chains, nor_is_a_place_of_the_log_believed)
{
    create(0, 40);
    u.eng->log.tail += 4;
    self_check_is_forged = true;
    cr_assert_eq(checkpoint_write(u.eng), 0);
    u.eng->log.tail -= 4;
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(strstr(u.all_warnings, "cannot be used"), "%s", u.all_warnings);
    for (int i = 0; i < 40; i++)
        cr_assert(unit_lookup(&u, name_of(i)) != 0, "%d", i);
}

/*
 * test_full_past.c - a full disk, and a snapshot of what is on it: what it shows stays, all else can be
 * removed, and dropping it gives room. */
#include "admin.h"
#include "inside.h"
#include "must.h"
#include "one_store.h"

#include <criterion/criterion.h>

#define FILES 20000u
#define OTHERS 50u /* that the snapshot does not show */
#define ROUNDS 6u  /* in which all has to be given back */

TestSuite(full_past, .init = setup, .fini = teardown, .timeout = 300);

static const char *name_of(const char *kind, unsigned i)
{
    static char name[32];
    (void)snprintf(name, sizeof name, "%s%u", kind, i * 7919 % FILES);
    return name;
}

/* A store with a snapshot of files of that size; the disk is full, by others or by its own writing. */
static void fill(unsigned size, bool by_others)
{
    static const uint8_t block[20000] = {1};
    for (unsigned i = 0; i < FILES; i++)
        (void)unit_file(&u, name_of("f", i), size, i);
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    for (unsigned i = 0; i < OTHERS; i++)
        (void)unit_file(&u, name_of("other", i), 5000, i);
    MUST(eng_sync(u.eng) == 0 && eng_tick(u.eng) == 0);
    uint64_t last = unit_create(&u, "last");
    simdisk_limit(u.disk, simdisk_used(u.disk) + (by_others ? 0 : 1 << 20));
    for (uint64_t off = 0; !by_others && eng_write(u.eng, last, block, sizeof block, off) > 0;)
        off += sizeof block;
}

/* How many more of the files can be removed. */
static int remove_more(unsigned *i)
{
    int r = 0;
    while (*i < FILES && (r = eng_unlink(u.eng, ENG_ROOT_INO, name_of("f", *i))) == 0)
        ++*i;
    return r;
}

static void empty(unsigned size, bool by_others)
{
    unsigned i = 0;
    fill(size, by_others);
    cr_assert_eq(remove_more(&i), -ENOSPC);
    cr_assert(i < FILES);
    for (unsigned k = 0; k < OTHERS; k++)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of("other", k)), 0, "of what it does not show");
    cr_assert_eq(remove_more(&i), -ENOSPC);
    cr_assert_eq(eng_snapshot_drop(u.eng, "s"), 0);
    for (unsigned round = 0; round < ROUNDS && i < FILES; round++) {
        (void)eng_tick(u.eng);
        (void)eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL);
        (void)eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL);
        (void)remove_more(&i);
        (void)eng_close(u.eng);
        u.eng = NULL;
        unit_open(&u);
    }
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    cr_assert(i == FILES && u.eng->idx.s.n_past == 0 && u.eng->idx.s.n_past_names == 0);
    simdisk_limit(u.disk, 0);
}

Test(full_past, of_small_memories_goes_when_others_fill_the_disk)
{
    empty(0, true);
}

Test(full_past, of_small_memories_goes_when_the_store_fills_the_disk)
{
    empty(0, false);
}

Test(full_past, of_memories_goes_when_the_store_fills_the_disk)
{
    empty(500, false);
}

Test(full_past, of_larger_memories_goes_when_the_store_fills_the_disk)
{
    empty(3000, false);
}

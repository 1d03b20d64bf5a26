/*
 * test_frozen_batches.c - what one batch copies of the index while a view is frozen, a checkpoint's, say: for
 * so long everybody waits. Chunks that are born in the present period of freezes are counted, from batch to
 * batch. */
#include "inside.h"

#include "must.h"
#include "tree/view.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define FILES 60000u /* in 117 chunks of inodes */
#define MANY 500u
#define MOST 26u
#define FAR 3583u /* from file to file: each is in another chunk than the one before */
#define FARTHER 7177u

static struct unit u;
static struct view *frozen;
static unsigned copied, worst, batches;

static unsigned born_now(void)
{
    unsigned n = 0;
    for (unsigned t = 0; t < INDEX_TABLES; t++) {
        const struct table *table = index_table(&u.eng->idx, t);
        for (uint32_t c = 0; c < table->n_chunks; c++)
            n += table->births[c] == pool_clock(table->pool);
    }
    return n;
}

static void count_batch(void)
{
    unsigned n = born_now();
    worst = MAX_OF(worst, n - copied);
    copied = n;
}

/* What the batch before this one has copied. */
static void look(void *arg, enum fault_point point)
{
    (void)arg;
    if (point == FP_LOG_WRITTEN && batches++)
        count_batch();
}

static const char *name_of(unsigned i)
{
    static _Thread_local char name[16];
    (void)snprintf(name, sizeof name, "%08u", i);
    return name;
}

static void put(unsigned n, unsigned step, size_t size)
{
    static char names[MANY][16];
    static struct eng_record records[MANY];
    for (unsigned i = 0; i < n; i += MANY) {
        for (unsigned k = 0; k < MANY; k++) {
            memcpy(names[k], name_of((i + k) * step % FILES), 16);
            records[k] = (struct eng_record){
                .parent = ENG_ROOT_INO, .name = names[k], .content = "content", .size = size, .mode = 0644};
        }
        MUST(eng_put_many(u.eng, records, MANY) == MANY);
    }
}

static void freeze(void)
{
    MUST(eng_hold(u.eng) == 0 && view_freeze(u.eng, &frozen) == 0);
    copied = worst = batches = 0;
    u.eng->hook.arg = NULL;
    atomic_store(&u.eng->hook.fn, look);
}

static void thaw(void)
{
    atomic_store(&u.eng->hook.fn, NULL);
    count_batch(); /* the last */
    view_thaw(frozen);
    MUST(eng_release(u.eng) == 0 && unit_problems(&u) == 0);
}

static void setup(void)
{
    unit_new(&u, 4 << 20);
    u.opt.relatime = true;
    unit_reopen(&u);
    put(FILES, 1, 7);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(frozen_batches, .init = setup, .fini = teardown, .timeout = 120);

static void expect_few(void)
{
    cr_assert(worst > 10 && worst <= MOST, "%u chunks were copied for one of %u batches", worst, batches);
    cr_assert_geq(copied, 117u);
}

/* An import. */
Test(frozen_batches, records_come_a_few_at_a_time)
{
    freeze();
    put(MANY, FAR, 5);
    thaw();
    expect_few();
}

/* A compaction: what is left of a segment is what was written at random. */
Test(frozen_batches, survivors_are_installed_a_few_at_a_time)
{
    put(FILES, FAR, 6);
    put(FILES / 2, FARTHER, 5);
    MUST(checkpoint_write(u.eng) == 0);
    freeze();
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    thaw();
    expect_few();
}

/* Times of files that were read. */
Test(frozen_batches, times_are_written_a_few_at_a_time)
{
    freeze(); /* which writes all that is pending */
    for (unsigned i = 0; i < MANY; i++)
        eng_accessed(u.eng, unit_lookup(&u, name_of(i * FAR % FILES)));
    atimes_flush(u.eng);
    thaw();
    expect_few();
}

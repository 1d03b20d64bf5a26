/*
 * test_shrunk.c - a store that had many memories is, once they are removed and it was compacted, as large as
 * one that never had them: in memory, in what a checkpoint has, on the disk; while it is open, and opened
 * again, after an orderly end and after kill -9. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

#define KEPT 3000u
#define GONE 30000u
#define AT_ONCE 1000u
#define SIZE 100u

static struct unit u, fresh;

static void teardown(void)
{
    unit_done(&u);
    unit_done(&fresh);
}

TestSuite(shrunk, .fini = teardown, .timeout = 240);

static void put(struct unit *s, const char *prefix, unsigned n)
{
    static char names[AT_ONCE][24];
    static struct eng_record records[AT_ONCE];
    uint8_t *content = unit_bytes(SIZE, 7);
    for (unsigned i = 0; i < n; i += AT_ONCE) {
        for (unsigned k = 0; k < AT_ONCE; k++) {
            (void)snprintf(names[k], sizeof(names[k]), "%s%u", prefix, i + k);
            records[k] = (struct eng_record){.parent = ENG_ROOT_INO,
                                             .name = names[k],
                                             .content = content,
                                             .size = SIZE,
                                             .mode = S_IFREG | 0644};
        }
        cr_assert_eq(eng_put_many(s->eng, records, AT_ONCE), AT_ONCE);
    }
    free(content);
}

static void remove_all(struct unit *s, const char *prefix, unsigned n)
{
    char name[24];
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(name, sizeof(name), "%s%u", prefix, i * 7919 % n); /* in another order */
        cr_assert_eq(eng_unlink(s->eng, ENG_ROOT_INO, name), 0, "%s", name);
    }
}

/* What housekeeping does by itself where there are threads. */
static void settle(struct unit *s)
{
    cr_assert_eq(eng_tick(s->eng), 0);
    cr_assert_eq(eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(checkpoint_write(s->eng), 0);
        cr_assert_eq(eng_tick(s->eng), 0);
    }
}

struct sizes {
    uint64_t image, memory, segments;
};

static struct sizes measure(struct unit *s)
{
    struct index *idx = &s->eng->idx;
    struct sizes z = {.segments = segments_bytes(&s->eng->segments)};
    for (unsigned i = 0; i < INDEX_TABLES; i++) {
        const struct table *t = index_table(idx, i);
        for (uint32_t c = 0; c < t->n_chunks; c++)
            z.image += t->states[c] == TABLE_DROPPED ? 0 : table_chunk_len(t, c);
    }
    z.memory = unit_stats(s).index_bytes;
    return z;
}

static void expect_like(const struct sizes *is, const struct sizes *should, const char *when)
{
    printf("%s: image %llu of %llu, memory %llu of %llu, segments %llu of %llu\n", when,
           (unsigned long long)is->image, (unsigned long long)should->image, (unsigned long long)is->memory,
           (unsigned long long)should->memory, (unsigned long long)is->segments,
           (unsigned long long)should->segments);
    cr_assert_leq(is->image, should->image + should->image / 10 + TABLE_CHUNK_SIZE, "%s", when);
    cr_assert_leq(is->memory, should->memory + should->memory / 10 + TABLE_CHUNK_SIZE, "%s", when);
    cr_assert_leq(is->segments, should->segments + should->segments / 10 + 4 * UNIT_SEGMENT, "%s", when);
}

Test(shrunk, removed_memories_leave_nothing_behind)
{
    unit_new(&fresh, 0);
    put(&fresh, "kept", KEPT);
    settle(&fresh);
    struct sizes should = measure(&fresh);
    unit_new(&u, 0);
    put(&u, "kept", KEPT);
    settle(&u);
    put(&u, "gone", GONE);
    settle(&u);
    struct sizes full = measure(&u);
    cr_assert_gt(full.image, 5 * should.image, "there was something to remove");
    remove_all(&u, "gone", GONE);
    settle(&u);
    struct sizes is = measure(&u);
    expect_like(&is, &should, "open");
    unit_reopen(&u);
    is = measure(&u);
    expect_like(&is, &should, "opened again");
    put(&u, "more", AT_ONCE);
    remove_all(&u, "more", AT_ONCE);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    settle(&u);
    is = measure(&u);
    expect_like(&is, &should, "after kill -9");
    cr_assert_eq(unit_problems(&u), 0);
    for (unsigned i = 0; i < KEPT; i += 100) {
        char name[24];
        (void)snprintf(name, sizeof(name), "kept%u", i);
        cr_assert(unit_holds(&u, unit_lookup(&u, name), SIZE, 7), "%s", name);
    }
}

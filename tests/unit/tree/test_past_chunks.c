/*
 * test_past_chunks.c - past states have chunks of the inodes for themselves: when they have gone the index,
 * and what a checkpoint has of it, are as small as if they had never been. */
#include "history_tree.h"

#include "image/freeze.h"

#define FILES 8000u
#define PER_CHUNK 512u
#define CHUNK 65536u

TestSuite(past_chunks, .timeout = 300, .fini = tree_end);

/* Memories are made while others change, a second later or more. */
static void make_and_change(bool history)
{
    static uint64_t inos[FILES];
    char name[16];
    begin(1);
    if (!history)
        set_history(0);
    for (unsigned i = 0; i < 20; i++)
        change();
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "file%u", i);
        inos[i] = unit_file(&u, name, 10, i);
        pass_ms(1500);
        if (i > 0)
            unit_write(&u, inos[i - 1], 10, i, 0);
    }
}

struct size {
    uint64_t image, memory;
};

/* Of all tables but that of moments. */
static struct size size_of_index(void)
{
    struct size size = {0};
    freeze_shrink(u.eng);
    for (unsigned i = 0; i < INDEX_TABLES; i++) {
        const struct table *t = index_table(&u.eng->idx, i);
        for (uint32_t c = 0; c < t->n_chunks && i != TABLE_MOMENTS; c++) {
            size.image += t->states[c] == TABLE_DROPPED ? 0 : table_chunk_len(t, c);
            size.memory += t->states[c] == TABLE_DROPPED ? 0 : CHUNK;
        }
    }
    return size;
}

static bool has_past(uint32_t c)
{
    bool has = false;
    for (uint32_t slot = c * PER_CHUNK; slot < (c + 1) * PER_CHUNK; slot++) {
        const struct inode_rec *inode = index_slot(&u.eng->idx, slot);
        has = has || (inode && inode->flags & INODE_PAST);
    }
    return has;
}

static uint32_t chunk_of(uint64_t number)
{
    return ino_slot(number) / PER_CHUNK;
}

/* What chunks hold whole is as if nothing had been; the rest: one that is begun, one that was cut off when
 * past states came behind it, and the first, where states of the root may stand yet. */
Test(past_chunks, a_history_that_has_gone_takes_nothing)
{
    enum { REST = 3 * CHUNK };
    make_and_change(false);
    struct size never = size_of_index(), now;
    tree_end();
    make_and_change(true);
    uint64_t kept = n_past();
    cr_assert_geq(kept, FILES - 1);
    now = size_of_index();
    cr_assert_geq(now.image, never.image + kept * 128);
    set_history(1);
    pass_ms(3600000);
    (void)unit_create(&u, "last");
    sweep();
    cr_assert_leq(n_past(), 4);
    now = size_of_index();
    printf("%u memories and %llu past states: image %llu, of a store without %llu; memory %llu, %llu\n",
           FILES, (unsigned long long)kept, (unsigned long long)now.image, (unsigned long long)never.image,
           (unsigned long long)now.memory, (unsigned long long)never.memory);
    cr_assert_leq(now.image, never.image + never.image / 100 + REST);
    cr_assert_leq(now.memory, never.memory + never.memory / 100 + REST);
    cr_assert_eq(unit_problems(&u), 0);
}

/* The first number of either kind, with what is free in chunks of the other, and as a replay had it. */
static void expect_apart(void)
{
    uint64_t ino = index_predict_ino(&u.eng->idx, NULL), past = index_predict_past(&u.eng->idx, NULL, NULL);
    cr_assert(!has_past(chunk_of(ino)));
    cr_assert(has_past(chunk_of(past)));
    cr_assert_neq(chunk_of(ino), chunk_of(past));
}

Test(past_chunks, an_opening_and_a_replay_know_which_they_are)
{
    make_and_change(true);
    expect_apart();
    unit_reopen(&u); /* from a checkpoint */
    expect_apart();
    set_history(1u << 30);
    unit_write(&u, unit_lookup(&u, "file1"), 10, 0, 0);
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_DROP_ALL, 1);
    unit_open(&u);
    expect_apart();
}

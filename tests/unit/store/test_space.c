/*
 * test_space.c - the space receipt: each byte that the disk counts is in one of its kinds, in every state
 * that a segment can be in, and goes by what that kind says. */
#include "hook.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define N_FILES 24
#define SIZE 5000u

static struct unit u;

/* The receipt; it adds up, and nothing but slack is below zero. */
static struct eng_space receipt(void)
{
    struct eng_space sp;
    cr_assert_eq(eng_space(u.eng, &sp), 0);
    int64_t sum = 0;
    for (int i = 0; i < ENG_SPACE_KINDS; i++) {
        cr_assert(i == ENG_SPACE_SLACK || sp.bytes[i] >= 0, "%s: %lld", eng_space_kinds[i].key,
                  (long long)sp.bytes[i]);
        sum += sp.bytes[i];
    }
    cr_assert_eq(sum, (int64_t)sp.disk_bytes);
    return sp;
}

static int64_t bytes(enum eng_space_id kind)
{
    return receipt().bytes[kind];
}

static void name_of(int i, char ret[16])
{
    (void)snprintf(ret, 16, "f%d", i);
}

static void setup(void)
{
    unit_new(&u, 0);
    for (int i = 0; i < N_FILES; i++) {
        char name[16];
        name_of(i, name);
        unit_file(&u, name, SIZE, (uint64_t)i);
    }
    cr_assert_eq(eng_sync(u.eng), 0);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(space, .init = setup, .fini = teardown);

static void remove_files(int from, int to)
{
    for (int i = from; i < to; i++) {
        char name[16];
        name_of(i, name);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name), 0);
    }
}

/* All in the first segment dies. */
static uint32_t empty_first_segment(void)
{
    remove_files(0, 14); /* those that fill the first 64 KiB */
    const struct seg_rec *first = index_segment(&u.eng->idx, 1);
    cr_assert(first && first->live == 0, "the first segment is empty");
    return 1;
}

static int64_t size_of(uint32_t id)
{
    return (int64_t)segments_size_of(&u.eng->segments, id);
}

Test(space, what_is_live_and_what_died)
{
    cr_assert_eq(bytes(ENG_SPACE_LIVE), N_FILES * SIZE);
    cr_assert_eq(bytes(ENG_SPACE_DEAD) + bytes(ENG_SPACE_DEAD_ACTIVE), 0);
    remove_files(0, 2);
    remove_files(N_FILES - 1, N_FILES);
    cr_assert_eq(bytes(ENG_SPACE_LIVE), (N_FILES - 3) * SIZE);
    cr_assert_eq(bytes(ENG_SPACE_DEAD), 2 * SIZE);
    cr_assert_eq(bytes(ENG_SPACE_DEAD_ACTIVE), SIZE);
}

Test(space, an_emptied_segment_waits_for_sync_checkpoint_release_reader_and_committer)
{
    struct segment *seg;
    uint32_t id = empty_first_segment();
    int64_t size = size_of(id);
    cr_assert_eq(bytes(ENG_SPACE_WAIT_SYNC), size);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(bytes(ENG_SPACE_WAIT_CHECKPOINT), size);
    cr_assert_eq(segments_pin(&u.eng->segments, id, &seg), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    for (int i = 0; i < 2; i++) { /* recovery may use the older of two */
        struct eng_caller who = {0};
        struct eng_attr attr;
        cr_assert_eq(eng_create(u.eng, &who, ENG_ROOT_INO, i ? "x" : "y", S_IFREG | 0600, 0, NULL, &attr), 0);
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    cr_assert_eq(bytes(ENG_SPACE_HELD), size);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(bytes(ENG_SPACE_PINNED), size);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(bytes(ENG_SPACE_PINNED), size, "a reader keeps it");
    segments_unpin(seg);
    cr_assert_eq(bytes(ENG_SPACE_EMPTY), size);
    cr_assert_eq(eng_tick(u.eng), 0);
    struct eng_space sp = receipt();
    for (int i = ENG_SPACE_HELD; i <= ENG_SPACE_EMPTY; i++)
        cr_assert_eq(sp.bytes[i], 0, "%s", eng_space_kinds[i].key);
    cr_assert_eq(size_of(id), 0, "it is gone");
}

Test(space, orphans_are_told_with_id_and_size)
{
    struct eng_caller who = {.ref = true};
    struct eng_attr attr;
    cr_assert_eq(eng_lookup(u.eng, &who, ENG_ROOT_INO, "f3", &attr), 0);
    remove_files(3, 4);
    struct eng_space sp = receipt();
    cr_assert_eq(sp.bytes[ENG_SPACE_ORPHANS], SIZE);
    cr_assert_eq(sp.n_orphans, 1);
    cr_assert_eq(sp.orphans[0].ino, attr.ino);
    cr_assert_eq(sp.orphans[0].bytes, SIZE);
    cr_assert_str_eq(sp.orphans[0].path, "f3");
    cr_assert_eq(eng_forget(u.eng, attr.ino, 1), 0);
    sp = receipt();
    cr_assert_eq(sp.n_orphans, 0);
    cr_assert_eq(sp.bytes[ENG_SPACE_ORPHANS], 0);
    cr_assert_eq(sp.bytes[ENG_SPACE_DEAD], SIZE);
}

static int64_t copies;
static unsigned checks;

static void check_receipt(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_COMPACT_COPIED)
        return;
    struct eng_space sp = receipt();
    copies = MAX_OF(copies, sp.bytes[ENG_SPACE_COPIES]);
    checks++;
}

Test(space, copies_of_a_compaction_are_told_while_it_runs)
{
    remove_files(0, 6);
    hook_set(u.eng, check_receipt, NULL);
    cr_assert_eq(eng_compact(u.eng, NULL), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_gt(checks, 0);
    cr_assert_geq(copies, (int64_t)SIZE, "at least one extent, before any was installed");
    cr_assert_eq(bytes(ENG_SPACE_COPIES), 0);
    cr_assert_eq(bytes(ENG_SPACE_LIVE), (N_FILES - 6) * SIZE);
    cr_assert_eq(bytes(ENG_SPACE_DEAD) + bytes(ENG_SPACE_DEAD_ACTIVE), 0);
}

Test(space, checkpoints_and_reserve_are_those_of_the_files)
{
    cr_assert_eq(checkpoint_write(u.eng), 0);
    struct eng_stats st = unit_stats(&u);
    cr_assert_gt(bytes(ENG_SPACE_CHECKPOINTS), 0);
    cr_assert_geq(bytes(ENG_SPACE_CHECKPOINTS), (int64_t)st.checkpoint_bytes);
    cr_assert_eq(bytes(ENG_SPACE_RESERVE), (int64_t)st.reserve_bytes);
}

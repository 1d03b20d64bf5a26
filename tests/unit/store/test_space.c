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
    for (unsigned i = 0; i < sp.n_kinds; i++) {
        const struct eng_space_kind *k = &sp.kinds[i];
        cr_assert(k->id == ENG_SPACE_SLACK || k->bytes >= 0, "%s: %lld", k->key, (long long)k->bytes);
        sum += k->bytes;
    }
    cr_assert_eq(sum, (int64_t)sp.disk_bytes);
    return sp;
}

static int64_t bytes_in(const struct eng_space *sp, const char *key)
{
    for (unsigned i = 0; i < sp->n_kinds; i++) {
        if (strcmp(sp->kinds[i].key, key) == 0)
            return sp->kinds[i].bytes;
    }
    cr_assert_fail("no kind %s", key);
    return 0;
}

static int64_t bytes(const char *key)
{
    const struct eng_space sp = receipt();
    return bytes_in(&sp, key);
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
    cr_assert_eq(bytes("live"), N_FILES * SIZE);
    cr_assert_eq(bytes("dead") + bytes("dead_active"), 0);
    remove_files(0, 2);
    remove_files(N_FILES - 1, N_FILES);
    cr_assert_eq(bytes("live"), (N_FILES - 3) * SIZE);
    cr_assert_eq(bytes("dead"), 2 * SIZE);
    cr_assert_eq(bytes("dead_active"), SIZE);
}

Test(space, an_emptied_segment_waits_for_sync_checkpoint_release_reader_and_committer)
{
    struct segment *seg;
    uint32_t id = empty_first_segment();
    int64_t size = size_of(id);
    cr_assert_eq(bytes("waiting_sync"), size);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(bytes("waiting_checkpoint"), size);
    cr_assert_eq(segments_pin(&u.eng->segments, id, &seg), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    for (int i = 0; i < 2; i++) { /* recovery may use the older of two */
        struct eng_caller who = {0};
        struct eng_attr attr;
        cr_assert_eq(eng_create(u.eng, &who, ENG_ROOT_INO, i ? "x" : "y", S_IFREG | 0600, 0, NULL, &attr), 0);
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    cr_assert_eq(bytes("held"), size);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(bytes("pinned"), size);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(bytes("pinned"), size, "a reader keeps it");
    segments_unpin(seg);
    cr_assert_eq(bytes("empty"), size);
    cr_assert_eq(eng_tick(u.eng), 0);
    struct eng_space sp = receipt();
    for (unsigned i = 0; i < sp.n_kinds; i++) {
        if (sp.kinds[i].id == ENG_SPACE_KEPT || sp.kinds[i].id == ENG_SPACE_EMPTY)
            cr_assert_eq(sp.kinds[i].bytes, 0, "%s", sp.kinds[i].key);
    }
    cr_assert_eq(size_of(id), 0, "it is gone");
}

Test(space, orphans_are_told_with_id_and_size)
{
    struct eng_caller who = {.ref = true};
    struct eng_attr attr;
    cr_assert_eq(eng_lookup(u.eng, &who, ENG_ROOT_INO, "f3", &attr), 0);
    remove_files(3, 4);
    struct eng_space sp = receipt();
    cr_assert_eq(bytes_in(&sp, "orphans"), SIZE);
    cr_assert_eq(sp.n_orphans, 1);
    cr_assert_eq(sp.orphans[0].ino, attr.ino);
    cr_assert_eq(sp.orphans[0].bytes, SIZE);
    cr_assert_str_eq(sp.orphans[0].path, "f3");
    cr_assert_eq(eng_forget(u.eng, attr.ino, 1), 0);
    sp = receipt();
    cr_assert_eq(sp.n_orphans, 0);
    cr_assert_eq(bytes_in(&sp, "orphans"), 0);
    cr_assert_eq(bytes_in(&sp, "dead"), SIZE);
}

static int64_t copies;
static unsigned checks;

static void check_receipt(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_COMPACT_COPIED)
        return;
    struct eng_space sp = receipt();
    copies = MAX_OF(copies, bytes_in(&sp, "copies"));
    checks++;
}

Test(space, copies_of_a_compaction_are_told_while_it_runs)
{
    remove_files(0, 6);
    hook_set(u.eng, check_receipt, NULL);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_gt(checks, 0);
    cr_assert_geq(copies, (int64_t)SIZE, "at least one extent, before any was installed");
    cr_assert_eq(bytes("copies"), 0);
    cr_assert_eq(bytes("live"), (N_FILES - 6) * SIZE);
    cr_assert_eq(bytes("dead") + bytes("dead_active"), 0);
}

Test(space, checkpoints_and_reserve_are_those_of_the_files)
{
    cr_assert_eq(checkpoint_write(u.eng), 0);
    struct eng_stats st = unit_stats(&u);
    cr_assert_gt(bytes("checkpoints"), 0);
    cr_assert_geq(bytes("checkpoints"), (int64_t)st.checkpoint_bytes);
    cr_assert_eq(bytes("reserve"), (int64_t)st.reserve_bytes);
}

static uint64_t segment_bytes(void)
{
    struct eng_stats st = unit_stats(&u);
    return st.disk_bytes - st.checkpoint_bytes;
}

Test(space, metadata_of_the_log_is_spent_once_no_recovery_needs_it)
{
    struct eng_job_report rep;
    for (int i = 0; i < 900; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "tiny%d", i);
        unit_file(&u, name, 20, (uint64_t)i);
    }
    cr_assert_eq(bytes("metadata_spent"), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    int64_t spent = bytes("metadata_spent");
    struct eng_stats st = unit_stats(&u);
    cr_assert_gt(spent, 60000);
    cr_assert_eq(spent, (int64_t)st.spent_bytes);
    cr_assert_float_eq(st.fragmentation_ratio,
                       (double)(st.total_bytes + st.spent_bytes - st.live_bytes) /
                           (double)(st.total_bytes + st.spent_bytes),
                       1e-9);
    uint64_t before = segment_bytes();
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_leq(segment_bytes() + (uint64_t)spent, before, "no more is promised than is given back");
    cr_assert_eq(bytes("metadata_spent"), 0);
    cr_assert_gt(bytes("metadata"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.bytes_moved, 0, "survivors hold what they need");
    for (int i = 0; i < 900; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "tiny%d", i);
        cr_assert(unit_holds(&u, unit_lookup(&u, name), 20, (uint64_t)i));
    }
}

/* Of survivors that lie beside dead content the heads of the dead count, and none of the others. */
Test(space, of_survivors_the_share_of_what_is_dead_is_spent)
{
    for (int i = 0; i < 200; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "tiny%d", i);
        unit_file(&u, name, 20, (uint64_t)i);
    }
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    remove_files(0, 6);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(bytes("metadata_spent"), 0);
    int64_t metadata = bytes("metadata");
    for (int i = 0; i < 200; i += 2) {
        char name[16];
        (void)snprintf(name, sizeof name, "tiny%d", i);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name), 0);
    }
    int64_t spent = bytes("metadata_spent");
    cr_assert(spent > 0 && spent < metadata / 2, "%lld of %lld", (long long)spent, (long long)metadata);
}

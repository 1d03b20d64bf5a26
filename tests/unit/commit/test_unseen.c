/*
 * test_unseen.c - what is written to a memory when no snapshot shows it any more goes when nobody has it
 * open; what the snapshots show stays as it is. */
#include "hook.h"
#include "rng.h"
#include "snapshot_copies.h"

#include "one_store.h"

TestSuite(unseen, .init = setup, .fini = teardown, .timeout = 120);

#define PIECES 40u
#define PIECE 9000u

static const struct eng_caller opener = {.ref = true};

static uint64_t open_file(const char *name)
{
    struct eng_attr attr;
    MUST(eng_lookup(u.eng, &opener, ENG_ROOT_INO, name, &attr) == 0);
    return attr.ino;
}

static void set_value(uint64_t ino, const char *name, size_t size, uint64_t seed)
{
    uint8_t *value = unit_bytes(size, seed);
    MUST(eng_setxattr(u.eng, ino, name, value, size, 0) == 0);
    free(value);
}

/* Content over what was there and behind it, and fields. */
static void write_all(uint64_t ino, uint64_t seed)
{
    for (unsigned i = 0; i < PIECES; i++)
        unit_write(&u, ino, PIECE, seed + i, (uint64_t)i * 2 * PIECE);
    set_value(ino, "user.new", 30000, seed);
    set_value(ino, "user.old", 40000, seed);
    MUST(eng_removexattr(u.eng, ino, "user.gone") == 0 || seed > 100);
}

static uint64_t live(void)
{
    return u.eng->idx.s.live;
}

static uint64_t make(void)
{
    uint64_t ino = unit_file(&u, "f", 30000, 1);
    set_value(ino, "user.old", 5000, 2);
    set_value(ino, "user.gone", 10, 3);
    return ino;
}

/* Nothing but what the snapshots show is left: what there was when the first was made. */
static void compare(struct copy *copies, size_t n, uint64_t before)
{
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < n; i++)
            copy_compare(&u, &copies[i]);
        cr_assert_eq(live(), before, "%llu, not %llu", (unsigned long long)live(),
                     (unsigned long long)before);
        cr_assert_eq(unit_problems(&u), 0);
        if (round)
            MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        else
            unit_reopen(&u);
    }
    for (size_t i = 0; i < n; i++)
        copy_free(&copies[i]);
}

/* A file that is open is removed, and written; another snapshot is made meanwhile, which does not show it.
 * `cut`: the power fails before it is closed. */
static void removed(bool cut)
{
    uint64_t ino = make(), before = live();
    struct copy copies[2] = {copied_snapshot(&u, "s")};
    MUST(open_file("f") == ino);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    write_all(ino, 100);
    copies[1] = copied_snapshot(&u, "t");
    uint64_t states = u.eng->idx.s.n_past;
    write_all(ino, 200);
    cr_assert_eq(u.eng->idx.s.n_past, states, "what has no name has no state that is kept");
    cr_assert_gt(live(), before + PIECES * PIECE);
    if (cut) {
        MUST(eng_sync(u.eng) == 0);
        unit_kill(&u, SIM_DROP_ALL, 1);
        unit_open(&u);
    } else {
        MUST(eng_sync(u.eng) == 0);
        cr_assert_gt(live(), before + PIECES * PIECE, "as long as it is open");
        MUST(eng_forget(u.eng, ino, 1) == 0);
    }
    MUST(eng_sync(u.eng) == 0);
    compare(copies, 2, before);
}

Test(unseen, is_what_a_removed_file_got)
{
    removed(false);
}

Test(unseen, is_what_a_removed_file_got_before_a_cut)
{
    removed(true);
}

/* Who reads the snapshot sees the file, whatever goes. */
Test(unseen, is_no_view)
{
    static uint8_t buf[30000];
    struct eng_view *view;
    uint64_t ino = make(), batch;
    MUST(eng_snapshot_create(u.eng, "s", &batch) == 0);
    MUST(open_file("f") == ino && eng_view_open(u.eng, batch, &view) == 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    write_all(ino, 100);
    uint8_t *bytes = unit_bytes(sizeof buf, 1);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(eng_view_read(view, ino, buf, sizeof buf, 0), (ssize_t)sizeof buf);
        cr_assert_eq(memcmp(buf, bytes, sizeof buf), 0, "%u", i);
        if (i == 0)
            MUST(eng_forget(u.eng, ino, 1) == 0 && eng_sync(u.eng) == 0);
        if (i == 1) /* the view goes on */
            MUST(eng_snapshot_drop(u.eng, "s") == 0 && eng_tick(u.eng) == 0);
        if (i == 2)
            MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    }
    free(bytes);
    eng_view_close(view);
    MUST(eng_tick(u.eng) == 0);
    cr_assert(live() == 0 && u.eng->idx.s.n_past == 0);
}

/* The name that a snapshot shows has become another one, which none does; so a log goes that was turned. */
Test(unseen, is_what_a_renamed_file_got)
{
    uint64_t ino = make(), before = live();
    struct copy copy = copied_snapshot(&u, "s");
    MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "f", ENG_ROOT_INO, "f.1", 0) == 0);
    write_all(ino, 100);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f.1") == 0);
    MUST(eng_sync(u.eng) == 0);
    compare(&copy, 1, before);
}

/* The same when another snapshot shows it, until that is dropped. */
Test(unseen, is_what_a_dropped_snapshot_showed)
{
    uint64_t ino = make(), before = live();
    struct copy copies[2] = {copied_snapshot(&u, "s")};
    MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "f", ENG_ROOT_INO, "f.1", 0) == 0);
    write_all(ino, 100);
    copies[1] = copied_snapshot(&u, "t");
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f.1") == 0);
    MUST(eng_sync(u.eng) == 0);
    copy_compare(&u, &copies[0]);
    copy_compare(&u, &copies[1]);
    cr_assert_gt(live(), before + PIECES * PIECE);
    MUST(eng_snapshot_drop(u.eng, "t") == 0 && eng_tick(u.eng) == 0);
    copy_free(&copies[1]);
    compare(copies, 1, before);
}

/* More extents than one batch takes, some of which a past state reads; and a tail, which goes first. */
Test(unseen, goes_in_slices)
{
    static uint8_t one[1] = {1};
    uint64_t ino = unit_create(&u, "f"), rng = 1;
    uint64_t n = 160;
    hook_slice(u.eng, 64);
    for (uint64_t i = 0; i < n; i++)
        MUST(eng_write(u.eng, ino, one, 1, i * 8192) == 1);
    uint64_t before = live();
    struct copy copy = copied_snapshot(&u, "s");
    MUST(open_file("f") == ino);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    for (uint64_t i = 0; i < 3 * n; i++)
        MUST(eng_write(u.eng, ino, one, 1, rng_below(&rng, 2 * n) * 4096) == 1);
    const struct eng_attr half = {.size = n * 4096};
    MUST(eng_setattr(u.eng, ino, &half, ENG_SET_SIZE, NULL) == 0);
    MUST(eng_forget(u.eng, ino, 1) == 0);
    MUST(eng_sync(u.eng) == 0);
    compare(&copy, 1, before);
}

/* What a rollback has led back to stays the snapshot's, in however many extents it is removed again. */
Test(unseen, is_not_what_a_snapshot_leaps_to)
{
    static uint8_t one[1] = {1};
    const struct eng_attr empty = {.size = 0};
    uint64_t ino = unit_create(&u, "f"), n = 160, rolled;
    hook_slice(u.eng, 64);
    for (uint64_t i = 0; i < n; i++)
        MUST(eng_write(u.eng, ino, one, 1, i * 8192) == 1);
    uint64_t before = live();
    struct copy copy = copied_snapshot(&u, "s");
    MUST(eng_setattr(u.eng, ino, &empty, ENG_SET_SIZE, NULL) == 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    MUST(eng_rollback(u.eng, ENG_ROOT_INO, copy.batch, NULL, NULL, &rolled) == 0);
    MUST(unit_lookup(&u, "f") == ino);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    MUST(eng_tick(u.eng) == 0);
    compare(&copy, 1, before);
}

/* Where the disk has no room for it at first, it goes later. */
Test(unseen, goes_when_there_is_room)
{
    uint64_t ino = make(), before = live();
    struct copy copy = copied_snapshot(&u, "s");
    MUST(open_file("f") == ino);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    write_all(ino, 100);
    MUST(eng_sync(u.eng) == 0);
    unit_spend_reserve(&u);
    simdisk_limit(u.disk, simdisk_used(u.disk));
    MUST(eng_forget(u.eng, ino, 1) == 0);
    (void)commit_orphans(u.eng);
    cr_assert_gt(live(), before, "else there was room");
    simdisk_limit(u.disk, 0);
    MUST(eng_sync(u.eng) == 0);
    cr_assert_eq(orphans_queued(u.eng), 0);
    compare(&copy, 1, before);
}

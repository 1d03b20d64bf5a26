/*
 * test_restore_edges.c - eng_restore() where others change what a memory is to become, and at its limits. */
#include "history_tree.h"

#include "core/views.h"
#include "malloc_wrap.h"

TestSuite(restore_edges, .timeout = 600, .fini = tree_end);

#define MIB (1u << 20)

static int restore(uint64_t ino, uint64_t from, uint64_t batch)
{
    const struct eng_restore one = {ino, from, batch};
    return eng_restore(u.eng, &one, 1);
}

/* ---- others at the same time ---------------------------------------- */

struct beside {
    uint64_t ino;
    enum fault_point point;
    unsigned times;
    size_t size;
};

static void write_beside(void *arg, enum fault_point point)
{
    struct beside *b = arg;
    if (point != b->point || !b->times)
        return;
    unsigned left = --b->times;
    b->times = 0;
    unit_write(&u, b->ino, b->size, 2, 0);
    b->times = left;
}

/* A state that did not stand for long goes when the next one comes: not while a memory is to become it. */
Test(restore_edges, to_what_is_written_over_meanwhile)
{
    for (unsigned i = 0; i < 2; i++) {
        struct beside b = {.point = i ? FP_WRITE_DRAFTED : FP_READ_COLLECTED, .times = 1, .size = 3 * MIB};
        begin(1);
        uint64_t ino = unit_file(&u, "f", 100, 7);
        b.ino = unit_file(&u, "g", 3 * MIB, 0);
        pass_ms(5000);
        unit_write(&u, b.ino, 3 * MIB, 1, 0);
        uint64_t at = last_batch();
        hook_set(u.eng, write_beside, &b);
        int r = restore(ino, b.ino, at);
        hook_set(u.eng, NULL, NULL);
        cr_assert_eq(r, 0);
        cr_assert_eq(b.times, 0);
        cr_assert(unit_holds(&u, b.ino, 3 * MIB, 2));
        cr_assert(unit_holds(&u, ino, 3 * MIB, 1), "what was there when it was asked for");
        cr_assert_eq(unit_problems(&u), 0);
        tree_end();
    }
    begin(1);
}

/* ---- limits ---------------------------------------- */

/* All that is copied counts, and nothing else. */
Test(restore_edges, exactly_as_much_as_a_batch_takes)
{
    begin(1);
    uint64_t full = unit_file(&u, "full", 8 * MIB, 0), same = unit_file(&u, "same", 3 * MIB, 2);
    unit_write(&u, full, 8 * MIB, 1, 8 * MIB);
    uint8_t *value = unit_bytes(ENG_XATTR_SIZE_MAX, 5);
    MUST(eng_setxattr(u.eng, same, "user.v", value, ENG_XATTR_SIZE_MAX, 0) == 0);
    uint64_t at = last_batch();
    pass_ms(5000);
    uint64_t to_full = unit_file(&u, "to full", 8 * MIB, 3), to_same = unit_file(&u, "to same", 3 * MIB, 2);
    MUST(eng_setxattr(u.eng, to_same, "user.v", value, ENG_XATTR_SIZE_MAX, 0) == 0);
    unit_write(&u, to_full, 8 * MIB, 4, 8 * MIB);
    const struct eng_restore two[] = {{to_full, full, at}, {to_same, same, at}};
    cr_assert_eq(eng_restore(u.eng, two, 2), 0);
    pass_ms(5000);
    unit_write(&u, to_full, 8 * MIB, 3, 0);
    unit_write(&u, to_full, 8 * MIB, 4, 8 * MIB);
    MUST(eng_setxattr(u.eng, to_same, "user.v", value, 100, 0) == 0);
    cr_assert_eq(eng_restore(u.eng, two, 2), -EFBIG);
    free(value);
    compare_after_all();
}

/* ---- a full disk ---------------------------------------- */

/* What a memory is to become does not go to make room for it. */
Test(restore_edges, on_a_full_disk_lets_nothing_go_of_what_it_needs)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", MIB, 0), at = last_batch(), other = unit_file(&u, "g", MIB, 10);
    for (unsigned i = 1; i < 5; i++) {
        pass_ms(5000);
        unit_write(&u, ino, MIB, i, 0);
        unit_write(&u, other, MIB, 10 + i, 0);
    }
    MUST(eng_sync(u.eng) == 0 && eng_tick(u.eng) == 0);
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    simdisk_limit(u.disk, simdisk_used(u.disk));
    int r = restore(ino, ino, at);
    simdisk_limit(u.disk, 0);
    cr_assert_eq(r, 0);
    cr_assert(unit_holds(&u, ino, MIB, 0));
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- holding others up ---------------------------------------- */

/* What is compared while all who write wait is bounded, too. */
Test(restore_edges, of_what_is_written_all_the_time_reads_no_more_than_a_batch_under_the_lock)
{
    struct beside b = {.point = FP_WRITE_DRAFTED, .times = 9, .size = 10};
    uint64_t at = 0;
    begin(1);
    uint64_t other = unit_create(&u, "g");
    b.ino = unit_create(&u, "f");
    for (unsigned i = 0; i < 20; i++) { /* twice the same */
        unit_write(&u, i < 10 ? other : b.ino, 4 * MIB, i % 10, (uint64_t)(i % 10) * 4 * MIB);
        at = last_batch();
        pass_ms(5000);
    }
    unit_write(&u, b.ino, 10, 2, 0);
    hook_set(u.eng, write_beside, &b);
    int r = restore(b.ino, other, at);
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(b.times, 6, "three times without the lock");
    cr_assert_eq(r, -EBUSY);
    cr_assert_eq(restore(b.ino, other, at), 0);
    for (unsigned i = 0; i < 10; i++) {
        static uint8_t got[4 * MIB];
        uint8_t *want = unit_bytes(sizeof got, i);
        MUST(eng_read(u.eng, b.ino, got, sizeof got, (uint64_t)i * sizeof got) == sizeof got);
        cr_assert_eq(memcmp(got, want, sizeof got), 0);
        free(want);
    }
}

/* ---- tails -------------------------------------------------- */

struct looking {
    uint64_t ino, first;
    unsigned left;
    uint8_t then[60000];
};

/* While a truncation frees a tail the memory is changed, and its state is kept. */
static void change_and_look(void *arg, enum fault_point point)
{
    struct looking *l = arg;
    if (point != FP_TAIL_SLICE || !l->left)
        return;
    l->left--;
    pass_ms(5000);
    unit_write(&u, l->ino, 10, 5, 0);
    static uint8_t got[60000];
    struct eng_view *view = tree_open(l->first);
    MUST(eng_view_read(view, l->ino, got, sizeof got, 0) == sizeof got);
    cr_assert_eq(memcmp(got, l->then, sizeof got), 0);
    tree_close(view);
}

/* What came back to the memory is cut off at once, before that stood for long. */
Test(restore_edges, a_tail_is_no_end_of_what_was)
{
    static struct looking l = {.left = 2};
    struct eng_attr attr = {.size = 10};
    begin(1);
    atomic_store(&u.eng->block_extents, 1000000);
    l.ino = unit_file(&u, "f", 60000, 0);
    for (unsigned i = 0; i < 50; i++)
        unit_write(&u, l.ino, 10, i, 1200 * i);
    MUST(eng_read(u.eng, l.ino, l.then, sizeof l.then, 0) == sizeof l.then);
    l.first = last_batch();
    pass_ms(5000);
    MUST(eng_setattr(u.eng, l.ino, &attr, ENG_SET_SIZE, NULL) == 0);
    cr_assert_eq(restore(l.ino, l.ino, l.first), 0);
    cr_assert_gt(unit_extents(&u, l.ino), 60);
    atomic_store(&u.eng->slice, 20);
    attr.size = 100; /* behind what the last state that is kept reads */
    hook_set(u.eng, change_and_look, &l);
    MUST(eng_setattr(u.eng, l.ino, &attr, ENG_SET_SIZE, NULL) == 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(l.left, 0);
    l.left = 1;
    change_and_look(&l, FP_TAIL_SLICE);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- many pieces ---------------------------------------- */

/* What to gather first is what content comes over, not what lies in more pieces and stays. */
Test(restore_edges, gathers_what_it_comes_over)
{
    begin(1);
    atomic_store(&u.eng->slice, 20);
    atomic_store(&u.eng->block_extents, 1000000);
    uint64_t same = unit_file(&u, "same", 100000, 0), ino = unit_file(&u, "f", 60000, 1);
    uint64_t from_same = unit_file(&u, "from same", 100000, 0), from = unit_file(&u, "from", 60000, 1);
    uint64_t at = last_batch();
    pass_ms(5000);
    uint8_t *bytes = unit_bytes(100000, 0); /* in more pieces than the other */
    for (size_t i = 0; i < 100; i++)
        MUST(eng_write(u.eng, same, bytes + 1000 * i, 10, 1000 * i) == 10);
    free(bytes);
    for (unsigned i = 0; i < 50; i++)
        unit_write(&u, ino, 10, i, 1200 * i);
    cr_assert(unit_extents(&u, same) > unit_extents(&u, ino));
    cr_assert_gt(unit_extents(&u, ino), 60);
    uint64_t last = last_batch();
    const struct eng_restore two[] = {{same, from_same, at}, {ino, from, at}};
    cr_assert_eq(eng_restore(u.eng, two, 2), 0);
    cr_assert_gt(last_batch(), last + 1, "gathered");
    cr_assert(unit_holds(&u, ino, 60000, 1) && unit_holds(&u, same, 100000, 0));
    compare_after_all();
}

/* For each place in which the two differ only that place is looked at, however large the memory. */
Test(restore_edges, looks_at_no_more_than_differs)
{
    enum { BLOCKS = 4000, STEP = 65536 };
    struct timespec begin_at, end;
    begin(1);
    uint64_t ino = unit_create(&u, "f");
    for (unsigned i = 0; i < BLOCKS * STEP / MIB; i++)
        unit_write(&u, ino, MIB, i, (uint64_t)i * MIB);
    uint64_t at = last_batch();
    pass_ms(5000);
    for (unsigned i = 0; i < BLOCKS; i++)
        unit_write(&u, ino, 10, i, (uint64_t)i * STEP);
    __real_clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin_at);
    cr_assert_eq(restore(ino, ino, at), 0);
    __real_clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    cr_assert_lt(end.tv_sec - begin_at.tv_sec,
                 3); /* 0.1 s; with a look at all that is behind it each time 6 s */
}

#define SPACE (6u << 20)
#define STATES 12u

static uint64_t both[2];

static bool is_same(uint64_t ino, struct eng_view *view, uint64_t from, uint64_t size)
{
    static uint8_t is[MIB], then[MIB];
    bool same = unit_attr(&u, ino).size == size;
    for (uint64_t off = 0; off < size && same; off += MIB) {
        ssize_t n = eng_read(u.eng, ino, is, MIB, off);
        same = n > 0 && eng_view_read(view, from, then, MIB, off) == n && memcmp(is, then, (size_t)n) == 0;
    }
    return same;
}

/* Many small pieces in one part of a file, a few anywhere; holes, sizes. */
static void change_much(void)
{
    uint64_t ino = both[below(2)], from = below(SPACE);
    for (uint64_t left = below(900); left > 0; left--) {
        uint64_t off = below(4) ? from + below(2000000) : below(SPACE);
        off = below(40) ? off : from + left % 60 * 100;
        unit_write(&u, ino, 1 + below(below(30) ? 200 : 300000), below(1000), off);
        if (below(60) == 0)
            MUST(eng_fallocate(u.eng, ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, below(SPACE),
                               1 + below(MIB)) == 0);
        if (below(200) == 0)
            set_size(ino, below(SPACE));
    }
}

static void restore_any(uint64_t batch)
{
    uint64_t ino = both[below(2)], from = both[below(2)], last;
    struct eng_view *view = tree_open(batch);
    struct eng_attr then;
    MUST(eng_view_getattr(view, from, &then) == 0);
    pass_ms((int64_t)below(3000));
    cr_assert_eq(restore(ino, from, batch), 0);
    cr_assert(is_same(ino, view, from, then.size));
    last = last_batch();
    cr_assert_eq(restore(ino, from, batch), 0);
    cr_assert_eq(last_batch(), last, "nothing differs");
    tree_close(view);
}

/* More than is looked up in one section, beside holes and what lies elsewhere with the same bytes. */
Test(restore_edges, of_many_pieces)
{
    uint64_t at[STATES];
    for (uint64_t round = 0; round < 6; round++) {
        begin(test_seed() + 900 + round);
        atomic_store(&u.eng->slice, round % 2 ? 300 : 4096);
        atomic_store(&u.eng->block_extents, round % 3 ? 1000 : 16);
        both[0] = unit_create(&u, "f");
        both[1] = unit_create(&u, "g");
        for (unsigned i = 0; i < STATES; i++) {
            pass_ms(5000);
            change_much();
            at[i] = last_batch();
            for (unsigned k = 0; k < 3; k++)
                restore_any(at[below(i + 1)]);
            if (below(5) == 0)
                sweep();
            if (below(5) == 0)
                MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        }
        cr_assert_eq(unit_problems(&u), 0);
        tree_end();
    }
    begin(1);
}

/* ---- damage ---------------------------------------- */

/* What cannot be read is replaced; what comes from another must be read. */
Test(restore_edges, of_what_cannot_be_read)
{
    struct locator loc;
    begin(1);
    uint64_t ino = unit_file(&u, "f", 300000, 0), first = last_batch();
    pass_ms(5000);
    unit_write(&u, ino, 300000, 1, 0);
    uint64_t second = last_batch();
    MUST(unit_locator(&u, ino, 0, &loc));
    unit_damage(&u, &loc, 10);
    pass_ms(5000);
    cr_assert_eq(unit_read_error(&u, ino), -EIO);
    cr_assert_eq(restore(ino, ino, first), 0);
    cr_assert(unit_holds(&u, ino, 300000, 0));
    uint64_t other = unit_file(&u, "g", 300000, 2), last = last_batch();
    cr_assert_eq(restore(other, ino, second), -EIO);
    cr_assert_eq(last, last_batch());
    cr_assert(unit_holds(&u, other, 300000, 2));
    cr_assert_eq(restore(ino, ino, second), 0, "nothing of it is read");
    cr_assert_eq(unit_read_error(&u, ino), -EIO);
    cr_assert_eq(restore(ino, ino, first), 0);
    cr_assert(unit_holds(&u, ino, 300000, 0));
}

/* ---- fields ---------------------------------------- */

static void set_field(uint64_t ino, const char *name, const char *value)
{
    MUST(eng_setxattr(u.eng, ino, name, value, strlen(value), 0) == 0);
}

static bool has_field(uint64_t ino, const char *name, const char *value)
{
    char is[16];
    ssize_t n = eng_getxattr(u.eng, ino, name, is, sizeof is);
    return n == (ssize_t)strlen(value) && memcmp(is, value, (size_t)n) == 0;
}

/* How often a memory was recalled is no part of a version: it stays as it is, and comes back only where the
 * memory has no such field. */
Test(restore_edges, leaves_fields_that_a_history_ignores)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 100, 1);
    set_field(ino, "user.engram.activation", "5");
    set_field(ino, "user.note", "a");
    uint64_t at = last_batch();
    pass_ms(5000);
    set_field(ino, "user.note", "b");
    set_field(ino, "user.engram.activation", "6");
    set_field(ino, "user.engram.recall_count", "1");
    cr_assert_eq(restore(ino, ino, at), 0);
    cr_assert(has_field(ino, "user.note", "a"));
    cr_assert(has_field(ino, "user.engram.activation", "6") &&
              has_field(ino, "user.engram.recall_count", "1"));
    uint64_t last = last_batch();
    set_field(ino, "user.engram.activation", "7");
    cr_assert_eq(restore(ino, ino, at), 0);
    cr_assert_eq(last_batch(), last + 1, "nothing differs");
    uint64_t other = unit_file(&u, "g", 10, 2); /* as an editor makes one that has no fields */
    cr_assert_eq(restore(other, ino, at), 0);
    cr_assert(has_field(other, "user.note", "a"));
    cr_assert(has_field(other, "user.engram.activation", "5"));
    compare_after_all();
}

/* ---- without memory ---------------------------------------- */

static long mallocs_left = -1; /* -1: as many as are asked for */

static bool malloc_is_refused(void)
{
    return mallocs_left >= 0 && mallocs_left-- == 0;
}

int __real_commit_txn(struct eng *eng, struct txn *txn);
int __wrap_commit_txn(struct eng *eng, struct txn *txn);

/* What follows is as of any change; and the disk of the tests must have memory. */
int __wrap_commit_txn(struct eng *eng, struct txn *txn)
{
    mallocs_left = -1;
    return __real_commit_txn(eng, txn);
}

/* Whichever is refused: all or nothing, and it can be tried again. */
Test(restore_edges, without_memory_does_nothing)
{
    uint8_t *value = unit_bytes(3000, 5);
    begin(1);
    uint64_t a = unit_file(&u, "a", 300000, 0), b = unit_file(&u, "b", 100, 1), at[2];
    MUST(eng_setxattr(u.eng, a, "user.long", value, 3000, 0) == 0);
    MUST(eng_setxattr(u.eng, b, "user.short", value, 30, 0) == 0);
    at[0] = last_batch();
    pass_ms(5000);
    unit_write(&u, a, 10, 2, 100000);
    unit_write(&u, a, 5000, 2, 400000);
    MUST(eng_setxattr(u.eng, a, "user.long", value, 2000, 0) == 0);
    unit_write(&u, b, 200, 3, 0);
    MUST(eng_removexattr(u.eng, b, "user.short") == 0);
    at[1] = last_batch();
    free(value);
    for (long i = 0, done = 0; done < 2; i++) {
        const struct eng_restore two[] = {{a, a, at[done]}, {b, b, at[done]}};
        uint64_t before = last_batch();
        mallocs_left = i;
        int r = eng_restore(u.eng, two, 2);
        mallocs_left = -1;
        cr_assert(r == 0 || r == -ENOMEM, "%ld: %d", i, r);
        cr_assert_eq(last_batch(), before + (r == 0), "%ld", i);
        cr_assert_eq(views_count(u.eng), 0);
        done += r == 0;
        i = r == 0 ? 0 : i;
        cr_assert_lt(i, 1000);
    }
    compare_after_all();
}

/*
 * test_restore.c - eng_restore(): what a memory was it is again, what it was until then is kept, and each
 * version that there was before stays; beside a model that knows what each batch showed, and case by case. */
#include "history_tree.h"

#include "core/views.h"

TestSuite(restore, .timeout = 600, .fini = tree_end);

#define RESTORE_SIZE 300000u

static uint32_t slice; /* of the store, 0 its own */

static void use_slice(void)
{
    if (slice)
        atomic_store(&u.eng->slice, slice);
}

static int restore(uint64_t ino, uint64_t from, uint64_t batch)
{
    const struct eng_restore one = {ino, from, batch};
    return eng_restore(u.eng, &one, 1);
}

/* ---- what is the same ------------------------------------------------------------- */

static uint8_t *whole(struct eng_view *view, uint64_t ino, uint64_t size)
{
    uint8_t *bytes = malloc(size + 1);
    ssize_t n =
        view ? eng_view_read(view, ino, bytes, size + 1, 0) : eng_read(u.eng, ino, bytes, size + 1, 0);
    cr_assert_eq(n, (ssize_t)size);
    return bytes;
}

static void expect_fields(struct eng_view *view, uint64_t from, uint64_t ino)
{
    static char list[4096], now[4096], is[ENG_XATTR_SIZE_MAX], then[ENG_XATTR_SIZE_MAX];
    ssize_t len = eng_view_listxattr(view, from, list, sizeof list);
    cr_assert_eq(len, eng_listxattr(u.eng, ino, now, sizeof now));
    for (char *name = list; name < list + len; name += strlen(name) + 1) {
        ssize_t n = eng_view_getxattr(view, from, name, then, sizeof then);
        cr_assert_eq(n, eng_getxattr(u.eng, ino, name, is, sizeof is), "%s", name);
        cr_assert_eq(memcmp(then, is, (size_t)n), 0, "%s", name);
    }
}

static void expect_restored(uint64_t ino, uint64_t from, uint64_t batch)
{
    struct eng_attr then, is = unit_attr(&u, ino);
    struct eng_view *view = tree_open(batch);
    MUST(eng_view_getattr(view, from, &then) == 0);
    cr_assert_eq(is.size, then.size);
    cr_assert(is.mode == then.mode && is.uid == then.uid && is.gid == then.gid);
    uint8_t *a = whole(NULL, ino, is.size), *b = whole(view, from, is.size);
    cr_assert_eq(memcmp(a, b, is.size), 0);
    free(a);
    free(b);
    expect_fields(view, from, ino);
    tree_close(view);
}

/* ---- beside a model ---------------------------------------------------------------------- */

static uint64_t any_batch(void)
{
    uint64_t floor = u.eng->idx.s.floor, at;
    if (!sights[last_batch()])
        return last_batch();
    do
        at = floor + below(last_batch() - floor + 1);
    while (!sights[at]);
    return at;
}

static bool was_file(uint64_t ino, uint64_t batch)
{
    struct eng_attr attr;
    struct eng_view *view = tree_open(batch);
    int r = eng_view_getattr(view, ino, &attr);
    tree_close(view);
    MUST(r == 0 || r == -ESTALE);
    return r == 0 && S_ISREG(attr.mode);
}

/* Up to three memories, each once, to what they or others were. */
static void restore_some(void)
{
    struct eng_restore some[3];
    size_t n = 0, want = 1 + below(3);
    bool there = true;
    for (size_t tries = 0; tries < 9 && n < want; tries++) {
        const struct name *name = any_name(true), *other = below(4) ? name : any_name(true);
        bool twice = !name || !other;
        for (size_t i = 0; i < n && !twice; i++)
            twice = some[i].ino == name->ino;
        if (twice)
            continue;
        some[n] = (struct eng_restore){name->ino, other->ino, any_batch()};
        there = there && was_file(some[n].from, some[n].batch);
        n++;
    }
    uint64_t before = last_batch();
    pass_ms(20); /* another moment */
    cr_assert_eq(eng_restore(u.eng, some, n), there ? 0 : -ESTALE);
    cr_assert_leq(last_batch(), before + (slice ? 100 : 1));
    if (!there)
        cr_assert_eq(last_batch(), before, "all or nothing");
    for (size_t i = 0; i < n && there; i++)
        expect_restored(some[i].ino, some[i].from, some[i].batch);
    if (last_batch() != before)
        note();
}

static void run(unsigned changes)
{
    for (unsigned i = 0; i < changes; i++) {
        uint64_t before = last_batch();
        pass_ms(1000 + (int64_t)below(2000));
        use_slice();
        change();
        if (last_batch() != before)
            note();
        if (below(3) == 0) /* of what has not settled yet */
            restore_some();
        if (below(60) == 0)
            compare_after_all();
    }
    compare_after_all();
}

Test(restore, leaves_each_version_that_there_was)
{
    begin(test_seed() + 100);
    run(300);
}

Test(restore, leaves_each_version_in_slices_too)
{
    slice = 3;
    begin(test_seed() + 200);
    run(200);
}

Test(restore, goes_on_beside_snapshots_and_drops)
{
    char name[16];
    begin(test_seed() + 300);
    for (unsigned round = 0; round < 8; round++) {
        run(15);
        (void)snprintf(name, sizeof name, "s%u", round);
        MUST(eng_snapshot_create(u.eng, name, NULL) == 0);
        (void)snprintf(name, sizeof name, "s%u", round - 2);
        if (round > 2)
            MUST(eng_snapshot_drop(u.eng, name) == 0);
        sweep();
        compare_all();
    }
    compare_after_all();
}

/* With the floor behind it nothing is left of what was, and no figure is wrong. */
Test(restore, leaves_nothing_that_does_not_expire)
{
    begin(test_seed() + 400);
    run(100);
    set_history(0);
    (void)unit_create(&u, "last");
    sweep();
    cr_assert(nothing_is_left());
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- case by case ------------------------------------------------------------------------------- */

static uint64_t written(void)
{
    return unit_stats(&u).bytes_written;
}

/* However short it stood; and the one that was restored is a version of its own. */
Test(restore, keeps_what_was_there_a_moment_ago)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0), first = last_batch();
    pass_ms(5000);
    uint64_t second = write_at(ino, 1);
    uint64_t before = written();
    cr_assert_eq(restore(ino, ino, first), 0);
    cr_assert_eq(written() - before, 0);
    cr_assert_eq(last_batch(), second + 1);
    cr_assert(unit_holds(&u, ino, 3000, 0));
    expect_shown(second, ino, 1);
    cr_assert_eq(restore(ino, ino, second), 0);
    cr_assert(unit_holds(&u, ino, 3000, 1));
    expect_shown(second + 1, ino, 0);
    cr_assert_eq(restore(ino, ino, second), 0);
    cr_assert_eq(last_batch(), second + 2, "nothing differs");
}

/* Its own content is copied nowhere, in however many places it differs. */
Test(restore, copies_nothing_of_its_own)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", RESTORE_SIZE, 0), first = last_batch();
    pass_ms(5000);
    unit_write(&u, ino, 1, 1, 100000); /* in one block */
    pass_ms(5000);
    unit_write(&u, ino, 10, 2, 204796); /* over the edge of two */
    pass_ms(5000);
    unit_write(&u, ino, 5000, 3, RESTORE_SIZE); /* behind the end */
    uint64_t before = written(), last = last_batch();
    cr_assert_eq(restore(ino, ino, first), 0);
    cr_assert_eq(last_batch(), last + 1);
    cr_assert_eq(written(), before);
    cr_assert(unit_holds(&u, ino, RESTORE_SIZE, 0));
    cr_assert_eq(restore(ino, ino, last), 0);
    expect_restored(ino, ino, last);
    cr_assert_eq(written(), before);
    compare_after_all();
}

/* Of holes nothing is copied, and they are holes again. */
Test(restore, makes_holes_of_holes)
{
    struct eng_attr attr = {.size = UINT64_C(1) << 40};
    uint64_t at;
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    pass_ms(5000);
    MUST(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL) == 0);
    uint64_t first = last_batch();
    pass_ms(5000);
    unit_write(&u, ino, 100000, 1, 1u << 20);
    pass_ms(5000);
    attr.size = 3000;
    MUST(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL) == 0);
    unit_write(&u, ino, 50000, 2, 1u << 20);
    uint64_t last = last_batch(), before = written();
    cr_assert_eq(restore(ino, ino, first), 0);
    cr_assert_eq(written(), before);
    cr_assert_eq(unit_attr(&u, ino).size, UINT64_C(1) << 40);
    cr_assert_eq(eng_seek(u.eng, ino, 4096, 3, &at), -ENXIO, "there is no content");
    cr_assert_eq(restore(ino, ino, last), 0);
    expect_restored(ino, ino, last);
    cr_assert_eq(eng_seek(u.eng, ino, 4096, 3, &at), 0);
    cr_assert_eq(at, 1u << 20);
}

/* As vim saves: what the path was is another inode's, which has no name any more. */
Test(restore, gives_one_what_another_was)
{
    begin(1);
    uint64_t old = unit_file(&u, "f", 40000, 0), at = last_batch();
    pass_ms(5000);
    MUST(eng_setxattr(u.eng, old, "user.a", "1", 1, 0) == 0);
    pass_ms(5000);
    move("f", "f~");
    uint64_t ino = unit_file(&u, "f", 100, 1);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f~") == 0);
    cr_assert_eq(restore(old, old, at), -ESTALE, "nobody would find it");
    cr_assert_eq(restore(ino, old, at), 0);
    cr_assert(unit_holds(&u, ino, 40000, 0));
    cr_assert_eq(eng_getxattr(u.eng, ino, "user.a", NULL, 0), -ENODATA);
    cr_assert_eq(restore(ino, old, at + 1), 0);
    cr_assert_eq(eng_getxattr(u.eng, ino, "user.a", NULL, 0), 1);
    compare_after_all();
}

Test(restore, refuses)
{
    struct eng_restore two[2];
    begin(1);
    uint64_t ino = unit_file(&u, "f", 3000, 0), dir = unit_mkdir(&u, "d"), at = last_batch();
    struct eng_attr link;
    MUST(eng_create(u.eng, NULL, ENG_ROOT_INO, "l", S_IFLNK | 0777, 0, "f", &link) == 0);
    pass_ms(5000);
    uint64_t last = write_at(ino, 1);
    cr_assert_eq(eng_restore(NULL, two, 1), -EINVAL);
    cr_assert_eq(eng_restore(u.eng, NULL, 1), -EINVAL);
    cr_assert_eq(eng_restore(u.eng, NULL, 0), 0);
    cr_assert_eq(eng_restore(u.eng, two, 4097), -E2BIG);
    cr_assert_eq(restore(dir, ino, at), -EISDIR);
    cr_assert_eq(restore(ino, dir, at), -EISDIR);
    cr_assert_eq(restore(link.ino, ino, at), -EINVAL);
    cr_assert_eq(restore(ino, link.ino, at), -ESTALE);
    cr_assert_eq(restore(ino, ino, u.eng->idx.s.floor - 1), -ESTALE);
    cr_assert_eq(restore(ino, ino, at - 2), -ESTALE, "it was not there");
    cr_assert_eq(restore(ino, ino, last + 1), -ESTALE);
    cr_assert_eq(restore(ino, ino, UINT64_MAX), -ESTALE);
    cr_assert_eq(restore(777777, ino, at), -ESTALE);
    two[0] = (struct eng_restore){ino, ino, at};
    two[1] = (struct eng_restore){ino, ino, at};
    cr_assert_eq(eng_restore(u.eng, two, 2), -EINVAL, "twice the same");
    two[1] = (struct eng_restore){dir, ino, at};
    cr_assert_eq(eng_restore(u.eng, two, 2), -EISDIR);
    cr_assert_eq(last_batch(), last);
    cr_assert(unit_holds(&u, ino, 3000, 1));
    cr_assert_eq(views_count(u.eng), 0);
}

Test(restore, of_more_than_a_batch_takes_of_another_does_nothing)
{
    enum { PIECE = 8 << 20 };
    begin(1);
    uint64_t ino = unit_file(&u, "f", PIECE, 0), other = unit_create(&u, "g");
    unit_write(&u, ino, PIECE, 1, PIECE);
    uint64_t full = last_batch();
    pass_ms(5000);
    unit_write(&u, ino, 1, 2, 2 * PIECE);
    uint64_t at = last_batch();
    pass_ms(5000);
    struct eng_attr attr = {.size = 0};
    MUST(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL) == 0);
    uint64_t last = last_batch();
    pass_ms(5000);
    cr_assert_eq(restore(other, ino, at), -EFBIG);
    cr_assert(last_batch() == last && unit_attr(&u, other).size == 0);
    uint64_t before = written();
    cr_assert_eq(restore(ino, ino, at), 0, "its own is not copied");
    expect_restored(ino, ino, at);
    cr_assert_eq(written(), before);
    unit_write(&u, other, 1, 3, 3 * PIECE); /* all but one byte is another hole */
    cr_assert_eq(restore(other, ino, last), 0);
    cr_assert_eq(restore(other, ino, full), 0, "16 MiB");
    expect_restored(other, ino, full);
    compare_after_all();
}

/* A folder's tree of a snapshot of a store that keeps no history: what was there now is kept as long as
 * nothing looks for what nobody sees. */
Test(restore, without_a_history_is_from_a_snapshot)
{
    uint64_t batch, later;
    begin(1);
    set_history(0);
    uint64_t ino = unit_file(&u, "f", 3000, 0);
    MUST(eng_snapshot_create(u.eng, "s", &batch) == 0);
    uint64_t now = write_at(ino, 1);
    cr_assert_eq(restore(ino, ino, now), -ESTALE);
    cr_assert_eq(restore(ino, ino, batch), 0);
    cr_assert(unit_holds(&u, ino, 3000, 0));
    cr_assert_eq(n_past(), 2);
    sweep();
    cr_assert_eq(n_past(), 1);
    MUST(eng_snapshot_create(u.eng, "t", &later) == 0);
    (void)write_at(ino, 2);
    cr_assert_eq(restore(ino, ino, later), 0);
    cr_assert_eq(restore(ino, ino, batch), 0);
    sweep();
    expect_shown(later, ino, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- others at the same time ------------------------------------------------------------------------ */

static uint64_t hooked, hooks;

/* Somebody writes behind the plan, once or always. */
static void write_beside(void *arg, enum fault_point point)
{
    uint64_t *left = arg;
    if (point != FP_WRITE_DRAFTED || !*left)
        return;
    --*left;
    hooks++;
    uint64_t rest = *left;
    *left = 0; /* its own drafts */
    unit_write(&u, hooked, 5000, 100 + hooks, 2000);
    struct eng_attr attr = {.mode = 0600 + (uint32_t)hooks};
    MUST(eng_setattr(u.eng, hooked, &attr, ENG_SET_MODE, NULL) == 0);
    *left = rest;
}

Test(restore, begins_anew_where_others_write)
{
    begin(1);
    for (uint64_t times_beside = 1; times_beside < 100; times_beside *= 9) {
        uint64_t ino = hooked = unit_file(&u, (char[]){'f', (char)('0' + times_beside % 7), 0}, 9000, 0);
        uint64_t first = last_batch(), left = times_beside;
        pass_ms(5000);
        unit_write(&u, ino, 10, 1, 0);
        hooks = 0;
        hook_set(u.eng, write_beside, &left);
        cr_assert_eq(restore(ino, ino, first), 0);
        hook_set(u.eng, NULL, NULL);
        expect_restored(ino, ino, first);
        cr_assert_eq(hooks, times_beside < 3 ? times_beside : 3, "then it lets nobody in");
    }
    compare_after_all();
}

/* A compaction moves what both have: nothing else is copied for it. */
static void compact_beside(void *arg, enum fault_point point)
{
    uint64_t *left = arg;
    if (point != FP_WRITE_DRAFTED || !*left)
        return;
    --*left;
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
}

Test(restore, does_not_mind_a_compaction)
{
    begin(1);
    uint64_t ino = unit_file(&u, "f", RESTORE_SIZE, 0), first = last_batch(), left = 1;
    uint64_t other = unit_file(&u, "g", RESTORE_SIZE, 7);
    unit_write(&u, other, RESTORE_SIZE, 8, 0);
    pass_ms(5000);
    unit_write(&u, ino, 10, 1, 50000);
    uint64_t before = written();
    hook_set(u.eng, compact_beside, &left);
    cr_assert_eq(restore(ino, ino, first), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(written(), before);
    cr_assert(unit_holds(&u, ino, RESTORE_SIZE, 0));
    compare_after_all();
}

/* More extents than a batch takes out are gathered first; over a hole they are too many. */
Test(restore, gathers_what_lies_in_too_many_pieces)
{
    begin(1);
    atomic_store(&u.eng->slice, 20);
    atomic_store(&u.eng->block_extents, 1000000);
    uint64_t ino = unit_file(&u, "f", 60000, 0), other = unit_file(&u, "g", 60000, 0), first = last_batch();
    pass_ms(5000);
    for (unsigned i = 0; i < 50; i++)
        unit_write(&u, ino, 10, i, 1200 * i);
    uint64_t last = last_batch();
    cr_assert_gt(unit_extents(&u, ino), 60);
    cr_assert_eq(restore(ino, other, first), 0);
    cr_assert_gt(last_batch(), last + 1, "gathered");
    cr_assert(unit_holds(&u, ino, 60000, 0));
    cr_assert_eq(restore(ino, ino, last), 0);
    expect_restored(ino, ino, last);
    compare_after_all();
}

/* What another has with the same bytes is not counted, however much. */
Test(restore, leaves_alone_what_has_the_same_bytes)
{
    enum { PIECE = 10 << 20 };
    begin(1);
    uint64_t ino = unit_file(&u, "f", PIECE, 0), other = unit_file(&u, "g", PIECE, 0);
    unit_write(&u, ino, PIECE, 1, PIECE);
    uint64_t first = last_batch();
    pass_ms(5000);
    unit_write(&u, other, PIECE, 1, PIECE);
    unit_write(&u, other, 10, 2, PIECE + 5000);
    uint64_t before = written();
    cr_assert_eq(restore(other, ino, first), 0);
    cr_assert_eq(written() - before, 1u << 20);
    expect_restored(other, ino, first);
}

/*
 * test_views_in_use.c - what a view of a snapshot shows while somebody has it open, whatever becomes of the
 * snapshot. */
#include "snapshot_copies.h"

#include "admin.h"
#include "one_store.h"

#define FILES 6u
#define SIZE 20000u

TestSuite(views_in_use, .init = setup, .fini = teardown, .timeout = 120);

static const char *name_of(const char *kind, unsigned i)
{
    static char name[32];
    (void)snprintf(name, sizeof name, "%s%u", kind, i);
    return name;
}

/* Of each of the two rounds of changes files of their own. */
static void fill(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        uint64_t ino = unit_file(&u, name_of("f", i), SIZE, i);
        struct eng_attr attr;
        MUST(eng_setxattr(u.eng, ino, "user.x", &i, sizeof i, 0) == 0);
        MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, name_of("link", i), &attr) == 0);
        (void)unit_file(&u, name_of("gone", i), 3000, i);
        (void)unit_file(&u, name_of("over", i), 3000, i);
    }
}

static void change(unsigned round)
{
    for (unsigned i = round * FILES / 2; i < (round + 1) * FILES / 2; i++) {
        struct eng_attr size = {.size = 1000 * i};
        unit_write(&u, unit_lookup(&u, name_of("f", i)), 5000, 90 + i, 2000);
        MUST(eng_setattr(u.eng, unit_lookup(&u, name_of("f", i)), &size, ENG_SET_SIZE, NULL) == 0);
        MUST(eng_removexattr(u.eng, unit_lookup(&u, name_of("f", i)), "user.x") == 0);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of("link", i)) == 0);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of("gone", i)) == 0);
        (void)unit_file(&u, "new", 100, i);
        MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "new", ENG_ROOT_INO, name_of("over", i), 0) == 0);
    }
}

static void look(struct eng_view *view, const struct copy *copy)
{
    static uint8_t got[SIZE + 1];
    copy_compare(&u, copy);
    for (size_t i = 1; i < copy->n; i++) {
        const struct copied *c = &copy->all[i];
        struct eng_attr attr;
        SAME(eng_view_lookup(view, c->parent, c->name, &attr) == 0, copy, c);
        SAME(attr.ino == c->attr.ino && attr.nlink == c->attr.nlink && attr.size == c->attr.size, copy, c);
        SAME(eng_view_read(view, attr.ino, got, sizeof got, 0) == (ssize_t)attr.size, copy, c);
        SAME(memcmp(got, c->content, attr.size) == 0, copy, c);
    }
}

static void compact(void)
{
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
}

Test(views_in_use, show_a_dropped_snapshot_until_they_are_closed)
{
    struct eng_view *view, *again;
    fill();
    struct copy copy = copied_snapshot(&u, "s");
    MUST(eng_view_open(u.eng, copy.batch, &view) == 0);
    change(0);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    look(view, &copy);
    cr_assert_eq(eng_view_open(u.eng, copy.batch, &again), -ENOENT);
    change(1);
    MUST(eng_tick(u.eng) == 0);
    compact();
    look(view, &copy);

    eng_view_close(view);
    MUST(eng_tick(u.eng) == 0);
    cr_assert(u.eng->idx.s.n_past == 0 && u.eng->idx.s.n_past_names == 0);
    compact();
    cr_assert_eq(unit_problems(&u), 0);
    copy_free(&copy);
}

/* The one that sees less keeps nothing for itself. */
Test(views_in_use, keep_what_they_show_alone)
{
    struct eng_view *old, *young;
    fill();
    struct copy first = copied_snapshot(&u, "first");
    change(0);
    struct copy second = copied_snapshot(&u, "second");
    MUST(eng_view_open(u.eng, first.batch, &old) == 0 && eng_view_open(u.eng, second.batch, &young) == 0);
    change(1);
    MUST(eng_snapshot_drop(u.eng, "first") == 0 && eng_snapshot_drop(u.eng, "second") == 0);
    uint64_t n_past = u.eng->idx.s.n_past;
    eng_view_close(old);
    MUST(eng_tick(u.eng) == 0);
    look(young, &second);
    cr_assert(u.eng->idx.s.n_past > 0 && u.eng->idx.s.n_past < n_past);
    eng_view_close(young);
    MUST(eng_tick(u.eng) == 0);
    cr_assert(u.eng->idx.s.n_past == 0 && u.eng->idx.s.n_past_names == 0);
    copy_free(&first);
    copy_free(&second);
}

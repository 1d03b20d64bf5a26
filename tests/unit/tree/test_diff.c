/*
 * test_diff.c - eng_diff(): between any two snapshots, and to what is there now, each path that differs is
 * told once, with all that is not the same, and nothing else; beside copies of the tree. What cost is left
 * out is counted in chunks. */
#include "hook.h"
#include "judged_diff.h"
#include "rng.h"

#include "image/checkpoint.h"
#include "one_store.h"
#include "tree/diff_changed.h"
#include "tree/past_view.h"

#define NAMES 40u
#define SHOTS 5u
#define RUNS 12u
#define LONG 3000u
#define MANY 6000u

static uint64_t seed;

static uint64_t below(uint64_t n)
{
    return rng_below(&seed, n);
}

/* ---- what is there ------------------------------------------------------------------ */

static struct name {
    uint64_t dir, ino;
    bool is_dir;
    char text[8];
} names[NAMES];
static unsigned n_names;
static uint64_t counted;

static struct name *any_name(void)
{
    return n_names ? &names[below(n_names)] : NULL;
}

static uint64_t any_dir(void)
{
    for (unsigned tries = 0; n_names && tries < 5; tries++) {
        const struct name *n = any_name();
        if (n->is_dir)
            return n->ino;
    }
    return ENG_ROOT_INO;
}

static struct name *find_name(uint64_t dir, const char *text)
{
    for (unsigned i = 0; i < n_names; i++)
        if (names[i].dir == dir && strcmp(names[i].text, text) == 0)
            return &names[i];
    return NULL;
}

/* Few texts: a path is used again and again. */
static void any_text(char text[8])
{
    (void)snprintf(text, 8, "%c", (char)('a' + below(12)));
}

static bool is_below(uint64_t dir, uint64_t top)
{
    uint32_t at = ino_slot(dir);
    while (at != ino_slot(top) && at != ENG_ROOT_INO)
        at = index_parent(&u.eng->idx, at);
    return at == ino_slot(top);
}

/* ---- changes -------------------------------------------------------------------------- */

static void make(void)
{
    static const uint32_t modes[] = {S_IFREG | 0644, S_IFREG | 0600, S_IFREG | 0644, S_IFDIR | 0755,
                                     S_IFDIR | 0700, S_IFLNK | 0777, S_IFCHR | 0600};
    struct name n = {.dir = any_dir()};
    struct eng_attr attr;
    uint32_t mode = modes[below(ARRAY_LEN(modes))];
    any_text(n.text);
    if (n_names == NAMES || find_name(n.dir, n.text))
        return;
    const char *target = below(2) ? "there" : "elsewhere";
    MUST(eng_create(u.eng, NULL, n.dir, n.text, mode, 1 + below(2), S_ISLNK(mode) ? target : NULL, &attr) ==
         0);
    n.ino = attr.ino;
    n.is_dir = S_ISDIR(mode);
    names[n_names++] = n;
    if (S_ISREG(mode) && below(2))
        unit_write(&u, n.ino, 1 + below(4000), counted++, 0);
}

static void make_link(void)
{
    const struct name *old = any_name();
    struct name n;
    if (!old || old->is_dir || n_names == NAMES)
        return;
    n = *old;
    n.dir = any_dir();
    any_text(n.text);
    if (find_name(n.dir, n.text))
        return;
    MUST(eng_link(u.eng, NULL, n.ino, n.dir, n.text, NULL) == 0);
    names[n_names++] = n;
}

static void remove_name(void)
{
    struct name *n = any_name();
    if (!n || (n->is_dir && unit_attr(&u, n->ino).size))
        return;
    MUST((n->is_dir ? eng_rmdir(u.eng, n->dir, n->text) : eng_unlink(u.eng, n->dir, n->text)) == 0);
    *n = names[--n_names];
}

/* To a free name, over another, or in exchange for it. */
static void move_name(void)
{
    struct name *n = any_name(), *over;
    char text[8];
    uint64_t dir = any_dir();
    any_text(text);
    if (!n || (n->is_dir && is_below(dir, n->ino)))
        return;
    over = find_name(dir, text);
    bool back = over && below(3) == 0;
    if (over == n || (over && over->ino == n->ino))
        return;
    if (over && back && over->is_dir && is_below(n->dir, over->ino))
        return;
    if (over && !back && (over->is_dir != n->is_dir || (over->is_dir && unit_attr(&u, over->ino).size)))
        return;
    MUST(eng_rename(u.eng, NULL, n->dir, n->text, dir, text, back ? ENG_RENAME_EXCHANGE : 0) == 0);
    struct name moved = *n;
    if (back) {
        n->ino = over->ino;
        n->is_dir = over->is_dir;
    }
    if (over) {
        over->ino = moved.ino;
        over->is_dir = moved.is_dir;
    } else {
        n->dir = dir;
        (void)snprintf(n->text, sizeof n->text, "%s", text);
    }
    if (over && !back)
        *n = names[--n_names];
}

static void change_content(void)
{
    const struct name *n = any_name();
    if (!n || !S_ISREG(unit_attr(&u, n->ino).mode))
        return;
    const struct eng_attr attr = {.size = below(3000)};
    if (below(3) == 0)
        MUST(eng_setattr(u.eng, n->ino, &attr, ENG_SET_SIZE, NULL) == 0);
    else
        unit_write(&u, n->ino, 1 + below(3000), below(20), below(2000));
}

/* Often to what it is. */
static void change_attr(void)
{
    const struct name *n = any_name();
    static const unsigned masks[] = {ENG_SET_MODE, ENG_SET_UID | ENG_SET_GID, ENG_SET_MTIME, ENG_SET_ATIME};
    const struct eng_attr attr = {.mode = 0600 + (uint32_t)below(3),
                                  .uid = (uint32_t)below(2),
                                  .gid = (uint32_t)below(2),
                                  .atime = 5,
                                  .mtime = 1000 + (int64_t)below(3)};
    if (n)
        MUST(eng_setattr(u.eng, n->ino, &attr, masks[below(ARRAY_LEN(masks))], NULL) == 0);
}

static void change_fields(void)
{
    const struct name *n = any_name();
    char name[16];
    if (!n)
        return;
    (void)snprintf(name, sizeof name, "user.%c", (char)('a' + below(3)));
    if (below(3) == 0) {
        int r = eng_removexattr(u.eng, n->ino, name);
        MUST(r == 0 || r == -ENODATA);
        return;
    }
    size_t size = below(2) ? 5 : 300;
    uint8_t *value = unit_bytes(size, below(3));
    MUST(eng_setxattr(u.eng, n->ino, name, value, size, 0) == 0);
    free(value);
}

static void change(void)
{
    void (*const changes[])(void) = {make,      make,           make_link,      remove_name, move_name,
                                     move_name, change_content, change_content, change_attr, change_fields};
    changes[below(ARRAY_LEN(changes))]();
}

static void beside(void)
{
    switch (below(4)) {
    case 0:
        MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        return;
    case 1:
        (void)checkpoint_write(u.eng); /* none before all of the index is loaded */
        return;
    case 2:
        MUST(eng_sync(u.eng) == 0);
        unit_kill(&u, SIM_DROP_ALL, below(1000));
        return unit_open(&u);
    default:
        unit_reopen(&u);
    }
}

/* ---- checking ----------------------------------------------------------------------------- */

static struct list diff_of(uint64_t from, uint64_t to)
{
    struct eng_view *before = NULL, *after = NULL;
    struct list list = {0};
    MUST(eng_view_open(u.eng, from, &before) == 0);
    if (to)
        MUST(eng_view_open(u.eng, to, &after) == 0);
    MUST(eng_diff(before, after, take, &list) == 0);
    eng_view_close(before);
    eng_view_close(after);
    return list;
}

static void check_diff(const struct copy *a, const struct copy *b, bool now)
{
    struct list list = diff_of(a->batch, now ? 0 : b->batch);
    cr_assert_eq(judge(a, b, &list, true), 0);
    free_list(&list);
}

/* ---- random trees ---------------------------------------------------------------------------- */

static struct shot {
    char name[16];
    struct copy copy;
} shots[SHOTS];
static unsigned n_shots, n_made;

static void make_snapshot(void)
{
    struct shot *shot = &shots[n_shots++];
    (void)snprintf(shot->name, sizeof shot->name, "s%u", n_made++);
    shot->copy = copied_snapshot(&u, shot->name);
}

static void drop_snapshot(unsigned i)
{
    MUST(eng_snapshot_drop(u.eng, shots[i].name) == 0);
    copy_free(&shots[i].copy);
    shots[i] = shots[--n_shots];
}

static void check_all(void)
{
    struct copy now = copy_tree(&u, eng_position(u.eng));
    for (unsigned i = 0; i < n_shots; i++) {
        for (unsigned k = 0; k < n_shots; k++)
            if (shots[i].copy.batch <= shots[k].copy.batch)
                check_diff(&shots[i].copy, &shots[k].copy, false);
        check_diff(&shots[i].copy, &now, true);
    }
    copy_free(&now);
}

static void change_some(uint64_t most)
{
    for (uint64_t left = below(most); left > 0; left--)
        change();
}

static void forget_all(void)
{
    while (n_shots)
        copy_free(&shots[--n_shots].copy);
    n_names = n_made = 0;
}

static void run(unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        change_some(below(3) ? 12 : 60);
        if (n_shots == SHOTS)
            drop_snapshot((unsigned)below(n_shots));
        make_snapshot();
        change_some(6);
        if (below(3) == 0)
            beside();
        check_all();
    }
    cr_assert_eq(unit_problems(&u), 0);
    forget_all();
}

TestSuite(diff, .init = setup, .fini = teardown, .timeout = 300);

Test(diff, tells_what_changed_between_snapshots_and_until_now)
{
    uint64_t first = test_seed();
    for (uint64_t i = 0; i < RUNS; i++) {
        seed = first + i;
        run(20);
        unit_done(&u);
        unit_new(&u, 0);
    }
}

/* ---- liars ------------------------------------------------------------------------------------- */

static struct copy first, second;

/* Two snapshots with some differences. */
static void two_snapshots(void)
{
    seed = 1;
    for (unsigned i = 0; i < 150; i++)
        change();
    first = copied_snapshot(&u, "first");
    for (unsigned i = 0; i < 12; i++)
        change();
    second = copied_snapshot(&u, "second");
}

static void end_two(void)
{
    copy_free(&first);
    copy_free(&second);
    forget_all();
}

Test(diff, who_tells_nothing_is_found_out)
{
    two_snapshots();
    cr_assert_gt(judge(&first, &second, &(struct list){0}, false), 0);
    end_two();
}

Test(diff, who_tells_everything_is_found_out)
{
    two_snapshots();
    struct list list = {0};
    struct paths a = paths_of(&first), b = paths_of(&second);
    for (size_t i = 0; i < a.n + b.n; i++) {
        const char *text = i < a.n ? a.all[i].text : b.all[i - a.n].text;
        const struct path *x = find_path(&a, text), *y = find_path(&b, text);
        struct eng_difference d = {.kind = !x   ? ENG_DIFF_ADDED
                                           : !y ? ENG_DIFF_REMOVED
                                                : ENG_DIFF_CHANGED,
                                   .path = text,
                                   .path_len = strlen(text),
                                   .before = x ? &x->at->attr : NULL,
                                   .after = y ? &y->at->attr : NULL};
        unsigned may = 0;
        if (x && y)
            d.what = differences(x->at, y->at, &may);
        d.what = x && y && !d.what ? ENG_DIFF_MTIME : d.what;
        if (i < a.n || !x)
            (void)take(&list, &d);
    }
    cr_assert_gt(judge(&first, &second, &list, false), 0);
    free_paths(&a);
    free_paths(&b);
    free_list(&list);
    end_two();
}

Test(diff, who_leaves_one_out_or_tells_it_twice_is_found_out)
{
    two_snapshots();
    struct list list = diff_of(first.batch, second.batch);
    cr_assert_eq(judge(&first, &second, &list, true), 0);
    cr_assert_gt(list.n, 3);
    struct told last = list.all[--list.n];
    cr_assert_gt(judge(&first, &second, &list, false), 0);
    list.all[list.n++] = list.all[0];
    cr_assert_gt(judge(&first, &second, &list, false), 0);
    list.all[list.n - 1] = last;
    free_list(&list);
    end_two();
}

/* ---- each kind of change ------------------------------------------------------------------------ */

static void expect(const struct list *list, size_t i, char kind, const char *path, unsigned what)
{
    static const enum eng_difference_kind kinds[] = {
        ['+'] = ENG_DIFF_ADDED, ['-'] = ENG_DIFF_REMOVED, ['M'] = ENG_DIFF_CHANGED};
    cr_assert_lt(i, list->n);
    cr_assert_str_eq(list->all[i].path, path);
    cr_assert_eq(list->all[i].kind, kinds[(int)kind], "%s", path);
    cr_assert_eq(list->all[i].what, what, "%s: %x", path, list->all[i].what);
}

static uint64_t snap(const char *name)
{
    uint64_t batch;
    MUST(eng_snapshot_create(u.eng, name, &batch) == 0);
    return batch;
}

static void rename_to(const char *name, const char *to, unsigned flags)
{
    MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, name, ENG_ROOT_INO, to, flags) == 0);
}

Test(diff, a_file_saved_as_editors_do_is_changed)
{
    unit_file(&u, "f", 10, 1);
    uint64_t from = snap("s");
    rename_to("f", "f~", 0);
    unit_file(&u, "f", 10, 1);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f~") == 0);
    struct list list = diff_of(from, 0);
    cr_assert_eq(list.n, 2);
    expect(&list, 0, 'M', "", ENG_DIFF_MTIME);
    expect(&list, 1, 'M', "f", ENG_DIFF_CONTENT | ENG_DIFF_MTIME);
    free_list(&list);
}

Test(diff, of_a_renamed_folder_all_that_is_below_has_another_path)
{
    uint64_t dir = unit_mkdir(&u, "d");
    struct eng_attr sub, file;
    MUST(eng_create(u.eng, NULL, dir, "sub", S_IFDIR | 0700, 0, NULL, &sub) == 0);
    MUST(eng_create(u.eng, NULL, sub.ino, "f", S_IFREG | 0600, 0, NULL, &file) == 0);
    uint64_t from = snap("s");
    rename_to("d", "e", 0);
    unit_write(&u, file.ino, 5, 1, 0); /* where nobody looks for a change */
    struct list list = diff_of(from, 0);
    cr_assert_eq(list.n, 7);
    expect(&list, 0, 'M', "", ENG_DIFF_MTIME);
    expect(&list, 1, '-', "d", 0);
    expect(&list, 2, '-', "d/sub", 0);
    expect(&list, 3, '-', "d/sub/f", 0);
    expect(&list, 4, '+', "e", 0);
    expect(&list, 5, '+', "e/sub", 0);
    expect(&list, 6, '+', "e/sub/f", 0);
    free_list(&list);
}

Test(diff, exchanged_folders_are_compared_by_path)
{
    struct eng_attr attr;
    uint64_t a = unit_mkdir(&u, "a"), b = unit_mkdir(&u, "b");
    MUST(eng_create(u.eng, NULL, a, "both", S_IFDIR | 0700, 0, NULL, &attr) == 0);
    MUST(eng_create(u.eng, NULL, a, "only", S_IFREG | 0600, 0, NULL, &attr) == 0);
    MUST(eng_create(u.eng, NULL, b, "both", S_IFDIR | 0750, 0, NULL, &attr) == 0);
    uint64_t from = snap("s");
    rename_to("a", "b", ENG_RENAME_EXCHANGE);
    struct list list = diff_of(from, 0);
    cr_assert_eq(list.n, 7);
    expect(&list, 1, 'M', "a", ENG_DIFF_MTIME);
    expect(&list, 2, 'M', "a/both", ENG_DIFF_MODE | ENG_DIFF_MTIME);
    expect(&list, 3, '-', "a/only", 0);
    expect(&list, 4, 'M', "b", ENG_DIFF_MTIME);
    expect(&list, 5, 'M', "b/both", ENG_DIFF_MODE | ENG_DIFF_MTIME);
    expect(&list, 6, '+', "b/only", 0);
    free_list(&list);
}

Test(diff, each_name_of_a_changed_file_is_told)
{
    uint64_t dir = unit_mkdir(&u, "d"), ino = unit_file(&u, "a", 10, 1);
    MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "b", NULL) == 0);
    MUST(eng_link(u.eng, NULL, ino, dir, "c", NULL) == 0);
    MUST(eng_link(u.eng, NULL, ino, dir, "gone", NULL) == 0);
    uint64_t from = snap("s");
    unit_write(&u, ino, 5, 2, 0);
    MUST(eng_unlink(u.eng, dir, "gone") == 0);
    uint64_t to = snap("t");
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "b") == 0);
    struct list list = diff_of(from, to);
    cr_assert_eq(list.n, 5);
    expect(&list, 0, 'M', "a", ENG_DIFF_CONTENT | ENG_DIFF_MTIME);
    expect(&list, 1, 'M', "b", ENG_DIFF_CONTENT | ENG_DIFF_MTIME);
    expect(&list, 2, 'M', "d", ENG_DIFF_MTIME);
    expect(&list, 3, 'M', "d/c", ENG_DIFF_CONTENT | ENG_DIFF_MTIME);
    expect(&list, 4, '-', "d/gone", 0);
    free_list(&list);
}

/* More than one block of names, and more groups of them than are looked at in one section. */
Test(diff, long_folders_come_and_go)
{
    uint64_t dir = unit_mkdir(&u, "long");
    struct eng_attr attr;
    char name[16];
    uint64_t empty = snap("empty");
    for (unsigned i = 0; i < LONG; i++) {
        (void)snprintf(name, sizeof name, "%u", i);
        MUST(eng_create(u.eng, NULL, dir, name, (i % 100 ? S_IFREG : S_IFDIR) | 0700, 0, NULL, &attr) == 0);
    }
    uint64_t full = snap("full");
    rename_to("long", "longer", 0);
    struct list list = diff_of(empty, full);
    cr_assert_eq(list.n, LONG + 1);
    free_list(&list);
    list = diff_of(full, 0);
    cr_assert_eq(list.n, 2 * (LONG + 1) + 1);
    free_list(&list);
}

/* ---- beside changes ------------------------------------------------------------------------------- */

struct meddler {
    struct list list;
    bool stop;
};

static int take_and_change(void *arg, const struct eng_difference *d)
{
    struct meddler *m = arg;
    change_some(20);
    if (below(9) == 0)
        MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    return m->stop ? 7 : take(&m->list, d);
}

/* What is changed while it is told is not told, and is let go afterwards. */
Test(diff, is_of_the_moment_in_which_it_begins)
{
    struct eng_attr root = unit_attr(&u, ENG_ROOT_INO);
    seed = test_seed();
    for (unsigned i = 0; i < 12; i++) {
        struct meddler m = {0};
        struct eng_view *before = NULL;
        change_some(100);
        struct copy from = copied_snapshot(&u, "from");
        change_some(60);
        struct copy now = copy_tree(&u, eng_position(u.eng));
        MUST(eng_view_open(u.eng, from.batch, &before) == 0);
        MUST(eng_diff(before, NULL, take_and_change, &m) == 0);
        cr_assert_eq(judge(&from, &now, &m.list, true), 0);
        const struct eng_attr other = {.mode = root.mode ^ (i + 1)};
        MUST(eng_setattr(u.eng, ENG_ROOT_INO, &other, ENG_SET_MODE, NULL) == 0);
        m.stop = true;
        cr_assert_eq(eng_diff(before, NULL, take_and_change, &m), 7, "as emit says");
        eng_view_close(before);
        MUST(eng_snapshot_drop(u.eng, "from") == 0);
        free_list(&m.list);
        copy_free(&from);
        copy_free(&now);
        cr_assert_eq(unit_problems(&u), 0);
        cr_assert_eq(u.eng->idx.s.n_past + u.eng->idx.s.n_past_names, 0, "nothing sees it any more");
    }
    forget_all();
}

static void change_between_slices(void *arg, enum fault_point point)
{
    if (point != FP_DIFF_SLICE)
        return;
    hook_set(u.eng, NULL, NULL); /* changes meet fault points, too */
    change_some(30);
    hook_set(u.eng, change_between_slices, arg);
}

/* Names, past names, inodes and links are looked at one after the other. */
Test(diff, is_of_one_moment_however_long_it_looks)
{
    seed = test_seed();
    for (unsigned i = 0; i < 60; i++) {
        struct list list = {0};
        struct eng_view *before = NULL;
        change_some(100);
        struct copy from = copied_snapshot(&u, "from");
        change_some(60);
        struct copy now = copy_tree(&u, eng_position(u.eng));
        MUST(eng_view_open(u.eng, from.batch, &before) == 0);
        hook_set(u.eng, change_between_slices, NULL);
        MUST(eng_diff(before, NULL, take, &list) == 0);
        hook_set(u.eng, NULL, NULL);
        eng_view_close(before);
        cr_assert_eq(judge(&from, &now, &list, true), 0);
        MUST(eng_snapshot_drop(u.eng, "from") == 0);
        free_list(&list);
        copy_free(&from);
        copy_free(&now);
    }
    cr_assert_eq(unit_problems(&u), 0);
    forget_all();
}

/* A name that is live when names are looked at, and past when links are. */
static void unlink_one(void *arg, enum fault_point point)
{
    unsigned *left = arg;
    if (point == FP_DIFF_SLICE && *left && --*left == 0)
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "b") == 0);
}

Test(diff, a_link_that_goes_while_it_is_looked_for_is_told)
{
    for (unsigned slice = 1; slice < 8; slice++) {
        unsigned left = slice;
        uint64_t ino = unit_file(&u, "a", 10, 1);
        MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "b", NULL) == 0);
        uint64_t from = snap("s");
        unit_write(&u, ino, 5, 2, 0);
        hook_set(u.eng, unlink_one, &left);
        struct list list = diff_of(from, 0);
        hook_set(u.eng, NULL, NULL);
        cr_assert_eq(list.n, 2, "slice %u", slice);
        expect(&list, 0, 'M', "a", ENG_DIFF_CONTENT | ENG_DIFF_MTIME);
        expect(&list, 1, 'M', "b", ENG_DIFF_CONTENT | ENG_DIFF_MTIME);
        free_list(&list);
        (void)eng_unlink(u.eng, ENG_ROOT_INO, "b");
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "a") == 0);
        MUST(eng_snapshot_drop(u.eng, "s") == 0);
    }
}

Test(diff, refuses_what_is_no_comparison)
{
    struct eng_view *old = NULL, *new = NULL;
    struct list list = {0};
    uint64_t from = snap("s"), to = snap("t");
    MUST(eng_view_open(u.eng, from, &old) == 0 && eng_view_open(u.eng, to, &new) == 0);
    cr_assert_eq(eng_diff(new, old, take, &list), -EINVAL);
    cr_assert_eq(eng_diff(NULL, new, take, &list), -EINVAL);
    cr_assert_eq(eng_diff(old, new, NULL, &list), -EINVAL);
    cr_assert_eq(eng_diff(old, old, take, &list), 0);
    cr_assert_eq(list.n, 0);
    eng_view_close(old);
    eng_view_close(new);
}

/* ---- what it costs ---------------------------------------------------------------------------------- */

static struct diff_changed find_changed(uint64_t from)
{
    struct eng_view *before = NULL, *now = NULL;
    struct diff_changed changed = {0};
    MUST(eng_view_open(u.eng, from, &before) == 0 && past_view_of_now(u.eng, false, &now) == 0);
    MUST(diff_find_changed(&before->view, &now->view, &changed) == 0);
    eng_view_close(before);
    eng_view_close(now);
    return changed;
}

static void check_cost(uint64_t from, size_t places, uint64_t looked)
{
    struct diff_changed changed = find_changed(from);
    cr_assert_eq(changed.n, places, "%zu places", changed.n);
    cr_assert_leq(changed.looked, looked, "%llu chunks of %llu", (unsigned long long)changed.looked,
                  (unsigned long long)changed.chunks);
    cr_assert_geq(changed.chunks, MANY / 1024);
    diff_free_changed(&changed);
}

/* Of a store of many chunks those are looked at that were written since, in this opening or an earlier one.
 */
Test(diff, chunks_that_were_not_written_since_are_passed_by)
{
    struct eng_attr attr;
    uint64_t inos[MANY];
    char name[16];
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "%u", i);
        MUST(eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0600, 0, NULL, &attr) == 0);
        inos[i] = attr.ino;
    }
    unit_reopen(&u);
    uint64_t from = snap("s");
    check_cost(from, 0, 0);
    unit_write(&u, inos[MANY / 2], 5, 1, 0);
    check_cost(from, 1, 3); /* where it is, its state before, and what was the last chunk before that */
    unit_reopen(&u);
    check_cost(from, 1, 5); /* and what was new to the checkpoint */
    unit_write(&u, inos[MANY / 4], 5, 1, 0);
    check_cost(from, 2, 6);
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_DROP_ALL, 1);
    unit_open(&u);
    check_cost(from, 2, 6);
    unit_reopen(&u);
    uint64_t to = snap("t");
    check_cost(to, 0, 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "17") == 0);
    check_cost(to, 1, 6); /* the folder, its state before, the name, and that as a past one */
    unit_reopen(&u);
    check_cost(to, 1, 6);
    check_cost(from, 3, 8);
}

/*
 * test_rollback.c - eng_rollback(): a folder, or all, is again what a walk of the tree showed then; each
 * version and snapshot that there was before stays, and so does what is outside. */
#include "history_tree.h"

#include "core/views.h"

TestSuite(rollback, .timeout = 600, .fini = tree_end);

/* ---- what is there ------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp((const char *)a, (const char *)b); /* the name is the first in an entry */
}

/* All below a folder but `skip`, by names: what a rollback brings back. */
static void put_shape(const struct seen *s, uint64_t dir, uint64_t skip, bool is_whole, unsigned depth)
{
    struct tree_entries e = {0};
    list_folder(s, dir, &e);
    qsort(e.all, e.n, sizeof *e.all, by_text);
    for (size_t i = 0; i < e.n; i++) {
        const struct eng_attr *a = &e.all[i].attr;
        if (e.all[i].cookie <= 2)
            continue;
        (void)fprintf(s->out, "%*s%s %llx", (int)depth, "", e.all[i].name, (unsigned long long)a->ino);
        if (is_whole) {
            (void)fprintf(s->out, " mode %o links %u owner %u %u size %llu rdev %llu", a->mode, a->nlink,
                          a->uid, a->gid, (unsigned long long)a->size, (unsigned long long)a->rdev);
            if (exact || !S_ISDIR(a->mode))
                (void)fprintf(s->out, " mtime %lld", (long long)a->mtime);
            put_xattrs(s, a->ino);
        }
        if (is_whole && S_ISREG(a->mode))
            put_content(s, a->ino, a->size);
        (void)fputc('\n', s->out);
        if (S_ISDIR(a->mode) && a->ino != skip)
            put_shape(s, a->ino, skip, is_whole, depth + 1);
    }
    free(e.all);
}

static char *shape(struct eng_view *view, uint64_t dir, uint64_t skip, bool is_whole)
{
    char *text = NULL;
    size_t size = 0;
    struct seen s = {view, open_memstream(&text, &size)};
    MUST(s.out);
    put_shape(&s, dir, skip, is_whole, 0);
    MUST(fclose(s.out) == 0);
    return text;
}

static void expect_same(char *is, char *want)
{
    size_t k = 0, line = 0;
    for (; is[k] && is[k] == want[k]; k++)
        line = is[k] == '\n' ? k + 1 : line;
    cr_assert(is[k] == want[k], "%.300s\nand not: %.300s", is + line, want + line);
    free(is);
    free(want);
}

static char *shape_at(uint64_t batch, uint64_t dir)
{
    struct eng_view *view = tree_open(batch);
    char *text = shape(view, dir, 0, true);
    tree_close(view);
    return text;
}

/* The names of past_changes.h are those that there are. */
static void find_names(uint64_t dir)
{
    struct seen s = {NULL, NULL};
    struct tree_entries e = {0};
    list_folder(&s, dir, &e);
    for (size_t i = 0; i < e.n; i++) {
        if (e.all[i].cookie <= 2)
            continue;
        MUST(n_names < NAMES);
        struct name *n = &names[n_names++];
        *n = (struct name){.dir = dir, .ino = e.all[i].attr.ino, .is_dir = S_ISDIR(e.all[i].attr.mode)};
        (void)snprintf(n->text, sizeof n->text, "%.15s", e.all[i].name);
        if (n->is_dir)
            find_names(n->ino);
    }
    free(e.all);
}

static int rollback(uint64_t folder, uint64_t batch)
{
    uint64_t n;
    return eng_rollback(u.eng, folder, batch, NULL, NULL, &n);
}

/* ---- beside a model ---------------------------------------------------------------------- */

static bool was_folder(uint64_t ino, uint64_t batch)
{
    struct eng_attr attr;
    struct eng_view *view = tree_open(batch);
    int r = eng_view_getattr(view, ino, &attr);
    tree_close(view);
    return r == 0 && S_ISDIR(attr.mode);
}

static unsigned n_done;

static void roll_back(uint64_t folder, uint64_t batch)
{
    bool there = was_folder(folder, batch);
    uint64_t before = last_batch();
    char *outside = shape(NULL, ENG_ROOT_INO, folder, false), *whole = shape(NULL, ENG_ROOT_INO, 0, true);
    char *want = there ? shape_at(batch, folder) : NULL;
    pass_ms(20);
    int r = rollback(folder, batch);
    if (folder == ENG_ROOT_INO)
        cr_assert_eq(r, 0);
    if (r) {
        cr_assert(r == -EXDEV || r == -ESTALE);
        cr_assert_eq(last_batch(), before);
        expect_same(shape(NULL, ENG_ROOT_INO, 0, true), whole);
        free(want);
        free(outside);
        return;
    }
    cr_assert(there);
    cr_assert_leq(last_batch(), before + 1, "one batch");
    expect_same(shape(NULL, folder, 0, true), want);
    if (folder != ENG_ROOT_INO)
        expect_same(shape(NULL, ENG_ROOT_INO, folder, false), outside);
    else
        free(outside);
    free(whole);
    n_done += last_batch() != before;
    if (last_batch() != before)
        note();
    n_names = 0;
    find_names(ENG_ROOT_INO);
    before = last_batch();
    cr_assert_eq(rollback(folder, batch), 0);
    cr_assert_eq(last_batch(), before, "nothing differs");
}

static uint64_t any_batch(void)
{
    uint64_t floor = u.eng->idx.s.floor, at;
    do
        at = floor + below(last_batch() - floor + 1);
    while (!sights[at]);
    return at;
}

static void run(unsigned changes)
{
    for (unsigned i = 0; i < changes; i++) {
        uint64_t before = last_batch();
        pass_ms(1000 + (int64_t)below(20000)); /* names that move are settled, or not */
        change();
        if (last_batch() != before)
            note();
        if (below(8) == 0)
            roll_back(below(2) ? ENG_ROOT_INO : any_dir(), any_batch());
        if (below(60) == 0)
            compare_after_all();
    }
    compare_after_all();
}

Test(rollback, leaves_each_version_that_there_was)
{
    for (uint64_t round = 0; round < 5; round++) {
        begin(test_seed() + 100 + round);
        folder_times = false; /* set as by utimes: views of no snapshot go by names */
        note();
        run(200);
        tree_end();
    }
    cr_assert_gt(n_done, 40);
    begin(1);
}

/* To snapshots of a store that keeps no history: exactly, with times; and what was there until then stays as
 * long as somebody wants it. */
Test(rollback, to_snapshots_is_exact)
{
    enum { ROUNDS = 40 };
    char name[16], *want[ROUNDS];
    uint64_t batch[ROUNDS], n;
    begin(test_seed() + 200);
    set_history(0);
    (void)unit_create(&u, "last");
    exact = true; /* in what is compared */
    sweep();
    n_names = 0;
    find_names(ENG_ROOT_INO);
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned k = 0; k < 8; k++) {
            pass_ms(700);
            change();
        }
        (void)snprintf(name, sizeof name, "s%u", i);
        MUST(eng_snapshot_create(u.eng, name, &batch[i]) == 0);
        want[i] = shape(NULL, ENG_ROOT_INO, 0, true);
        uint64_t to = below(i + 1);
        pass_ms(700);
        int r = eng_rollback(u.eng, ENG_ROOT_INO, batch[to], NULL, NULL, &n);
        cr_assert_eq(r, 0, "%d", r);
        expect_same(shape(NULL, ENG_ROOT_INO, 0, true), strdup(want[to]));
        n_names = 0;
        find_names(ENG_ROOT_INO);
        sweep();
        if (i % 8 == 7) {
            MUST(eng_sync(u.eng) == 0);
            unit_kill(&u, SIM_DROP_ALL, 1);
            unit_open(&u);
            MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        }
        for (unsigned k = 0; k <= i; k++)
            expect_same(shape_at(batch[k], ENG_ROOT_INO), strdup(want[k]));
        cr_assert_eq(unit_problems(&u), 0);
    }
    for (unsigned i = 0; i < ROUNDS; i++)
        free(want[i]);
}

/* However short a name stood there. */
Test(rollback, keeps_what_was_there_a_moment_ago)
{
    begin(1);
    uint64_t file = unit_file(&u, "f", 3000, 0), first = last_batch();
    pass_ms(5000);
    move("f", "g");
    uint64_t second = write_at(file, 1);
    folder_times = false;
    note();
    cr_assert_eq(rollback(ENG_ROOT_INO, first), 0);
    note();
    cr_assert(unit_holds(&u, file, 3000, 0));
    expect_shown(second, file, 1);
    compare_after_all();
}

/* ---- others at the same time ------------------------------------------------------------------------ */

struct beside {
    uint64_t dir;
    unsigned left, n;
};

static void make_beside(void *arg, enum fault_point point)
{
    struct beside *b = arg;
    char name[16];
    struct eng_attr attr;
    if (point != FP_WRITE_DRAFTED || !b->left)
        return;
    b->left--;
    (void)snprintf(name, sizeof name, "n%u", b->n++);
    MUST(eng_create(u.eng, NULL, b->dir, name, S_IFREG | 0644, 0, NULL, &attr) == 0);
}

/* What comes into the folder while it is planned goes, too; what comes elsewhere does not matter. */
Test(rollback, begins_anew_where_others_work)
{
    begin(1);
    struct eng_attr attr;
    uint64_t in = unit_mkdir(&u, "in"), out = unit_mkdir(&u, "out");
    MUST(eng_create(u.eng, NULL, in, "sub", S_IFDIR | 0755, 0, NULL, &attr) == 0);
    uint64_t below_it = attr.ino, first = last_batch();
    pass_ms(5000);
    MUST(eng_create(u.eng, NULL, in, "f", S_IFREG | 0644, 0, NULL, &attr) == 0);
    uint64_t before = last_batch();
    struct beside b = {.dir = below_it, .left = 3};
    hook_set(u.eng, make_beside, &b);
    cr_assert_eq(rollback(in, first), 0);
    cr_assert_eq(unit_attr(&u, in).size, 1);
    cr_assert_eq(unit_attr(&u, below_it).size, 0);
    cr_assert_eq(last_batch(), before + 4);
    b = (struct beside){.dir = out, .left = 3};
    MUST(eng_create(u.eng, NULL, in, "f", S_IFREG | 0644, 0, NULL, &attr) == 0);
    cr_assert_eq(rollback(in, first), 0);
    cr_assert_eq(b.left, 2, "planned once");
    cr_assert_eq(unit_attr(&u, out).size, 1);
    b = (struct beside){.dir = in, .left = 1000, .n = 10};
    MUST(eng_create(u.eng, NULL, in, "f", S_IFREG | 0644, 0, NULL, &attr) == 0);
    cr_assert_eq(rollback(in, first), -EBUSY);
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(unit_attr(&u, in).size, 2 + b.n - 10);
    cr_assert_eq(views_count(u.eng), 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- limits -------------------------------------------------------------------------------------------- */

struct told {
    unsigned names, inodes, gone;
};

static int count_told(void *arg, const struct eng_rolled_back *one)
{
    struct told *t = arg;
    t->names += one->parent != 0;
    t->inodes += !one->parent;
    t->gone += one->parent && !one->ino;
    return 0;
}

Test(rollback, of_as_many_names_as_a_batch_takes)
{
    uint64_t batch, n;
    struct told told = {0};
    begin(1);
    set_history(0);
    uint64_t dir = unit_mkdir(&u, "d"), file = unit_file(&u, "f", 3000, 0);
    MUST(eng_snapshot_create(u.eng, "s", &batch) == 0);
    struct eng_attr attr;
    char name[16];
    for (unsigned i = 0; i < ENG_ROLLBACK_MAX - 1; i++) {
        (void)snprintf(name, sizeof name, "n%u", i);
        MUST(eng_create(u.eng, NULL, dir, name, S_IFREG | 0644, 0, NULL, &attr) == 0);
    }
    uint64_t last = last_batch();
    cr_assert_eq(eng_rollback(u.eng, ENG_ROOT_INO, batch, NULL, NULL, &n), -E2BIG,
                 "both folders are changed");
    cr_assert_eq(last_batch(), last);
    cr_assert_eq(eng_rollback(u.eng, dir, batch, count_told, &told, &n), 0);
    cr_assert(n == ENG_ROLLBACK_MAX && told.names == n - 1 && told.gone == told.names && told.inodes == 1);
    unit_write(&u, file, 10, 1, 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    cr_assert_eq(eng_rollback(u.eng, ENG_ROOT_INO, batch, NULL, NULL, &n), 0);
    cr_assert(unit_holds(&u, file, 3000, 0));
    cr_assert_eq(unit_problems(&u), 0);
}

Test(rollback, refuses)
{
    uint64_t n;
    begin(1);
    uint64_t dir = unit_mkdir(&u, "d"), file = unit_file(&u, "f", 3000, 0), at = last_batch();
    pass_ms(5000);
    uint64_t late = unit_mkdir(&u, "late"), last = last_batch();
    cr_assert_eq(eng_rollback(NULL, dir, at, NULL, NULL, &n), -EINVAL);
    cr_assert_eq(eng_rollback(u.eng, dir, at, NULL, NULL, NULL), -EINVAL);
    cr_assert_eq(rollback(file, at), -ENOTDIR);
    cr_assert_eq(rollback(777777, at), -ESTALE);
    cr_assert_eq(rollback(late, at), -ESTALE, "it was not there");
    cr_assert_eq(rollback(dir, last + 1), -ENOENT);
    cr_assert_eq(rollback(dir, 1), -ENOENT);
    cr_assert_eq(last_batch(), last);
    MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "f", dir, "f", 0) == 0);
    cr_assert_eq(rollback(dir, at), -EXDEV, "it came from elsewhere");
    cr_assert_eq(rollback(ENG_ROOT_INO, at), 0);
    cr_assert_eq(unit_attr(&u, dir).size, 0);
    cr_assert_eq(unit_attr(&u, ENG_ROOT_INO).size, 3);
    cr_assert_eq(views_count(u.eng), 0);
}

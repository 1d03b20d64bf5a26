/*
 * test_rename.c - renaming, the second half of namespace.c: every kind of
 * source on every kind of target with every flag, loops, whiteouts, and the
 * counts and paths afterwards. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

#define NOREPLACE ENG_RENAME_NOREPLACE
#define EXCHANGE ENG_RENAME_EXCHANGE
#define WHITEOUT ENG_RENAME_WHITEOUT

static struct unit u;
static uint64_t d, e, sub; /* directories d, e (empty) and d/sub */
static uint64_t f, g;      /* files f and d/g */

static void setup(void)
{
    unit_new(&u, 0);
    d = unit_mkdir(&u, "d");
    e = unit_mkdir(&u, "e");
    f = unit_file(&u, "f", 1000, 1);
    struct eng_attr attr;
    cr_assert_eq(eng_create(u.eng, NULL, d, "sub", S_IFDIR | 0755, 0, NULL, &attr), 0);
    sub = attr.ino;
    cr_assert_eq(eng_create(u.eng, NULL, d, "g", S_IFREG | 0644, 0, NULL, &attr), 0);
    g = attr.ino;
    cr_assert_eq(eng_link(u.eng, NULL, f, 1, "f2", &attr), 0);
}

static void teardown(void)
{
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(rename, .init = setup, .fini = teardown);

static uint64_t at(uint64_t parent, const char *name)
{
    struct eng_attr attr;
    return eng_lookup(u.eng, NULL, parent, name, &attr) == 0 ? attr.ino : 0;
}

/* Every error leaves everything as it was. */
Test(rename, refuses_what_linux_refuses)
{
    const struct {
        uint64_t from;
        const char *name;
        uint64_t to;
        const char *new_name;
        unsigned flags;
        int expect;
    } cases[] = {
        {1, "nothing", 1, "x", 0, -ENOENT},
        {1, "nothing", 1, "f", EXCHANGE, -ENOENT},
        {1, "f", 1, "x", EXCHANGE, -ENOENT},
        {1, "f", 1, "", 0, -ENOENT},
        {1, "f", 1, "a/b", 0, -EINVAL},
        {f, "x", 1, "y", 0, -ENOTDIR},
        {1, "f", f, "y", 0, -ENOTDIR},
        {999, "x", 1, "y", 0, -ESTALE},
        {1, "f", 999, "y", 0, -ESTALE},
        {1, "f", d, "g", NOREPLACE, -EEXIST},
        {1, "f", 1, "f", NOREPLACE, -EEXIST},
        {1, "f", 1, "f2", NOREPLACE, -EEXIST},
        {1, "d", 1, "f", 0, -ENOTDIR},
        {1, "f", 1, "e", 0, -EISDIR},
        {1, "f", 1, "d", 0, -EISDIR},
        {1, "e", 1, "d", 0, -ENOTEMPTY},
        {1, "d", d, "x", 0, -EINVAL}, /* into itself */
        {1, "d", sub, "x", 0, -EINVAL},
        {1, "d", d, "sub", 0, -EINVAL},
        {1, "d", sub, "x", NOREPLACE, -EINVAL},
        {1, "d", d, "g", EXCHANGE, -EINVAL},
        {d, "sub", 1, "d", 0, -ENOTEMPTY}, /* over its own parent */
        {d, "sub", 1, "d", EXCHANGE, -EINVAL},
        {d, "g", 1, "d", EXCHANGE, -EINVAL},
        {1, ".", 1, "x", 0, -EBUSY},
        {1, "d", 1, "..", 0, -EBUSY},
        {d, "..", 1, "x", 0, -EBUSY},
        {1, "f", 1, ".", NOREPLACE, -EEXIST},
        {1, "f", 1, "x", 8, -EINVAL},
        {1, "f", 1, "f2", EXCHANGE | NOREPLACE, -EINVAL},
        {1, "f", 1, "f2", EXCHANGE | WHITEOUT, -EINVAL},
    };
    uint64_t seq = log_seq(&u.eng->log);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(eng_rename(u.eng, NULL, cases[i].from, cases[i].name, cases[i].to, cases[i].new_name,
                                cases[i].flags),
                     cases[i].expect, "case %zu", i);
    cr_assert_eq(log_seq(&u.eng->log), seq, "nothing was written");
}

Test(rename, moves_and_counts)
{
    struct eng_attr root = unit_attr(&u, 1);
    cr_assert_eq(eng_rename(u.eng, NULL, d, "sub", e, "moved", 0), 0);
    cr_assert_eq(at(d, "sub"), 0);
    cr_assert_eq(at(e, "moved"), sub);
    cr_assert_eq(at(sub, ".."), e);
    cr_assert_eq(unit_attr(&u, d).nlink, 2);
    cr_assert_eq(unit_attr(&u, e).nlink, 3);
    cr_assert_eq(unit_attr(&u, d).size, 1);
    cr_assert_eq(unit_attr(&u, e).size, 1);
    cr_assert_eq(unit_attr(&u, 1).mtime, root.mtime);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "d", 1, "renamed", NOREPLACE), 0);
    cr_assert_eq(at(1, "renamed"), d);
    cr_assert_eq(eng_rename(u.eng, NULL, e, "moved", 1, "d", 0), 0);
    cr_assert_eq(unit_attr(&u, 1).nlink, root.nlink + 1);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(at(1, "renamed") == d && at(1, "d") == sub && at(sub, "..") == 1);
}

Test(rename, replaces_atomically_and_frees_what_was_replaced)
{
    struct eng_attr attr;
    uint64_t victim = unit_file(&u, "victim", 30000, 2);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "f", 1, "victim", 0), 0);
    cr_assert_eq(at(1, "victim"), f);
    cr_assert_eq(at(1, "f"), 0);
    cr_assert_eq(unit_attr(&u, f).nlink, 2);
    cr_assert_eq(unit_stats(&u).live_bytes, 1000);
    cr_assert_eq(eng_getattr(u.eng, victim, &attr), -ESTALE);
    cr_assert_eq(eng_rename(u.eng, NULL, d, "sub", 1, "e", 0), 0, "an empty directory may be replaced");
    cr_assert_eq(at(1, "e"), sub);
    cr_assert_eq(unit_attr(&u, 1).nlink, 4);
}

Test(rename, a_replaced_file_that_is_referenced_stays)
{
    struct eng_attr attr;
    struct eng_caller with_ref = {.ref = true};
    cr_assert_eq(eng_lookup(u.eng, &with_ref, d, "g", &attr), 0);
    unit_write(&u, g, 5000, 3, 0);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "f", d, "g", 0), 0);
    cr_assert_eq(unit_attr(&u, g).nlink, 0);
    cr_assert(unit_holds(&u, g, 5000, 3));
    cr_assert_eq(eng_forget(u.eng, g, 1), 0);
    cr_assert_eq(unit_stats(&u).live_bytes, 1000);
}

Test(rename, of_two_names_of_one_file_does_nothing)
{
    uint64_t seq = log_seq(&u.eng->log);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "f", 1, "f2", 0), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "f", 1, "f", 0), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "f", 1, "f2", EXCHANGE), 0);
    cr_assert(at(1, "f") == f && at(1, "f2") == f);
    cr_assert_eq(log_seq(&u.eng->log), seq);
}

Test(rename, exchanges_whatever_the_types)
{
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "f", d, "sub", EXCHANGE), 0);
    cr_assert(at(1, "f") == sub && at(d, "sub") == f && at(sub, "..") == 1);
    cr_assert_eq(unit_attr(&u, d).nlink, 2);
    cr_assert_eq(unit_attr(&u, 1).nlink, 5);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "d", 1, "e", EXCHANGE), 0);
    cr_assert(at(1, "d") == e && at(1, "e") == d);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "f2", d, "g", EXCHANGE), 0);
    cr_assert(at(1, "f2") == g && at(d, "g") == f);
    cr_assert_eq(unit_attr(&u, f).nlink, 2);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(at(1, "f") == sub && at(d, "sub") == f && at(1, "d") == e && at(1, "f2") == g);
}

Test(rename, leaves_a_whiteout_where_asked)
{
    static const struct eng_caller who = {.uid = 5, .gid = 6};
    static const unsigned flags[] = {WHITEOUT, WHITEOUT | NOREPLACE, WHITEOUT};
    static const char *const to[] = {"new", "newer", "e"};
    uint64_t from[] = {f, d, sub};
    const struct {
        uint64_t dir;
        const char *name;
    } names[] = {{1, "f"}, {1, "d"}, {d, "sub"}};
    for (int i = 2; i >= 0; i--) { /* the innermost first */
        struct eng_attr attr;
        cr_assert_eq(eng_rename(u.eng, &who, names[i].dir, names[i].name, 1, to[i], flags[i]), 0, "case %d",
                     i);
        cr_assert_eq(at(1, to[i]), from[i]);
        cr_assert_eq(eng_lookup(u.eng, NULL, names[i].dir, names[i].name, &attr), 0);
        cr_assert(S_ISCHR(attr.mode) && attr.rdev == 0 && attr.uid == 5 && attr.gid == 6 && attr.nlink == 1);
    }
    cr_assert_eq(unit_attr(&u, d).nlink, 2);
}

Test(rename, keeps_paths_right_for_damage_reports)
{
    char path[64];
    cr_assert_eq(eng_rename(u.eng, NULL, d, "g", sub, "deep", 0), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "d", e, "down", 0), 0);
    size_t len = index_path(&u.eng->idx, ino_slot(g), path, sizeof(path) - 1);
    path[len] = 0;
    cr_assert_str_eq(path, "e/down/sub/deep");
    cr_assert_eq(index_path(&u.eng->idx, ino_slot(g), path, 15), 15);
    cr_assert_eq(index_path(&u.eng->idx, ino_slot(g), path, 14), 0, "too long: none rather than half of it");
}

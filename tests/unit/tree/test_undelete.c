/*
 * test_undelete.c - what was removed comes back: as it was, with its past, all of it or nothing. */
#include "history_tree.h"

#include "hook.h"

TestSuite(undelete, .timeout = 300, .fini = tree_end);

static uint64_t make_in(uint64_t dir, const char *name, uint64_t seed)
{
    struct eng_attr attr;
    MUST(eng_create(u.eng, NULL, dir, name, S_IFREG | 0644, 0, NULL, &attr) == 0);
    unit_write(&u, attr.ino, 3000, seed, 0);
    pass_ms(1500);
    return attr.ino;
}

static uint64_t folder_in(uint64_t dir, const char *name)
{
    struct eng_attr attr;
    MUST(eng_create(u.eng, NULL, dir, name, S_IFDIR | 0755, 0, NULL, &attr) == 0);
    return attr.ino;
}

static uint64_t found(uint64_t dir, const char *name)
{
    struct eng_attr attr;
    return eng_lookup(u.eng, NULL, dir, name, &attr) ? 0 : attr.ino;
}

static int back(uint64_t dir, const char *name, uint64_t number, const char *to)
{
    return eng_undelete(u.eng, NULL, NULL, dir, name, number, ENG_ROOT_INO, to, NULL);
}

static void expect_bytes(uint64_t ino, uint64_t seed)
{
    uint8_t got[3001], *want = unit_bytes(3000, seed);
    cr_assert_eq(eng_read(u.eng, ino, got, sizeof got, 0), 3000);
    cr_assert_eq(memcmp(got, want, 3000), 0);
    free(want);
}

static int count_version(void *arg, const struct eng_version *version)
{
    (void)version;
    ++*(size_t *)arg;
    return 0;
}

static size_t n_versions(const char *path)
{
    size_t n = 0;
    int r = eng_history(u.eng, path, count_version, &n);
    MUST(r == 0 || r == -ENOENT);
    return n;
}

static int count_removed(void *arg, const struct eng_removed *removed, uint64_t place_behind)
{
    (void)removed;
    (void)place_behind;
    ++*(size_t *)arg;
    return 0;
}

static size_t n_removed(uint64_t dir)
{
    size_t n = 0;
    MUST(eng_removed_list(u.eng, dir, 0, count_removed, &n) == 0);
    return n;
}

Test(undelete, gives_a_memory_back_with_its_past)
{
    struct eng_attr attr;
    begin(test_seed());
    for (unsigned i = 0; i < 50; i++, pass_ms(1500))
        change();
    size_t n_others = n_removed(ENG_ROOT_INO);
    uint64_t ino = make_in(ENG_ROOT_INO, "f", 1);
    note();
    (void)write_at(ino, 2);
    note();
    pass_ms(1500);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    note();
    uint64_t number = last_batch();
    pass_ms(1500);
    (void)make_in(ENG_ROOT_INO, "g", 7);
    cr_assert_eq(back(ENG_ROOT_INO, "f", 0, "g"), -EEXIST);
    cr_assert_eq(back(ENG_ROOT_INO, "f", number - 1, "h"), -ENOENT);
    cr_assert_eq(back(ENG_ROOT_INO, "g", 0, "h"), -ENOENT);
    cr_assert_eq(back(ino, "f", 0, "h"), -ENOTDIR);
    cr_assert_eq(back(ENG_ROOT_INO, "f", 0, "a/b"), -EINVAL);
    uint64_t before = last_batch();
    MUST(eng_undelete(u.eng, NULL, NULL, ENG_ROOT_INO, "f", number, ENG_ROOT_INO, "h", &attr) == 0);
    note();
    cr_assert(attr.ino == ino && attr.nlink == 1 && last_batch() == before + 1);
    expect_bytes(ino, 2);
    cr_assert_eq(n_versions("h"), 2);
    cr_assert_eq(n_versions("f"), 2);
    cr_assert_eq(n_removed(ENG_ROOT_INO), n_others);
    cr_assert_eq(back(ENG_ROOT_INO, "f", number, "i"), -ENOENT);
    pass_ms(1500);
    (void)write_at(ino, 3);
    cr_assert_eq(n_versions("h"), 3);
    cr_assert_eq(n_versions("f"), 2);
    compare_after_all();
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "h") == 0);
    cr_assert_eq(n_removed(ENG_ROOT_INO), n_others + 1, "it was removed as h, and not as f");
    MUST(back(ENG_ROOT_INO, "h", 0, "f") == 0);
    expect_bytes(ino, 3);
}

Test(undelete, not_what_was_changed_by_who_has_it_open)
{
    struct eng_caller kernel = {.ref = true};
    struct eng_attr attr;
    begin(1);
    uint64_t ino = make_in(ENG_ROOT_INO, "f", 1), dir = folder_in(ENG_ROOT_INO, "d");
    MUST(eng_lookup(u.eng, &kernel, ENG_ROOT_INO, "f", &attr) == 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    pass_ms(1500);
    MUST(back(ENG_ROOT_INO, "f", 0, "f") == 0 && eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    (void)write_at(ino, 2);
    cr_assert_eq(back(ENG_ROOT_INO, "f", 0, "f"), -EBUSY);
    MUST(eng_forget(u.eng, ino, 1) == 0);
    (void)make_in(ENG_ROOT_INO, "x", 9); /* what nothing shows goes */
    cr_assert_eq(back(ENG_ROOT_INO, "f", 0, "f"), -EBUSY);
    cr_assert_eq(n_removed(ENG_ROOT_INO), 1);
    MUST(eng_rmdir(u.eng, ENG_ROOT_INO, "d") == 0);
    cr_assert_eq(eng_undelete(u.eng, NULL, NULL, ENG_ROOT_INO, "d", 0, dir, "d", NULL), -ENOENT,
                 "below itself");
}

Test(undelete, of_others_what_is_theirs_stays_removed)
{
    const uint32_t ann = 51001, bob = 51002;
    const struct eng_caller callers[] = {{ann, 0, false}, {bob, 0, false}};
    struct eng_attr top, dir, attr;
    begin(1);
    MUST(eng_create(u.eng, &callers[1], ENG_ROOT_INO, "d", S_IFDIR | 0777, 0, NULL, &top) == 0);
    MUST(eng_create(u.eng, &callers[0], top.ino, "hers", S_IFDIR | 0755, 0, NULL, &dir) == 0);
    for (unsigned i = 0; i < 2; i++) {
        MUST(eng_create(u.eng, &callers[i], top.ino, i ? "bob" : "ann", S_IFREG | 0644, 0, NULL, &attr) == 0);
        MUST(eng_create(u.eng, &callers[i], dir.ino, i ? "bob" : "ann", S_IFREG | 0644, 0, NULL, &attr) == 0);
    }
    pass_ms(1500);
    for (unsigned i = 0; i < 2; i++)
        MUST(eng_unlink(u.eng, top.ino, i ? "bob" : "ann") == 0 &&
             eng_unlink(u.eng, dir.ino, i ? "bob" : "ann") == 0);
    MUST(eng_rmdir(u.eng, top.ino, "hers") == 0 && eng_rmdir(u.eng, ENG_ROOT_INO, "d") == 0);
    cr_assert_eq(eng_undelete(u.eng, NULL, &ann, ENG_ROOT_INO, "d", 0, ENG_ROOT_INO, "d", NULL), -EPERM);
    MUST(eng_undelete(u.eng, NULL, &bob, ENG_ROOT_INO, "d", 0, ENG_ROOT_INO, "d", NULL) == 0);
    cr_assert(found(top.ino, "bob") && !found(top.ino, "ann") && !found(top.ino, "hers"));
    cr_assert_eq(n_removed(top.ino), 2, "she can have it back");
    MUST(eng_undelete(u.eng, NULL, &ann, top.ino, "hers", 0, top.ino, "hers", NULL) == 0);
    cr_assert(found(dir.ino, "ann") && !found(dir.ino, "bob"));
}

/* ---- folders -------------------------------------------------------------------------- */

#define FILES 25u

static uint64_t removed_folder(void)
{
    char name[16];
    uint64_t top = folder_in(ENG_ROOT_INO, "top"), sub = folder_in(top, "sub");
    (void)make_in(top, "twice", 5);
    pass_ms(1500);
    MUST(eng_unlink(u.eng, top, "twice") == 0);
    pass_ms(1500);
    uint64_t twice = make_in(sub, "twice", 6);
    MUST(eng_link(u.eng, NULL, twice, top, "twice", NULL) == 0);
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        (void)make_in(i % 2 ? top : sub, name, 100 + i);
    }
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        MUST(eng_unlink(u.eng, i % 2 ? top : sub, name) == 0);
    }
    MUST(eng_unlink(u.eng, top, "twice") == 0 && eng_unlink(u.eng, sub, "twice") == 0);
    MUST(eng_rmdir(u.eng, top, "sub") == 0 && eng_rmdir(u.eng, ENG_ROOT_INO, "top") == 0);
    pass_ms(1500);
    return top;
}

/* All that removed_folder() had, as it was. */
static void expect_whole(const char *name)
{
    char text[16];
    uint64_t top = found(ENG_ROOT_INO, name), sub = found(top, "sub"), twice = found(top, "twice");
    cr_assert(top && sub && twice && twice == found(sub, "twice"));
    cr_assert_eq(unit_attr(&u, twice).nlink, 2);
    cr_assert_eq(unit_attr(&u, top).nlink, 3);
    expect_bytes(twice, 6);
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(text, sizeof text, "f%u", i);
        expect_bytes(found(i % 2 ? top : sub, text), 100 + i);
    }
    cr_assert_eq(unit_attr(&u, top).size + unit_attr(&u, sub).size, FILES + 3);
}

Test(undelete, gives_a_folder_back_with_all_that_was_in_it)
{
    begin(1);
    uint64_t top = removed_folder();
    note();
    cr_assert_eq(n_removed(ENG_ROOT_INO), 1);
    cr_assert_eq(n_removed(top), FILES / 2 + 3);
    uint64_t before = last_batch();
    hook_slice(u.eng, FILES + 3);
    cr_assert_eq(back(ENG_ROOT_INO, "top", 0, "again"), -E2BIG);
    cr_assert(last_batch() == before && !found(ENG_ROOT_INO, "again"));
    hook_slice(u.eng, FILES + 4);
    MUST(back(ENG_ROOT_INO, "top", 0, "again") == 0);
    note();
    cr_assert_eq(last_batch(), before + 1);
    expect_whole("again");
    cr_assert_eq(n_versions("again/sub/f4"), 1);
    cr_assert_eq(n_removed(ENG_ROOT_INO) + n_removed(found(top, "sub")), 0);
    cr_assert_eq(n_removed(top), 1, "the one of that name before stays");
    compare_after_all();
}

/* A file that has a name elsewhere: as it is now, whoever changed it since. */
Test(undelete, of_a_folder_links_what_has_another_name)
{
    begin(1);
    uint64_t dir = folder_in(ENG_ROOT_INO, "d"), sub = folder_in(dir, "sub");
    uint64_t ino = make_in(sub, "linked", 1), other = make_in(dir, "moved", 2);
    MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "elsewhere", NULL) == 0);
    MUST(eng_link(u.eng, NULL, ino, dir, "again", NULL) == 0);
    MUST(eng_rename(u.eng, NULL, dir, "moved", ENG_ROOT_INO, "moved", 0) == 0);
    pass_ms(1500);
    MUST(eng_unlink(u.eng, sub, "linked") == 0 && eng_unlink(u.eng, dir, "again") == 0);
    MUST(eng_rmdir(u.eng, dir, "sub") == 0 && eng_rmdir(u.eng, ENG_ROOT_INO, "d") == 0);
    pass_ms(1500);
    (void)write_at(ino, 3);
    pass_ms(1500);
    note();
    cr_assert_eq(n_removed(sub), 0, "it is not removed");
    cr_assert_eq(back(sub, "linked", 0, "x"), -ENOENT);
    MUST(back(ENG_ROOT_INO, "d", 0, "e") == 0);
    note();
    cr_assert(found(sub, "linked") == ino && found(dir, "again") == ino && !found(dir, "moved"));
    cr_assert_eq(unit_attr(&u, ino).nlink, 3);
    cr_assert_eq(unit_attr(&u, other).nlink, 1);
    expect_bytes(ino, 3);
    compare_after_all();
    cr_assert_eq(unit_attr(&u, ino).nlink, 3);
}

Test(undelete, of_a_folder_leaves_what_came_back_elsewhere)
{
    begin(1);
    uint64_t dir = folder_in(ENG_ROOT_INO, "d"), ino = make_in(dir, "f", 1);
    MUST(eng_unlink(u.eng, dir, "f") == 0);
    pass_ms(1500);
    MUST(eng_rmdir(u.eng, ENG_ROOT_INO, "d") == 0);
    MUST(back(dir, "f", 0, "f") == 0);
    pass_ms(1500);
    MUST(back(ENG_ROOT_INO, "d", 0, "d") == 0);
    cr_assert(!found(dir, "f") && found(ENG_ROOT_INO, "f") == ino);
    cr_assert_eq(unit_attr(&u, ino).nlink, 1);
}

/* Of another's file he gets no name. */
Test(undelete, of_a_folder_links_nothing_of_others)
{
    const uint32_t ann = 51001;
    const struct eng_caller caller = {ann, 0, false};
    struct eng_attr dir;
    begin(1);
    MUST(eng_create(u.eng, &caller, ENG_ROOT_INO, "d", S_IFDIR | 0777, 0, NULL, &dir) == 0);
    uint64_t ino = make_in(ENG_ROOT_INO, "roots", 1);
    MUST(eng_link(u.eng, NULL, ino, dir.ino, "link", NULL) == 0);
    pass_ms(1500);
    MUST(eng_unlink(u.eng, dir.ino, "link") == 0 && eng_rmdir(u.eng, ENG_ROOT_INO, "d") == 0);
    MUST(eng_undelete(u.eng, NULL, &ann, ENG_ROOT_INO, "d", 0, ENG_ROOT_INO, "d", NULL) == 0);
    cr_assert(!found(dir.ino, "link"));
    cr_assert_eq(unit_attr(&u, ino).nlink, 1);
}

/* The power fails: it is all there, or not at all, and can be had again. */
Test(undelete, of_a_folder_is_whole_when_the_power_fails)
{
    unsigned n_whole = 0, n_none = 0;
    begin(1);
    (void)removed_folder();
    MUST(eng_sync(u.eng) == 0);
    for (unsigned seed = 1; seed <= 24; seed++) {
        MUST(back(ENG_ROOT_INO, "top", 0, "again") == 0);
        if (seed % 3 == 0)
            MUST(eng_sync(u.eng) == 0);
        unit_kill(&u, SIM_RANDOM, seed);
        unit_open(&u);
        set_history(1u << 30);
        cr_assert_eq(unit_problems(&u), 0);
        uint64_t again = found(ENG_ROOT_INO, "again");
        cr_assert(again || seed % 3, "it was durable");
        if (!again) {
            n_none++;
            continue;
        }
        n_whole++;
        expect_whole("again");
        MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "again", ENG_ROOT_INO, "top", 0) == 0);
        unit_done(&u);
        tree_begin(false, 1);
        by_itself = folder_times = true;
        set_history(1u << 30);
        (void)removed_folder();
        MUST(eng_sync(u.eng) == 0);
    }
    cr_assert(n_whole && n_none);
}

/*
 * test_namespace.c - inodes and names: what may be created, linked, removed
 * and renamed, with which errors, and what becomes of counts, times and
 * referenced inodes. Listing is in test_readdir.c. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

static struct unit u;
static const struct eng_caller alice = {.uid = 1000, .gid = 100};
static const struct eng_caller with_ref = {.ref = true};

static void setup(void)
{
    unit_new(&u, 0);
}

static void teardown(void)
{
    if (u.eng)
        cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(namespace, .init = setup, .fini = teardown);

static uint64_t make(uint64_t parent, const char *name, uint32_t mode)
{
    struct eng_attr attr;
    cr_assert_eq(eng_create(u.eng, &alice, parent, name, mode, 0, S_ISLNK(mode) ? "target" : NULL, &attr), 0,
                 "%s", name);
    return attr.ino;
}

/* The inode called name, or 0. */
static uint64_t at(uint64_t parent, const char *name)
{
    struct eng_attr attr;
    return eng_lookup(u.eng, NULL, parent, name, &attr) == 0 ? attr.ino : 0;
}

static char *long_name(size_t len)
{
    static char name[300];
    memset(name, 'n', len);
    name[len] = 0;
    return name;
}

/* ---- creating -------------------------------------------------------------------- */

Test(namespace, names_have_rules)
{
    struct eng_attr attr;
    uint64_t file = make(1, "file", S_IFREG | 0644);
    const struct {
        uint64_t parent;
        const char *name;
        int expect, lookup;
    } cases[] = {{1, "", -ENOENT, -ENOENT},      {1, ".", -EEXIST, 0},       {1, "..", -EEXIST, 0},
                 {1, "a/b", -EINVAL, -EINVAL},   {1, "file", -EEXIST, 0},    {file, "x", -ENOTDIR, -ENOTDIR},
                 {12345, "x", -ESTALE, -ESTALE}, {0, "x", -ESTALE, -ESTALE}, {1, "nothing", 1, -ENOENT},
                 {1, "File", 1, -ENOENT}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(eng_lookup(u.eng, NULL, cases[i].parent, cases[i].name, &attr), cases[i].lookup,
                     "case %zu", i);
        if (cases[i].expect > 0)
            continue;
        cr_assert_eq(eng_create(u.eng, NULL, cases[i].parent, cases[i].name, S_IFREG, 0, NULL, &attr),
                     cases[i].expect, "case %zu", i);
        cr_assert_eq(eng_link(u.eng, NULL, file, cases[i].parent, cases[i].name, &attr), cases[i].expect,
                     "case %zu", i);
    }
    cr_assert_eq(eng_create(u.eng, NULL, 1, long_name(256), S_IFREG, 0, NULL, &attr), -ENAMETOOLONG);
    cr_assert_eq(eng_lookup(u.eng, NULL, 1, long_name(256), &attr), -ENAMETOOLONG);
    cr_assert_eq(eng_link(u.eng, NULL, file, 1, long_name(256), &attr), -ENAMETOOLONG);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "file", 1, long_name(256), 0), -ENAMETOOLONG);
    cr_assert_eq(eng_unlink(u.eng, 1, long_name(256)), -ENAMETOOLONG);
    uint64_t longest = make(1, long_name(255), S_IFREG | 0600), odd = make(1, "\xff\x01 \n", S_IFREG | 0600);
    unit_reopen(&u);
    cr_assert_eq(at(1, long_name(255)), longest);
    cr_assert_eq(at(1, "\xff\x01 \n"), odd);
}

Test(namespace, every_type_keeps_its_attributes)
{
    static const struct {
        uint32_t mode;
        uint64_t rdev;
        const char *target;
    } cases[] = {{S_IFREG | 07777, 0, NULL},   {S_IFDIR | 01777, 0, NULL}, {S_IFLNK | 0777, 0, "a/b"},
                 {S_IFIFO | 0600, 0, NULL},    {S_IFSOCK | 0700, 0, NULL}, {S_IFBLK | 0660, 0x801, NULL},
                 {S_IFCHR | 0666, 0x103, NULL}};
    struct eng_attr made[ARRAY_LEN(cases)], now;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[2] = {(char)('a' + i), 0};
        int64_t before = now_ns();
        cr_assert_eq(
            eng_create(u.eng, &alice, 1, name, cases[i].mode, cases[i].rdev, cases[i].target, &made[i]), 0);
        cr_assert_eq(made[i].mode, cases[i].mode);
        cr_assert_eq(made[i].rdev, cases[i].rdev);
        cr_assert_eq(made[i].uid, 1000);
        cr_assert_eq(made[i].gid, 100);
        cr_assert_eq(made[i].nlink, S_ISDIR(cases[i].mode) ? 2 : 1);
        cr_assert_eq(made[i].size, cases[i].target ? strlen(cases[i].target) : 0);
        cr_assert_eq(made[i].bytes, 0);
        cr_assert(made[i].btime >= before && made[i].btime <= now_ns());
        cr_assert(made[i].atime == made[i].btime && made[i].mtime == made[i].btime);
    }
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(eng_lookup(u.eng, NULL, 1, (char[]){(char)('a' + i), 0}, &now), 0);
        cr_assert_eq(memcmp(&now, &made[i], sizeof(now)), 0, "case %zu", i);
    }
}

/* Bits that no mode has are not kept, as create(2) and mknod(2) do not. */
Test(namespace, no_other_bits_than_those_of_a_mode_are_stored)
{
    struct eng_attr attr;
    uint32_t other = ~(uint32_t)(S_IFMT | 07777);
    cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, "f", S_IFREG | 04640 | other, 0, NULL, &attr), 0);
    cr_assert_eq(attr.mode, S_IFREG | 04640);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u); /* the log has nothing else either */
    cr_assert_eq(unit_attr(&u, attr.ino).mode, S_IFREG | 04640);
}

Test(namespace, a_mode_without_a_type_is_refused_before_anything_is_written)
{
    struct eng_attr attr;
    static const uint32_t modes[] = {0, 0644, S_IFMT, 0030000, 0110000};
    uint64_t seq = unit_stats(&u).log_seq;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        cr_assert_eq(eng_create(u.eng, NULL, 1, "x", modes[i], 0, NULL, &attr), -EINVAL, "mode %o", modes[i]);
    cr_assert_eq(unit_stats(&u).log_seq, seq);
    cr_assert_str_eq(unit_stats(&u).read_only_reason, "");
}

Test(namespace, symlinks_hold_their_target)
{
    char target[ENG_SYMLINK_MAX + 2], back[ENG_SYMLINK_MAX + 1];
    struct eng_attr attr;
    memset(target, 't', sizeof(target));
    target[ENG_SYMLINK_MAX + 1] = 0;
    cr_assert_eq(eng_create(u.eng, NULL, 1, "s", S_IFLNK | 0777, 0, target, &attr), -ENAMETOOLONG);
    cr_assert_eq(eng_create(u.eng, NULL, 1, "s", S_IFLNK | 0777, 0, "", &attr), -ENOENT);
    cr_assert_eq(eng_create(u.eng, NULL, 1, "s", S_IFLNK | 0777, 0, NULL, &attr), -ENOENT);
    target[ENG_SYMLINK_MAX] = 0;
    cr_assert_eq(eng_create(u.eng, NULL, 1, "s", S_IFLNK | 0777, 0, target, &attr), 0);
    unit_reopen(&u);
    cr_assert_eq(eng_readlink(u.eng, attr.ino, back, ENG_SYMLINK_MAX), -ERANGE);
    cr_assert_eq(eng_readlink(u.eng, attr.ino, back, sizeof(back)), ENG_SYMLINK_MAX);
    cr_assert_str_eq(back, target);
    cr_assert_eq(eng_readlink(u.eng, 1, back, sizeof(back)), -EINVAL);
    cr_assert_eq(eng_readlink(u.eng, 999, back, sizeof(back)), -ESTALE);
}

Test(namespace, group_is_inherited_where_the_directory_says_so)
{
    struct eng_attr attr, set = {.mode = 02775, .gid = 50};
    uint64_t dir = make(1, "shared", S_IFDIR | 0775);
    cr_assert_eq(eng_setattr(u.eng, dir, &set, ENG_SET_MODE | ENG_SET_GID, NULL), 0);
    cr_assert_eq(eng_create(u.eng, &alice, dir, "f", S_IFREG | 0644, 0, NULL, &attr), 0);
    cr_assert(attr.gid == 50 && attr.uid == 1000 && attr.mode == (S_IFREG | 0644));
    cr_assert_eq(eng_create(u.eng, &alice, dir, "d", S_IFDIR | 0755, 0, NULL, &attr), 0);
    cr_assert(attr.gid == 50 && attr.mode == (S_IFDIR | 02755));
}

Test(namespace, setattr_sets_what_it_is_told_to)
{
    uint64_t ino = make(1, "f", S_IFREG | 0644);
    struct eng_attr set = {
        .mode = S_IFDIR | 04711, .uid = 7, .gid = 8, .atime = -5, .mtime = INT64_MAX, .ctime = 3};
    struct eng_attr a, before = unit_attr(&u, ino);
    cr_assert_eq(eng_setattr(u.eng, ino, &set, ENG_SET_MODE, &a), 0);
    cr_assert_eq(a.mode, S_IFREG | 04711, "the type stays");
    cr_assert(a.uid == 1000 && a.atime == before.atime && a.ctime > before.ctime);
    cr_assert_eq(eng_setattr(u.eng, ino, &set, ENG_SET_ATIME | ENG_SET_MTIME | ENG_SET_CTIME, &a), 0);
    cr_assert(a.atime == -5 && a.mtime == INT64_MAX && a.ctime == 3);
    int64_t now = now_ns();
    cr_assert_eq(eng_setattr(u.eng, ino, &set, ENG_SET_ATIME_NOW | ENG_SET_MTIME_NOW | ENG_SET_UID, &a), 0);
    cr_assert(a.atime >= now && a.mtime >= now && a.uid == 7 && a.gid == 100);
    cr_assert_eq(a.version, before.version, "no change of content");
    cr_assert_eq(eng_setattr(u.eng, 4711, &set, ENG_SET_UID, NULL), -ESTALE);
    int64_t ctime = a.ctime;
    cr_assert_eq(eng_setattr(u.eng, ino, &set, 0, &a), 0);
    cr_assert(a.ctime > ctime, "as chown(-1, -1) does");
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    struct eng_attr again = unit_attr(&u, ino);
    cr_assert_eq(memcmp(&again, &a, sizeof(a)), 0);
}

/* ---- links and removal ------------------------------------------------------------------ */

Test(namespace, link_counts_follow)
{
    uint64_t dir = make(1, "d", S_IFDIR | 0755), file = make(1, "f", S_IFREG | 0644);
    struct eng_attr attr;
    cr_assert_eq(unit_attr(&u, 1).nlink, 3);
    cr_assert_eq(eng_link(u.eng, NULL, file, dir, "g", &attr), 0);
    cr_assert(attr.ino == file && attr.nlink == 2);
    cr_assert_eq(eng_link(u.eng, NULL, dir, 1, "dd", &attr), -EPERM);
    cr_assert_eq(eng_link(u.eng, NULL, 999, 1, "dd", &attr), -ESTALE);
    cr_assert_eq(unit_attr(&u, dir).size, 1, "a directory's size counts its entries");
    cr_assert_eq(eng_rmdir(u.eng, 1, "d"), -ENOTEMPTY);
    cr_assert_eq(eng_unlink(u.eng, 1, "d"), -EISDIR);
    cr_assert_eq(eng_rmdir(u.eng, 1, "f"), -ENOTDIR);
    cr_assert_eq(eng_unlink(u.eng, 1, "nothing"), -ENOENT);
    cr_assert_eq(eng_rmdir(u.eng, 1, "nothing"), -ENOENT);
    cr_assert_eq(eng_rmdir(u.eng, dir, "."), -EINVAL);
    cr_assert_eq(eng_rmdir(u.eng, dir, ".."), -ENOTEMPTY);
    cr_assert_eq(eng_unlink(u.eng, 1, "."), -EISDIR);
    cr_assert_eq(eng_link(u.eng, NULL, file, 1, "youngest", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, 1, "youngest"), 0); /* the name that the inode remembers */
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_eq(eng_unlink(u.eng, 1, "f"), 0);
    cr_assert_eq(unit_attr(&u, file).nlink, 1);
    cr_assert_eq(eng_unlink(u.eng, dir, "g"), 0);
    cr_assert_eq(eng_rmdir(u.eng, 1, "d"), 0);
    cr_assert_eq(unit_attr(&u, 1).nlink, 2);
    cr_assert_eq(unit_stats(&u).memories, 0);
    cr_assert_eq(eng_getattr(u.eng, file, &attr), -ESTALE);
}

Test(namespace, links_have_a_limit)
{
    uint64_t file = make(1, "f", S_IFREG | 0644);
    struct eng_attr attr;
    char name[16];
    for (unsigned i = 1; i < ENG_LINK_MAX; i++) {
        (void)snprintf(name, sizeof(name), "%u", i);
        if (eng_link(u.eng, NULL, file, 1, name, &attr) != 0)
            cr_assert_fail("link %u", i);
        if (i % 10000 == 0)
            cr_assert_eq(eng_sync(u.eng), 0);
    }
    cr_assert_eq(attr.nlink, ENG_LINK_MAX);
    cr_assert_eq(eng_link(u.eng, NULL, file, 1, "more", &attr), -EMLINK);
    cr_assert_eq(eng_unlink(u.eng, 1, "17"), 0);
    cr_assert_eq(eng_link(u.eng, NULL, file, 1, "more", &attr), 0);
}

Test(namespace, an_unlinked_inode_lives_until_it_is_forgotten)
{
    struct eng_attr attr;
    uint64_t file = unit_file(&u, "f", 5000, 1);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(eng_lookup(u.eng, &with_ref, 1, "f", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, 1, "f"), 0);
    cr_assert_eq(at(1, "f"), 0);
    cr_assert_eq(unit_attr(&u, file).nlink, 0);
    cr_assert_eq(unit_stats(&u).orphans, 1);
    unit_write(&u, file, 6000, 2, 0);
    cr_assert(unit_holds(&u, file, 6000, 2));
    cr_assert_eq(eng_forget(u.eng, file, 2), 0);
    cr_assert(unit_holds(&u, file, 6000, 2));
    cr_assert_eq(eng_forget(u.eng, file, 1), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_getattr(u.eng, file, &attr), -ESTALE);
    cr_assert_eq(unit_stats(&u).live_bytes, 0);
    cr_assert_eq(unit_stats(&u).orphans, 0);
    cr_assert_eq(eng_forget(u.eng, file, 1), -ESTALE);
    uint64_t next = make(1, "next", S_IFREG | 0644);
    cr_assert_neq(next, file, "a number is never used again");
}

Test(namespace, a_file_without_a_name_lives_by_its_references)
{
    struct eng_attr attr;
    cr_assert_eq(eng_create(u.eng, NULL, 1, NULL, S_IFREG | 0600, 0, NULL, &attr), -EINVAL, "no reference");
    cr_assert_eq(eng_create(u.eng, &with_ref, 1, NULL, S_IFDIR | 0700, 0, NULL, &attr), -EINVAL);
    cr_assert_eq(eng_create(u.eng, &with_ref, 999, NULL, S_IFREG | 0600, 0, NULL, &attr), -ESTALE);
    cr_assert_eq(eng_create(u.eng, &with_ref, 1, NULL, S_IFREG | 0600, 0, NULL, &attr), 0);
    uint64_t file = attr.ino;
    cr_assert_eq(attr.nlink, 0);
    cr_assert_eq(unit_stats(&u).orphans, 1);
    unit_write(&u, file, 6000, 2, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(unit_holds(&u, file, 6000, 2));
    cr_assert_eq(eng_forget(u.eng, file, 1), 0);
    cr_assert_eq(eng_link(u.eng, NULL, file, 1, "late", &attr), -ENOENT);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_getattr(u.eng, file, &attr), -ESTALE);
    cr_assert_eq(unit_stats(&u).live_bytes, 0);
    cr_assert_eq(eng_create(u.eng, &with_ref, 1, NULL, S_IFREG | 0600, 0, NULL, &attr), 0);
    unit_reopen(&u);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_getattr(u.eng, attr.ino, &attr), -ESTALE, "references do not outlive the process");
}

Test(namespace, a_file_without_a_name_gets_one)
{
    struct eng_attr attr;
    cr_assert_eq(eng_create(u.eng, &with_ref, 1, NULL, S_IFREG | 0600, 0, NULL, &attr), 0);
    uint64_t file = attr.ino;
    unit_write(&u, file, 6000, 2, 0);
    make(1, "taken", S_IFREG | 0644);
    cr_assert_eq(eng_link(u.eng, NULL, file, 1, "taken", &attr), -EEXIST);
    cr_assert_eq(eng_link(u.eng, NULL, file, 1, "name", &attr), 0);
    cr_assert_eq(attr.nlink, 1);
    cr_assert_eq(unit_stats(&u).orphans, 0);
    cr_assert_eq(eng_forget(u.eng, file, 1), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(at(1, "name"), file);
    cr_assert(unit_holds(&u, file, 6000, 2));
    unit_reopen(&u);
    cr_assert_eq(at(1, "name"), file);
    cr_assert(unit_holds(&u, file, 6000, 2));
}

/* With a checkpoint between its creation and its name, and without. */
Test(namespace, a_crash_leaves_what_got_a_name_and_takes_what_did_not)
{
    for (int with_checkpoint = 0; with_checkpoint < 2; with_checkpoint++) {
        struct eng_attr named, nameless, attr;
        const char *name = with_checkpoint ? "a" : "b";
        cr_assert_eq(eng_create(u.eng, &with_ref, 1, NULL, S_IFREG | 0600, 0, NULL, &named), 0);
        cr_assert_eq(eng_create(u.eng, &with_ref, 1, NULL, S_IFREG | 0600, 0, NULL, &nameless), 0);
        unit_write(&u, named.ino, 6000, 2, 0);
        unit_write(&u, nameless.ino, 7000, 3, 0);
        if (with_checkpoint)
            cr_assert_eq(checkpoint_write(u.eng), 0);
        cr_assert_eq(eng_link(u.eng, NULL, named.ino, 1, name, &attr), 0);
        unit_kill(&u, SIM_KEEP_ALL, 1);
        unit_open(&u);
        cr_assert_eq(at(1, name), named.ino);
        cr_assert(unit_holds(&u, named.ino, 6000, 2));
        cr_assert_eq(eng_sync(u.eng), 0);
        cr_assert_eq(eng_getattr(u.eng, nameless.ino, &attr), -ESTALE);
        cr_assert_eq(unit_stats(&u).orphans, 0);
        cr_assert_eq(unit_stats(&u).live_bytes, 6000u * (1 + (unsigned)with_checkpoint));
    }
}

Test(namespace, every_call_that_returns_an_entry_can_count_a_reference)
{
    struct eng_attr attr, gone;
    cr_assert_eq(eng_create(u.eng, &with_ref, 1, "c", S_IFREG | 0644, 0, NULL, &attr), 0);
    cr_assert_eq(eng_link(u.eng, &with_ref, attr.ino, 1, "l", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, 1, "c"), 0);
    cr_assert_eq(eng_unlink(u.eng, 1, "l"), 0);
    cr_assert_eq(eng_forget(u.eng, attr.ino, 1), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_getattr(u.eng, attr.ino, &gone), 0);
    cr_assert_eq(eng_forget(u.eng, attr.ino, 100), 0, "more than there are: none are left");
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_getattr(u.eng, attr.ino, &gone), -ESTALE);
}

Test(namespace, a_removed_directory_takes_no_entries)
{
    struct eng_attr attr;
    cr_assert_eq(eng_create(u.eng, &with_ref, 1, "d", S_IFDIR | 0755, 0, NULL, &attr), 0);
    uint64_t file = make(1, "f", S_IFREG | 0644), dir = attr.ino;
    cr_assert_eq(eng_rmdir(u.eng, 1, "d"), 0);
    cr_assert_eq(eng_create(u.eng, NULL, dir, "x", S_IFREG | 0644, 0, NULL, &attr), -ENOENT);
    cr_assert_eq(eng_link(u.eng, NULL, file, dir, "x", &attr), -ENOENT);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "f", dir, "x", 0), -ENOENT);
    cr_assert_eq(eng_lookup(u.eng, NULL, dir, "..", &attr), -ENOENT);
    cr_assert_eq(eng_lookup(u.eng, NULL, dir, ".", &attr), -ESTALE);
    cr_assert_eq(eng_lookup(u.eng, NULL, file, ".", &attr), 0, "a file handle of NFS finds any inode so");
    cr_assert_eq(attr.ino, file);
    cr_assert_eq(unit_attr(&u, dir).nlink, 0);
    cr_assert_eq(eng_forget(u.eng, dir, 1), 0);
}

/* Its last name and reference are gone; it is freed with the batch that would set something. */
Test(namespace, attributes_of_what_is_gone_are_not_set)
{
    struct eng_attr attr;
    uint64_t ino = unit_file(&u, "gone", 100, 1);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "gone"), 0);
    cr_assert_eq(eng_setattr(u.eng, ino, &(struct eng_attr){.mode = 0600}, ENG_SET_MODE, &attr), -ESTALE);
    cr_assert_eq(eng_setattr(u.eng, ino, &(struct eng_attr){.size = 5}, ENG_SET_SIZE, &attr), -ESTALE);
    const struct eng_caller holder = {.ref = true};
    uint64_t held = unit_file(&u, "held", 100, 1);
    cr_assert_eq(eng_lookup(u.eng, &holder, ENG_ROOT_INO, "held", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "held"), 0);
    cr_assert_eq(eng_setattr(u.eng, held, &(struct eng_attr){.size = 5}, ENG_SET_SIZE, &attr), 0);
    cr_assert_eq(attr.size, 5);
    cr_assert_eq(eng_forget(u.eng, held, 1), 0);
    cr_assert_eq(unit_problems(&u), 0);
}

static ssize_t path_is(uint64_t ino, const char *path)
{
    char buf[1024];
    memset(buf, 'x', sizeof buf);
    ssize_t n = eng_path(u.eng, ino, buf, sizeof buf);
    if (n >= 0) {
        cr_assert_str_eq(buf, path);
        cr_assert_eq(n, (ssize_t)strlen(path));
        cr_assert_eq(eng_path(u.eng, ino, buf, (size_t)n + 1), n, "it fits exactly");
        cr_assert_eq(eng_path(u.eng, ino, buf, (size_t)n), n ? -ENAMETOOLONG : -EINVAL);
    }
    return n;
}

Test(namespace, a_path_of_each_inode)
{
    struct eng_attr attr;
    uint64_t a = make(1, "a", S_IFDIR | 0755), b = make(a, "b", S_IFDIR | 0755),
             f = make(b, "f", S_IFREG | 0644);
    cr_assert_eq(path_is(ENG_ROOT_INO, ""), 0);
    cr_assert_eq(path_is(a, "a"), 1);
    cr_assert_eq(path_is(f, "a/b/f"), 5);
    cr_assert_eq(eng_rename(u.eng, NULL, a, "b", 1, "c", 0), 0);
    cr_assert_eq(path_is(f, "c/f"), 3);
    cr_assert_eq(eng_link(u.eng, NULL, f, a, "g", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, b, "f"), 0);
    cr_assert_eq(path_is(f, "a/g"), 3);
    cr_assert_eq(eng_lookup(u.eng, &with_ref, a, "g", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, a, "g"), 0);
    cr_assert_eq(path_is(f, "?"), -ENOENT, "it is open, and has no name");
    cr_assert_eq(eng_forget(u.eng, f, 1), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(path_is(f, "?"), -ESTALE);
    cr_assert_eq(eng_path(u.eng, a, NULL, 5), -EINVAL);
}

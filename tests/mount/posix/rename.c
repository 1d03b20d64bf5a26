/* rename.c - rename(2) and renameat2(2): every pair of types, every flag, loops, open files, sticky
 * directories. */
#include "posix.h"

#include <stdio.h>

enum type { NONE, REG, EMPTY_DIR, FULL_DIR, LINK, FIFO, TYPES };
static const char *const type_names[] = {"none", "file", "emptydir", "fulldir", "symlink", "fifo"};

static void make(const char *name, enum type type)
{
    switch (type) {
    case REG:
        p_file(name, 0644, 3);
        break;
    case FULL_DIR:
    case EMPTY_DIR:
        p_dir(name, 0755);
        if (type == FULL_DIR)
            p_file(p_id("%s/in", name), 0644, 0);
        break;
    case LINK:
        MUST(symlink("nowhere", name));
        break;
    case FIFO:
        MUST(mkfifo(name, 0644));
        break;
    default:
        break;
    }
}

static void unmake(const char *name)
{
    (void)unlink(p_id("%s/in", name));
    if (unlink(name) != 0)
        (void)rmdir(name);
}

static bool is_dir(enum type t)
{
    return t == EMPTY_DIR || t == FULL_DIR;
}

static int expect(enum type from, enum type to, unsigned flags)
{
    if (from == NONE)
        return ENOENT;
    if (flags & RENAME_EXCHANGE)
        return to == NONE ? ENOENT : 0;
    if (to == NONE)
        return 0;
    if (flags & RENAME_NOREPLACE)
        return EEXIST;
    if (is_dir(from) != is_dir(to))
        return is_dir(from) ? ENOTDIR : EISDIR;
    return to == FULL_DIR ? ENOTEMPTY : 0;
}

/* Each type over each type, with each flag, within a directory and into another one. */
static void pairs(void)
{
    static const struct {
        const char *name;
        unsigned flags;
    } kinds[] = {{"plain", 0},
                 {"noreplace", RENAME_NOREPLACE},
                 {"exchange", RENAME_EXCHANGE},
                 {"whiteout", RENAME_WHITEOUT}};
    p_dir("other", 0755);
    for (size_t k = 0; k < COUNT_OF(kinds); k++)
        for (enum type from = NONE; from < TYPES; from++)
            for (enum type to = NONE; to < TYPES; to++)
                for (int far = 0; far < 2; far++) {
                    const char *dst = far ? "other/b" : "b";
                    const char *id = p_id("rename.%s.%s.%s%s", kinds[k].name, type_names[from],
                                          type_names[to], far ? ".far" : "");
                    make("a", from);
                    make(dst, to);
                    ino_t was_a = from ? p_stat("a").st_ino : 0, was_b = to ? p_stat(dst).st_ino : 0;
                    int want = expect(from, to, kinds[k].flags);
                    X(id, renameat2(AT_FDCWD, "a", AT_FDCWD, dst, kinds[k].flags), want);
                    bool exchanged = want == 0 && kinds[k].flags & RENAME_EXCHANGE;
                    struct stat a = {.st_ino = 0}, b = {.st_ino = 0};
                    (void)lstat("a", &a);
                    (void)lstat(dst, &b);
                    if (want == 0)
                        p_true(p_id("%s.moved", id),
                               b.st_ino == was_a && (!exchanged || a.st_ino == was_b) && b.st_nlink > 0);
                    else
                        p_true(p_id("%s.untouched", id), a.st_ino == was_a && b.st_ino == was_b);
                    if (want == 0 && kinds[k].flags & RENAME_WHITEOUT)
                        p_true(p_id("%s.left", id), S_ISCHR(a.st_mode) && a.st_rdev == 0);
                    unmake("a");
                    unmake(dst);
                }
    MUST(rmdir("other"));
}

static void loops(void)
{
    MUST(mkdir("x", 0755));
    MUST(mkdir("x/y", 0755));
    MUST(mkdir("x/y/z", 0755));
    X("rename.loop.self", rename("x", "x/new"), EINVAL);
    X("rename.loop.below", rename("x", "x/y/z/new"), EINVAL);
    X("rename.loop.over-below", rename("x", "x/y"), EINVAL);
    X("rename.loop.onto-parent", rename("x/y/z", "x/y"), ENOTEMPTY);
    X("rename.loop.onto-top", rename("x/y/z", "x"), ENOTEMPTY);
    X("rename.loop.exchange-below", renameat2(AT_FDCWD, "x", AT_FDCWD, "x/y", RENAME_EXCHANGE), EINVAL);
    X("rename.loop.exchange-above", renameat2(AT_FDCWD, "x/y/z", AT_FDCWD, "x", RENAME_EXCHANGE), EINVAL);
    X("rename.same", rename("x", "x"), 0);
    X("rename.same.slash", rename("x/", "x/"), 0);
    X("rename.same.noreplace", renameat2(AT_FDCWD, "x", AT_FDCWD, "x", RENAME_NOREPLACE), EEXIST);
    X("rename.same.exchange", renameat2(AT_FDCWD, "x", AT_FDCWD, "x", RENAME_EXCHANGE), 0);
    X("rename.dot.from", rename(".", "w"), EBUSY);
    X("rename.dot.to", rename("x", "."), EBUSY);
    X("rename.dot.below", rename("x/.", "w"), EBUSY);
    X("rename.dotdot.from", rename("x/..", "w"), EBUSY);
    X("rename.dotdot.to", rename("x", "x/y/.."), EBUSY);
    X("rename.flags.unknown", renameat2(AT_FDCWD, "x", AT_FDCWD, "w", 64), EINVAL);
    X("rename.flags.both", renameat2(AT_FDCWD, "x", AT_FDCWD, "w", RENAME_NOREPLACE | RENAME_EXCHANGE),
      EINVAL);
    X("rename.flags.exchange-whiteout",
      renameat2(AT_FDCWD, "x", AT_FDCWD, "w", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
    X("rename.up", rename("x/y/z", "z"), 0);
    X("rename.down", rename("z", "x/y/z"), 0);
    X("rename.up-with-children", rename("x/y", "y"), 0);
    p_equal("rename.up.nlink", p_stat("x").st_nlink, 2);
    p_equal("rename.up.parent", p_stat("y/..").st_ino == p_stat(".").st_ino, 1);
    X("rename.under-other", rename("x", "y/z/x"), 0);
    p_equal("rename.under.parent", p_stat("y/z/x/..").st_ino == p_stat("y/z").st_ino, 1);
}

static void over_open(void)
{
    char buf[8] = "";
    p_file("old", 0644, 3);
    p_file("new", 0644, 5);
    int fd = open("old", O_RDWR | O_CLOEXEC);
    MUST(fd);
    X("rename.open.over", rename("new", "old"), 0);
    struct stat st;
    MUST(fstat(fd, &st));
    p_equal("rename.open.nlink", st.st_nlink, 0);
    X("rename.open.read", pread(fd, buf, 3, 0), 0);
    p_text("rename.open.content", buf, "abc");
    X("rename.open.write", pwrite(fd, "XYZ", 3, 0), 0);
    p_text("rename.open.new-content", p_content("old"), "abcde");
    MUST(close(fd));
    /* the same with directories */
    p_dir("olddir", 0755);
    p_dir("newdir", 0755);
    fd = open("olddir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(fd);
    X("rename.open.dir", rename("newdir", "olddir"), 0);
    MUST(fstat(fd, &st));
    p_equal("rename.open.dir-nlink", st.st_nlink, 0);
    X("rename.open.dir-create", openat(fd, "x", O_CREAT | O_WRONLY | O_CLOEXEC, 0644), ENOENT);
    p_equal("rename.open.dir-new-nlink", p_stat("olddir").st_nlink, 2);
    MUST(close(fd));
    MUST(rmdir("olddir"));
    fd = open("old", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(rename("old", "moved"));
    X("rename.open.moved", pwrite(fd, "Q", 1, 0), 0);
    p_text("rename.open.moved-content", p_content("moved"), "Qbcde");
    MUST(close(fd));
    MUST(link("moved", "twin"));
    X("rename.links", rename("moved", "twin"), 0); /* two names of one file: both stay */
    p_equal("rename.links.nlink", p_stat("moved").st_nlink, 2);
    X("rename.links.noreplace", renameat2(AT_FDCWD, "moved", AT_FDCWD, "twin", RENAME_NOREPLACE), EEXIST);
    X("rename.links.exchange", renameat2(AT_FDCWD, "moved", AT_FDCWD, "twin", RENAME_EXCHANGE), 0);
}

static void own_things(void)
{
    p_file("sticky/alice", 0666, 1);
    p_dir("sticky/alicedir", 0777);
    p_dir("open/mine", 0755);
}

static void as_bob(void)
{
    X("rename.sticky.from", rename("sticky/alice", "sticky/x"), EPERM);
    X("rename.sticky.dir", rename("sticky/alicedir", "sticky/x"), EPERM);
    X("rename.sticky.unlink", unlink("sticky/alice"), EPERM);
    X("rename.sticky.rmdir", rmdir("sticky/alicedir"), EPERM);
    p_file("sticky/bob", 0644, 1);
    X("rename.sticky.over", rename("sticky/bob", "sticky/alice"), EPERM);
    X("rename.sticky.exchange", renameat2(AT_FDCWD, "sticky/bob", AT_FDCWD, "sticky/alice", RENAME_EXCHANGE),
      EPERM);
    X("rename.sticky.own", rename("sticky/bob", "sticky/bob2"), 0);
    X("rename.sticky.own-unlink", unlink("sticky/bob2"), 0);
    X("rename.sticky.away", rename("sticky/alice", "open/alice"), EPERM);
    /* a directory that changes its parent is written to: its `..` */
    X("rename.dir.parent", rename("open/mine", "open2/mine"), EACCES);
    X("rename.dir.name", rename("open/mine", "open/renamed"), 0);
    X("rename.whiteout.user", renameat2(AT_FDCWD, "open/renamed", AT_FDCWD, "open/w", RENAME_WHITEOUT), 0);
    X("rename.nowrite.from", rename("nowrite/f", "open/f"), EACCES);
    p_file("open/f", 0644, 0);
    X("rename.nowrite.to", rename("open/f", "nowrite/f"), EACCES);
}

static void as_dir_owner(void)
{
    X("rename.sticky.dir-owner", rename("sticky/alice", "sticky/y"), 0);
    X("rename.sticky.dir-owner-unlink", unlink("sticky/y"), 0);
}

void rename_run(void)
{
    pairs();
    loops();
    over_open();
    p_dir("sticky", 01777);
    p_dir("open", 0777);
    p_dir("open2", 0777);
    p_dir("nowrite", 0755);
    p_file("nowrite/f", 0644, 0);
    p_as(&alice, own_things);
    p_as(&bob, as_bob);
    MUST(chown("sticky", bob.uid, bob.gid));
    p_as(&bob, as_dir_owner);
}

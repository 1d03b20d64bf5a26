/*
 * names.c - link, symlink, unlink, mkdir, rmdir, mknod, and what a directory
 * says of itself: link counts, `.` and `..`. */
#include "posix.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static void links(void)
{
    p_file("a", 0644, 5);
    X("names.link", link("a", "b"), 0);
    p_equal("names.link.nlink", p_stat("a").st_nlink, 2);
    p_equal("names.link.same-inode", p_stat("a").st_ino == p_stat("b").st_ino, 1);
    X("names.link.exists", link("a", "b"), EEXIST);
    X("names.link.exists-dir", link("a", "dir"), EEXIST);
    X("names.link.dir", link("dir", "c"), EPERM);
    X("names.link.into-dots", link("a", "dir/.."), EEXIST);
    MUST(truncate("b", 1));
    p_equal("names.link.one-content", p_stat("a").st_size, 1);
    MUST(chmod("b", 0600));
    p_equal("names.link.one-mode", p_stat("a").st_mode & 07777, 0600);
    X("names.unlink", unlink("a"), 0);
    p_equal("names.unlink.nlink", p_stat("b").st_nlink, 1);
    X("names.unlink.gone", access("a", F_OK), ENOENT);
    X("names.unlink.again", unlink("a"), ENOENT);
    X("names.unlink.dir", unlink("dir"), EISDIR);
    X("names.unlink.dot", unlinkat(AT_FDCWD, ".", 0), EISDIR);
    X("names.unlink.dotdot", unlinkat(AT_FDCWD, "..", 0), EISDIR);
    MUST(symlink("b", "s"));
    X("names.link.symlink", link("s", "t"), 0);
    p_equal("names.link.symlink-itself", S_ISLNK(p_stat("t").st_mode), 1);
    X("names.link.follow", linkat(AT_FDCWD, "s", AT_FDCWD, "u", AT_SYMLINK_FOLLOW), 0);
    p_equal("names.link.followed", S_ISREG(p_stat("u").st_mode), 1);
    MUST(unlink("t"));
    MUST(unlink("u"));
    int fd = open("b", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("names.link.by-descriptor", linkat(fd, "", AT_FDCWD, "v", AT_EMPTY_PATH), 0);
    X("names.link.by-proc", linkat(AT_FDCWD, p_id("/proc/self/fd/%d", fd), AT_FDCWD, "w", AT_SYMLINK_FOLLOW),
      0);
    p_equal("names.link.by-proc-nlink", p_stat("b").st_nlink, 3);
    MUST(close(fd));
    X("names.link.other-fs", link("/proc/version", "x"), EXDEV);
    X("names.rename.other-fs", rename("/proc/version", "x"), EXDEV);
}

static void most_links(void)
{
    enum { MOST = 65000 };
    p_dir("many", 0755);
    p_file("many/0", 0644, 0);
    int made = 1;
    while (made < MOST + 10 && link("many/0", p_id("many/%d", made)) == 0)
        made++;
    p_equal("names.link.most", made, MOST);
    X("names.link.more", link("many/0", "many/more"), EMLINK);
    p_equal("names.link.most-nlink", p_stat("many/0").st_nlink, MOST);
    p_file("many/target", 0644, 0);
    X("names.link.most-rename", rename("many/0", "many/target"), 0); /* takes no name more */
    MUST(unlink("many/target"));
    X("names.link.after-unlink", link("many/1", "many/0"), 0);
    for (int i = 0; i < made; i++)
        (void)unlink(p_id("many/%d", i));
    X("names.link.rmdir", rmdir("many"), 0);
}

static void symlinks(void)
{
    static char target[PATH_MAX + 1], got[PATH_MAX + 16];
    memset(target, 't', PATH_MAX);
    for (size_t len = 4090; len <= 4096; len++) {
        char kept = target[len];
        target[len] = '\0';
        X(p_id("names.symlink.%zu", len), symlink(target, "sl"), len < 4096 ? 0 : ENAMETOOLONG);
        if (len < 4096) {
            p_equal(p_id("names.symlink.%zu-size", len), p_stat("sl").st_size, (long long)len);
            p_equal(p_id("names.readlink.%zu", len), readlink("sl", got, sizeof(got)), (long long)len);
            p_equal(p_id("names.readlink.%zu-same", len), memcmp(got, target, len), 0);
            MUST(unlink("sl"));
        }
        target[len] = kept;
    }
    X("names.symlink.empty", symlink("", "sl"), ENOENT);
    X("names.symlink.exists", symlink("x", "dir"), EEXIST);
    X("names.symlink", symlink("dir", "sl"), 0);
    X("names.symlink.exists-link", symlink("x", "sl"), EEXIST);
    p_equal("names.symlink.mode", p_stat("sl").st_mode, S_IFLNK | 0777);
    p_equal("names.symlink.size", p_stat("sl").st_size, 3);
    p_equal("names.readlink.short", readlink("sl", got, 2), 2);
    X("names.readlink.zero", readlink("sl", got, 0), EINVAL);
    X("names.readlink.file", readlink("b", got, 10), EINVAL);
    X("names.readlink.dir", readlink("dir", got, 10), EINVAL);
    X("names.symlink.rmdir", rmdir("sl"), ENOTDIR);
    X("names.symlink.mkdir", mkdir("sl", 0755), EEXIST);
    X("names.symlink.chmod", fchmodat(AT_FDCWD, "sl", 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
    X("names.symlink.lchown", lchown("sl", 7, 8), 0);
    p_equal("names.symlink.lchown-uid", p_stat("sl").st_uid, 7);
    p_equal("names.symlink.lchown-target", p_stat("dir").st_uid, 0);
    MUST(unlink("sl"));
}

static int children(const char *path, bool *dots)
{
    DIR *d = opendir(path);
    int n = 0, found = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0)
            found += e->d_type == DT_DIR && e->d_ino == p_stat(path).st_ino ? 1 : 10;
        else if (strcmp(e->d_name, "..") == 0)
            found += e->d_type == DT_DIR && e->d_ino == p_stat(p_id("%s/..", path)).st_ino ? 1 : 10;
        else
            n++;
    }
    if (d)
        (void)closedir(d);
    *dots = found == 2;
    return n;
}

static void directories(void)
{
    bool dots = false;
    X("names.mkdir", mkdir("d", 0755), 0);
    X("names.mkdir.exists", mkdir("d", 0755), EEXIST);
    X("names.mkdir.exists-file", mkdir("b", 0755), EEXIST);
    X("names.mkdir.dot", mkdir(".", 0755), EEXIST);
    X("names.mkdir.dotdot", mkdir("d/..", 0755), EEXIST);
    p_equal("names.mkdir.nlink", p_stat("d").st_nlink, 2);
    p_equal("names.mkdir.empty", children("d", &dots), 0);
    p_true("names.mkdir.dots", dots);
    MUST(mkdir("d/one", 0755));
    MUST(mkdir("d/two", 0755));
    p_file("d/file", 0644, 0);
    p_equal("names.mkdir.subdirs-nlink", p_stat("d").st_nlink, 4);
    p_equal("names.mkdir.children", children("d", &dots), 3);
    p_true("names.mkdir.dots-full", dots);
    (void)children("d/one", &dots);
    p_true("names.mkdir.dots-below", dots);
    MUST(rename("d/one", "one"));
    p_equal("names.rename.from-nlink", p_stat("d").st_nlink, 3);
    (void)children("one", &dots);
    p_true("names.rename.dots", dots);
    MUST(rename("one", "d/two"));
    p_equal("names.rename.over-nlink", p_stat("d").st_nlink, 3);
    X("names.rmdir.notempty", rmdir("d"), ENOTEMPTY);
    X("names.rmdir.file", rmdir("d/file"), ENOTDIR);
    X("names.rmdir.dot", rmdir("d/."), EINVAL);
    X("names.rmdir.dotdot", rmdir("d/two/.."), ENOTEMPTY);
    X("names.rmdir.subdir", rmdir("d/two"), 0);
    p_equal("names.rmdir.nlink", p_stat("d").st_nlink, 2);
    MUST(unlink("d/file"));
    X("names.rmdir", rmdir("d"), 0);
    X("names.rmdir.again", rmdir("d"), ENOENT);
    MUST(mkdir("here", 0755));
    MUST(chdir("here"));
    X("names.rmdir.current", rmdir("../here"), 0);
    char buf[PATH_MAX];
    X("names.rmdir.getcwd", getcwd(buf, sizeof(buf)) ? 0 : -1, ENOENT);
    X("names.rmdir.create", p_open("x", O_CREAT | O_RDWR, 0644), ENOENT);
    DIR *d = opendir(".");
    p_true("names.rmdir.list", d && !readdir(d));
    if (d)
        (void)closedir(d);
    X("names.rmdir.leave", chdir(".."), 0);
}

static void nodes(void)
{
    static const struct {
        const char *name;
        mode_t type;
        dev_t dev, seen;
    } table[] = {
        {"file", S_IFREG, 0, 0},
        {"default", 0, 0, 0},
        {"fifo", S_IFIFO, 0, 0},
        {"socket", S_IFSOCK, 0, 0},
        {"char", S_IFCHR, 1 << 8 | 5, 1 << 8 | 5},
        {"block", S_IFBLK, 7 << 8 | 200, 7 << 8 | 200},
        {"large", S_IFCHR, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        bool large = strcmp(table[i].name, "large") == 0;
        dev_t dev = large ? makedev(4095, 1048575) : table[i].dev;
        X(p_id("names.mknod.%s", table[i].name), mknod("node", table[i].type | 0640, dev), 0);
        struct stat st = p_stat("node");
        p_equal(p_id("names.mknod.%s-mode", table[i].name), st.st_mode,
                (table[i].type ? table[i].type : S_IFREG) | 0640);
        p_equal(p_id("names.mknod.%s-device", table[i].name), (long long)st.st_rdev,
                (long long)(large ? dev : table[i].seen));
        p_equal(p_id("names.mknod.%s-size", table[i].name), st.st_size, 0);
        p_equal(p_id("names.mknod.%s-blocks", table[i].name), st.st_blocks, 0);
        X(p_id("names.mknod.%s-exists", table[i].name), mknod("node", table[i].type | 0640, dev), EEXIST);
        X(p_id("names.mknod.%s-rename", table[i].name), rename("node", "moved"), 0);
        X(p_id("names.mknod.%s-chmod", table[i].name), chmod("moved", 0600), 0);
        p_equal(p_id("names.mknod.%s-kept", table[i].name), (long long)p_stat("moved").st_rdev,
                (long long)st.st_rdev);
        if (table[i].type && table[i].type != S_IFREG)
            X(p_id("names.mknod.%s-truncate", table[i].name), truncate("moved", 1), EINVAL);
        X(p_id("names.mknod.%s-unlink", table[i].name), unlink("moved"), 0);
    }
    X("names.mknod.dir", mknod("node", S_IFDIR | 0755, 0), EPERM);
    X("names.mknod.link", mknod("node", S_IFLNK | 0755, 0), EINVAL);
    /* a socket and a fifo that work */
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
        c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "sock"};
    X("names.socket.bind", bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
    X("names.socket.bind-again", bind(c, (struct sockaddr *)&at, sizeof(at)), EADDRINUSE);
    p_equal("names.socket.type", S_ISSOCK(p_stat("sock").st_mode), 1);
    X("names.socket.refused", connect(c, (struct sockaddr *)&at, sizeof(at)), ECONNREFUSED);
    MUST(listen(s, 1));
    X("names.socket.connect", connect(c, (struct sockaddr *)&at, sizeof(at)), 0);
    (void)close(s);
    (void)close(c);
    MUST(mkfifo("pipe", 0644));
    int r = open("pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC), w = open("pipe", O_WRONLY | O_CLOEXEC);
    char got[4] = "";
    X("names.fifo.write", write(w, "abc", 3), 0);
    X("names.fifo.read", read(r, got, 3), 0);
    p_text("names.fifo.content", got, "abc");
    (void)close(r);
    (void)close(w);
}

static void as_stranger(void)
{
    X("names.mknod.user-char", mknod("open/c", S_IFCHR | 0644, 1 << 8 | 3), EPERM);
    X("names.mknod.user-block", mknod("open/b", S_IFBLK | 0644, 1 << 8 | 3), EPERM);
    X("names.mknod.user-fifo", mknod("open/f", S_IFIFO | 0644, 0), 0);
    X("names.mknod.user-socket", mknod("open/s", S_IFSOCK | 0644, 0), 0);
}

void names_run(void)
{
    p_dir("dir", 0755);
    p_dir("open", 0777);
    links();
    symlinks();
    directories();
    nodes();
    p_as(&alice, as_stranger);
    most_links();
}

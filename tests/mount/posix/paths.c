/*
 * paths.c - each system call that takes a path, with each path that leads
 * nowhere; and with each permission that is missing on the way. */
#include "posix.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

static int call_stat(const char *p)
{
    struct stat st;
    return stat(p, &st);
}
static int call_lstat(const char *p)
{
    struct stat st;
    return lstat(p, &st);
}
static int call_statx(const char *p)
{
    struct statx stx;
    return statx(AT_FDCWD, p, 0, STATX_BASIC_STATS, &stx);
}
static int call_statfs(const char *p)
{
    struct statfs st;
    return statfs(p, &st);
}
static int call_access(const char *p)
{
    return access(p, R_OK);
}
static int call_open(const char *p)
{
    return p_open(p, O_RDONLY | O_NONBLOCK, 0);
}
static int call_creat(const char *p)
{
    return p_open(p, O_CREAT | O_WRONLY | O_TRUNC, 0644);
}
static int call_truncate(const char *p)
{
    return truncate(p, 0);
}
static int call_chmod(const char *p)
{
    return chmod(p, 0600);
}
static int call_chown(const char *p)
{
    return chown(p, 1, 1);
}
static int call_lchown(const char *p)
{
    return lchown(p, 1, 1);
}
static int call_utimes(const char *p)
{
    static const struct timespec times[2] = {{1, 0}, {1, 0}};
    return utimensat(AT_FDCWD, p, times, 0);
}
static int call_mkdir(const char *p)
{
    return mkdir(p, 0755);
}
static int call_mkfifo(const char *p)
{
    return mkfifo(p, 0644);
}
static int call_mknod(const char *p)
{
    return mknod(p, S_IFREG | 0644, 0);
}
static int call_symlink(const char *p)
{
    return symlink("target", p);
}
static int call_link_from(const char *p)
{
    return link(p, "link-of-it");
}
static int call_link_to(const char *p)
{
    return link("file", p);
}
static int call_rename_from(const char *p)
{
    return rename(p, "renamed");
}
static int call_rename_to(const char *p)
{
    return rename("file", p);
}
static int call_exchange(const char *p)
{
    return renameat2(AT_FDCWD, "file", AT_FDCWD, p, RENAME_EXCHANGE);
}
static int call_unlink(const char *p)
{
    return unlink(p);
}
static int call_rmdir(const char *p)
{
    return rmdir(p);
}
static int call_readlink(const char *p)
{
    char buf[8];
    return (int)readlink(p, buf, sizeof(buf));
}
static int call_chdir(const char *p)
{
    return chdir(p);
}
static int call_opendir(const char *p)
{
    return p_open(p, O_RDONLY | O_DIRECTORY, 0);
}
static int call_setxattr(const char *p)
{
    return setxattr(p, "user.x", "1", 1, 0);
}
static int call_getxattr(const char *p)
{
    return (int)getxattr(p, "user.x", NULL, 0);
}
static int call_listxattr(const char *p)
{
    return (int)listxattr(p, NULL, 0);
}
static int call_removexattr(const char *p)
{
    return removexattr(p, "user.x");
}
static int call_watch(const char *p)
{
    int fd = inotify_init1(IN_CLOEXEC);
    MUST(fd);
    int watch = inotify_add_watch(fd, p, IN_MODIFY);
    int err = errno;
    (void)close(fd);
    errno = err;
    return watch;
}
static int call_exec(const char *p)
{
    return execl(p, "x", (char *)NULL);
}

/* Besides: whether it makes a name, takes one away, or changes what only the owner may. */
enum { MAKES = 1, REMOVES = 2, OWNERS = 4, READS = 8, WRITES = 16 };
static const struct {
    const char *name;
    int (*call)(const char *path);
    int kind;
} calls[] = {
    {"stat", call_stat, 0},
    {"lstat", call_lstat, 0},
    {"statx", call_statx, 0},
    {"statfs", call_statfs, 0},
    {"access", call_access, READS},
    {"open", call_open, READS},
    {"creat", call_creat, WRITES},
    {"truncate", call_truncate, WRITES},
    {"chmod", call_chmod, OWNERS},
    {"chown", call_chown, OWNERS},
    {"lchown", call_lchown, OWNERS},
    {"utimensat", call_utimes, OWNERS},
    {"mkdir", call_mkdir, MAKES},
    {"mkfifo", call_mkfifo, MAKES},
    {"mknod", call_mknod, MAKES},
    {"symlink", call_symlink, MAKES},
    {"link-from", call_link_from, 0},
    {"link-to", call_link_to, MAKES},
    {"rename-from", call_rename_from, REMOVES},
    {"rename-to", call_rename_to, REMOVES},
    {"exchange", call_exchange, REMOVES},
    {"unlink", call_unlink, REMOVES},
    {"rmdir", call_rmdir, REMOVES},
    {"readlink", call_readlink, 0},
    {"chdir", call_chdir, 0},
    {"opendir", call_opendir, 0},
    {"setxattr", call_setxattr, WRITES},
    {"getxattr", call_getxattr, READS},
    {"listxattr", call_listxattr, 0},
    {"removexattr", call_removexattr, WRITES},
    {"inotify", call_watch, READS},
    {"exec", call_exec, 0},
};

static char long_name[257], long_path[PATH_MAX + 16], longest_path[PATH_MAX];

static const struct {
    const char *name, *path;
    int err;
} nowhere[] = {
    {"missing", "missing/x", ENOENT},   {"file", "file/x", ENOTDIR},        {"fifo", "fifo/x", ENOTDIR},
    {"loop", "loop/x", ELOOP},          {"dangling", "dangling/x", ENOENT}, {"through", "to-file/x", ENOTDIR},
    {"long", long_name, ENAMETOOLONG},  {"path", long_path, ENAMETOOLONG},  {"empty", "", ENOENT},
    {"fault", (const char *)1, EFAULT}, {"deep", longest_path, ENOENT},
};

static void fill_paths(void)
{
    memset(long_name, 'n', 256);
    memset(long_path, '/', sizeof(long_path) - 1);
    for (size_t i = 0; i + 1 < sizeof(long_path); i += 2)
        long_path[i] = '.';
    memset(longest_path, '/', sizeof(longest_path) - 1); /* 4095 bytes: the longest that is taken */
    longest_path[0] = '.';
    (void)memcpy(longest_path + sizeof(longest_path) - 10, "missing/x", 10);
}

static void lead_nowhere(void)
{
    p_file("file", 0644, 10);
    p_dir("dir", 0755);
    MUST(mkfifo("fifo", 0644));
    MUST(symlink("loop2", "loop"));
    MUST(symlink("loop", "loop2"));
    MUST(symlink("missing", "dangling"));
    MUST(symlink("file", "to-file"));
    for (size_t c = 0; c < COUNT_OF(calls); c++)
        for (size_t n = 0; n < COUNT_OF(nowhere); n++)
            X(p_id("paths.%s.%s", calls[c].name, nowhere[n].name), calls[c].call(nowhere[n].path),
              nowhere[n].err);
}

/* The same name twice, as a loop of its own. */
static void follow_loops(void)
{
    X("paths.loop.stat", call_stat("loop"), ELOOP);
    X("paths.loop.lstat", call_lstat("loop"), 0);
    X("paths.loop.open", call_open("loop"), ELOOP);
    X("paths.loop.creat", call_creat("loop"), ELOOP);
    X("paths.loop.chmod", call_chmod("loop"), ELOOP);
    X("paths.loop.mkdir", call_mkdir("loop"), EEXIST);
    X("paths.loop.rmdir", call_rmdir("loop"), ENOTDIR);
    X("paths.loop.link", call_link_from("loop"), 0);
    X("paths.loop.unlink", unlink("link-of-it"), 0);
    X("paths.loop.exclusive", p_open("loop", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
    X("paths.loop.nofollow", p_open("to-file", O_RDONLY | O_NOFOLLOW, 0), ELOOP);
    /* forty links are followed, not forty-one */
    MUST(symlink("file", "chain0"));
    for (int i = 1; i <= 40; i++)
        MUST(symlink(p_id("chain%d", i - 1), p_id("chain%d", i)));
    X("paths.chain.forty", call_stat("chain39"), 0);
    X("paths.chain.more", call_stat("chain40"), ELOOP);
}

static void end_in_slash(void)
{
    X("paths.slash.stat-file", call_stat("file/"), ENOTDIR);
    X("paths.slash.stat-dir", call_stat("dir/"), 0);
    X("paths.slash.open-file", call_open("file/"), ENOTDIR);
    X("paths.slash.creat", call_creat("new/"), EISDIR);
    X("paths.slash.mkdir", call_mkdir("new/"), 0);
    X("paths.slash.rmdir", call_rmdir("new/"), 0);
    X("paths.slash.mknod", call_mknod("new/"), ENOENT);
    X("paths.slash.symlink", call_symlink("new/"), ENOENT);
    X("paths.slash.link-to", call_link_to("new/"), ENOENT);
    X("paths.slash.unlink-file", call_unlink("file/"), ENOTDIR);
    X("paths.slash.unlink-dir", call_unlink("dir/"), EISDIR);
    X("paths.slash.rename-file", rename("file/", "other"), ENOTDIR);
    X("paths.slash.rename-dir", rename("dir/", "dir2/"), 0);
    X("paths.slash.rename-back", rename("dir2", "dir"), 0);
    X("paths.slash.lstat-link", call_lstat("to-file/"), ENOTDIR);
}

static void take_longest(void)
{
    char name[256];
    memset(name, 'x', 255);
    name[255] = '\0';
    X("paths.longest.mkdir", mkdir(name, 0755), 0);
    X("paths.longest.rename", rename(name, "short"), 0);
    X("paths.longest.rename-back", rename("short", name), 0);
    X("paths.longest.rmdir", rmdir(name), 0);
    X("paths.longest.creat", call_creat(name), 0);
    X("paths.longest.unlink", unlink(name), 0);
    X("paths.longest.symlink", symlink(name, name), 0);
    X("paths.longest.remove-link", unlink(name), 0);
    for (int c = 1; c < 256; c++) { /* any byte but two makes a name */
        char odd[3] = {(char)c, 'x', '\0'};
        if (c == '/')
            continue;
        if (p_open(odd, O_CREAT | O_EXCL, 0644) != 0 || unlink(odd) != 0)
            p_true(p_id("paths.byte.%d", c), false);
    }
    p_true("paths.bytes", true);
}

/* What alice may, in directories and on files of root's. */
static void as_stranger(void)
{
    for (size_t c = 0; c < COUNT_OF(calls); c++) {
        const char *name = calls[c].name;
        int kind = calls[c].kind;
        bool two = strstr(name, "link-to") || strstr(name, "rename-to") || strstr(name, "exchange");
        /* no search permission on the way, whatever it wants there */
        X(p_id("paths.%s.nosearch", name), calls[c].call("nosearch/f"), EACCES);
        X(p_id("paths.%s.nosearch-missing", name), calls[c].call("nosearch/missing"), EACCES);
        if (kind & (MAKES | REMOVES) && !two)
            X(p_id("paths.%s.nowrite", name), calls[c].call(kind & MAKES ? "nowrite/new" : "nowrite/f"),
              EACCES);
        if (kind & OWNERS)
            X(p_id("paths.%s.stranger", name), calls[c].call("open/f"), EPERM);
        if (kind & READS)
            X(p_id("paths.%s.noread", name), calls[c].call("open/secret"), EACCES);
        if (kind & WRITES)
            X(p_id("paths.%s.noright", name), calls[c].call("open/f"), EACCES);
    }
    X("paths.creat.nowrite", call_creat("nowrite/new"), EACCES);
    X("paths.opendir.noread", call_opendir("noread"), EACCES);
    X("paths.stat.noread-dir", call_stat("noread/f"), 0);
    X("paths.chdir.noread", call_chdir("nosearch"), EACCES);
    X("paths.exec.noexec", call_exec("open/f"), EACCES);
}

void paths_run(void)
{
    static const struct {
        const char *name;
        mode_t mode;
    } dirs[] = {{"nosearch", 0766}, {"nowrite", 0755}, {"noread", 0733}, {"open", 0777}};
    fill_paths();
    lead_nowhere();
    follow_loops();
    end_in_slash();
    take_longest();
    for (size_t i = 0; i < COUNT_OF(dirs); i++) {
        p_dir(dirs[i].name, dirs[i].mode);
        p_file(p_id("%s/f", dirs[i].name), 0644, 1);
        p_file(p_id("%s/secret", dirs[i].name), 0600, 1);
    }
    p_as(&alice, as_stranger);
}

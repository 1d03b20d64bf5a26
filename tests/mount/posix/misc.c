/*
 * misc.c - statx, statfs, pathconf, ioctls, file handles. */
#include "posix.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

static void statx_fields(void)
{
    struct statx stx = {.stx_mask = 0};
    p_file("f", 0640, 5000);
    X("misc.statx", statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME, &stx), 0);
    p_equal("misc.statx.basic", (stx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS, 1);
    p_equal("misc.statx.btime", (stx.stx_mask & STATX_BTIME) != 0, 1);
    p_equal("misc.statx.size", (long long)stx.stx_size, 5000);
    p_equal("misc.statx.mode", stx.stx_mode, S_IFREG | 0640);
    p_equal("misc.statx.ino", (long long)stx.stx_ino == (long long)p_stat("f").st_ino, 1);
    X("misc.statx.empty-path", statx(open("f", O_PATH | O_CLOEXEC), "", AT_EMPTY_PATH, STATX_SIZE, &stx), 0);
    X("misc.statx.sync", statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_ALL, &stx), 0);
    X("misc.statx.dont-sync", statx(AT_FDCWD, "f", AT_STATX_DONT_SYNC, STATX_ALL, &stx), 0);
    X("misc.statx.flags", statx(AT_FDCWD, "f", 0x10000000, STATX_ALL, &stx), EINVAL);
    X("misc.statx.mask", statx(AT_FDCWD, "f", 0, 0x80000000u, &stx), EINVAL);
    /* a birth that no later change moves */
    struct statx later = {.stx_mask = 0};
    MUST(statx(AT_FDCWD, "f", 0, STATX_BTIME, &stx));
    p_tick();
    MUST(chmod("f", 0600));
    MUST(truncate("f", 1));
    MUST(statx(AT_FDCWD, "f", 0, STATX_BTIME, &later));
    p_true("misc.statx.birth-stays", stx.stx_btime.tv_sec == later.stx_btime.tv_sec &&
                                         stx.stx_btime.tv_nsec == later.stx_btime.tv_nsec);
}

static void filesystem(void)
{
    struct statvfs v;
    struct statfs s;
    X("misc.statfs", statfs(".", &s), 0);
    X("misc.statvfs", statvfs(".", &v), 0);
    p_equal("misc.statfs.namelen", s.f_namelen, 255);
    p_equal("misc.statfs.bsize", s.f_bsize, 4096);
    p_equal("misc.statfs.frsize", s.f_frsize, 4096);
    p_true("misc.statfs.blocks", s.f_blocks > 0 && s.f_bfree <= s.f_blocks && s.f_bavail <= s.f_bfree);
    p_true("misc.statfs.files", s.f_files > 0 && s.f_ffree <= s.f_files);
    p_equal("misc.statfs.type", s.f_type, 0xef53);
    p_equal("misc.pathconf.name", pathconf(".", _PC_NAME_MAX), 255);
    p_equal("misc.pathconf.path", pathconf(".", _PC_PATH_MAX), 4096);
    p_equal("misc.pathconf.chown", pathconf(".", _PC_CHOWN_RESTRICTED), 1);
    p_equal("misc.pathconf.no-trunc", pathconf(".", _PC_NO_TRUNC), 1);
}

static void ioctls(void)
{
    int n = -1, fd = open("f", O_RDWR | O_CLOEXEC), dir = open(".", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    MUST(dir);
    unsigned flags = 0;
    struct fsxattr fsx;
    X("misc.ioctl.getflags", ioctl(fd, FS_IOC_GETFLAGS, &flags), 0);
    p_equal("misc.ioctl.getflags-harmless", flags & (FS_IMMUTABLE_FL | FS_APPEND_FL), 0);
    X("misc.ioctl.getflags-dir", ioctl(dir, FS_IOC_GETFLAGS, &flags), 0);
    X("misc.ioctl.fsgetxattr", ioctl(fd, FS_IOC_FSGETXATTR, &fsx), 0);
    flags = FS_IMMUTABLE_FL;
    X("misc.ioctl.setflags", ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
    flags = 0;
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    X("misc.ioctl.unknown", ioctl(fd, _IO('E', 99)), ENOTTY);
    X("misc.ioctl.terminal", isatty(fd) ? 0 : -1, ENOTTY);
    X("misc.ioctl.fionread", ioctl(fd, FIONREAD, &n), 0);
    X("misc.ioctl.clone", ioctl(fd, FICLONE, dir), EISDIR);
    int other = open("clone", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    MUST(other);
    X("misc.ioctl.clone-file", ioctl(other, FICLONE, fd), EOPNOTSUPP);
    X("misc.ioctl.fibmap", ioctl(fd, FIBMAP, &n), 0);
    struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET};
    X("misc.ioctl.fiemap", ioctl(fd, FS_IOC_FIEMAP, &map), 0);
    (void)close(fd);
    (void)close(dir);
    (void)close(other);
}

static void handles(void)
{
    union {
        struct file_handle h;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } u = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id, root = open(".", O_RDONLY | O_CLOEXEC);
    char buf[8] = "";
    MUST(root);
    p_file("h", 0644, 5);
    X("misc.handle.name", name_to_handle_at(AT_FDCWD, "h", &u.h, &mount_id, 0), 0);
    int fd = -1;
    X("misc.handle.open", fd = open_by_handle_at(root, &u.h, O_RDONLY | O_CLOEXEC), 0);
    MUST(fd < 0 ? 0 : read(fd, buf, 5));
    p_text("misc.handle.content", buf, "abcde");
    MUST(close(fd));
    MUST(rename("h", "h2"));
    X("misc.handle.renamed", fd = open_by_handle_at(root, &u.h, O_RDONLY | O_CLOEXEC), 0);
    MUST(close(fd));
    MUST(unlink("h2"));
    for (int i = 0; i < 50; i++) /* numbers may be used again, for other files */
        p_file(p_id("again%d", i), 0644, 1);
    X("misc.handle.stale", open_by_handle_at(root, &u.h, O_RDONLY | O_CLOEXEC), ESTALE);
    p_dir("hd", 0755);
    u.h.handle_bytes = MAX_HANDLE_SZ;
    X("misc.handle.dir", name_to_handle_at(AT_FDCWD, "hd", &u.h, &mount_id, 0), 0);
    X("misc.handle.open-dir", open_by_handle_at(root, &u.h, O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0);
    (void)close(root);
}

void misc_run(void)
{
    statx_fields();
    filesystem();
    ioctls();
    handles();
}

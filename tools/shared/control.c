/*
 * control.c - talks to a mounted store. No state. */
#include "shared/control.h"

#include "shared/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The daemon's own longest text has some 16 MiB. */
enum { TEXT_MAX = 64 << 20 };

/* Root takes no answers from a daemon of somebody else: it may say what it likes of stores, and keep anybody
 * waiting. Until that is known it is asked for nothing. */
static int check_mounter(int fd)
{
    struct mountinfo *m = geteuid() == 0 ? calloc(1, sizeof *m) : NULL;
    int r = m || geteuid() != 0 ? 0 : -ENOMEM;
    if (m) {
        r = mountinfo_find(mountinfo_number(fd), m);
        if (!r)
            r = -ENODEV;
        else if (r > 0)
            r = m->user == 0 ? 0 : -EREMOTE;
    }
    free(m);
    return r;
}

/* The root of the mount, O_PATH, and its device. */
static int open_mount(const char *mountpoint, dev_t *ret_dev)
{
    struct statx st = {0};
    int fd = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) < 0 ? -errno : 0;
    if (!r)
        r = check_mounter(fd);
    *ret_dev = makedev(st.stx_dev_major, st.stx_dev_minor);
    if (!r)
        return fd;
    if (fd >= 0)
        close(fd);
    return r;
}

/* A regular file or folder, `type`, of that mount, whatever its daemon would have us open instead. */
static int check_type(int fd, mode_t type, dev_t dev)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if ((st.st_mode & S_IFMT) != type || st.st_dev != dev)
        return -ELOOP;
    return fcntl(fd, F_SETFL, 0) < 0 ? -errno : 0;
}

static int open_typed(const char *mountpoint, const char *name, mode_t type, int flags)
{
    dev_t dev = 0;
    int root = open_mount(mountpoint, &dev);
    if (root < 0)
        return root;
    int folder = openat(root, ".engram", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd = -1;
    if (folder >= 0)
        fd = openat(folder, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int r = fd < 0 ? -errno : check_type(fd, type, dev);
    close(root);
    if (folder >= 0)
        close(folder);
    if (!r)
        return fd;
    if (fd >= 0)
        close(fd);
    return r == -ENOTDIR || r == -ENXIO ? -ELOOP : r;
}

static int open_control(const char *mountpoint, const char *name, int flags)
{
    return open_typed(mountpoint, name, S_IFREG, flags);
}

int control_write(const char *mountpoint, const char *name, const char *line)
{
    char text[4096];
    int n = snprintf(text, sizeof text, "%s\n", line);
    if (n < 0 || n >= (int)sizeof text)
        return -EINVAL;
    int fd = open_control(mountpoint, name, O_WRONLY);
    if (fd < 0)
        return fd;
    /* EINTR is an answer: the user wants out, the work goes on. */
    ssize_t w = write(fd, text, (size_t)n);
    int r = w < 0 ? -errno : 0;
    if (w >= 0 && w != n)
        r = -EIO;
    close(fd);
    return r;
}

int control_read(const char *mountpoint, const char *name, struct buf *ret_text)
{
    int fd = open_control(mountpoint, name, O_RDONLY), r = 0;
    if (fd < 0)
        return fd;
    ret_text->len = 0;
    for (;;) {
        if (!buf_reserve(ret_text, 65536)) {
            r = -ENOMEM;
            break;
        }
        ssize_t n = read(fd, ret_text->data + ret_text->len, 65535);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r = n < 0 ? -errno : 0;
            break;
        }
        ret_text->len += (size_t)n;
        if (ret_text->len > TEXT_MAX) {
            r = -EFBIG;
            break;
        }
    }
    close(fd);
    if (!r)
        ret_text->data[ret_text->len] = 0;
    return r;
}

int control_find_mount(const char *mountpoint, struct control_mount *ret_mount)
{
    struct stat st;
    dev_t dev = 0;
    int root = open_mount(mountpoint, &dev);
    if (root < 0)
        return root;
    int r = fstatat(root, ".engram", &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    close(root);
    if (!r && (!S_ISDIR(st.st_mode) || st.st_dev != dev))
        r = -ELOOP;
    if (!r)
        *ret_mount = (struct control_mount){dev, st.st_mtim}; /* of .engram: when the daemon began */
    return r;
}

/* Opens `hold` for reading if its daemon says that the whole mount is read-only. */
static int open_read_only_hold(const char *mountpoint)
{
    char text[1024];
    int fd = open_control(mountpoint, "hold", O_RDONLY);
    if (fd < 0)
        return fd;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    if (strstr(text, "\"mounted_read_only\": true"))
        return fd;
    close(fd);
    return -EROFS;
}

int control_hold(const char *mountpoint)
{
    static const char verb[] = "hold-while-open\n";
    int fd = open_control(mountpoint, "hold", O_WRONLY);
    if (fd == -EROFS)
        return open_read_only_hold(mountpoint);
    if (fd < 0 || write(fd, verb, sizeof verb - 1) == (ssize_t)sizeof verb - 1)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

void control_release(int fd)
{
    static const char verb[] = "release\n";
    (void)!write(fd, verb, sizeof verb - 1); /* of a mount with -o ro it is not open for it */
    close(fd);
}

int control_open_snapshots(const char *mountpoint)
{
    return open_typed(mountpoint, "snapshots", S_IFDIR, O_RDONLY | O_DIRECTORY);
}

bool control_is_held(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0;
}

const char *control_strerror(int error)
{
    switch (error) {
    case -EBUSY:
        return "one is running already";
    case -ENODEV:
        return "not among the mounts that this process can see (taken away by umount -l?), so that nobody "
               "tells whose it is";
    case -ENOENT:
        return "the mount has no control files (mounted with -o ctl=off?)";
    case -ENOSPC:
        return "not enough room to move anything";
    case -EROFS:
        return "the mount is read-only";
    case -EACCES:
    case -EPERM:
        return "only root, the owner of the mount and members of its ctl_group may do that";
    case -EINVAL:
        return "not understood: .engram/status of the mount has what, .engram/help what is known";
    case -EINTR:
        return "interrupted; the work goes on in the daemon";
    case -ELOOP:
        return "what is there are no control files of an engramfs";
    case -ENOSYS:
        return "needs /proc, which says who has mounted it";
    case -EREMOTE:
        return "mounted by another user, whose daemon may say what it likes: do that as this user, not as "
               "root";
    case -EIO:
        return "failed, see .engram/status in the mount";
    case -ESRCH:
        return "none is running";
    default:
        return strerror(-error);
    }
}

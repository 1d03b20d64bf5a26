/*
 * control.c - talks to a mounted store. No state. */
#include "shared/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_control(const char *mountpoint, const char *name, int flags)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/.engram/%s", mountpoint, name);
    if (n < 0 || n >= (int)sizeof path)
        return -ENAMETOOLONG;
    int fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
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
    }
    close(fd);
    if (!r)
        ret_text->data[ret_text->len] = 0;
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
    case -EIO:
        return "failed, see .engram/status in the mount";
    case -ESRCH:
        return "none is running";
    default:
        return strerror(-error);
    }
}

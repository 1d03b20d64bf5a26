/*
 * control.c - talks to a mounted store. No state. */
#include "shared/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
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
    char text[256];
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
        return "only the owner of the mount may do that";
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

/*
 * gone_shim.c - for LD_PRELOAD: once the file GONE_WHEN is there, the mount GONE_MOUNT is taken away just
 * after its root was opened. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/types.h>
#include <unistd.h>

int open64(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    const char *mount = getenv("GONE_MOUNT"), *when = getenv("GONE_WHEN");
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    int fd = real(path, flags, mode);
    if (fd >= 0 && mount && when && !strcmp(path, mount) && !access(when, F_OK))
        (void)umount2(mount, MNT_DETACH);
    return fd;
}

/*
 * place_shim.c - for LD_PRELOAD: who owns a folder above the mount point is quick. PLACE_FOLDER becomes
 * PLACE_FOLDER.moved, and a link to PLACE_LINK takes its place, once: if PLACE_AT is "dead", when a daemon
 * has been found dead, and if it is "mount", just before mount(2). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static void swap(const char *moment)
{
    const char *at = getenv("PLACE_AT"), *folder = getenv("PLACE_FOLDER"), *to = getenv("PLACE_LINK");
    char moved[4096];
    int error = errno;
    if (!at || !folder || !to || strcmp(at, moment) != 0)
        return;
    snprintf(moved, sizeof moved, "%s.moved", folder);
    if (rename(folder, moved) != 0 || symlink(to, folder) != 0)
        abort();
    unsetenv("PLACE_AT");
    errno = error;
}

int statvfs64(const char *path, struct statvfs64 *ret)
{
    int (*real)(const char *, struct statvfs64 *) =
        (int (*)(const char *, struct statvfs64 *))dlsym(RTLD_NEXT, "statvfs64");
    int r = real(path, ret);
    if (r != 0 && errno == ENOTCONN)
        swap("dead");
    return r;
}

int fstatvfs64(int fd, struct statvfs64 *ret)
{
    int (*real)(int, struct statvfs64 *) = (int (*)(int, struct statvfs64 *))dlsym(RTLD_NEXT, "fstatvfs64");
    int r = real(fd, ret);
    if (r != 0 && errno == ENOTCONN)
        swap("dead");
    return r;
}

int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
{
    swap("mount");
    return (int)syscall(SYS_mount, source, target, type, flags, data);
}

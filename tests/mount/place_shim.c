/*
 * place_shim.c - for LD_PRELOAD: who owns a folder above the mount point is quick. PLACE_FOLDER becomes
 * PLACE_FOLDER.moved, and a link to PLACE_LINK takes its place, once: if PLACE_AT is "dead", when a daemon
 * has been found dead, if it is "mount", just before mount(2), and if it is "fork", just before libfuse runs
 * fusermount3. With PLACE_MEET, a folder, mount(2) waits for another one that does, for a second at most. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
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

/* The only one that comes has waited in vain; that nobody else can be here at that time is what is tested. */
static void meet(const char *folder)
{
    char name[4096];
    if (!folder)
        return;
    snprintf(name, sizeof name, "%s/%d", folder, (int)getpid());
    close(open(name, O_WRONLY | O_CREAT, 0600));
    for (int left = 100; left > 0; left--) {
        int n = 0;
        DIR *d = opendir(folder);
        for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
            n += e->d_name[0] != '.';
        if (d)
            closedir(d);
        if (n > 1)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

pid_t fork(void)
{
    pid_t (*real)(void) = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
    swap("fork");
    return real();
}

/* With PLACE_ALONE whoever started the daemon is killed at that moment. */
static void be_alone(void)
{
    pid_t parent = getppid();
    if (!getenv("PLACE_ALONE") || kill(parent, SIGKILL) != 0)
        return;
    while (getppid() == parent) /* its descriptors are closed before that */
        ;
}

int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data)
{
    swap("mount");
    meet(getenv("PLACE_MEET"));
    be_alone();
    return (int)syscall(SYS_mount, source, target, type, flags, data);
}

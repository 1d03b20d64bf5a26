/*
 * stall_shim.c - for LD_PRELOAD: a disk that does not answer. While the file STALL_SHIM is there, no flush of
 * data returns; all else goes on. The file STALL_SHIM.in is there from when the first one is waiting.
 *
 * Also the order of two things at a daemon's end, a line each in the file STALL_SHIM.end: "joined", the
 * thread of fs/room.c has ended, which alone is joined in this way; "closed", the descriptor of the
 * connection is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void note(const char *suffix, const char *line)
{
    char path[4096];
    const char *stall = getenv("STALL_SHIM");
    if (!stall || snprintf(path, sizeof path, "%s.%s", stall, suffix) >= (int)sizeof path)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        abort();
    syscall(SYS_close, fd);
}

int pthread_timedjoin_np(pthread_t thread, void **ret_value, const struct timespec *end)
{
    static int (*real)(pthread_t, void **, const struct timespec *);
    if (!real)
        real = (int (*)(pthread_t, void **, const struct timespec *))dlsym(RTLD_NEXT, "pthread_timedjoin_np");
    int r = real(thread, ret_value, end);
    if (r == 0)
        note("end", "joined\n");
    return r;
}

static void note_closing(int fd)
{
    char name[64], to[16] = "";
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (readlink(name, to, sizeof to - 1) > 0 && strcmp(to, "/dev/fuse") == 0)
        note("end", "closed\n");
}

int close(int fd)
{
    note_closing(fd);
    return (int)syscall(SYS_close, fd);
}

int dup3(int from, int fd, int flags)
{
    note_closing(fd);
    return (int)syscall(SYS_dup3, from, fd, flags);
}

int fdatasync(int fd)
{
    static int (*real)(int);
    const char *path = getenv("STALL_SHIM");
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (path && access(path, F_OK) == 0)
        note("in", "waits\n");
    while (path && access(path, F_OK) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return real(fd);
}

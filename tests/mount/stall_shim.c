/*
 * stall_shim.c - for LD_PRELOAD: a disk that does not answer. While the file STALL_SHIM is there, no flush of
 * data returns; all else goes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int fdatasync(int fd)
{
    static int (*real)(int);
    const char *path = getenv("STALL_SHIM");
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    while (path && access(path, F_OK) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return real(fd);
}

/*
 * clock_shim.c - for LD_PRELOAD: the clock of the day is off by the seconds that the file CLOCK_SHIM holds.
 * It is read at each call, so that a test can set the clock of a daemon that runs, and only its. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int err = real(clock, ts);
    const char *path = getenv("CLOCK_SHIM");
    if (err || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) || !path)
        return err;
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!read(fd, text, sizeof(text) - 1);
        close(fd);
    }
    ts->tv_sec += atol(text);
    return 0;
}

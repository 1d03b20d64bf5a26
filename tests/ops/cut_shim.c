/*
 * cut_shim.c - for LD_PRELOAD: somebody cuts the file CUT_FILE to the three bytes "new" just before the
 * CUT_TIME-th read at CUT_AT. Without
 * CUT_FILE it is the program that ends then, by SIGKILL. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

ssize_t pread64(int fd, void *buf, size_t n, off_t offset)
{
    ssize_t (*real)(int, void *, size_t, off_t) =
        (ssize_t(*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread64");
    static int times;
    const char *file = getenv("CUT_FILE"), *at = getenv("CUT_AT"), *time = getenv("CUT_TIME");
    if (at && time && offset == atoll(at) && ++times == atoi(time)) {
        if (!file) {
            (void)raise(SIGKILL);
            abort();
        }
        int to = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
        if (to < 0 || write(to, "new", 3) != 3 || close(to) < 0)
            abort();
    }
    return real(fd, buf, n, offset);
}

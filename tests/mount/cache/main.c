/*
 * main.c - does the kernel's cache tell what the file system would?
 *
 *   cache DIRECTORY [--seed N] [--rounds N] [--control FILE] [--writeback 1] [PART...]
 *
 * Parts: matrix (each operation in each state of the cache, all readers after it), beside (each operation
 * while readers fill the cache), attrs (attributes that change while others ask), names (look-ups, listings,
 * links), rights (set-ID bits). Without one all of them. On ext4 every line must be ok: the control.
 * --control: writing `run` to this file compacts the store. --writeback: the kernel collects writes, so that
 * blocks that it keeps may be of before the last ones (docs/COMPATIBILITY.md). */
#include "cache.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned passed, failed;

void must(long result, const char *what, const char *file, int line)
{
    if (result >= 0)
        return;
    printf("not ok - setup: %s:%d: %s: %s\n", file, line, what, strerror(errno));
    exit(2);
}

void say(const char *what, const char *format, ...)
{
    if (!format) {
        printf("ok - cache.%s\n", what);
        passed++;
        return;
    }
    va_list args;
    va_start(args, format);
    printf("not ok - cache.%s: ", what);
    (void)vprintf(format, args);
    va_end(args);
    printf("\n");
    failed++;
}

static uint64_t state = 1;

void rnd_seed(uint64_t seed)
{
    state = seed * 2 + 1;
}

uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dull;
}

size_t below(size_t n)
{
    return (size_t)((rnd() >> 11) % n);
}

void rnd_bytes(void *to, size_t n)
{
    unsigned char *bytes = to;
    uint64_t many = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0)
            many = rnd();
        bytes[i] = (unsigned char)(1 + (many >> i % 8 * 8) % 255);
    }
}

static bool wanted(int argc, char **argv, const char *part)
{
    if (argc == 0)
        return true;
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], part) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    const char *control = "";
    uint64_t seed = 1;
    unsigned rounds = 20;
    int i = 2;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--writeback") == 0)
            blocks_lag = true;
        else if (strcmp(argv[i], "--control") == 0)
            control = argv[i + 1];
    }
    if (argc < 2 || chdir(argv[1])) {
        (void)fprintf(
            stderr,
            "usage: cache DIRECTORY [--seed N] [--rounds N] [--control FILE] [--writeback 1] [PART...]\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    rnd_seed(seed);
    if (wanted(argc - i, argv + i, "matrix"))
        matrix_run(control);
    if (wanted(argc - i, argv + i, "beside"))
        beside_run(rounds);
    if (wanted(argc - i, argv + i, "attrs"))
        attrs_run(rounds * 6);
    if (wanted(argc - i, argv + i, "names"))
        names_run();
    if (wanted(argc - i, argv + i, "rights"))
        rights_run();
    printf("# seed %llu: %u passed, %u failed\n", (unsigned long long)seed, passed, failed);
    return failed != 0;
}

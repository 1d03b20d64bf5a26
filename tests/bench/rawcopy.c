/*
 * rawcopy.c - the yardstick of a compaction: the same bytes read, checksummed
 * and written, with one fdatasync at the end.
 *
 * usage: rawcopy [--scattered] BYTES TARGET FILE...
 *
 * Reads BYTES from the files, one after another, hashes blocks of 4 KiB with
 * XXH3 as a compaction must, and writes them to TARGET. Prints seconds.
 * --scattered: the bytes lie all over the files, as live ones among dead do,
 * so that the files are read whole and of each piece the same share is copied. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"

enum { CHUNK = 1 << 20, BLOCK = 4096 };

static int write_all(int fd, const unsigned char *buf, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, buf, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        buf += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Copies at most *left bytes of one file, of what was read the share; takes what it copied from *left. */
static int copy_file(int out, const char *path, double share, uint64_t *left, uint64_t *sum)
{
    static unsigned char buf[CHUNK];
    int in = open(path, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return -errno;
    int err = 0;
    while (*left > 0 && !err) {
        ssize_t n = read(in, buf, *left < CHUNK && share == 1 ? (size_t)*left : CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err = n < 0 ? -errno : 0;
            break;
        }
        n = (ssize_t)((double)n * share + 0.999);
        if ((uint64_t)n > *left)
            n = (ssize_t)*left;
        for (size_t at = 0; at < (size_t)n; at += BLOCK)
            *sum ^= hash_long(buf + at, (size_t)n - at < BLOCK ? (size_t)n - at : BLOCK);
        err = write_all(out, buf, (size_t)n);
        *left -= (uint64_t)n;
    }
    (void)close(in);
    return err;
}

static double size_of(char **paths, int n)
{
    double all = 0;
    struct stat st;
    for (int i = 0; i < n; i++)
        all += stat(paths[i], &st) == 0 ? (double)st.st_size : 0;
    return all;
}

int main(int argc, char **argv)
{
    bool scattered = argc > 1 && strcmp(argv[1], "--scattered") == 0;
    argv += scattered;
    argc -= scattered;
    if (argc < 4) {
        (void)fprintf(stderr, "usage: rawcopy [--scattered] BYTES TARGET FILE...\n");
        return 2;
    }
    uint64_t wanted = strtoull(argv[1], NULL, 10), left = wanted;
    uint64_t sum = 0;
    double all = scattered ? size_of(argv + 3, argc - 3) : 0;
    double share = all > 0 ? (double)wanted / all : 1;
    struct timespec start, end;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    int out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = out < 0 ? -errno : 0;
    for (int i = 3; i < argc && !err && left > 0; i++)
        err = copy_file(out, argv[i], share, &left, &sum);
    if (!err && fdatasync(out))
        err = -errno;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    if (out >= 0)
        (void)close(out);
    if (err || left > 0) {
        (void)fprintf(stderr, "rawcopy: %s\n", err ? strerror(-err) : "the files hold fewer bytes than that");
        return 1;
    }
    (void)printf("%.3f\n", (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    return sum == 1 ? 3 : 0; /* looks at the sum, so that it is computed */
}

/*
 * latency.c - latencies of whole files read, written over and made through a mount before and while it
 * compacts.
 *
 * usage: latency MOUNT SECONDS [RATE]: MOUNT is of a store that `compaction make` made; SECONDS without the
 * compaction; RATE bytes a second, 0 unlimited. Prints one JSON object. Fails, too, if a file is not
 * whole. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "paced.h"
#include "rng.h"

enum { SIZE = 1024 };

static struct file {
    uint32_t folder, number;
} * files;
static size_t n_files, cap_files;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "latency: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void record(uint32_t folder, const char *name)
{
    if (*name != 'f')
        return;
    if (n_files == cap_files) {
        cap_files = cap_files ? cap_files * 2 : 4096;
        files = realloc(files, cap_files * sizeof *files);
        must(files != NULL, "memory");
    }
    files[n_files++] = (struct file){folder, (uint32_t)strtoul(name + 1, NULL, 10)};
}

static void find_files(void)
{
    char path[32];
    for (uint32_t d = 0;; d++) {
        (void)snprintf(path, sizeof(path), "d%" PRIu32, d);
        DIR *dir = opendir(path);
        if (!dir)
            break;
        for (struct dirent *e; (e = readdir(dir));)
            record(d, e->d_name);
        (void)closedir(dir);
    }
    must(n_files > 0, "no files as `compaction make` makes them");
}

static int open_some(uint64_t *rng, int flags)
{
    const struct file *f = &files[rng_below(rng, n_files)];
    char path[48];
    (void)snprintf(path, sizeof(path), "d%" PRIu32 "/f%" PRIu32, f->folder, f->number);
    int fd = open(path, flags);
    must(fd >= 0, path);
    return fd;
}

static void read_one(uint64_t *rng, uint64_t n, char *buf)
{
    (void)n;
    int fd = open_some(rng, O_RDONLY);
    must(read(fd, buf, PACED_BUF) == SIZE, "read");
    (void)close(fd);
}

static void write_one(uint64_t *rng, uint64_t n, char *buf)
{
    (void)n;
    int fd = open_some(rng, O_WRONLY);
    must(write(fd, buf, SIZE) == SIZE, "write");
    (void)close(fd);
}

static void create_one(uint64_t *rng, uint64_t n, char *buf)
{
    char path[48];
    (void)rng;
    (void)snprintf(path, sizeof(path), "scratch/c%" PRIu64, n);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    must(fd >= 0, path);
    must(write(fd, buf, SIZE) == SIZE, "write");
    (void)close(fd);
}

static void tell(const char *verb)
{
    int fd = open(".engram/compact", O_WRONLY);
    must(fd >= 0 && write(fd, verb, strlen(verb)) == (ssize_t)strlen(verb), verb);
    must(close(fd) == 0, verb);
}

int main(int argc, char **argv)
{
    struct paced loads[] = {{.name = "read", .one = read_one},
                            {.name = "write", .one = write_one},
                            {.name = "create", .one = create_one}};
    char rate[48];
    if (argc < 3) {
        (void)fprintf(stderr, "usage: latency MOUNT SECONDS [RATE]\n");
        return 2;
    }
    must(chdir(argv[1]) == 0, argv[1]);
    (void)snprintf(rate, sizeof(rate), "rate=%s\n", argc > 3 ? argv[3] : "0");
    tell(rate);
    find_files();
    must(mkdir("scratch", 0755) == 0, "scratch");
    paced_begin(loads, 3, (unsigned)atoi(argv[2]));
    tell("run\n"); /* until it is done */
    printf("{\"files\": %zu", n_files);
    paced_end(loads, 3);
    printf("}\n");
    free(files);
    return 0;
}

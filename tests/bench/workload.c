/*
 * workload.c - one workload of the benchmark in a folder, timed from within: what a program that is started
 * for each file would add is not in the figure.
 *
 *   workload NAME FOLDER FILES SIZE FOLDERS THREADS [SEED]
 *
 * prints the seconds that it took. Files are FOLDER/dN/fN (FOLDERS 0: all in FOLDER), SIZE bytes. NAMEs:
 *   mkdirs      the folders                 create      create, write, close
 *   read        open, read, close; in order of creation
 *   random      the same in random order    stat        stat, in order of creation
 *   replace     temporary file, chmod, utimens, rename over: as rsync does
 *   overwrite   O_TRUNC, write, close       unlink      unlink
 *   seqwrite, seqread, randwrite, randread  one file of FILES x SIZE bytes, SIZE at a time
 *   fsync       write, fsync, to one file for each thread: FILES writes in all */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "rng.h"

static struct {
    const char *name, *folder;
    uint64_t files, size, folders, threads, seed;
} opt;

static uint64_t *order; /* the files in the order in which they are visited */

static void die(const char *what, const char *path)
{
    (void)fprintf(stderr, "workload %s: %s %s: %s\n", opt.name, what, path, strerror(errno));
    exit(1);
}

static void path_of(uint64_t i, const char *suffix, char path[512])
{
    if (opt.folders)
        (void)snprintf(path, 512, "%s/d%llu/f%llu%s", opt.folder, (unsigned long long)(i % opt.folders),
                       (unsigned long long)i, suffix);
    else
        (void)snprintf(path, 512, "%s/f%llu%s", opt.folder, (unsigned long long)i, suffix);
}

static void write_file(const char *path, int flags, const char *buf)
{
    int fd = open(path, flags, 0644);
    if (fd < 0)
        die("open", path);
    for (uint64_t done = 0; done < opt.size;) {
        ssize_t n = write(fd, buf + done, opt.size - done);
        if (n < 0)
            die("write", path);
        done += (uint64_t)n;
    }
    if (close(fd) != 0)
        die("close", path);
}

static void do_create(uint64_t i, char *buf)
{
    char path[512];
    path_of(i, "", path);
    write_file(path, O_CREAT | O_EXCL | O_WRONLY, buf);
}

static void do_overwrite(uint64_t i, char *buf)
{
    char path[512];
    path_of(i, "", path);
    write_file(path, O_TRUNC | O_WRONLY, buf);
}

static void do_read(uint64_t i, char *buf)
{
    char path[512];
    path_of(i, "", path);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        die("open", path);
    uint64_t done = 0;
    for (ssize_t n; (n = read(fd, buf, opt.size)) > 0;)
        done += (uint64_t)n;
    if (done != opt.size)
        die("read", path);
    (void)close(fd);
}

static void do_stat(uint64_t i, char *buf)
{
    char path[512];
    struct stat st;
    (void)buf;
    path_of(i, "", path);
    if (stat(path, &st) != 0 || (uint64_t)st.st_size != opt.size)
        die("stat", path);
}

static void do_replace(uint64_t i, char *buf)
{
    char path[512], temp[512];
    struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    path_of(i, "", path);
    path_of(i, ".tmp", temp);
    write_file(temp, O_CREAT | O_EXCL | O_WRONLY, buf);
    if (chmod(temp, 0640) != 0 || utimensat(AT_FDCWD, temp, times, 0) != 0 || rename(temp, path) != 0)
        die("replace", path);
}

static void do_unlink(uint64_t i, char *buf)
{
    char path[512];
    (void)buf;
    path_of(i, "", path);
    if (unlink(path) != 0)
        die("unlink", path);
}

static void do_mkdir(uint64_t i, char *buf)
{
    char path[512];
    (void)buf;
    (void)snprintf(path, sizeof(path), "%s/d%llu", opt.folder, (unsigned long long)i);
    if (i < opt.folders && mkdir(path, 0755) != 0)
        die("mkdir", path);
}

/* ---- one large file --------------------------------------------------------- */

static int big_fd = -1;

static void big_write(uint64_t i, char *buf)
{
    if (pwrite(big_fd, buf, opt.size, (off_t)(i * opt.size)) != (ssize_t)opt.size)
        die("write", opt.folder);
}

static void big_read(uint64_t i, char *buf)
{
    if (pread(big_fd, buf, opt.size, (off_t)(i * opt.size)) != (ssize_t)opt.size)
        die("read", opt.folder);
}

static __thread int own_fd = -1;

static void do_fsync(uint64_t i, char *buf)
{
    if (own_fd < 0) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/sync%lu", opt.folder, (unsigned long)pthread_self());
        own_fd = open(path, O_CREAT | O_WRONLY, 0644);
        if (own_fd < 0)
            die("open", path);
    }
    (void)i;
    if (write(own_fd, buf, opt.size) != (ssize_t)opt.size || fsync(own_fd) != 0)
        die("fsync", opt.folder);
}

static const struct {
    const char *name;
    void (*fn)(uint64_t i, char *buf);
    int shuffled;
    int flags; /* of the large file; -1: there is none */
} workloads[] = {
    {"mkdirs", do_mkdir, 0, -1},
    {"create", do_create, 0, -1},
    {"read", do_read, 0, -1},
    {"random", do_read, 1, -1},
    {"stat", do_stat, 0, -1},
    {"replace", do_replace, 0, -1},
    {"overwrite", do_overwrite, 0, -1},
    {"unlink", do_unlink, 0, -1},
    {"fsync", do_fsync, 0, -1},
    {"seqwrite", big_write, 0, O_CREAT | O_WRONLY},
    {"seqread", big_read, 0, O_RDONLY},
    {"randwrite", big_write, 1, O_WRONLY},
    {"randread", big_read, 1, O_RDONLY},
};

static void (*work)(uint64_t i, char *buf);

static void *run_thread(void *arg)
{
    uint64_t me = (uintptr_t)arg;
    char *buf = malloc(opt.size + 1);
    if (!buf)
        die("memory", "");
    rng_fill(buf, opt.size, opt.seed + me);
    for (uint64_t i = me; i < opt.files; i += opt.threads)
        work(order[i], buf);
    free(buf);
    if (own_fd >= 0)
        (void)close(own_fd);
    return NULL;
}

static double seconds(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        (void)fprintf(stderr, "usage: workload NAME FOLDER FILES SIZE FOLDERS THREADS [SEED]\n");
        return 2;
    }
    opt.name = argv[1];
    opt.folder = argv[2];
    opt.files = strtoull(argv[3], NULL, 0);
    opt.size = strtoull(argv[4], NULL, 0);
    opt.folders = strtoull(argv[5], NULL, 0);
    opt.threads = strtoull(argv[6], NULL, 0);
    opt.seed = argc > 7 ? strtoull(argv[7], NULL, 0) : 1;
    size_t w = 0, n = sizeof(workloads) / sizeof(workloads[0]);
    while (w < n && strcmp(workloads[w].name, opt.name) != 0)
        w++;
    if (w == n || !opt.threads || opt.threads > 64) {
        (void)fprintf(stderr, "workload: no such workload, or 1 to 64 threads\n");
        return 2;
    }
    work = workloads[w].fn;
    order = malloc((opt.files + 1) * sizeof *order);
    if (!order)
        return 1;
    uint64_t rng = opt.seed;
    for (uint64_t i = 0; i < opt.files; i++) {
        uint64_t k = workloads[w].shuffled ? rng_below(&rng, i + 1) : i;
        order[i] = order[k];
        order[k] = i;
    }
    if (workloads[w].flags >= 0) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/big", opt.folder);
        big_fd = open(path, workloads[w].flags, 0644);
        if (big_fd < 0)
            die("open", path);
    }
    pthread_t threads[64];
    double began = seconds();
    for (uintptr_t i = 0; i < opt.threads; i++)
        if (pthread_create(&threads[i], NULL, run_thread, (void *)i) != 0)
            die("thread", "");
    for (uint64_t i = 0; i < opt.threads; i++)
        (void)pthread_join(threads[i], NULL);
    if (big_fd >= 0 && close(big_fd) != 0)
        die("close", "big");
    printf("%.6f\n", seconds() - began);
    free(order);
    return 0;
}

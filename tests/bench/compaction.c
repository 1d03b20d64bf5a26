/*
 * compaction.c - a compaction at the engine, without FUSE: its time against a raw copy of the live bytes, and
 * the latencies of operations while it runs.
 *
 * usage, each of
 *   - compaction make STORE MEMORIES SIZE [DEAD]: a store with that many memories in folders of 1000; DEAD
 *     percent of them (50) removed at random
 *   - compaction run STORE [RATE]: compacts it; RATE bytes a second, 0 unlimited
 *   - compaction load STORE SECONDS [RATE]: the same under a paced load of reads, writes and creates, after
 *     SECONDS of that load alone
 *
 * Prints one JSON object. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "admin.h"
#include "paced.h"
#include "rng.h"

enum { PER_FOLDER = 1000 };

static struct eng *eng;
static const struct eng_caller me = {0};

static void must(int64_t r, const char *what)
{
    if (r >= 0)
        return;
    (void)fprintf(stderr, "compaction: %s: %s\n", what, strerror((int)-r));
    exit(1);
}

static void open_store(const char *path)
{
    char why[256] = "";
    const struct eng_options options = {0};
    int r = eng_open(path, &options, &eng, why);
    if (r)
        (void)fprintf(stderr, "%s\n", why);
    must(r, "open");
    must(eng_config_set(eng, "auto_compact", "0"), "config");
}

/* ---- making a store ----------------------------------------------------------- */

static uint64_t folder(uint64_t n, bool make)
{
    char name[32];
    struct eng_attr attr;
    (void)snprintf(name, sizeof(name), "d%" PRIu64, n);
    must(make ? eng_create(eng, &me, ENG_ROOT_INO, name, 040755, 0, NULL, &attr)
              : eng_lookup(eng, &me, ENG_ROOT_INO, name, &attr),
         name);
    return attr.ino;
}

static void fill_folder(uint64_t n, uint64_t count, size_t size)
{
    static struct eng_record records[PER_FOLDER];
    static char names[PER_FOLDER][32];
    char *content = malloc(PER_FOLDER * size);
    uint64_t dir = folder(n, true);
    must(content ? 0 : -ENOMEM, "memory");
    rng_fill(content, count * size, n);
    for (uint64_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "f%" PRIu64, i);
        records[i] = (struct eng_record){.parent = dir,
                                         .name = names[i],
                                         .content = content + i * size,
                                         .size = size,
                                         .mode = 0644,
                                         .mtime = 1000000000};
    }
    must(eng_put_many(eng, records, count) == (ssize_t)count ? 0 : -EIO, "put");
    free(content);
}

static void make_store(uint64_t n, size_t size, unsigned dead)
{
    uint64_t rng = 7;
    for (uint64_t at = 0; at < n; at += PER_FOLDER)
        fill_folder(at / PER_FOLDER, n - at < PER_FOLDER ? n - at : PER_FOLDER, size);
    for (uint64_t at = 0; at < n; at += PER_FOLDER) {
        uint64_t dir = folder(at / PER_FOLDER, false);
        for (uint64_t i = 0; i < PER_FOLDER && at + i < n; i++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "f%" PRIu64, i);
            if (rng_below(&rng, 100) < dead)
                must(eng_unlink(eng, dir, name), name);
        }
    }
}

/* ---- load ------------------------------------------------------------------------ */

static uint64_t *inos, n_inos, scratch_dir;

static int record_ino(void *arg, const struct eng_dirent *entry)
{
    (void)arg;
    if ((entry->attr.mode & 0170000) == 0100000)
        inos[n_inos++] = entry->attr.ino;
    return 0;
}

static int record_folder(void *arg, const struct eng_dirent *entry)
{
    uint64_t **next = arg;
    if ((entry->attr.mode & 0170000) == 0040000 && entry->name[0] == 'd')
        *(*next)++ = entry->attr.ino;
    return 0;
}

static void find_files(void)
{
    struct eng_stats stats;
    must(eng_stats(eng, &stats), "stats");
    inos = malloc((stats.memories + 1) * sizeof *inos);
    uint64_t *dirs = malloc((stats.directories + 1) * sizeof *dirs), *end = dirs;
    must(inos && dirs ? 0 : -ENOMEM, "memory");
    must(eng_readdir(eng, &me, ENG_ROOT_INO, 0, record_folder, &end), "readdir");
    for (uint64_t *d = dirs; d < end; d++)
        must(eng_readdir(eng, &me, *d, 0, record_ino, NULL), "readdir");
    free(dirs);
}

static void read_one(uint64_t *rng, uint64_t n, char *buf)
{
    (void)n;
    must(eng_read(eng, inos[rng_below(rng, n_inos)], buf, 4096, 0), "read");
}

static void write_one(uint64_t *rng, uint64_t n, char *buf)
{
    (void)n;
    must(eng_write(eng, inos[rng_below(rng, n_inos)], buf, 1024, 0), "write");
}

static void create_one(uint64_t *rng, uint64_t n, char *buf)
{
    struct eng_attr attr;
    char name[48];
    (void)rng;
    (void)buf;
    (void)snprintf(name, sizeof(name), "c%" PRIu64, n);
    must(eng_create(eng, &me, scratch_dir, name, 0100644, 0, NULL, &attr), "create");
}

static double cpu_seconds(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void compact(void)
{
    struct eng_job_report rep;
    double cpu = cpu_seconds();
    must(eng_job_run(eng, ENG_JOB_COMPACT, NULL, &rep), "compact");
    printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"bytes_moved\": %" PRIu64
           ", \"bytes_reclaimed\": %" PRIu64 ", \"fragmentation_after\": %.4f, \"segments\": %" PRIu64,
           (double)rep.duration_ms / 1e3, cpu_seconds() - cpu, rep.compact.bytes_moved,
           rep.compact.bytes_reclaimed, rep.compact.fragmentation_after, rep.total);
}

static void compact_under_load(unsigned seconds)
{
    struct paced loads[] = {{.name = "read", .one = read_one},
                            {.name = "write", .one = write_one},
                            {.name = "create", .one = create_one}};
    struct eng_attr attr;
    find_files();
    must(eng_create(eng, &me, ENG_ROOT_INO, "scratch", 040755, 0, NULL, &attr), "scratch");
    scratch_dir = attr.ino;
    paced_begin(loads, 3, seconds);
    compact();
    paced_end(loads, 3);
    free(inos);
}

int main(int argc, char **argv)
{
    if (argc < 3 || (strcmp(argv[1], "make") == 0 && argc < 5) ||
        (strcmp(argv[1], "load") == 0 && argc < 4)) {
        (void)fprintf(stderr, "usage: compaction make|run|load STORE ...\n");
        return 2;
    }
    open_store(argv[2]);
    if (strcmp(argv[1], "make") == 0) {
        make_store(strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0),
                   argc > 5 ? (unsigned)atoi(argv[5]) : 50);
        struct eng_stats s;
        must(eng_stats(eng, &s), "stats");
        printf("{\"live_bytes\": %" PRIu64 ", \"total_bytes\": %" PRIu64 "}\n", s.live_bytes, s.total_bytes);
    } else {
        bool load = strcmp(argv[1], "load") == 0;
        if (argc > 3 + load)
            must(eng_job_rate(eng, ENG_JOB_COMPACT, strtoull(argv[3 + load], NULL, 0)), "rate");
        if (load)
            compact_under_load((unsigned)atoi(argv[3]));
        else
            compact();
        printf("}\n");
    }
    must(eng_close(eng), "close");
    return 0;
}

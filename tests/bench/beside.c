/*
 * beside.c - what the index costs, by the public interface alone: so that the same program is built with the
 * engine of another commit, and beside.sh can put the two next to each other.
 *
 *   beside overwrites STORE MEMORIES OVERWRITES   bytes of checkpoints for bytes of log; memory a memory
 *   beside scrub STORE MEMORIES                   a scrub of segments of 64 KiB
 *   beside victim STORE MEMORIES                  a compaction of one victim
 *   beside shrunk STORE MEMORIES                  memories made, removed, compacted, opened again
 *   beside holdup STORE MEMORIES SECONDS          overwrites while checkpoints are written
 *
 * Built with -DOLD for an engine whose jobs have functions of their own (929e3dc), and with
 * -Wl,--wrap=pwritev64: bytes are counted where they leave the engine. Each prints a JSON object. */
#include "engine.h"
#ifndef OLD
#include "admin.h"
#endif

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    PER_FOLDER = 1000,
    PER_CALL = 200,
    CONTENT = 300,
    SCRUB_SEGMENT = 64 << 10,
    VICTIM_SEGMENT = 1 << 20,
    PACE_US = 200
};

static struct eng *eng;
static uint64_t *inos;
static uint64_t rng = 1;
static const struct eng_caller me = {0};

/* ---- what is written ------------------------------------------------------------------------- */

static _Atomic uint64_t image_bytes, log_bytes;

ssize_t __real_pwritev64(int fd, const struct iovec *iov, int n, off_t off);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t off);

ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t off)
{
    char link[40], name[512];
    ssize_t done = __real_pwritev64(fd, iov, n, off);
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, name, sizeof name - 1);
    if (done > 0 && len > 4) {
        name[len] = 0;
        const char *end = name + len - 4;
        if (strcmp(end, ".ckp") == 0 || strcmp(end, ".cpy") == 0)
            atomic_fetch_add(&image_bytes, (uint64_t)done);
        else if (strcmp(end, ".seg") == 0)
            atomic_fetch_add(&log_bytes, (uint64_t)done);
    }
    return done;
}

/* ---- helpers ---------------------------------------------------------------------------------- */

static void must(int64_t r, const char *what)
{
    if (r >= 0)
        return;
    (void)fprintf(stderr, "beside: %s: %s\n", what, strerror((int)-r));
    exit(1);
}

static uint64_t random_below(uint64_t n)
{
    rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (rng >> 33) % n;
}

static double clock_ms(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Bytes of memory that are the process's own. */
static double own_memory(void)
{
    char line[256];
    double kib = 0;
    FILE *in = fopen("/proc/self/status", "r");
    while (in && fgets(line, sizeof line, in))
        if (sscanf(line, "RssAnon: %lf", &kib) == 1)
            break;
    if (in)
        (void)fclose(in);
    return kib * 1024;
}

static void open_store(const char *path, uint64_t segment_size, bool threads)
{
    char why[256] = "";
    const struct eng_options options = {.segment_size = segment_size, .no_background = !threads};
    int r = eng_open(path, &options, &eng, why);
    if (r)
        (void)fprintf(stderr, "%s\n", why);
    must(r, "open");
    must(eng_config_set(eng, "auto_compact", "0"), "config");
    must(eng_config_set(eng, "checkpoint_bytes", "1000000000000"), "config");
    must(eng_config_set(eng, "checkpoint_ops", "1000000000"), "config");
}

static void close_store(void)
{
    must(eng_close(eng), "close");
    eng = NULL;
}

static struct eng_stats stats(void)
{
    struct eng_stats st;
    must(eng_stats(eng, &st), "stats");
    return st;
}

static void run_scrub(void)
{
#ifdef OLD
    must(eng_scrub_start(eng, NULL, NULL), "scrub");
#else
    must(eng_job_run(eng, ENG_JOB_SCRUB, NULL, NULL), "scrub");
#endif
}

static void run_compaction(void)
{
#ifdef OLD
    must(eng_compact(eng, NULL), "compact");
#else
    must(eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL), "compact");
#endif
}

/* ---- memories ---------------------------------------------------------------------------------- */

static void put_folder(uint64_t first)
{
    static struct eng_record records[PER_FOLDER];
    static char names[PER_FOLDER][32], content[CONTENT];
    char folder[32];
    struct eng_attr attr;
    (void)snprintf(folder, sizeof folder, "d%" PRIu64, first / PER_FOLDER);
    must(eng_create(eng, &me, ENG_ROOT_INO, folder, 040755, 0, NULL, &attr), folder);
    uint64_t parent = attr.ino;
    for (unsigned i = 0; i < PER_FOLDER; i++) {
        (void)snprintf(names[i], sizeof names[i], "memory-%06u", i);
        records[i] = (struct eng_record){
            .parent = parent, .name = names[i], .content = content, .size = CONTENT, .mode = 0644};
    }
    for (unsigned i = 0; i < PER_FOLDER; i += PER_CALL)
        must(eng_put_many(eng, records + i, PER_CALL) == PER_CALL ? 0 : -5, "put");
    for (unsigned i = 0; i < PER_FOLDER; i++) {
        must(eng_lookup(eng, &me, parent, names[i], &attr), "lookup");
        inos[first + i] = attr.ino;
    }
}

/* `n` is made a multiple of PER_FOLDER. */
static void make(uint64_t *n)
{
    *n = (*n + PER_FOLDER - 1) / PER_FOLDER * PER_FOLDER;
    inos = calloc(*n, sizeof *inos);
    must(inos ? 0 : -12, "memory");
    for (uint64_t i = 0; i < *n; i += PER_FOLDER)
        put_folder(i);
}

static void remove_all(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        char name[32];
        struct eng_attr attr;
        (void)snprintf(name, sizeof name, "d%" PRIu64, i / PER_FOLDER);
        if (i % PER_FOLDER == 0)
            must(eng_lookup(eng, &me, ENG_ROOT_INO, name, &attr), name);
        uint64_t parent = attr.ino;
        for (unsigned k = 0; k < PER_FOLDER; k++, i++) {
            char memory[32];
            (void)snprintf(memory, sizeof memory, "memory-%06u", k);
            must(eng_unlink(eng, parent, memory), memory);
        }
        must(eng_rmdir(eng, ENG_ROOT_INO, name), name);
        i--;
    }
}

static void overwrite(uint64_t ino)
{
    char content[CONTENT];
    memset(content, (int)(rng >> 40), sizeof content);
    must(eng_write(eng, ino, content, CONTENT, 0) == CONTENT ? 0 : -5, "write");
}

/* ---- what is measured --------------------------------------------------------------------------- */

static void overwrites(const char *path, uint64_t n, uint64_t n_overwrites)
{
    enum { ROUNDS = 6 };
    double before = own_memory();
    open_store(path, 0, false);
    make(&n);
    close_store();
    uint64_t images = image_bytes, log = log_bytes;
    double memory = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double base = own_memory();
        open_store(path, 0, false);
        memory = own_memory() - base;
        for (uint64_t i = 0; i < n_overwrites; i++)
            overwrite(inos[random_below(n)]);
        close_store();
    }
    images = image_bytes - images;
    log = log_bytes - log;
    printf("{\"memories\": %" PRIu64 ", \"overwrites\": %" PRIu64 ", \"checkpoint_bytes\": %" PRIu64
           ", \"log_bytes\": %" PRIu64 ", \"checkpoint_bytes_a_log_byte\": %.3f, \"memory_a_memory\": %.1f"
           ", \"memory_before\": %.0f}\n",
           n, n_overwrites * ROUNDS, images, log, (double)images / (double)log, memory / (double)n, before);
}

static void scrub(const char *path, uint64_t n)
{
    double best = 0, best_cpu = 0;
    open_store(path, SCRUB_SEGMENT, false);
    make(&n);
    close_store();
    open_store(path, SCRUB_SEGMENT, false);
    uint64_t segments = stats().segments;
    for (int i = 0; i < 3; i++) {
        double t = clock_ms(CLOCK_MONOTONIC), cpu = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
        run_scrub();
        t = clock_ms(CLOCK_MONOTONIC) - t;
        cpu = clock_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        best = !i || t < best ? t : best;
        best_cpu = !i || cpu < best_cpu ? cpu : best_cpu;
    }
    close_store();
    printf("{\"memories\": %" PRIu64 ", \"segments\": %" PRIu64
           ", \"scrub_ms\": %.1f, \"scrub_cpu_ms\": %.1f}\n",
           n, segments, best, best_cpu);
}

/* One segment that keeps a tenth of what it had; what replaces the rest is behind all others. */
static void victim(const char *path, uint64_t n)
{
    enum { ROUNDS = 5, IN_SEGMENT = VICTIM_SEGMENT / 600 };
    double cpu[ROUNDS];
    open_store(path, VICTIM_SEGMENT, false);
    make(&n);
    close_store();
    open_store(path, VICTIM_SEGMENT, false);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t first = random_below(n - 2 * IN_SEGMENT);
        for (uint64_t i = first; i < first + IN_SEGMENT; i++)
            if (i % 10)
                overwrite(inos[i]);
        must(eng_sync(eng), "sync");
        cpu[round] = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
        run_compaction();
        cpu[round] = clock_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu[round];
        for (int i = round; i > 0 && cpu[i] < cpu[i - 1]; i--) {
            double x = cpu[i];
            cpu[i] = cpu[i - 1];
            cpu[i - 1] = x;
        }
    }
    close_store();
    printf("{\"memories\": %" PRIu64 ", \"compaction_cpu_ms\": %.2f}\n", n, cpu[ROUNDS / 2]);
}

/* Of a store as it is when it was opened again. */
static void tell_size(const char *path, const char *what, double base)
{
    open_store(path, 0, false);
    struct eng_stats st = stats();
    printf("\"%s_memory\": %.0f, \"%s_index\": %" PRIu64 ", \"%s_checkpoints\": %" PRIu64, what,
           own_memory() - base, what, st.index_bytes, what, st.checkpoint_bytes);
    close_store();
}

static void shrunk(const char *path, uint64_t n)
{
    char fresh[4096];
    uint64_t few = PER_FOLDER, many = n;
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    open_store(fresh, 0, false);
    make(&few);
    close_store();
    double base = own_memory();
    printf("{\"memories\": %" PRIu64 ", ", n);
    tell_size(fresh, "new", base);
    open_store(path, 0, false);
    make(&many);
    close_store();
    open_store(path, 0, false);
    remove_all(many);
    make(&few);
    must(eng_sync(eng), "sync");
    run_compaction();
    close_store();
    open_store(path, 0, false);
    run_compaction(); /* what the checkpoint before needed can go now */
    close_store();
    base = own_memory();
    printf(", ");
    tell_size(path, "shrunk", base);
    printf("}\n");
}

/* ---- hold-ups ------------------------------------------------------------------------------------- */

static _Atomic bool stop_watching;
static double longest_undurable;

/* The longest time in which nothing more became durable although something was to. */
static void *watch_commits(void *arg)
{
    double since = clock_ms(CLOCK_MONOTONIC);
    uint64_t durable = 0;
    (void)arg;
    while (!stop_watching) {
        struct eng_stats st = stats();
        double now = clock_ms(CLOCK_MONOTONIC);
        if (st.durable_seq != durable || st.durable_seq == st.log_seq) {
            durable = st.durable_seq;
            since = now;
        }
        longest_undurable = now - since > longest_undurable ? now - since : longest_undurable;
        (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Overwrites at a steady pace; a member for what they took. */
static void paced(uint64_t n, unsigned seconds, const char *what)
{
    size_t most = (size_t)seconds * (1000000 / PACE_US), count = 0;
    double *took = calloc(most, sizeof *took), end = clock_ms(CLOCK_MONOTONIC) + seconds * 1e3;
    pthread_t thread;
    uint64_t checkpoints = stats().checkpoints;
    must(took ? 0 : -12, "memory");
    longest_undurable = 0;
    stop_watching = false;
    must(-pthread_create(&thread, NULL, watch_commits, NULL), "thread");
    for (double t = 0; count < most && t < end; count++) {
        t = clock_ms(CLOCK_MONOTONIC);
        overwrite(inos[random_below(n)]);
        took[count] = clock_ms(CLOCK_MONOTONIC) - t;
        if (took[count] * 1000 < PACE_US)
            (void)nanosleep(&(struct timespec){.tv_nsec = (long)((PACE_US - took[count] * 1000) * 1000)},
                            NULL);
    }
    stop_watching = true;
    (void)pthread_join(thread, NULL);
    qsort(took, count, sizeof *took, by_size);
    printf("\"%s_p50_ms\": %.3f, \"%s_p999_ms\": %.3f, \"%s_max_ms\": %.3f, \"%s_undurable_ms\": %.0f"
           ", \"%s_checkpoints\": %" PRIu64,
           what, took[count / 2], what, took[count - count / 1000 - 1], what, took[count - 1], what,
           longest_undurable, what, stats().checkpoints - checkpoints);
    free(took);
}

static void holdup(const char *path, uint64_t n, unsigned seconds)
{
    open_store(path, 0, false);
    make(&n);
    close_store();
    open_store(path, 0, true);
    must(eng_config_set(eng, "commit_ms", "100"), "config");
    printf("{\"memories\": %" PRIu64 ", ", n);
    paced(n, seconds, "alone");
    printf(", ");
    must(eng_config_set(eng, "checkpoint_ops", "1000"), "config"); /* one after the other */
    paced(n, seconds, "beside");
    printf("}\n");
    close_store();
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[1] : "";
    uint64_t n = argc > 3 ? strtoull(argv[3], NULL, 0) : 0, m = argc > 4 ? strtoull(argv[4], NULL, 0) : 20000;
    if (strcmp(what, "overwrites") == 0) {
        overwrites(argv[2], n, m);
    } else if (strcmp(what, "scrub") == 0) {
        scrub(argv[2], n);
    } else if (strcmp(what, "victim") == 0) {
        victim(argv[2], n);
    } else if (strcmp(what, "shrunk") == 0) {
        shrunk(argv[2], n);
    } else if (strcmp(what, "holdup") == 0) {
        holdup(argv[2], n, (unsigned)(argc > 4 ? m : 10));
    } else {
        (void)fputs("usage: see the head of beside.c\n", stderr);
        return 2;
    }
    free(inos);
    return 0;
}

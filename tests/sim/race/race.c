/*
 * race.c - readers and writers over 10,000 memories while compactions run one
 * after the other. Every content carries its id, version and length and is
 * filled from them, so a wrong, torn, stale or lost byte is seen.
 *
 * Each memory has one writer, which notes the version it is about to write and
 * the one that was acknowledged. A read must show a version between what was
 * acknowledged when it began and what was begun when it ended (linearizability for
 * each memory). A read counts as overlapping when a compaction was running from its start to its end, and as
 * moved when its inode got a new place, but no new content, in between.
 *
 * ENGRAM_TEST_MODE (quick, default, full) sets the number of reads unless it is given.
 *
 *   race [--reads N] [--readers N] [--writers N] [--memories N] [--seed S] [DIR] */
#include "admin.h"
#include "hook.h"
#include "inside.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_THREADS 64
#define LINGER_MS 20
#define MOVED_LEAST 10
#define COMPACTIONS_MOST 1000

struct record {
    uint64_t magic, id, version, length; /* length of the whole content */
};
#define MAGIC UINT64_C(0x79726f6d656d2121)

static struct {
    uint64_t reads, seed;
    unsigned readers, writers, memories;
} opt = {1000000, 0, 8, 4, 10000};

static struct eng *eng;
static uint64_t *inos;
static uint64_t *begun, *acked;                                                       /* versions. atomic */
static bool stop_writers;                                                             /* atomic */
static uint64_t n_overlapping, n_moved, n_reads, n_writes, n_failures, n_compactions; /* atomic */
static bool compacting;                                                               /* atomic */
static __thread bool linger; /* this read waits at the fault point until its memory has been moved */
static __thread uint64_t linger_ino;

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Enough reads, and some of them met a move; a bound in case none ever does. */
static bool enough(void)
{
    return __atomic_load_n(&n_failures, __ATOMIC_RELAXED) > 0 ||
           (__atomic_load_n(&n_overlapping, __ATOMIC_RELAXED) >= opt.reads &&
            (__atomic_load_n(&n_moved, __ATOMIC_RELAXED) >= MOVED_LEAST ||
             __atomic_load_n(&n_compactions, __ATOMIC_RELAXED) > COMPACTIONS_MOST));
}

static void fail(const char *what, uint64_t id, long got)
{
    if (__atomic_fetch_add(&n_failures, 1, __ATOMIC_RELAXED) < 20)
        fprintf(stderr, "memory %llu: %s (%ld)\n", (unsigned long long)id, what, got);
}

/* Most memories are small, some fill blocks, few need several extents. */
static size_t content_length(uint64_t id, uint64_t version)
{
    uint64_t r = id * 31 + version * 7;
    if (id % 1000 == 7)
        return 300000 + r % 200000;
    if (id % 50 == 3)
        return 4000 + r % 12000;
    return sizeof(struct record) + r % 1500;
}

static void fill(uint8_t *buf, uint64_t id, uint64_t version, size_t length)
{
    struct record rec = {MAGIC, id, version, length};
    memcpy(buf, &rec, sizeof rec);
    uint64_t state = id << 32 ^ version;
    for (size_t at = sizeof rec; at < length; at += 8) {
        uint64_t x = next_random(&state);
        memcpy(buf + at, &x, MIN_OF((size_t)8, length - at));
    }
}

/* The version that the content shows; 0 and a report if it is not whole. */
static uint64_t verify(const uint8_t *buf, size_t n, uint64_t id, uint8_t *scratch)
{
    struct record rec;
    if (n < sizeof rec) {
        fail("short", id, (long)n);
        return 0;
    }
    memcpy(&rec, buf, sizeof rec);
    if (rec.magic != MAGIC || rec.id != id || rec.length != n || content_length(id, rec.version) != n) {
        fail("wrong header", id, (long)rec.version);
        return 0;
    }
    fill(scratch, id, rec.version, n);
    if (memcmp(buf, scratch, n) != 0) {
        fail("wrong bytes", id, (long)rec.version);
        return 0;
    }
    return rec.version;
}

static void put(uint64_t id, uint64_t version, uint8_t *buf)
{
    char name[32];
    size_t length = content_length(id, version);
    fill(buf, id, version, length);
    snprintf(name, sizeof name, "m%llu", (unsigned long long)id);
    struct eng_record rec = {
        .parent = ENG_ROOT_INO, .name = name, .content = buf, .size = length, .mode = 0600};
    __atomic_store_n(&begun[id], version, __ATOMIC_SEQ_CST);
    ssize_t n = eng_put_many(eng, &rec, 1);
    if (n != 1)
        fail("put", id, n < 0 ? n : rec.result);
    __atomic_store_n(&acked[id], version, __ATOMIC_SEQ_CST);
}

static void *writer(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    uint64_t state = opt.seed + 1000 + me;
    uint64_t cycle = UINT64_MAX, quota = 0;
    uint8_t *buf = malloc(600000);
    while (!__atomic_load_n(&stop_writers, __ATOMIC_RELAXED)) {
        /* About half of the memories between two compactions: then each finds as many survivors as
         * garbage. */
        if (cycle != __atomic_load_n(&n_compactions, __ATOMIC_ACQUIRE)) {
            cycle = __atomic_load_n(&n_compactions, __ATOMIC_ACQUIRE);
            quota = opt.memories / opt.writers / 2 + 1;
        }
        if (!quota) {
            sched_yield();
            continue;
        }
        quota--;
        uint64_t id = next_random(&state) % (opt.memories / opt.writers) * opt.writers + me;
        put(id, acked[id] + 1, buf);
        __atomic_add_fetch(&n_writes, 1, __ATOMIC_RELAXED);
    }
    free(buf);
    return NULL;
}

/* At the fault point, in some reads: wait until the inode has another generation, so that the read is sure to
 * meet a move. */
static void hook(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_READ_COLLECTED || !linger)
        return;
    struct eng_attr attr;
    linger = false;
    if (eng_getattr(eng, linger_ino, &attr) != 0)
        return;
    uint64_t generation = attr.generation, until = mono_ns() + LINGER_MS * 1000000ull;
    while (mono_ns() < until && __atomic_load_n(&compacting, __ATOMIC_ACQUIRE) &&
           eng_getattr(eng, linger_ino, &attr) == 0 && attr.generation == generation)
        sched_yield();
}

static void read_one(uint64_t id, uint8_t *buf, uint8_t *scratch)
{
    struct eng_attr before, after;
    bool running = __atomic_load_n(&compacting, __ATOMIC_ACQUIRE);
    uint64_t run = __atomic_load_n(&n_compactions, __ATOMIC_ACQUIRE);
    uint64_t least = __atomic_load_n(&acked[id], __ATOMIC_SEQ_CST);
    int r = eng_getattr(eng, inos[id], &before);
    linger_ino = inos[id];
    ssize_t n = r ? r : eng_read(eng, inos[id], buf, 600000, 0);
    uint64_t most = __atomic_load_n(&begun[id], __ATOMIC_SEQ_CST);
    if (n < 0 || eng_getattr(eng, inos[id], &after) != 0) {
        fail("read", id, n);
        return;
    }
    uint64_t version = verify(buf, (size_t)n, id, scratch);
    if (version && (version < least || version > most))
        fail(version < least ? "stale: lost write" : "from the future", id, (long)version);
    __atomic_add_fetch(&n_reads, 1, __ATOMIC_RELAXED);
    bool still = __atomic_load_n(&compacting, __ATOMIC_ACQUIRE);
    if (!running || !still || run != __atomic_load_n(&n_compactions, __ATOMIC_ACQUIRE))
        return;
    __atomic_add_fetch(&n_overlapping, 1, __ATOMIC_RELAXED);
    if (before.version == after.version && before.generation != after.generation)
        __atomic_add_fetch(&n_moved, 1, __ATOMIC_RELAXED);
}

static void *reader(void *arg)
{
    uint64_t state = opt.seed + (uintptr_t)arg;
    uint8_t *buf = malloc(600000), *scratch = malloc(600008);
    while (!enough()) {
        uint64_t r = next_random(&state);
        linger = (r >> 32 & 255) == 0;
        read_one(r % opt.memories, buf, scratch);
    }
    free(buf);
    free(scratch);
    return NULL;
}

/* So that a compaction reads victims in its other way, past the page cache in a thread of its own. */
static void forget_segments(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        int fd =
            len > 4 && strcmp(e->d_name + len - 4, ".seg") == 0 ? openat(dirfd(d), e->d_name, O_RDONLY) : -1;
        if (fd < 0)
            continue;
        (void)fdatasync(fd);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        (void)close(fd);
    }
    if (d)
        (void)closedir(d);
}

/* Compactions one after the other until the readers have had enough. */
static void compact_until_done(const char *dir)
{
    struct eng_job_report report;
    for (unsigned n = 0; !enough(); n++) {
        if (n % 2)
            forget_segments(dir);
        __atomic_store_n(&compacting, true, __ATOMIC_RELEASE);
        int r = eng_job_run(eng, ENG_JOB_COMPACT, NULL, &report);
        __atomic_store_n(&compacting, false, __ATOMIC_RELEASE);
        if (r || report.compact.extents_damaged)
            fail("compaction", 0, r);
        __atomic_add_fetch(&n_compactions, 1, __ATOMIC_ACQ_REL);
    }
}

static void setup(const char *dir)
{
    char why[256], name[32];
    struct eng_options o = {.segment_size = 4u << 20, .commit_ms = 200};
    int r = eng_open(dir, &o, &eng, why);
    if (r) {
        fprintf(stderr, "cannot open %s: %s\n", dir, why);
        exit(2);
    }
    char value[] = "0";
    if (eng_config_set(eng, "auto_compact", value) != 0)
        fail("config", 0, 0);
    uint8_t *buf = malloc(600000);
    for (unsigned id = 0; id < opt.memories; id++) {
        struct eng_attr attr;
        put(id, 1, buf);
        snprintf(name, sizeof name, "m%u", id);
        if (eng_lookup(eng, NULL, ENG_ROOT_INO, name, &attr) != 0)
            fail("lookup", id, 0);
        inos[id] = attr.ino;
    }
    free(buf);
    hook_set(eng, hook, NULL);
}

static void problem(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "check: %s\n", line);
}

/* Everything once more, at rest, after a check and after opening again. */
static void final_compare(const char *dir)
{
    struct eng_job_report report;
    uint8_t *buf = malloc(600000), *scratch = malloc(600008);
    char why[256];
    for (int pass = 0; pass < 2; pass++) {
        if (eng_job_run(eng, ENG_JOB_CHECK, &(struct eng_job_options){.on_problem = problem}, &report) != 0 ||
            report.check.problems)
            fail("check", 0, (long)report.check.problems);
        for (unsigned id = 0; id < opt.memories; id++) {
            ssize_t n = eng_read(eng, inos[id], buf, 600000, 0);
            if (n < 0 || verify(buf, (size_t)n, id, scratch) != acked[id])
                fail("final version", id, n);
        }
        if (pass == 0 && (eng_close(eng) != 0 || eng_open(dir, NULL, &eng, why) != 0)) {
            fail("reopen", 0, 0);
            exit(1);
        }
    }
    if (eng_close(eng) != 0)
        fail("close", 0, 0);
    free(buf);
    free(scratch);
}

static uint64_t number(int argc, char **argv, int *i)
{
    if (++*i >= argc) {
        fprintf(stderr, "%s takes a number\n", argv[*i - 1]);
        exit(2);
    }
    return strtoull(argv[*i], NULL, 10);
}

static const char *parse(int argc, char **argv)
{
    const char *dir = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--reads") == 0)
            opt.reads = number(argc, argv, &i);
        else if (strcmp(argv[i], "--readers") == 0)
            opt.readers = (unsigned)number(argc, argv, &i);
        else if (strcmp(argv[i], "--writers") == 0)
            opt.writers = (unsigned)number(argc, argv, &i);
        else if (strcmp(argv[i], "--memories") == 0)
            opt.memories = (unsigned)number(argc, argv, &i);
        else if (strcmp(argv[i], "--seed") == 0)
            opt.seed = number(argc, argv, &i);
        else
            dir = argv[i];
    }
    if (!opt.readers || !opt.writers || opt.readers + opt.writers > MAX_THREADS ||
        opt.memories < opt.writers) {
        fprintf(stderr, "1 to %d readers and writers, and a memory for each writer\n", MAX_THREADS);
        exit(2);
    }
    return dir;
}

int main(int argc, char **argv)
{
    char temp[] = "/tmp/engramfs-race-XXXXXX", cleanup[64];
    const char *mode = getenv("ENGRAM_TEST_MODE");
    if (mode && strcmp(mode, "quick") == 0)
        opt.reads = 30000;
    else if (mode && strcmp(mode, "full") == 0)
        opt.reads = 20000000;
    const char *given = parse(argc, argv), *dir = given ? given : mkdtemp(temp);
    pthread_t threads[MAX_THREADS];
    setvbuf(stdout, NULL, _IOLBF, 0);
    inos = calloc(opt.memories, sizeof *inos);
    begun = calloc(opt.memories, sizeof *begun);
    acked = calloc(opt.memories, sizeof *acked);
    if (!dir || !inos || !begun || !acked)
        return 2;
    if (!opt.seed)
        opt.seed = (uint64_t)now_ns();
    printf("seed %llu, %u readers, %u writers, %u memories\n", (unsigned long long)opt.seed, opt.readers,
           opt.writers, opt.memories);
    setup(dir);
    for (unsigned i = 0; i < opt.readers + opt.writers; i++) {
        bool reads = i < opt.readers;
        unsigned who = reads ? i : i - opt.readers;
        if (pthread_create(&threads[i], NULL, reads ? reader : writer, (void *)(uintptr_t)who) != 0)
            return 2;
    }
    compact_until_done(dir);
    for (unsigned i = 0; i < opt.readers; i++)
        pthread_join(threads[i], NULL);
    __atomic_store_n(&stop_writers, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < opt.writers; i++)
        pthread_join(threads[opt.readers + i], NULL);
    struct eng_stats st;
    (void)eng_stats(eng, &st);
    hook_set(eng, NULL, NULL);
    final_compare(dir);
    printf("%llu verified reads, %llu of them during compactions, %llu with their memory moved meanwhile; "
           "%llu writes, %llu compactions, %llu relocations, %llu superseded, %llu read restarts, %llu "
           "failures\n",
           (unsigned long long)n_reads, (unsigned long long)n_overlapping, (unsigned long long)n_moved,
           (unsigned long long)n_writes, (unsigned long long)n_compactions,
           (unsigned long long)st.relocations, (unsigned long long)st.relocations_lost,
           (unsigned long long)st.read_restarts, (unsigned long long)n_failures);
    if (!given) {
        snprintf(cleanup, sizeof cleanup, "rm -rf %s", temp);
        if (system(cleanup) != 0)
            return 2;
    }
    free(inos);
    free(begun);
    free(acked);
    if (!n_failures && n_moved == 0)
        printf("no read met a move: nothing was shown\n");
    return n_failures || n_moved == 0;
}

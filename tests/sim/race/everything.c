/*
 * everything.c - all operations of the engine at random against each other: readers by name, writers that
 * replace, rename over, remove, link and tag, and all the maintenance: checkpoints, syncs, compaction, scrub,
 * a walk over everything, holds, estimates, checks; and the store closed and opened in between.
 *
 * Each memory has one writer. A version decides all that can be seen of its memory: whether it is there, its
 * content, how it came to be. The writer notes the version that it is about to make and the one that was
 * acknowledged; what a reader finds must be the state of one of the versions from what was acknowledged when
 * it began to what was begun when it ended: linearizability for each memory, of content and xattrs.
 *
 * ENGRAM_TEST_MODE (quick, default, full) sets the number of reads unless it is given.
 *
 *   everything [--reads N] [--runs N] [--seed S] [DIR] */
#include "admin.h"
#include "rng.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MEMORIES 600
#define WRITERS 3
#define READERS 4
#define CONTENT_MAX 90000
#define TAG "user.tag"

static struct {
    uint64_t reads, runs, seed;
} opt = {200000, 4, 0};

static struct eng *eng;
static uint64_t dir;                                      /* where the memories are */
static uint64_t begun[MEMORIES], acked[MEMORIES];         /* versions of content. atomic */
static uint64_t tag_begun[MEMORIES], tag_acked[MEMORIES]; /* of xattrs; start anew with each file. atomic */
static uint64_t tag_base[MEMORIES];                       /* the tag's version when the file came. atomic */
static bool stop;                                         /* atomic */
static uint64_t n_reads, n_absent, n_writes, n_walked, n_jobs, n_failures; /* atomic */

static const struct eng_caller me = {0}, with_ref = {.ref = true};

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, v) __atomic_store_n(&(x), v, __ATOMIC_SEQ_CST)
#define ADD(x, n) __atomic_fetch_add(&(x), n, __ATOMIC_RELAXED)

static void fail(const char *what, uint64_t id, int64_t got)
{
    if (ADD(n_failures, 1) < 20)
        printf("FAILED: memory %" PRIu64 ": %s (%" PRId64 ")\n", id, what, got);
}

static bool over(void)
{
    return LOAD(stop) || LOAD(n_failures);
}

/* ---- what a version is ------------------------------------------------------ */

static uint64_t mix(uint64_t id, uint64_t version)
{
    uint64_t state = id << 32 | version;
    return rng_next(&state);
}

static bool is_absent(uint64_t id, uint64_t version)
{
    return version == 0 || mix(id, version) % 7 == 3;
}

static size_t length_of(uint64_t id, uint64_t version)
{
    uint64_t r = mix(id, version) >> 8;
    return id % 60 == 7 ? 20000 + r % 60000 : r % 2500; /* also none at all */
}

static void name_of(uint64_t id, char name[32])
{
    (void)snprintf(name, 32, "m%" PRIu64, id);
}

/* ---- reading ---------------------------------------------------------------- */

/* One of the versions lo..hi has this content. */
static bool is_content(uint64_t id, uint64_t lo, uint64_t hi, const uint8_t *buf, size_t n, uint8_t *scratch)
{
    for (uint64_t v = lo; v <= hi; v++) {
        if (is_absent(id, v) || length_of(id, v) != n)
            continue;
        rng_fill(scratch, n, mix(id, v));
        if (memcmp(scratch, buf, n) == 0)
            return true;
    }
    return false;
}

static bool may_be_absent(uint64_t id, uint64_t lo, uint64_t hi)
{
    for (uint64_t v = lo; v <= hi; v++)
        if (is_absent(id, v))
            return true;
    return false;
}

static void read_tag(uint64_t id, uint64_t ino, uint64_t lo, uint64_t content_lo)
{
    uint64_t value = 0;
    ssize_t n = eng_getxattr(eng, ino, TAG, &value, sizeof(value));
    uint64_t hi = LOAD(tag_begun[id]);
    if (LOAD(begun[id]) != content_lo)
        return; /* perhaps another file by now: its tag says nothing of this one */
    if (n == -ENODATA ? lo > LOAD(tag_base[id]) : n != sizeof(value) || value < lo || value > hi)
        fail("tag", id, n < 0 ? n : (int64_t)value);
}

/* Looks it up by name and reads it; the reference keeps what was found alive. */
static void read_one(uint64_t id, uint8_t *buf, uint8_t *scratch)
{
    char name[32];
    struct eng_attr attr;
    name_of(id, name);
    uint64_t lo = LOAD(acked[id]), began = LOAD(begun[id]), tag_lo = LOAD(tag_acked[id]);
    int r = eng_lookup(eng, &with_ref, dir, name, &attr);
    if (r == -ENOENT) {
        if (!may_be_absent(id, lo, LOAD(begun[id])))
            fail("is not there", id, (int64_t)lo);
        ADD(n_absent, 1);
        return;
    }
    if (r) {
        fail("lookup", id, r);
        return;
    }
    ssize_t n = eng_read(eng, attr.ino, buf, CONTENT_MAX, 0);
    uint64_t hi = LOAD(begun[id]);
    if (n < 0 || !is_content(id, lo, hi, buf, (size_t)n, scratch))
        fail("content of no version that it may have", id, n);
    if (lo == began && began == hi)
        read_tag(id, attr.ino, tag_lo, began);
    if (eng_forget(eng, attr.ino, 1) != 0)
        fail("forget", id, 0);
    ADD(n_reads, 1);
}

static void *reader(void *arg)
{
    uint64_t rng = opt.seed * 100 + (uintptr_t)arg;
    uint8_t *buf = malloc(CONTENT_MAX), *scratch = malloc(CONTENT_MAX + 8);
    while (buf && scratch && !over())
        read_one(rng_below(&rng, MEMORIES), buf, scratch);
    free(buf);
    free(scratch);
    return NULL;
}

/* ---- writing ---------------------------------------------------------------- */

static int put(uint64_t id, const char *name, uint64_t version, uint8_t *buf)
{
    struct eng_record record = {
        .parent = dir, .name = name, .content = buf, .size = length_of(id, version), .mode = 0600};
    rng_fill(buf, record.size, mix(id, version));
    ssize_t n = eng_put_many(eng, &record, 1);
    return n < 0 ? (int)n : record.result;
}

/* As editors save: a new file takes over the name. */
static int replace(uint64_t id, const char *name, uint64_t version, uint8_t *buf)
{
    char other[40];
    (void)snprintf(other, sizeof(other), "%s.new", name);
    int r = put(id, other, version, buf);
    return r ? r : eng_rename(eng, &me, dir, other, dir, name, 0);
}

/* Written under a name of its own, linked to the right one. */
static int appear(uint64_t id, const char *name, uint64_t version, uint8_t *buf)
{
    char other[40];
    struct eng_attr attr;
    (void)snprintf(other, sizeof(other), "%s.tmp", name);
    int r = eng_create(eng, &me, dir, other, S_IFREG | 0600, 0, NULL, &attr);
    size_t size = length_of(id, version), half = size / 2;
    rng_fill(buf, size, mix(id, version));
    if (!r && half)
        r = eng_write(eng, attr.ino, buf, half, 0) == (ssize_t)half ? 0 : -EIO;
    if (!r && size > half)
        r = eng_append(eng, attr.ino, buf + half, size - half, NULL) == (ssize_t)(size - half) ? 0 : -EIO;
    r = r ? r : eng_link(eng, &me, attr.ino, dir, name, &attr);
    return r ? r : eng_unlink(eng, dir, other);
}

static void next_version(uint64_t id, uint8_t *buf)
{
    char name[32];
    name_of(id, name);
    uint64_t version = LOAD(acked[id]) + 1;
    bool was = !is_absent(id, version - 1), will = !is_absent(id, version);
    int r = 0;
    STORE(begun[id], version);
    if (!will)
        r = was ? eng_unlink(eng, dir, name) : 0;
    else if (!was && mix(id, version) % 2)
        r = appear(id, name, version, buf);
    else if (mix(id, version) % 3 == 0)
        r = replace(id, name, version, buf);
    else
        r = put(id, name, version, buf);
    if (r)
        fail("write", id, r);
    STORE(tag_base[id], LOAD(tag_begun[id])); /* all of these begin without xattrs */
    STORE(tag_acked[id], LOAD(tag_begun[id]));
    STORE(acked[id], version);
    ADD(n_writes, 1);
}

static void next_tag(uint64_t id)
{
    char name[32];
    struct eng_attr attr;
    uint64_t value = LOAD(tag_begun[id]) + 1;
    name_of(id, name);
    if (is_absent(id, LOAD(acked[id])))
        return;
    STORE(tag_begun[id], value);
    int r = eng_lookup(eng, &me, dir, name, &attr);
    r = r ? r : eng_setxattr(eng, attr.ino, TAG, &value, sizeof(value), 0);
    if (r)
        fail("tagging", id, r);
    STORE(tag_acked[id], value);
}

static void *writer(void *arg)
{
    uint64_t who = (uintptr_t)arg, rng = opt.seed * 1000 + who;
    uint8_t *buf = malloc(CONTENT_MAX + 8);
    for (uint64_t id = who; buf && id < MEMORIES && LOAD(acked[id]) == 0; id += WRITERS)
        next_version(id, buf); /* the first run begins with a file for most */
    while (buf && !over()) {
        uint64_t id = rng_below(&rng, MEMORIES / WRITERS) * WRITERS + who;
        if (rng_below(&rng, 4) == 0)
            next_tag(id);
        else
            next_version(id, buf);
    }
    free(buf);
    return NULL;
}

/* ---- maintenance ------------------------------------------------------------ */

static int walk_entry(void *arg, const struct eng_dirent *entry)
{
    uint64_t *cookie = arg;
    *cookie = entry->cookie;
    ADD(n_walked, 1);
    return 0;
}

static int walk_file(void *arg, const struct eng_file *file)
{
    (void)arg;
    ADD(n_walked, file->size > 0);
    return 0;
}

static int scrub(void)
{
    struct eng_job_report report;
    int r = eng_job_run(eng, ENG_JOB_SCRUB, NULL, &report);
    if (!r && report.scrub.damaged)
        return -EBADMSG;
    return r;
}

static int copy_held(void)
{
    int r = eng_hold(eng);
    if (r)
        return r;
    r = eng_files(eng, walk_file, NULL);
    int s = eng_release(eng);
    return r ? r : s;
}

static int numbers(void)
{
    struct eng_stats stats;
    struct eng_space space;
    struct eng_compact_estimate estimate;
    int r = eng_stats(eng, &stats);
    r = r ? r : eng_space(eng, &space);
    if (!r && stats.live_bytes > stats.total_bytes)
        return -EPROTO;
    return r ? r : eng_compact_estimate(eng, &estimate);
}

static void say_problem(void *arg, const char *line)
{
    (void)arg;
    printf("# check: %s\n", line);
}

static int check_live(void)
{
    struct eng_job_report report;
    int r = eng_job_run(eng, ENG_JOB_CHECK, &(struct eng_job_options){.on_problem = say_problem}, &report);
    if (!r && report.check.problems)
        r = -EBADMSG;
    return r;
}

static int walk(void)
{
    uint64_t cookie = 0;
    return eng_readdir(eng, &me, dir, 0, walk_entry, &cookie);
}

static int compact(void)
{
    return eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL);
}

static int flush(void)
{
    return eng_sync(eng);
}

static int flush_one(void)
{
    return eng_fsync(eng, dir);
}

static const struct job {
    const char *name;
    int (*fn)(void);
} jobs[] = {
    {"compact", compact},  {"scrub", scrub}, {"hold", copy_held},  {"numbers", numbers}, {"walk", walk},
    {"check", check_live}, {"sync", flush},  {"fsync", flush_one}, {"compact", compact},
};
#define N_JOBS (sizeof(jobs) / sizeof(jobs[0]))

static void *maintainer(void *arg)
{
    uint64_t rng = opt.seed * 10 + (uintptr_t)arg;
    while (!over()) {
        const struct job *job = &jobs[rng_below(&rng, N_JOBS)];
        int r = job->fn();
        if (r != 0 && r != -EBUSY) /* another one's compaction or scrub runs */
            fail(job->name, 0, r);
        ADD(n_jobs, 1);
    }
    return NULL;
}

/* ---- runs ------------------------------------------------------------------ */

static void open_store(const char *path)
{
    struct eng_options options = {.segment_size = UINT64_C(1) << 20, .commit_ms = 20};
    struct eng_attr attr;
    char why[256];
    int r = eng_open(path, &options, &eng, why);
    if (!r)
        r = eng_config_set(eng, "checkpoint_ops", "2000");
    if (!r)
        r = eng_lookup(eng, &me, ENG_ROOT_INO, "memories", &attr);
    if (r == -ENOENT)
        r = eng_create(eng, &me, ENG_ROOT_INO, "memories", S_IFDIR | 0700, 0, NULL, &attr);
    if (r) {
        printf("FAILED: opening %s: %s\n", path, strerror(-r));
        exit(1);
    }
    dir = attr.ino;
}

/* At rest each memory is exactly what was acknowledged. */
static void compare_all(uint8_t *buf, uint8_t *scratch)
{
    struct eng_job_report report;
    if (eng_job_run(eng, ENG_JOB_CHECK, &(struct eng_job_options){.on_problem = say_problem}, &report) != 0 ||
        report.check.problems)
        fail("check", 0, (int64_t)report.check.problems);
    for (uint64_t id = 0; id < MEMORIES; id++)
        read_one(id, buf, scratch);
}

static void *patient(void *arg)
{
    (void)arg;
    struct timespec tick = {.tv_nsec = 5000000};
    while (!over() && LOAD(n_reads) < opt.reads / opt.runs)
        (void)nanosleep(&tick, NULL); /* only counts */
    STORE(stop, true);
    return NULL;
}

static void live(const char *path, uint8_t *buf, uint8_t *scratch)
{
    pthread_t threads[READERS + WRITERS + 3];
    size_t n = 0;
    open_store(path);
    compare_all(buf, scratch);
    STORE(n_reads, 0);
    STORE(stop, false);
    for (uintptr_t i = 0; i < READERS; i++)
        (void)pthread_create(&threads[n++], NULL, reader, (void *)i);
    for (uintptr_t i = 0; i < WRITERS; i++)
        (void)pthread_create(&threads[n++], NULL, writer, (void *)i);
    for (uintptr_t i = 0; i < 2; i++)
        (void)pthread_create(&threads[n++], NULL, maintainer, (void *)i);
    (void)pthread_create(&threads[n++], NULL, patient, NULL);
    while (n)
        (void)pthread_join(threads[--n], NULL);
    uint64_t reads = LOAD(n_reads);
    compare_all(buf, scratch);
    STORE(n_reads, reads);
    int r = eng_close(eng);
    if (r)
        fail("close", 0, r);
}

int main(int argc, char **argv)
{
    char temp[256], command[300];
    const char *mode = getenv("ENGRAM_TEST_MODE"), *given = NULL, *tmp = getenv("TMPDIR");
    opt.reads = mode && strcmp(mode, "quick") == 0  ? 60000
                : mode && strcmp(mode, "full") == 0 ? 20000000
                                                    : 1500000;
    for (int i = 1; i < argc; i++) {
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;
        if (strcmp(argv[i], "--reads") == 0 && value)
            opt.reads = value, i++;
        else if (strcmp(argv[i], "--runs") == 0 && value)
            opt.runs = value, i++;
        else if (strcmp(argv[i], "--seed") == 0 && value)
            opt.seed = value, i++;
        else if (argv[i][0] != '-')
            given = argv[i];
        else
            return (void)fprintf(stderr, "usage: everything [--reads N] [--runs N] [--seed S] [DIR]\n"), 2;
    }
    if (!opt.seed)
        opt.seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    (void)snprintf(temp, sizeof(temp), "%s/everything.XXXXXX", tmp ? tmp : "/tmp");
    const char *path = given ? given : mkdtemp(temp);
    uint8_t *buf = malloc(CONTENT_MAX), *scratch = malloc(CONTENT_MAX + 8);
    if (!path || !buf || !scratch)
        return 2;
    printf("seed %" PRIu64 "\n", opt.seed);
    (void)fflush(stdout);
    uint64_t reads = 0, run = 0;
    for (; run < opt.runs && !n_failures; run++) {
        live(path, buf, scratch);
        reads += n_reads;
    }
    printf("%" PRIu64 " runs: %" PRIu64 " verified reads, %" PRIu64
           " found nothing where nothing may be, %" PRIu64 " writes, %" PRIu64 " jobs, %" PRIu64
           " entries and files walked\n",
           run, reads, n_absent, n_writes, n_jobs, n_walked);
    if (!given) {
        (void)snprintf(command, sizeof(command), "rm -rf '%s'", temp);
        (void)!system(command);
    }
    free(buf);
    free(scratch);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", run - (n_failures ? 1 : 0), n_failures);
    return n_failures ? 1 : 0;
}

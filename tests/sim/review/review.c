/*
 * review.c - what the review of the system before this one asked for and did
 * not find, each by name, on the public interface and the real file system.
 *
 *   review [TEST...]     all, or these; in $TMPDIR
 *
 * Each test runs in a process of its own, with a store of its own and a time limit. */
#include "admin.h"
#include "rng.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONCURRENT_SECONDS 60
#define TEST_TIMEOUT 300 /* seconds; far more than any needs */

/* A failed expectation ends the test's process. */
#define EXPECT(cond)                                                                                         \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            printf("    %s:%d: %s\n", __FILE__, __LINE__, #cond);                                            \
            (void)fflush(stdout);                                                                            \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static char store_path[4096];
static const struct eng_caller me = {0};

/* ---- a store ----------------------------------------------------------------- */

static struct eng *open_store(bool background)
{
    struct eng *eng;
    char why[256];
    struct eng_options opt = {.no_background = !background, .segment_size = UINT64_C(1) << 20};
    int r = eng_open(store_path, &opt, &eng, why);
    if (r)
        printf("    eng_open: %s\n", why);
    EXPECT(r == 0);
    return eng;
}

static void close_sound(struct eng *eng)
{
    struct eng_job_report report;
    EXPECT(eng_job_run(eng, ENG_JOB_CHECK, NULL, &report) == 0 && report.check.problems == 0);
    EXPECT(eng_close(eng) == 0);
}

static struct eng_stats stats_of(struct eng *eng)
{
    struct eng_stats s;
    EXPECT(eng_stats(eng, &s) == 0);
    return s;
}

static void name_of(uint64_t i, char out[24])
{
    (void)snprintf(out, 24, "m%llu", (unsigned long long)i);
}

/* Memories first .. first+n-1 of `size` bytes, their content made of number and version. */
static void put(struct eng *eng, uint64_t first, uint64_t n, size_t size, uint64_t version)
{
    enum { BATCH = 500 };
    static _Thread_local char names[BATCH][24];
    static _Thread_local struct eng_record records[BATCH];
    uint8_t *content = malloc(BATCH * (size + 1));
    EXPECT(content);
    for (uint64_t done = 0; done < n;) {
        size_t now = n - done < BATCH ? (size_t)(n - done) : BATCH;
        for (size_t k = 0; k < now; k++) {
            name_of(first + done + k, names[k]);
            rng_fill(content + k * size, size, (first + done + k) * 1000 + version);
            records[k] = (struct eng_record){.parent = ENG_ROOT_INO,
                                             .name = names[k],
                                             .content = content + k * size,
                                             .size = size,
                                             .mode = S_IFREG | 0644};
        }
        EXPECT(eng_put_many(eng, records, now) == (ssize_t)now);
        done += now;
    }
    free(content);
}

static void drop(struct eng *eng, uint64_t i)
{
    char name[24];
    name_of(i, name);
    EXPECT(eng_unlink(eng, ENG_ROOT_INO, name) == 0);
}

static bool holds(struct eng *eng, uint64_t i, size_t size, uint64_t version)
{
    char name[24];
    struct eng_attr attr;
    uint8_t *expect = malloc(size + 1), *found = malloc(size + 1);
    EXPECT(expect && found);
    name_of(i, name);
    rng_fill(expect, size, i * 1000 + version);
    bool same = eng_lookup(eng, &me, ENG_ROOT_INO, name, &attr) == 0 &&
                eng_read(eng, attr.ino, found, size + 1, 0) == (ssize_t)size && !memcmp(expect, found, size);
    free(expect);
    free(found);
    return same;
}

/* ---- the list ------------------------------------------------------------------ */

#define WRITERS 2
#define OWN 400u          /* memories of each writer */
#define IN_A_ROUND 20000u /* writes of each beside one compaction, which on a busy machine lags behind */
static pthread_mutex_t rounds_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t next_round = PTHREAD_COND_INITIALIZER;
static unsigned n_rounds; /* begun; protected by rounds_lock, as stop */
static bool stop;

struct writer {
    struct eng *eng;
    unsigned number;
    uint64_t last[OWN]; /* version acknowledged last */
    uint64_t writes;
};

static void begin_round(bool last)
{
    pthread_mutex_lock(&rounds_lock);
    n_rounds++;
    stop = last;
    pthread_cond_broadcast(&next_round);
    pthread_mutex_unlock(&rounds_lock);
}

/* Whether to go on; waits while the writer has done what it may. */
static bool may_write(const struct writer *w)
{
    pthread_mutex_lock(&rounds_lock);
    while (!stop && w->writes >= (uint64_t)n_rounds * IN_A_ROUND)
        pthread_cond_wait(&next_round, &rounds_lock);
    bool go_on = !stop;
    pthread_mutex_unlock(&rounds_lock);
    return go_on;
}

/* Most are overwritten seldom, so that a compaction can move them; a tenth all the time. */
static void *write_on(void *arg)
{
    struct writer *w = arg;
    uint64_t rng = w->number;
    while (may_write(w)) {
        uint64_t k = rng_below(&rng, rng_below(&rng, 1000) ? OWN / 10 : OWN), i = w->number * OWN + k;
        put(w->eng, i, 1, 700, ++w->last[k]);
        EXPECT(holds(w->eng, i, 700, w->last[k]));
        w->writes++;
    }
    return NULL;
}

static void compaction_with_concurrent_writes(void)
{
    struct eng *eng = open_store(true);
    static struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    put(eng, 0, WRITERS * OWN, 700, 0);
    for (unsigned t = 0; t < WRITERS; t++) {
        writers[t].eng = eng;
        writers[t].number = t;
        EXPECT(pthread_create(&threads[t], NULL, write_on, &writers[t]) == 0);
    }
    uint64_t moved = 0;
    unsigned rounds = 0;
    time_t end = time(NULL) + CONCURRENT_SECONDS;
    for (struct eng_job_report report;
         rounds < 3 || moved < OWN || ((rounds < 20 || moved < 10000) && time(NULL) < end); rounds++) {
        begin_round(false);
        EXPECT(eng_job_run(eng, ENG_JOB_COMPACT, NULL, &report) == 0);
        moved += report.compact.extents_moved;
    }
    begin_round(true);
    for (unsigned t = 0; t < WRITERS; t++)
        EXPECT(pthread_join(threads[t], NULL) == 0);
    EXPECT(writers[0].writes > 0 && writers[1].writes > 0);
    printf("    %u compactions moved %llu extents beside %llu writes\n", rounds, (unsigned long long)moved,
           (unsigned long long)(writers[0].writes + writers[1].writes));
    for (int again = 0; again < 2; again++) { /* and once more after a restart */
        for (uint64_t i = 0; i < WRITERS * OWN; i++)
            EXPECT(holds(eng, i, 700, writers[i / OWN].last[i % OWN]));
        close_sound(eng);
        eng = open_store(true);
    }
    close_sound(eng);
}

static void failure_in_mid_compaction(void)
{
    struct eng *eng = open_store(true);
    put(eng, 0, 40000, 1000, 1);
    for (uint64_t i = 0; i < 40000; i += 2)
        drop(eng, i);
    EXPECT(eng_job_rate(eng, ENG_JOB_COMPACT, 4 << 20) ==
           0); /* 20 MB of survivors: there is a middle to fail in */
    EXPECT(eng_job_start(eng, ENG_JOB_COMPACT, NULL, NULL, NULL) == 0);
    struct eng_job_report report;
    do {
        EXPECT(eng_job_status(eng, ENG_JOB_COMPACT, &report) == 0 && report.state == ENG_JOB_RUNNING);
    } while (report.compact.bytes_moved == 0);
    EXPECT(eng_job_cancel(eng, ENG_JOB_COMPACT) == 0);
    do
        EXPECT(eng_job_status(eng, ENG_JOB_COMPACT, &report) == 0);
    while (report.state == ENG_JOB_RUNNING);
    EXPECT(report.state == ENG_JOB_CANCELLED);
    for (uint64_t i = 1; i < 40000; i += 2)
        EXPECT(holds(eng, i, 1000, 1));
    EXPECT(eng_job_rate(eng, ENG_JOB_COMPACT, 0) == 0);
    EXPECT(eng_job_run(eng, ENG_JOB_COMPACT, NULL, &report) == 0 &&
           report.compact.fragmentation_after <= 0.01);
    for (uint64_t i = 1; i < 40000; i += 2)
        EXPECT(holds(eng, i, 1000, 1));
    close_sound(eng);
}

static void a_million_memories(void)
{
    enum { N = 1000000, SIZE = 200 };
    struct eng *eng = open_store(false);
    put(eng, 0, N, SIZE, 1);
    EXPECT(stats_of(eng).memories == N);
    for (uint64_t i = 0; i < N; i += 2)
        drop(eng, i);
    struct eng_job_report report;
    EXPECT(eng_job_run(eng, ENG_JOB_COMPACT, NULL, &report) == 0);
    EXPECT(report.compact.fragmentation_before > 0.49 && report.compact.fragmentation_after <= 0.01);
    EXPECT(report.compact.bytes_reclaimed > 0);
    EXPECT(eng_close(eng) == 0);
    eng = open_store(false);
    EXPECT(stats_of(eng).memories == N / 2 && stats_of(eng).live_bytes == (uint64_t)N / 2 * SIZE);
    for (uint64_t i = 1; i < N; i += 2 * 97)
        EXPECT(holds(eng, i, SIZE, 1) && !holds(eng, i - 1, SIZE, 1));
    close_sound(eng);
}

/* Resident memory of this process in bytes, without what malloc keeps of what was freed. */
static uint64_t resident(void)
{
    unsigned long long size, pages;
    (void)malloc_trim(0);
    FILE *f = fopen("/proc/self/statm", "r");
    EXPECT(f && fscanf(f, "%llu %llu", &size, &pages) == 2);
    (void)fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void memory_over_ten_fill_and_compact_cycles(void)
{
    enum { CYCLES = 10, N = 40000, SLACK = 4 << 20 };
    uint64_t rss[CYCLES];
    struct eng *eng = open_store(false);
    for (unsigned c = 0; c < CYCLES; c++) {
        put(eng, 0, N, 1000, c);
        for (uint64_t i = c % 2; i < N; i += 2)
            drop(eng, i);
        EXPECT(eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        rss[c] = resident();
        for (uint64_t i = (c + 1) % 2; i < N; i += 2 * 101)
            EXPECT(holds(eng, i, 1000, c));
    }
    printf("    resident after cycle 3: %.1f MiB, after cycle 10: %.1f MiB\n", (double)rss[2] / 1048576,
           (double)rss[CYCLES - 1] / 1048576);
    /* The first cycles fill the tables; from then on nothing may be added. */
    for (unsigned c = 3; c < CYCLES; c++)
        EXPECT(rss[c] <= rss[2] + SLACK);
    EXPECT(stats_of(eng).disk_bytes < UINT64_C(4) * N * 1000);
    close_sound(eng);
}

/* Large enough for what is spent of the log besides content not to count (core/totals.h); small ones. */
#define LARGE 10000u
#define SMALL 1000u

/* A store of 1,000 memories of `size` bytes, with `dead` of them removed here and there. */
static struct eng *fragmented(bool background, unsigned dead, size_t size)
{
    struct eng *eng = open_store(false);
    put(eng, 0, 1000, size, 1);
    for (unsigned i = 0; i < dead; i++)
        drop(eng, i * 7 % 1000); /* 7 and 1000 have no common divisor: each once */
    EXPECT(eng_sync(eng) == 0);
    struct eng_stats s = stats_of(eng);
    EXPECT(s.total_bytes == 1000 * size && s.live_bytes == (1000 - dead) * size);
    if (background) {
        EXPECT(eng_close(eng) == 0);
        eng = open_store(true);
    }
    return eng;
}

static void expect_maintenance(struct eng *eng, bool compacts)
{
    struct eng_maintenance_report report;
    EXPECT(eng_run_maintenance(eng, &report) == 0);
    EXPECT(report.compacted == compacts);
    EXPECT(stats_of(eng).compactions_ok == (compacts ? 1 : 0));
}

static void threshold_case(unsigned dead, bool compacts)
{
    struct eng *eng = fragmented(false, dead, SMALL);
    EXPECT(eng_config_set(eng, "compact_min_bytes", "0") == 0);
    expect_maintenance(eng, compacts);
    close_sound(eng);
}

static void fragmentation_49_9_percent(void)
{
    threshold_case(499, false);
}
static void fragmentation_50_0_percent(void)
{
    threshold_case(500, false);
}
static void fragmentation_50_1_percent(void)
{
    threshold_case(501, true);
}

/* 1,000 memories of 100,000 bytes, 600 of them removed, and `more` bytes. */
static void size_case(size_t more, bool compacts)
{
    struct eng *eng = open_store(false);
    put(eng, 0, 1000, 100000, 1);
    if (more)
        put(eng, 1000, 1, more, 1);
    for (uint64_t i = 0; i < 1000; i++)
        if (i % 5 < 3)
            drop(eng, i);
    EXPECT(eng_sync(eng) == 0);
    EXPECT(stats_of(eng).total_bytes == UINT64_C(100000000) + more);
    expect_maintenance(eng, compacts);
    close_sound(eng);
}

static void size_100_000_000_bytes(void)
{
    size_case(0, false);
}
static void size_100_000_001_bytes(void)
{
    size_case(1, true);
}

static void empty_content(void)
{
    struct eng *eng = open_store(false);
    struct eng_attr attr;
    char byte;
    put(eng, 0, 100, 0, 1);
    put(eng, 100, 100, 10, 1);
    for (uint64_t i = 100; i < 180; i++)
        drop(eng, i);
    EXPECT(stats_of(eng).total_bytes == 1000 && stats_of(eng).live_bytes == 200);
    EXPECT(eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    EXPECT(eng_close(eng) == 0);
    eng = open_store(false);
    for (uint64_t i = 0; i < 100; i++) {
        EXPECT(holds(eng, i, 0, 1));
        char name[24];
        name_of(i, name);
        EXPECT(eng_lookup(eng, &me, ENG_ROOT_INO, name, &attr) == 0 && attr.size == 0);
        EXPECT(eng_read(eng, attr.ino, &byte, 1, 0) == 0);
    }
    EXPECT(eng_write(eng, attr.ino, "x", 1, 0) == 1 && eng_read(eng, attr.ino, &byte, 1, 0) == 1);
    close_sound(eng);
}

static void only_one_compaction_at_a_time(void)
{
    struct eng *eng = open_store(true);
    put(eng, 0, 20000, 1000, 1);
    for (uint64_t i = 0; i < 20000; i += 2)
        drop(eng, i);
    EXPECT(eng_job_rate(eng, ENG_JOB_COMPACT, 1) == 0); /* stays in its middle until it is let go */
    EXPECT(eng_job_start(eng, ENG_JOB_COMPACT, NULL, NULL, NULL) == 0);
    struct eng_maintenance_report maintenance;
    EXPECT(eng_job_start(eng, ENG_JOB_COMPACT, NULL, NULL, NULL) == -EBUSY);
    EXPECT(eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL) == -EBUSY);
    EXPECT(eng_run_maintenance(eng, &maintenance) == -EBUSY);
    EXPECT(eng_job_rate(eng, ENG_JOB_COMPACT, 0) == 0);
    struct eng_job_report report;
    do
        EXPECT(eng_job_status(eng, ENG_JOB_COMPACT, &report) == 0);
    while (report.state == ENG_JOB_RUNNING);
    EXPECT(report.state == ENG_JOB_DONE);
    EXPECT(eng_job_start(eng, ENG_JOB_COMPACT, NULL, NULL, NULL) == 0); /* and then another may run */
    close_sound(eng);
}

/* Opens a store of which so much content is dead, and as much is spent as is said, lets background work be
 * done once, and tells whether it compacted. */
static bool compacts_at_start(unsigned dead, size_t size, bool spent)
{
    EXPECT(eng_close(fragmented(false, dead, size)) == 0);
    struct eng *eng = open_store(false);
    struct eng_stats s = stats_of(eng);
    EXPECT(spent == (s.spent_bytes > 0) && spent == (s.fragmentation_ratio > dead / 1000.0 + 0.001));
    EXPECT(stats_of(eng).compactions_ok == 0); /* opening itself does not wait for it */
    EXPECT(eng_tick(eng) == 0);
    bool compacted = stats_of(eng).compactions_ok == 1;
    EXPECT(stats_of(eng).fragmentation_ratio <= 0.01 || !compacted);
    close_sound(eng);
    return compacted;
}

static void start_up_at_69_percent(void)
{
    EXPECT(!compacts_at_start(690, LARGE, false));
}
static void start_up_at_71_percent(void)
{
    EXPECT(compacts_at_start(710, LARGE, false));
}
/* Of small memories a part of the log is garbage, too, once a checkpoint has what it says. */
static void start_up_at_69_percent_and_a_spent_log(void)
{
    EXPECT(compacts_at_start(690, SMALL, true));
}

/* ---- running them ------------------------------------------------------------------ */

static const struct test {
    const char *name;
    void (*run)(void);
} tests[] = {
#define TEST(name)                                                                                           \
    {                                                                                                        \
#name, name                                                                                          \
    }
    TEST(compaction_with_concurrent_writes),
    TEST(failure_in_mid_compaction),
    TEST(a_million_memories),
    TEST(memory_over_ten_fill_and_compact_cycles),
    TEST(fragmentation_49_9_percent),
    TEST(fragmentation_50_0_percent),
    TEST(fragmentation_50_1_percent),
    TEST(size_100_000_000_bytes),
    TEST(size_100_000_001_bytes),
    TEST(empty_content),
    TEST(only_one_compaction_at_a_time),
    TEST(start_up_at_69_percent),
    TEST(start_up_at_71_percent),
    TEST(start_up_at_69_percent_and_a_spent_log),
};
#define N_TESTS (sizeof tests / sizeof *tests)

static bool run(const struct test *test)
{
    const char *tmp = getenv("TMPDIR");
    char dir[4000], command[4200];
    (void)snprintf(dir, sizeof dir, "%s/review.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        printf("not ok - %s: %s: %s\n", test->name, dir, strerror(errno));
        return false;
    }
    (void)snprintf(store_path, sizeof store_path, "%s/store", dir);
    (void)fflush(stdout);
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(TEST_TIMEOUT);
        test->run();
        (void)fflush(stdout);
        _exit(0);
    }
    bool ok = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ok)
        printf("ok - %s\n", test->name);
    else
        printf("not ok - %s: %s %d\n", test->name, WIFSIGNALED(status) ? "signal" : "status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    (void)snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 && ok;
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;
    for (size_t i = 0; i < N_TESTS; i++) {
        bool wanted = argc == 1;
        for (int a = 1; a < argc; a++)
            wanted = wanted || !strcmp(argv[a], tests[i].name);
        if (wanted)
            *(run(&tests[i]) ? &passed : &failed) += 1;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed || !passed;
}

/*
 * history.c - what the past costs, for history.sh, by the public interface alone: so that `ops` and `files`
 * can be built with the engine of a commit that has none (-DBEFORE).
 *
 *   history ops STORE N off|history|on    create, overwrite, replace, unlink N memories; ns each, elapsed and
 * of the processor. on: a snapshot is there, too, before each of these history files FOLDER N [SNAPSHOTS] the
 * same by system calls, in a folder of a mount; elapsed history snapshot STORE N ROUNDS       snapshots of N
 * memories while two threads write history memory STORE N off|history WHAT   bytes of the index for each of N
 * changes; WHAT: append, overwrite, chmod, replace, unlink history read STORE                    the 100th
 * version back of 1 MiB, beside the present one history appends STORE N off|history   N appends of 100 bytes
 * to one memory, each a state history du STORE N off|history        changes of N memories, which expire, and
 * a compaction
 *
 * Each makes STORE, and prints a JSON object. `ops`, `files` and `memory` keep what stood for a second, as it
 * is in life, and wait for that between two kinds of changes; the others keep each state (history_settle 0).
 */
#include "admin.h"
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CONTENT = 400, PER_FOLDER = 1000, MIB = 1 << 20 };

static struct eng *eng;
static char content[MIB];
static uint64_t rng = 1;

static void must(int64_t r, const char *what)
{
    if (r >= 0)
        return;
    (void)fprintf(stderr, "history: %s: %s\n", what, strerror((int)-r));
    exit(1);
}

static void must_call(int64_t r, const char *what)
{
    if (r >= 0)
        return;
    perror(what);
    exit(1);
}

static uint64_t random_below(uint64_t n)
{
    rng = rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (rng >> 33) % n;
}

static uint64_t ns_of(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t now(void)
{
    return ns_of(CLOCK_MONOTONIC);
}

static bool no_background; /* no checkpoint freezes the index, of which it would copy what changes */

static void open_store(const char *path)
{
    const struct eng_options options = {.commit_ms = -1, .no_background = no_background};
    char why[256];
    int r = eng_open(path, &options, &eng, why);
    if (!r)
        return;
    (void)fprintf(stderr, "history: %s: %s\n", path, why);
    exit(1);
}

static uint64_t make_folder(uint64_t parent, unsigned i)
{
    struct eng_attr attr;
    char name[24];
    (void)snprintf(name, sizeof name, "d%u", i);
    must(eng_create(eng, NULL, parent, name, S_IFDIR | 0755, 0, NULL, &attr), "mkdir");
    return attr.ino;
}

static uint64_t make_file(uint64_t parent, const char *name, size_t size)
{
    struct eng_attr attr;
    must(eng_create(eng, NULL, parent, name, S_IFREG | 0644, 0, NULL, &attr), "create");
    must(eng_write(eng, attr.ino, content + random_below(MIB - size + 1), size, 0), "write");
    return attr.ino;
}

static void file_name(char name[24], unsigned i)
{
    (void)snprintf(name, 24, "f%u", i);
}

#ifndef BEFORE
static void set(const char *key, const char *value)
{
    must(eng_config_set(eng, key, value), key);
}

static void begin_history(const char *settle)
{
    set("history_settle", settle);
    set("history", "30d");
}

static void take(const char *name)
{
    must(eng_snapshot_create(eng, name, NULL), "snapshot");
}

static struct eng_stats stats(void)
{
    struct eng_stats st;
    must(eng_stats(eng, &st), "statistics");
    return st;
}

static void run_job(enum eng_job_id job, const char *what)
{
    int r;
    while ((r = eng_job_run(eng, job, NULL, NULL)) == -EBUSY) /* it has begun by itself */
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    must(r, what);
}
#endif

/* What was made is settled afterwards. */
static void let_settle(void)
{
    (void)nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 200000000}, NULL);
}

/* ---- ops -------------------------------------------------------------------------------------- */

static uint64_t folders[100000], *files;
static unsigned n_files;

static void op_create(unsigned i)
{
    char name[24];
    file_name(name, i);
    files[i] = make_file(folders[i / PER_FOLDER], name, CONTENT);
}

static void op_overwrite(unsigned i)
{
    must(eng_write(eng, files[i], content + random_below(MIB - CONTENT), CONTENT, 0), "overwrite");
}

static void op_replace(unsigned i)
{
    uint64_t folder = folders[i / PER_FOLDER];
    char name[24];
    file_name(name, i);
    files[i] = make_file(folder, ".new", CONTENT);
    must(eng_rename(eng, NULL, folder, ".new", folder, name, 0), "rename");
}

static void op_unlink(unsigned i)
{
    char name[24];
    file_name(name, i);
    must(eng_unlink(eng, folders[i / PER_FOLDER], name), "unlink");
}

static const char *const op_names[] = {"create", "overwrite", "replace", "unlink"};

static int ops(const char *store, unsigned n, const char *mode)
{
    void (*const each[])(unsigned) = {op_create, op_overwrite, op_replace, op_unlink};
    bool on = strcmp(mode, "on") == 0;
    n_files = n;
    files = calloc(n, sizeof *files);
    open_store(store);
    for (unsigned i = 0; i * PER_FOLDER < n; i++)
        folders[i] = make_folder(ENG_ROOT_INO, i);
#ifndef BEFORE
    if (strcmp(mode, "off") != 0)
        begin_history("1s");
#endif
    for (unsigned k = 0; k < 4; k++) {
        let_settle();
#ifndef BEFORE
        if (on)
            take(op_names[k]);
#endif
        uint64_t from = now(), cpu = ns_of(CLOCK_PROCESS_CPUTIME_ID);
        for (unsigned i = 0; i < n; i++)
            each[k](i);
        printf("%s\"%s_elapsed\": %.1f, \"%s_cpu\": %.1f", k ? ", " : "{", op_names[k],
               (double)(now() - from) / n, op_names[k], (double)(ns_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / n);
    }
    printf("}\n");
    (void)on;
    return eng_close(eng);
}

/* ---- files ------------------------------------------------------------------------------------ */

static void put(const char *path, int flags)
{
    int fd = open(path, flags | O_WRONLY | O_CLOEXEC, 0644);
    must_call(fd, path);
    must_call(pwrite(fd, content + random_below(MIB - CONTENT), CONTENT, 0), path);
    (void)close(fd);
}

static void file_op(unsigned k, unsigned i)
{
    char path[64];
    (void)snprintf(path, sizeof path, "d%u/f%u", i / PER_FOLDER, i);
    if (k == 0)
        put(path, O_CREAT | O_EXCL);
    else if (k == 1)
        put(path, 0);
    else if (k == 2) {
        put(".new", O_CREAT | O_EXCL);
        must_call(rename(".new", path), path);
    } else
        must_call(unlink(path), path);
}

static int of_files(const char *folder, unsigned n, const char *snapshots)
{
    char path[512];
    must_call(chdir(folder), folder);
    for (unsigned i = 0; i * PER_FOLDER < n; i++) {
        (void)snprintf(path, sizeof path, "d%u", i);
        must_call(mkdir(path, 0755), path);
    }
    for (unsigned k = 0; k < 4; k++) {
        let_settle();
        (void)snprintf(path, sizeof path, "%s/%s", snapshots ? snapshots : "", op_names[k]);
        if (snapshots)
            must_call(mkdir(path, 0755), path);
        uint64_t from = now();
        for (unsigned i = 0; i < n; i++)
            file_op(k, i);
        printf("%s\"%s_elapsed\": %.1f", k ? ", " : "{", op_names[k], (double)(now() - from) / n);
    }
    printf("}\n");
    return 0;
}

#ifndef BEFORE

/* ---- snapshots beside writers ------------------------------------------------------------------ */

enum { WRITERS = 2, LONGEST = 1 << 16 };

static _Atomic bool ending;
static _Atomic uint64_t writes;

/* Of each write that took longer than 0.1 ms. */
static struct writer {
    pthread_t thread;
    uint64_t seed;
    unsigned n;
    struct {
        uint64_t from, to;
    } at[LONGEST];
} writers[WRITERS];

static void *write_on(void *arg)
{
    struct writer *w = arg;
    uint64_t at = w->seed;
    while (!atomic_load(&ending)) {
        at = at * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t from = now();
        must(eng_write(eng, files[(at >> 33) % n_files], content + (at >> 50), CONTENT, 0), "overwrite");
        uint64_t to = now();
        atomic_fetch_add(&writes, 1);
        if (to - from > 100000 && w->n < LONGEST) {
            w->at[w->n].from = from;
            w->at[w->n++].to = to;
        }
    }
    return NULL;
}

/* The longest write that touches [from, to]; `outside`: of the others. */
static double longest(uint64_t (*at)[2], unsigned rounds, bool outside)
{
    uint64_t most = 0;
    for (unsigned k = 0; k < WRITERS; k++)
        for (unsigned i = 0; i < writers[k].n; i++) {
            uint64_t from = writers[k].at[i].from, to = writers[k].at[i].to;
            bool touches = false;
            for (unsigned r = 0; r < rounds; r++)
                touches = touches || (from <= at[r][1] && to >= at[r][0]);
            if (touches != outside && to - from > most)
                most = to - from;
        }
    return (double)most / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned n)
{
    qsort(values, n, sizeof *values, compare);
    return values[n / 2];
}

static void make_many(unsigned n)
{
    n_files = n;
    files = calloc(n, sizeof *files);
    for (unsigned i = 0; i * PER_FOLDER < n; i++)
        folders[i] = make_folder(ENG_ROOT_INO, i);
    for (unsigned i = 0; i < n; i++)
        op_create(i);
}

static int snapshot(const char *store, unsigned n, unsigned rounds)
{
    static uint64_t at[1000][2];
    static double took[1000];
    char name[24];
    open_store(store);
    take("first"); /* the store becomes one with a past */
    make_many(n);
    must(eng_sync(eng), "sync");
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].seed = i + 1;
        (void)pthread_create(&writers[i].thread, NULL, write_on, &writers[i]);
    }
    for (unsigned r = 0; r < rounds; r++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
        (void)snprintf(name, sizeof name, "s%u", r);
        at[r][0] = now();
        must(eng_snapshot_create_unsynced(eng, name, NULL), "snapshot");
        at[r][1] = now();
        took[r] = (double)(at[r][1] - at[r][0]) / 1e6;
    }
    atomic_store(&ending, true);
    for (unsigned i = 0; i < WRITERS; i++)
        (void)pthread_join(writers[i].thread, NULL);
    double half = median(took, rounds);
    printf("{\"memories\": %u, \"snapshot_ms\": %.3f, \"snapshot_longest_ms\": %.3f, \"writes\": %" PRIu64
           ", \"write_longest_beside_ms\": %.3f, \"write_longest_else_ms\": %.3f}\n",
           n, half, took[rounds - 1], atomic_load(&writes), longest(at, rounds, false),
           longest(at, rounds, true));
    return eng_close(eng);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static void op_append(unsigned i)
{
    must(eng_write(eng, files[i], "x", 1, CONTENT), "append");
}

static void op_chmod(unsigned i)
{
    const struct eng_attr attr = {.mode = 0600};
    must(eng_setattr(eng, files[i], &attr, ENG_SET_MODE, NULL), "chmod");
}

/* Bytes of the index for each of n changes, and how many states and names came to be kept by each. */
static int memory(const char *store, unsigned n, bool history, const char *what)
{
    static const struct {
        const char *name;
        void (*op)(unsigned i);
    } all[] = {{"append", op_append},
               {"overwrite", op_overwrite},
               {"chmod", op_chmod},
               {"replace", op_replace},
               {"unlink", op_unlink}};
    unsigned k = 0;
    while (k < 5 && strcmp(all[k].name, what) != 0)
        k++;
    if (k == 5)
        return 2;
    no_background = true;
    open_store(store);
    if (history)
        begin_history("1s");
    make_many(n);
    let_settle();
    struct eng_stats before = stats();
    for (unsigned i = 0; i < n; i++)
        all[k].op(i);
    struct eng_stats after = stats();
    uint64_t kept = after.past_states + after.past_names - before.past_states - before.past_names;
    printf("{\"bytes\": %.1f, \"kept\": %.2f}\n",
           ((double)after.index_bytes - (double)before.index_bytes) / n, (double)kept / n);
    return eng_close(eng);
}

/* ---- reading ------------------------------------------------------------------------------------ */

enum { EDITS = 100, READS = 50 };

static double read_ns(struct eng_view *view, uint64_t ino)
{
    static char buf[MIB];
    uint64_t from = now();
    for (unsigned i = 0; i < READS; i++)
        must(view ? eng_view_read(view, ino, buf, MIB, 0) : eng_read(eng, ino, buf, MIB, 0), "read");
    return (double)(now() - from) / READS;
}

static int reading(const char *store)
{
    double live[15], past[15], ratio[15];
    struct eng_view *view;
    open_store(store);
    begin_history("0");
    set("history_versions", "1000");
    uint64_t ino = make_file(ENG_ROOT_INO, "f", MIB), batch = eng_position(eng);
    for (unsigned i = 0; i < EDITS; i++) /* each elsewhere */
        must(eng_write(eng, ino, content + i, 4096, (uint64_t)i * 10000), "edit");
    must(eng_view_open(eng, batch, &view), "view");
    for (unsigned r = 0; r < 15; r++) {
        live[r] = read_ns(NULL, ino);
        past[r] = read_ns(view, ino);
        ratio[r] = past[r] / live[r];
    }
    eng_view_close(view);
    (void)median(ratio, 15); /* sorts */
    printf("{\"versions\": %" PRIu64
           ", \"live_us\": %.1f, \"past_us\": %.1f, \"ratio\": %.3f, \"ratio_low\": %.3f, "
           "\"ratio_high\": %.3f}\n",
           stats().past_states, median(live, 15) / 1e3, median(past, 15) / 1e3, ratio[7], ratio[3],
           ratio[11]);
    return eng_close(eng);
}

/* ---- what lies on the disk ------------------------------------------------------------------------ */

static void told_disk(const char *store, const char *more)
{
    struct eng_space space;
    struct eng_stats st;
    must(eng_sync(eng), "sync");
    run_job(ENG_JOB_COMPACT, "compaction");
    for (unsigned i = 0; i < 3; i++) { /* checkpoints of what is left come in place of older ones */
        must(eng_close(eng), "close");
        open_store(store);
        run_job(ENG_JOB_COMPACT, "compaction");
        must(make_file(ENG_ROOT_INO, (char[]){(char)('0' + i), 0}, 1), "create");
        must(eng_sync(eng), "sync");
    }
    must(eng_close(eng), "close");
    open_store(store);
    must(eng_space(eng, &space), "space");
    st = stats();
    printf("{\"disk_bytes\": %" PRIu64 ", \"payload_bytes\": %" PRIu64 ", \"live_bytes\": %" PRIu64
           ", \"past_bytes\": %" PRIu64 ", \"past_states\": %" PRIu64 ", \"index\": %" PRIu64 "%s",
           space.disk_bytes, st.total_bytes, st.live_bytes, st.past_bytes, st.past_states, st.index_bytes,
           more);
    for (unsigned i = 0; i < space.n_kinds; i++)
        if (space.kinds[i].bytes)
            printf(", \"%s\": %" PRId64, space.kinds[i].key, space.kinds[i].bytes);
    printf("}\n");
}

static int appends(const char *store, unsigned n, bool history)
{
    enum { SIZE = 100 };
    char more[64];
    open_store(store);
    if (history)
        begin_history("0");
    uint64_t ino = make_file(ENG_ROOT_INO, "log", SIZE);
    for (unsigned i = 1; i < n; i++)
        must(eng_write(eng, ino, content + i, SIZE, (uint64_t)i * SIZE), "append");
    if (history)
        run_job(ENG_JOB_HISTORY, "thinning");
    (void)snprintf(more, sizeof more, ", \"content_bytes\": %u", n * SIZE);
    told_disk(store, more);
    return eng_close(eng);
}

static int du(const char *store, unsigned n, bool history)
{
    open_store(store);
    if (history)
        begin_history("0");
    make_many(n);
    if (history)
        set("history_versions", "1000");
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = round; i < n; i += 3)
            op_overwrite(i), op_replace(i);
    for (unsigned i = 0; i < n; i += 5)
        op_unlink(i);
    if (history) { /* what is older than a second goes */
        set("history", "1s");
        (void)nanosleep(&(struct timespec){.tv_sec = 4}, NULL);
        must(make_file(ENG_ROOT_INO, "last", 1), "create"); /* another moment begins */
        run_job(ENG_JOB_HISTORY, "expiry");
    } else {
        must(make_file(ENG_ROOT_INO, "last", 1), "create");
    }
    told_disk(store, "");
    return eng_close(eng);
}
#endif

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    const char *what = argv[1], *where = argv[2];
    unsigned n = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)random_below(256);
    if (strcmp(what, "ops") == 0 && argc == 5)
        return ops(where, n, argv[4]);
    if (strcmp(what, "files") == 0 && n)
        return of_files(where, n, argc > 4 ? argv[4] : NULL);
#ifndef BEFORE
    bool history = argc > 4 && strcmp(argv[4], "history") == 0;
    if (strcmp(what, "snapshot") == 0 && argc == 5)
        return snapshot(where, n, (unsigned)strtoul(argv[4], NULL, 10));
    if (strcmp(what, "memory") == 0 && n)
        return memory(where, n, history, argc > 5 ? argv[5] : "");
    if (strcmp(what, "read") == 0)
        return reading(where);
    if (strcmp(what, "appends") == 0 && n)
        return appends(where, n, history);
    if (strcmp(what, "du") == 0 && n)
        return du(where, n, history);
#endif
    return 2;
}

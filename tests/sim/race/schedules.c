/*
 * schedules.c - each pair of operations that share state, in one schedule for each fault point: the first
 * is stopped there, the second runs, then the first goes on.
 *
 * The second must end while the first is stopped, but for pairs that wait for each other by design
 * (must_wait()); those interleave all the same. Results and the state in the end must be those of the model
 * for one of the two orders, also after opening again. And while the first is stopped and the second has
 * ended, the power fails in each way on a copy of the disk: what opens there is a state that one of the two,
 * or both, or none, have made, with the second in it if only the process died or it was a sync. With
 * ENGRAM_TEST_MODE=quick the power stays, and nothing is opened again: one thread alone does that, which the
 * thread sanitizer takes most of its time for; and it takes each second of the schedules, the other ones in
 * another run (by its process number).
 *
 *   schedules [FIRST [SECOND]]     only these; prints a line for each with -v */
#include "admin.h"
#include "hook.h"
#include "simdisk.h"
#include "workload.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define SEGMENT_SIZE (UINT64_C(64) << 10)
#define PATIENCE 30 /* seconds; who takes longer waits for ever */
#define READ_MAX 60000

/* What takes part: an operation of workload.h, or a probe of the store that changes nothing. */
struct act {
    const char *name;
    struct op op;
    int (*probe)(struct session *s, uint64_t *ret_hash); /* instead of op */
    bool appends;                                        /* it needs the log: one at a time */
    bool flushes;                                        /* it flushes, or waits for who does */
    bool maintains;                                      /* it is a compaction or another job */
};

static int probe_read(struct session *s, uint64_t *ret_hash);
static int probe_all(struct session *s, uint64_t *ret_hash);
static int probe_stats(struct session *s, uint64_t *ret_hash);
static int probe_estimate(struct session *s, uint64_t *ret_hash);
static int probe_check(struct session *s, uint64_t *ret_hash);

/* With an installer, which is stopped where it is at work. */
#define BESIDE "compact-beside"

#define OP(...)                                                                                              \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }
static const struct act acts[] = {
    {.name = "read", .probe = probe_read},
    {.name = "export", .probe = probe_all},
    {.name = "stats", .probe = probe_stats},
    {.name = "estimate", .probe = probe_estimate, .appends = true}, /* writes down first who died */
    {.name = "check", .probe = probe_check, .appends = true},       /* holds writers off */
    {.name = "write",
     OP(.kind = OP_WRITE, .path = "f", .offset = 3000, .size = 9000, .seed = 51),
     .appends = true},
    {.name = "append", OP(.kind = OP_APPEND, .path = "f", .size = 700, .seed = 52), .appends = true},
    {.name = "truncate", OP(.kind = OP_TRUNCATE, .path = "f", .size = 0), .appends = true},
    {.name = "punch",
     OP(.kind = OP_FALLOCATE, .path = "f", .offset = 5000, .size = 8000, .flags = 3),
     .appends = true},
    {.name = "unlink", OP(.kind = OP_UNLINK, .path = "f"), .appends = true},
    {.name = "replace", OP(.kind = OP_RENAME, .path = "g", .other = "f"), .appends = true},
    {.name = "rename", OP(.kind = OP_RENAME, .path = "f", .other = "d/f"), .appends = true},
    {.name = "exchange", OP(.kind = OP_RENAME, .path = "f", .other = "g", .flags = 2), .appends = true},
    {.name = "link", OP(.kind = OP_LINK, .path = "f", .other = "d/h"), .appends = true},
    {.name = "create", OP(.kind = OP_CREATE, .path = "d/new", .mode = S_IFREG | 0600), .appends = true},
    {.name = "chmod", OP(.kind = OP_CHMOD, .path = "f", .mode = 0400), .appends = true},
    {.name = "setxattr",
     OP(.kind = OP_SETXATTR, .path = "f", .other = "user.x", .size = 3000, .seed = 53),
     .appends = true},
    {.name = "removexattr", OP(.kind = OP_REMOVEXATTR, .path = "f", .other = "user.x"), .appends = true},
    {.name = "put_many",
     OP(.kind = OP_PUT_MANY, .path = "d", .size = 2000, .seed = 54, .flags = 5),
     .appends = true},
    {.name = "sync", OP(.kind = OP_SYNC), .flushes = true},
    {.name = "checkpoint", OP(.kind = OP_TICK), .appends = true, .flushes = true, .maintains = true},
    {.name = "hold", OP(.kind = OP_RECLAIM), .appends = true, .flushes = true},
    {.name = "compact", OP(.kind = OP_COMPACT), .appends = true, .flushes = true, .maintains = true},
    {.name = BESIDE, OP(.kind = OP_COMPACT), .appends = true, .flushes = true, .maintains = true},
    {.name = "scrub", OP(.kind = OP_SCRUB), .appends = true}, /* asks the log what its segment holds */
};
#define N_ACTS (sizeof(acts) / sizeof(acts[0]))

static const struct stop {
    const char *act;
    enum fault_point point;
    const char *where;
} stops[] = {
    {"read", FP_READ_COLLECTED, "collected"},
    {"read", FP_READ_PINNED, "pinned"},
    {"export", FP_READ_PINNED, "pinned"},
    {"write", FP_WRITE_DRAFTED, "drafted"},
    {"write", FP_LOG_WRITTEN, "written"},
    {"append", FP_WRITE_DRAFTED, "drafted"},
    {"unlink", FP_LOG_WRITTEN, "written"},
    {"replace", FP_LOG_WRITTEN, "written"},
    {"setxattr", FP_LOG_WRITTEN, "written"},
    {"put_many", FP_LOG_WRITTEN, "written"},
    {"sync", FP_SYNC, "flushing"},
    {"checkpoint", FP_SYNC, "flushing"},
    {"checkpoint", FP_CHECKPOINT_FROZEN, "frozen"},
    {"compact", FP_COMPACT_READ, "reading"},
    {"compact", FP_COMPACT_COPIED, "copied"},
    {"compact", FP_LOG_WRITTEN, "relocated"},
    {"compact", FP_COMPACT_INSTALLED, "installed"},
    {"compact", FP_SYNC, "flushing"},
    {"compact", FP_RETIRE, "retiring"},
    {BESIDE, FP_COMPACT_READ, "reading"},
    {BESIDE, FP_INSTALLER_GIVEN, "given"},
    {BESIDE, FP_INSTALLER_RUNS, "taken"},
    {BESIDE, FP_COMPACT_COPIED, "copied"},
    {BESIDE, FP_LOG_WRITTEN, "relocated"},
    {BESIDE, FP_COMPACT_INSTALLED, "installed"},
    {BESIDE, FP_RETIRE, "retiring"},
};
#define N_STOPS (sizeof(stops) / sizeof(stops[0]))

static bool verbose, power_fails;
static uint64_t n_passed, n_failed;

/* Pairs in which the second waits until the first goes on, and why that is right. */
static bool must_wait(const struct stop *stop, const struct act *second)
{
    switch (stop->point) {
    case FP_LOG_WRITTEN: /* log->lock: batches have one order */
        return second->appends || second->flushes;
    case FP_RETIRE: /* log->lock: nobody may name the segment again while it goes */
        return second->appends || second->flushes;
    case FP_CHECKPOINT_FROZEN: /* one checkpoint at a time; none of its files goes, or is proven, meanwhile */
        return second->maintains || second->op.kind == OP_RECLAIM || second->op.kind == OP_SCRUB ||
               second->probe == probe_check;
    case FP_SYNC: /* one flush at a time; who comes later shares the next */
        return second->flushes;
    default:
        return false;
    }
}

/* ---- probes ---------------------------------------------------------------- */

static int probe_read(struct session *s, uint64_t *ret_hash)
{
    static __thread uint8_t buf[READ_MAX];
    const struct eng_caller me = {0};
    struct eng_attr attr;
    int r = eng_lookup(s->eng, &me, ENG_ROOT_INO, "f", &attr);
    ssize_t n = r ? r : eng_read(s->eng, attr.ino, buf, sizeof(buf), 0);
    if (n < 0)
        return (int)n;
    *ret_hash = XXH3_64bits(buf, (size_t)n);
    return 0;
}

static int probe_all(struct session *s, uint64_t *ret_hash)
{
    struct model *m;
    char why[MODEL_WHY_MAX];
    int r = model_load(s->eng, &m, why);
    *ret_hash = 0; /* not one moment: what was read may be of before and after */
    if (!r)
        model_free(m);
    /* A name that was listed and then removed or replaced by the other one is no defect. */
    return r == -ENOENT || r == -ESTALE || r == -EBADMSG ? 0 : r;
}

static int probe_stats(struct session *s, uint64_t *ret_hash)
{
    struct eng_stats stats;
    struct eng_statfs st;
    *ret_hash = 0;
    int r = eng_stats(s->eng, &stats);
    return r ? r : eng_statfs(s->eng, &st);
}

static int probe_estimate(struct session *s, uint64_t *ret_hash)
{
    struct eng_compact_estimate estimate;
    *ret_hash = 0;
    return eng_compact_estimate(s->eng, &estimate);
}

static int probe_check(struct session *s, uint64_t *ret_hash)
{
    struct eng_job_report report;
    *ret_hash = 0;
    int r = eng_job_run(s->eng, ENG_JOB_CHECK, NULL, &report);
    if (!r && report.check.problems)
        r = -EBADMSG;
    return r;
}

/* ---- the world: a store with something to read, move and retire ------------- */

struct world {
    struct simdisk *disk;
    struct session s;
    struct model *start;
    uint64_t durable; /* model_hash() of what was synced: all but the last operation */
};

#define SMALL_APPEND                                                                                         \
    {                                                                                                        \
        .kind = OP_APPEND, .path = "f", .size = 1000, .seed = 12                                             \
    }
static const struct op history[] = {
    {.kind = OP_CONFIG, .path = "checkpoint_ops", .other = "10"},
    {.kind = OP_CREATE, .path = "d", .mode = S_IFDIR | 0700},
    {.kind = OP_CREATE, .path = "big", .mode = S_IFREG | 0600},
    {.kind = OP_WRITE, .path = "big", .size = 58000, .seed = 1},
    {.kind = OP_CREATE, .path = "f", .mode = S_IFREG | 0600},
    {.kind = OP_WRITE, .path = "f", .size = 13000, .seed = 2},
    SMALL_APPEND, /* so many that the next append takes them along */
    SMALL_APPEND,
    SMALL_APPEND,
    SMALL_APPEND,
    SMALL_APPEND,
    SMALL_APPEND,
    SMALL_APPEND,
    {.kind = OP_SETXATTR, .path = "f", .other = "user.x", .size = 500, .seed = 3},
    {.kind = OP_CREATE, .path = "g", .mode = S_IFREG | 0640},
    {.kind = OP_WRITE, .path = "g", .size = 15000, .seed = 4},
    {.kind = OP_WRITE, .path = "g", .size = 12000, .seed = 5},
    {.kind = OP_CREATE, .path = "last", .mode = S_IFREG | 0600},
    {.kind = OP_WRITE, .path = "last", .size = 40000, .seed = 6},
    {.kind = OP_WRITE, .path = "last", .offset = 30000, .size = 100, .seed = 9},
    {.kind = OP_UNLINK, .path = "big"}, /* its segment is to be retired */
    {.kind = OP_SYNC},
    {.kind = OP_APPEND, .path = "last", .size = 10, .seed = 7},
    {.kind = OP_SYNC},
    {.kind = OP_APPEND, .path = "last", .size = 20, .seed = 8}, /* so that a flush has something to do */
};

static void die(const char *what)
{
    printf("FAILED: %s\n%" PRIu64 " passed, %" PRIu64 " failed\n", what, n_passed, n_failed + 1);
    (void)fflush(stdout);
    _exit(1);
}

static void world_new(struct world *w, bool beside)
{
    char why[256];
    *w = (struct world){.disk = simdisk_new(), .start = model_new()};
    w->s = (struct session){.io = simdisk_io(w->disk), .segment_size = SEGMENT_SIZE};
    w->s.shared = true;
    if (session_open(&w->s, false, why) != 0)
        die("a new store does not open");
    for (size_t i = 0; i < sizeof(history) / sizeof(history[0]); i++) {
        int results[PUT_MANY_MAX];
        if (op_issue(&w->s, &history[i], results) != 0 || op_apply(&history[i], 0, w->start) != 0)
            die("the history of the store");
        if (history[i].kind == OP_SYNC)
            w->durable = model_hash(w->start);
    }
    hook_installer(w->s.eng, beside);
}

static void world_done(struct world *w)
{
    (void)session_close(&w->s);
    simdisk_free(w->disk);
    model_free(w->start);
}

/* ---- interleaving ---------------------------------------------------------------- */

struct side {
    const struct act *act;
    struct session *s;
    pthread_t thread;
    int r, results[PUT_MANY_MAX];
    uint64_t hash;
    bool begun, ended; /* protected by lock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool stopped, go_on;        /* protected by lock */
static enum fault_point stop_at;   /* immutable while threads run */
static __thread bool is_bystander; /* not of the first's threads */

static void at_point(void *arg, enum fault_point point)
{
    (void)arg;
    if (is_bystander || point != stop_at)
        return;
    pthread_mutex_lock(&lock);
    bool first_time = !stopped;
    stopped = true;
    pthread_cond_broadcast(&changed);
    while (first_time && !go_on)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void *run_side(void *arg)
{
    struct side *side = arg;
    pthread_mutex_lock(&lock);
    side->begun = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (side->act->probe)
        side->r = side->act->probe(side->s, &side->hash);
    else
        side->r = op_issue(side->s, &side->act->op, side->results);
    pthread_mutex_lock(&lock);
    side->ended = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void *run_second(void *arg)
{
    is_bystander = true;
    return run_side(arg);
}

static void start(struct side *side, void *(*fn)(void *))
{
    if (pthread_create(&side->thread, NULL, fn, side) != 0)
        die("no thread");
}

/* Waits until one of the two is set. False: not within PATIENCE. */
static bool wait_for(const bool *a, const bool *b)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE;
    int r = 0;
    pthread_mutex_lock(&lock);
    while (!*a && !*b && r == 0)
        r = pthread_cond_timedwait(&changed, &lock, &end);
    bool ok = *a || *b;
    pthread_mutex_unlock(&lock);
    return ok;
}

static void release(void)
{
    pthread_mutex_lock(&lock);
    go_on = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* ---- what may come of it ---------------------------------------------------- */

/* The model's result: of the operation as a whole, or of the first part that failed. */
static int apply(const struct act *act, struct model *m)
{
    int first = 0;
    for (unsigned k = 0; !act->probe && k < op_steps(&act->op); k++) {
        int r = op_apply(&act->op, k, m);
        first = first ? first : r;
    }
    return first;
}

static int result_of(const struct side *side)
{
    int r = side->r;
    for (unsigned k = 0; !r && !side->act->probe && k < op_steps(&side->act->op); k++)
        r = side->results[k];
    return r;
}

static uint64_t hash_after(const struct model *start, const struct act *a, const struct act *b, int *ret_a,
                           int *ret_b)
{
    struct model *m = model_clone(start);
    *ret_a = a ? apply(a, m) : 0;
    *ret_b = b ? apply(b, m) : 0;
    uint64_t hash = model_hash(m);
    model_free(m);
    return hash;
}

static bool tolerated(const struct side *side, int expect)
{
    int r = result_of(side);
    /* a second compaction, or a checkpoint beside one, is refused; a probe of f finds it gone or not */
    return r == expect || (side->act->maintains && r == -EBUSY) ||
           (side->act->probe && (r == -ENOENT || r == -ESTALE));
}

static uint64_t loaded_hash(struct eng *eng, char *why)
{
    struct model *m;
    if (model_load(eng, &m, why) != 0)
        return 0;
    uint64_t hash = model_hash(m);
    model_free(m);
    return hash;
}

/* Whether state and results are those of one of the orders. */
static bool agrees(struct world *w, const struct side *first, const struct side *second, char *why)
{
    uint64_t hash = loaded_hash(w->s.eng, why);
    for (int order = 0; hash && order < 2; order++) {
        const struct side *a = order ? second : first, *b = order ? first : second;
        int ra, rb;
        if (hash == hash_after(w->start, a->act, b->act, &ra, &rb) && tolerated(a, ra) && tolerated(b, rb))
            return true;
    }
    /* One that looks its file up first may find it gone between, and then has done nothing. */
    int ra, rb, r = result_of(second);
    if ((r == -ENOENT || r == -ESTALE) && hash == hash_after(w->start, first->act, NULL, &ra, &rb) &&
        tolerated(first, ra))
        return true;
    if (hash)
        (void)snprintf(why, MODEL_WHY_MAX, "results %d and %d and the state are of neither order",
                       result_of(first), result_of(second));
    return false;
}

static bool is_clean(struct eng *eng, char *why)
{
    struct eng_job_report report;
    bool clean = eng_job_run(eng, ENG_JOB_CHECK, NULL, &report) == 0 && report.check.problems == 0;
    if (!clean)
        (void)snprintf(why, MODEL_WHY_MAX, "a check finds problems");
    return clean;
}

/* The power fails while the first is stopped and the second has ended. */
static bool survives(const struct world *w, const struct side *first, const struct side *second, char *why)
{
    const struct act *a = first->act, *b = second->act;
    for (int mode = 0; mode < SIM_N_SURVIVALS; mode++) {
        struct simdisk *copy = simdisk_clone(w->disk);
        struct session s = {.io = simdisk_io(copy), .segment_size = SEGMENT_SIZE};
        char reason[MODEL_WHY_MAX] = "";
        simdisk_power_on(copy, (enum sim_survival)mode, (uint64_t)mode);
        int r = session_open(&s, false, reason), x, y;
        uint64_t hash = r ? 0 : loaded_hash(s.eng, reason);
        bool with_second = hash == hash_after(w->start, a, b, &x, &y) ||
                           hash == hash_after(w->start, b, a, &x, &y) ||
                           hash == hash_after(w->start, b, NULL, &x, &y);
        bool synced = b->op.kind == OP_SYNC && second->r == 0;
        bool without = hash == model_hash(w->start) || (hash == w->durable && !synced) ||
                       hash == hash_after(w->start, a, NULL, &x, &y);
        bool ok = hash && (with_second || (without && mode != SIM_KEEP_ALL)) && is_clean(s.eng, reason);
        (void)session_close(&s);
        simdisk_free(copy);
        if (!ok) {
            (void)snprintf(why, MODEL_WHY_MAX, "power loss, %s: %.300s", sim_survival_names[mode],
                           r           ? strerror(-r)
                           : reason[0] ? reason
                                       : "a state that nobody made");
            return false;
        }
    }
    return true;
}

/* What a read gave must be the content of before or of after the other. */
static bool read_is_whole(const struct side *reader, const struct act *other)
{
    if (reader->act->probe != probe_read || reader->r != 0)
        return true;
    for (int after = 0; after < 2; after++) {
        struct world twin;
        uint64_t hash = 0;
        int results[PUT_MANY_MAX];
        world_new(&twin, false);
        if (after && !other->probe)
            (void)op_issue(&twin.s, &other->op, results);
        int r = probe_read(&twin.s, &hash);
        world_done(&twin);
        if (r == 0 && hash == reader->hash)
            return true;
    }
    return false;
}

/* ---- one schedule ------------------------------------------------------------- */

static const char *interleave(const struct stop *stop, struct side *first, struct side *second,
                              struct world *w, char *why)
{
    stopped = go_on = false;
    stop_at = stop->point;
    hook_set(w->s.eng, at_point, NULL);
    start(first, run_side);
    if (!wait_for(&stopped, &first->ended))
        die("the first neither stops nor ends");
    bool met = stopped, waits = must_wait(stop, second->act), ok = true;
    start(second, run_second);
    if (!wait_for(waits ? &second->begun : &second->ended, &second->ended)) {
        (void)snprintf(why, MODEL_WHY_MAX, "%s at '%s': %s waits for it", stop->act, stop->where,
                       second->act->name);
        die(why);
    }
    if (met && !waits && power_fails)
        ok = survives(w, first, second, why);
    release();
    if (!wait_for(&first->ended, &first->ended) || !wait_for(&second->ended, &second->ended))
        die("a deadlock of the two");
    (void)pthread_join(first->thread, NULL);
    (void)pthread_join(second->thread, NULL);
    hook_set(w->s.eng, NULL, NULL);
    return !met ? "the first did not come there" : ok ? NULL : why;
}

static bool one_schedule(const struct stop *stop, const struct act *a, const struct act *b)
{
    struct world w;
    char reason[MODEL_WHY_MAX] = "";
    world_new(&w, strcmp(stop->act, BESIDE) == 0 || strcmp(b->name, BESIDE) == 0);
    struct side first = {.act = a, .s = &w.s}, second = {.act = b, .s = &w.s};
    const char *why = interleave(stop, &first, &second, &w, reason);
    if (!why && !read_is_whole(&first, b))
        why = "the first read what was never there";
    if (!why && !read_is_whole(&second, a))
        why = "the second read what was never there";
    for (int run = 0; run < (power_fails ? 2 : 1) && !why; run++) {
        if (!agrees(&w, &first, &second, reason) || !is_clean(w.s.eng, reason))
            why = reason;
        if (!why && (session_close(&w.s) != 0 || session_open(&w.s, false, reason) != 0))
            why = "it does not open again";
    }
    world_done(&w);
    if (why || verbose)
        printf("%s: schedules %s %s (at '%s')%s%s\n", why ? "FAILED" : "ok", a->name, b->name, stop->where,
               why ? ": " : "", why ? why : "");
    return !why;
}

static const struct act *act_of(const char *name)
{
    for (size_t i = 0; i < N_ACTS; i++)
        if (strcmp(acts[i].name, name) == 0)
            return &acts[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const char *mode = getenv("ENGRAM_TEST_MODE");
    power_fails = !mode || strcmp(mode, "quick") != 0;
    is_bystander = true;
    const char *want[2] = {NULL, NULL};
    const size_t turn = (size_t)getpid() % 2;
    size_t n_want = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0) {
            verbose = true;
        } else if (n_want == 2 || !act_of(argv[i])) {
            (void)fprintf(stderr, "usage: schedules [-v] [FIRST [SECOND]]\n");
            return 2;
        } else {
            want[n_want++] = argv[i];
        }
    }
    for (size_t i = 0; i < N_STOPS; i++) {
        if (want[0] && strcmp(want[0], stops[i].act) != 0)
            continue;
        for (size_t k = 0; k < N_ACTS; k++) {
            if (want[1] ? strcmp(want[1], acts[k].name) != 0 : !power_fails && (i + k) % 2 != turn)
                continue;
            if (one_schedule(&stops[i], act_of(stops[i].act), &acts[k]))
                n_passed++;
            else
                n_failed++;
        }
    }
    printf("%zu places to stop at, %zu operations that come by\n%" PRIu64 " passed, %" PRIu64 " failed\n",
           N_STOPS, N_ACTS, n_passed, n_failed);
    return n_failed ? 1 : 0;
}

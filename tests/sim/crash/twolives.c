/*
 * twolives.c - the process dies at an I/O call, another one goes on with what
 * the page cache shows, and then the power fails. See README.md.
 *
 * What the first life wrote and had not synced is read by the second as if it
 * were there for good. Whatever the second builds on it must not go with it.
 */
#include "base/fault.h"
#include "clock_wrap.h"
#include "engine.h"
#include "life.h"
#include "rng.h"
#include "simdisk.h"
#include "verify.h"
#include "workload.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT_SIZE (UINT64_C(64) << 10)
#define FAILURES_SHOWN 20
#define SUBSETS_OF_MAX 6
#define N_SECONDS 6 /* kinds of second lives */

struct config {
    uint64_t stride, n_seeds, seed, n_ops, beside;
    uint64_t only_cut, only_second; /* 0: all; kinds count from 1 */
    unsigned seconds;               /* kinds of second lives at each call */
    size_t subsets_of;              /* operations that are not durable: up to so many, all subsets */
    bool no_script, alone, bites;
    const char *script; /* " --past", " --history"; NULL: each */
};

static struct config config = {.n_ops = 150};
static uint64_t n_calls, n_deaths, n_second_cuts, n_survivors, n_passed, n_failed;
static char current[256]; /* for the signal handler, too */

static void on_crash(int sig)
{
    static const char text[] = "\ncrashed during: ";
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)!write(STDERR_FILENO, current, strlen(current));
    (void)!write(STDERR_FILENO, "\n", 1);
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static void report(bool ok, const char *why)
{
    n_passed += ok;
    n_failed += !ok;
    if (!ok && n_failed <= (config.bites ? 1 : FAILURES_SHOWN))
        printf("%s: twolives%s\n    %s\n", config.bites ? "noticed" : "FAILED", current, why);
    (void)fflush(stdout);
}

/* ---- the second life ----------------------------------------------------- */

#define NEW                                                                                                  \
    {                                                                                                        \
        .kind = OP_CREATE, .path = "second", .mode = S_IFREG | 0640                                          \
    }
#define WRITE(n)                                                                                             \
    {                                                                                                        \
        .kind = OP_WRITE, .path = "second", .size = 1000 * (n), .seed = (n)                                  \
    }
#define MANY(n)                                                                                              \
    {                                                                                                        \
        .kind = OP_PUT_MANY, .path = "", .flags = PUT_MANY_MAX, .size = 9000, .seed = (n)                    \
    }
#define OFTEN                                                                                                \
    {                                                                                                        \
        .kind = OP_CONFIG, .path = "checkpoint_ops", .other = "1"                                            \
    }
#define DO(what)                                                                                             \
    {                                                                                                        \
        .kind = OP_##what                                                                                    \
    }

/* Each writes as much as it takes to let go of what was before it, in its own way; it ends with a sync, and
 * something after it that is not durable. */
static const struct op seconds[N_SECONDS][20] = {
    {NEW, WRITE(5), DO(SYNC), WRITE(3)},
    {NEW, OFTEN, WRITE(3), DO(TICK), WRITE(4), DO(TICK), WRITE(5), DO(TICK), DO(RECLAIM), DO(SYNC), WRITE(6)},
    {NEW, MANY(1), MANY(2), DO(COMPACT), MANY(3), WRITE(9), DO(COMPACT), DO(SYNC), MANY(4)},
    {NEW, WRITE(2), DO(REOPEN), WRITE(3), DO(REOPEN), MANY(1), DO(RECLAIM), DO(SYNC), WRITE(4)},
    {NEW, OFTEN, MANY(1), MANY(1), DO(TICK), MANY(1), DO(TICK), DO(COMPACT), DO(RECLAIM), DO(SYNC), DO(TICK)},
    {DO(COMPACT), NEW, WRITE(30), WRITE(31), WRITE(32), DO(COMPACT), WRITE(7), DO(SYNC), DO(COMPACT)},
};

static size_t ops_of(const struct op *ops)
{
    size_t n = 0;
    while (n < 20 && (ops[n].kind != OP_CREATE || ops[n].path[0])) /* zeros are no operation */
        n++;
    return n;
}

/* The operations that made the state after `step`, and those of the second life behind them. */
static struct workload *both_lives(const struct workload *w, size_t step, unsigned second, size_t *ret_from)
{
    const struct op *more = seconds[second];
    size_t n = 0, n_more = ops_of(more);
    while (n < w->n_ops && w->first_step[n] < step)
        n++;
    struct op *ops = calloc(n + n_more + 1, sizeof(*ops));
    if (!ops)
        abort();
    memcpy(ops, w->ops, n * sizeof(*ops));
    for (size_t k = step; n > 0 && k < w->first_step[n]; k++) /* of a bulk load a part had happened */
        ops[n - 1].skip |= 1u << (k - w->first_step[n - 1]);
    memcpy(ops + n, more, n_more * sizeof(*ops));
    *ret_from = n;
    struct workload *both = workload_of(ops, n + n_more, n);
    for (size_t k = 0; n > 0 && k <= w->first_step[n - 1]; k++)
        both->trees[k] = w->trees[k];
    both->history_from = w->history_from;
    both->history_keeps = w->history_keeps;
    both->later_from = n;
    int64_t lacks = sim_clock.now + CLOCK_SECOND - workload_time(w, n);
    both->later = lacks > 0 ? lacks : 0;
    return both;
}

/* ---- and then the power fails ---------------------------------------------- */

static void verify_survivor(const struct simdisk *disk, struct verify_want want, const struct life *life,
                            const char *label, enum sim_survival mode, uint64_t subset)
{
    char why[VERIFY_WHY_MAX];
    want.lo = mode == SIM_KEEP_ALL ? life->acked : life->synced;
    want.hi = life->issued;
    want.seed = mode == SIM_SUBSET ? subset : want.seed * SIM_N_SURVIVALS + (uint64_t)mode;
    (void)snprintf(current, sizeof(current), "%s (power: %s, %" PRIu64 ")", label, sim_survival_names[mode],
                   want.seed);
    struct simdisk *survivor = simdisk_clone(disk);
    simdisk_power_on(survivor, mode, want.seed);
    report(verify_store(survivor, &want, why), why);
    n_survivors++;
    simdisk_free(survivor);
}

static void verify_survivors(const struct simdisk *disk, struct verify_want want, const struct life *life,
                             const char *label)
{
    size_t n = simdisk_unsynced(disk);
    for (int mode = 0; mode < SIM_N_SURVIVALS; mode++)
        verify_survivor(disk, want, life, label, (enum sim_survival)mode, 0);
    for (uint64_t subset = 0; n <= config.subsets_of && subset < UINT64_C(1) << n; subset++)
        verify_survivor(disk, want, life, label, SIM_SUBSET, subset);
}

/* The step of the workload that the store shows; false: none of those that it may show after the first life.
 */
static bool find_step(struct session *s, const struct workload *w, const struct life *first, size_t *ret_step,
                      char *why)
{
    char reason[MODEL_WHY_MAX];
    struct model *m;
    if (model_load(s->eng, &m, reason) < 0)
        return verify_fail(why, "the second life begins: %s", reason);
    uint64_t hash = model_hash(m);
    size_t k = first->issued;
    while (k > first->acked && w->hashes[k] != hash)
        k--;
    bool ok = w->hashes[k] == hash;
    model_free(m);
    *ret_step = k;
    return ok ||
           verify_fail(why, "the second life begins with no state of %zu..%zu", first->acked, first->issued);
}

/* `cut`: the I/O call of the second life in which the power fails; 0: none, it fails afterwards. */
static void second_life(const struct workload *w, const struct simdisk *dead, const struct life *first,
                        struct verify_want want, unsigned kind, uint64_t cut, const char *label)
{
    char why[VERIFY_WHY_MAX], reason[256];
    struct simdisk *disk = simdisk_clone(dead);
    struct life life = *first;
    struct workload *both = NULL;
    size_t step = 0, from = 0;
    (void)snprintf(current, sizeof(current), "%s", label);
    simdisk_process_dies(disk);
    simdisk_cut_at(disk, cut, false);
    struct session s = {.io = simdisk_io(disk), .segment_size = SEGMENT_SIZE, .beside = want.beside};
    int r = session_open(&s, false, reason);
    bool ok = true, off = simdisk_is_off(disk);
    if (r < 0 && !off)
        ok = verify_fail(why, "the second life begins: %s: %s", strerror(-r), reason);
    if (r == 0 && !off)
        ok = find_step(&s, w, first, &step, why);
    if (ok && r == 0 && !off) {
        want.workload = both = both_lives(w, step, kind, &from);
        if (first->op <= w->history_from)
            both->history_keeps = 0; /* it may have begun, or not */
        step = both->first_step[from];
        life = (struct life){.synced = step, .acked = step, .issued = step}; /* it is durable now (I7) */
        ok = life_issue(both, from, &s, disk, false, &life, why);
    }
    n_second_cuts += simdisk_is_off(disk);
    if (!simdisk_is_off(disk))
        simdisk_cut_at(disk, 1, true);
    (void)session_close(&s);
    if (ok)
        verify_survivors(disk, want, &life, label);
    else
        report(false, why);
    workload_free(both);
    simdisk_free(disk);
}

/* ---- the first life -------------------------------------------------------- */

static void one_death(const struct workload *w, uint64_t beside, const char *label, uint64_t cut)
{
    char why[VERIFY_WHY_MAX], text[160];
    struct simdisk *disk = simdisk_new();
    struct life life;
    simdisk_cut_at(disk, cut, false);
    (void)snprintf(current, sizeof(current), "%s --cut %" PRIu64, label, cut);
    bool ok = life_whole(w, beside, SEGMENT_SIZE, disk, false, &life, why);
    if (!ok)
        report(false, why);
    for (unsigned i = 0; i < config.seconds && ok; i++) {
        unsigned kind = (unsigned)(config.only_second ? config.only_second - 1 : (cut + i) % N_SECONDS);
        struct verify_want want = {
            .workload = w, .segment_size = SEGMENT_SIZE, .beside = beside, .seed = cut * N_SECONDS + kind};
        uint64_t rng = want.seed, second_cut = rng_below(&rng, 2) ? 1 + rng_below(&rng, 80) : 0;
        (void)snprintf(text, sizeof(text), "%s --cut %" PRIu64 " --second %u", label, cut, kind + 1);
        second_life(w, disk, &life, want, kind, 0, text);
        if (second_cut)
            second_life(w, disk, &life, want, kind, second_cut, text);
    }
    n_deaths++;
    simdisk_free(disk);
}

static void one_workload(const struct workload *w, uint64_t beside, const char *label, uint64_t first,
                         uint64_t stride)
{
    char why[VERIFY_WHY_MAX];
    struct simdisk *disk = simdisk_new();
    struct life life;
    (void)snprintf(current, sizeof(current), "%s", label);
    report(life_whole(w, beside, SEGMENT_SIZE, disk, false, &life, why), why);
    uint64_t calls = simdisk_calls(disk, false);
    simdisk_free(disk);
    n_calls += calls;
    if (config.only_cut)
        one_death(w, beside, label, config.only_cut);
    for (uint64_t cut = first; !config.only_cut && cut <= calls && !(config.bites && n_failed); cut += stride)
        one_death(w, beside, label, cut);
}

static void one_script(uint64_t beside, const char *which)
{
    char label[48] = "";
    struct workload *w;
    if (strcmp(which, " --past") == 0)
        w = workload_past();
    else
        w = *which ? workload_history() : workload_scripted();
    if (beside)
        (void)snprintf(label, sizeof(label), " --beside %" PRIu64 "%s", beside, which);
    else
        (void)snprintf(label, sizeof(label), "%s", which);
    const uint64_t stride = config.stride ? config.stride : 1;
    one_workload(w, beside, label, 1 + beside % stride, stride);
    workload_free(w);
}

static void scripted_workload(uint64_t beside)
{
    static const char *const all[] = {"", " --past", " --history"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        bool asked = config.script ? strcmp(config.script, all[i]) == 0 : i == 0 || !config.only_cut;
        if (asked)
            one_script(beside, all[i]);
    }
}

static void random_workload(uint64_t seed)
{
    char label[96];
    uint64_t beside = config.beside ? config.beside : seed % 2 * seed; /* every other one */
    uint64_t stride = config.seed ? config.stride : 97;
    (void)snprintf(label, sizeof(label), " --seed %" PRIu64 " --ops %" PRIu64 " --beside %" PRIu64, seed,
                   config.n_ops, beside);
    struct workload *w = workload_random(seed, config.n_ops);
    one_workload(w, beside, label, 1 + seed % stride, stride);
    workload_free(w);
}

/* ---- does it bite? ----------------------------------------------------------- */

#ifdef ENG_MUTANTS
/* What is taken from the engine, so that a second life must lose something. */
static const struct {
    const char *what;
    enum mutant mutant;
} weaknesses[] = {
    {"a checkpoint is adopted as the cache shows it (I7)", MUTANT_CKPT_FROM_CACHE},
    {"what recovery accepted is not made durable (I7)", MUTANT_NO_MAKE_DURABLE},
};

/* Each must make the scripted workload fail: as many as are noticed have passed. */
static void show_bites(void)
{
    uint64_t noticed = 0, n = sizeof(weaknesses) / sizeof(weaknesses[0]);
    for (size_t i = 0; i < n; i++) {
        printf("%s\n", weaknesses[i].what);
        fault_mutant = weaknesses[i].mutant;
        n_failed = 0;
        scripted_workload(0);
        if (!n_failed)
            scripted_workload(1);
        fault_mutant = MUTANT_NONE;
        noticed += n_failed > 0;
        if (!n_failed)
            printf("FAILED: twolives --bites: not noticed\n");
    }
    n_passed = noticed;
    n_failed = n - noticed;
}
#else
static void show_bites(void)
{
    n_failed = 1; /* this engine has no mutants */
}
#endif

/* ---- main ------------------------------------------------------------------- */

static const char usage[] =
    "twolives [OPTIONS]: the process dies at each I/O call, and in its next life the power fails\n"
    "  --stride N     every Nth call only\n"
    "  --seeds N      besides, N random workloads, a sample of the calls of each\n"
    "  --no-script    these only\n"
    "  --past         only the script with snapshots\n"
    "  --history      only the script with a history\n"
    "  --seed S       only the random workload of seed S, every call\n"
    "  --ops N        operations of a random workload (150)\n"
    "  --beside S     with an installer beside each compaction, taking turns with it by seed S\n"
    "  --alone        without one only\n"
    "  --cut N        the process dies in that call only\n"
    "  --second K     only that kind of second life, of 1 to 6\n"
    "  --bites        takes away one protection after the other: each run must fail\n"
    "  --seconds K    so many kinds of second lives at each call\n"
    "$ENGRAM_TEST_MODE: quick, full (every call, all kinds, 2000 seeds), or a sample\n";

static bool parse_options(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint64_t *value;
    } options[] = {{"--stride", &config.stride},     {"--seeds", &config.n_seeds},
                   {"--seed", &config.seed},         {"--ops", &config.n_ops},
                   {"--beside", &config.beside},     {"--cut", &config.only_cut},
                   {"--second", &config.only_second}};
    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        if (!strcmp(argv[i], "--no-script")) {
            config.no_script = true;
            continue;
        }
        if (!strcmp(argv[i], "--past") || !strcmp(argv[i], "--history")) {
            config.script = argv[i][2] == 'p' ? " --past" : " --history";
            continue;
        }
        if (!strcmp(argv[i], "--alone")) {
            config.alone = true;
            continue;
        }
        if (!strcmp(argv[i], "--bites")) {
            config.bites = true;
            config.stride = 1;
            continue;
        }
        while (k < sizeof(options) / sizeof(options[0]) && strcmp(argv[i], options[k].name) != 0)
            k++;
        if (i + 1 >= argc || (k == sizeof(options) / sizeof(options[0]) && strcmp(argv[i], "--seconds") != 0))
            return false;
        uint64_t value = strtoull(argv[++i], NULL, 0);
        if (k == sizeof(options) / sizeof(options[0]))
            config.seconds = (unsigned)value;
        else
            *options[k].value = value;
    }
    return config.stride > 0 && config.only_second <= N_SECONDS;
}

static void choose_mode(void)
{
    const char *mode = getenv("ENGRAM_TEST_MODE");
    bool quick = mode && !strcmp(mode, "quick"), full = mode && !strcmp(mode, "full");
    config.stride = quick ? 23 : full ? 1 : 3;
    config.n_seeds = quick ? 10 : full ? 2000 : 60;
    config.seconds = full ? N_SECONDS : 1;
    config.subsets_of = full ? SUBSETS_OF_MAX : 3;
}

int main(int argc, char **argv)
{
    choose_mode();
    if (!parse_options(argc, argv)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    if (config.only_cut)
        config.seconds = 1, config.n_seeds = 0;
    (void)signal(SIGABRT, on_crash);
    (void)signal(SIGSEGV, on_crash);
    time_t started = time(NULL);
    if (config.bites) {
        show_bites();
    } else if (config.seed) {
        random_workload(config.seed);
    } else {
        if (!config.no_script && !config.beside)
            scripted_workload(0);
        if (!config.no_script && !config.alone && !(config.only_cut && !config.beside))
            scripted_workload(config.beside ? config.beside : 1);
        config.seconds = 1; /* of random workloads: many, rather than each in all ways */
        for (uint64_t seed = 1; seed <= config.n_seeds; seed++)
            random_workload(seed);
    }
    printf("%" PRIu64 " I/O calls, %" PRIu64 " deaths, in %" PRIu64
           " of the lives after them the power failed, %" PRIu64 " survivors; %ld s\n",
           n_calls, n_deaths, n_second_cuts, n_survivors, (long)(time(NULL) - started));
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", n_passed, n_failed);
    return n_failed || !n_survivors;
}

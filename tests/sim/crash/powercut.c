/*
 * powercut.c - the power fails at every I/O call of a workload. See README.md.
 *
 * The workload is run once to count its I/O calls, then once for each call
 * with the power failing in it. Of the disk that is left, several survivors
 * are made, and each is verified (verify.h); the recovery itself is cut, too. */
#include "base/fault.h"
#include "clock_wrap.h"
#include "engine.h"
#include "hook.h"
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
#include <time.h>
#include <unistd.h>

#define SEGMENT_SIZE (UINT64_C(64) << 10)
#define FAILURES_SHOWN 20
#define SUBSETS_OF_MAX 6 /* operations that are not durable: up to so many, all subsets of them are tried */

enum script_kind { SCRIPT_OF_NOW = 1, SCRIPT_OF_PAST = 2, SCRIPT_OF_HISTORY = 4 };

struct config {
    bool quick, verbose, live, bites, no_script;
    unsigned scripts; /* enum script_kind */
    bool ignore_sync, ignore_syncdir;
    uint64_t n_seeds, seed; /* random workloads; seed 0: 1 .. n_seeds */
    uint64_t n_ops;         /* of a random workload */
    /* with an installer beside each compaction, by this seed (hook.h); 0: without, and with */
    uint64_t beside;
    uint64_t stride;   /* every how many calls; 0: as the workload says */
    uint64_t only_cut; /* 0: all */
    int only_mode;     /* -1: all */
    uint64_t subset;   /* with only_mode SIM_SUBSET: a bit for each operation that is kept */
};

struct totals {
    uint64_t calls, cuts, recovery_cuts, passed, failed;
    uint64_t given, trimmed; /* to installers; zeros taken back that were written ahead */
    uint64_t by_mode[SIM_N_SURVIVALS + 1];
    uint64_t
        by_unsynced[SUBSETS_OF_MAX + 2]; /* cuts with so many operations that were not durable; or more */
    bool expect_failure;                 /* the first one is what is wanted, and ends the run */
};

/* What is under way, for the signal handler: an assertion of the engine must not hide it. */
static char current[256];

static void on_crash(int sig)
{
    static const char text[] = "\ncrashed during: ";
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)!write(STDERR_FILENO, current, strlen(current));
    (void)!write(STDERR_FILENO, "\n", 1);
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static void report_failure(struct totals *totals, const char *why)
{
    totals->failed++;
    if (totals->expect_failure)
        printf("    noticed:%s: %s\n", current, why);
    else if (totals->failed <= FAILURES_SHOWN)
        printf("FAILED: powercut %s\n    %s\n", current, why);
    (void)fflush(stdout);
}

/* ---- one cut ------------------------------------------------------------ */

struct survivor_case {
    const struct config *config;
    const struct workload *workload;
    uint64_t beside;
    const char *label; /* options that select the workload again */
    struct totals *totals;
    uint64_t cut;
};

static bool cut_recovery_at(const struct survivor_case *c, struct simdisk *disk,
                            const struct verify_want *want, uint64_t nth)
{
    char why[VERIFY_WHY_MAX], text[VERIFY_WHY_MAX + 64];
    bool was_cut = false;
    c->totals->recovery_cuts++;
    if (verify_recovery_cut(disk, want, nth, &was_cut, why)) {
        c->totals->passed++;
    } else {
        (void)snprintf(text, sizeof(text), "recovery cut at call %" PRIu64 ": %s", nth, why);
        report_failure(c->totals, text);
    }
    return was_cut;
}

/* Every call of the recovery for some cuts of the workload, one of the first ten for the others. */
static void cut_recovery(const struct survivor_case *c, struct simdisk *disk, const struct verify_want *want)
{
    uint64_t rng = want->seed, nth = 1;
    if (c->cut % 16 != 0)
        (void)cut_recovery_at(c, disk, want, 1 + rng_below(&rng, 10));
    else
        while (cut_recovery_at(c, disk, want, nth))
            nth++;
}

/* subset: of SIM_SUBSET; the others make their seed of the cut */
static void verify_survivor(const struct survivor_case *c, const struct simdisk *disk, const struct life *run,
                            enum sim_survival mode, uint64_t subset)
{
    struct verify_want want = {
        .workload = c->workload,
        .lo = mode == SIM_KEEP_ALL ? run->acked : run->synced,
        .hi = run->issued,
        .segment_size = SEGMENT_SIZE,
        .beside = c->beside,
        .seed = mode == SIM_SUBSET ? subset : c->cut * SIM_N_SURVIVALS + (uint64_t)mode,
    };
    (void)snprintf(current, sizeof(current), "%s --cut %" PRIu64 " --mode %s --subset %" PRIu64, c->label,
                   c->cut, sim_survival_names[mode], subset);
    struct simdisk *survivor = simdisk_clone(disk);
    simdisk_power_on(survivor, mode, want.seed);
    if (mode == SIM_RANDOM || mode == SIM_TORN)
        cut_recovery(c, survivor, &want);
    char why[VERIFY_WHY_MAX];
    if (verify_store(survivor, &want, why))
        c->totals->passed++;
    else
        report_failure(c->totals, why);
    c->totals->by_mode[mode]++;
    simdisk_free(survivor);
}

/* All subsets of what was not durable, if it was little. */
static void verify_subsets(const struct survivor_case *c, const struct simdisk *disk, const struct life *run)
{
    size_t n = simdisk_unsynced(disk);
    c->totals->by_unsynced[n <= SUBSETS_OF_MAX ? n : SUBSETS_OF_MAX + 1]++;
    if (c->config->only_mode == SIM_SUBSET)
        verify_survivor(c, disk, run, SIM_SUBSET, c->config->subset);
    else if (c->config->only_mode < 0 && !c->config->bites && n <= SUBSETS_OF_MAX)
        for (uint64_t subset = 0; subset < UINT64_C(1) << n; subset++)
            verify_survivor(c, disk, run, SIM_SUBSET, subset);
}

static void one_cut(const struct survivor_case *c)
{
    (void)snprintf(current, sizeof(current), "%s --cut %" PRIu64, c->label, c->cut);
    struct simdisk *disk = simdisk_new();
    simdisk_ignore_datasync(disk, c->config->ignore_sync);
    simdisk_ignore_syncdir(disk, c->config->ignore_syncdir);
    simdisk_cut_at(disk, c->cut, false);
    struct life run;
    char why[VERIFY_WHY_MAX];
    if (!life_whole(c->workload, c->beside, SEGMENT_SIZE, disk, false, &run, why)) {
        report_failure(c->totals, why);
    } else {
        if (c->config->verbose) {
            char text[160];
            op_describe(&c->workload->ops[run.op], text, sizeof(text));
            printf("cut %" PRIu64
                   " in %s: operation %zu (%s), steps synced %zu, acknowledged %zu, issued %zu\n",
                   c->cut, simdisk_is_off(disk) ? sim_call_names[simdisk_cut_call(disk)] : "nothing", run.op,
                   text, run.synced, run.acked, run.issued);
        }
        for (int mode = 0; mode < SIM_N_SURVIVALS; mode++) {
            if (c->config->only_mode < 0 || c->config->only_mode == mode)
                verify_survivor(c, disk, &run, (enum sim_survival)mode, 0);
        }
        verify_subsets(c, disk, &run);
        c->totals->cuts++;
    }
    simdisk_free(disk);
}

/* ---- one workload ------------------------------------------------------- */

static void one_workload(const struct config *config, const struct workload *w, uint64_t beside,
                         const char *label, uint64_t first, uint64_t stride, struct totals *totals)
{
    (void)snprintf(current, sizeof(current), "%s, without a cut", label);
    struct simdisk *disk = simdisk_new();
    struct life run;
    char why[VERIFY_WHY_MAX];
    uint64_t given = schedules_given();
    bool ok = life_whole(w, beside, SEGMENT_SIZE, disk, config->live, &run, why);
    given = schedules_given() - given;
    uint64_t calls = simdisk_calls(disk, false), trimmed = simdisk_calls_of(disk, SIM_TRUNCATE);
    size_t n_steps = w->first_step[w->n_ops];
    printf("workload%s: %zu operations, %zu steps, %" PRIu64 " I/O calls:", label, w->n_ops, n_steps, calls);
    for (int call = 0; call < SIM_OPEN; call++)
        printf(" %s %" PRIu64, sim_call_names[call], simdisk_calls_of(disk, (enum sim_call)call));
    if (beside)
        printf("; the installer was called %" PRIu64 " times", given);
    printf("\n");
    struct verify_want want = {.workload = w,
                               .lo = n_steps,
                               .hi = n_steps,
                               .segment_size = SEGMENT_SIZE,
                               .beside = beside,
                               .seed = n_steps};
    ok = ok && verify_store(disk, &want, why);
    if (ok)
        totals->passed++;
    else
        report_failure(totals, why);
    simdisk_free(disk);
    totals->calls += calls;
    totals->given += given;
    totals->trimmed += trimmed;

    struct survivor_case c = {
        .config = config, .workload = w, .beside = beside, .label = label, .totals = totals};
    if (config->only_cut) {
        c.cut = config->only_cut;
        one_cut(&c);
        return;
    }
    for (c.cut = first; ok && c.cut <= calls && !(totals->expect_failure && totals->failed); c.cut += stride)
        one_cut(&c);
    (void)fflush(stdout);
}

static void random_workload(const struct config *config, uint64_t seed, struct totals *totals)
{
    char label[96];
    uint64_t beside = config->beside ? config->beside : seed % 2 * seed; /* every other one */
    (void)snprintf(label, sizeof(label), " --seed %" PRIu64 " --ops %" PRIu64 " --beside %" PRIu64, seed,
                   config->n_ops, beside);
    struct workload *w = workload_random(seed, config->n_ops);
    uint64_t stride = config->stride ? config->stride : 13;
    /* other calls in other workloads */
    one_workload(config, w, beside, label, 1 + seed % stride, stride, totals);
    workload_free(w);
}

/* Without an installer and with one, or as asked for. `label`: the option that selects the script. */
static void one_script(const struct config *config, struct workload *take_script, const char *label,
                       uint64_t stride, struct totals *totals)
{
    char with[64];
    uint64_t beside = config->beside ? config->beside : 1;
    (void)snprintf(with, sizeof(with), "%s --beside %" PRIu64, label, beside);
    if (!config->beside)
        one_workload(config, take_script, 0, label, 1, stride, totals);
    if (!config->only_cut || config->beside)
        one_workload(config, take_script, beside, with, 1, stride, totals);
    workload_free(take_script);
}

static void scripted_workload(const struct config *config, uint64_t stride, struct totals *totals)
{
    if (config->scripts & SCRIPT_OF_PAST)
        one_script(config, workload_past(), " --past", stride, totals);
    if (config->scripts & SCRIPT_OF_HISTORY)
        one_script(config, workload_history(), " --history", stride * 3, totals);
    if (!(config->scripts & SCRIPT_OF_NOW))
        return;
    one_script(config, workload_scripted(), "", stride, totals);
    if (!config->only_cut && !totals->failed && (totals->given < 8 || totals->trimmed < 4))
        report_failure(totals,
                       "the script hands nothing to installers, or no zeros are written ahead of its log");
}

/* ---- does it bite? ------------------------------------------------------ */

/* What is taken from the engine, so that it must lose something. */
struct weakness {
    const char *what;
    bool ignore_sync, ignore_syncdir;
    enum mutant mutant; /* of fault.h; only where the engine has them */
    enum script_kind script;
};

static const struct weakness weaknesses[] = {
    {"datasync does nothing", true, false, MUTANT_NONE, SCRIPT_OF_NOW},
    {"syncdir does nothing", false, true, MUTANT_NONE, SCRIPT_OF_NOW},
#ifdef ENG_MUTANTS
    {"relocations before their survivors are durable", false, false, MUTANT_INSTALL_UNSYNCED, SCRIPT_OF_NOW},
    {"retirement before the deaths are durable (I4)", false, false, MUTANT_RETIRE_UNSYNCED, SCRIPT_OF_NOW},
    {"retirement of what a checkpoint needs (I4)", false, false, MUTANT_RETIRE_YOUNG, SCRIPT_OF_NOW},
    {"new segments without their names (I7)", false, false, MUTANT_NO_SYNCDIR, SCRIPT_OF_NOW},
    {"recovery believes every batch (I7)", false, false, MUTANT_NO_BATCH_SUM, SCRIPT_OF_NOW},
    {"a snapshot is not kept (I12)", false, false, MUTANT_SNAPSHOT_UNSEEN, SCRIPT_OF_PAST},
    {"a rename over one of two names, and a write through the other", false, false, MUTANT_REPLACED_UNSEEN,
     SCRIPT_OF_PAST},
    {"what is kept is not in the log (I12)", false, false, MUTANT_KEEP_UNLOGGED, SCRIPT_OF_PAST},
    {"the past goes too early (I12)", false, false, MUTANT_DROPPED_EARLY, SCRIPT_OF_PAST},
    {"a past state is read from the wrong neighbour", false, false, MUTANT_WRONG_NEIGHBOUR, SCRIPT_OF_PAST},
    {"what was a hole is as it was filled later", false, false, MUTANT_HOLE_UNMARKED, SCRIPT_OF_PAST},
    {"what a history keeps is not in the log (I12)", false, false, MUTANT_KEEP_UNLOGGED, SCRIPT_OF_HISTORY},
    {"what a history keeps goes too early (I12)", false, false, MUTANT_EXPIRED_EARLY, SCRIPT_OF_HISTORY},
    {"a memory is restored in part", false, false, MUTANT_RESTORE_IN_PART, SCRIPT_OF_HISTORY},
#endif
};

static void set_mutant(enum mutant mutant)
{
#ifdef ENG_MUTANTS
    fault_mutant = mutant;
#else
    (void)mutant;
#endif
}

/* Every weakness must make the scripted workload fail, or one of some random ones. */
static void show_bites(const struct config *config, struct totals *totals)
{
    for (size_t i = 0; i < sizeof(weaknesses) / sizeof(weaknesses[0]); i++) {
        struct config weak = *config;
        struct totals found = {.expect_failure = true};
        weak.ignore_sync = weaknesses[i].ignore_sync;
        weak.ignore_syncdir = weaknesses[i].ignore_syncdir;
        weak.scripts = weaknesses[i].script;
        printf("%s\n", weaknesses[i].what);
        set_mutant(weaknesses[i].mutant);
        /* One that shows only between two calls needs more cuts than each 20th. */
        bool all = weaknesses[i].script == SCRIPT_OF_NOW || weaknesses[i].mutant == MUTANT_RESTORE_IN_PART;
        scripted_workload(&weak, all ? 1 : 20, &found);
        for (uint64_t seed = 1; seed <= config->n_seeds && !found.failed; seed++)
            random_workload(&weak, seed, &found);
        set_mutant(MUTANT_NONE);
        if (found.failed) {
            totals->passed++;
        } else {
            totals->failed++;
            printf("FAILED: powercut --bites: not noticed\n");
        }
    }
}

static const char usage[] =
    "powercut [OPTIONS]: cuts the power at every I/O call of the scripted workload\n"
    "  --quick           only a sample of the calls\n"
    "  --seeds N         besides, N random workloads, a sample of the calls of each\n"
    "  --no-script       these only\n"
    "  --past            only the script with snapshots\n"
    "  --history         only the script with a history\n"
    "  --seed S          only the random workload of seed S, every call\n"
    "  --ops N           operations of a random workload (300)\n"
    "  --beside S        with an installer beside each compaction, taking turns with it by seed S\n"
    "  --stride N        every Nth call only\n"
    "  --cut N           only that call\n"
    "  --mode NAME       only that kind of survival\n"
    "  --subset BITS     with --mode subset: which of the operations that were not durable are kept\n"
    "  --live            compares the live store with the model after each operation, too (slow)\n"
    "  --ignore-sync     datasync does nothing: this test must then fail\n"
    "  --ignore-syncdir  syncdir does nothing: this test must then fail\n"
    "  --bites           takes away one protection after the other: each run must fail\n"
    "  --verbose         a line for each cut\n";

static int parse_mode(const char *name)
{
    for (int mode = 0; mode <= SIM_SUBSET; mode++) {
        if (strcmp(name, sim_survival_names[mode]) == 0)
            return mode;
    }
    return -2;
}

static bool parse_flag(struct config *config, const char *arg)
{
    if (strcmp(arg, "--quick") == 0)
        config->quick = true;
    else if (strcmp(arg, "--bites") == 0)
        config->bites = true;
    else if (strcmp(arg, "--no-script") == 0)
        config->no_script = true;
    else if (strcmp(arg, "--past") == 0)
        config->scripts = SCRIPT_OF_PAST;
    else if (strcmp(arg, "--history") == 0)
        config->scripts = SCRIPT_OF_HISTORY;
    else if (strcmp(arg, "--live") == 0)
        config->live = true;
    else if (strcmp(arg, "--verbose") == 0)
        config->verbose = true;
    else if (strcmp(arg, "--ignore-sync") == 0)
        config->ignore_sync = true;
    else if (strcmp(arg, "--ignore-syncdir") == 0)
        config->ignore_syncdir = true;
    else
        return false;
    return true;
}

static bool parse_value(struct config *config, const char *arg, const char *value)
{
    uint64_t number = strtoull(value, NULL, 0);
    if (strcmp(arg, "--seeds") == 0)
        config->n_seeds = number;
    else if (strcmp(arg, "--seed") == 0)
        config->seed = number;
    else if (strcmp(arg, "--ops") == 0)
        config->n_ops = number;
    else if (strcmp(arg, "--beside") == 0)
        config->beside = number;
    else if (strcmp(arg, "--stride") == 0)
        config->stride = number;
    else if (strcmp(arg, "--cut") == 0)
        config->only_cut = number;
    else if (strcmp(arg, "--mode") == 0)
        config->only_mode = parse_mode(value);
    else if (strcmp(arg, "--subset") == 0)
        config->subset = number;
    else
        return false;
    return config->only_mode != -2;
}

static bool parse_options(struct config *config, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (parse_flag(config, argv[i]))
            continue;
        if (i + 1 >= argc || !parse_value(config, argv[i], argv[i + 1]))
            return false;
        i++;
    }
    return true;
}

static void print_totals(const struct totals *totals, time_t started)
{
    printf("%" PRIu64 " I/O calls, %" PRIu64 " cuts, %" PRIu64 " cuts of a recovery; survivors:",
           totals->calls, totals->cuts, totals->recovery_cuts);
    for (int mode = 0; mode <= SIM_SUBSET; mode++)
        printf(" %s %" PRIu64, sim_survival_names[mode], totals->by_mode[mode]);
    printf("; %ld s\n", (long)(time(NULL) - started));
    printf("operations not durable at a cut: how many cuts, subsets of them tried at each\n");
    for (unsigned n = 0; n <= SUBSETS_OF_MAX; n++)
        printf("    %u: %" PRIu64 ", all %u\n", n, totals->by_unsynced[n], 1u << n);
    printf("    more: %" PRIu64 ", all, none, a prefix, one at random, one at random and torn\n",
           totals->by_unsynced[SUBSETS_OF_MAX + 1]);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", totals->passed, totals->failed);
}

int main(int argc, char **argv)
{
    struct config config = {
        .n_ops = 300, .only_mode = -1, .scripts = SCRIPT_OF_NOW | SCRIPT_OF_PAST | SCRIPT_OF_HISTORY};
    struct totals totals = {0};
    if (!parse_options(&config, argc, argv)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    if (config.only_cut && (config.scripts & SCRIPT_OF_NOW)) /* as failures print it */
        config.scripts = SCRIPT_OF_NOW;
    (void)signal(SIGABRT, on_crash);
    (void)signal(SIGSEGV, on_crash);
    time_t started = time(NULL);
    if (config.bites) {
        show_bites(&config, &totals);
    } else if (config.seed) {
        config.stride = config.stride ? config.stride : 1;
        random_workload(&config, config.seed, &totals);
    } else {
        if (!config.no_script)
            scripted_workload(&config, config.stride ? config.stride : config.quick ? 13 : 1, &totals);
        for (uint64_t seed = 1; seed <= config.n_seeds; seed++)
            random_workload(&config, seed, &totals);
    }
    print_totals(&totals, started);
    return totals.failed ? 1 : 0;
}

/*
 * faults.c - each I/O call of the scripted workload fails, once, or it and all that follow. See README.md.
 *
 * The engine runs beside the model. An operation that fails because of the
 * fault must have changed nothing; all others must give what the model gives,
 * but for what a failed sync may lose in a restart.
 * At the end the live store, what a power loss leaves of it, and what opening
 * it again shows, must agree with the model. The second part fills a disk. */
#include "engine.h"
#include "fault_kinds.h"
#include "rng.h"
#include "simdisk.h"
#include "verify.h"
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

#define SEGMENT_SIZE (UINT64_C(64) << 10)
#define FAILURES_SHOWN 20
#define AFTER_OPS 8 /* that follow when a lasting fault is gone */

static uint64_t n_passed, n_failed;
static uint64_t beside; /* as in struct session */

static void report(const char *label, bool ok, const char *why)
{
    n_passed += ok;
    n_failed += !ok;
    if (!ok && n_failed <= FAILURES_SHOWN)
        printf("FAILED: faults %s\n    %s\n", label, why);
    (void)fflush(stdout);
}

/* ---- a run beside the model --------------------------------------------- */

struct run {
    const struct fault *fault; /* NULL: the disk is full at times */
    struct simdisk *disk;
    struct session s;
    struct model *m;
    struct op *done; /* what changed the store, in order */
    size_t n_done;
    size_t n_synced; /* of them, known to be durable */
    size_t n_refused, n_refused_before;
    int refusal;    /* the last one */
    bool read_only; /* the store said -EROFS */
    bool begun;     /* one of the disk is there, since operation `nth`, counted from 1 */
    bool lifted;    /* a fault that lasts was taken away */
    uint64_t nth;   /* as the fault was begun with */
    char place[64]; /* the file that cannot be read, as a whole or in part */
    bool over;      /* the fault struck in an operation before this one, and is gone */
    uint64_t kinds; /* bit mask of the operations that were refused */
};

static void run_init(struct run *run, size_t max_ops)
{
    *run = (struct run){.disk = simdisk_new(), .m = model_new()};
    run->s = (struct session){.io = simdisk_io(run->disk), .segment_size = SEGMENT_SIZE, .beside = beside};
    run->done = calloc(max_ops + 1, sizeof *run->done);
    if (!run->done)
        abort();
}

static void run_done(struct run *run)
{
    (void)session_close(&run->s);
    simdisk_free(run->disk);
    model_free(run->m);
    free(run->done);
}

static bool waits(const struct run *run)
{
    return is_of_disk(run->fault) ? !run->begun : simdisk_fault_waits(run->disk);
}

/*
 * An error that comes of the medium and not of the operation: the fault's own, of the operation in which it
 * struck. After a flush that failed -EROFS of what would change the store, and -EIO of what asks for a flush.
 */
static bool is_refusal(const struct run *run, enum op_kind kind, int r)
{
    if (!run->fault)
        return r == -ENOSPC;
    if (run->over)
        return may_stay(run->fault) && (r == -EROFS || r == -EIO);
    if (waits(run))
        return false;
    if (!may_fail(run->fault->call, kind, model_has_snapshots(run->m)))
        return false;
    /* what cannot be read counts as bytes that are wrong, but not for want of something else */
    if (kind == OP_REOPEN && r == -EBADMSG && reads(run->fault->call) && is_of_medium(run->fault->error))
        return true;
    /* who asks for a flush that fails gets that, whatever the disk has said */
    if (r == -EIO && may_stay(run->fault) && op_asks_for_flush(kind))
        return true;
    /* the first part of an operation may have failed to flush, and the next have found the store so */
    return r == -run->fault->error || (r == -EROFS && may_stay(run->fault));
}

/* What the model would say, without changing it. */
static int would_be(const struct op *op, unsigned step, const struct model *m)
{
    struct model *copy = model_clone(m);
    int r = op_apply(op, step, copy);
    model_free(copy);
    return r;
}

struct elsewhere {
    struct session *s;
    const struct op *op;
    int *results;
    int r;
};

static void *issue_in_thread(void *arg)
{
    struct elsewhere *e = arg;
    e->r = op_issue(e->s, e->op, e->results);
    return NULL;
}

/*
 * In another thread: a lock that the failed operation before it left held, which its own thread might
 * take once more, stops this one. */
static int issue_elsewhere(struct session *s, const struct op *op, int *results)
{
    struct elsewhere e = {.s = s, .op = op, .results = results};
    struct timespec end;
    pthread_t thread;
    if (pthread_create(&thread, NULL, issue_in_thread, &e) != 0)
        abort();
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 60;
    if (pthread_timedjoin_np(thread, NULL, &end) != 0) {
        printf("FAILED: faults: %s after a fault waits for ever\n%" PRIu64 " passed, %" PRIu64 " failed\n",
               op_names[op->kind], n_passed, n_failed + 1);
        (void)fflush(stdout);
        _exit(1);
    }
    return e.r;
}

static int has_name(void *arg, const struct eng_snapshot *snapshot)
{
    return strcmp(snapshot->name, arg) == 0;
}

/* A snapshot is there, although it was not made durable. */
static bool is_made(const struct run *run, const struct op *op, int got)
{
    char name[sizeof op->path];
    memcpy(name, op->path, sizeof name);
    return op->kind == OP_SNAPSHOT && got != 0 && got != -EEXIST &&
           eng_snapshot_list(run->s.eng, has_name, name) == 1;
}

static void note_refusal(struct run *run, const struct op *op, int got)
{
    run->n_refused++;
    run->kinds |= KIND(op->kind);
    run->refusal = got;
    run->read_only = run->read_only || got == -EROFS;
}

static bool issue(struct run *run, const struct op *op, char *why)
{
    int results[PUT_MANY_MAX] = {0};
    bool after_fault = run->n_refused > run->n_refused_before;
    run->over = run->fault && !waits(run) && (!run->fault->lasts || run->lifted);
    run->n_refused_before = run->n_refused;
    int r = after_fault ? issue_elsewhere(&run->s, op, results) : op_issue(&run->s, op, results);
    struct op *done = &run->done[run->n_done];
    *done = *op;
    bool changed = false;
    for (unsigned k = 0; k < op_steps(op); k++) {
        int got = r < 0 ? r : results[k];
        int expect = got == 0 ? op_apply(op, k, run->m) : would_be(op, k, run->m);
        if (got == expect) {
            changed = true;
        } else if (is_refusal(run, op->kind, got)) {
            if (is_made(run, op, got))
                changed = op_apply(op, k, run->m) == 0;
            else
                done->skip |= 1u << k;
            note_refusal(run, op, got);
        } else {
            char text[160];
            op_describe(op, text, sizeof(text));
            return verify_fail(why, "%s: %s, expected %s", text, strerror(-got), strerror(-expect));
        }
    }
    if (changed)
        run->n_done++;
    if (r == 0 && op_is_sync(op))
        run->n_synced = run->n_done;
    return true;
}

static struct workload *done_so_far(const struct run *run)
{
    struct op *ops = calloc(run->n_done + 1, sizeof *ops);
    if (!ops)
        abort();
    memcpy(ops, run->done, run->n_done * sizeof *ops);
    return workload_of(ops, run->n_done, run->n_synced);
}

/* Takes the run back to the state after `step`. */
static void forget_after(struct run *run, const struct workload *w, size_t step)
{
    while (run->n_done > 0 && w->first_step[run->n_done - 1] >= step)
        run->n_done--;
    if (run->n_done > 0) {
        struct op *last = &run->done[run->n_done - 1];
        for (size_t k = step - w->first_step[run->n_done - 1]; k < op_steps(last); k++)
            last->skip |= 1u << k;
    }
    model_free(run->m);
    run->m = workload_model_at(w, step);
}

/*
 * After a sync that failed, a restart may have lost what was not durable: the
 * store must then hold a state between the last good sync and now, and that
 * state is durable from here on (I7, I11). */
static bool accept_loss(struct run *run, char *why)
{
    char reason[MODEL_WHY_MAX];
    struct model *store;
    if (model_load(run->s.eng, &store, reason) < 0)
        return verify_fail(why, "opened after a fault: %s", reason);
    struct workload *w = done_so_far(run);
    uint64_t hash = model_hash(store);
    size_t lo = w->first_step[run->n_synced], k = w->first_step[run->n_done];
    while (k > lo && w->hashes[k] != hash)
        k--;
    bool ok = w->hashes[k] == hash;
    if (ok) {
        forget_after(run, w, k);
        run->n_synced = run->n_done;
    } else {
        (void)model_equal(store, run->m, reason);
        (void)verify_fail(why, "opened after a fault: no state since the last sync; against the last: %s",
                          reason);
    }
    model_free(store);
    workload_free(w);
    return ok;
}

/* One of the files, and of it all or a block: another one each time. */
struct choice {
    struct run *run;
    uint64_t n, wanted, from, to;
};

static void choose(void *arg, const char *name, uint64_t size)
{
    struct choice *c = arg;
    if (c->n++ != c->wanted)
        return;
    (void)snprintf(c->run->place, sizeof(c->run->place), "%s", name);
    c->from = c->run->nth % 3 ? c->run->nth * 7919 % (size / 4096 + 1) * 4096 : 0;
    c->to = c->run->nth % 3 ? c->from + 4096 : UINT64_MAX;
}

static void begin(struct run *run)
{
    struct choice c = {.run = run};
    run->begun = true;
    if (run->fault->call == (enum sim_call)FULL) {
        simdisk_limit(run->disk, simdisk_used(run->disk));
        return;
    }
    c.wanted = UINT64_MAX;
    simdisk_each(run->disk, choose, &c);
    c.wanted = run->nth * 104729 % c.n;
    c.n = 0;
    simdisk_each(run->disk, choose, &c);
    if (simdisk_spoil(run->disk, run->place, c.from, c.to) != 0)
        abort();
}

static void lift(struct run *run)
{
    if (run->fault && run->fault->lasts && !is_of_disk(run->fault))
        simdisk_fail(run->disk, run->fault->call, 0, 0);
    if (run->fault && run->fault->call == (enum sim_call)FULL)
        simdisk_limit(run->disk, 0);
    if (run->place[0])
        (void)simdisk_spoil(run->disk, run->place, 0, 0); /* it may be gone */
    run->lifted = true;
}

/* A store that could not be opened again because of the fault opens without it. */
static bool ensure_open(struct run *run, char *why)
{
    if (run->s.eng)
        return true;
    lift(run);
    char reason[256];
    int r = session_open(&run->s, false, reason);
    if (r < 0)
        return verify_fail(why, "open after a failed reopen: %s: %s", strerror(-r), reason);
    return accept_loss(run, why);
}

static bool run_ops(struct run *run, const struct workload *w, char *why)
{
    char reason[256];
    int r = session_open(&run->s, false, reason);
    if (r < 0 && !is_refusal(run, OP_REOPEN, r))
        return verify_fail(why, "open: %s: %s", strerror(-r), reason);
    for (size_t i = 0; i < w->n_ops; i++) {
        if (run->fault && is_of_disk(run->fault) && i + 1 == run->nth)
            begin(run);
        if (!ensure_open(run, why) || !issue(run, &w->ops[i], why))
            return false;
    }
    return ensure_open(run, why);
}

static bool live_store_agrees(struct run *run, char *why)
{
    char reason[MODEL_WHY_MAX];
    struct model *m;
    if (model_load(run->s.eng, &m, reason) < 0)
        return verify_fail(why, "live store: %s", reason);
    bool equal = model_equal(m, run->m, reason);
    model_free(m);
    return equal || verify_fail(why, "live store against model: %s", reason);
}

/* Verifies what survives of the disk as it is, in all ways. */
static bool survivors_agree(struct run *run, uint64_t seed, char *why)
{
    struct workload *w = done_so_far(run);
    bool ok = true;
    for (int mode = 0; mode < SIM_N_SURVIVALS && ok; mode++) {
        struct verify_want want = {
            .workload = w,
            .lo = w->first_step[mode == SIM_KEEP_ALL ? run->n_done : run->n_synced],
            .hi = w->first_step[run->n_done],
            .segment_size = SEGMENT_SIZE,
            .beside = beside,
            .seed = seed * SIM_N_SURVIVALS + (uint64_t)mode,
        };
        char reason[VERIFY_WHY_MAX];
        struct simdisk *copy = simdisk_clone(run->disk);
        simdisk_power_on(copy, (enum sim_survival)mode, want.seed);
        ok = verify_store(copy, &want, reason);
        simdisk_free(copy);
        if (!ok)
            (void)verify_fail(why, "%s: %.960s", sim_survival_names[mode], reason);
    }
    workload_free(w);
    return ok;
}

/* ---- every call fails once, or from it on -------------------------------- */

/* Issues an operation that must succeed whatever was before it. */
static bool must(struct run *run, const struct op *op, const char *when, char *why)
{
    size_t refused = run->n_refused;
    if (!issue(run, op, why))
        return false;
    return run->n_refused == refused ||
           verify_fail(why, "%s: %s %s: %s", when, op_names[op->kind], op->path, strerror(-run->refusal));
}

/* The fault is gone: whatever it has done, the store is whole, and can be used, at once unless a flush has
 * failed, then after it was opened again. */
static bool is_whole_without(struct run *run, char *why)
{
    static const struct op after[] = {
        {.kind = OP_TICK},
        {.kind = OP_SYNC},
        {.kind = OP_CREATE, .path = "after-the-fault", .mode = S_IFREG | 0644},
        {.kind = OP_WRITE, .path = "after-the-fault", .size = 30000, .seed = 7},
        {.kind = OP_SCRUB},
        {.kind = OP_COMPACT},
        {.kind = OP_SYNC},
        {.kind = OP_REOPEN},
    };
    lift(run);
    if (run->read_only || (may_stay(run->fault) && run->refusal == -EIO)) {
        (void)session_close(&run->s);
        if (!ensure_open(run, why))
            return false;
    }
    for (size_t i = 0; i < sizeof after / sizeof after[0]; i++)
        if (!must(run, &after[i], "the fault is gone", why))
            return false;
    run->read_only = false;
    return live_store_agrees(run, why);
}

static uint64_t kinds_refused; /* of all runs of a fault */

static bool one_fault(const struct workload *w, const struct fault *fault, uint64_t nth, char *why)
{
    struct run run;
    run_init(&run, w->n_ops + AFTER_OPS);
    run.fault = fault;
    run.nth = nth;
    if (fault->lasts && !is_of_disk(fault))
        simdisk_fail_from(run.disk, fault->call, nth, fault->error);
    else if (!fault->lasts)
        simdisk_fail(run.disk, fault->call, nth, fault->error);
    bool ok = run_ops(&run, w, why);
    if (!fault->lasts) /* with an installer the number of calls varies: this is no part of the workload */
        simdisk_fail(run.disk, fault->call, 0, 0);
    kinds_refused |= run.kinds;
    size_t refused = run.n_refused;
    if (ok && fault->lasts)
        ok = is_whole_without(&run, why);
    ok = ok && live_store_agrees(&run, why) && survivors_agree(&run, nth, why);
    if (ok && (fault->error == EINTR || fault->error == SIM_SHORT) && refused)
        ok = verify_fail(why, "%zu operations refused", refused);
    if (ok && !fault->lasts && !may_stay(fault) && fault->error == ENOSPC && refused > PUT_MANY_MAX)
        ok = verify_fail(why, "%zu operations refused because of one full disk that passed", refused);
    /* A sync that failed may not be forgotten by the next (I11): either it is rewritten or the store says
     * no. */
    int r = ok ? session_close(&run.s) : 0;
    if (ok && r == 0 && !run.read_only) {
        run.n_synced = run.n_done;
        ok = survivors_agree(&run, nth, why);
    }
    run_done(&run);
    return ok;
}

static void print_kinds(void)
{
    for (unsigned k = 0; k < OP_N_KINDS; k++)
        if (kinds_refused >> k & 1)
            printf(" %s", op_names[k]);
    printf("\n");
}

static void all_faults(const struct workload *w, const char *workload, const struct fault *fault,
                       uint64_t stride)
{
    struct run run;
    char why[VERIFY_WHY_MAX], label[64];
    run_init(&run, w->n_ops);
    bool ok = run_ops(&run, w, why);
    uint64_t calls = w->n_ops;
    if (!is_of_disk(fault))
        calls = fault->call == SIM_ANY_CALL ? simdisk_calls(run.disk, false)
                                            : simdisk_calls_of(run.disk, fault->call);
    run_done(&run);
    report(ok ? "" : workload, ok, why);
    uint64_t n = 0;
    kinds_refused = 0;
    for (uint64_t nth = 1; nth <= calls && ok; nth += stride, n++) {
        (void)snprintf(label, sizeof(label), "%s --fault %s --nth %" PRIu64, workload, fault->name, nth);
        report(label, one_fault(w, fault, nth, why), why);
    }
    printf("workload%s, %s: %" PRIu64 " calls, %" PRIu64 " of them failed; refused:", workload, fault->name,
           calls, n);
    print_kinds();
}

/* Short counts and interruptions are no faults: nothing may come of them. */
static void awkward_disk(const struct workload *w)
{
    struct run run;
    char why[VERIFY_WHY_MAX];
    run_init(&run, w->n_ops);
    simdisk_short_reads(run.disk, 3);
    simdisk_short_writes(run.disk, 3);
    simdisk_interrupt(run.disk, 5);
    bool ok = run_ops(&run, w, why) && live_store_agrees(&run, why) && survivors_agree(&run, 1, why);
    if (ok && run.n_refused)
        ok = verify_fail(why, "%zu operations refused", run.n_refused);
    run_done(&run);
    report("short counts and EINTR", ok, why);
}

/* ---- a full disk -------------------------------------------------------- */

#define FULL_DISK (UINT64_C(24) << 20)
#define FULL_FILE_SIZE 40000
#define FULL_FILES 2000

static struct op file_op(enum op_kind kind, unsigned i, uint64_t seed)
{
    struct op op = {.kind = kind, .size = FULL_FILE_SIZE, .seed = seed + i, .mode = S_IFREG | 0644};
    (void)snprintf(op.path, sizeof(op.path), "f%u", i);
    return op;
}

/* Creates files until the disk is full; returns how many are there. */
static unsigned fill(struct run *run, uint64_t seed, bool *ok, char *why)
{
    for (unsigned i = 0; i < FULL_FILES && *ok; i++) {
        size_t refused = run->n_refused;
        struct op create = file_op(OP_CREATE, i, seed), write = file_op(OP_WRITE, i, seed);
        *ok = issue(run, &create, why) && issue(run, &write, why);
        if (run->n_refused > refused)
            return i;
    }
    return FULL_FILES;
}

static bool full_disk_run(struct run *run, char *why)
{
    char reason[256];
    int r = session_open(&run->s, false, reason);
    if (r < 0)
        return verify_fail(why, "open: %s", reason);
    simdisk_limit(run->disk, FULL_DISK);
    bool ok = true;
    for (int round = 0; round < 3 && ok; round++) {
        unsigned n = fill(run, (uint64_t)round * 10000, &ok, why);
        if (ok && (n < FULL_DISK / FULL_FILE_SIZE / 2 || n == FULL_FILES))
            ok = verify_fail(why, "round %d: disk of %" PRIu64 " bytes holds %u files", round, FULL_DISK, n);
        ok = ok && live_store_agrees(run, why);
        struct op sync = {.kind = OP_SYNC}, reopen = {.kind = OP_REOPEN}, compact = {.kind = OP_COMPACT};
        struct op tick = {.kind = OP_TICK}; /* what the worker does: takes back the reserve */
        ok = ok && must(run, &sync, "full", why) && must(run, &reopen, "full", why);
        ok = ok && live_store_agrees(run, why);
        for (unsigned i = 0; i < n && ok; i++) {
            struct op unlink = file_op(OP_UNLINK, i, 0);
            ok = i % 10 == 9 || must(run, &unlink, "full", why);
        }
        ok = ok && must(run, &sync, "after unlinks", why) && must(run, &compact, "after unlinks", why);
        for (unsigned i = 0; i < n && ok; i++) {
            struct op unlink = file_op(OP_UNLINK, i, 0);
            ok = i % 10 != 9 || must(run, &unlink, "after compaction", why);
        }
        struct op last = {.kind = OP_UNLINK}; /* the file whose write was refused */
        (void)snprintf(last.path, sizeof(last.path), "f%u", n);
        ok = ok && issue(run, &last, why) && must(run, &compact, "empty", why) &&
             must(run, &tick, "empty", why);
    }
    return ok && live_store_agrees(run, why) && survivors_agree(run, 3, why);
}

static void full_disk(void)
{
    struct run run;
    char why[VERIFY_WHY_MAX];
    run_init(&run, 3 * FULL_FILES * 4);
    bool ok = full_disk_run(&run, why);
    run_done(&run);
    report("full disk", ok, why);
}

/* ---- main --------------------------------------------------------------- */

static const char usage[] =
    "faults [OPTIONS]: each I/O call of the scripted workload fails, once or from it on\n"
    "  --quick        only a sample of the calls\n"
    "  --stride N     every Nth call only\n"
    "  --seeds N      besides, N random workloads, a sample of the calls of each\n"
    "  --past         only the script with snapshots\n"
    "  --history      only the script with a history\n"
    "  --seed S       only the random workload of seed S\n"
    "  --ops N        operations of a random workload (300)\n"
    "  --beside S     with an installer beside each compaction, taking turns with it by seed S\n"
    "  --fault NAME   only that kind of fault\n"
    "  --nth N        only that call\n";

struct config {
    uint64_t stride, nth, seeds, seed, ops;
    bool dense, past, history; /* dense: as struct fault has it */
    const char *fault;
};

static bool parse_options(struct config *config, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--quick") == 0) {
            config->stride = 11;
            continue;
        }
        if (strcmp(argv[i], "--past") == 0 || strcmp(argv[i], "--history") == 0) {
            config->past = true;
            config->history = argv[i][2] == 'h';
            continue;
        }
        if (value && strcmp(argv[i], "--stride") == 0)
            config->stride = strtoull(value, NULL, 0);
        else if (value && strcmp(argv[i], "--seeds") == 0)
            config->seeds = strtoull(value, NULL, 0);
        else if (value && strcmp(argv[i], "--seed") == 0)
            config->seed = strtoull(value, NULL, 0);
        else if (value && strcmp(argv[i], "--ops") == 0)
            config->ops = strtoull(value, NULL, 0);
        else if (value && strcmp(argv[i], "--nth") == 0)
            config->nth = strtoull(value, NULL, 0);
        else if (value && strcmp(argv[i], "--beside") == 0)
            beside = strtoull(value, NULL, 0);
        else if (value && strcmp(argv[i], "--fault") == 0)
            config->fault = value;
        else
            return false;
        i++;
    }
    return config->stride > 0;
}

/* Those that take a sample of the calls anyway take no smaller one. */
static uint64_t sparse_of(const struct config *config, const struct fault *fault, uint64_t stride)
{
    uint64_t sparse = config->dense && fault->sparse > 3 ? 3 : fault->sparse;
    return stride > sparse ? stride : sparse;
}

static void one_workload(const struct config *config, const struct workload *w, const char *label,
                         uint64_t stride)
{
    for (size_t i = 0; i < N_FAULTS; i++) {
        char why[VERIFY_WHY_MAX];
        if (config->fault && strcmp(config->fault, faults[i].name) != 0)
            continue;
        if (config->nth)
            report(label, one_fault(w, &faults[i], config->nth, why), why);
        else
            all_faults(w, label, &faults[i], sparse_of(config, &faults[i], stride));
    }
}

static void random_workload(const struct config *config, uint64_t seed, uint64_t stride)
{
    char label[64];
    (void)snprintf(label, sizeof(label), " --seed %" PRIu64 " --ops %" PRIu64, seed, config->ops);
    struct workload *w = workload_random(seed, config->ops);
    one_workload(config, w, label, stride);
    workload_free(w);
}

/* With snapshots, and with a history. Of that the present is compared, and what snapshots show. */
static void past_workload(const struct config *config)
{
    struct workload *w = config->history ? workload_history() : workload_past();
    const char *label = config->history ? " --history" : " --past";
    one_workload(config, w, label, config->dense || config->past ? config->stride : config->stride * 3);
    workload_free(w);
}

int main(int argc, char **argv)
{
    verify_copies_may_lack = true;
    struct config config = {.stride = 1, .ops = 300};
    if (!parse_options(&config, argc, argv)) {
        (void)fputs(usage, stderr);
        return 2;
    }
    const char *mode = getenv("ENGRAM_TEST_MODE");
    config.dense = mode && strcmp(mode, "full") == 0;
    time_t started = time(NULL);
    if (config.seed) {
        random_workload(&config, config.seed, config.stride);
    } else if (config.past) {
        past_workload(&config);
    } else {
        struct workload *w = workload_scripted();
        if (!beside) {
            one_workload(&config, w, "", config.stride);
            if (!config.nth)
                past_workload(&config);
            config.history = true;
            if (!config.nth)
                past_workload(&config);
            if (!config.fault)
                full_disk();
        }
        if (beside || !config.nth) {
            char label[48];
            if (!beside && config.stride == 1 && !config.dense)
                config.stride = 3; /* most of it is the same without an installer */
            beside = beside ? beside : 1;
            (void)snprintf(label, sizeof(label), " --beside %" PRIu64, beside);
            one_workload(&config, w, label, config.stride);
            if (!config.fault)
                awkward_disk(w);
        }
        workload_free(w);
        for (uint64_t seed = 1; seed <= config.seeds; seed++)
            random_workload(&config, seed, config.stride * 17);
    }
    printf("%ld s\n%" PRIu64 " passed, %" PRIu64 " failed\n", (long)(time(NULL) - started), n_passed,
           n_failed);
    return n_failed ? 1 : 0;
}

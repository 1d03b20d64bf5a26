/*
 * verify.c - what must hold of a store after a crash. */
#include "verify.h"

#include "admin.h"
#include "history_check.h"
#include "owners.h"
#include "rng.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool verify_fail(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, VERIFY_WHY_MAX, format, args);
    va_end(args);
    return false;
}

static struct session session_on(struct simdisk *disk, const struct verify_want *want)
{
    return (struct session){
        .io = simdisk_io(disk), .segment_size = want->segment_size, .beside = want->beside};
}

static bool open_store(struct session *s, bool read_only, const char *when, char *why)
{
    char reason[256];
    int r = session_open(s, read_only, reason);
    return r == 0 || verify_fail(why, "%s: open: %s: %s", when, strerror(-r), reason);
}

static bool close_store(struct session *s, const char *when, char *why)
{
    int r = session_close(s);
    return r == 0 || verify_fail(why, "%s: close: %s", when, strerror(-r));
}

#define READ_ONLY "read-only"

/* ---- the state ---------------------------------------------------------- */

/* A header that a power loss took, before a batch: opening for writing mends it, from that batch. And the end
 * of one copy of a checkpoint: opening for writing writes it as the other has it. */
static bool is_mended_later(const char *line)
{
    return strstr(line, "header is damaged") || strstr(line, "this checkpoint cannot be used") ||
           strstr(line, "end of a copy of a checkpoint");
}

struct problems {
    bool read_only;
    uint64_t n;
    char first[256];
};

bool verify_copies_may_lack;

static void record_problem(void *arg, const char *line)
{
    struct problems *p = arg;
    if (p->read_only && is_mended_later(line))
        return;
    if (verify_copies_may_lack && strstr(line, "it is missing; mended from its copy"))
        return;
    if (!p->n++)
        (void)snprintf(p->first, sizeof p->first, "%s", line);
}

/* Everything the engine holds, after it was checked. NULL on failure. */
static struct model *load(struct session *s, const char *when, char *why)
{
    char reason[MODEL_WHY_MAX];
    struct problems problems = {.read_only = strcmp(when, READ_ONLY) == 0};
    const struct eng_job_options options = {.on_problem = record_problem, .problem_arg = &problems};
    if (!owners_agree(s->eng, reason)) {
        (void)verify_fail(why, "%s: %s", when, reason);
        return NULL;
    }
    int r = eng_job_run(s->eng, ENG_JOB_CHECK, &options, NULL);
    if (r < 0 || problems.n) {
        (void)verify_fail(why, "%s: check: %s, %" PRIu64 " problems: %s", when, strerror(-r), problems.n,
                          problems.first);
        return NULL;
    }
    struct model *m;
    r = model_load(s->eng, &m, reason);
    if (r < 0) {
        (void)verify_fail(why, "%s: %s", when, reason);
        return NULL;
    }
    return m;
}

static bool explain_state(const struct model *m, const struct verify_want *want, const char *when, char *why)
{
    const struct workload *w = want->workload;
    size_t n_steps = w->first_step[w->n_ops];
    uint64_t hash = model_hash(m);
    for (size_t k = 0; k <= n_steps; k++) {
        if (w->hashes[k] == hash)
            return verify_fail(why, "%s: holds step %zu, must be %zu..%zu", when, k, want->lo, want->hi);
    }
    char low[MODEL_WHY_MAX] = "", high[MODEL_WHY_MAX] = "";
    struct model *lo = workload_model_at(w, want->lo), *hi = workload_model_at(w, want->hi);
    (void)model_equal(m, lo, low);
    (void)model_equal(m, hi, high);
    model_free(lo);
    model_free(hi);
    return verify_fail(
        why, "%s: holds no state of the workload; store against step %zu: %.300s; against step %zu: %.300s",
        when, want->lo, low, want->hi, high);
}

static bool state_within(struct session *s, const struct model *m, const struct verify_want *want,
                         const char *when, char *why)
{
    uint64_t hash = model_hash(m);
    bool found = false;
    for (size_t k = want->hi + 1; k-- > want->lo;) { /* several may be alike, but for their past */
        if (want->workload->hashes[k] != hash)
            continue;
        if (history_agrees(s->eng, want->workload, k, want->seed, when, why))
            return true;
        found = true;
    }
    return found ? false : explain_state(m, want, when, why);
}

/* Whether the open store holds exactly `expect`. */
static bool holds(struct session *s, const struct model *expect, const char *when, char *why)
{
    struct model *m = load(s, when, why);
    if (!m)
        return false;
    char reason[MODEL_WHY_MAX];
    bool equal = model_equal(m, expect, reason);
    model_free(m);
    return equal || verify_fail(why, "%s: store against what it must hold: %s", when, reason);
}

/* Whether the store that a power loss leaves of `disk` holds exactly `expect`. */
static bool survives(struct simdisk *disk, const struct verify_want *want, enum sim_survival mode,
                     const struct model *expect, const char *when, char *why)
{
    struct simdisk *copy = simdisk_clone(disk);
    simdisk_power_on(copy, mode, want->seed + 1);
    struct session s = session_on(copy, want);
    bool ok = open_store(&s, false, when, why) && holds(&s, expect, when, why);
    int r = session_close(&s);
    if (ok && r < 0)
        ok = verify_fail(why, "%s: close: %s", when, strerror(-r));
    simdisk_free(copy);
    return ok;
}

/* ---- steps -------------------------------------------------------------- */

static bool verify_read_only(struct simdisk *disk, const struct verify_want *want, char *why)
{
    static const char when[] = READ_ONLY;
    struct simdisk *copy = simdisk_clone(disk);
    struct session s = session_on(copy, want);
    /* A store whose creation was cut short cannot be opened without writing. */
    bool ok = want->lo == 0 || open_store(&s, true, when, why);
    struct model *m = ok && s.eng ? load(&s, when, why) : NULL;
    if (s.eng)
        ok = m && state_within(&s, m, want, when, why);
    model_free(m);
    int r = session_close(&s);
    if (ok && r < 0)
        ok = verify_fail(why, "%s: close: %s", when, strerror(-r));
    if (ok && simdisk_calls(copy, false) > 0)
        ok =
            verify_fail(why, "%s: %" PRIu64 " calls that change the store", when, simdisk_calls(copy, false));
    simdisk_free(copy);
    return ok;
}

/* Who asks for figures frees some; one with a long past takes several of them. */
static bool no_orphans(struct session *s, char *why)
{
    struct eng_stats stats = {.orphans = 1};
    int r = 0;
    for (unsigned i = 0; i < 8 && stats.orphans && !r; i++)
        r = eng_stats(s->eng, &stats);
    if (r < 0)
        return verify_fail(why, "stats: %s", strerror(-r));
    return stats.orphans == 0 || verify_fail(why, "after open: %" PRIu64 " orphans", stats.orphans);
}

/* Does some work in the store and in the model. */
static bool work(struct session *s, struct model *m, char *why)
{
    struct op ops[] = {
        {.kind = OP_CREATE, .path = "after", .mode = S_IFREG | 0640},
        {.kind = OP_WRITE, .path = "after", .size = 5000, .seed = 77},
        {.kind = OP_SETXATTR, .path = "after", .other = "user.engram.embedding", .size = 3072, .seed = 78},
        {.kind = OP_SYNC},
    };
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        int results[PUT_MANY_MAX];
        int r = op_issue(s, &ops[i], results);
        if (r < 0)
            return verify_fail(why, "work goes on: %s: %s", op_names[ops[i].kind], strerror(-r));
    }
    uint8_t bytes[5000];
    rng_fill(bytes, 5000, 77);
    (void)model_create(m, "after", S_IFREG | 0640, NULL);
    (void)model_write(m, "after", bytes, 5000, 0);
    rng_fill(bytes, 3072, 78);
    (void)model_setxattr(m, "after", "user.engram.embedding", bytes, 3072, 0);
    return true;
}

static bool compact(struct session *s, char *why)
{
    struct eng_job_report report = {0};
    int r = eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, &report);
    if (r < 0)
        return verify_fail(why, "compaction: %s: %s", strerror(-r), report.error_text);
    return report.compact.fragmentation_after <= 0.01 ||
           verify_fail(why, "compaction: fragmentation after it is %f", report.compact.fragmentation_after);
}

static bool verify_open(struct session *s, struct simdisk *disk, const struct verify_want *want,
                        struct model *m, char *why)
{
    if (!state_within(s, m, want, "after open", why) || !no_orphans(s, why))
        return false;
    if (!survives(disk, want, SIM_DROP_ALL, m, "power lost right after open", why))
        return false;
    enum sim_survival mode = (enum sim_survival)(want->seed % SIM_N_SURVIVALS);
    if (!work(s, m, why) || !survives(disk, want, mode, m, "power lost after more work", why))
        return false;
    if (want->seed % 4 == 0 && (!compact(s, why) || !holds(s, m, "after compaction", why)))
        return false;
    if (!close_store(s, "after more work", why))
        return false;
    if (!survives(disk, want, SIM_DROP_ALL, m, "power lost after close", why))
        return false;
    return true;
}

bool verify_store(struct simdisk *disk, const struct verify_want *want, char why[VERIFY_WHY_MAX])
{
    if (want->seed % 8 == 1 && !verify_read_only(disk, want, why))
        return false;
    struct session s = session_on(disk, want);
    if (!open_store(&s, false, "after the crash", why))
        return false;
    struct model *m = load(&s, "after open", why);
    bool ok = m && verify_open(&s, disk, want, m, why);
    model_free(m);
    (void)session_close(&s); /* open still only after a failure */
    return ok;
}

bool verify_recovery_cut(struct simdisk *disk, const struct verify_want *want, uint64_t nth,
                         bool *ret_was_cut, char why[VERIFY_WHY_MAX])
{
    char reason[256];
    struct simdisk *copy = simdisk_clone(disk);
    struct session s = session_on(copy, want);
    simdisk_cut_at(copy, nth, false);
    int r = session_open(&s, false, reason);
    bool cut = simdisk_is_off(copy), ok = true;
    (void)session_close(&s); /* after the cut it has no power, without a cut others test it */
    if (r < 0 && !cut)
        ok = verify_fail(why, "recovery failed before the cut: %s: %s", strerror(-r), reason);
    if (cut) {
        simdisk_power_on(copy, (enum sim_survival)(1 + nth % (SIM_N_SURVIVALS - 1)), want->seed + nth);
        ok = verify_store(copy, want, why);
    }
    *ret_was_cut = cut;
    simdisk_free(copy);
    return ok;
}

/*
 * life.c - see life.h.
 */
#include "life.h"

#include "clock.h"
#include "model.h"
#include "verify.h"

#include <stdio.h>
#include <string.h>

/* Whether the operation gave what the model gives. */
static bool as_expected(const struct workload *w, size_t i, int r, const int *results, char *why)
{
    size_t first = w->first_step[i], n = w->first_step[i + 1] - first;
    for (size_t k = 0; k < n; k++) {
        int got = r < 0 ? r : results[k], expect = w->step_results[first + k];
        if (got != expect) {
            char text[160];
            op_describe(&w->ops[i], text, sizeof(text));
            (void)snprintf(why, VERIFY_WHY_MAX, "operation %zu (%s), part %zu: %s, expected %s", i, text, k,
                           strerror(-got), strerror(-expect));
            return false;
        }
    }
    return true;
}

static size_t acknowledged_parts(const int *results, size_t n)
{
    size_t k = 0;
    while (k < n && results[k] == 0)
        k++;
    return k;
}

/* Whether the live store holds what the model holds after the operation. */
static bool live_agrees(const struct workload *w, size_t i, struct session *s, char *why)
{
    char text[160], reason[MODEL_WHY_MAX];
    struct model *store, *expect;
    op_describe(&w->ops[i], text, sizeof(text));
    if (model_load(s->eng, &store, reason) < 0) {
        (void)snprintf(why, VERIFY_WHY_MAX, "after operation %zu (%s): %s", i, text, reason);
        return false;
    }
    expect = workload_model_at(w, w->first_step[i + 1]);
    bool equal = model_equal(store, expect, reason);
    if (!equal)
        (void)snprintf(why, VERIFY_WHY_MAX, "after operation %zu (%s): store against model: %s", i, text,
                       reason);
    model_free(store);
    model_free(expect);
    return equal;
}

bool life_issue(const struct workload *w, size_t from, struct session *s, struct simdisk *disk, bool live,
                struct life *life, char *why)
{
    bool ok = true;
    for (size_t i = from; i < w->n_ops && ok && !simdisk_is_off(disk); i++) {
        int results[PUT_MANY_MAX] = {0};
        size_t first = w->first_step[i], next = w->first_step[i + 1];
        life->op = i;
        life->issued = next;
        sim_clock.now = workload_time(w, i);
        int r = op_issue(s, &w->ops[i], results);
        bool off = simdisk_is_off(disk);
        if (off && r < 0) {
            life->acked = first;
        } else if (off) {
            life->acked = first + acknowledged_parts(results, next - first);
        } else {
            ok = as_expected(w, i, r, results, why) && (!live || live_agrees(w, i, s, why));
            life->acked = next;
        }
        if (r == 0 && op_is_sync(&w->ops[i]))
            life->synced = life->acked;
    }
    return ok;
}

bool life_whole(const struct workload *w, uint64_t beside, uint64_t segment_size, struct simdisk *disk,
                bool live, struct life *life, char *why)
{
    struct session s = {.io = simdisk_io(disk), .segment_size = segment_size, .beside = beside};
    *life = (struct life){0};
    char reason[256];
    sim_clock = (struct sim_clock){w->history_keeps > 0, CLOCK_BEGIN};
    int r = session_open(&s, false, reason);
    if (r < 0 && !simdisk_is_off(disk))
        return verify_fail(why, "a new store: %s: %s", strerror(-r), reason);
    bool ok = life_issue(w, 0, &s, disk, live, life, why);
    r = session_close(&s);
    if (ok && r < 0 && !simdisk_is_off(disk))
        ok = verify_fail(why, "close: %s", strerror(-r));
    if (ok && r == 0 && !simdisk_is_off(disk))
        life->synced = life->acked;
    return ok;
}

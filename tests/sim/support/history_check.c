/*
 * history_check.c - see history_check.h. */
#include "history_check.h"

#include "clock.h"
#include "engine.h"
#include "rng.h"
#include "verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOOKS 8u
#define SLACK (4 * CLOCK_SECOND) /* ages are seconds, and an opening may lose some */

/* What the store shows at the time of operation i, of which `step` is the last step that happened. */
static bool agrees_at(struct eng *eng, const struct workload *w, size_t i, size_t step, const char *when,
                      char *why)
{
    char reason[MODEL_WHY_MAX];
    int64_t time = workload_time(w, i);
    uint64_t batch;
    struct model *m;
    int r = eng_past_at(eng, time, &batch);
    bool must = i > w->history_from + 1 && time >= sim_clock.now - w->history_keeps + SLACK;
    if (r == -ENOENT && !must)
        return true;
    if (!r)
        r = model_load_batch(eng, batch, &m, reason);
    else
        (void)snprintf(reason, sizeof reason, "it is not found");
    if (r)
        return verify_fail(why, "%s: at operation %zu: %.300s (%s)", when, i, reason, strerror(-r));
    bool equal = model_hash(m) == w->trees[step];
    if (!equal) {
        struct model *want = workload_model_at(w, step);
        model_forget_snapshots(want);
        (void)model_equal(m, want, reason);
        model_free(want);
    }
    model_free(m);
    return equal || verify_fail(why, "%s: at operation %zu, batch %" PRIu64 ": view against model: %.400s",
                                when, i, batch, reason);
}

bool history_agrees(struct eng *eng, const struct workload *w, size_t step, uint64_t seed, const char *when,
                    char *why)
{
    size_t n = 0;
    while (n < w->n_ops && w->first_step[n + 1] <= step)
        n++;
    if (!w->history_keeps || n <= w->history_from + 1)
        return true;
    uint64_t rng = seed, range = n - w->history_from - 1;
    for (unsigned k = 0; k < LOOKS; k++) {
        /* Each other one among the latest. */
        uint64_t back = rng_below(&rng, k % 2 && range > 10 ? 10 : range);
        size_t i = n - 1 - (size_t)back;
        if (!agrees_at(eng, w, i, w->first_step[i + 1], when, why))
            return false;
    }
    return true;
}

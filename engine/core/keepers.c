/*
 * keepers.c - see keepers.h. */
#include "core/keepers.h"

#include "core/eng.h"

struct keepers {
    const struct keeper *list[KEEPERS_MAX]; /* by kind. Immutable once the store is open. */
    size_t n;
    _Atomic unsigned holds; /* eng_hold() without eng_release() */
};

/* ---- the keepers of each store ------------------------------------------------------ */

static bool live_needs(struct eng *eng, const struct seg_rec *seg)
{
    (void)eng;
    return seg->live > 0 && !MUTANT(RETIRE_LIVE);
}

static bool active_needs(struct eng *eng, const struct seg_rec *seg)
{
    return atomic_load_explicit(&eng->log.active_id, memory_order_acquire) == seg->id;
}

static bool durable_needs(struct eng *eng, const struct seg_rec *seg)
{
    return seg->death_seq > log_durable(&eng->log) && !MUTANT(RETIRE_UNSYNCED);
}

static bool mark_needs(struct eng *eng, const struct seg_rec *seg)
{
    if (MUTANT(RETIRE_UNSYNCED))
        return false;
    return seg->death_seq > log_marked(&eng->log) && !MUTANT(RETIRE_UNMARKED);
}

/* That in which the log goes on behind the newest says that it does: one that is missing is damage. */
static bool checkpoints_need(struct eng *eng, const struct seg_rec *seg)
{
    if (seg->id == atomic_load_explicit(&eng->marks.newest_in, memory_order_relaxed) &&
        !MUTANT(RETIRE_BEGINNING))
        return true;
    return seg->last_seq > atomic_load_explicit(&eng->marks.newest_seq, memory_order_acquire) &&
           !MUTANT(RETIRE_YOUNG);
}

static bool holds_need_all(struct eng *eng)
{
    return keepers_holds(eng) > 0 && !MUTANT(NO_HOLD);
}

static bool pins_need(struct eng *eng, const struct seg_rec *seg)
{
    return segments_pins_of(&eng->segments, seg->id) > 0 && !MUTANT(NO_PIN);
}

static const struct keeper each_store[] = {
    {KEEPER_LIVE, "live", NULL, NULL, live_needs, NULL},
    {KEEPER_ACTIVE, "active", NULL, NULL, active_needs, NULL},
    {KEEPER_DURABLE, "waiting_sync", "emptied, not durable", "the next commit (commit_ms) or sync",
     durable_needs, NULL},
    {KEEPER_CHECKPOINTS, "waiting_checkpoint", "emptied, in recovery",
     "the next checkpoint; compact writes it at once", checkpoints_need, NULL},
    {KEEPER_HOLDS, "held", "emptied, held", "release, once for each hold", NULL, holds_need_all},
    {KEEPER_MARK, "mark", NULL, NULL, mark_needs, NULL},
    {KEEPER_PINS, "pinned", "emptied, being read", "the end of the reads that are under way", pins_need,
     NULL},
};
static_assert(ARRAY_LEN(each_store) <= KEEPERS_MAX, "each has a place in the list");

/* ---- the list -------------------------------------------------------------------------- */

int keepers_new(struct eng *eng)
{
    eng->keepers = calloc(1, sizeof *eng->keepers);
    if (!eng->keepers)
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_LEN(each_store); i++)
        (void)keepers_add(eng, &each_store[i]);
    return 0;
}

void keepers_free(struct eng *eng)
{
    free(eng->keepers);
    eng->keepers = NULL;
}

int keepers_add(struct eng *eng, const struct keeper *keeper)
{
    struct keepers *keepers = eng->keepers;
    size_t i = keepers->n;
    if (i == KEEPERS_MAX)
        return -ENOSPC;
    for (; i > 0 && keepers->list[i - 1]->kind > keeper->kind; i--)
        keepers->list[i] = keepers->list[i - 1];
    keepers->list[i] = keeper;
    keepers->n++;
    return 0;
}

const struct keeper *keepers_at(const struct eng *eng, size_t i)
{
    if (eng)
        return i < eng->keepers->n ? eng->keepers->list[i] : NULL;
    return i < ARRAY_LEN(each_store) ? &each_store[i] : NULL;
}

/* ---- asking ---------------------------------------------------------------------------- */

static bool keeps(const struct keeper *keeper, struct eng *eng, const struct seg_rec *seg)
{
    return (keeper->needs && keeper->needs(eng, seg)) || (keeper->needs_all && keeper->needs_all(eng));
}

const struct keeper *keepers_find(struct eng *eng, const struct seg_rec *seg)
{
    const struct keepers *keepers = eng->keepers;
    for (size_t i = 0; i < keepers->n; i++) {
        if (keeps(keepers->list[i], eng, seg))
            return keepers->list[i];
    }
    return NULL;
}

bool keepers_need(struct eng *eng, enum keeper_kind kind, const struct seg_rec *seg)
{
    const struct keepers *keepers = eng->keepers;
    bool needed = false;
    for (size_t i = 0; i < keepers->n && !needed; i++)
        needed = keepers->list[i]->kind == kind && keeps(keepers->list[i], eng, seg);
    return needed;
}

const struct keeper *keepers_find_all(struct eng *eng)
{
    const struct keepers *keepers = eng->keepers;
    for (size_t i = 0; i < keepers->n; i++) {
        if (keepers->list[i]->needs_all && keepers->list[i]->needs_all(eng))
            return keepers->list[i];
    }
    return NULL;
}

/* ---- holds ------------------------------------------------------------------------------ */

void keepers_hold(struct eng *eng)
{
    atomic_fetch_add_explicit(&eng->keepers->holds, 1, memory_order_acq_rel);
}

int keepers_release(struct eng *eng)
{
    unsigned holds = keepers_holds(eng);
    do {
        if (!holds)
            return -EINVAL;
    } while (!atomic_compare_exchange_weak_explicit(&eng->keepers->holds, &holds, holds - 1,
                                                    memory_order_acq_rel, memory_order_acquire));
    return 0;
}

unsigned keepers_holds(const struct eng *eng)
{
    return atomic_load_explicit(&eng->keepers->holds, memory_order_acquire);
}

/*
 * choose.c - which segments a compaction empties, what that will move, and whether there is room to
 * begin. Changes nothing, but that the reserve is opened up where that gives the room.
 *
 * Locks: log.lock, a slice of the segments at a time. */
#include "upkeep/choose.h"

#include "commit/refs.h"
#include "core/damage.h"
#include "core/keepers.h"
#include "core/look.h"
#include "core/reserve.h"
#include "core/totals.h"

/* Whether the index still names the damaged range, which therefore keeps its segment. */
static bool is_kept_locked(const struct index *idx, const struct damage *d)
{
    const struct extent_ref ref = {.ino = d->ino, .off = d->off, .from = d->loc};
    return extent_ref_current_locked(idx, &ref);
}

/* How many live bytes of each segment cannot be moved, since they are damaged. -ENOMEM. */
static int sum_damage(struct eng *eng, const struct damage *damage, size_t n, struct idmap *ret_stuck)
{
    int r = 0;
    for (size_t i = 0; i < n && !r;) {
        pthread_mutex_lock(&eng->log.lock);
        for (unsigned k = 0; k < LOOK_SLICE && i < n && !r; k++, i++) {
            uint32_t seg = damage[i].loc.seg;
            if (!is_kept_locked(&eng->idx, &damage[i]))
                continue;
            r = idmap_reserve(ret_stuck, 1);
            if (!r)
                idmap_set(ret_stuck, seg, idmap_get(ret_stuck, seg) + damage[i].loc.len);
        }
        pthread_mutex_unlock(&eng->log.lock);
    }
    return r;
}

/* What a compaction of the segment wins; nothing of an emptied one. */
static uint64_t garbage_locked(struct eng *eng, const struct seg_rec *seg)
{
    uint64_t dead = totals_payload_locked(eng, seg) - seg->live;
    return seg->live ? dead + totals_spent_once_aged_locked(eng, seg) : 0;
}

static bool is_candidate(struct eng *eng, const struct seg_rec *seg, const struct idmap *stuck,
                         const struct choice *choice)
{
    return garbage_locked(eng, seg) && !keepers_need(eng, KEEPER_ACTIVE, seg) &&
           (choice->damaged || MUTANT(DAMAGE_CHOSEN) || seg->live > idmap_get(stuck, seg->id)) &&
           !(choice->aged && keepers_need(eng, KEEPER_CHECKPOINTS, seg));
}

/* The candidates so far. */
struct collecting {
    const struct choice *choice;
    const struct idmap *stuck;
    struct candidate *all;
    size_t n, cap;
    uint64_t dead; /* what they hold beside live content */
};

static int collect(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    struct collecting *c = arg;
    if (!is_candidate(eng, seg, c->stuck, c->choice))
        return 0;
    int r = array_grow(&c->all, &c->cap, c->n + 1, sizeof *c->all);
    if (r)
        return r;
    uint64_t garbage = garbage_locked(eng, seg);
    c->all[c->n++] = (struct candidate){seg->id, seg->live + garbage, seg->live,
                                        eng->log.seq - MAX_OF(seg->last_seq, seg->death_seq)};
    c->dead += garbage;
    return 0;
}

int choose_victims(struct eng *eng, const struct choice *choice, struct candidate **ret_victims,
                   size_t *ret_n)
{
    struct idmap stuck = {0};
    CLEANUP_FREE struct damage *damage = NULL;
    struct collecting c = {.choice = choice, .stuck = &stuck};
    size_t n_damage = 0;
    int r = damage_copy(eng, &damage, &n_damage);
    if (!r)
        r = sum_damage(eng, damage, n_damage, &stuck);
    if (!r) /* one at least: no victims are an array, too */
        r = array_grow(&c.all, &c.cap, 1, sizeof *c.all);
    if (!r)
        r = look_at_segments(eng, collect, &c);
    idmap_done(&stuck);
    if (r) {
        free(c.all);
        return r;
    }
    pthread_rwlock_rdlock(&eng->index_lock);
    uint64_t live = eng->idx.s.live;
    pthread_rwlock_unlock(&eng->index_lock);
    c.n = policy_order(c.all, c.n);
    *ret_n = choice->goal ? policy_for_goal(c.all, c.n, choice->goal)
                          : policy_enough(c.all, c.n, live + c.dead, live, choice->leave);
    *ret_victims = c.all;
    return 0;
}

static int add_estimate(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    struct eng_compact_estimate *e = arg;
    uint64_t garbage = seg->live ? garbage_locked(eng, seg) : totals_payload_locked(eng, seg);
    if (!garbage)
        return 0;
    e->segments++;
    e->bytes_to_move += seg->live;
    e->bytes_given_back += garbage;
    return 0;
}

int choose_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate)
{
    struct eng_compact_estimate e = {0};
    (void)look_at_segments(eng, add_estimate, &e);
    *ret_estimate = e;
    return 0;
}

/* The least that is live in a segment with garbage. */
struct least {
    bool aged;
    uint64_t live; /* UINT64_MAX: there is none */
};

static int find_least(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    struct least *least = arg;
    bool any = !seg->live || garbage_locked(eng, seg);
    if (any && !(least->aged && keepers_need(eng, KEEPER_CHECKPOINTS, seg)))
        least->live = MIN_OF(least->live, seg->live);
    return 0;
}

int choose_check_room(struct eng *eng, bool aged)
{
    struct least least = {.aged = aged, .live = UINT64_MAX};
    (void)look_at_segments(eng, find_least, &least);
    if (least.live == UINT64_MAX)
        return aged ? -ENOSPC : 0;
    /* more often than not less than all of the index has changed */
    uint64_t image = aged ? 0 : MIN_OF(reserve_for_checkpoint(eng), eng->log.segment_size);
    return reserve_open_up(eng, least.live + least.live / 4 + image + (64u << 10)) ? 0 : -ENOSPC;
}

bool choose_is_tight(struct eng *eng)
{
    struct io_space space;
    pthread_rwlock_rdlock(&eng->index_lock);
    uint64_t image = chunk_pool_live_bytes(eng->idx.pool);
    pthread_rwlock_unlock(&eng->index_lock);
    if (reserve_was_refused(eng) && !MUTANT(REFUSAL_FORGOTTEN))
        return true;
    return io_space_known(eng->io, &space) && space.avail_bytes < 4 * eng->log.segment_size + image;
}

/*
 * choose.c - which segments a compaction empties, what that will move, and whether there is room to
 * begin. Changes nothing, but that the reserve is opened up where that gives the room.
 *
 * Locks: log.lock, under which the index does not change. */
#include "upkeep/choose.h"

#include "commit/refs.h"
#include "core/damage.h"
#include "core/keepers.h"
#include "core/reserve.h"

/* Whether the index still names the damaged range, which therefore keeps its segment. */
static bool is_kept_locked(const struct index *idx, const struct damage *d)
{
    const struct extent_ref ref = {.ino = d->told.ino, .off = d->off, .from = d->loc};
    return extent_ref_current_locked(idx, &ref);
}

/* How many live bytes of each segment cannot be moved, since they are damaged. Under log.lock. */
static int sum_damage_locked(const struct index *idx, const struct damage *damage, size_t n,
                             struct idmap *ret_stuck)
{
    int r = 0;
    for (size_t i = 0; i < n && !r; i++) {
        uint32_t seg = damage[i].loc.seg;
        if (!is_kept_locked(idx, &damage[i]))
            continue;
        r = idmap_reserve(ret_stuck, 1);
        if (!r)
            idmap_set(ret_stuck, seg, idmap_get(ret_stuck, seg) + damage[i].loc.len);
    }
    return r;
}

static bool is_candidate(struct eng *eng, const struct seg_rec *seg, const struct idmap *stuck,
                         const struct choice *choice)
{
    return seg->id && !keepers_need(eng, KEEPER_ACTIVE, seg) && seg->live && seg->live < seg->total &&
           (choice->damaged || MUTANT(DAMAGE_CHOSEN) || seg->live > idmap_get(stuck, seg->id)) &&
           !(choice->aged && keepers_need(eng, KEEPER_CHECKPOINTS, seg));
}

/* Under log.lock: the candidates; *ret_total: all content, and what the candidates hold beside it. */
static struct candidate *collect_locked(struct eng *eng, const struct idmap *stuck,
                                        const struct choice *choice, size_t *ret_n, uint64_t *ret_total)
{
    struct index *idx = &eng->idx;
    struct candidate *c = calloc(idx->segs.used, sizeof *c);
    uint64_t total = idx->s.live;
    size_t n = 0;
    for (uint32_t i = 1; i < idx->segs.used && c; i++) {
        const struct seg_rec *seg = table_get(&idx->segs, i);
        if (!is_candidate(eng, seg, stuck, choice))
            continue;
        c[n++] = (struct candidate){seg->id, seg->total, seg->live,
                                    eng->log.seq - MAX_OF(seg->last_seq, seg->death_seq)};
        total += seg->total - seg->live;
    }
    *ret_n = n;
    *ret_total = total;
    return c;
}

int choose_victims(struct eng *eng, const struct choice *choice, struct candidate **ret_victims,
                   size_t *ret_n)
{
    struct idmap stuck = {0};
    CLEANUP_FREE struct damage *damage = NULL;
    struct candidate *c = NULL;
    size_t n = 0, n_damage = 0;
    uint64_t total = 0;
    int r = damage_copy(eng, &damage, &n_damage);
    if (r)
        return r;
    pthread_mutex_lock(&eng->log.lock);
    r = sum_damage_locked(&eng->idx, damage, n_damage, &stuck);
    if (!r)
        c = collect_locked(eng, &stuck, choice, &n, &total);
    uint64_t live = eng->idx.s.live;
    pthread_mutex_unlock(&eng->log.lock);
    idmap_done(&stuck);
    if (!c)
        return -ENOMEM;
    n = policy_order(c, n);
    *ret_n =
        choice->goal ? policy_for_goal(c, n, choice->goal) : policy_enough(c, n, total, live, choice->leave);
    *ret_victims = c;
    return 0;
}

int choose_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate)
{
    struct eng_compact_estimate e = {0};
    pthread_mutex_lock(&eng->log.lock);
    for (uint32_t i = 1; i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (!seg->id || seg->live == seg->total)
            continue;
        e.segments++;
        e.bytes_to_move += seg->live;
        e.bytes_given_back += seg->total - seg->live;
    }
    pthread_mutex_unlock(&eng->log.lock);
    *ret_estimate = e;
    return 0;
}

int choose_check_room(struct eng *eng, bool aged)
{
    uint64_t least = UINT64_MAX;
    pthread_mutex_lock(&eng->log.lock);
    for (uint32_t i = 1; i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (seg->id && seg->live < seg->total && !(aged && keepers_need(eng, KEEPER_CHECKPOINTS, seg)))
            least = MIN_OF(least, seg->live);
    }
    pthread_mutex_unlock(&eng->log.lock);
    if (least == UINT64_MAX)
        return aged ? -ENOSPC : 0;
    /* more often than not less than all of the index has changed */
    uint64_t image = aged ? 0 : MIN_OF(reserve_for_checkpoint(eng), eng->log.segment_size);
    return reserve_open_up(eng, least + least / 4 + image + (64u << 10)) ? 0 : -ENOSPC;
}

bool choose_is_tight(struct eng *eng)
{
    struct io_space space;
    pthread_rwlock_rdlock(&eng->index_lock);
    uint64_t image = chunk_pool_live_bytes(eng->idx.pool);
    pthread_rwlock_unlock(&eng->index_lock);
    return io_space_known(eng->io, &space) && space.avail_bytes < 4 * eng->log.segment_size + image;
}

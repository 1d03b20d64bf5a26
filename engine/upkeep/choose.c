/*
 * choose.c - which segments a compaction empties, what that will move, and whether there is room to
 * begin. Changes nothing, but that the reserve is opened up where that gives the room.
 *
 * Locks: log.lock, under which the index does not change. */
#include "upkeep/choose.h"
#include "core/reserve.h"

int choose_victims(struct eng *eng, double leave, struct candidate **ret_victims, size_t *ret_n)
{
    pthread_mutex_lock(&eng->log.lock);
    struct index *idx = &eng->idx;
    struct candidate *c = calloc(idx->segs.used, sizeof *c);
    uint64_t total = idx->s.live; /* and what the victims hold beside it: empty segments only wait to go */
    size_t n = 0;
    for (uint32_t i = 1; i < idx->segs.used && c; i++) {
        const struct seg_rec *seg = table_get(&idx->segs, i);
        bool active = eng->log.active && eng->log.active->id == seg->id;
        if (!seg->id || active || !seg->live || seg->live == seg->total)
            continue;
        c[n++] = (struct candidate){seg->id, seg->total, seg->live,
                                    eng->log.seq - MAX_OF(seg->last_seq, seg->death_seq)};
        total += seg->total - seg->live;
    }
    uint64_t live = idx->s.live;
    pthread_mutex_unlock(&eng->log.lock);
    if (!c)
        return -ENOMEM;
    n = policy_order(c, n);
    *ret_n = policy_enough(c, n, total, live, leave);
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

int choose_check_room(struct eng *eng)
{
    uint64_t least = UINT64_MAX;
    pthread_mutex_lock(&eng->log.lock);
    for (uint32_t i = 1; i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (seg->id && seg->live < seg->total)
            least = MIN_OF(least, seg->live);
    }
    pthread_mutex_unlock(&eng->log.lock);
    if (least == UINT64_MAX)
        return 0;
    return reserve_open_up(eng, least + least / 4 + reserve_for_checkpoint(eng) + (64u << 10)) ? 0 : -ENOSPC;
}

bool choose_is_tight(struct eng *eng)
{
    struct io_space space;
    return eng->io->ops->space(eng->io, &space) == 0 && space.avail_bytes < 4 * eng->log.segment_size;
}

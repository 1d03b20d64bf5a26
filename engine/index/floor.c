/*
 * floor.c - see floor.h. */
#include "index/floor.h"

#include "index/moments.h"
#include "index/times.h"

#include "base/fault.h"
#include "base/util.h"

/* The first record from `i` on that is a moment which goes, before `end`; 0 none. */
static uint32_t first_to_go(const struct index *idx, uint32_t i, uint32_t end)
{
    uint32_t shift = idx->moments.chunk_shift, mask = (1u << shift) - 1;
    struct moment_sum own;
    for (; i < end; i++) {
        const struct moment_rec *rec = index_moment(idx, i);
        if (rec && !(rec->flags & MOMENT_ALONE))
            return i;
        if ((i & mask) <= 1 && moments_sum(idx, i >> shift, &own)->first == UINT64_MAX)
            i |= mask; /* there is none in the chunk */
    }
    return 0;
}

/* The moment in which the floor lies, and all later ones, are asked for; where that is there for a snapshot
 * alone, the one before, which tells the time when the snapshot has gone. */
static uint32_t first_needed(const struct index *idx)
{
    uint32_t i = index_moment_by(idx, idx->s.floor);
    const struct moment_rec *m = index_moment(idx, i);
    while (m && m->flags & MOMENT_ALONE && !MUTANT(SNAPSHOT_TELLS_TIME))
        m = index_moment(idx, i = index_moment_by(idx, m->batch - 1));
    return i;
}

bool floor_has_moments(const struct index *idx)
{
    return idx->s.floor && first_to_go(idx, 1, first_needed(idx)) > 0;
}

static bool may_be(const struct index *idx, const struct op *op, uint64_t seq)
{
    if (op->reason == FLOOR_OFF)
        return idx->s.floor && op->batch == FLOOR_NONE;
    if (op->reason == FLOOR_ON)
        return !index_is_kept_whole(idx) && op->batch && op->batch <= seq;
    return op->reason >= FLOOR_AGE && op->reason <= FLOOR_FULL_DISK && index_is_kept_whole(idx) &&
           op->batch >= idx->s.floor && op->batch <= seq;
}

/* Of the records [from, end) those of moments before `batch` go, the oldest first. `snapshots`: these become
 * such as no moment made. */
static void take_moments(struct index *idx, uint32_t from, uint32_t end, uint64_t batch, bool snapshots)
{
    uint32_t shift = idx->moments.chunk_shift, last = UINT32_MAX, chunks = 0, i = from;
    for (unsigned n = 0; n < FLOOR_MOMENTS && (i = first_to_go(idx, i, end)) > 0; i++) {
        if (index_moment(idx, i)->batch >= batch)
            break;
        if (!snapshots && index_snapshot(idx, i))
            continue;
        chunks += i >> shift != last;
        last = i >> shift;
        if (chunks > FLOOR_CHUNKS)
            break;
        moments_expire(idx, i);
        n++;
    }
}

int floor_apply(struct index *idx, const struct op *op, uint64_t seq)
{
    if (!may_be(idx, op, seq))
        return -EBADMSG;
    idx->s.floor = op->batch;
    take_moments(idx, 1, first_needed(idx), UINT64_MAX, true);
    return 0;
}

int floor_thin(struct index *idx, const struct op *op, uint64_t seq)
{
    bool is_right = index_is_kept_whole(idx) && op->batch > idx->s.floor;
    if (!is_right || op->end <= op->batch || op->end > seq)
        return -EBADMSG;
    take_moments(idx, index_moment_by(idx, op->batch - 1) + 1, idx->moments.used, op->end, false);
    return 0;
}

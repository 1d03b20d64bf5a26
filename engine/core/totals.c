/*
 * totals.c - see totals.h. */
#include "core/totals.h"

#include "core/eng.h"
#include "core/keepers.h"
#include "core/look.h"

/* For each range that is moved: header, a block's sum, padding, path hint and entry of the summary; and its
 * relocation in the log. Rather too much, so that what is moved has been worth it. */
#define MOVED_EXTENT (sizeof(struct extent_header) + 80 + 72)

static uint64_t spent_log(uint64_t metadata, uint64_t size, const struct seg_rec *seg)
{
    uint64_t stays = seg->n_live * MOVED_EXTENT + seg->live / BLOCK_SIZE * 8;
    uint64_t spent = metadata - MIN_OF(stays, metadata);
    return spent < size / TOTALS_SPENT_SHARE ? 0 : spent;
}

uint64_t totals_payload_locked(struct eng *eng, const struct seg_rec *seg)
{
    uint64_t size = segments_size_of(&eng->segments, seg->id);
    if (seg->kind != SEGMENT_SURVIVORS || !size || seg->total < size || MUTANT(CUT_UNCOUNTED))
        return seg->total;
    return size < seg->live + size / TOTALS_SPENT_SHARE ? seg->live : size;
}

uint64_t totals_spent_once_aged_locked(struct eng *eng, const struct seg_rec *seg)
{
    if (!seg->id || !seg->live || keepers_need(eng, KEEPER_ACTIVE, seg))
        return 0;
    uint64_t size = segments_size_of(&eng->segments, seg->id);
    uint64_t payload = totals_payload_locked(eng, seg);
    uint64_t metadata = size - MIN_OF(payload, size);
    if (MUTANT(ALL_METADATA_SPENT))
        return metadata;
    if (seg->kind == SEGMENT_LOG)
        return spent_log(metadata, size, seg);
    double dead = seg->live < payload ? (double)(payload - seg->live) / (double)payload : 0;
    return (uint64_t)((double)metadata * dead);
}

uint64_t totals_spent_locked(struct eng *eng, const struct seg_rec *seg)
{
    return keepers_need(eng, KEEPER_CHECKPOINTS, seg) ? 0 : totals_spent_once_aged_locked(eng, seg);
}

struct sums {
    uint64_t spent, gone;
};

static int add_sums(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    struct sums *sums = arg;
    sums->spent += totals_spent_locked(eng, seg);
    sums->gone += seg->id ? seg->total - totals_payload_locked(eng, seg) : 0;
    return 0;
}

uint64_t totals_spent(struct eng *eng, uint64_t *ret_gone)
{
    struct sums sums = {0};
    look_beside_writers(eng, add_sums, &sums);
    *ret_gone = sums.gone;
    return sums.spent;
}

void totals_get(struct eng *eng, uint64_t *ret_total, uint64_t *ret_live)
{
    uint64_t gone, spent = totals_spent(eng, &gone);
    pthread_rwlock_rdlock(&eng->index_lock);
    *ret_total = MAX_OF(eng->idx.s.total - MIN_OF(gone, eng->idx.s.total), eng->idx.s.live) + spent;
    *ret_live = eng->idx.s.live;
    pthread_rwlock_unlock(&eng->index_lock);
}

uint64_t totals_disk(struct eng *eng)
{
    return segments_bytes(&eng->segments) +
           atomic_load_explicit(&eng->marks.disk_bytes, memory_order_relaxed);
}

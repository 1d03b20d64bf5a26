/*
 * totals.c - see totals.h. */
#include "core/totals.h"

#include "core/eng.h"

void totals_get(struct eng *eng, uint64_t *ret_total, uint64_t *ret_live)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    *ret_total = eng->idx.s.total;
    *ret_live = eng->idx.s.live;
    pthread_rwlock_unlock(&eng->index_lock);
}

uint64_t totals_disk(struct eng *eng)
{
    return segments_bytes(&eng->segments) +
           atomic_load_explicit(&eng->marks.disk_bytes, memory_order_relaxed);
}

/*
 * look.c - see look.h. */
#include "core/look.h"

int look_at_segments(struct eng *eng, int (*look)(struct eng *eng, const struct seg_rec *seg, void *arg),
                     void *arg)
{
    bool more = true;
    int r = 0;
    for (uint32_t i = 1; more && !r;) {
        pthread_mutex_lock(&eng->log.lock);
        uint32_t used = eng->idx.segs.used;
        uint32_t end = MUTANT(LOOK_ALL_AT_ONCE) ? used : MIN_OF(used, i + LOOK_SLICE);
        for (; i < end && !r; i++) {
            const struct seg_rec *seg = table_get(&eng->idx.segs, i);
            if (!seg->id)
                continue;
            fault_point(&eng->hook, FP_SEGMENT_LOOK);
            r = look(eng, seg, arg);
        }
        more = i < used;
        pthread_mutex_unlock(&eng->log.lock);
    }
    return r;
}

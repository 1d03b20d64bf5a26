/*
 * look.c - see look.h. */
#include "core/look.h"

/* From *at on, one slice; false behind the last. */
static bool look_at_slice(struct eng *eng, uint32_t *at,
                          int (*look)(struct eng *eng, const struct seg_rec *seg, void *arg), void *arg,
                          int *ret_r)
{
    uint32_t used = eng->idx.segs.used;
    uint32_t end = MUTANT(LOOK_ALL_AT_ONCE) ? used : MIN_OF(used, *at + LOOK_SLICE);
    for (; *at < end && !*ret_r; ++*at) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, *at);
        if (!seg->id)
            continue;
        fault_point(&eng->hook, FP_SEGMENT_LOOK);
        *ret_r = look(eng, seg, arg);
    }
    return *at < used && !*ret_r;
}

int look_at_segments(struct eng *eng, int (*look)(struct eng *eng, const struct seg_rec *seg, void *arg),
                     void *arg)
{
    uint32_t at = 1;
    int r = 0;
    for (bool more = true; more;) {
        pthread_mutex_lock(&eng->log.lock);
        more = look_at_slice(eng, &at, look, arg, &r);
        pthread_mutex_unlock(&eng->log.lock);
    }
    return r;
}

void look_beside_writers(struct eng *eng, int (*look)(struct eng *eng, const struct seg_rec *seg, void *arg),
                         void *arg)
{
    uint32_t at = 1;
    int r = 0;
    for (bool more = true; more;) {
        pthread_rwlock_rdlock(&eng->index_lock);
        more = look_at_slice(eng, &at, look, arg, &r);
        pthread_rwlock_unlock(&eng->index_lock);
    }
}

/*
 * retire.c - see retire.h.
 */
#include "commit/retire.h"

struct retire {
    /* Whoever unlinks a segment: what was taken out under log.lock is gone once this is free. */
    pthread_mutex_t lock;
};

int retire_new(struct eng *eng)
{
    eng->retire = calloc(1, sizeof *eng->retire);
    if (!eng->retire)
        return -ENOMEM;
    pthread_mutex_init(&eng->retire->lock, NULL);
    return 0;
}

void retire_free(struct eng *eng)
{
    if (!eng->retire)
        return;
    pthread_mutex_destroy(&eng->retire->lock);
    free(eng->retire);
    eng->retire = NULL;
}

void retire_exclude(struct eng *eng)
{
    pthread_mutex_lock(&eng->retire->lock);
}

void retire_allow(struct eng *eng)
{
    pthread_mutex_unlock(&eng->retire->lock);
}

/* I4: whether nothing can need the segment any more. */
static bool may_retire(const struct seg_rec *seg, uint64_t durable, uint64_t oldest)
{
    if (seg->live)
        return false;
    if (seg->death_seq > durable && !MUTANT(RETIRE_UNSYNCED))
        return false;
    return seg->last_seq <= oldest || MUTANT(RETIRE_YOUNG);
}

/* The next segment from record *at on that may go: its id, or 0. */
static uint32_t next_empty(struct eng *eng, uint32_t *at)
{
    uint64_t durable = log_durable(&eng->log);
    uint64_t oldest = atomic_load_explicit(&eng->marks.oldest_seq, memory_order_acquire);
    for (; *at < eng->idx.segs.used; ++*at) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, *at);
        bool active = eng->log.active && eng->log.active->id == seg->id;
        if (seg->id && !active && may_retire(seg, durable, oldest))
            return seg->id;
    }
    return 0;
}

/* Under the log lock: takes out one segment that may go, to be unlinked; NULL with it: pinned, the next call.
 * False when there is none left from record *at on. */
static bool remove_one_locked(struct eng *eng, uint32_t *at, struct segment **ret_seg)
{
    uint32_t id = keepers_is_held(&eng->keepers) ? 0 : next_empty(eng, at);
    *ret_seg = NULL;
    if (!id)
        return false;
    ++*at;
    pthread_rwlock_wrlock(&eng->index_lock);
    if (chunk_pool_reserve(eng->idx.pool, 2) == 0 && segments_remove(&eng->segments, id, ret_seg) != -EBUSY)
        index_drop_segment(&eng->idx, id);
    pthread_rwlock_unlock(&eng->index_lock);
    return true;
}

/* Unlinking takes long, so that only the lock of retire is held for it, and for one segment at a time. */
unsigned retire_segments(struct eng *eng)
{
    unsigned n = 0;
    uint32_t at = 1;
    bool more = !is_read_only(eng);
    while (more) {
        struct segment *seg;
        pthread_mutex_lock(&eng->retire->lock);
        pthread_mutex_lock(&eng->log.lock);
        more = remove_one_locked(eng, &at, &seg);
        pthread_mutex_unlock(&eng->log.lock);
        if (seg) {
            (void)segments_unlink(&eng->segments, seg); /* what it leaves recovery removes */
            n++;
        }
        pthread_mutex_unlock(&eng->retire->lock);
    }
    return n;
}

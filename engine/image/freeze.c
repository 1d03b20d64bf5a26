/*
 * freeze.c - see freeze.h. */
#include "image/freeze.h"

void freeze_lock(struct eng *eng)
{
    pthread_mutex_lock(&eng->log.queue);
    pthread_mutex_lock(&eng->log.lock);
    pthread_mutex_unlock(&eng->log.queue);
    pthread_rwlock_wrlock(&eng->index_lock);
}

void freeze_unlock(struct eng *eng)
{
    pthread_rwlock_unlock(&eng->index_lock);
    pthread_mutex_unlock(&eng->log.lock);
}

int freeze_room(struct eng *eng, bool with_dirty, struct index_room *ret_room)
{
    uint32_t chunks[INDEX_TABLES];
    freeze_lock(eng);
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        chunks[i] = index_table(&eng->idx, i)->cap_chunks; /* it grows by doubling: seldom meanwhile */
    freeze_unlock(eng);
    int r = index_room_init(ret_room, chunks, with_dirty);
    if (r)
        index_room_done(ret_room);
    return r;
}

int freeze_take(struct eng *eng, struct index *ret_view, uint64_t *ret_freeze)
{
    struct index_room room;
    int r = freeze_room(eng, false, &room);
    if (r)
        return r;
    freeze_lock(eng);
    r = index_freeze(&eng->idx, &room, ret_view, ret_freeze);
    freeze_unlock(eng);
    index_room_done(&room);
    return r;
}

void freeze_give_back(struct eng *eng, struct index *view, uint64_t freeze)
{
    freeze_lock(eng);
    index_thaw(&eng->idx, freeze);
    freeze_unlock(eng);
    index_free(view);
    freeze_trim(eng);
}

/* One spare for `share` chunks in use. */
static void warm(struct eng *eng, unsigned share)
{
    uint8_t *chunks[32];
    struct chunk_pool *pool = eng->idx.pool;
    for (size_t n = 1; n > 0;) {
        freeze_lock(eng);
        n = chunk_pool_is_cold(pool, share) ? chunk_pool_lend(pool, chunks, ARRAY_LEN(chunks)) : 0;
        freeze_unlock(eng);
        for (size_t i = 0; i < n; i++)
            memset(chunks[i], 0, TABLE_CHUNK_SIZE);
        if (n > 0) {
            freeze_lock(eng);
            chunk_pool_give_back(pool, chunks, n);
            freeze_unlock(eng);
        }
    }
}

void freeze_keep_warm(struct eng *eng)
{
    warm(eng, 4);
}

void freeze_warm_briefly(struct eng *eng)
{
    warm(eng, POOL_KEEP_SHARE);
}

void freeze_shrink(struct eng *eng)
{
    bool any = false;
    for (size_t left = 1; left;) {
        freeze_lock(eng);
        uint64_t live = chunk_pool_live_bytes(eng->idx.pool);
        left = index_shrink(&eng->idx, 2);
        any = any || chunk_pool_live_bytes(eng->idx.pool) != live;
        freeze_unlock(eng);
    }
    if (any)
        freeze_trim(eng);
}

/* Giving memory back is slow, too: little at a time. */
void freeze_trim(struct eng *eng)
{
    for (size_t left = 1; left;) {
        freeze_lock(eng);
        left = chunk_pool_trim(eng->idx.pool, 2) + chunk_pool_trim(eng->idx.ref_pool, 2);
        freeze_unlock(eng);
    }
}

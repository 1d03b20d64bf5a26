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

void freeze_keep_warm(struct eng *eng)
{
    uint8_t *chunks[32];
    for (size_t n = 1; n > 0;) {
        freeze_lock(eng);
        n = chunk_pool_is_cold(eng->idx.pool) ? chunk_pool_lend(eng->idx.pool, chunks, ARRAY_LEN(chunks)) : 0;
        freeze_unlock(eng);
        for (size_t i = 0; i < n; i++)
            memset(chunks[i], 0, TABLE_CHUNK_SIZE);
        if (n > 0) {
            freeze_lock(eng);
            chunk_pool_give_back(eng->idx.pool, chunks, n);
            freeze_unlock(eng);
        }
    }
}

/* Giving memory back is slow, too: little at a time. */
void freeze_trim(struct eng *eng)
{
    for (size_t left = 1; left;) {
        freeze_lock(eng);
        left = chunk_pool_trim(eng->idx.pool, 2);
        freeze_unlock(eng);
    }
}

/*
 * orphans.c - the queue of inodes that wait to be freed. See orphans.h. */
#include "commit/orphans.h"

#define ORPHANS_PER_BATCH 64u

struct orphans {
    pthread_mutex_t lock;
    uint64_t *inos; /* in order of arrival. Protected by lock. */
    size_t n, cap;  /* protected by lock */
};

int orphans_new(struct eng *eng)
{
    eng->orphans = calloc(1, sizeof *eng->orphans);
    if (!eng->orphans)
        return -ENOMEM;
    pthread_mutex_init(&eng->orphans->lock, NULL);
    return 0;
}

void orphans_free(struct eng *eng)
{
    if (!eng->orphans)
        return;
    pthread_mutex_destroy(&eng->orphans->lock);
    free(eng->orphans->inos);
    free(eng->orphans);
    eng->orphans = NULL;
}

void orphans_add(struct eng *eng, uint64_t ino)
{
    pthread_mutex_lock(&eng->orphans->lock);
    if (array_grow(&eng->orphans->inos, &eng->orphans->cap, eng->orphans->n + 1,
                   sizeof *eng->orphans->inos) == 0)
        eng->orphans->inos[eng->orphans->n++] = ino; /* without memory, recovery frees it */
    pthread_mutex_unlock(&eng->orphans->lock);
}

static bool txn_frees(const struct txn *txn, uint64_t ino)
{
    for (size_t i = txn->n_ops; i-- > 0 && txn->ops[i].type == OP_FREE;) {
        if (txn->ops[i].ino == ino)
            return true;
    }
    return false;
}

int orphans_stage(struct eng *eng, struct txn *txn, size_t *ret_n)
{
    uint64_t inos[ORPHANS_PER_BATCH];
    pthread_mutex_lock(&eng->orphans->lock);
    size_t n = MIN_OF(eng->orphans->n, (size_t)ORPHANS_PER_BATCH);
    if (n)
        memcpy(inos, eng->orphans->inos, n * sizeof *inos);
    pthread_mutex_unlock(&eng->orphans->lock);
    for (size_t i = 0; i < n; i++) {
        const struct inode_rec *inode = index_inode(&eng->idx, inos[i]);
        if (!inode || inode->nlink || index_refs(&eng->idx, ino_slot(inos[i])) || txn_frees(txn, inos[i]))
            continue;
        struct op *op = txn_op(txn, OP_FREE);
        if (!op)
            return -ENOMEM;
        op->ino = inos[i];
    }
    *ret_n = n;
    return 0;
}

void orphans_drop(struct eng *eng, size_t n)
{
    if (!n)
        return;
    pthread_mutex_lock(&eng->orphans->lock);
    eng->orphans->n -= n;
    memmove(eng->orphans->inos, eng->orphans->inos + n, eng->orphans->n * sizeof *eng->orphans->inos);
    pthread_mutex_unlock(&eng->orphans->lock);
}

bool orphans_any(struct eng *eng)
{
    pthread_mutex_lock(&eng->orphans->lock);
    bool any = eng->orphans->n > 0;
    pthread_mutex_unlock(&eng->orphans->lock);
    return any;
}

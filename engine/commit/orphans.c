/*
 * orphans.c - the queue of inodes that wait to be freed. See orphans.h. */
#include "commit/orphans.h"

#define ORPHANS_PER_BATCH 64u
#define RING_MIN 64u

struct orphans {
    pthread_mutex_t lock;
    /* A ring: n inodes in order of arrival, from inos[first] on; cap is a power of two. Protected by lock. */
    uint64_t *inos;
    size_t first, n, cap;
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

/* The i-th that waits, or the place of the next one. */
static uint64_t *ring_at(const struct orphans *o, size_t i)
{
    return &o->inos[(o->first + i) & (o->cap - 1)];
}

static int make_room(struct orphans *o)
{
    if (o->n < o->cap)
        return 0;
    struct orphans grown = {.cap = o->cap ? 2 * o->cap : RING_MIN};
    grown.inos = calloc(grown.cap, sizeof *grown.inos);
    if (!grown.inos)
        return -ENOMEM;
    for (size_t i = 0; i < o->n; i++)
        grown.inos[i] = *ring_at(o, i);
    free(o->inos);
    o->inos = grown.inos;
    o->cap = grown.cap;
    o->first = 0;
    return 0;
}

void orphans_add(struct eng *eng, uint64_t ino)
{
    struct orphans *o = eng->orphans;
    pthread_mutex_lock(&o->lock);
    if (make_room(o) == 0)
        *ring_at(o, o->n++) = ino; /* without memory, recovery frees it */
    pthread_mutex_unlock(&o->lock);
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
    for (size_t i = 0; i < n; i++)
        inos[i] = *ring_at(eng->orphans, i);
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
    struct orphans *o = eng->orphans;
    pthread_mutex_lock(&o->lock);
    o->first = (o->first + n) & (o->cap - 1);
    o->n -= n;
    pthread_mutex_unlock(&o->lock);
}

bool orphans_any(struct eng *eng)
{
    pthread_mutex_lock(&eng->orphans->lock);
    bool any = eng->orphans->n > 0;
    pthread_mutex_unlock(&eng->orphans->lock);
    return any;
}

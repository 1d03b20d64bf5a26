/*
 * atimes.c - access times of what was read, as with the mount option relatime.
 *
 * A log record for each read would make reading as dear as writing. So access times stay in memory, here, and
 * go to the log in batches: when they are many, before a checkpoint, and at closing. A crash loses those
 * since then, as with lazytime elsewhere; nothing else depends on them.
 *
 * State: a table of pending times, open addressing, protected by a lock of its own, a leaf. A time stays
 * pending until the index has it, so that eng_getattr() shows it throughout (atimes_overlay()). Pending times
 * are written to the log, and an atime is set, under log.lock, so that neither undoes the other. */
#include "commit/atimes.h"

#include "commit/commit.h"
#include "core/reserve.h"

#define PLACES (UINT32_C(1) << 15)
#define PENDING_MAX (PLACES / 4 * 3)
#define PENDING_PER_BATCH 512u /* bounds how long log.lock is held */
#define NONE INT64_MIN         /* the entry was cleared; its place stays in use until all are */

struct pending {
    uint64_t ino; /* 0: free */
    int64_t atime;
};

struct atimes {
    pthread_mutex_t lock;
    struct pending *table; /* of PLACES; NULL until there is a time. Protected by lock. */
    uint32_t n_places;     /* of the table that are in use. Protected by lock. */
    _Atomic uint32_t n;    /* pending times. Written under lock, read without it, as a hint. */
};

int atimes_new(struct eng *eng)
{
    eng->atimes = calloc(1, sizeof *eng->atimes);
    if (!eng->atimes)
        return -ENOMEM;
    pthread_mutex_init(&eng->atimes->lock, NULL);
    return 0;
}

void atimes_free(struct eng *eng)
{
    if (!eng->atimes)
        return;
    pthread_mutex_destroy(&eng->atimes->lock);
    free(eng->atimes->table);
    free(eng->atimes);
    eng->atimes = NULL;
}

uint32_t atimes_count(const struct eng *eng)
{
    return atomic_load_explicit(&eng->atimes->n, memory_order_acquire);
}

static struct pending *find_locked(struct eng *eng, uint64_t ino)
{
    uint32_t i = (uint32_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (PLACES - 1);
    while (eng->atimes->table[i].ino && eng->atimes->table[i].ino != ino)
        i = (i + 1) & (PLACES - 1);
    return &eng->atimes->table[i];
}

/* False: there is no room. */
static bool add_locked(struct eng *eng, uint64_t ino, int64_t now)
{
    if (!eng->atimes->table && !(eng->atimes->table = calloc(PLACES, sizeof *eng->atimes->table)))
        return true; /* without memory the time is not kept */
    struct pending *entry = find_locked(eng, ino);
    if (!entry->ino) {
        if (eng->atimes->n_places >= PENDING_MAX)
            return false;
        eng->atimes->n_places++;
        entry->ino = ino;
        entry->atime = NONE;
    }
    if (entry->atime == NONE)
        atomic_fetch_add_explicit(&eng->atimes->n, 1, memory_order_release);
    entry->atime = now;
    return true;
}

static void clear_locked(struct eng *eng, struct pending *entry)
{
    entry->atime = NONE;
    if (atomic_fetch_sub_explicit(&eng->atimes->n, 1, memory_order_release) == 1) {
        memset(eng->atimes->table, 0, PLACES * sizeof *eng->atimes->table);
        eng->atimes->n_places = 0;
    }
}

bool atimes_add(struct eng *eng, uint64_t ino, int64_t now)
{
    pthread_mutex_lock(&eng->atimes->lock);
    bool added = add_locked(eng, ino, now);
    pthread_mutex_unlock(&eng->atimes->lock);
    return added;
}

void atimes_overlay(struct eng *eng, struct eng_attr *attr)
{
    if (!atomic_load_explicit(&eng->atimes->n, memory_order_acquire))
        return;
    pthread_mutex_lock(&eng->atimes->lock);
    const struct pending *entry = eng->atimes->table ? find_locked(eng, attr->ino) : NULL;
    if (entry && entry->ino && entry->atime != NONE)
        attr->atime = entry->atime;
    pthread_mutex_unlock(&eng->atimes->lock);
}

void atimes_drop(struct eng *eng, uint64_t ino)
{
    if (!atomic_load_explicit(&eng->atimes->n, memory_order_acquire))
        return;
    pthread_mutex_lock(&eng->atimes->lock);
    struct pending *entry = eng->atimes->table ? find_locked(eng, ino) : NULL;
    if (entry && entry->ino && entry->atime != NONE)
        clear_locked(eng, entry);
    pthread_mutex_unlock(&eng->atimes->lock);
}

/* Copies some pending times out of the table, from place *at on; returns how many. Under log.lock. */
static unsigned copy_pending(struct eng *eng, uint32_t *at, struct pending *pending)
{
    unsigned n = 0, max = eng_step(eng, PENDING_PER_BATCH);
    pthread_mutex_lock(&eng->atimes->lock);
    for (; eng->atimes->table && *at < PLACES && n < max; ++*at)
        if (eng->atimes->table[*at].ino && eng->atimes->table[*at].atime != NONE)
            pending[n++] = eng->atimes->table[*at];
    pthread_mutex_unlock(&eng->atimes->lock);
    return n;
}

static void clear(struct eng *eng, const struct pending *pending, unsigned n)
{
    pthread_mutex_lock(&eng->atimes->lock);
    for (unsigned i = 0; i < n; i++) {
        struct pending *entry = find_locked(eng, pending[i].ino);
        bool is_same = entry->ino && entry->atime != NONE && entry->atime == pending[i].atime;
        if (is_same) /* the inode was not read again meanwhile */
            clear_locked(eng, entry);
    }
    pthread_mutex_unlock(&eng->atimes->lock);
}

static int stage(struct eng *eng, struct txn *txn, const struct pending *pending, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct inode_rec *inode = index_inode(&eng->idx, pending[i].ino);
        if (!inode)
            continue; /* it was removed */
        struct op *op = txn_op(txn, OP_ATTR);
        if (!op)
            return -ENOMEM;
        op->ino = pending[i].ino;
        op->mask = ENG_SET_ATIME;
        op->atime = pending[i].atime;
        op->ctime = inode->ctime; /* reading changes nothing */
    }
    return 0;
}

void atimes_flush(struct eng *eng)
{
    struct pending *pending = NULL;
    uint32_t at = 0;
    if (!atomic_load_explicit(&eng->atimes->n, memory_order_acquire) || is_read_only(eng) ||
        reserve_is_short(eng) || !(pending = malloc(PENDING_PER_BATCH * sizeof *pending)))
        return;
    for (int r = 0; !r && at < PLACES;) {
        CLEANUP_TXN struct txn txn = {0};
        r = commit_begin(eng);
        if (r)
            break;
        unsigned n = copy_pending(eng, &at, pending);
        r = n ? stage(eng, &txn, pending, n) : 1;
        if (!r)
            r = commit_txn(eng, &txn);
        if (!r)
            clear(eng, pending, n);
        r = commit_end(eng, r);
    }
    free(pending);
}

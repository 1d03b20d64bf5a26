/*
 * atimes.c - access times of what was read, as with the mount option relatime.
 *
 * A log record for each read would make reading as dear as writing. So an
 * access time is noted in memory only, here, and goes to the log in batches:
 * when the notes are many, before a checkpoint, and at closing. A crash loses
 * the notes since then, as with lazytime elsewhere; nothing else depends on them.
 *
 * State: a table of notes, open addressing, protected by a lock of its own, a leaf.
 * A note stays until the index has its time, so that whoever looks sees it
 * (atimes_overlay). Notes are written and setting an atime happens under
 * log.lock, so that the one cannot undo the other.
 */
#include "commit/atimes.h"

#include "commit/commit.h"
#include "core/reserve.h"

#define NOTES (UINT32_C(1) << 15)
#define NOTES_MOST (NOTES / 4 * 3)
#define NOTES_PER_BATCH 512u /* bounds how long log.lock is held */
#define NONE INT64_MIN       /* the note was cleared; its place is taken until all are */

struct atime_note {
    uint64_t ino; /* 0: free */
    int64_t atime;
};

struct atimes {
    pthread_mutex_t lock;
    struct atime_note *notes; /* NULL until something is noted. Protected by lock. */
    uint32_t n_places;        /* taken in it. Protected by lock. */
    _Atomic uint32_t n;       /* notes. Written under lock, read without it, as a hint. */
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
    free(eng->atimes->notes);
    free(eng->atimes);
    eng->atimes = NULL;
}

uint32_t atimes_count(const struct eng *eng)
{
    return atomic_load_explicit(&eng->atimes->n, memory_order_acquire);
}

static struct atime_note *find_locked(struct eng *eng, uint64_t ino)
{
    uint32_t i = (uint32_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (NOTES - 1);
    while (eng->atimes->notes[i].ino && eng->atimes->notes[i].ino != ino)
        i = (i + 1) & (NOTES - 1);
    return &eng->atimes->notes[i];
}

/* False: there is no room. */
static bool add_locked(struct eng *eng, uint64_t ino, int64_t now)
{
    if (!eng->atimes->notes && !(eng->atimes->notes = calloc(NOTES, sizeof *eng->atimes->notes)))
        return true; /* without memory the time is not kept */
    struct atime_note *note = find_locked(eng, ino);
    if (!note->ino) {
        if (eng->atimes->n_places >= NOTES_MOST)
            return false;
        eng->atimes->n_places++;
        note->ino = ino;
        note->atime = NONE;
    }
    if (note->atime == NONE)
        atomic_fetch_add_explicit(&eng->atimes->n, 1, memory_order_release);
    note->atime = now;
    return true;
}

static void clear_locked(struct eng *eng, struct atime_note *note)
{
    note->atime = NONE;
    if (atomic_fetch_sub_explicit(&eng->atimes->n, 1, memory_order_release) == 1) {
        memset(eng->atimes->notes, 0, NOTES * sizeof *eng->atimes->notes);
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
    const struct atime_note *note = eng->atimes->notes ? find_locked(eng, attr->ino) : NULL;
    if (note && note->ino && note->atime != NONE)
        attr->atime = note->atime;
    pthread_mutex_unlock(&eng->atimes->lock);
}

void atimes_drop(struct eng *eng, uint64_t ino)
{
    if (!atomic_load_explicit(&eng->atimes->n, memory_order_acquire))
        return;
    pthread_mutex_lock(&eng->atimes->lock);
    struct atime_note *note = eng->atimes->notes ? find_locked(eng, ino) : NULL;
    if (note && note->ino && note->atime != NONE)
        clear_locked(eng, note);
    pthread_mutex_unlock(&eng->atimes->lock);
}

/* Copies some notes out of the table, from place *at on; returns how many. */
static unsigned copy_notes(struct eng *eng, uint32_t *at, struct atime_note *notes)
{
    unsigned n = 0;
    pthread_mutex_lock(&eng->atimes->lock);
    for (; eng->atimes->notes && *at < NOTES && n < NOTES_PER_BATCH; ++*at)
        if (eng->atimes->notes[*at].ino && eng->atimes->notes[*at].atime != NONE)
            notes[n++] = eng->atimes->notes[*at];
    pthread_mutex_unlock(&eng->atimes->lock);
    return n;
}

static void clear(struct eng *eng, const struct atime_note *notes, unsigned n)
{
    pthread_mutex_lock(&eng->atimes->lock);
    for (unsigned i = 0; i < n; i++) {
        struct atime_note *note = find_locked(eng, notes[i].ino);
        if (note->ino && note->atime != NONE && note->atime == notes[i].atime) /* not noted anew meanwhile */
            clear_locked(eng, note);
    }
    pthread_mutex_unlock(&eng->atimes->lock);
}

static int stage(struct eng *eng, struct txn *txn, const struct atime_note *notes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct inode_rec *inode = index_inode(&eng->idx, notes[i].ino);
        if (!inode)
            continue; /* it is gone */
        struct op *op = txn_op(txn, OP_ATTR);
        if (!op)
            return -ENOMEM;
        op->ino = notes[i].ino;
        op->mask = ENG_SET_ATIME;
        op->atime = notes[i].atime;
        op->ctime = inode->ctime; /* reading changes nothing */
    }
    return 0;
}

void atimes_flush(struct eng *eng)
{
    struct atime_note *notes = NULL;
    uint32_t at = 0;
    if (!atomic_load_explicit(&eng->atimes->n, memory_order_acquire) || is_read_only(eng) ||
        reserve_is_short(eng) || !(notes = malloc(NOTES_PER_BATCH * sizeof *notes)))
        return;
    for (int r = 0; !r && at < NOTES;) {
        CLEANUP_TXN struct txn txn = {0};
        r = commit_begin(eng);
        if (r)
            break;
        unsigned n = copy_notes(eng, &at, notes);
        r = n ? stage(eng, &txn, notes, n) : 1;
        if (!r)
            r = commit_txn(eng, &txn);
        if (!r)
            clear(eng, notes, n);
        commit_end(eng);
    }
    free(notes);
}

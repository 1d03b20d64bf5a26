/*
 * atime.c - access times of what was read, as with the mount option relatime.
 *
 * A log record for each read would make reading as dear as writing. So an
 * access time is noted in memory only, here, and goes to the log in batches:
 * when the notes are many, before a checkpoint, and at closing. A crash loses
 * the notes since then, as with lazytime elsewhere; nothing else depends on them.
 *
 * State: a table of notes, open addressing, protected by atime_lock, a leaf.
 * A note stays until the index has its time, so that whoever looks sees it
 * (eng_overlay_atime). Notes are written and setting an atime happens under
 * log.lock, so that the one cannot undo the other.
 */
#include "engine_impl.h"

#define NOTES (UINT32_C(1) << 15)
#define NOTES_MOST (NOTES / 4 * 3)
#define NOTES_PER_BATCH 512u /* bounds how long log.lock is held */
#define NONE INT64_MIN       /* the note was settled; its place is taken until all are */
#define DAY_NS (INT64_C(86400) * 1000000000)

struct atime_note {
    uint64_t ino; /* 0: free */
    int64_t atime;
};

static struct atime_note *find_locked(struct eng *eng, uint64_t ino)
{
    uint32_t i = (uint32_t)(ino * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (NOTES - 1);
    while (eng->atimes[i].ino && eng->atimes[i].ino != ino)
        i = (i + 1) & (NOTES - 1);
    return &eng->atimes[i];
}

/* False: there is no room. */
static bool note_locked(struct eng *eng, uint64_t ino, int64_t now)
{
    if (!eng->atimes && !(eng->atimes = calloc(NOTES, sizeof *eng->atimes)))
        return true; /* without memory the time is not kept */
    struct atime_note *note = find_locked(eng, ino);
    if (!note->ino) {
        if (eng->n_atime_places >= NOTES_MOST)
            return false;
        eng->n_atime_places++;
        note->ino = ino;
        note->atime = NONE;
    }
    if (note->atime == NONE)
        __atomic_add_fetch(&eng->n_atimes, 1, __ATOMIC_RELEASE);
    note->atime = now;
    return true;
}

static void settle_locked(struct eng *eng, struct atime_note *note)
{
    note->atime = NONE;
    if (__atomic_sub_fetch(&eng->n_atimes, 1, __ATOMIC_RELEASE) == 0) {
        memset(eng->atimes, 0, NOTES * sizeof *eng->atimes);
        eng->n_atime_places = 0;
    }
}

void eng_overlay_atime(struct eng *eng, struct eng_attr *attr)
{
    if (!__atomic_load_n(&eng->n_atimes, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&eng->atime_lock);
    const struct atime_note *note = eng->atimes ? find_locked(eng, attr->ino) : NULL;
    if (note && note->ino && note->atime != NONE)
        attr->atime = note->atime;
    pthread_mutex_unlock(&eng->atime_lock);
}

void eng_drop_atime(struct eng *eng, uint64_t ino)
{
    if (!__atomic_load_n(&eng->n_atimes, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&eng->atime_lock);
    struct atime_note *note = eng->atimes ? find_locked(eng, ino) : NULL;
    if (note && note->ino && note->atime != NONE)
        settle_locked(eng, note);
    pthread_mutex_unlock(&eng->atime_lock);
}

/* The rule of relatime: an atime tells whether something was read since it changed, and the day. */
static bool is_stale(const struct eng_attr *attr, int64_t now)
{
    return attr->atime <= attr->mtime || attr->atime <= attr->ctime || now - attr->atime >= DAY_NS;
}

void eng_accessed(struct eng *eng, uint64_t ino)
{
    struct eng_attr attr;
    if (!eng->opt.relatime || eng_is_read_only(eng))
        return;
    int64_t now = now_ns();
    if (eng_getattr(eng, ino, &attr) != 0 || !is_stale(&attr, now))
        return;
    for (unsigned tries = 0; tries < 2; tries++) {
        pthread_mutex_lock(&eng->atime_lock);
        bool noted = note_locked(eng, ino, now);
        pthread_mutex_unlock(&eng->atime_lock);
        if (noted)
            return;
        eng_flush_atimes(eng); /* if that fails the time is not kept */
    }
}

/* Copies some notes out of the table, from place *at on; returns how many. */
static unsigned take(struct eng *eng, uint32_t *at, struct atime_note *notes)
{
    unsigned n = 0;
    pthread_mutex_lock(&eng->atime_lock);
    for (; eng->atimes && *at < NOTES && n < NOTES_PER_BATCH; ++*at)
        if (eng->atimes[*at].ino && eng->atimes[*at].atime != NONE)
            notes[n++] = eng->atimes[*at];
    pthread_mutex_unlock(&eng->atime_lock);
    return n;
}

static void settle(struct eng *eng, const struct atime_note *notes, unsigned n)
{
    pthread_mutex_lock(&eng->atime_lock);
    for (unsigned i = 0; i < n; i++) {
        struct atime_note *note = find_locked(eng, notes[i].ino);
        if (note->ino && note->atime != NONE && note->atime == notes[i].atime) /* not noted anew meanwhile */
            settle_locked(eng, note);
    }
    pthread_mutex_unlock(&eng->atime_lock);
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

void eng_flush_atimes(struct eng *eng)
{
    struct atime_note *notes = NULL;
    uint32_t at = 0;
    if (!__atomic_load_n(&eng->n_atimes, __ATOMIC_ACQUIRE) || eng_is_read_only(eng) ||
        reserve_is_short(eng) || !(notes = malloc(NOTES_PER_BATCH * sizeof *notes)))
        return;
    for (int r = 0; !r && at < NOTES;) {
        CLEANUP_TXN struct txn txn = {0};
        r = eng_begin_work(eng);
        if (r)
            break;
        unsigned n = take(eng, &at, notes);
        r = n ? stage(eng, &txn, notes, n) : 1;
        if (!r)
            r = eng_commit(eng, &txn);
        if (!r)
            settle(eng, notes, n);
        eng_end(eng);
    }
    free(notes);
}

/*
 * retire.c - see retire.h. */
#include "commit/retire.h"

#include "commit/commit.h"
#include "core/keepers.h"
#include "core/reserve.h"

#define RETIRE_LOOKS                                                                                         \
    256u /* segments, of which there may be 100,000s, that are looked at under log.lock at once */

struct retire {
    /* Held until the file of a segment that was removed from the store is unlinked. */
    pthread_mutex_t lock;
    /* Segments without a record that a keeper needed when they were given up. Protected by lock. */
    uint32_t *given_up;
    size_t n, cap;
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
    free(eng->retire->given_up);
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

/* The next segment from record *at on, of RETIRE_LOOKS, that no keeper needs: its id, or 0. *unmarked becomes
 * true if one would go with a mark. */
static uint32_t next_unneeded(struct eng *eng, uint32_t *at, bool *unmarked)
{
    uint32_t end = MIN_OF(eng->idx.segs.used, *at + (MUTANT(RETIRE_ALL_AT_ONCE) ? INT32_MAX : RETIRE_LOOKS));
    for (; *at < end; ++*at) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, *at);
        const struct keeper *keeper = seg->id ? keepers_find(eng, seg) : NULL;
        if (seg->id && !keeper)
            return seg->id;
        *unmarked = *unmarked || (keeper && keeper->kind == KEEPER_MARK);
    }
    return 0;
}

/* Under log.lock: removes the next segment that may go, from record *at on, from the store, to be unlinked.
 * NULL with it: there is none among those looked at, or somebody has pinned it by now, and a later call gets
 * it. False: there is none left. */
static bool remove_one_locked(struct eng *eng, uint32_t *at, bool *unmarked, struct segment **ret_seg)
{
    uint32_t id = next_unneeded(eng, at, unmarked);
    *ret_seg = NULL;
    if (!id)
        return *at < eng->idx.segs.used;
    ++*at;
    pthread_rwlock_wrlock(&eng->index_lock);
    if (chunk_pool_reserve(eng->idx.pool, 2) == 0 && segments_remove(&eng->segments, id, ret_seg) != -EBUSY)
        index_drop_segment(&eng->idx, id);
    pthread_rwlock_unlock(&eng->index_lock);
    return true;
}

/* Unlinking takes long: only retire->lock is held meanwhile, and for one segment at a time. */
static int retire_some(struct eng *eng, bool *unmarked)
{
    int n = 0;
    uint32_t at = 1;
    bool more = !is_read_only(eng) && (loading_is_done(&eng->loading) || MUTANT(RETIRE_UNVERIFIED));
    while (more) {
        struct segment *seg;
        pthread_mutex_lock(&eng->retire->lock);
        pthread_mutex_lock(&eng->log.lock);
        more = remove_one_locked(eng, &at, unmarked, &seg);
        pthread_mutex_unlock(&eng->log.lock);
        if (seg) {
            (void)segments_unlink(&eng->segments, seg); /* a file that stays is removed by recovery */
            reserve_removed(eng);
            n++;
        }
        pthread_mutex_unlock(&eng->retire->lock);
    }
    return n;
}

/* Whether it is gone, or has a record. retire->lock is held. */
static bool remove_unrecorded(struct eng *eng, uint32_t id)
{
    const struct seg_rec unrecorded = {.id = id};
    struct segment *seg = NULL;
    int r = -EBUSY;
    pthread_mutex_lock(&eng->log.lock);
    bool recorded = index_segment(&eng->idx, id) && !MUTANT(DROP_INSTALLED);
    if (!recorded && !is_read_only(eng) && !keepers_find(eng, &unrecorded))
        r = segments_remove(&eng->segments, id, &seg);
    pthread_mutex_unlock(&eng->log.lock);
    if (seg) {
        (void)segments_unlink(&eng->segments, seg);
        reserve_removed(eng);
    }
    return recorded || r != -EBUSY;
}

void retire_unrecorded(struct eng *eng, uint32_t id)
{
    struct retire *retire = eng->retire;
    pthread_mutex_lock(&retire->lock); /* under which a hold begins */
    if (!remove_unrecorded(eng, id) && !MUTANT(GIVEN_UP_STAYS) &&
        array_grow(&retire->given_up, &retire->cap, retire->n + 1, sizeof *retire->given_up) == 0)
        retire->given_up[retire->n++] = id; /* else the next opening removes it */
    pthread_mutex_unlock(&retire->lock);
}

static void retire_given_up(struct eng *eng)
{
    struct retire *retire = eng->retire;
    pthread_mutex_lock(&retire->lock);
    for (size_t i = retire->n; i-- > 0;)
        if (remove_unrecorded(eng, retire->given_up[i]))
            retire->given_up[i] = retire->given_up[--retire->n];
    pthread_mutex_unlock(&retire->lock);
}

/* A mark costs a flush: one for all that want one. */
int retire_segments(struct eng *eng)
{
    bool unmarked = false;
    retire_given_up(eng);
    int n = retire_some(eng, &unmarked);
    int r = unmarked ? commit_mark(eng) : 0;
    if (unmarked && !r)
        n += retire_some(eng, &unmarked);
    return r && r != -ENOSPC ? r : n; /* without room for it they go later */
}

int retire_emptied(struct eng *eng)
{
    int n = retire_segments(eng);
    return n < 0 ? n : 0;
}

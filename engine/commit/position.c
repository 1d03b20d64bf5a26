/*
 * position.c - see position.h.
 *
 * The list belongs to those who wait: a waiter is theirs, and the engine only links it. It is taken out of
 * the list before it is told, so that it is told once, and may be freed by what it has called. */
#include "commit/position.h"

struct position_waits {
    /* The least that somebody waits for; UINT64_MAX: nobody waits. Written under lock; raised from none
     * under log.lock as well, so that whoever publishes a batch afterwards sees it. */
    _Atomic uint64_t lowest;
    pthread_mutex_t lock;
    struct eng_position_wait *list; /* protected by lock, as shut is */
    bool shut;
};

int position_new(struct eng *eng)
{
    struct position_waits *waits = calloc(1, sizeof *waits);
    if (!waits)
        return -ENOMEM;
    waits->lowest = UINT64_MAX;
    pthread_mutex_init(&waits->lock, NULL);
    eng->position_waits = waits;
    return 0;
}

void position_free(struct eng *eng)
{
    if (!eng->position_waits)
        return;
    position_shut(eng);
    pthread_mutex_destroy(&eng->position_waits->lock);
    free(eng->position_waits);
    eng->position_waits = NULL;
}

/* Takes those out of the list who wait for `seq` or less, or who gave up. */
static struct eng_position_wait *take_locked(struct position_waits *waits, uint64_t seq, bool given_up)
{
    struct eng_position_wait *taken = NULL, **at = &waits->list;
    uint64_t lowest = UINT64_MAX;
    while (*at) {
        struct eng_position_wait *wait = *at;
        if (wait->position <= seq || (given_up && wait->is_given_up && wait->is_given_up(wait->arg))) {
            *at = wait->next;
            wait->next = taken;
            taken = wait;
        } else {
            lowest = MIN_OF(lowest, wait->position);
            at = &wait->next;
        }
    }
    atomic_store_explicit(&waits->lowest, lowest, memory_order_relaxed);
    return taken;
}

static void tell(struct eng_position_wait *list, int result)
{
    for (struct eng_position_wait *wait = list, *next; wait; wait = next) {
        next = wait->next; /* what is told may free itself */
        wait->done(wait->arg, result);
    }
}

void position_wake(struct eng *eng, uint64_t seq)
{
    struct position_waits *waits = eng->position_waits;
    if (atomic_load_explicit(&waits->lowest, memory_order_relaxed) > seq)
        return;
    pthread_mutex_lock(&waits->lock);
    struct eng_position_wait *taken = take_locked(waits, seq, false);
    pthread_mutex_unlock(&waits->lock);
    tell(taken, 0);
}

void position_shut(struct eng *eng)
{
    struct position_waits *waits = eng->position_waits;
    pthread_mutex_lock(&waits->lock);
    waits->shut = true;
    struct eng_position_wait *taken = take_locked(waits, UINT64_MAX, false);
    pthread_mutex_unlock(&waits->lock);
    tell(taken, -ESHUTDOWN);
}

uint64_t eng_position(struct eng *eng)
{
    if (!eng)
        return 0;
    pthread_mutex_lock(&eng->log.lock); /* between two mutations, so that the last batch is published */
    uint64_t position = log_seq(&eng->log);
    pthread_mutex_unlock(&eng->log.lock);
    return position;
}

int eng_position_wait(struct eng *eng, struct eng_position_wait *wait)
{
    if (!eng || !wait || !wait->done)
        return -EINVAL;
    struct position_waits *waits = eng->position_waits;
    struct eng_position_wait *given_up = NULL;
    pthread_mutex_lock(&eng->log.lock); /* the next batch finds the waiter */
    bool is_shown = wait->position <= log_seq(&eng->log);
    if (MUTANT(WAIT_UNLOCKED))
        pthread_mutex_unlock(&eng->log.lock);
    if (!is_shown)
        fault_point(&eng->hook, FP_POSITION_ASKED);
    pthread_mutex_lock(&waits->lock);
    bool shut = waits->shut;
    if (!shut && !is_shown) {
        given_up = take_locked(waits, 0, true);
        wait->next = waits->list;
        waits->list = wait;
        uint64_t lowest = atomic_load_explicit(&waits->lowest, memory_order_relaxed);
        atomic_store_explicit(&waits->lowest, MIN_OF(lowest, wait->position), memory_order_relaxed);
    }
    pthread_mutex_unlock(&waits->lock);
    if (!MUTANT(WAIT_UNLOCKED))
        pthread_mutex_unlock(&eng->log.lock);
    tell(given_up, -ECANCELED);
    if (!shut && is_shown)
        wait->done(wait->arg, 0);
    return shut ? -ESHUTDOWN : 0;
}

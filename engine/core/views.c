/*
 * views.c - see views.h. */
#include "core/views.h"

#include "core/eng.h"

struct views {
    pthread_mutex_t lock;
    _Atomic uint64_t newest[2]; /* of others, and of snapshots; written under lock */
    /* Protected by lock. */
    struct place {
        bool taken, of_snapshot;
        uint64_t batch;
    } at[VIEWS_MAX];
};

int views_new(struct eng *eng)
{
    eng->views = calloc(1, sizeof *eng->views);
    if (!eng->views)
        return -ENOMEM;
    pthread_mutex_init(&eng->views->lock, NULL);
    return 0;
}

void views_free(struct eng *eng)
{
    if (!eng->views)
        return;
    pthread_mutex_destroy(&eng->views->lock);
    free(eng->views);
    eng->views = NULL;
}

/* Under the lock. */
static void find_newest(struct views *views)
{
    uint64_t newest[2] = {0};
    for (unsigned i = 0; i < VIEWS_MAX; i++) {
        const struct place *p = &views->at[i];
        if (p->taken)
            newest[p->of_snapshot] = MAX_OF(newest[p->of_snapshot], p->batch);
    }
    for (unsigned i = 0; i < ARRAY_LEN(newest); i++)
        atomic_store_explicit(&views->newest[i], newest[i], memory_order_release);
}

int views_add(struct eng *eng, uint64_t batch, bool of_snapshot, unsigned *ret_place)
{
    struct views *views = eng->views;
    int r = -ENFILE;
    pthread_mutex_lock(&views->lock);
    for (unsigned i = 0; i < VIEWS_MAX && r; i++) {
        if (views->at[i].taken)
            continue;
        views->at[i] = (struct place){true, of_snapshot, batch};
        *ret_place = i;
        r = 0;
    }
    find_newest(views);
    pthread_mutex_unlock(&views->lock);
    return r;
}

void views_remove(struct eng *eng, unsigned place)
{
    pthread_mutex_lock(&eng->views->lock);
    eng->views->at[place].taken = false;
    find_newest(eng->views);
    pthread_mutex_unlock(&eng->views->lock);
}

bool views_see(struct eng *eng, uint64_t begin, uint64_t end, bool snapshots_only)
{
    bool seen = false;
    pthread_mutex_lock(&eng->views->lock);
    for (unsigned i = 0; i < VIEWS_MAX && !seen; i++) {
        const struct place *p = &eng->views->at[i];
        seen = p->taken && begin <= p->batch && p->batch < end && (p->of_snapshot || !snapshots_only);
    }
    pthread_mutex_unlock(&eng->views->lock);
    return seen;
}

uint64_t views_newest(const struct eng *eng)
{
    return MUTANT(VIEW_UNKEPT) ? 0 : atomic_load_explicit(&eng->views->newest[true], memory_order_acquire);
}

uint64_t views_newest_in_time(const struct eng *eng)
{
    return MUTANT(VIEW_AMENDED) ? 0 : atomic_load_explicit(&eng->views->newest[false], memory_order_acquire);
}

uint64_t views_oldest(struct eng *eng)
{
    uint64_t oldest = UINT64_MAX;
    pthread_mutex_lock(&eng->views->lock);
    for (unsigned i = 0; i < VIEWS_MAX; i++) {
        const struct place *p = &eng->views->at[i];
        oldest = p->taken && !p->of_snapshot ? MIN_OF(oldest, p->batch) : oldest;
    }
    pthread_mutex_unlock(&eng->views->lock);
    return oldest;
}

size_t views_batches(struct eng *eng, uint64_t floor, uint64_t ret_batches[VIEWS_MAX])
{
    size_t n = 0;
    pthread_mutex_lock(&eng->views->lock);
    for (unsigned i = 0; i < VIEWS_MAX; i++)
        if (eng->views->at[i].taken && (eng->views->at[i].of_snapshot || eng->views->at[i].batch >= floor))
            ret_batches[n++] = eng->views->at[i].batch;
    pthread_mutex_unlock(&eng->views->lock);
    return n;
}

unsigned views_count(struct eng *eng)
{
    unsigned n = 0;
    pthread_mutex_lock(&eng->views->lock);
    for (unsigned i = 0; i < VIEWS_MAX; i++)
        n += eng->views->at[i].taken;
    pthread_mutex_unlock(&eng->views->lock);
    return n;
}

/*
 * views.c - see views.h. */
#include "core/views.h"

#include "core/eng.h"

struct views {
    pthread_mutex_t lock;
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
    pthread_mutex_unlock(&views->lock);
    return r;
}

void views_remove(struct eng *eng, unsigned place)
{
    pthread_mutex_lock(&eng->views->lock);
    eng->views->at[place].taken = false;
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

unsigned views_count(struct eng *eng)
{
    unsigned n = 0;
    pthread_mutex_lock(&eng->views->lock);
    for (unsigned i = 0; i < VIEWS_MAX; i++)
        n += eng->views->at[i].taken;
    pthread_mutex_unlock(&eng->views->lock);
    return n;
}

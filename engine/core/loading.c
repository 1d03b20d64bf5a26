/*
 * loading.c - see loading.h. */
#include "core/loading.h"

#include "base/fault.h"
#include "base/util.h"

#include <errno.h>

void loading_init(struct loading *loading)
{
    pthread_mutex_init(&loading->lock, NULL);
    cond_init_mono(&loading->ended);
}

void loading_free(struct loading *loading)
{
    pthread_cond_destroy(&loading->ended);
    pthread_mutex_destroy(&loading->lock);
}

void loading_begin(struct loading *loading, uint64_t chunks)
{
    atomic_store_explicit(&loading->chunks, chunks, memory_order_relaxed);
    atomic_store_explicit(&loading->loaded, 0, memory_order_relaxed);
    atomic_store_explicit(&loading->state, LOADING_UNDER_WAY, memory_order_release);
    loading->under_way = true; /* no other thread runs yet */
}

static bool decide(struct loading *loading, unsigned state)
{
    unsigned was = LOADING_UNDER_WAY;
    return atomic_compare_exchange_strong_explicit(&loading->state, &was, state, memory_order_acq_rel,
                                                   memory_order_acquire);
}

void loading_succeed(struct loading *loading)
{
    (void)decide(loading, LOADING_DONE);
}

void loading_fail(struct loading *loading, struct report *report, const char *why)
{
    if (!decide(loading, LOADING_FAILED))
        return;
    if (report_is_read_only(report)) /* it turns so without a word */
        report_error(report, "%s", why);
    else
        report_turn_read_only(report, "%s", why);
}

void loading_end(struct loading *loading)
{
    pthread_mutex_lock(&loading->lock);
    loading->under_way = false;
    pthread_cond_broadcast(&loading->ended);
    pthread_mutex_unlock(&loading->lock);
}

void loading_stop(struct loading *loading)
{
    pthread_mutex_lock(&loading->lock);
    loading->stop = true;
    pthread_cond_broadcast(&loading->ended);
    pthread_mutex_unlock(&loading->lock);
}

void loading_hurry(struct loading *loading)
{
    pthread_mutex_lock(&loading->lock);
    loading->hurry = !MUTANT(CLOSE_WAITS);
    pthread_cond_broadcast(&loading->ended);
    pthread_mutex_unlock(&loading->lock);
}

bool loading_pause(struct loading *loading, unsigned ms)
{
    struct timespec until = mono_after((uint64_t)ms * 1000000);
    pthread_mutex_lock(&loading->lock);
    while (!loading->stop && !loading->hurry &&
           pthread_cond_timedwait(&loading->ended, &loading->lock, &until) == 0)
        ;
    bool stop = loading->stop || loading->hurry;
    pthread_mutex_unlock(&loading->lock);
    return stop;
}

int loading_await(struct loading *loading)
{
    pthread_mutex_lock(&loading->lock);
    while (loading->under_way && !loading->stop)
        pthread_cond_wait(&loading->ended, &loading->lock);
    bool canceled = loading->under_way;
    pthread_mutex_unlock(&loading->lock);
    if (canceled)
        return -ECANCELED;
    return loading_is_done(loading) ? 0 : -EIO;
}

uint64_t loading_left(const struct loading *loading)
{
    uint64_t all = atomic_load_explicit(&loading->chunks, memory_order_relaxed),
             loaded = atomic_load_explicit(&loading->loaded, memory_order_relaxed);
    return loading_is_done(loading) ? 0 : MAX_OF(all - MIN_OF(loaded, all), UINT64_C(1));
}

int loading_doubt(const struct loading *loading, const struct index *idx)
{
    unsigned state = atomic_load_explicit(&loading->state, memory_order_acquire);
    if (state == LOADING_FAILED || chunk_pool_lost(idx->pool) || chunk_pool_poisoned(idx->pool))
        return MUTANT(LATE_DAMAGE_IGNORED) ? 0 : -EIO;
    if (MUTANT(MISSED_IS_ABSENT))
        return 0;
    return pool_missed;
}

/*
 * wake.c - see wake.h. */
#include "core/wake.h"

void wake_init(struct wake *wake)
{
    *wake = (struct wake){0};
    pthread_mutex_init(&wake->lock, NULL);
    cond_init_mono(&wake->cond);
}

void wake_free(struct wake *wake)
{
    pthread_cond_destroy(&wake->cond);
    pthread_mutex_destroy(&wake->lock);
}

void wake_workers_locked(struct wake *wake)
{
    if (!wake->wanted)
        pthread_cond_broadcast(&wake->cond);
    wake->wanted = true;
}

void wake_everyone(struct wake *wake)
{
    pthread_mutex_lock(&wake->lock);
    wake->wanted = true;
    pthread_cond_broadcast(&wake->cond);
    pthread_mutex_unlock(&wake->lock);
}

void wake_workers(struct wake *wake)
{
    pthread_mutex_lock(&wake->lock);
    wake_workers_locked(wake);
    pthread_mutex_unlock(&wake->lock);
}

/*
 * keepers.c - see keepers.h.
 */
#include "core/keepers.h"

#include "base/fault.h"

void keepers_init(struct keepers *keepers)
{
    *keepers = (struct keepers){0};
    pthread_mutex_init(&keepers->lock, NULL);
}

void keepers_free(struct keepers *keepers)
{
    pthread_mutex_destroy(&keepers->lock);
}

void keepers_hold(struct keepers *keepers)
{
    pthread_mutex_lock(&keepers->lock);
    keepers->holds++;
    pthread_mutex_unlock(&keepers->lock);
}

int keepers_release(struct keepers *keepers)
{
    pthread_mutex_lock(&keepers->lock);
    int r = keepers->holds ? 0 : -EINVAL;
    keepers->holds -= !r;
    pthread_mutex_unlock(&keepers->lock);
    return r;
}

unsigned keepers_holds(struct keepers *keepers)
{
    pthread_mutex_lock(&keepers->lock);
    unsigned n = keepers->holds;
    pthread_mutex_unlock(&keepers->lock);
    return n;
}

bool keepers_is_held(struct keepers *keepers)
{
    return keepers_holds(keepers) > 0 && !MUTANT(NO_HOLD);
}

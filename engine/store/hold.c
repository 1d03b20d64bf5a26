/*
 * hold.c - eng_hold() and eng_release(): while the store is held no file of
 * it is unlinked, so that its folder can be copied. */
#include "commit/retire.h"
#include "core/keepers.h"
#include "image/checkpoint.h"

/* Whether batches from now on are appended in a hold. */
static void note_hold(struct eng *eng)
{
    pthread_mutex_lock(&eng->log.lock);
    eng->log.echo.held = keepers_holds(eng) > 0;
    pthread_mutex_unlock(&eng->log.lock);
}

int eng_hold(struct eng *eng)
{
    if (!eng)
        return -EINVAL;
    checkpoint_exclude(eng); /* with retire_exclude(): no unlinking is under way on return */
    retire_exclude(eng);
    keepers_hold(eng);
    retire_allow(eng);
    checkpoint_allow(eng);
    note_hold(eng);
    return 0;
}

int eng_release(struct eng *eng)
{
    if (!eng)
        return -EINVAL;
    int r = keepers_release(eng);
    note_hold(eng);
    if (!r)
        (void)retire_segments(eng);
    return r;
}

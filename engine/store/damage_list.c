/*
 * damage_list.c - eng_damaged(): the damage that still concerns a memory. */
#include "commit/refs.h"
#include "core/damage.h"
#include "core/eng.h"

int eng_damaged(struct eng *eng, void (*emit)(void *arg, const struct eng_damage *d), void *arg)
{
    CLEANUP_FREE struct damage *all = NULL;
    size_t n;
    if (!eng || !emit)
        return -EINVAL;
    int r = damage_copy(eng, &all, &n);
    for (size_t i = 0; i < n && !r; i++) { /* not what was overwritten or removed since */
        struct extent_ref ref = {.ino = all[i].ino, .off = all[i].off, .from = all[i].loc};
        if (!all[i].told.ino || extent_ref_current(eng, &ref))
            emit(arg, &all[i].told);
    }
    return r;
}

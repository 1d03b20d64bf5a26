/*
 * keepers.h - who keeps emptied segments from being unlinked (I4).
 *
 * Locking: keepers->lock, a leaf.
 */
#ifndef ENGRAMFS_KEEPERS_H
#define ENGRAMFS_KEEPERS_H

#include "base/util.h"

struct keepers {
    pthread_mutex_t lock;
    unsigned holds; /* eng_hold() without eng_release(). Protected by lock. */
};

void keepers_init(struct keepers *keepers);
void keepers_free(struct keepers *keepers);
/* Takes and gives back a hold. -EINVAL: there is none. */
void keepers_hold(struct keepers *keepers);
int keepers_release(struct keepers *keepers);
unsigned keepers_holds(struct keepers *keepers);
/* Whether a hold keeps files from being unlinked. */
bool keepers_is_held(struct keepers *keepers);

#endif

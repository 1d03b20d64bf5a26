/*
 * self_check.h - in the builds of the engine that tests link (ENG_CHECKED): whatever is about to become a
 * checkpoint must be what opening accepts, or the process aborts. So a call that leads to an index that the
 * next opening would refuse is noticed by whatever test makes it.
 *
 * Locking: as said. */
#ifndef ENGRAMFS_SELF_CHECK_H
#define ENGRAMFS_SELF_CHECK_H

#include "index/index.h"

#ifdef ENG_CHECKED
/* Verifies a frozen view as checkpoint_load() verifies what it has loaded. Without memory it does nothing. */
void self_check_view(const struct index *view);
/* No change may have taken chunks that it had not reserved. Under index_lock. */
void self_check_memory(const struct index *idx);
#else
static inline void self_check_view(const struct index *view)
{
    (void)view;
}
static inline void self_check_memory(const struct index *idx)
{
    (void)idx;
}
#endif

#endif

/*
 * self_check.h - in the builds of the engine that tests link (ENG_CHECKED): whatever is about to become a
 * checkpoint must be what opening accepts, or the process aborts. So a call that leads to an index that the
 * next opening would refuse is noticed by whatever test makes it.
 *
 * Locking: as said. */
#ifndef ENGRAMFS_SELF_CHECK_H
#define ENGRAMFS_SELF_CHECK_H

#include "core/eng.h"

/* There with ENG_CHECKED: set by tests that forge an index, which need not say what was written. Immutable
 * while threads run. */
extern __attribute__((visibility("default"))) bool self_check_is_forged;

#ifdef ENG_CHECKED
/* Verifies a frozen view as checkpoint_load() verifies what it has loaded. Without memory it does nothing. */
void self_check_view(const struct index *view);
/* No change may have taken chunks that it had not reserved. Under index_lock. */
void self_check_memory(const struct index *idx);
/* What the summary of each segment leads to is what a walk through the whole index finds in it, where nothing
 * changes the index meanwhile; of small stores. Takes locks and reads as a scrub does. */
void self_check_owners(struct eng *eng);
#else
static inline void self_check_view(const struct index *view)
{
    (void)view;
}
static inline void self_check_memory(const struct index *idx)
{
    (void)idx;
}
static inline void self_check_owners(struct eng *eng)
{
    (void)eng;
}
#endif

#endif

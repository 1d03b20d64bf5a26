/*
 * choose.h - which segments a compaction empties, what that will move, and
 * whether there is room.
 *
 * Locking: log.lock, under which the index does not change. */
#ifndef ENGRAMFS_CHOOSE_H
#define ENGRAMFS_CHOOSE_H

#include "core/eng.h"
#include "upkeep/policy.h"

/* The segments to empty, best first, as many as it takes until at most the share `leave` is garbage; the
 * active one and those that are empty already do not count. The array becomes the caller's. -ENOMEM. */
int choose_victims(struct eng *eng, double leave, struct candidate **ret_victims, size_t *ret_n);
/* Before anything is written: whether there is room to seal, to age the metadata, and to empty the best
 * victim. -ENOSPC. */
int choose_check_room(struct eng *eng);
/* What a full compaction would do now. */
int choose_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate);
/* Whether the disk is nearly full. Then victims are emptied one by one, best first, so that each gives its
 * room to the next. */
bool choose_is_tight(struct eng *eng);

#endif

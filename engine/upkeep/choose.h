/*
 * choose.h - which segments a compaction empties, what that will move, and
 * whether there is room.
 *
 * Locking: log.lock, a slice of the segments at a time. */
#ifndef ENGRAMFS_CHOOSE_H
#define ENGRAMFS_CHOOSE_H

#include "core/eng.h"
#include "upkeep/policy.h"

/* What a compaction is to win, and where. */
struct choice {
    double leave;  /* as many victims as it takes until at most this share is garbage */
    uint64_t goal; /* if not 0: as many as hold this much garbage, instead */
    bool aged;     /* only segments whose metadata no checkpoint needs: none has to be written first */
    bool damaged;  /* also segments of which nothing is live but what is known to be damaged */
};
/* The segments to empty, best first. The active one and those that are empty already do not count. The array
 * becomes the caller's. -ENOMEM. */
int choose_victims(struct eng *eng, const struct choice *choice, struct candidate **ret_victims,
                   size_t *ret_n);
/* Before anything is written: whether there is room to empty the best victim, and, unless `aged`, to age the
 * metadata. -ENOSPC. */
int choose_check_room(struct eng *eng, bool aged);
/* What a full compaction would do now. */
int choose_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate);
/* Whether the disk is nearly full, whatever it says, or has no room for the whole index. Then victims are
 * emptied one by one, best first, so that each gives its room to the next. */
bool choose_is_tight(struct eng *eng);

#endif

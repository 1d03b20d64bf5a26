/*
 * totals.h - how large a store is, and how much of that is garbage. */
#ifndef ENGRAMFS_TOTALS_H
#define ENGRAMFS_TOTALS_H

#include "base/util.h"

struct eng;
struct seg_rec;

/* Payload bytes that the segment has. Of survivors what was copied in vain may have been cut after it was
 * told (upkeep/install.h:install_cut()): no more than their file, and where that is little more than what is
 * live, since heads cannot be told from what is dead, as much as is live. Locks as below. */
uint64_t totals_payload_locked(struct eng *eng, const struct seg_rec *seg);
/*
 * What a compaction of the segment would win besides dead content. Of a log segment whose batches no recovery
 * needs any more: all that is not content, less what moving takes for each range that is live; where it is
 * less than one part in TOTALS_SPENT_SHARE of the file, it is not worth the moving, and 0. Of survivors the
 * share of the heads and summary that belongs to dead content, so that survivors of which all is live have
 * none, and compaction an end. 0 of the active segment, and where nothing is live, since that goes by itself.
 * Under log.lock, or index_lock shared. */
uint64_t totals_spent_locked(struct eng *eng, const struct seg_rec *seg);
/* The same once a checkpoint has all that the segment says, as a compaction writes one. */
uint64_t totals_spent_once_aged_locked(struct eng *eng, const struct seg_rec *seg);
#define TOTALS_SPENT_SHARE 8u
/* The same of all segments; *ret_gone: payload that they had, and that was cut. By index_lock, in slices. */
uint64_t totals_spent(struct eng *eng, uint64_t *ret_gone);

/* Payload bytes of all segments with what is spent beside them, and those that are live: the difference is
 * garbage. By index_lock, in slices. */
void totals_get(struct eng *eng, uint64_t *ret_total, uint64_t *ret_live);
/* What segments and checkpoints take from the disk, up to where they are used; by no lock. */
uint64_t totals_disk(struct eng *eng);

#endif

/*
 * times.h - when batches were, and which of them are snapshots, as the moments tell it: a search from the
 * newest on, a step for each chunk of them (moments_sum()), and through the records of two.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_TIMES_H
#define ENGRAMFS_TIMES_H

#include "index/index.h"

#define TIME_UNKNOWN INT64_MAX

/* The time of the newest moment at or before the batch; not later than that of any later moment, whatever the
 * clock did. TIME_UNKNOWN: there is no such moment. */
int64_t index_time_of(const struct index *idx, uint64_t batch);
bool index_is_snapshot(const struct index *idx, uint64_t batch);

/* Records of moments, 0: there is none. The last that began by that batch; the last, in the order of batches,
 * of that time or an earlier one; the last at which the store was so old, in seconds, or younger. */
uint32_t index_moment_by(const struct index *idx, uint64_t batch);
uint32_t index_moment_at(const struct index *idx, int64_t time);
uint32_t index_moment_of_age(const struct index *idx, uint32_t age);
/* The batch in which the moment behind that record begins; UINT64_MAX: none does. */
uint64_t index_next_moment(const struct index *idx, uint32_t i);

#endif

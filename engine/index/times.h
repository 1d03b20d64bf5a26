/*
 * times.h - when batches were, and which of them are snapshots, as the moments tell it. The moments are gone
 * through for each question: of snapshots there are few (docs/lab/history-design.md, 6, of histories).
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

#endif

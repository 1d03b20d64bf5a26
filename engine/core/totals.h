/*
 * totals.h - how large a store is. */
#ifndef ENGRAMFS_TOTALS_H
#define ENGRAMFS_TOTALS_H

#include "base/util.h"

struct eng;

/* Payload bytes of all segments, and those of them that are live; by index_lock. */
void totals_get(struct eng *eng, uint64_t *ret_total, uint64_t *ret_live);
/* What segments and checkpoints take from the disk, up to where they are used; by no lock. */
uint64_t totals_disk(struct eng *eng);

#endif

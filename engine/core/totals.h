/*
 * totals.h - payload bytes of a store, by index_lock. */
#ifndef ENGRAMFS_TOTALS_H
#define ENGRAMFS_TOTALS_H

#include "base/util.h"

struct eng;

/* Payload bytes of all segments, and those of them that are live. */
void totals_get(struct eng *eng, uint64_t *ret_total, uint64_t *ret_live);

#endif

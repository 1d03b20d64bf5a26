/*
 * walk.h - the live ranges in given segments by a walk through the whole index: what is left where no summary
 * tells them, and the measure of those that do.
 *
 * Locking: index_lock shared, for a slice at a time. */
#ifndef ENGRAMFS_WALK_H
#define ENGRAMFS_WALK_H

#include "commit/ref_list.h"
#include "core/eng.h"

/* Appends the live ranges in the segments for which `wanted` has a value (NULL: in all), in no order. */
int walk_refs(struct eng *eng, const struct idmap *wanted, struct ref_list *list);

#endif

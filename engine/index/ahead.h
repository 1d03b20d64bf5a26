/*
 * ahead.h - fetches the chunks that ops will need, before they are applied: an op cannot fail any more once
 * it is written, and whoever reads the index waits while it is applied.
 *
 * Locking: as a reader of the index. */
#ifndef ENGRAMFS_AHEAD_H
#define ENGRAMFS_AHEAD_H

#include "index/index.h"

/* pool_missed tells what could not be had. What ops need besides, the rare neighbour of a neighbour, comes
 * when they are applied, which insists on it (pool_insists). */
void index_fetch_ahead(const struct index *idx, const struct op *ops, size_t n);

#endif

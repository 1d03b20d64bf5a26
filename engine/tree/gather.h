/*
 * gather.h - what a write takes along, so that the content of a file stays in few extents: the run of small
 * ones at its tail, and what lies in a block that has too many already. So 1 MiB of content is in at most
 * some 4,096 extents, however it was written, and nobody can make a read of it long.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_GATHER_H
#define ENGRAMFS_GATHER_H

#include "core/eng.h"

#define GATHER_BELOW (64u << 10) /* who writes less takes the small extents at the tail along */

/* Where the content of a write of [off, end) should begin and end, so that it takes along what it should. */
void gather_range(const struct eng *eng, const struct index *idx, uint64_t ino, uint64_t off, uint64_t end,
                  uint64_t *ret_from, uint64_t *ret_to);
/* Whether that write adds to a block that is crowded. */
bool gather_is_due(const struct eng *eng, const struct index *idx, uint64_t ino, uint64_t off, uint64_t end);
/* Whether the block of the file at `block` has as many extents as one should have. */
bool gather_is_crowded(const struct eng *eng, const struct index *idx, uint64_t ino, uint64_t block);

#endif

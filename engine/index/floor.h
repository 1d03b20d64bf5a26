/*
 * floor.h - the batch from which on the past is whole (index_scalars.floor), and what OP_FLOOR does: nothing
 * between the floor and now was let go, but for what was thinned or never kept (index_scalars.inexact). What
 * ended by the floor only snapshots show; other ops let it go.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_FLOOR_H
#define ENGRAMFS_FLOOR_H

#include "index/index.h"

/* Each OP_FLOOR also takes away the oldest of the moments before the one in which the floor lies: so many, or
 * those of so many chunks. */
#define FLOOR_MOMENTS 4096u
#define FLOOR_CHUNKS 8u
/* Whether another one for the same batch would take away some. */
bool floor_has_moments(const struct index *idx);

/* For apply.c: OP_FLOOR. The floor rises, unless it is set anew (FLOOR_ON). -EBADMSG. */
int floor_apply(struct index *idx, const struct op *op, uint64_t seq);
/* OP_THIN: moments behind the floor go, as many at most. -EBADMSG. */
int floor_thin(struct index *idx, const struct op *op, uint64_t seq);
static inline bool floor_takes_moments(const struct op *op)
{
    return op->type == OP_FLOOR || op->type == OP_THIN;
}

#endif

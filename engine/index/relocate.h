/*
 * relocate.h - what OP_RELOCATE does: an extent, or the value of an xattr, of an inode or a past state moves,
 * if it still is where it was (I3).
 *
 * Locking: as apply.h, which calls this. */
#ifndef ENGRAMFS_RELOCATE_H
#define ENGRAMFS_RELOCATE_H

#include "index/index.h"

/* 0; 1: it found something else; -EBADMSG. */
int relocate(struct index *idx, const struct op *op, uint64_t seq);
bool relocate_moves_xattr(const struct op *op);
/* Those that the ops begin with, some at most; *ret_n of them, of which *ret_lost found something else. No
 * two have to do with the same xattr, so that their order is free. */
int relocate_xattrs(struct index *idx, const struct op *ops, size_t max, uint64_t seq, size_t *ret_n,
                    size_t *ret_lost);

#endif

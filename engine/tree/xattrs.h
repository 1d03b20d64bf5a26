/*
 * xattrs.h - staging extended attributes.
 */
#ifndef ENGRAMFS_XATTRS_H
#define ENGRAMFS_XATTRS_H

#include "core/eng.h"

/* Adds to the transaction an xattr, inline or as an extent. */
int xattr_stage(struct txn *txn, uint64_t ino, const char *name, const void *value, size_t size,
                int64_t time);

#endif

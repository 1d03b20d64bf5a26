/*
 * xattrs.h - extended attributes: reading them in any view, and staging them. */
#ifndef ENGRAMFS_XATTRS_H
#define ENGRAMFS_XATTRS_H

#include "tree/view.h"

/* eng_getxattr() and eng_listxattr() in any view. */
ssize_t xattrs_get(const struct view *view, uint64_t ino, const char *name, void *value, size_t size);
ssize_t xattrs_list(const struct view *view, uint64_t ino, char *names, size_t size);
/* Adds to the transaction an xattr, inline or as an extent. */
int xattrs_stage(struct txn *txn, uint64_t ino, const char *name, const void *value, size_t size,
                 int64_t time);

#endif

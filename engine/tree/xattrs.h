/*
 * xattrs.h - extended attributes: reading them in any view, and staging them. */
#ifndef ENGRAMFS_XATTRS_H
#define ENGRAMFS_XATTRS_H

#include "tree/view.h"

/* eng_getxattr() and eng_listxattr() in any view. */
ssize_t xattrs_get(const struct view *view, uint64_t ino, const char *name, void *value, size_t size);
ssize_t xattrs_list(const struct view *view, uint64_t ino, char *names, size_t size);
/* Encodes the value of an xattr for xattrs_stage(), if it will be an extent. */
int xattrs_draft(struct draft *draft, const void *value, size_t size);
/* Adds to the transaction an xattr: inline, or as extent *at of the draft, which is then one further. */
int xattrs_stage(struct txn *txn, struct draft *draft, size_t *at, uint64_t ino,
                 const struct eng_xattr_pair *xattr, int64_t time);
/* While a view is frozen: copies the chunks in which the file's xattrs lie, a few in a hold of the locks,
 * before one batch takes them all out. -ENOMEM, -ENOSPC: the disk is full, an error of commit_begin(). */
int xattrs_copy(struct eng *eng, uint64_t ino);

#endif

/*
 * xattr.h - the requests for extended attributes. */
#ifndef ENGRAMFS_FS_XATTR_H
#define ENGRAMFS_FS_XATTR_H

#include "session.h"

void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size);
void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif

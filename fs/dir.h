/*
 * dir.h - the requests for listings. */
#ifndef ENGRAMFS_FS_DIR_H
#define ENGRAMFS_FS_DIR_H

#include "session.h"

void dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void dir_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);

#endif

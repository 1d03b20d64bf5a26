/*
 * attr.h - the requests for attributes, and what others need of them. */
#ifndef ENGRAMFS_FS_ATTR_H
#define ENGRAMFS_FS_ATTR_H

#include "session.h"

/* What stat(2) shows of an inode. */
void attr_stat(const struct eng_attr *attr, struct stat *ret_st);
void attr_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void attr_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi);
/* Takes set-user-ID and set-group-ID from a file as Linux does before somebody who may not keep them changes
 * its content; `unasked`: where the kernel does not tell whether he may. 0 or a negative errno value. */
int attr_kill_suidgid(fuse_req_t req, fuse_ino_t ino);
int attr_kill_suidgid_unasked(fuse_req_t req, fuse_ino_t ino);

#endif

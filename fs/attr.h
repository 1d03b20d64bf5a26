/*
 * attr.h - the requests for attributes, and what others need of them. */
#ifndef ENGRAMFS_FS_ATTR_H
#define ENGRAMFS_FS_ATTR_H

#include "session.h"

/* What stat(2) shows of an inode. */
void attr_stat(const struct session *session, const struct eng_attr *attr, struct stat *ret_st);
/* After a change and before its answer: an answer to GETATTR from before it, which the kernel takes up after
 * it, is not kept. Linux itself sees to that for writes, truncations and SETATTR, for others it does not.
 * Only for inodes that the system call in question holds: the kernel waits for one that is about to go. */
void attr_changed(const struct session *session, fuse_ino_t ino);
void attr_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void attr_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi);
/* Takes set-user-ID and set-group-ID from a file as Linux does before somebody who may not keep them changes
 * its content; `unasked`: where the kernel does not tell whether he may. 0 or a negative errno value. */
int attr_kill_suidgid(fuse_req_t req, fuse_ino_t ino);
int attr_kill_suidgid_unasked(fuse_req_t req, fuse_ino_t ino);

#endif

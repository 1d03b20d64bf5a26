/*
 * fsync.h - fsync and fsyncdir. */
#ifndef ENGRAMFS_FS_FSYNC_H
#define ENGRAMFS_FS_FSYNC_H

#include "session.h"

/* Answers now or later. */
void fsync_request(fuse_req_t req, enum request_op op, fuse_ino_t ino);

#endif

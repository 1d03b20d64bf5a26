/*
 * fsync.h - fsync and fsyncdir. */
#ifndef ENGRAMFS_FS_FSYNC_H
#define ENGRAMFS_FS_FSYNC_H

#include "session.h"

/* Answers now or later. */
void fsync_request(fuse_req_t req, enum request_op op, fuse_ino_t ino);
/* The same for a change that was done, and is answered once it is durable: `timer` is its request's. */
void fsync_then_answer(fuse_req_t req, enum request_op op, fuse_ino_t ino, struct request_timer timer);
/* The same, answered by `reply` with 0 or a negative errno: in any thread of the session, under no lock. */
typedef void fsync_reply(fuse_req_t req, int result, void *arg);
void fsync_then_reply(fuse_req_t req, fsync_reply *reply, void *arg, struct request_timer timer);
/*
 * -o dirsync, -o sync: what changed names (with sync also: attributes and content) is durable before it is
 * answered. `r` is what the change gave, 0 or a negative errno; returned is what its answer is: -EIO when it
 * was done and could not be made durable. Holds the thread for a flush. */
int fsync_names(fuse_req_t req, int r);
int fsync_change(fuse_req_t req, int r);

#endif

/*
 * reply.h - what answers to requests have in common. */
#ifndef ENGRAMFS_FS_REPLY_H
#define ENGRAMFS_FS_REPLY_H

#include "session.h"

/* How long the kernel may keep names and attributes: this daemon is the only writer. */
#define REPLY_TIMEOUT 86400.0

/* Answers with `err` (0 or a negative errno value) and counts it. A change that got -EAGAIN from the engine
 * is put aside until there is room, and handled anew then. */
void reply_err(fuse_req_t req, enum request_op op, int err);
/* A buffer of at least `size` bytes that belongs to the calling thread; NULL: no memory. */
void *reply_buffer(size_t size);
/* Answers a question for `n` bytes of value: its length when size is 0. */
void reply_xattr(fuse_req_t req, enum request_op op, const char *value, size_t n, size_t size);
/* Nanoseconds since the epoch as system calls have them. */
struct timespec reply_time(int64_t ns);

#endif

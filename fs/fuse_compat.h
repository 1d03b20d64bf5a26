/*
 * fuse_compat.h - what the kernel offers and libfuse may be too old for.
 *
 * libfuse 3.14 answers ENOSYS to FUSE_TMPFILE and FUSE_STATX, which kernels since 6.1
 * and 6.6 send whatever version was agreed on. They differ little from requests
 * that it knows: so they are rewritten into these where they are read, and
 * bear a mark by which their handlers tell them.
 *
 * It cannot ask for FUSE_HANDLE_KILLPRIV_V2 either: that who writes or truncates takes set-user-ID and
 * set-group-ID away is then the daemon's business, and the kernel need not look for
 * security.capability before each write. Nor for FUSE_DIRECT_IO_ALLOW_MMAP, which -o conflicts=refuse wants.
 * The answer to INIT is completed where it is written. */
#ifndef ENGRAMFS_FS_FUSE_COMPAT_H
#define ENGRAMFS_FS_FUSE_COMPAT_H

#include "session.h"

/* CREATE of this name, which no file can have, is TMPFILE: the kernel itself puts it there. */
#define COMPAT_TMPFILE "/"
/* GETATTR with this file handle is STATX; those that ops.c gives are small. */
#define COMPAT_STATX UINT64_MAX
/* WRITE with this file handle takes set-user-ID and set-group-ID away. */
#define COMPAT_KILL_SUIDGID (UINT64_MAX - 1)
/* Bits of the file handle of SETATTR: it does so, too; it was not asked for by a descriptor. */
#define COMPAT_KILLS_SUIDGID UINT64_C(1)
#define COMPAT_BY_NAME UINT64_C(2)

/* Has the mounted session read its requests through here; before its loop starts. 0 or a negative errno
 * value. */
int compat_attach(struct fuse_session *session);

/* Answers what was STATX. `btime`: ns since the epoch, NULL: there is none. As fuse_reply_attr(). */
int compat_reply_statx(fuse_req_t req, const struct stat *st, const int64_t *btime, double timeout);

#endif

/*
 * attr.c - attributes: what stat(2) shows, what chmod, chown, utimensat and truncate change, and the
 * rights that a file loses when somebody else changes it. No state, no locks. */
#include "attr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "caller.h"
#include "conflicts.h"
#include "control/nodes.h"
#include "fsync.h"
#include "fuse_compat.h"
#include "holes.h"
#include "reply.h"

/* ---- as stat(2) has them -------------------------------------------------- */

/* Clamped to what 64 bits of nanoseconds hold: the years 1677 to 2262. */
static int64_t ns_of(struct timespec ts)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)ts.tv_sec, (int64_t)1000000000, &ns) ||
        __builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
        return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

/* With -o writeback the kernel may have content of which nobody here knows, and does not ask for blocks
 * again: programs take a file without blocks for one large hole. */
static blkcnt_t blocks_of(const struct session *session, const struct eng_attr *attr)
{
    uint64_t blocks = (attr->bytes + 511) / 512;
    if (!blocks && S_ISREG(attr->mode) && session->opt->writeback)
        blocks = 1;
    return (blkcnt_t)blocks;
}

void attr_stat(const struct session *session, const struct eng_attr *attr, struct stat *ret_st)
{
    memset(ret_st, 0, sizeof *ret_st);
    ret_st->st_ino = attr->ino;
    ret_st->st_mode = attr->mode;
    ret_st->st_nlink = attr->nlink;
    ret_st->st_uid = attr->uid;
    ret_st->st_gid = attr->gid;
    ret_st->st_rdev = attr->rdev;
    ret_st->st_size = (off_t)attr->size;
    if (S_ISDIR(attr->mode))
        ret_st->st_size += 2; /* `.` and `..`: lseek(2) of an empty one is none beyond its end */
    ret_st->st_blocks = blocks_of(session, attr);
    /* glibc sizes its getdents buffer by it: a large directory in few round trips. */
    ret_st->st_blksize = S_ISDIR(attr->mode) ? 131072 : HOLES_BLOCK;
    ret_st->st_atim = reply_time(attr->atime);
    ret_st->st_mtim = reply_time(attr->mtime);
    ret_st->st_ctim = reply_time(attr->ctime);
}

void attr_changed(const struct session *session, fuse_ino_t ino)
{
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_UNTOLD")) /* tests/mount/cache.sh */
        return;
#endif
    (void)fuse_lowlevel_notify_inval_inode(session->fuse, ino, -1, 0); /* no offset: attributes only */
}

/* ---- set-user-ID and set-group-ID ----------------------------------------- */

/* Root stands for CAP_FSETID, of which the kernel tells for some requests only. */
static bool may_keep_sgid(fuse_req_t req, gid_t gid)
{
    return fuse_req_ctx(req)->uid == 0 || caller_in_group(req, gid);
}

/* The mode that is left of a file when the caller, who may not keep them, changes it: as the kernel
 * has it. */
static uint32_t without_suidgid(fuse_req_t req, const struct eng_attr *attr)
{
    uint32_t mode = attr->mode & ~(uint32_t)S_ISUID;
    if (mode & S_ISGID && (mode & S_IXGRP || !may_keep_sgid(req, attr->gid)))
        mode &= ~(uint32_t)S_ISGID;
    return S_ISDIR(mode) ? attr->mode : mode; /* of FIFOs and sockets chown takes them, too */
}

/* Adds that to a change of attributes, unless it sets the mode itself. The kernel holds its lock of the inode
 * over each request that comes here, chmod's too: the mode does not change between the look and
 * the change. */
static int kill_suidgid(fuse_req_t req, fuse_ino_t ino, struct eng_attr *attr, unsigned *mask)
{
    struct eng_attr now;
    int r = *mask & ENG_SET_MODE ? 0 : eng_getattr(session_of(req)->eng, ino, &now);
    if (r || *mask & ENG_SET_MODE)
        return r;
    attr->mode = without_suidgid(req, &now);
    if (attr->mode != now.mode)
        *mask |= ENG_SET_MODE;
    return 0;
}

/* The same before a change of content: nobody may have what he wrote run with more rights than his. */
int attr_kill_suidgid(fuse_req_t req, fuse_ino_t ino)
{
    struct eng_attr attr;
    unsigned mask = 0;
    int r = kill_suidgid(req, ino, &attr, &mask);
    return r || !mask ? r : eng_setattr(caller_engine(req), ino, &attr, mask, NULL);
}

/* Where the kernel leaves it out that it should be done. */
int attr_kill_suidgid_unasked(fuse_req_t req, fuse_ino_t ino)
{
    return fuse_req_ctx(req)->uid == 0 ? 0 : attr_kill_suidgid(req, ino);
}

/* ---- requests ------------------------------------------------------------- */

void attr_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    REQUEST_COUNT(session, REQUEST_getattr);
    struct stat st;
    struct eng_attr attr;
    int r;
    if (ctl_owns(ino)) {
        r = session->ctl ? ctl_getattr(session->ctl, ino, &st) : -ESTALE;
    } else {
        r = eng_getattr(session->eng, ino, &attr);
        if (!r)
            attr_stat(session, &attr, &st);
    }
    double timeout = ctl_owns(ino) ? 0 : REPLY_TIMEOUT;
    if (r)
        reply_err(req, REQUEST_getattr, r);
    else if (fi && fi->fh == COMPAT_STATX)
        (void)compat_reply_statx(req, &st, ctl_owns(ino) ? NULL : &attr.btime, timeout);
    else
        (void)fuse_reply_attr(req, &st, timeout);
}

/* `>` and touch are taken and mean nothing: the text is what the store says. */
static void setattr_control(fuse_req_t req, fuse_ino_t ino, int to_set)
{
    struct ctl *ctl = session_of(req)->ctl;
    struct stat st;
    int r = ctl ? ctl_getattr(ctl, ino, &st) : -ESTALE;
    if (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
        r = -EPERM;
    if (r)
        reply_err(req, REQUEST_setattr, r);
    else
        (void)fuse_reply_attr(req, &st, 0);
}

static unsigned set_mask(int to_set)
{
    static const struct {
        int fuse;
        unsigned eng;
    } map[] = {
        {FUSE_SET_ATTR_MODE, ENG_SET_MODE},   {FUSE_SET_ATTR_UID, ENG_SET_UID},
        {FUSE_SET_ATTR_GID, ENG_SET_GID},     {FUSE_SET_ATTR_SIZE, ENG_SET_SIZE},
        {FUSE_SET_ATTR_ATIME, ENG_SET_ATIME}, {FUSE_SET_ATTR_MTIME, ENG_SET_MTIME},
#ifdef FUSE_SET_ATTR_CTIME
        {FUSE_SET_ATTR_CTIME, ENG_SET_CTIME},
#endif
    };
    unsigned mask = 0;
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (to_set & map[i].fuse)
            mask |= map[i].eng;
    /* "now" is the engine's now; the kernel sends both flags with it. */
    if (to_set & FUSE_SET_ATTR_ATIME_NOW)
        mask = (mask & ~(unsigned)ENG_SET_ATIME) | ENG_SET_ATIME_NOW;
    if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        mask = (mask & ~(unsigned)ENG_SET_MTIME) | ENG_SET_MTIME_NOW;
    return mask;
}

void attr_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
    REQUEST_COUNT(session_of(req), REQUEST_setattr);
    if (ctl_owns(ino)) {
        setattr_control(req, ino, to_set);
        return;
    }
    struct eng_attr out = {0}, attr = {
                                   .mode = st->st_mode,
                                   .uid = st->st_uid,
                                   .gid = st->st_gid,
                                   .size = (uint64_t)st->st_size,
                                   .atime = ns_of(st->st_atim),
                                   .mtime = ns_of(st->st_mtim),
                                   .ctime = ns_of(st->st_ctim),
                               };
    unsigned mask = set_mask(to_set);
    int r = fi && fi->fh & COMPAT_KILLS_SUIDGID ? kill_suidgid(req, ino, &attr, &mask) : 0;
    if (!r)
        r = conflicts_setattr(req, ino, &attr, mask, fi && fi->fh & COMPAT_BY_NAME, &out);
    r = fsync_change(req, r);
    if (r) {
        reply_err(req, REQUEST_setattr, r);
        return;
    }
    struct stat after;
    attr_stat(session_of(req), &out, &after);
    (void)fuse_reply_attr(req, &after, REPLY_TIMEOUT);
}

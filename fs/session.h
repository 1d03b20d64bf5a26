/*
 * session.h - the mounted session: what all its requests share.
 *
 * Inode ownership. The engine's inode numbers are FUSE's nodeids (root: 1).
 * Each entry that a reply hands to the kernel is one more reference to the inode
 * (eng_caller.ref), and FORGET gives references back; a reply that could not
 * be written gives its own back at once. Nothing is kept for an open file:
 * OPEN is answered with ENOSYS, so that the kernel never sends it again (a file
 * handle says at most what ops.c was told of a descriptor; with -o conflicts=refuse
 * also whose it is), and
 * a memory that was unlinked while open lives until FORGET. Control files
 * have nodeids of their own, beyond any that the engine gives (control/nodes.h). */
#ifndef ENGRAMFS_FS_SESSION_H
#define ENGRAMFS_FS_SESSION_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "admin.h"
#include "options.h"
#include "request_stats.h"

struct ctl;
struct ctl_paths;
struct ctl_views;
struct digests;
struct fsync_waiter;
struct refused;
struct room;
struct seen;
struct waiters;

struct session {
    struct eng *eng;              /* immutable after start */
    const struct fs_options *opt; /* immutable after start */
    struct ctl *ctl;              /* immutable after start; NULL with -o ctl=off */
    struct ctl_views *views;      /* immutable after start; NULL without ctl, or with -o past=off */
    struct ctl_paths *paths;      /* the same */
    struct fuse_session *fuse;    /* immutable after start */
    uint64_t init_request;        /* fuse_compat.c's */
    bool maps_direct;             /* what is read past the kernel's cache can be mapped, too; set by INIT */
    struct digests *digests;      /* immutable after start */
    struct waiters *waiters;      /* immutable after start: the requests that are answered later */
    struct room *room;            /* immutable after start; NULL: no request waits for room */
    struct seen *seen;            /* immutable after start; NULL without -o conflicts=refuse */
    struct refused *refused;      /* the same */
    const char *store;            /* immutable after start; absolute */
    const char *mountpoint;       /* immutable after start; absolute */
    dev_t store_device;           /* immutable after start; of the store's folder, with its inode */
    ino_t store_inode;
    uid_t uid; /* immutable after start: who mounted */
    gid_t gid;
    bool labels;     /* immutable after start; the kernel has SELinux */
    int64_t started; /* immutable after start; ns since the epoch */

    struct request_stats stats;

    pthread_mutex_t sync_lock;                   /* a leaf: nothing is locked or called under it */
    struct fsync_waiter *sync_first, *sync_last; /* who waits for a flush. protected by sync_lock */
    bool syncing; /* a thread flushes, and will for those who wait. protected by sync_lock */
};

/* The figures of the engine; a mount with -o ro is told as such. */
static inline int session_stats(const struct session *session, struct eng_stats *ret_stats)
{
    static const char reason[] = "mounted with -o ro";
    int r = eng_stats(session->eng, ret_stats);
    if (!r && session->opt->read_only && !ret_stats->read_only_reason[0])
        memcpy(ret_stats->read_only_reason, reason, sizeof reason);
    return r;
}

static inline struct session *session_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

#endif

/*
 * face.h - what the parts of the FUSE face share.
 *
 * Inode ownership. The engine's inode numbers are FUSE's nodeids (root: 1).
 * Each entry that a reply hands to the kernel holds the inode once more
 * (eng_caller.hold), and FORGET gives the holds back; a reply that could not
 * be written gives its own back at once. Nothing is kept for an open file:
 * OPEN is answered with ENOSYS, so that the kernel never sends it again, and
 * a memory that was unlinked while open lives until FORGET. Control files
 * have nodeids of their own, beyond any that the engine gives (control.h).
 */
#ifndef ENGRAMFS_FS_FACE_H
#define ENGRAMFS_FS_FACE_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "admin.h"
#include "options.h"

struct ctl;
struct waiters;

/* The kinds of requests, as counted in `metrics`. */
#define FACE_OPS(X)                                                                                          \
    X(lookup)                                                                                                \
    X(forget)                                                                                                \
    X(getattr)                                                                                               \
    X(setattr)                                                                                               \
    X(readlink)                                                                                              \
    X(mknod)                                                                                                 \
    X(mkdir)                                                                                                 \
    X(unlink)                                                                                                \
    X(rmdir)                                                                                                 \
    X(symlink)                                                                                               \
    X(rename)                                                                                                \
    X(link)                                                                                                  \
    X(open)                                                                                                  \
    X(read)                                                                                                  \
    X(write)                                                                                                 \
    X(flush)                                                                                                 \
    X(release)                                                                                               \
    X(fsync)                                                                                                 \
    X(opendir)                                                                                               \
    X(readdir)                                                                                               \
    X(readdirplus)                                                                                           \
    X(releasedir)                                                                                            \
    X(fsyncdir)                                                                                              \
    X(statfs)                                                                                                \
    X(setxattr)                                                                                              \
    X(getxattr)                                                                                              \
    X(listxattr)                                                                                             \
    X(removexattr)                                                                                           \
    X(create)                                                                                                \
    X(ioctl)                                                                                                 \
    X(fallocate)                                                                                             \
    X(lseek)                                                                                                 \
    X(copy_file_range)

enum face_op {
#define FACE_OP_ENUM(name) FACE_##name,
    FACE_OPS(FACE_OP_ENUM)
#undef FACE_OP_ENUM
        FACE_OP_COUNT
};
extern const char *const face_op_names[FACE_OP_COUNT];

/* Kinds of requests whose durations are told apart. */
enum face_class { FACE_CLASS_READ, FACE_CLASS_WRITE, FACE_CLASS_SYNC, FACE_CLASS_OTHER, FACE_CLASSES };
extern const char *const face_class_names[FACE_CLASSES];

#define FACE_BUCKETS 16
/* Upper bounds in nanoseconds; the last bucket has none. */
extern const uint64_t face_bounds[FACE_BUCKETS - 1];
struct face_durations {
    /* atomic, relaxed: statistics that order nothing */
    _Atomic uint64_t count[FACE_BUCKETS]; /* not cumulative */
    _Atomic uint64_t sum;                 /* ns */
};

/* Hashes of contents, computed when asked for and kept by version (xattr content_hash). */
#define FACE_HASHES 4096
struct face_hash {
    uint64_t ino; /* 0: empty */
    uint64_t version, hash;
};

struct face {
    struct eng *eng;              /* immutable after start */
    const struct fs_options *opt; /* immutable after start */
    struct ctl *ctl;              /* immutable after start; NULL with -o ctl=off */
    struct fuse_session *session; /* immutable after start */
    uint64_t init_request;        /* newer.c's */
    struct waiters *waiters;      /* immutable after start: ctl's, where an interrupt finds them */
    const char *store;            /* immutable after start; absolute */
    const char *mountpoint;       /* immutable after start; absolute */
    uid_t uid;                    /* immutable after start: who mounted */
    gid_t gid;
    bool labels;     /* immutable after start; the kernel has SELinux */
    int64_t started; /* immutable after start; ns since the epoch */

    /* atomic, relaxed: statistics that order nothing */
    _Atomic uint64_t requests[FACE_OP_COUNT];
    _Atomic uint64_t errors[FACE_OP_COUNT];
    struct face_durations durations[FACE_CLASSES];

    pthread_mutex_t hash_lock;            /* a leaf: nothing is locked or called under it */
    struct face_hash hashes[FACE_HASHES]; /* protected by hash_lock */

    pthread_mutex_t sync_lock;                /* a leaf, as hash_lock is */
    struct face_sync *sync_first, *sync_last; /* who waits for a flush. protected by sync_lock */
    bool syncing; /* a thread flushes, and will for those who wait. protected by sync_lock */
};

/* How long the kernel may keep names and attributes: this daemon is the only writer. */
#define FACE_TIMEOUT 86400.0

static inline struct face *face_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* Of a request that is being handled. */
struct face_timer {
    struct face *face;
    enum face_class class;
    struct timespec start;
};
struct face_timer face_timer_begin(struct face *face, enum face_op op);
void face_timer_end(struct face_timer *timer);
/* Counts a request, and measures until the handler returns. Once in a handler, at its beginning. */
#define FACE_COUNT(face, op)                                                                                 \
    struct face_timer face_timer_ __attribute__((cleanup(face_timer_end), unused)) =                         \
        face_timer_begin(face, op)

/* Answers with `err` (0 or a negative errno value) and counts it. */
void face_reply_err(fuse_req_t req, enum face_op op, int err);
/* A buffer of at least `size` bytes that belongs to the calling thread; NULL: no memory. */
void *face_buffer(size_t size);

/* ops.c: all requests. */
extern const struct fuse_lowlevel_ops face_ops;

/* sync.c: fsync and fsyncdir. Answers now or later. */
void face_sync(fuse_req_t req, enum face_op op, fuse_ino_t ino);

/* attr_ops.c */
struct timespec face_time(int64_t ns);
/* What stat(2) shows of an inode. */
void face_stat(const struct eng_attr *attr, struct stat *ret_st);
void attr_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void attr_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi);
/* Takes set-user-ID and set-group-ID from a file as Linux does before somebody who may not keep them changes
 * its content; `unasked`: where the kernel does not tell whether he may. 0 or a negative errno value. */
int attr_kill_suidgid(fuse_req_t req, fuse_ino_t ino);
int attr_kill_suidgid_unasked(fuse_req_t req, fuse_ino_t ino);

/* dir.c */
void dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void dir_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);

/* xattr_ops.c */
void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size);
void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif

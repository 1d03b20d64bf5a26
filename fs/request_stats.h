/*
 * request_stats.h - how many requests of each kind there were, how many failed, and how long they took. */
#ifndef ENGRAMFS_FS_REQUEST_STATS_H
#define ENGRAMFS_FS_REQUEST_STATS_H

#include "admin.h"

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* The kinds of requests, as counted in `metrics`. */
#define REQUEST_OPS(X)                                                                                       \
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

enum request_op {
#define REQUEST_OP_ENUM(name) REQUEST_##name,
    REQUEST_OPS(REQUEST_OP_ENUM)
#undef REQUEST_OP_ENUM
        REQUEST_OP_COUNT
};

/* Kinds of requests whose durations are told apart. */
enum request_class {
    REQUEST_CLASS_READ,
    REQUEST_CLASS_WRITE,
    REQUEST_CLASS_SYNC,
    REQUEST_CLASS_OTHER,
    REQUEST_CLASSES
};

#define REQUEST_BUCKETS ENG_HIST_BUCKETS
/* Upper bounds; the last bucket has none. */
extern const double request_bounds_seconds[REQUEST_BUCKETS - 1];
struct request_durations {
    /* atomic, relaxed: statistics that order nothing */
    _Atomic uint64_t count[REQUEST_BUCKETS]; /* not cumulative */
    _Atomic uint64_t sum;                    /* ns */
};

struct request_stats {
    /* atomic, relaxed: statistics that order nothing */
    _Atomic uint64_t requests[REQUEST_OP_COUNT];
    _Atomic uint64_t errors[REQUEST_OP_COUNT];
    struct request_durations durations[REQUEST_CLASSES];
};

/* The same as plain numbers, for a table of figures. */
struct request_figures {
    uint64_t requests[REQUEST_OP_COUNT];
    uint64_t errors[REQUEST_OP_COUNT];
    struct eng_hist durations[REQUEST_CLASSES];
};
struct request_figures request_figures(const struct request_stats *stats);

/* Of a request that is being handled. */
struct request_timer {
    struct request_stats *stats;
    enum request_class class;
    struct timespec start;
};
struct request_timer request_begin(struct request_stats *stats, enum request_op op);
void request_end(struct request_timer *timer);
/* Counts a request, and measures until the handler returns. Once in a handler, at its beginning. */
#define REQUEST_COUNT(session, op)                                                                           \
    struct request_timer request_timer_ __attribute__((cleanup(request_end), unused)) =                      \
        request_begin(&(session)->stats, op)
/* The request that this thread handles will be handled anew: it is not measured yet. Returns when it came. */
struct timespec request_set_aside(void);
/* What this thread handles from now on was set aside, and counted, at `since`; NULL: no longer so. */
void request_again(const struct timespec *since);
/* Counts a request that is answered with an error. */
void request_failed(struct request_stats *stats, enum request_op op);

#endif

/*
 * marks.h - how far the checkpoints of a store are, for rooms that write none.
 *
 * Locking: none; written by image/checkpoint.c, atomic. */
#ifndef ENGRAMFS_MARKS_H
#define ENGRAMFS_MARKS_H

#include "base/util.h"
#include "core/config.h"

struct marks {
    /* The last batch in the newest checkpoint, and in the oldest that recovery may need; 0 while there are
     * fewer than two. */
    _Atomic uint64_t newest_seq, oldest_seq;
    /* The freeze that the newest was written from: what has changed since is younger. 0: none yet. */
    _Atomic uint64_t newest_freeze;
    _Atomic uint64_t log_bytes;  /* log.bytes at the newest checkpoint */
    _Atomic uint64_t disk_bytes; /* size of all checkpoint files */
    _Atomic uint64_t retry_at;   /* mono_ns() before which no checkpoint follows a failed one */
};

/* The wait after a checkpoint that failed, on a full disk say, ns. */
#define MARKS_RETRY_NS UINT64_C(10000000000)

/* Whether a log of `bytes`, with last batch `seq`, has grown by checkpoint_bytes or checkpoint_ops since the
 * newest checkpoint. */
bool marks_are_due(const struct marks *marks, const struct config *config, uint64_t bytes, uint64_t seq);

#endif

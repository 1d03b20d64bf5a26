/*
 * marks.h - how far the checkpoints of a store are, for rooms that write none.
 *
 * Locking: none; written by image/checkpoint.c, atomic. */
#ifndef ENGRAMFS_MARKS_H
#define ENGRAMFS_MARKS_H

#include "base/util.h"
#include "core/config.h"
#include "index/index.h"

struct marks {
    _Atomic uint64_t newest_seq; /* the last batch in the newest checkpoint; 0: there is none */
    _Atomic uint64_t newest_in;  /* the segment in which the log goes on behind it; 0: a new one */
    _Atomic uint64_t log_bytes;  /* log.bytes at the newest checkpoint */
    _Atomic uint64_t disk_bytes; /* size of all checkpoint files */
    _Atomic uint64_t echo_at;    /* mono_ns() before which none is written for the sake of the echo alone */
    _Atomic uint64_t retry_at;   /* mono_ns() before which no checkpoint follows a failed one */
    /* Chunks of each table whose changes the checkpoint under way has taken; they may come back. */
    _Atomic uint32_t taken[INDEX_TABLES];
};

/* The wait after a checkpoint that failed, on a full disk say, ns. */
#define MARKS_RETRY_NS UINT64_C(10000000000)

/* Whether a log of `bytes`, with last batch `seq`, has grown by checkpoint_bytes or checkpoint_ops since the
 * newest checkpoint. */
bool marks_are_due(const struct marks *marks, const struct config *config, uint64_t bytes, uint64_t seq);

#endif

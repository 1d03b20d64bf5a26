/*
 * counters.h - what the store counts since it was opened.
 *
 * Counters are atomic and relaxed: they order nothing. Durations are protected by the lock, a leaf. */
#ifndef ENGRAMFS_COUNTERS_H
#define ENGRAMFS_COUNTERS_H

#include "base/hist.h"
#include "base/util.h"
#include "index/index.h"

struct counters {
    _Atomic uint64_t reads, writes, bytes_read, bytes_written, read_restarts;
    _Atomic uint64_t sync_errors, checkpoints, checkpoint_written; /* the last in bytes, of both copies */
    _Atomic uint64_t compactions_ok, compactions_failed, compactions_cancelled, bytes_reclaimed;
    _Atomic uint64_t relocations, relocations_lost, damaged;
    _Atomic uint64_t recovery_echoed; /* batches that the opening took from the second copy of the log */
    _Atomic uint64_t recovery_damaged, recovery_healed; /* struct eng_recovery_figures, of all runs */

    _Atomic uint64_t states_kept, states_amended;
    /* Past states and names that the job `history` let go, by reason (enum floor_reason); 0: since no
     * snapshot shows them any more, or for a reason that an earlier opening knew. */
    _Atomic uint64_t past_dropped[FLOOR_REASONS];

    pthread_mutex_t lock;
    /* Protected by lock. */
    struct eng_hist compaction_seconds, sync_seconds;
    int64_t last_compaction;     /* ns since the epoch; 0: never */
    uint64_t last_compaction_ms; /* its duration */
};

#define COUNT(eng, field, n)                                                                                 \
    ((void)atomic_fetch_add_explicit(&(eng)->counters.field, (n), memory_order_relaxed))
#define COUNTED(eng, field) atomic_load_explicit(&(eng)->counters.field, memory_order_relaxed)

#endif

/*
 * marks.c - see marks.h.
 */
#include "core/marks.h"

#include "core/eng.h"

bool checkpoint_is_due(const struct eng *eng)
{
    const struct marks *marks = &eng->marks;
    uint64_t bytes = atomic_load_explicit(&eng->log.bytes, memory_order_relaxed) -
                     atomic_load_explicit(&marks->log_bytes, memory_order_relaxed);
    uint64_t batches = log_seq(&eng->log) - atomic_load_explicit(&marks->newest_seq, memory_order_relaxed);
    bool due = bytes > atomic_load_explicit(&eng->config.checkpoint_bytes, memory_order_relaxed) ||
               batches > atomic_load_explicit(&eng->config.checkpoint_ops, memory_order_relaxed);
    return due && mono_ns() >= atomic_load_explicit(&marks->retry_at, memory_order_relaxed);
}

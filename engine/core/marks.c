/*
 * marks.c - see marks.h. */
#include "core/marks.h"

bool marks_are_due(const struct marks *marks, const struct config *config, uint64_t bytes, uint64_t seq)
{
    uint64_t more = bytes - atomic_load_explicit(&marks->log_bytes, memory_order_relaxed);
    uint64_t batches = seq - atomic_load_explicit(&marks->newest_seq, memory_order_relaxed);
    bool due = more > atomic_load_explicit(&config->checkpoint_bytes, memory_order_relaxed) ||
               batches > atomic_load_explicit(&config->checkpoint_ops, memory_order_relaxed);
    return due && mono_ns() >= atomic_load_explicit(&marks->retry_at, memory_order_relaxed);
}

/*
 * flush.c - see flush.h. */
#include "commit/flush.h"

int flush_log(struct eng *eng)
{
    uint64_t t0 = mono_ns();
    bool flushed;
    int r = log_sync(&eng->log, &flushed);
    if (flushed) {
        pthread_mutex_lock(&eng->counters.lock);
        hist_add(&eng->counters.sync_seconds, (double)(mono_ns() - t0) / 1e9);
        pthread_mutex_unlock(&eng->counters.lock);
    }
    if (r && !eng->opt.read_only) {
        COUNT(eng, sync_errors, 1);
        if (atomic_load_explicit(&eng->log.failed, memory_order_acquire) && !MUTANT(NO_READ_ONLY))
            report_turn_read_only(&eng->report,
                                  "flushing the store failed (%s): what was not yet durable may be lost; "
                                  "mount again to recover",
                                  r == -ENOENT ? "its files were deleted" : strerror(-r));
    }
    return r;
}

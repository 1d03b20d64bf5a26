/*
 * daemon_figures.h - figures that the daemon has besides those of the engine: what runs, its jobs, the disk,
 * its requests and its process. They are told in metrics only. */
#ifndef ENGRAMFS_CONTROL_DAEMON_FIGURES_H
#define ENGRAMFS_CONTROL_DAEMON_FIGURES_H

#include "admin.h"
#include "request_stats.h"
#include "rules/figures.h"

struct daemon_figures {
    char version[32];
    /* Of the job that runs or last ended. */
    uint64_t compaction_running, compaction_planned, compaction_done, compaction_moved;
    uint64_t scrub_running, scrub_planned, scrub_done, scrub_damaged;
    uint64_t capacity_bytes, available_bytes;
    struct request_figures requests;
    uint64_t conflicts_refused;
    int64_t started; /* ns since the epoch */
    uint64_t resident_bytes, open_files, max_files, cpu_us;
};
struct figures figures_of_daemon(const struct daemon_figures *daemon);

#endif

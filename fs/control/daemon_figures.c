/*
 * daemon_figures.c - the table of the daemon's figures. No state. */
#include "control/daemon_figures.h"

#define FIGURE(field_, kind_, unit_, group_, metric_, label_, help_, ...)                                    \
    {                                                                                                        \
        ENG_FIGURE_FIELD(struct daemon_figures, field_),                                                     \
            .kind = ENG_FIGURE_##kind_, .unit = ENG_UNIT_##unit_, .group = ENG_GROUP_##group_,               \
            .metric = (metric_), .show = ENG_SHOW_NEVER, .label = (label_), .help = (help_), __VA_ARGS__     \
    }
#define REQUESTS(name_)                                                                                      \
    FIGURE(requests.requests[REQUEST_##name_], COUNTER, COUNT, OPERATIONS, "engram_fuse_requests_total",     \
           "requests", "FUSE requests that reached the daemon (round trips).", .series = "op",               \
           .of = #name_),
#define ERRORS(name_)                                                                                        \
    FIGURE(requests.errors[REQUEST_##name_], COUNTER, COUNT, OPERATIONS, "engram_fuse_errors_total",         \
           "requests failed",                                                                                \
           "FUSE requests answered with an error, names and attributes not found left out.", .series = "op", \
           .of = #name_),
#define DURATIONS(class_, of_)                                                                               \
    FIGURE(requests.durations[REQUEST_CLASS_##class_], HISTOGRAM, SECONDS, OPERATIONS,                       \
           "engram_fuse_request_duration_seconds", "durations of requests",                                  \
           "How long requests took in the daemon, by kind; a control file's verb that waits counts until "   \
           "it waits.",                                                                                      \
           .series = "class", .of = (of_), .bounds = request_bounds_seconds)

static const struct eng_figure table[] = {
    FIGURE(version, TEXT, TEXT, BUILD, "engram_build_info", "version",
           "Always 1; the version is in the label.", .series = "version"),
    FIGURE(compaction_running, GAUGE, COUNT, JOBS, "engram_content_compaction_running", "compaction runs",
           "1 while a compaction runs or is paused."),
    FIGURE(compaction_planned, GAUGE, COUNT, JOBS, "engram_content_compaction_segments_planned",
           "segments planned", "Victims of the compaction running or last ended."),
    FIGURE(compaction_done, GAUGE, COUNT, JOBS, "engram_content_compaction_segments_done", "segments done",
           "Victims of it that are emptied."),
    FIGURE(compaction_moved, GAUGE, BYTES, JOBS, "engram_content_compaction_moved_bytes", "moved",
           "Payload that it has copied."),
    FIGURE(scrub_running, GAUGE, COUNT, JOBS, "engram_content_scrub_running", "scrub runs",
           "1 while a scrub runs or is paused."),
    FIGURE(scrub_planned, GAUGE, BYTES, JOBS, "engram_content_scrub_planned_bytes", "to verify",
           "Payload that the scrub running or last ended verifies."),
    FIGURE(scrub_done, GAUGE, BYTES, JOBS, "engram_content_scrub_done_bytes", "verified",
           "Payload that it has verified."),
    FIGURE(scrub_damaged, GAUGE, COUNT, JOBS, "engram_content_scrub_damaged_extents", "found damaged",
           "Extents that it found damaged."),
    FIGURE(capacity_bytes, GAUGE, BYTES, DISK, "engram_store_capacity_bytes", "capacity",
           "Size of the disk of the store."),
    FIGURE(available_bytes, GAUGE, BYTES, DISK, "engram_store_available_bytes", "available",
           "Room for new content, reclaimable bytes counted."),
    REQUEST_OPS(REQUESTS) REQUEST_OPS(ERRORS) DURATIONS(READ, "read"),
    DURATIONS(WRITE, "write"),
    DURATIONS(SYNC, "sync"),
    DURATIONS(OTHER, "other"),
    FIGURE(conflicts_refused, COUNTER, COUNT, OPERATIONS, "engram_conflicts_refused_total",
           "conflicts refused",
           "Replacements that -o conflicts=refuse refused: who asked had seen an older state."),
    FIGURE(started, GAUGE, TIME, PROGRAM, "process_start_time_seconds", "started",
           "When the daemon started, seconds since the epoch."),
    FIGURE(resident_bytes, GAUGE, BYTES, PROGRAM, "process_resident_memory_bytes", "memory",
           "Resident memory of the daemon."),
    FIGURE(open_files, GAUGE, COUNT, PROGRAM, "process_open_fds", "open files",
           "Open file descriptors of the daemon."),
    FIGURE(max_files, GAUGE, COUNT, PROGRAM, "process_max_fds", "open files at most",
           "How many it may open."),
    FIGURE(cpu_us, COUNTER, MICROSECONDS, PROGRAM, "process_cpu_seconds_total", "processor time",
           "Processor time that the daemon has used."),
};

struct figures figures_of_daemon(const struct daemon_figures *daemon)
{
    return (struct figures){table, sizeof table / sizeof *table, daemon};
}

/*
 * metrics.c - the Prometheus text exposition (format 0.0.4).
 *
 * Names follow Prometheus's conventions: base units, _total on counters only,
 * no label whose values are not known beforehand. `promtool check metrics`
 * accepts the text. Takes no locks. */
#include "control/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void head(struct text *t, const char *name, const char *type, const char *help)
{
    text_add(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct text *t, const char *name, const char *help, uint64_t value)
{
    head(t, name, "gauge", help);
    text_add(t, "%s %" PRIu64 "\n", name, value);
}

static void gauge_real(struct text *t, const char *name, const char *help, double value)
{
    head(t, name, "gauge", help);
    text_add(t, "%s ", name);
    text_json_number(t, value);
    text_add(t, "\n");
}

static void counter(struct text *t, const char *name, const char *help, uint64_t value)
{
    head(t, name, "counter", help);
    text_add(t, "%s %" PRIu64 "\n", name, value);
}

static void labelled(struct text *t, const char *name, const char *label, const char *of, uint64_t value)
{
    text_add(t, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, of, value);
}

static void histogram(struct text *t, const char *name, const char *help, const struct eng_hist *h)
{
    head(t, name, "histogram", help);
    uint64_t sum = 0;
    for (int i = 0; i < ENG_HIST_BUCKETS; i++) {
        sum += h->count[i];
        if (i < ENG_HIST_BUCKETS - 1)
            text_add(t, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, eng_hist_bounds[i], sum);
        else
            text_add(t, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, sum);
    }
    text_add(t, "%s_sum %.9g\n%s_count %" PRIu64 "\n", name, h->sum, name, sum);
}

static void content_metrics(struct text *t, const struct eng_stats *s)
{
    gauge(t, "engram_content_storage_total_bytes", "Payload of all extents, live and dead.", s->total_bytes);
    gauge(t, "engram_content_storage_live_bytes", "Payload of live extents.", s->live_bytes);
    gauge_real(t, "engram_content_storage_fragmentation_ratio", "Dead share of the payload, 0 to 1.",
               s->fragmentation_ratio);
    const char *name = "engram_content_compactions_total";
    head(t, name, "counter", "Compactions ended since the mount, by result.");
    labelled(t, name, "result", "success", s->compactions_ok);
    labelled(t, name, "result", "failure", s->compactions_failed);
    labelled(t, name, "result", "cancelled", s->compactions_cancelled);
    histogram(t, "engram_content_compaction_duration_seconds", "Duration of compactions.",
              &s->compaction_seconds);
    counter(t, "engram_content_bytes_reclaimed_total", "Bytes given back to the disk by compaction.",
            s->bytes_reclaimed_total);
    gauge_real(t, "engram_content_last_compaction_timestamp_seconds",
               "When the last compaction ended; 0: never.", (double)s->last_compaction / 1e9);
    name = "engram_content_relocations_total";
    head(t, name, "counter", "Extents copied by compaction: installed, or superseded meanwhile.");
    labelled(t, name, "result", "installed", s->relocations);
    labelled(t, name, "result", "superseded", s->relocations_lost);
    gauge(t, "engram_content_damaged_extents", "Extents whose content failed its checksum.",
          s->damaged_extents);
}

static void compaction_metrics(struct text *t, const struct eng_compact_report *r)
{
    bool running = r->state == ENG_COMPACT_RUNNING || r->state == ENG_COMPACT_PAUSED;
    gauge(t, "engram_content_compaction_running", "1 while a compaction runs or is paused.", running);
    gauge(t, "engram_content_compaction_segments_planned", "Victims of the compaction running or last ended.",
          r->segments_total);
    gauge(t, "engram_content_compaction_segments_done", "Victims of it that are emptied.", r->segments_done);
    gauge(t, "engram_content_compaction_moved_bytes", "Payload that it has copied.", r->bytes_moved);
}

static void scrub_metrics(struct text *t, const struct eng_scrub_report *r)
{
    bool running = r->state == ENG_COMPACT_RUNNING || r->state == ENG_COMPACT_PAUSED;
    gauge(t, "engram_content_scrub_running", "1 while a scrub runs or is paused.", running);
    gauge(t, "engram_content_scrub_planned_bytes", "Payload that the scrub running or last ended verifies.",
          r->bytes_total);
    gauge(t, "engram_content_scrub_done_bytes", "Payload that it has verified.", r->bytes_done);
    gauge(t, "engram_content_scrub_damaged_extents", "Extents that it found damaged.", r->damaged);
}

static void store_metrics(struct text *t, const struct eng_stats *s, const struct eng_statfs *st)
{
    gauge(t, "engram_memories", "Regular files.", s->memories);
    gauge(t, "engram_directories", "Directories.", s->directories);
    gauge(t, "engram_orphans", "Inodes removed, but still open.", s->orphans);
    gauge(t, "engram_store_disk_bytes", "Segments and checkpoints, as files.", s->disk_bytes);
    gauge(t, "engram_store_checkpoint_bytes", "Checkpoints, as files.", s->checkpoint_bytes);
    gauge(t, "engram_store_reserve_bytes", "Reserve kept for compaction on a full disk.", s->reserve_bytes);
    gauge(t, "engram_store_capacity_bytes", "Size of the disk of the store.", st->blocks * st->block_size);
    gauge(t, "engram_store_available_bytes", "Room for new content, reclaimable bytes counted.",
          st->bavail * st->block_size);
    gauge(t, "engram_store_segments", "Segments, as files.", s->segments);
    gauge(t, "engram_store_segments_pending", "Empty segments that wait to be unlinked.",
          s->segments_pending);
    gauge(t, "engram_store_segments_pinned", "Segments that a reader is in.", s->pinned_segments);
    gauge(t, "engram_store_holds", "Holds that keep segments from being unlinked.", s->holds);
    gauge(t, "engram_store_read_only", "1 if the store takes no writes.", s->read_only_reason[0] != '\0');
    gauge(t, "engram_store_log_sequence", "Last batch written.", s->log_seq);
    gauge(t, "engram_store_durable_sequence", "Last batch known durable.", s->durable_seq);
    gauge(t, "engram_store_checkpoint_sequence", "Last batch in a checkpoint.", s->checkpoint_seq);
    gauge(t, "engram_index_bytes", "Memory of the index.", s->index_bytes);
    counter(t, "engram_batches_total", "Batches written to the log.", s->batches);
    counter(t, "engram_checkpoints_total", "Checkpoints written.", s->checkpoints);
    counter(t, "engram_syncs_total", "Device flushes.", s->syncs);
    counter(t, "engram_sync_errors_total", "Device flushes that failed.", s->sync_errors);
    histogram(t, "engram_sync_duration_seconds", "Duration of device flushes.", &s->sync_seconds);
}

static void space_metrics(struct text *t, const struct eng_space *sp)
{
    const char *name = "engram_store_space_bytes";
    gauge(t, "engram_store_usage_bytes", "Disk blocks that the store takes, as du counts.", sp->disk_bytes);
    head(t, name, "gauge", "Where they are; the sum over all kinds is engram_store_usage_bytes.");
    for (int i = 0; i < ENG_SPACE_KINDS; i++)
        text_add(t, "%s{kind=\"%s\"} %" PRId64 "\n", name, eng_space_kinds[i].key, sp->bytes[i]);
}

static void operation_metrics(struct text *t, const struct eng_stats *s)
{
    const char *name = "engram_operations_total";
    head(t, name, "counter", "Content operations of the engine.");
    labelled(t, name, "op", "read", s->reads);
    labelled(t, name, "op", "write", s->writes);
    name = "engram_operation_bytes_total";
    head(t, name, "counter", "Content bytes read and written.");
    labelled(t, name, "op", "read", s->bytes_read);
    labelled(t, name, "op", "write", s->bytes_written);
    counter(t, "engram_read_restarts_total", "Reads begun anew because a memory was moved meanwhile.",
            s->read_restarts);
}

static void fuse_metrics(struct text *t, const struct session *session)
{
    const char *name = "engram_fuse_requests_total";
    head(t, name, "counter", "FUSE requests that reached the daemon (round trips).");
    for (int i = 0; i < REQUEST_OP_COUNT; i++)
        labelled(t, name, "op", request_op_names[i],
                 atomic_load_explicit(&session->stats.requests[i], memory_order_relaxed));
    name = "engram_fuse_errors_total";
    head(t, name, "counter",
         "FUSE requests answered with an error, names and attributes not found left out.");
    for (int i = 0; i < REQUEST_OP_COUNT; i++)
        labelled(t, name, "op", request_op_names[i],
                 atomic_load_explicit(&session->stats.errors[i], memory_order_relaxed));
}

static void duration_metrics(struct text *t, const struct session *session)
{
    const char *name = "engram_fuse_request_duration_seconds";
    head(t, name, "histogram",
         "How long requests took in the daemon, by kind; a control file's verb that waits counts until it "
         "waits.");
    for (int c = 0; c < REQUEST_CLASSES; c++) {
        const struct request_durations *d = &session->stats.durations[c];
        uint64_t sum = 0;
        for (int i = 0; i < REQUEST_BUCKETS; i++) {
            sum += atomic_load_explicit(&d->count[i], memory_order_relaxed);
            text_add(t, "%s_bucket{class=\"%s\",le=\"", name, request_class_names[c]);
            if (i < REQUEST_BUCKETS - 1)
                text_add(t, "%g\"} %" PRIu64 "\n", (double)request_bounds[i] / 1e9, sum);
            else
                text_add(t, "+Inf\"} %" PRIu64 "\n", sum);
        }
        text_add(t, "%s_sum{class=\"%s\"} %.9g\n%s_count{class=\"%s\"} %" PRIu64 "\n", name,
                 request_class_names[c], (double)atomic_load_explicit(&d->sum, memory_order_relaxed) / 1e9,
                 name, request_class_names[c], sum);
    }
}

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    (void)fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_files(void)
{
    uint64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    (void)closedir(dir);
    return n > 3 ? n - 3 : 0; /* "." and "..", and that of the folder itself */
}

static void process_metrics(struct text *t, const struct session *session)
{
    struct rusage use = {0};
    struct rlimit files = {0};
    (void)getrusage(RUSAGE_SELF, &use);
    (void)getrlimit(RLIMIT_NOFILE, &files);
    gauge_real(t, "process_start_time_seconds", "When the daemon started, seconds since the epoch.",
               (double)session->started / 1e9);
    gauge(t, "process_resident_memory_bytes", "Resident memory of the daemon.", resident_bytes());
    gauge(t, "process_open_fds", "Open file descriptors of the daemon.", open_files());
    gauge(t, "process_max_fds", "How many it may open.", files.rlim_cur);
    head(t, "process_cpu_seconds_total", "counter", "Processor time that the daemon has used.");
    text_add(t, "process_cpu_seconds_total %.6f\n",
             (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                 (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
}

int ctl_metrics(struct session *session, struct text *t)
{
    struct eng_stats s;
    struct eng_compact_report report;
    struct eng_scrub_report scrub;
    struct eng_statfs st;
    struct eng_space space;
    int r = session_stats(session, &s);
    if (!r)
        r = eng_compact_status(session->eng, &report);
    if (!r)
        r = eng_scrub_status(session->eng, &scrub);
    if (!r)
        r = eng_statfs(session->eng, &st);
    if (!r)
        r = eng_space(session->eng, &space);
    if (r)
        return r;
    head(t, "engram_build_info", "gauge", "Always 1; the version is in the label.");
    text_add(t, "engram_build_info{version=\"%s\"} 1\n", ENG_VERSION);
    content_metrics(t, &s);
    compaction_metrics(t, &report);
    scrub_metrics(t, &scrub);
    store_metrics(t, &s, &st);
    space_metrics(t, &space);
    operation_metrics(t, &s);
    fuse_metrics(t, session);
    duration_metrics(t, session);
    process_metrics(t, session);
    return 0;
}

/*
 * figures.c - the table of figures: of each field of struct eng_stats how it is told, in JSON, in metrics and
 * to people. No state.
 *
 * A new figure is a field in admin.h, a line here, and the line that measures it in stats.c. The order is
 * that of stats.json. */
#include "admin.h"

#define FIGURE(field_, kind_, unit_, group_, key_, metric_, show_, label_, help_, ...)                       \
    {                                                                                                        \
        ENG_FIGURE_FIELD(struct eng_stats, field_),                                                          \
            .kind = ENG_FIGURE_##kind_, .unit = ENG_UNIT_##unit_, .group = ENG_GROUP_##group_,               \
            .key = (key_), .metric = (metric_), .show = ENG_SHOW_##show_, .label = (label_),                 \
            .help = (help_), __VA_ARGS__                                                                     \
    }

/* Several series of one metric. */
#define COMPACTIONS(field_, of_)                                                                             \
    FIGURE(field_, COUNTER, COUNT, COMPACTION, "compactions_total", "engram_content_compactions_total",      \
           ALWAYS, "compactions", "Compactions ended since the mount, by result.", .series = "result",       \
           .of = (of_))
#define RELOCATIONS(field_, key_, label_, of_)                                                               \
    FIGURE(field_, COUNTER, COUNT, COMPACTION, key_, "engram_content_relocations_total", NEVER, label_,      \
           "Extents copied by compaction: installed, or superseded meanwhile.", .series = "result",          \
           .of = (of_))
#define OPERATIONS(field_, label_, of_)                                                                      \
    FIGURE(field_, COUNTER, COUNT, OPERATIONS, NULL, "engram_operations_total", NEVER, label_,               \
           "Content operations of the engine.", .series = "op", .of = (of_))
#define OPERATION_BYTES(field_, label_, of_)                                                                 \
    FIGURE(field_, COUNTER, BYTES, OPERATIONS, NULL, "engram_operation_bytes_total", NEVER, label_,          \
           "Content bytes read and written.", .series = "op", .of = (of_))

#define PAST_DROPPED(field_, of_)                                                                            \
    FIGURE(field_, COUNTER, COUNT, MEMORIES, #field_, "engram_history_dropped_total", NEVER, "past dropped", \
           "Past states and names let go, by reason; unseen: no snapshot shows them any more.",              \
           .series = "reason", .of = (of_))

const struct eng_figure eng_figures[] = {
    FIGURE(total_bytes, GAUGE, BYTES, CONTENT, "total_bytes", "engram_content_storage_total_bytes", NEVER,
           "total", "Payload of all extents, live and dead."),
    FIGURE(live_bytes, GAUGE, BYTES, CONTENT, "live_bytes", "engram_content_storage_live_bytes", NEVER,
           "live", "Payload of live extents."),
    FIGURE(fragmentation_ratio, GAUGE, RATIO, CONTENT, "fragmentation_ratio",
           "engram_content_storage_fragmentation_ratio", NEVER, "fragmentation",
           "Garbage as a share of payload and spent metadata, 0 to 1."),
    FIGURE(spent_bytes, GAUGE, BYTES, CONTENT, "spent_bytes", "engram_content_storage_spent_bytes", NEVER,
           "spent", "Metadata of the log that no recovery needs: garbage, as dead payload is."),
    COMPACTIONS(compactions_ok, "success"),
    COMPACTIONS(compactions_failed, "failure"),
    COMPACTIONS(compactions_cancelled, "cancelled"),
    FIGURE(compaction_duration_ms, GAUGE, MILLISECONDS, COMPACTION, "compaction_duration_ms", NULL, NEVER,
           "duration", "How long the last compaction took."),
    FIGURE(compaction_seconds, HISTOGRAM, SECONDS, COMPACTION, NULL,
           "engram_content_compaction_duration_seconds", NEVER, "durations", "Duration of compactions.",
           .bounds = eng_hist_bounds),
    FIGURE(bytes_reclaimed_total, COUNTER, BYTES, COMPACTION, "bytes_reclaimed_total",
           "engram_content_bytes_reclaimed_total", ALWAYS, "given back",
           "Bytes given back to the disk by compaction."),
    FIGURE(last_compaction, GAUGE, TIME, COMPACTION, "last_compaction",
           "engram_content_last_compaction_timestamp_seconds", ALWAYS, "last",
           "When the last compaction ended; 0: never."),
    FIGURE(memories, GAUGE, COUNT, MEMORIES, "memories", "engram_memories", ALWAYS, "memories",
           "Regular files, but for those that the past alone shows."),
    FIGURE(directories, GAUGE, COUNT, MEMORIES, "directories", "engram_directories", ALWAYS, "directories",
           "Directories."),
    FIGURE(other_inodes, GAUGE, COUNT, MEMORIES, NULL, NULL, NEVER, "others",
           "Inodes that are neither: links, pipes, sockets, devices."),
    FIGURE(orphans, GAUGE, COUNT, MEMORIES, "orphans", "engram_orphans", IF_ANY, "orphans",
           "Inodes removed, but still open."),
    FIGURE(snapshots, GAUGE, COUNT, MEMORIES, "snapshots", "engram_snapshots", IF_ANY, "snapshots",
           "Snapshots of the store."),
    FIGURE(past_bytes, GAUGE, BYTES, MEMORIES, "past_bytes", "engram_content_storage_past_bytes", NEVER,
           "in the past alone", "Payload of live extents that snapshots or the history alone show."),
    FIGURE(past_states, GAUGE, COUNT, MEMORIES, "past_states", "engram_past_states", IF_ANY, "past states",
           "States of memories that ended and are kept."),
    FIGURE(past_names, GAUGE, COUNT, MEMORIES, "past_names", "engram_past_names", IF_ANY, "past names",
           "Names that ended and are kept."),
    FIGURE(past_since, GAUGE, TIME, MEMORIES, "past_since", "engram_history_since_timestamp_seconds", NEVER,
           "past whole since", "Since when the past is kept whole; 0: it is not."),
    FIGURE(states_kept, COUNTER, COUNT, MEMORIES, "states_kept", "engram_history_states_kept_total", NEVER,
           "states kept", "States that ended and were kept."),
    FIGURE(states_amended, COUNTER, COUNT, MEMORIES, "states_amended", "engram_history_states_amended_total",
           NEVER, "states amended", "States that ended and stood too short to be kept by the history."),
    PAST_DROPPED(dropped_unseen, "unseen"),
    PAST_DROPPED(dropped_off, "off"),
    PAST_DROPPED(dropped_age, "age"),
    PAST_DROPPED(dropped_bytes, "bytes"),
    PAST_DROPPED(dropped_versions, "versions"),
    PAST_DROPPED(dropped_full_disk, "full_disk"),
    FIGURE(segments, GAUGE, COUNT, SEGMENTS, "segments", "engram_store_segments", ALWAYS, "segments",
           "Segments, as files."),
    FIGURE(segments_pending, GAUGE, COUNT, SEGMENTS, "segments_pending", "engram_store_segments_pending",
           IF_ANY, "segments pending", "Empty segments that wait to be unlinked."),
    FIGURE(disk_bytes, GAUGE, BYTES, DISK, "disk_bytes", "engram_store_disk_bytes", NEVER, "files",
           "Segments and checkpoints, as files."),
    FIGURE(checkpoint_bytes, GAUGE, BYTES, DISK, "checkpoint_bytes", "engram_store_checkpoint_bytes", NEVER,
           "checkpoints", "Checkpoints, as files."),
    FIGURE(reserve_bytes, GAUGE, BYTES, DISK, "reserve_bytes", "engram_store_reserve_bytes", NEVER, "reserve",
           "Reserve kept for compaction on a full disk."),
    FIGURE(index_bytes, GAUGE, BYTES, INDEX, "index_bytes", "engram_index_bytes", NEVER, "index",
           "Memory of the index."),
    FIGURE(index_unverified_bytes, GAUGE, BYTES, INDEX, "index_unverified_bytes",
           "engram_index_unverified_bytes", IF_ANY, "index unverified",
           "Memory of the index that is still to be loaded or verified."),
    FIGURE(pinned_segments, GAUGE, COUNT, SEGMENTS, "pinned_segments", "engram_store_segments_pinned", IF_ANY,
           "segments pinned", "Segments that a reader is in."),
    FIGURE(holds, GAUGE, COUNT, SEGMENTS, "holds", "engram_store_holds", IF_ANY, "holds",
           "Holds that keep segments from being unlinked."),
    FIGURE(damaged_extents, GAUGE, COUNT, DAMAGE, "damaged_extents", "engram_content_damaged_extents", IF_ANY,
           "DAMAGED extents", "Extents whose content failed its checksum."),
    FIGURE(
        recovery_damaged, COUNTER, COUNT, DAMAGE, "recovery_damaged", "engram_recovery_damaged_total", IF_ANY,
        "DAMAGED own files",
        "Parts of what a recovery needs that scrubs found damaged: checkpoints, log, headers, superblock."),
    FIGURE(recovery_healed, COUNTER, COUNT, DAMAGE, "recovery_healed", "engram_recovery_healed_total", IF_ANY,
           "  of these healed", "Of these, made good."),
    FIGURE(recovery_echoed, COUNTER, COUNT, DAMAGE, "recovery_echoed", "engram_recovery_echoed_total", IF_ANY,
           "DAMAGED batches",
           "Batches that the log had lost, and that the opening took from its second copy."),
    FIGURE(echo_dropped, COUNTER, COUNT, DAMAGE, "echo_dropped", "engram_echo_dropped_total", IF_ANY,
           "batches not echoed", "Batches of which no second copy could be written before a checkpoint."),
    FIGURE(echo_bytes, GAUGE, BYTES, SEQUENCES, "echo_bytes", "engram_echo_bytes", NEVER,
           "second copy of log",
           "Size of the second copy of the log's metadata since the newest checkpoint."),
    FIGURE(echo_written, COUNTER, BYTES, SEQUENCES, "echo_written", "engram_echo_written_bytes_total", NEVER,
           "  written", "Bytes written to the second copy of the log's metadata."),
    FIGURE(log_seq, GAUGE, COUNT, SEQUENCES, "log_seq", "engram_store_log_sequence", NEVER, "batch",
           "Last batch written."),
    FIGURE(durable_seq, GAUGE, COUNT, SEQUENCES, "durable_seq", "engram_store_durable_sequence", NEVER,
           "durable to", "Last batch known durable."),
    FIGURE(checkpoint_seq, GAUGE, COUNT, SEQUENCES, "checkpoint_seq", "engram_store_checkpoint_sequence",
           NEVER, "checkpoint at", "Last batch in a checkpoint."),
    FIGURE(batches, COUNTER, COUNT, SYNCS, NULL, "engram_batches_total", NEVER, "batches",
           "Batches written to the log."),
    FIGURE(checkpoints, COUNTER, COUNT, SYNCS, NULL, "engram_checkpoints_total", NEVER, "checkpoints",
           "Checkpoints written."),
    FIGURE(checkpoint_written, COUNTER, BYTES, SYNCS, "checkpoint_written", "engram_checkpoint_bytes_total",
           NEVER, "checkpoints written", "Bytes of checkpoints written, both copies."),
    FIGURE(syncs, COUNTER, COUNT, SYNCS, NULL, "engram_syncs_total", NEVER, "syncs", "Device flushes."),
    FIGURE(sync_errors, COUNTER, COUNT, SYNCS, NULL, "engram_sync_errors_total", NEVER, "syncs failed",
           "Device flushes that failed."),
    FIGURE(sync_seconds, HISTOGRAM, SECONDS, SYNCS, NULL, "engram_sync_duration_seconds", NEVER,
           "durations of syncs", "Duration of device flushes.", .bounds = eng_hist_bounds),
    RELOCATIONS(relocations, "relocations", "extents moved", "installed"),
    RELOCATIONS(relocations_lost, "relocations_lost", "extents superseded", "superseded"),
    OPERATIONS(reads, "reads", "read"),
    OPERATIONS(writes, "writes", "write"),
    OPERATION_BYTES(bytes_read, "read", "read"),
    OPERATION_BYTES(bytes_written, "written", "write"),
    FIGURE(read_restarts, COUNTER, COUNT, OPERATIONS, "read_restarts", "engram_read_restarts_total", NEVER,
           "reads begun anew", "Reads begun anew because a memory was moved meanwhile."),
    FIGURE(read_only_reason, TEXT, TEXT, TROUBLE, "read_only_reason", "engram_store_read_only", IF_ANY,
           "READ-ONLY", "1 if the store takes no writes."),
    FIGURE(last_error, TEXT, TEXT, TROUBLE, "last_error", NULL, IF_ANY, "last error",
           "The last error of background work.", .is_null_if_none = true),
};
const size_t eng_figures_count = sizeof eng_figures / sizeof *eng_figures;

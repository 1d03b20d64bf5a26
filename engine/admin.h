/*
 * admin.h - the administrator's side of the engine: statistics, where the
 * space is, configuration, damage, background work, verification, and a look
 * into segments. engine.h has the conventions. */
#ifndef ENGRAMFS_ADMIN_H
#define ENGRAMFS_ADMIN_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- statistics and configuration --------------------------------------- */

#define ENG_HIST_BUCKETS 16
/* Upper bounds in seconds of the duration histograms; the last bucket is +Inf. */
ENG_API extern const double eng_hist_bounds[ENG_HIST_BUCKETS - 1];
struct eng_hist {
    uint64_t count[ENG_HIST_BUCKETS]; /* not cumulative */
    double sum;                       /* seconds */
};

struct eng_statfs {
    uint64_t block_size;            /* bytes */
    uint64_t blocks, bfree, bavail; /* in block_size */
    uint64_t files, ffree;
};
ENG_API int eng_statfs(struct eng *eng, struct eng_statfs *ret_st);

struct eng_stats {
    uint64_t total_bytes; /* payload of all extents, live and dead, in all segments */
    uint64_t live_bytes;
    double fragmentation_ratio; /* (total - live) / total; 0 when empty */
    uint64_t memories;          /* regular files */
    uint64_t directories, other_inodes, orphans;
    uint64_t segments, segments_pending; /* pending: empty, waiting to be unlinked */
    uint64_t disk_bytes;                 /* segments and checkpoints, up to where they are used */
    uint64_t checkpoint_bytes, reserve_bytes;
    uint64_t pinned_segments, holds;
    uint64_t log_seq, durable_seq, checkpoint_seq; /* sequence numbers of batches */
    uint64_t compactions_ok, compactions_failed, compactions_cancelled;
    uint64_t compaction_duration_ms; /* of the last one */
    uint64_t bytes_reclaimed_total;
    int64_t last_compaction;                /* ns since the epoch; 0: never */
    uint64_t relocations, relocations_lost; /* installed; copy superseded before install (I3) */
    uint64_t reads, writes, bytes_read, bytes_written, read_restarts;
    uint64_t syncs, sync_errors, checkpoints, batches;
    uint64_t damaged_extents;
    uint64_t index_bytes; /* memory of the index */
    struct eng_hist compaction_seconds, sync_seconds;
    char read_only_reason[256]; /* "" while writable */
    char last_error[256];       /* of background work; "" if none */
};
ENG_API int eng_stats(struct eng *eng, struct eng_stats *ret_stats);

/* ---- where the space is ---------------------------------------------------- */

/* Each byte that the store takes from the disk is of one of these kinds. */
enum eng_space_id {
    ENG_SPACE_LIVE,
    ENG_SPACE_ORPHANS,         /* removed, but still open: live to the store */
    ENG_SPACE_DEAD,            /* dead in sealed segments that also hold live bytes */
    ENG_SPACE_DEAD_ACTIVE,     /* dead in the active segment */
    ENG_SPACE_HELD,            /* emptied segments, kept by: eng_hold() */
    ENG_SPACE_WAIT_SYNC,       /* ... what emptied them is not durable yet */
    ENG_SPACE_WAIT_CHECKPOINT, /* ... a checkpoint that recovery may use needs their metadata */
    ENG_SPACE_PINNED,          /* ... a reader */
    ENG_SPACE_EMPTY,           /* ... nothing: the next look unlinks them */
    ENG_SPACE_COPIES,          /* output of a compaction that is not installed yet */
    ENG_SPACE_METADATA,        /* of the log: headers, operations, checksums, names */
    ENG_SPACE_CHECKPOINTS,
    ENG_SPACE_RESERVE,
    ENG_SPACE_SLACK, /* whole blocks, zeros ahead of the log (at most 256 KiB), the folder itself,
                        small files; negative where the disk compresses */
    ENG_SPACE_KINDS
};
struct eng_space_kind {
    const char *key, *label; /* for machines and for people */
    const char *gives_back;  /* what makes the space free again */
};
ENG_API extern const struct eng_space_kind eng_space_kinds[ENG_SPACE_KINDS];

#define ENG_SPACE_ORPHANS_MAX 16
struct eng_space {
    uint64_t disk_bytes;            /* as du counts the folder (if it can): the sum of `bytes` */
    int64_t bytes[ENG_SPACE_KINDS]; /* by enum eng_space_id */
    uint64_t n_orphans;
    struct eng_space_orphan {
        uint64_t ino, bytes;
        char path[256];               /* the name that it had, cut if it is longer; "" if unknown */
    } orphans[ENG_SPACE_ORPHANS_MAX]; /* the first of n_orphans */
};
ENG_API int eng_space(struct eng *eng, struct eng_space *ret_space);

struct eng_segment_info {
    uint64_t id;
    uint64_t size;                   /* of the file, bytes */
    uint64_t total, live;            /* payload bytes */
    bool active, survivors, pending; /* pending: empty, waiting to be unlinked */
};
/* Calls `emit` for each segment in order of id, under no lock; stops when it returns non-zero. */
ENG_API int eng_segments(struct eng *eng, int (*emit)(void *arg, const struct eng_segment_info *info),
                         void *arg);

enum eng_file_kind { ENG_FILE_LOG, ENG_FILE_SURVIVORS, ENG_FILE_CHECKPOINT };
struct eng_file {
    char name[32];
    enum eng_file_kind kind;
    bool active; /* the segment that is written to */
    uint64_t id;
    uint64_t size;        /* bytes that belong to this moment: the file may have more by now */
    uint64_t total, live; /* payload bytes; of segments */
};
/* The number that tells this store from all others: of the superblock, and of each file's header. */
ENG_API void eng_uuid(struct eng *eng, uint8_t ret_uuid[16]);
/*
 * Calls `emit` for each segment and each checkpoint, in order of kind and id, under no lock; stops when it
 * returns non-zero. They are of one moment: copied while eng_hold() is in force, together with the
 * superblock, and cut to these sizes, they are a store with the state at the time of the call. */
ENG_API int eng_files(struct eng *eng, int (*emit)(void *arg, const struct eng_file *file), void *arg);

/*
 * Configuration, kept over restarts. Keys: compact_min_fragmentation (0..1),
 * compact_min_bytes, startup_fragmentation (0..1), compact_rate (bytes/s, 0
 * unlimited), auto_compact (0|1), checkpoint_bytes, checkpoint_ops,
 * commit_ms. -ENOENT unknown key, -EINVAL bad value. */
ENG_API int eng_config_set(struct eng *eng, const char *key, const char *value);
struct eng_config_pair {
    const char *key, *value;
};
/* The same for several: all of them or, when one is wrong, none. */
ENG_API int eng_config_set_all(struct eng *eng, const struct eng_config_pair *pairs, size_t n);
/* Takes over what the file "config" says by now; a line that is not understood is logged and its default
 * used. */
ENG_API int eng_config_reload(struct eng *eng);
ENG_API int eng_config_each(struct eng *eng, void (*emit)(void *arg, const char *key, const char *value),
                            void *arg);

struct eng_damage {
    uint64_t ino, segment, offset; /* offset of the extent within the segment */
    char path[1024];               /* relative to the root; "" if unknown */
    char reason[64];
};
ENG_API int eng_damaged(struct eng *eng, void (*emit)(void *arg, const struct eng_damage *d), void *arg);

/* ---- compaction and maintenance ----------------------------------------- */

enum eng_compact_state {
    ENG_COMPACT_IDLE, /* none since the store was opened */
    ENG_COMPACT_RUNNING,
    ENG_COMPACT_PAUSED,
    ENG_COMPACT_DONE,
    ENG_COMPACT_FAILED,
    ENG_COMPACT_CANCELLED
};
struct eng_compact_report {
    enum eng_compact_state state;
    int error;                   /* 0 or negative errno */
    uint64_t old_size, new_size; /* disk use of the store as du counts it, bytes */
    uint64_t bytes_reclaimed;    /* old_size - new_size, 0 if it grew */
    uint64_t duration_ms;
    double fragmentation_before, fragmentation_after;
    uint64_t segments_done, segments_total;                /* victims emptied, victims chosen */
    uint64_t bytes_moved;                                  /* payload copied */
    uint64_t extents_moved, extents_lost, extents_damaged; /* installed, superseded, left in place */
    uint64_t rate;                                         /* bytes/s, 0 unlimited */
    /* What it has moved and given back, less what eng_compact_estimate() said when it began; once it is done,
     * and 0 for a run by thresholds, which does not take all. The first is not 0 only if memories were
     * changed meanwhile; given back are bytes of the disk, metadata included. */
    int64_t estimate_error_moved, estimate_error_given_back;
    char reason[128]; /* why it ran, or why nothing moved */
    char error_text[256];
};

struct eng_compact_estimate {
    uint64_t segments, bytes_to_move, bytes_given_back;
};

/*
 * Starts a full compaction in the background (or, with no_background, runs
 * it here): seals the active segment and moves every live extent out of each
 * segment that holds garbage. `done`, if not NULL, is called once from the
 * worker when the emptied segments have been unlinked or the job has failed;
 * it must not block. Bounds: memory at most 40 MiB plus 64 bytes for each
 * extent of one output segment; disk at most two segments more than before,
 * plus 64 bytes of log for each extent moved. -EBUSY one is running already. */
ENG_API int eng_compact_start(struct eng *eng, void (*done)(void *arg, const struct eng_compact_report *),
                              void *arg);
/* eng_compact_start() and wait. Returns the job's error; ret_report (may be NULL) is written even then. */
ENG_API int eng_compact(struct eng *eng, struct eng_compact_report *ret_report);
/* Calls `done` when the running compaction ends; at once, here, if none runs. */
ENG_API int eng_compact_wait(struct eng *eng, void (*done)(void *arg, const struct eng_compact_report *),
                             void *arg);
/* -ESRCH when none is running. */
ENG_API int eng_compact_pause(struct eng *eng);
ENG_API int eng_compact_resume(struct eng *eng);
ENG_API int eng_compact_cancel(struct eng *eng);
ENG_API int eng_compact_rate(struct eng *eng, uint64_t bytes_per_second);
ENG_API int eng_compact_status(struct eng *eng, struct eng_compact_report *ret_report);
ENG_API int eng_compact_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate);

struct eng_maintenance_report {
    bool compacted;
    struct eng_compact_report compaction; /* valid if compacted */
    double fragmentation_ratio;           /* before */
    uint64_t total_bytes;                 /* before */
    char reason[128];
};
/*
 * Compacts, here and now, if fragmentation_ratio > compact_min_fragmentation
 * and total_bytes > compact_min_bytes. -EBUSY while a compaction runs. */
ENG_API int eng_run_maintenance(struct eng *eng, struct eng_maintenance_report *ret_report);
/* The same in the background; `done` is called once from the worker. */
ENG_API int eng_maintenance_start(struct eng *eng,
                                  void (*done)(void *arg, const struct eng_maintenance_report *, int error),
                                  void *arg);

/* While held no segment is unlinked, so that the store's folder can be copied. Nests; -EINVAL when not
 * held. */
ENG_API int eng_hold(struct eng *eng);
ENG_API int eng_release(struct eng *eng);

/* ---- verification ------------------------------------------------------- */

struct eng_scrub_report {
    enum eng_compact_state state;
    int error;
    uint64_t bytes_done, bytes_total; /* payload bytes */
    uint64_t extents, damaged;
    uint64_t duration_ms, rate;
};
/* Verifies every live extent in the background, as eng_compact_start() works. */
ENG_API int eng_scrub_start(struct eng *eng, void (*done)(void *arg, const struct eng_scrub_report *),
                            void *arg);
ENG_API int eng_scrub_wait(struct eng *eng, void (*done)(void *arg, const struct eng_scrub_report *),
                           void *arg);
ENG_API int eng_scrub_pause(struct eng *eng);
ENG_API int eng_scrub_resume(struct eng *eng);
ENG_API int eng_scrub_cancel(struct eng *eng);
ENG_API int eng_scrub_rate(struct eng *eng, uint64_t bytes_per_second);
ENG_API int eng_scrub_status(struct eng *eng, struct eng_scrub_report *ret_report);

/* A piece of content that no memory has: what was written behind the damage, or all if no index is left. */
struct eng_lost {
    uint64_t ino, offset, size;       /* which bytes of which file, in bytes; size at most 256 KiB */
    uint64_t seq;                     /* order of writing: of two that overlap the greater is right */
    uint64_t segment, segment_offset; /* where it was found */
    char path[1024];                  /* where the file was when it was written; "" if unknown */
};
/*
 * Of a store opened with `salvage`: reads all segments for self-describing extents that are whole by their
 * checksums and calls `emit` for each; `data` and `piece` are valid during the call. Stops when it returns
 * non-zero, which is then returned. Nothing is emitted when nothing was damaged. */
ENG_API int eng_lost(struct eng *eng, int (*emit)(void *arg, const struct eng_lost *piece, const void *data),
                     void *arg);

struct eng_check_report {
    uint64_t inodes, dentries, extents, bytes, segments;
    uint64_t problems; /* 0: all holds */
};
/*
 * Verifies every checksum, every locator and every count of an open store
 * (open it read-only to check a store without changing it). `problem` is called with one
 * line for each finding. Writers are held off while the index is walked. */
ENG_API int eng_check(struct eng *eng, void (*problem)(void *arg, const char *line), void *arg,
                      struct eng_check_report *ret_report);

/* ---- looking into a segment --------------------------------------------- */

enum eng_dump_type {
    ENG_DUMP_NUMBER,
    ENG_DUMP_OCTAL,
    ENG_DUMP_HEX,
    ENG_DUMP_TIME, /* ns since the epoch, an int64_t */
    ENG_DUMP_BYTES
};
struct eng_dump_field {
    const char *key;
    enum eng_dump_type type;
    uint64_t number;
    const void *bytes; /* ENG_DUMP_BYTES */
    size_t len;
};
struct eng_dump_item {
    int depth;             /* 0 the segment, 1 a batch (of survivors: an extent), 2 what is in it */
    const char *kind;      /* "segment", "batch", "data", an operation, "zeros", "unreadable" */
    uint64_t offset, size; /* where it is in the file, bytes */
    const struct eng_dump_field *fields;
    size_t n_fields;
    const char *problem; /* NULL: its checksums hold */
};
/*
 * Calls `emit` for each record in the file of segment `segment` of the store in directory `store` (or, if it
 * is not NULL, in `io`), in order; items are valid during the call; stops when it returns non-zero, which is
 * then returned. The file is read as it is, without a lock: the store may be in use, or damaged. With
 * `content` the checksums of contents are verified as well. -ENOENT. */
ENG_API int eng_dump(const char *store, struct eng_io *io, uint32_t segment, bool content,
                     int (*emit)(void *arg, const struct eng_dump_item *item), void *arg);

#ifdef __cplusplus
}
#endif
#endif

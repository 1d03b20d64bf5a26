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

/* ---- figures ------------------------------------------------------------- */

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
/* Writes the first `size` bytes of the struct, and zeros behind what this engine knows; `size` may be any but
 * 0. So do the other _sized functions with a ret_ parameter. */
ENG_API int eng_statfs_sized(struct eng *eng, struct eng_statfs *ret_st, size_t size);
static inline int eng_statfs(struct eng *eng, struct eng_statfs *ret_st)
{
    return eng_statfs_sized(eng, ret_st, sizeof *ret_st);
}

/* What each field means, and how it is told, is in eng_figures. */
struct eng_stats {
    uint64_t total_bytes; /* payload of all extents, live and dead, in all segments */
    uint64_t live_bytes;
    double fragmentation_ratio; /* (total + spent - live) / (total + spent); 0 when empty */
    uint64_t memories;          /* regular files, but for those that the past alone shows; so the next two */
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
    /* Parts of what a recovery would need that scrubs and checks found damaged; of these, made good. */
    uint64_t recovery_damaged, recovery_healed;
    /* What compaction gives back besides dead payload: metadata of the log that no recovery needs. */
    uint64_t spent_bytes;
    /* Memory of the index that is still to be loaded or verified, behind a store that is open; 0: all is. */
    uint64_t index_unverified_bytes;
    /* The second copy of the log's metadata: its files now, written since opening; batches of which none
     * could be written; batches that the opening took from it, since the log had lost them. */
    uint64_t echo_bytes, echo_written, echo_dropped, recovery_echoed;
    uint64_t checkpoint_written; /* bytes of checkpoints since the store was opened, both copies */
    /* Of live_bytes, what snapshots or the history alone show, or views of them that are in use. As long as a
     * part of the index is to be loaded, what was removed before the opening is not in it, and counts as
     * memories. */
    uint64_t past_bytes;
    uint64_t snapshots;
    uint64_t past_states, past_names; /* that ended and are kept */
    int64_t past_since; /* eng_past_since(), ns since the epoch; 0: the past is not kept whole */
    /* Since opening: states that ended, and were kept, or stood too short for a history, so that the one
     * before stands for them. */
    uint64_t states_kept, states_amended;
    /* Since opening: past states and names that were let go, by why. unseen: no snapshot shows them any more,
     * or an earlier opening knew why. */
    uint64_t dropped_unseen, dropped_off, dropped_age, dropped_bytes, dropped_versions, dropped_full_disk;
};
ENG_API int eng_stats_sized(struct eng *eng, struct eng_stats *ret_stats, size_t size);
static inline int eng_stats(struct eng *eng, struct eng_stats *ret_stats)
{
    return eng_stats_sized(eng, ret_stats, sizeof *ret_stats);
}

/*
 * A table of figures says of each field of a struct how it is told: to machines by a JSON key and a
 * Prometheus metric, to people by a label. Who tells figures is a loop over tables. */
enum eng_figure_kind {
    ENG_FIGURE_GAUGE,
    ENG_FIGURE_COUNTER,
    ENG_FIGURE_HISTOGRAM,
    ENG_FIGURE_TEXT /* as a metric: in the label `series`, or, without one, 1 unless it is "" */
};
enum eng_figure_type {
    ENG_TYPE_U64,
    ENG_TYPE_I64,
    ENG_TYPE_REAL, /* double */
    ENG_TYPE_HIST, /* struct eng_hist */
    ENG_TYPE_TEXT  /* char[], ends in NUL */
};
/* Of the field. Metrics are told in base units: milliseconds, for one, as seconds. */
enum eng_figure_unit {
    ENG_UNIT_COUNT,
    ENG_UNIT_BYTES,
    ENG_UNIT_RATIO, /* 0 to 1 */
    ENG_UNIT_SECONDS,
    ENG_UNIT_MILLISECONDS,
    ENG_UNIT_MICROSECONDS,
    ENG_UNIT_TIME, /* an int64_t, ns since the epoch; 0: never */
    ENG_UNIT_TEXT
};
/* What a figure belongs to, in the order in which the groups of metrics are told. */
enum eng_figure_group {
    ENG_GROUP_BUILD,
    ENG_GROUP_CONTENT,
    ENG_GROUP_COMPACTION,
    ENG_GROUP_DAMAGE,
    ENG_GROUP_JOBS,
    ENG_GROUP_MEMORIES,
    ENG_GROUP_DISK,
    ENG_GROUP_SEGMENTS,
    ENG_GROUP_TROUBLE,
    ENG_GROUP_SEQUENCES,
    ENG_GROUP_INDEX,
    ENG_GROUP_SYNCS,
    ENG_GROUP_SPACE,
    ENG_GROUP_OPERATIONS,
    ENG_GROUP_PROGRAM, /* the one that has the store open */
    ENG_GROUPS
};
/* When people are shown a line of its own. */
enum eng_figure_show { ENG_SHOW_ALWAYS, ENG_SHOW_IF_ANY, ENG_SHOW_NEVER };

struct eng_figure {
    /* In JSON. NULL: not there. Figures in a row with one key are told as their sum. */
    const char *key;
    /* In Prometheus, a full name. NULL: not there. Figures in a row with one name are series of one metric,
     * told apart by a label: series="of". */
    const char *metric;
    const char *series, *of;
    enum eng_figure_kind kind;
    enum eng_figure_type type;
    enum eng_figure_unit unit;
    enum eng_figure_group group;
    enum eng_figure_show show;
    const char *help;  /* a sentence */
    const char *label; /* for people, at most 22 characters */
    size_t offset;     /* of the field in its struct, bytes */
    size_t size;
    const double *bounds; /* of a histogram: ENG_HIST_BUCKETS - 1 of them */
    bool is_null_if_none; /* a text: "" is null in JSON */
};
/* In a table in C: what the compiler knows of a field. */
#define ENG_FIGURE_FIELD(struct_, field_)                                                                    \
    .type = _Generic(((struct_ *)0)->field_,                                                                 \
        uint64_t: ENG_TYPE_U64,                                                                              \
        int64_t: ENG_TYPE_I64,                                                                               \
        double: ENG_TYPE_REAL,                                                                               \
        struct eng_hist: ENG_TYPE_HIST,                                                                      \
        char *: ENG_TYPE_TEXT),                                                                              \
    .offset = offsetof(struct_, field_), .size = sizeof(((struct_ *)0)->field_)
/* Of struct eng_stats: in JSON and for people the order is the table's, in metrics that within a group. A
 * program may have tables of its own, of the same shape. */
ENG_API extern const struct eng_figure eng_figures[];
ENG_API extern const size_t eng_figures_count;

/* ---- where the space is ---------------------------------------------------- */

/* Each byte that the store takes from the disk is of one of these kinds. */
enum eng_space_id {
    ENG_SPACE_LIVE,
    ENG_SPACE_ORPHANS,     /* removed, but still open: live to the store */
    ENG_SPACE_DEAD,        /* dead in sealed segments that also hold live bytes */
    ENG_SPACE_DEAD_ACTIVE, /* dead in the active segment */
    ENG_SPACE_KEPT,        /* emptied segments, kept by what the key names: one kind for each keeper */
    ENG_SPACE_EMPTY,       /* emptied segments that nothing keeps: the housekeeper unlinks them */
    ENG_SPACE_COPIES,      /* output of a compaction that is not installed yet */
    ENG_SPACE_METADATA,    /* of the log: headers, operations, checksums, names */
    ENG_SPACE_CHECKPOINTS,
    ENG_SPACE_RESERVE,
    ENG_SPACE_SET_ASIDE, /* files *.kept: no part of the store, until people remove them */
    /* Whole blocks, zeros ahead of the log (at most 256 KiB), the folder itself, small files; negative where
     * the disk compresses. */
    ENG_SPACE_SLACK,
    ENG_SPACE_METADATA_SPENT, /* of the log, and needed by no recovery any more: eng_stats.spent_bytes */
    ENG_SPACE_ECHO,           /* second copy of the log's metadata since the newest checkpoint */
    /* What the past alone has, live to the store: of what a snapshot shows; and the rest, a history's. */
    ENG_SPACE_SNAPSHOTS,
    ENG_SPACE_HISTORY
};
struct eng_space_kind {
    enum eng_space_id id;
    const char *key, *label; /* for machines and for people; valid while the store is open */
    const char *gives_back;  /* what makes the space free again */
    int64_t bytes;
};
#define ENG_SPACE_KINDS_MAX 32

#define ENG_SPACE_ORPHANS_MAX 16
struct eng_space {
    uint64_t disk_bytes; /* as du counts the folder (if it can): the sum over all kinds */
    unsigned n_kinds;
    struct eng_space_kind kinds[ENG_SPACE_KINDS_MAX]; /* in the order in which they are told */
    uint64_t n_orphans;
    struct eng_space_orphan {
        uint64_t ino, bytes;
        char path[256];               /* the name that it had, cut if it is longer; "" if unknown */
    } orphans[ENG_SPACE_ORPHANS_MAX]; /* the first of n_orphans */
};
ENG_API int eng_space_sized(struct eng *eng, struct eng_space *ret_space, size_t size);
static inline int eng_space(struct eng *eng, struct eng_space *ret_space)
{
    return eng_space_sized(eng, ret_space, sizeof *ret_space);
}
/* The kinds that every store has, without bytes, for callers that have the figures from elsewhere; returns
 * how many. A store may have more. */
ENG_API unsigned eng_space_kinds(struct eng_space_kind ret_kinds[ENG_SPACE_KINDS_MAX]);

/* What a snapshot keeps, in payload bytes. */
struct eng_snapshot_space {
    uint64_t batch;
    uint64_t alone;  /* what is freed if it alone is dropped, and nobody looks at it any more */
    uint64_t shared; /* of the past, what it shows besides: others, or a history, keep that, too */
};
/* By a look at all inodes, in slices, unless one was made not so long ago, or nothing has changed since.
 * Waits until the index is loaded. -ENOENT: there is no snapshot of that batch. */
ENG_API int eng_snapshot_space(struct eng *eng, uint64_t batch, unsigned max_age_ms,
                               struct eng_snapshot_space *ret_space);

/* ---- segments, files, configuration, damage --------------------------------- */

struct eng_segment_info {
    uint64_t id;
    uint64_t size;                   /* of the file, bytes */
    uint64_t total, live;            /* payload bytes */
    bool active, survivors, pending; /* pending: empty, waiting to be unlinked */
};
/* Calls `emit` for each segment in order of id, under no lock, until `emit` returns non-zero. Returns 0. */
ENG_API int eng_segments(struct eng *eng, int (*emit)(void *arg, const struct eng_segment_info *info),
                         void *arg);

enum eng_file_kind { ENG_FILE_LOG, ENG_FILE_SURVIVORS, ENG_FILE_CHECKPOINT, ENG_FILE_ECHO };
struct eng_file {
    char name[32];
    enum eng_file_kind kind;
    bool active; /* the segment that is written to */
    uint64_t id;
    uint64_t size;        /* bytes that belong to this moment: the file may have more by now */
    uint64_t total, live; /* payload bytes; of segments */
};
/*
 * May other users open this folder, by its mode and the modes above it? The lock of a store is one of its
 * folder, which whoever can open the folder can take and keep: then the store is in use. */
ENG_API bool eng_folder_is_open(int folder);
/*
 * A backup replaces the files of an earlier one at once: by a list of names in its folder, which counts as
 * soon as it is there. Each opening of the store takes the folder for what the list says, also where only
 * some of the names were given; one for writing gives the rest. A file NAME waits under the name
 * ".engram-backup.NAME". */
struct eng_due_name {
    char name[40];
    bool goes; /* the file is taken away, instead of getting its name */
};
/* Makes the list durable, and before it the names under which files wait. It replaces one that is there.
 * -EINVAL: a name that no file of a store has; -EFBIG: more than 16 MiB, some million names. */
ENG_API int eng_due_names_note(int folder, const struct eng_due_name *names, size_t n);
/* Gives the names of the list, and takes it away, durably. Under the lock of the store. 1: there was one.
 * -EBADMSG: it is damaged. */
ENG_API int eng_due_names_give(int folder);
/* The number that tells this store from all others: of the superblock, and of each file's header. */
ENG_API void eng_uuid(struct eng *eng, uint8_t ret_uuid[16]);
/*
 * Calls `emit` for each segment, each file of the log's second copy, and each checkpoint, in order of kind
 * and id, under no lock, until `emit` returns non-zero. Returns 0. The files are of one moment: copied while
 * eng_hold() is in force, together with the superblock, and cut to these sizes, they are a store with the
 * state at the time of the call. */
ENG_API int eng_files(struct eng *eng, int (*emit)(void *arg, const struct eng_file *file), void *arg);

/*
 * Configuration, kept over restarts. Keys: compact_min_fragmentation (0..1),
 * compact_min_bytes, startup_fragmentation (0..1), compact_rate (bytes/s, 0
 * unlimited), auto_compact (0|1), checkpoint_bytes, checkpoint_ops,
 * commit_ms, history (0: none is kept; else for how long), history_versions (1..4096), history_bytes (0: any
 * number), history_settle (up to an hour). A whole number may end in k, m, g or t, small or large, for powers
 * of 1024; the durations history and history_settle end in s, m, h or d, but for 0. -ENOENT unknown key,
 * -EINVAL bad value; for a history that begins with it also the errors of eng_snapshot_create(), but for
 * -EEXIST. */
ENG_API int eng_config_set(struct eng *eng, const char *key, const char *value);
struct eng_config_pair {
    const char *key, *value;
};
/* Whether a store would take it, as such a call or as a line of its file: 0, or what eng_config_set()
 * returns. */
ENG_API int eng_config_check(const char *key, const char *value);
/* The same for several: all of them or, when one is wrong, none. */
ENG_API int eng_config_set_all(struct eng *eng, const struct eng_config_pair *pairs, size_t n);
/* Takes over what the file "config" says by now; a line that is not understood is logged and its default
 * used. */
ENG_API int eng_config_reload(struct eng *eng);
/* Calls `emit` for each key, under no lock. */
ENG_API int eng_config_each(struct eng *eng, void (*emit)(void *arg, const char *key, const char *value),
                            void *arg);

struct eng_damage {
    uint64_t ino, segment, offset; /* offset of the extent within the segment */
    char path[1024];               /* relative to the root; "" if unknown; of a past state "PATH@BATCH" */
    char reason[64];
};
/* Calls `emit` for each damaged extent that a memory still has, under no lock. `ino` 0: damage to what a
 * recovery would need, that could not be made good; `path` is a file of the store's own folder then, and
 * `offset` a place in it. */
ENG_API int eng_damaged(struct eng *eng, void (*emit)(void *arg, const struct eng_damage *d), void *arg);

/* ---- background jobs ------------------------------------------------------ */

/* The kinds of jobs. Of each kind one runs at a time; different kinds run beside each other. */
enum eng_job_id {
    ENG_JOB_COMPACT, /* moves live content out of segments that hold garbage, and unlinks those */
    ENG_JOB_SCRUB,   /* verifies every live extent where it lies, and what a recovery would need */
    ENG_JOB_CHECK,   /* verifies every checksum, every locator and every count */
    ENG_JOB_HISTORY, /* lets go of what no snapshot sees any more, so that compaction gets its room back */
    ENG_JOBS
};

enum eng_job_state {
    ENG_JOB_IDLE, /* none since the store was opened */
    ENG_JOB_RUNNING,
    ENG_JOB_PAUSED,
    ENG_JOB_DONE,
    ENG_JOB_FAILED,
    ENG_JOB_CANCELLED
};

struct eng_compact_figures {
    uint64_t old_size, new_size; /* disk use of the store as du counts it, bytes */
    uint64_t bytes_reclaimed;    /* old_size - new_size, 0 if it grew */
    double fragmentation_before, fragmentation_after;
    uint64_t bytes_moved;                                  /* payload copied */
    uint64_t extents_moved, extents_lost, extents_damaged; /* installed, superseded, left in place */
    /* What the run has moved and given back, less what eng_compact_estimate() said when it began; once it is
     * done, and 0 for a run by thresholds, which does not take all. The first is not 0 only if memories were
     * changed meanwhile; given back are bytes of the disk, metadata included. */
    int64_t estimate_error_moved, estimate_error_given_back;
};

/* Of what a recovery would need, each in both its copies: superblock, configuration, checkpoint, log; and
 * headers of segments. */
struct eng_recovery_figures {
    uint64_t damaged; /* parts that were */
    uint64_t healed;  /* of these, made good from the other copy or from memory */
};

struct eng_scrub_figures {
    uint64_t extents, damaged;
    struct eng_recovery_figures recovery;
};

struct eng_check_figures {
    uint64_t inodes, dentries, extents, bytes, segments;
    uint64_t problems; /* 0: all holds */
    struct eng_recovery_figures recovery;
    /* With `salvage`: what is given up, also where nothing that eng_lost() hands out tells of it (names,
     * attributes, removals). Batches behind the damage in the log, as far as they are known of, and segments
     * that earlier openings have set aside. Each of both that is not 0 is a problem. */
    uint64_t lost_batches, set_aside;
};

struct eng_history_figures {
    uint64_t states, names; /* past ones that have gone */
};

/* A run: the one under way, or else the one that ended last. */
struct eng_job_report {
    enum eng_job_id job;
    enum eng_job_state state;
    int error;            /* 0 or negative errno */
    uint64_t duration_ms; /* once it has ended */
    uint64_t rate;        /* bytes/s, 0 unlimited */
    /* How far the run is, in `unit`: "segments" (victims emptied, victims chosen), "bytes" (payload) or
     * "inodes" (looked at). */
    uint64_t done, total;
    const char *unit;     /* never freed */
    char reason[128];     /* why it ran, or why there was nothing to do */
    char error_text[256]; /* "": strerror() of `error` says it all */
    union {               /* by `job` */
        struct eng_compact_figures compact;
        struct eng_scrub_figures scrub;
        struct eng_check_figures check;
        struct eng_history_figures history;
    };
};

/* What else a run is told. NULL or all zeros will do; zero what you do not set, since members are added. */
struct eng_job_options {
    /* ENG_JOB_CHECK calls it with one line for each finding, from the thread that runs the job, under no
     * lock. It must not call eng_close(). May be NULL. */
    void (*on_problem)(void *arg, const char *line);
    void *problem_arg;
};

/* What people call a job of this kind, "compact" say; NULL if there is none. */
ENG_API const char *eng_job_name(enum eng_job_id job);

/*
 * Starts a job in its background thread; with no_background runs it here.
 *
 * `on_done`, here and below, is called once, when the run has ended, however it did: from the job's thread,
 * or with no_background from the thread that runs it. It runs under no lock of the engine. It may call
 * the engine, but not eng_close(), and must not block: others wait for the same thread. NULL: nobody is told.
 * The report is valid during the call.
 *
 * -EBUSY one is under way; -EROFS read-only, of jobs that write: ENG_JOB_COMPACT, ENG_JOB_HISTORY; -ESHUTDOWN
 * the store is being closed; -EINVAL no such job.
 *
 * A compaction takes all, whatever the thresholds: it seals the active segment and moves every live extent
 * out of each segment that holds garbage. It ends when the emptied segments have been unlinked. Bounds:
 * memory at most 40 MiB plus 64 bytes for each extent of one output segment; disk at most two segments more
 * than before, plus 64 bytes of log for each extent moved. A scrub and a check change no memory. What they
 * find damaged of content is also told by eng_damaged(). What they find damaged of that which a recovery
 * would need they make good, from its copy or from memory, unless the store is read-only or the disk refuses;
 * then it is told, too. A check walks a frozen index, so that writers go on. */
ENG_API int eng_job_start_sized(struct eng *eng, enum eng_job_id job, const struct eng_job_options *options,
                                size_t size, void (*on_done)(void *arg, const struct eng_job_report *report),
                                void *arg);
static inline int eng_job_start(struct eng *eng, enum eng_job_id job, const struct eng_job_options *options,
                                void (*on_done)(void *arg, const struct eng_job_report *report), void *arg)
{
    return eng_job_start_sized(eng, job, options, sizeof *options, on_done, arg);
}
/* Calls `on_done` when the run under way ends; at once, here, with the last one's report, if none is. */
ENG_API int eng_job_wait(struct eng *eng, enum eng_job_id job,
                         void (*on_done)(void *arg, const struct eng_job_report *report), void *arg);
/* eng_job_start() and wait for the end. Returns the run's error; ret_report (may be NULL) is written even
 * then, but not if it could not start. */
ENG_API int eng_job_run_sized(struct eng *eng, enum eng_job_id job, const struct eng_job_options *options,
                              size_t size, struct eng_job_report *ret_report, size_t report_size);
static inline int eng_job_run(struct eng *eng, enum eng_job_id job, const struct eng_job_options *options,
                              struct eng_job_report *ret_report)
{
    return eng_job_run_sized(eng, job, options, sizeof *options, ret_report, sizeof *ret_report);
}
/* -ESRCH when none is under way. What a cancelled job has done stays done; its error is -ECANCELED. */
ENG_API int eng_job_pause(struct eng *eng, enum eng_job_id job);
ENG_API int eng_job_resume(struct eng *eng, enum eng_job_id job);
ENG_API int eng_job_cancel(struct eng *eng, enum eng_job_id job);
/* Of the run under way and those that follow; 0 unlimited. That of compactions is the key compact_rate of the
 * configuration, so that it lasts; others are forgotten when the store is closed. */
ENG_API int eng_job_rate(struct eng *eng, enum eng_job_id job, uint64_t bytes_per_second);
ENG_API int eng_job_status_sized(struct eng *eng, enum eng_job_id job, struct eng_job_report *ret_report,
                                 size_t size);
static inline int eng_job_status(struct eng *eng, enum eng_job_id job, struct eng_job_report *ret_report)
{
    return eng_job_status_sized(eng, job, ret_report, sizeof *ret_report);
}

/* ---- compaction and maintenance ------------------------------------------- */

struct eng_compact_estimate {
    uint64_t segments, bytes_to_move, bytes_given_back;
};
/* What a compaction would do now. */
ENG_API int eng_compact_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate);

struct eng_maintenance_report {
    bool compacted;
    double fragmentation_ratio; /* before */
    uint64_t total_bytes;       /* before */
    char reason[128];
    struct eng_job_report compaction; /* valid if compacted. Last, since it may grow. */
};
/*
 * Compacts, waiting for the end, if fragmentation_ratio > compact_min_fragmentation
 * and total_bytes > compact_min_bytes. ret_report may be NULL. -EBUSY while a compaction runs. */
ENG_API int eng_run_maintenance_sized(struct eng *eng, struct eng_maintenance_report *ret_report,
                                      size_t size);
static inline int eng_run_maintenance(struct eng *eng, struct eng_maintenance_report *ret_report)
{
    return eng_run_maintenance_sized(eng, ret_report, sizeof *ret_report);
}
/*
 * The same without waiting. `on_done`, which may be NULL, is called once, as that of eng_job_start(): where
 * there is nothing to compact, before this call returns. */
ENG_API int eng_maintenance_start(struct eng *eng,
                                  void (*on_done)(void *arg, const struct eng_maintenance_report *report,
                                                  int error),
                                  void *arg);

/* While held no segment is unlinked, so that the store's folder can be copied. Nests; -EINVAL when not
 * held. */
ENG_API int eng_hold(struct eng *eng);
ENG_API int eng_release(struct eng *eng);

/* ---- rolling back ---------------------------------------------------------- */

/* Names and memories that an eng_rollback() changes, at most. */
#define ENG_ROLLBACK_MAX 4096
struct eng_rolled_back {
    uint64_t parent;  /* a folder in which a name came, went, or leads to another memory; 0: of `ino` */
    const char *name; /* content, fields or attributes are others; without NUL */
    size_t name_len;
    uint64_t ino; /* to which the name leads now, 0: it went */
};
/*
 * A folder, with all that is below it, becomes what it was after `batch`, of which eng_view_open() has a
 * view, in one batch: each reader sees all of it or nothing, and so does what a crash leaves. Each name leads
 * to the memory again to which it led, which has the content, size, mode, owner, xattrs and mtime again that
 * it had; what has come since goes. No content is copied, but for values of xattrs; others who write wait for
 * the one batch. A memory that has names outside the folder, too, is rolled back for these as well. What was
 * there until now is kept as of eng_restore().
 *
 * Then calls emit, if that is not NULL, for all that has changed, under no lock, until it returns non-zero,
 * which is then returned: how many in *ret_n. -ESTALE: there was no such folder then, or is none now;
 * -ENOTDIR; -ENOENT: no view can be had; -E2BIG: more than ENG_ROLLBACK_MAX names and memories; -EFBIG: of
 * too many pieces; -EXDEV: something that was in the folder is outside now, or the other way round: a folder
 * above both can be rolled back; -EBUSY: it is changed all the time. On an error nothing has changed. */
ENG_API int eng_rollback(struct eng *eng, uint64_t folder, uint64_t batch,
                         int (*emit)(void *arg, const struct eng_rolled_back *one), void *arg,
                         uint64_t *ret_n);

/* ---- salvage --------------------------------------------------------------- */

/* A piece of content that no memory has: what was written behind the damage, or all if no index is left. */
struct eng_lost {
    uint64_t ino, offset, size;       /* which bytes of which file, in bytes; size at most 256 KiB */
#define ENG_LOST_VALUE UINT64_MAX     /* as offset: the value of an attribute; of which nobody knows */
    uint64_t seq;                     /* order of writing: of two that overlap the greater is right */
    uint64_t segment, segment_offset; /* where it was found */
    char path[1024];                  /* where the file was when it was written; "" if unknown */
};
/*
 * Of a store opened with `salvage`: reads all segments of this store, and no others, for self-describing
 * extents that are whole by their checksums and calls `emit` for each, under no lock; `data` and `piece` are
 * valid during the call. Stops when it returns non-zero, which is then returned. Nothing is emitted where
 * the log was never cut short. */
ENG_API int eng_lost(struct eng *eng, int (*emit)(void *arg, const struct eng_lost *piece, const void *data),
                     void *arg);

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
    const char *kind;      /* "segment", "batch", "data", an operation, "summary", "zeros", "unreadable" */
    uint64_t offset, size; /* where it is in the file, bytes */
    const struct eng_dump_field *fields;
    size_t n_fields;
    const char *problem; /* NULL: its checksums hold */
    bool later;          /* of an operation: flag 2 of docs/FORMAT.md, what is dead is freed by and by */
};
/*
 * Calls `emit` for each record in the file of segment `segment` of the store in directory `store` (or, if it
 * is not NULL, in `io`; `store` may then be NULL), in order, under no lock; items are valid during the call;
 * stops when it returns non-zero, which is then returned. The file is read as it is, without a lock: the
 * store may be in use, or damaged. With `content` the checksums of contents are verified as well. -ENOENT. */
ENG_API int eng_dump(const char *store, struct eng_io *io, uint32_t segment, bool content,
                     int (*emit)(void *arg, const struct eng_dump_item *item), void *arg);
/* The same, of the first `end` bytes of the file: nothing behind them is read. */
ENG_API int eng_dump_until(const char *store, struct eng_io *io, uint32_t segment, bool content, uint64_t end,
                           int (*emit)(void *arg, const struct eng_dump_item *item), void *arg);

#ifdef __cplusplus
}
#endif
#endif

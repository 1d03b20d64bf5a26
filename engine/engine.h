/*
 * engine.h - public face of the engramfs engine: a log-structured store of
 * memories with the semantics of a POSIX file tree.
 *
 * The engine knows nothing of FUSE, prints nothing, keeps no globals and
 * never exits; a program that links it (the daemon, engramctl, an embedder)
 * gets every outcome as a return value.
 *
 * Conventions, valid for every call:
 *   - return 0 on success, a negative errno value on failure; -EBADMSG means
 *     damage on the medium. Calls that count return >= 0.
 *   - ret_ parameters are written only on success.
 *   - arguments are borrowed for the duration of the call.
 *   - names are byte strings of 1..255 bytes without '/' and NUL; they are
 *     passed NUL-terminated. Paths do not appear in this interface except
 *     where said.
 *   - all calls may be made from any thread at the same time, except
 *     eng_open() and eng_close().
 *   - times are nanoseconds since the epoch, signed (1677..2262).
 *   - offsets and sizes are bytes.
 *   - common errors, not repeated below: -EIO (the medium failed), -ENOMEM,
 *     -EROFS (opened read-only, or turned read-only after a failed sync, see
 *     eng_stats.read_only_reason), -ENOSPC, -ESTALE (no such inode).
 */
#ifndef ENGRAMFS_ENGINE_H
#define ENGRAMFS_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ENG_API __attribute__((visibility("default")))
#else
#define ENG_API
#endif

#define ENG_VERSION "0.1.0"

struct eng;
struct eng_io; /* the OS seam, io.h; NULL everywhere means the real one */

/* Limits. */
#define ENG_NAME_MAX 255
#define ENG_SYMLINK_MAX 4095
#define ENG_FILE_SIZE_MAX ((UINT64_C(1) << 44) - 4096) /* 16 TiB less a block, as ext4; above: -EFBIG */
#define ENG_LINK_MAX 65000                             /* above: -EMLINK */
#define ENG_XATTR_NAME_MAX 255
#define ENG_XATTR_SIZE_MAX 65536
#define ENG_XATTR_LIST_MAX 65536
#define ENG_SEGMENT_SIZE_DEFAULT (UINT64_C(64) << 20)
#define ENG_SEGMENT_SIZE_MIN (UINT64_C(64) << 10)
#define ENG_SEGMENT_SIZE_MAX (UINT64_C(1) << 30)

#define ENG_ROOT_INO UINT64_C(1)

/* ---- opening and closing ------------------------------------------------ */

enum eng_log_level { ENG_LOG_ERROR, ENG_LOG_WARNING, ENG_LOG_INFO, ENG_LOG_DEBUG };

struct eng_options {
    bool read_only;  /* nothing is written, not even for recovery */
    bool snapshot;   /* with read_only: opens, without a lock, what another process that has called eng_hold()
                        has written to the store by now; valid until that one calls eng_release() */
    bool salvage;    /* with read_only: opens what can be made out of a store that is refused otherwise:
                        the memories up to the damage in its log. What lies behind: eng_lost() */
    bool must_exist; /* do not create a missing or empty store: -ENOENT */
    bool relatime;   /* eng_accessed() is heeded */
    bool no_background;    /* no threads; the caller drives eng_tick() (tests, tools) */
    uint64_t segment_size; /* of a store being created, or of new segments; 0: stored/default */
    int64_t commit_ms;     /* background commit interval, ms; 0: default 5000; <0: never */
    int64_t lock_wait_ms;  /* how long to wait for another process's lock; 0: not at all */
    struct eng_io *io;     /* borrowed until eng_close(); NULL: the real file system */
    /* One call an event, from any thread, never under a lock of the engine. May be NULL. */
    void (*log)(void *arg, enum eng_log_level level, const char *line);
    void *log_arg;
};

/*
 * Opens (creating it if allowed) the store in directory `path`, recovers it
 * and starts background work. On return everything recovered is durable.
 * Errors: -EBUSY store in use by another process; -ENOTEMPTY `path` is a
 * folder that holds something else ("not a store"); -ENOTDIR; -ENOENT;
 * -EPROTONOSUPPORT unknown format version or incompat feature; -EBADMSG
 * damaged beyond what opening may repair; -EINVAL bad option.
 * `ret_why`, if not NULL, gets on failure one line of explanation (at most
 * 255 characters) that names the file concerned and what to do.
 */
ENG_API int eng_open(const char *path, const struct eng_options *opt, struct eng **ret_eng,
                     char ret_why[256]);

/*
 * Ends background work (a compaction is cancelled), commits, checkpoints and
 * frees `eng`. The store is released also when an error is returned.
 * No other call may be under way.
 */
ENG_API int eng_close(struct eng *eng);

/* Makes all that was acknowledged durable. Concurrent callers share one device flush. */
ENG_API int eng_sync(struct eng *eng);
/* The same, for what concerns inode `ino` at least. -EIO once a flush has failed (I11). */
ENG_API int eng_fsync(struct eng *eng, uint64_t ino);

/* With no_background: runs whatever background work is due, once, in this thread. */
ENG_API int eng_tick(struct eng *eng);

/* ---- inodes and names --------------------------------------------------- */

struct eng_attr {
    uint64_t ino;   /* never reused within a store */
    uint64_t size;  /* bytes; symlink: target length; directory: number of entries */
    uint64_t bytes; /* content bytes held in the arena (holes not counted) */
    uint64_t rdev;
    int64_t atime, mtime, ctime, btime; /* ns */
    uint32_t mode;                      /* type and permission bits */
    uint32_t nlink;
    uint32_t uid, gid;
    uint64_t version;    /* counts content changes */
    uint64_t generation; /* counts placements: content changes and relocations (I2) */
};

/*
 * On whose behalf a call acts. `hold`: the entry that the call returns is
 * referenced once more (as a FUSE kernel does); an inode without names lives
 * until eng_forget() has taken all of its references back.
 */
struct eng_caller {
    uint32_t uid, gid;
    bool hold;
};

/*
 * Looks `name` up in directory `parent`; "." and ".." work, "." of an inode of
 * any type: so a caller that knows a number only (a file handle of NFS)
 * references it. -ENOENT, -ENOTDIR, -ENAMETOOLONG.
 */
ENG_API int eng_lookup(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                       struct eng_attr *ret_attr);
ENG_API int eng_forget(struct eng *eng, uint64_t ino, uint64_t n);
ENG_API int eng_getattr(struct eng *eng, uint64_t ino, struct eng_attr *ret_attr);
/*
 * Somebody has read the inode: its atime becomes now if it was not later than
 * mtime and ctime, or is a day old (relatime). The new time is seen at once, but
 * kept in memory, and written with others later: a crash may lose it. Nothing
 * happens unless the store was opened with `relatime`.
 */
ENG_API void eng_accessed(struct eng *eng, uint64_t ino);

enum eng_set {
    ENG_SET_MODE = 1 << 0,
    ENG_SET_UID = 1 << 1,
    ENG_SET_GID = 1 << 2,
    ENG_SET_SIZE = 1 << 3, /* truncation both ways; -EISDIR, -EINVAL on non-files, -EFBIG */
    ENG_SET_ATIME = 1 << 4,
    ENG_SET_MTIME = 1 << 5,
    ENG_SET_CTIME = 1 << 6, /* else ctime becomes now */
    ENG_SET_ATIME_NOW = 1 << 7,
    ENG_SET_MTIME_NOW = 1 << 8,
};
/* Sets the fields of `attr` that `mask` (enum eng_set) names. ret_attr may be NULL. */
ENG_API int eng_setattr(struct eng *eng, uint64_t ino, const struct eng_attr *attr, unsigned mask,
                        struct eng_attr *ret_attr);

/*
 * Creates an inode of the type in `mode` (S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO,
 * S_IFSOCK, S_IFBLK, S_IFCHR) under `name`. `target` is for symlinks only,
 * `rdev` for devices only. Owner is who->uid, who->gid; in a set-group-ID
 * directory the group, and for directories the bit, are inherited. With a
 * NULL name a regular file without one (O_TMPFILE): only for a caller that
 * holds it, and gone with the last reference unless eng_link() names it.
 * -EEXIST, -ENOENT (parent removed), -ENAMETOOLONG, -EMLINK, -EINVAL (no such type).
 */
ENG_API int eng_create(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                       uint32_t mode, uint64_t rdev, const char *target, struct eng_attr *ret_attr);
/*
 * One name more. An inode that has none any more, or not yet, gets one as long
 * as it is referenced: whether that is wanted its holder knows (the kernel: only after O_TMPFILE).
 * -EPERM a directory, -EMLINK, -ENOENT nameless and not referenced, -EEXIST.
 */
ENG_API int eng_link(struct eng *eng, const struct eng_caller *who, uint64_t ino, uint64_t parent,
                     const char *name, struct eng_attr *ret_attr);
/* -EISDIR for directories (eng_unlink), -ENOTDIR / -ENOTEMPTY (eng_rmdir). */
ENG_API int eng_unlink(struct eng *eng, uint64_t parent, const char *name);
ENG_API int eng_rmdir(struct eng *eng, uint64_t parent, const char *name);

enum eng_rename { ENG_RENAME_NOREPLACE = 1, ENG_RENAME_EXCHANGE = 2, ENG_RENAME_WHITEOUT = 4 };
/* As renameat2(2), same flag values and errors. `who` owns a whiteout. */
ENG_API int eng_rename(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                       uint64_t new_parent, const char *new_name, unsigned flags);
/* Copies the target and a NUL into buf; returns its length. -EINVAL not a symlink, -ERANGE too small. */
ENG_API ssize_t eng_readlink(struct eng *eng, uint64_t ino, char *buf, size_t size);

struct eng_dirent {
    const char *name; /* valid during the callback */
    size_t name_len;
    uint64_t cookie; /* stable position after this entry; give it to the next eng_readdir() */
    struct eng_attr attr;
};
/*
 * Calls `emit` for entries of `dir` in order of creation, those after
 * `cookie` (0: from the start), until `emit` returns non-zero (that entry
 * counts as not delivered) or the end. "." and ".." come first, with cookies
 * 1 and 2. Entries present during the whole listing are delivered exactly
 * once, whatever is added or removed meanwhile. With who->hold each delivered
 * entry except "." and ".." is referenced. `emit` runs under the engine's
 * shared lock: it must not call the engine nor block.
 */
ENG_API int eng_readdir(struct eng *eng, const struct eng_caller *who, uint64_t dir, uint64_t cookie,
                        int (*emit)(void *arg, const struct eng_dirent *entry), void *arg);

/*
 * Names made from now on have greater cookies, in whatever directory; a name
 * changed within its directory keeps its cookie. A listing that stops there is
 * finite, even if each entry it tells leads to a new one.
 */
ENG_API uint64_t eng_dir_mark(struct eng *eng);

/* ---- content ------------------------------------------------------------ */

/*
 * Reads up to `size` bytes at `offset` into `buf`; returns the number read, 0
 * at or after the end; holes are zeros. Every byte was verified against its
 * checksum (I6); -EIO for damaged content, which is then listed by
 * eng_damaged(). Never short before the end of the file.
 */
ENG_API ssize_t eng_read(struct eng *eng, uint64_t ino, void *buf, size_t size, uint64_t offset);

/* Writes all or nothing, atomically; size at most 16 MiB (else -EINVAL). -EFBIG. Updates mtime and ctime. */
ENG_API ssize_t eng_write(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t offset);
/* The same at the end of the file, wherever that is by then. ret_offset (may be NULL): where it went. */
ENG_API ssize_t eng_append(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t *ret_offset);

enum eng_falloc { ENG_FALLOC_KEEP_SIZE = 1, ENG_FALLOC_PUNCH_HOLE = 2, ENG_FALLOC_ZERO_RANGE = 16 };
/* As fallocate(2), same flag values. Space cannot be promised on a log: plain allocation only sets the size.
 */
ENG_API int eng_fallocate(struct eng *eng, uint64_t ino, unsigned flags, uint64_t offset, uint64_t len);
/* SEEK_DATA (whence 3) and SEEK_HOLE (4). -ENXIO beyond the end. */
ENG_API int eng_seek(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset);

/* ---- extended attributes ------------------------------------------------ */

enum eng_xattr { ENG_XATTR_CREATE = 1, ENG_XATTR_REPLACE = 2 };
/* The engine stores any name and value; who may set what is the caller's business. -EEXIST, -ENODATA, -E2BIG,
 * -ERANGE. */
ENG_API int eng_setxattr(struct eng *eng, uint64_t ino, const char *name, const void *value, size_t size,
                         unsigned flags);
/* size 0 asks for the length only. -ENODATA, -ERANGE. */
ENG_API ssize_t eng_getxattr(struct eng *eng, uint64_t ino, const char *name, void *value, size_t size);
ENG_API ssize_t eng_listxattr(struct eng *eng, uint64_t ino, char *list, size_t size);
ENG_API int eng_removexattr(struct eng *eng, uint64_t ino, const char *name);
/* XXH3-64 of the whole content, computed when asked. */
ENG_API int eng_content_hash(struct eng *eng, uint64_t ino, uint64_t *ret_hash);

/* ---- bulk loading ------------------------------------------------------- */

struct eng_xattr_pair {
    const char *name;
    const void *value;
    size_t size;
};
struct eng_record {
    uint64_t parent; /* directory */
    const char *name;
    const void *content;
    size_t size; /* at most 16 MiB */
    uint32_t mode, uid, gid;
    int64_t mtime; /* also atime; ctime, and of a new file btime, are now */
    const struct eng_xattr_pair *xattrs;
    size_t n_xattrs;
    int result; /* out: 0 or the negative errno of this record */
};
/*
 * Creates `n` regular files, or replaces the content, times and xattrs of
 * existing ones, with few and large log batches: an order of magnitude faster than
 * one by one. Each record is atomic; records[i].result tells its fate.
 * Returns the number stored, or a negative errno when the store itself failed.
 */
ENG_API ssize_t eng_put_many(struct eng *eng, struct eng_record *records, size_t n);

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
/*
 * Calls `emit` for each segment and each checkpoint, in order of kind and id, under no lock; stops when it
 * returns non-zero. They are of one moment: copied while eng_hold() is in force, together with the
 * superblock, and cut to these sizes, they are a store with the state at the time of the call.
 */
ENG_API int eng_files(struct eng *eng, int (*emit)(void *arg, const struct eng_file *file), void *arg);

/*
 * Configuration, kept over restarts. Keys: compact_min_fragmentation (0..1),
 * compact_min_bytes, startup_fragmentation (0..1), compact_rate (bytes/s, 0
 * unlimited), auto_compact (0|1), checkpoint_bytes, checkpoint_ops,
 * commit_ms. -ENOENT unknown key, -EINVAL bad value.
 */
ENG_API int eng_config_set(struct eng *eng, const char *key, const char *value);
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
 * plus 64 bytes of log for each extent moved. -EBUSY one is running already.
 */
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
 * and total_bytes > compact_min_bytes. -EBUSY while a compaction runs.
 */
ENG_API int eng_run_maintenance(struct eng *eng, struct eng_maintenance_report *ret_report);
/* The same in the background; `done` is called once from the worker. */
ENG_API int eng_maintenance_start(struct eng *eng,
                                  void (*done)(void *arg, const struct eng_maintenance_report *, int error),
                                  void *arg);

/* While held no segment is unlinked, so that the store's folder can be copied. Nests; -EINVAL when not held.
 */
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
 * non-zero, which is then returned. Nothing is emitted when nothing was damaged.
 */
ENG_API int eng_lost(struct eng *eng, int (*emit)(void *arg, const struct eng_lost *piece, const void *data),
                     void *arg);

struct eng_check_report {
    uint64_t inodes, dentries, extents, bytes, segments;
    uint64_t problems; /* 0: all holds */
};
/*
 * Verifies every checksum, every locator and every count of an open store
 * (open it read-only to check a store without changing it). `problem` is called with one
 * line for each finding. Writers are held off while the index is walked.
 */
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
 * `content` the checksums of contents are verified as well. -ENOENT.
 */
ENG_API int eng_dump(const char *store, struct eng_io *io, uint32_t segment, bool content,
                     int (*emit)(void *arg, const struct eng_dump_item *item), void *arg);

#ifdef __cplusplus
}
#endif
#endif

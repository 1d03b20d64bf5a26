/*
 * engine_impl.h - struct eng and what the files behind engine.h share.
 *
 * Lock order, outermost first (docs/LOCKING.md):
 *   room_lock > ckpt_lock > reclaim_lock > log.turn > log.lock > index_lock > arena.lock
 *   worker.lock > job.lock
 * misc_lock, atime_lock, reserve_lock, log.sync_lock and job.lock are leaves: nothing is taken under them.
 *
 * The index changes only under log.lock and exclusive index_lock together.
 * Whoever holds log.lock may therefore read it without index_lock.
 */
#ifndef ENGRAMFS_ENGINE_IMPL_H
#define ENGRAMFS_ENGINE_IMPL_H

#include "arena.h"
#include "engine.h"
#include "fault.h"
#include "index.h"
#include "io.h"
#include "log.h"
#include "util.h"

#include <stdarg.h>

/* Configuration, kept in the file "config". All atomic: read without a lock, written under ckpt_lock. */
struct config {
    double compact_min_fragmentation, startup_fragmentation;
    uint64_t compact_min_bytes, compact_rate, auto_compact;
    uint64_t checkpoint_bytes, checkpoint_ops, commit_ms;
};

/* Damage that was found: what is told of it, and what tells whether it still concerns anybody. */
struct damage {
    struct eng_damage told;
    uint64_t off;
    struct locator loc;
};

/* A checkpoint that recovery may use. */
struct ckpt_info {
    uint64_t id;  /* 0: none */
    uint64_t seq; /* last batch in it */
    uint64_t freeze;
    uint64_t *files; /* checkpoint files that hold its chunks, ascending, itself included */
    size_t n_files;
};

/* Counters; atomic, relaxed: they order nothing. */
struct counters {
    uint64_t reads, writes, bytes_read, bytes_written, read_restarts;
    uint64_t sync_errors, checkpoints;
    uint64_t compactions_ok, compactions_failed, compactions_cancelled, bytes_reclaimed;
    uint64_t relocations, relocations_lost, damaged;
};
#define COUNT(eng, field, n) ((void)__atomic_add_fetch(&(eng)->counters.field, (n), __ATOMIC_RELAXED))
#define COUNTED(eng, field) __atomic_load_n(&(eng)->counters.field, __ATOMIC_RELAXED)

struct worker;  /* worker.c: threads and jobs */
struct compact; /* compact.c: a compaction, step by step */

struct eng {
    struct eng_io *io;
    bool own_io, locked;
    struct eng_options opt; /* immutable after open */
    struct superblock sb;   /* immutable after open */
    struct fault_hook hook; /* set by tests only */
    bool settles_beside;    /* a compaction may start a thread of its own. immutable while threads run */

    pthread_mutex_t ckpt_lock; /* one checkpoint at a time */
    struct ckpt_info ckpts[2]; /* newest first. protected by ckpt_lock */
    uint64_t ckpt_next_id;     /* protected by ckpt_lock */
    uint64_t oldest_ckpt_seq;  /* atomic: seq of the oldest checkpoint that recovery may need; 0 while fewer
                                  than two exist */
    uint64_t newest_ckpt_seq;  /* atomic */
    uint64_t ckpt_log_bytes;   /* atomic: log.bytes at the newest checkpoint */
    uint64_t ckpt_disk_bytes;  /* atomic: size of all checkpoint files */
    uint64_t ckpt_retry_at;    /* atomic: mono_ns() before which a failed checkpoint is not tried again */

    pthread_mutex_t reclaim_lock; /* whoever unlinks a segment: what was taken out under log.lock is gone once
                                     this is free */

    struct log log;
    pthread_rwlock_t index_lock;
    struct index idx; /* protected by index_lock and log.lock, see above */
    struct arena arena;

    pthread_mutex_t misc_lock;
    uint64_t *orphans; /* inodes to free with a coming batch. protected by misc_lock */
    size_t n_orphans, cap_orphans;
    struct damage *damage; /* protected by misc_lock */
    size_t n_damage, cap_damage;
    struct log_line *lines;    /* that wait for locks to be given up. protected by misc_lock */
    size_t n_lines, cap_lines; /* the same; n_lines atomic: read without, as a hint */
    char read_only_reason[256], last_error[256];      /* protected by misc_lock */
    unsigned holds;                                   /* protected by misc_lock: eng_hold() */
    struct eng_hist compaction_seconds, sync_seconds; /* protected by misc_lock */
    int64_t last_compaction;                          /* protected by misc_lock */
    uint64_t last_compaction_ms;                      /* protected by misc_lock */

    pthread_mutex_t atime_lock;
    struct atime_note *atimes; /* NULL until something is noted. protected by atime_lock */
    uint32_t n_atime_places;   /* taken in it. protected by atime_lock */
    uint32_t n_atimes;         /* notes. atomic: written under atime_lock, read without as a hint */

    pthread_mutex_t reserve_lock;
    uint64_t reserve_bytes; /* atomic: written under reserve_lock */
    uint64_t reserve_floor; /* what is left to compaction and checkpoints. protected by reserve_lock */
    /* It grows only if it lacks much; it cannot grow at all. Both protected by reserve_lock. */
    bool reserve_held, reserve_unsupported;
    bool reserve_short; /* atomic: the disk was full, and the reserve is not whole again */

    pthread_mutex_t room_lock; /* whoever makes room on a full disk */
    uint64_t futile_garbage;   /* what was left when that was last tried. protected by room_lock */

    uint64_t
        lost_after; /* salvage: the last batch before the damage; UINT64_MAX: none. immutable after open */
    int read_only;  /* atomic: opened so, or turned so */
    struct config config;
    struct counters counters;
    struct worker *worker; /* immutable after open */
};

/* ---- engine.c ------------------------------------------------------------ */

void eng_logf(struct eng *eng, enum eng_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* From one to the other this thread holds a lock under which log lines are kept back; nests. */
void eng_quiet(void);
void eng_speak(struct eng *eng); /* after the lock was given up */
/* No mutation is accepted any more; the first reason stays. */
void eng_turn_read_only(struct eng *eng, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Keeps the text for eng_stats.last_error and logs it. */
void eng_set_error(struct eng *eng, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* For r<0 of the store's files: says so in the log, once, not for each caller; `what` is "writing to", say.
 * Returns what the caller of the engine gets: -EIO instead of what would be taken for an answer about the
 * memory. */
int eng_store_error(struct eng *eng, const char *what, int r);
static inline bool eng_is_read_only(const struct eng *eng)
{
    return __atomic_load_n(&eng->read_only, __ATOMIC_ACQUIRE) != 0;
}

/* ---- commit.c: the life of a mutation -------------------------------------- */

/* Takes log.lock for a mutation. On a full disk makes room first. -EROFS. */
int eng_begin(struct eng *eng);
/* The same for what making room consists of. */
int eng_begin_work(struct eng *eng);
void eng_end(struct eng *eng);
/* Between the two: writes the transaction to the log and applies it. On an error nothing has happened. */
int eng_commit(struct eng *eng, struct txn *txn);
/* An inode may have lost its last name and reference: it is freed with a coming batch. */
void eng_queue_orphan(struct eng *eng, uint64_t ino);
/* Frees the queued ones now. */
int eng_flush_orphans(struct eng *eng);
/* log_sync() with its figures and consequences. */
int eng_flush(struct eng *eng);
/* Unlinks every segment that I4 lets go; returns how many. */
unsigned eng_reclaim(struct eng *eng);
/* Whether eng_hold() keeps files from being unlinked. */
bool eng_is_held(struct eng *eng);

/* ---- reserve.c: room for getting out of a full disk ------------------------- */

/* Who uses it: nobody; what takes away, down to a half; compaction and checkpoints. */
enum reserve_use { RESERVE_NONE, RESERVE_HALF, RESERVE_ALL };

/* Before anything is written. What an earlier run left counts. */
void reserve_init(struct eng *eng);
/* Once the store is recovered. */
void reserve_opened(struct eng *eng);
/* Sets space aside, if there is room. */
void reserve_keep(struct eng *eng);
/* While held it grows only if it lacks a third; it becomes whole again if the disk was full. */
void reserve_hold(struct eng *eng, bool hold);
/* The most that a checkpoint is expected to take. */
uint64_t reserve_for_checkpoint(struct eng *eng);
/* The disk was full, and has not been seen with room since. */
bool reserve_is_short(struct eng *eng);
void reserve_note_full(struct eng *eng);
/* After -ENOSPC: gives space back to the file system. True if what failed may be tried again. */
bool reserve_release(struct eng *eng, enum reserve_use use);
/* Before work that needs so many bytes: false if there are not so many even with the reserve, which it then
 * has. */
bool reserve_open_up(struct eng *eng, uint64_t needed);
/*
 * After -ENOSPC, without locks: compacts if there is garbage worth it. True: try once more what needs `size`
 * bytes, or, `removing`, takes away.
 */
bool eng_make_room(struct eng *eng, uint64_t size, bool removing);

/* ---- shared by the files of the public face --------------------------------- */

void eng_fill_attr(const struct inode_rec *inode, uint32_t slot, struct eng_attr *ret_attr);
/* `off`: where in the file the locator stands; EXTENT_XATTR_OFF for an xattr. */
void eng_note_damage(struct eng *eng, uint64_t ino, uint64_t off, const struct locator *loc,
                     const char *reason);
/* Reads [off, off+size) of xattr or content pieces; content.c */
int eng_read_range(struct eng *eng, uint64_t ino, void *buf, size_t size, uint64_t off, ssize_t *ret_n);
/* Adds to the transaction the extents for [off, off + size) of the file. `path` is the hint for offset 0. */
int eng_stage_content(struct txn *txn, uint64_t ino, const void *data, size_t size, uint64_t off,
                      int64_t time, const char *path, uint32_t path_len);
/* Adds to the transaction an xattr, inline or in the arena. */
int eng_stage_xattr(struct txn *txn, uint64_t ino, const char *name, const void *value, size_t size,
                    int64_t time);
void hist_add(struct eng_hist *hist, double seconds);
/* Payload bytes of all segments, and those of them that are live. */
void eng_totals(struct eng *eng, uint64_t *ret_total, uint64_t *ret_live);

/* ---- atime.c ----------------------------------------------------------------- */

/* Shows the access time that was noted for attr->ino, if any. */
void eng_overlay_atime(struct eng *eng, struct eng_attr *attr);
/* Forgets it: the atime was set; under the log lock. */
void eng_drop_atime(struct eng *eng, uint64_t ino);
/* Writes what was noted to the log; what could not be written stays noted. */
void eng_flush_atimes(struct eng *eng);

/* ---- checkpoint.c, recover.c ----------------------------------------------- */

/* Writes a checkpoint of now, keeps the newest two. */
int eng_checkpoint(struct eng *eng);
/* Loads the newest valid checkpoint and replays the log. `why`: explanation on failure. */
int eng_recover(struct eng *eng, char why[256]);
/* Loads checkpoint `id` into an initialised index; tells where the log goes on. */
struct ckpt_position {
    uint64_t seq, chain;
    uint64_t segment, offset; /* of the end of batch seq */
    uint64_t next_segment_id;
};
int checkpoint_load(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos,
                    struct ckpt_info *ret_info);
/* Reads the manifest of a checkpoint only: whether it could be used, and which files it needs. */
int checkpoint_probe(struct eng *eng, uint64_t id, struct ckpt_info *ret_info);
int checkpoint_parse_name(const char *name, uint64_t *ret_id);
/* Removes checkpoint files that neither of the kept ones needs, and notes the size of the others. */
void checkpoint_clean(struct eng *eng);
bool checkpoint_due(const struct eng *eng);

/* ---- salvage.c -------------------------------------------------------------- */

/* Who a store is when neither copy of its superblock tells: from its segments. */
int salvage_identity(struct eng *eng, char why[256]);
/* An index with nothing but a root directory. */
int salvage_root(struct eng *eng);

/* ---- config.c -------------------------------------------------------------- */

void config_defaults(struct config *config);
int config_load(struct eng *eng);

/* ---- compact.c, policy.c, scrub.c, worker.c --------------------------------- */

int eng_worker_new(struct eng *eng);
void eng_worker_free(struct eng *eng); /* cancels, waits, ends the threads */
void eng_worker_poke(struct eng *eng); /* there may be something to do */
/* A compaction, waited for; one that is running already does as well, unless it is paused: -EBUSY. */
int eng_compact_join(struct eng *eng);
void eng_worker_configured(struct eng *eng); /* the configuration has changed */

#endif

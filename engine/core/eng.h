/*
 * eng.h - struct eng: an open store, a part for each room.
 *
 * A part that more than one file reads is a struct here; a part that is private to a file is a pointer, made
 * and freed by that file's _new() and _free().
 *
 * Lock order, outermost first (docs/LOCKING.md):
 *   full_disk, past_space > checkpoint > retire > log.queue > log.lock > index_lock > segments.lock
 * Leaves, under which nothing is taken: report, damage, counters, loading, reserve, views, orphans, atimes,
 * feed, log.sync_lock, wake.lock, job.lock, maintenance, config_file_lock, superblock_lock.
 *
 * The index changes only under log.lock and exclusive index_lock together. Whoever holds log.lock may
 * therefore read it without index_lock. */
#ifndef ENGRAMFS_ENG_H
#define ENGRAMFS_ENG_H

#include "admin.h"
#include "base/fault.h"
#include "base/util.h"
#include "core/config.h"
#include "core/counters.h"
#include "core/loading.h"
#include "core/marks.h"
#include "core/report.h"
#include "core/wake.h"
#include "disk/io.h"
#include "disk/log.h"
#include "disk/segments.h"

#include "index/apply.h"
#include "index/extents.h"
#include "index/index.h"
#include "index/verify.h"

struct atimes;
struct clocks;
struct acting;
struct cuts;
struct checkpoints;
struct damage_list;
struct feed;
struct position_waits;
struct keepers;
struct rest;
struct maintenance;
struct past_space;
struct orphans;
struct reserve;
struct retire;
struct full_disk;
struct runner;
struct summaries;
struct views;
struct workers;

struct eng {
    struct eng_options opt; /* immutable after open */
    struct superblock sb;   /* the same, but for feature bits that are set since: see `incompat` */
    struct fault_hook hook; /* set by tests only */

    /* disk/ */
    struct eng_io *io;
    bool own_io, locked; /* io is ours to free; the store's lock is ours. Immutable after open. */
    struct segments segments;
    struct log log;

    /* index/ */
    pthread_rwlock_t index_lock;
    struct index idx;       /* protected by index_lock and log.lock, see above */
    uint64_t published_seq; /* the last batch that idx shows; protected as idx is */
    /* Extents and xattrs that one batch takes out of the index, about (eng_slice()): for so long readers
     * wait. Tests set less. */
    _Atomic uint32_t slice;
    /* So many extents a block of a file has at most (eng_block_extents()): as many pieces a read of it is put
     * together from. Tests set more. */
    _Atomic uint32_t block_extents;
    _Atomic uint64_t looks; /* slices of walks through inodes and extents; for tests */

    /* core/ */
    struct report report;
    struct config config;
    bool config_is_known; /* the file could be read when the store was opened. Immutable after open. */
    pthread_mutex_t config_file_lock;
    pthread_mutex_t superblock_lock;
    /* Feature bits of the store (codec.h), those of sb among them: an op, or a table, of one may be written.
     * Written under the lock of checkpoints and superblock_lock. */
    _Atomic uint32_t incompat;
    struct counters counters;
    struct marks marks;
    struct loading loading;
    struct wake wake;
    struct keepers *keepers;
    struct damage_list *damage;
    struct reserve *reserve;
    struct views *views;

    /* commit/ */
    struct orphans *orphans;
    struct atimes *atimes;
    struct clocks *clocks;
    struct acting *acting;
    struct cuts *cuts;
    struct retire *retire;
    struct feed *feed;
    struct position_waits *position_waits;
    struct summaries *summaries;

    /* image/ */
    struct checkpoints *checkpoints;
    struct rest *rest;
    /* Of salvage: the last batch before the damage; UINT64_MAX: none. Immutable after open. */
    uint64_t lost_after;
    uint64_t lost_batches; /* of salvage: that are known to have been behind it. The same. */
    /* Of salvage: a bit for each inode that was lost with a part of the index, NULL: none was. The same. */
    uint8_t *lost_slots;
    uint32_t n_lost_slots;
    uint32_t
        n_set_aside; /* segments that this opening and earlier ones have set aside. Immutable after open */

    /* upkeep/ */
    struct full_disk *full_disk;
    struct runner *runner;
    struct maintenance *maintenance;
    /* From when on (mono_ns()) the job `history` is to look for what no snapshot sees; 0: it need not. */
    _Atomic uint64_t sweep_at;
    _Atomic int sweep_error; /* of its last run, which was told */
    uint64_t thinned_at; /* when it went through all for moments (mono_ns()), 0 never; of that job alone, */
    uint32_t thin_from;  /* and with which record of these it goes on */
    struct workers *workers; /* NULL until the store is open */
    uint32_t compact_group;  /* refs of a compaction that are in memory. Immutable while threads run. */
    bool installs_beside;    /* a compaction may start a thread of its own. Immutable while threads run. */
    /* By reason (index.h), the last batch up to which the floor has risen for it; for eng_stats alone. */
    _Atomic uint64_t floor_for[FLOOR_REASONS];
    _Atomic uint64_t floor_swept; /* where the floor was when the last run had ended */

    /* store/ */
    struct past_space *past_space;
};

static inline bool eng_has_history(const struct eng *eng)
{
    return atomic_load_explicit(&eng->incompat, memory_order_acquire) & INCOMPAT_HISTORY;
}

/* How many tables a checkpoint has. */
static inline unsigned eng_tables(const struct eng *eng)
{
    return eng_has_history(eng) ? INDEX_TABLES : INDEX_TABLES_PLAIN;
}

/* What the superblock has to say now. Under superblock_lock, as long as the store is open. */
static inline struct superblock eng_superblock(const struct eng *eng)
{
    struct superblock sb = eng->sb;
    sb.incompat = atomic_load_explicit(&eng->incompat, memory_order_acquire);
    return sb;
}

/* Whether the log has grown enough since the newest checkpoint for another. */
static inline bool checkpoint_is_due(const struct eng *eng)
{
    return marks_are_due(&eng->marks, &eng->config, log_bytes(&eng->log), log_seq(&eng->log));
}

/* Why what this thread has found in the index, since it last set pool_missed to 0, does not count; 0: it
 * does. */
static inline int eng_doubt(const struct eng *eng)
{
    return __builtin_expect(loading_is_done(&eng->loading), 1) ? 0 : loading_doubt(&eng->loading, &eng->idx);
}

#define FREED_PER_BATCH 4096u

/* How many of them are looked at, or taken out of the index (eng_cut()), at once; more comes in slices. */
static inline uint32_t eng_slice(const struct eng *eng)
{
    return MUTANT(NO_SLICES) ? UINT32_MAX : atomic_load_explicit(&eng->slice, memory_order_relaxed);
}

#define FROZEN_STEP 16u

/* How many files a batch may change that would change `max`. While a view is frozen each of them may lie in
 * chunks of its own, which are copied while everybody waits. Under log.lock. */
static inline uint32_t eng_step(const struct eng *eng, uint32_t max)
{
    return eng->idx.n_freezes && !MUTANT(FROZEN_AT_ONCE) ? MIN_OF(max, FROZEN_STEP) : max;
}

#define FROZEN_SLICE 128u /* extents: neighbours lie in 11 leaves at most, mostly in 7 */

/* How many extents and xattrs a batch may take out of the index; beside a frozen view so few that it copies
 * about FROZEN_STEP chunks. Under log.lock or index_lock. */
static inline uint32_t eng_cut(const struct eng *eng)
{
    uint32_t slice = eng_slice(eng);
    return eng->idx.n_freezes && !MUTANT(FROZEN_SLICES) ? MIN_OF(slice, FROZEN_SLICE) : slice;
}

/* What has a chunk of its own to copy, as an inode or an xattr may, counts as so many extents more. Under the
 * same. */
static inline uint32_t eng_apart(const struct eng *eng)
{
    return eng->idx.n_freezes && !MUTANT(FROZEN_SLICES) ? FROZEN_SLICE / FROZEN_STEP - 1 : 0;
}

#define BLOCK_EXTENTS 16u

/* How many extents a block of a file may have; who would add one writes the block anew. */
static inline uint32_t eng_block_extents(const struct eng *eng)
{
    return atomic_load_explicit(&eng->block_extents, memory_order_relaxed);
}

static inline bool is_read_only(const struct eng *eng)
{
    return report_is_read_only(&eng->report);
}

#endif

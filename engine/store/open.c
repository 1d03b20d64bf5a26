/*
 * open.c - opening and closing a store: each room makes its part, and frees it. */
#include "commit/acting.h"
#include "commit/atimes.h"
#include "commit/clocks.h"
#include "commit/cuts.h"
#include "commit/feed.h"
#include "commit/flush.h"
#include "commit/orphans.h"
#include "commit/position.h"
#include "commit/retire.h"
#include "commit/summaries.h"
#include "core/damage.h"
#include "core/keepers.h"
#include "core/reserve.h"
#include "core/views.h"
#include "image/checkpoint.h"
#include "image/freeze.h"
#include "image/recover.h"
#include "image/rest.h"
#include "image/salvage.h"
#include "index/moments.h"
#include "store/jobs.h"
#include "store/past_space.h"
#include "store/store.h"
#include "upkeep/compact.h"
#include "upkeep/full_disk.h"
#include "upkeep/history.h"
#include "upkeep/maintenance.h"
#include "upkeep/workers.h"

#include <stdio.h>

/* Who has the store, and what to do about it. */
static void say_in_use(struct eng *eng, char why[256])
{
    int64_t pid = eng->io->ops->lock_holder ? eng->io->ops->lock_holder(eng->io) : 0;
    if (pid)
        snprintf(
            why, 256,
            "the store is in use by another process, %lld; if that is an engramfs whose mount is gone from "
            "here, a container or a bind mount has it still: kill %lld ends it",
            (long long)pid, (long long)pid);
    else
        snprintf(why, 256, "the store is in use by another process");
}

static int lock_store(struct eng *eng, char why[256])
{
    int64_t waited = 0;
    int r;
    if (eng->opt.snapshot)
        return 0;
    while ((r = eng->io->ops->lock(eng->io, eng->opt.read_only)) == -EBUSY &&
           waited < eng->opt.lock_wait_ms) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        waited += 20;
    }
    if (MUTANT(NO_LOCK))
        r = 0;
    eng->locked = !r;
    if (r == -EBUSY)
        say_in_use(eng, why);
    else if (r)
        snprintf(why, 256, "cannot lock the store: %s", strerror(-r));
    return r;
}

/* A recovery may need to write nothing: then only the first mutation would fail. */
static int may_be_written(struct eng *eng, char why[256])
{
    struct io_space space;
    if (eng->opt.read_only || eng->io->ops->space(eng->io, &space) || !space.read_only)
        return 0;
    snprintf(why, 256, "its file system is mounted read-only: the store can be read there, not written");
    return -EROFS;
}

/* The parts that struct eng only has pointers to. -ENOMEM. */
static int new_parts(struct eng *eng)
{
    int (*const news[])(struct eng *) = {keepers_new,     damage_new,     reserve_new,   views_new,
                                         orphans_new,     atimes_new,     clocks_new,    acting_new,
                                         cuts_new,        feed_new,       position_new,  retire_new,
                                         summaries_new,   checkpoint_new, rest_new,      full_disk_new,
                                         maintenance_new, jobs_new,       past_space_new};
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(news) && !r; i++)
        r = news[i](eng);
    return r;
}

static void free_parts(struct eng *eng)
{
    past_space_free(eng);
    runner_free(eng);
    maintenance_free(eng);
    full_disk_free(eng);
    rest_free(eng);
    checkpoint_free(eng);
    summaries_free(eng);
    retire_free(eng);
    position_free(eng);
    feed_free(eng);
    acting_free(eng);
    cuts_free(eng);
    clocks_free(eng);
    atimes_free(eng);
    orphans_free(eng);
    views_free(eng);
    reserve_free(eng);
    damage_free(eng);
    keepers_free(eng);
}

static void init_parts(struct eng *eng)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    /* The default would let a stream of readers keep every writer out. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&eng->index_lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&eng->config_file_lock, NULL);
    pthread_mutex_init(&eng->superblock_lock, NULL);
    pthread_mutex_init(&eng->counters.lock, NULL);
    atomic_store_explicit(&eng->slice, FREED_PER_BATCH, memory_order_relaxed);
    atomic_store_explicit(&eng->block_extents, BLOCK_EXTENTS, memory_order_relaxed);
    report_init(&eng->report, &eng->opt);
    loading_init(&eng->loading);
    wake_init(&eng->wake);
}

static void eng_free(struct eng *eng)
{
    rest_stop(eng);
    workers_free(eng);
    log_free(&eng->log);
    segments_free(&eng->segments);
    index_free(&eng->idx);
    free(eng->lost_slots);
    if (eng->locked)
        eng->io->ops->unlock(eng->io);
    checkpoint_close(eng);
    if (eng->own_io)
        io_posix_free(eng->io);
    free_parts(eng);
    loading_free(&eng->loading);
    wake_free(&eng->wake);
    report_free(&eng->report);
    pthread_mutex_destroy(&eng->counters.lock);
    pthread_mutex_destroy(&eng->config_file_lock);
    pthread_mutex_destroy(&eng->superblock_lock);
    pthread_rwlock_destroy(&eng->index_lock);
    free(eng);
}

static int open_io(struct eng *eng, const char *path, char why[256])
{
    if (eng->opt.io) {
        eng->io = eng->opt.io;
        return 0;
    }
    int r = io_posix_new(path, !eng->opt.must_exist && !eng->opt.read_only, &eng->io);
    eng->own_io = !r;
    if (r == -EBADMSG)
        snprintf(why, 256,
                 "a backup was interrupted here, and .engram-backup.names, which tells how it goes on, is "
                 "damaged: "
                 "run engramctl backup again; or else remove that file, and repair the rest");
    else if (r)
        snprintf(why, 256, "%s", strerror(-r));
    return r;
}

/* Of new segments: what was asked for, as far as the process may make files so large. */
static uint64_t segment_size(struct eng *eng)
{
    uint64_t size = eng->opt.segment_size ? eng->opt.segment_size : eng->sb.segment_size;
    uint64_t max = eng->io->ops->file_size_max ? eng->io->ops->file_size_max(eng->io) : UINT64_MAX;
    if (eng->opt.read_only || size <= max)
        return size;
    report_line(
        &eng->report, ENG_LOG_WARNING,
        "files may not grow over %llu bytes here (ulimit -f, LimitFSIZE=), and segments of this store have "
        "%llu: new ones are made smaller, and a checkpoint that does not fit fails",
        (unsigned long long)max, (unsigned long long)size);
    return MAX_OF(max, ENG_SEGMENT_SIZE_MIN);
}

/* Of a new store, or of one that died before its first batch. With the first batch all may be lost. */
static int begin_root(struct eng *eng, char why[256])
{
    if (eng->opt.salvage && eng->lost_after != UINT64_MAX)
        return salvage_root(eng);
    if (!eng->opt.read_only)
        return create_root(eng);
    snprintf(why, 256, "the store is empty and cannot be set up read-only");
    return -EROFS;
}

static int open_store(struct eng *eng, char why[256])
{
    int r = lock_store(eng, why);
    if (!r)
        r = may_be_written(eng, why);
    if (!r && !eng->opt.read_only)
        io_begin(eng->io);
    if (!r)
        r = create_or_load(eng, why);
    if (!r)
        atomic_store_explicit(&eng->incompat, eng->sb.incompat, memory_order_release);
    if (!r)
        config_load(eng);
    if (!r)
        r = index_init(&eng->idx, eng->sb.hash_seed);
    if (r)
        return r;
    memcpy(eng->segments.uuid, eng->sb.uuid, sizeof eng->segments.uuid);
    eng->segments.read_only = eng->opt.read_only;
    uint64_t store = eng->log.store;
    log_init(&eng->log, eng->io, &eng->segments, &eng->hook, segment_size(eng));
    eng->log.store = store ? store : superblock_tag(&eng->sb);
    eng->log.echo.store = eng->log.store;
    reserve_init(eng);
    r = recover_store(eng, why);
    if (!r && !eng->opt.read_only)
        r = upgrade_store(eng, why);
    if (!r && !index_inode(&eng->idx, ENG_ROOT_INO))
        r = begin_root(eng, why);
    if (r)
        return r;
    freeze_trim(eng);
    rest_forget_suspicion(eng);
    if (!eng->opt.read_only)
        reserve_opened(eng);
    maintenance_opened(eng);
    (void)moments_make_sums(&eng->idx); /* or they are gone through */
    history_opened(eng);
    r = workers_new(eng);
    if (!r)
        r = rest_opened(eng);
    if (!r)
        config_opened(eng);
    return r;
}

static int check_options(const struct eng_options *opt, char why[256])
{
    uint64_t size = opt->segment_size;
    if (size && (size < ENG_SEGMENT_SIZE_MIN || size > ENG_SEGMENT_SIZE_MAX)) {
        snprintf(why, 256, "segment size must be 64 KiB to 1 GiB");
        return -EINVAL;
    }
    if ((opt->snapshot || opt->salvage) && !opt->read_only) {
        snprintf(why, 256, "a snapshot or salvage is read-only");
        return -EINVAL;
    }
    return 0;
}

static void tell_why(int r, const char *why, char ret_why[256])
{
    if (!*why && r == -EAGAIN)
        why = "no memory for its threads, or too many of them; raise the limits";
    if (ret_why)
        snprintf(ret_why, 256, "%s", *why ? why : strerror(-r));
}

/* *ret_again: with all of the index loaded first it may succeed. */
static int try_open(const char *path, const struct eng_options *opt, size_t size, bool whole,
                    struct eng **ret_eng, char why[256], bool *ret_again)
{
    *ret_again = false;
    struct eng *eng = calloc(1, sizeof *eng);
    if (!eng)
        return -ENOMEM;
    int r = opt ? take_sized(&eng->opt, sizeof eng->opt, opt, size) : 0;
    if (r)
        snprintf(why, 256,
                 "an option is set that this engine (" ENG_VERSION ") does not know; use a newer one");
    eng->compact_group = COMPACT_GROUP;
    eng->installs_beside = !eng->opt.no_background;
    eng->lost_after = UINT64_MAX;
    init_parts(eng);
    if (!r && (!ret_eng || (!path && !eng->opt.io)))
        r = -EINVAL;
    if (!r)
        r = check_options(&eng->opt, why);
    if (!r)
        r = new_parts(eng);
    if (!r)
        r = open_io(eng, path, why);
    if (!r) {
        if (whole)
            rest_load_whole(eng);
        segments_init(&eng->segments, eng->io, &eng->hook);
        r = open_store(eng, why);
    }
    if (r) {
        *ret_again = !whole && rest_wants_whole(eng);
        eng_free(eng);
        return r;
    }
    *ret_eng = eng;
    return 0;
}

int eng_open_sized(const char *path, const struct eng_options *opt, size_t size, struct eng **ret_eng,
                   char ret_why[256])
{
    char why[256] = "";
    bool again;
    int r = try_open(path, opt, size, false, ret_eng, why, &again);
    if (again) {
        *why = 0;
        r = try_open(path, opt, size, true, ret_eng, why, &again);
    }
    if (r)
        tell_why(r, why, ret_why);
    return r;
}

int eng_close(struct eng *eng)
{
    if (!eng)
        return 0;
    eng_feed_shutdown(eng);
    position_shut(eng);
    loading_hurry(&eng->loading);
    if (checkpoint_is_due(eng) && !is_read_only(eng)) /* or one that is always closed soon never has one */
        (void)rest_await(eng);
    rest_stop(eng);
    workers_free(eng);
    int r = 0;
    atimes_flush(eng);
    if (!eng->opt.read_only)
        r = sync_some(eng); /* reports a sync that failed earlier as well (I11) */
    if (!is_read_only(eng) && loading_is_done(&eng->loading)) {
        if (!r && log_seq(&eng->log) > atomic_load_explicit(&eng->marks.newest_seq, memory_order_acquire))
            r = checkpoint_write(eng);
        if (!r)
            (void)retire_segments(eng);
    }
    if (!is_read_only(eng) && !MUTANT(UNECHOED)) /* what no checkpoint has is there twice all the same */
        echo_sync(&eng->log.echo);
    if (!is_read_only(eng)) /* what went is wanted by others on a full disk, too */
        reserve_keep(eng);
    eng_free(eng);
    return r;
}

/*
 * reserve.c - disk space set aside for getting out of a full disk: removing,
 * compacting and checkpointing must work when nothing else can be written.
 * It is a preallocated file, given back to the file system when one of these fails
 * with -ENOSPC, and taken again once there is room.
 *
 * Its size follows the store: enough for the survivors of one victim in a
 * store of some segments, little in a small store. It grows by doubling, so that it seldom changes.
 *
 * Locking: reserve_lock, a leaf; held across the calls on this one file.
 */
#include "worker.h"

#define RESERVE_FILE "reserve"
#define RESERVE_MIN (1u << 20)

/* Opens the file, creating it if need be. */
static int open_reserve(struct eng *eng, struct io_file **ret_file)
{
    const struct eng_io_ops *ops = eng->io->ops;
    int r = ops->open(eng->io, RESERVE_FILE, IO_RDWR, ret_file);
    return r == -ENOENT ? ops->open(eng->io, RESERVE_FILE, IO_RDWR | IO_CREATE, ret_file) : r;
}

/* Without room, or on a file system that cannot preallocate, there is no reserve; that is no error. */
static void resize_locked(struct eng *eng, uint64_t size)
{
    struct io_file *file;
    if (open_reserve(eng, &file) != 0)
        return;
    int r = size ? eng->io->ops->allocate(file, size) : eng->io->ops->truncate(file, 0);
    if (r && size)
        (void)eng->io->ops->truncate(file, 0);
    if (!r || size)
        __atomic_store_n(&eng->reserve_bytes, r ? 0 : size, __ATOMIC_RELAXED);
    eng->io->ops->close(file);
}

void reserve_keep(struct eng *eng)
{
    struct io_space space;
    uint64_t have = __atomic_load_n(&eng->reserve_bytes, __ATOMIC_RELAXED), want = RESERVE_MIN;
    uint64_t target = MIN_OF(arena_bytes(&eng->arena) / 4, eng->log.segment_size);
    while (want < target)
        want *= 2;
    if (have >= want || eng->io->ops->space(eng->io, &space) != 0 || space.avail_bytes < 4 * want)
        return;
    pthread_mutex_lock(&eng->reserve_lock);
    resize_locked(eng, want);
    pthread_mutex_unlock(&eng->reserve_lock);
}

bool reserve_release(struct eng *eng)
{
    pthread_mutex_lock(&eng->reserve_lock);
    bool had = __atomic_load_n(&eng->reserve_bytes, __ATOMIC_RELAXED) > 0;
    if (had)
        resize_locked(eng, 0);
    pthread_mutex_unlock(&eng->reserve_lock);
    if (had)
        eng_logf(eng, ENG_LOG_WARNING, "the disk is full: the reserve is used; remove something or compact");
    return had;
}

/* What an earlier run left counts. */
void reserve_init(struct eng *eng)
{
    struct io_file *file;
    uint64_t size = 0;
    if (eng->io->ops->open(eng->io, RESERVE_FILE, IO_RDONLY, &file) != 0)
        return;
    if (eng->io->ops->file_size(file, &size) == 0)
        __atomic_store_n(&eng->reserve_bytes, size, __ATOMIC_RELAXED);
    eng->io->ops->close(file);
}

bool eng_make_room(struct eng *eng)
{
    uint64_t total, live;
    struct eng_compact_report report = {0};
    eng_totals(eng, &total, &live);
    pthread_mutex_lock(&eng->worker->lock);
    uint64_t futile = eng->worker->futile_garbage;
    pthread_mutex_unlock(&eng->worker->lock);
    if (total - live < futile + RESERVE_MIN / 4)
        return false; /* else each write to a disk that stays full would begin another */
    int r = eng_compact(eng, &report);
    return r == 0 && report.bytes_reclaimed > 0;
}

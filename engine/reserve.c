/*
 * reserve.c - disk space set aside for getting out of a full disk: removing,
 * compacting and checkpointing must work when nothing else can be written.
 *
 * The reserve is a preallocated file. What takes away from the store gives it
 * back to the file system piece by piece, down to a half that is left to
 * compaction and checkpoints. From the moment when the disk was seen full until
 * the reserve is whole again the store is short: a mutation then makes room
 * first, by compacting, and is refused if that was in vain and it is not one
 * that takes away, since it would eat what those need.
 *
 * Its size follows the store: the survivors of one victim and a checkpoint. While a compaction runs, which
 * says by how much the store shrank, it grows only if it lacks a third.
 *
 * Locking: reserve_lock, a leaf, held across the calls on this one file; and
 * room_lock, outermost of all, held by whoever makes room.
 */
#include "engine_impl.h"

#define RESERVE_FILE "reserve"
#define RESERVE_MIN (UINT64_C(1) << 20)
#define RESERVE_STEP (UINT64_C(256) << 10)
/* What must be free besides the reserve for the store not to be short. */
#define ROOM_MIN (UINT64_C(128) << 10)
/* Making room is tried again when there is more garbage than after the last time: a share of the store, but
 * not more than some segments, and not for less than WORTH_MIN. */
#define WORTH_MIN (UINT64_C(64) << 10)
#define WORTH_SHARE 32u
#define WORTH_SEGMENTS 4u

static uint64_t reserve_has(struct eng *eng)
{
    return __atomic_load_n(&eng->reserve_bytes, __ATOMIC_RELAXED);
}

uint64_t reserve_for_checkpoint(struct eng *eng)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    uint64_t image = pool_live_bytes(eng->idx.pool);
    pthread_rwlock_unlock(&eng->index_lock);
    return MIN_OF(image, eng->log.segment_size);
}

static uint64_t reserve_wanted(struct eng *eng)
{
    uint64_t victim = MIN_OF(arena_bytes(&eng->arena) / 4, eng->log.segment_size);
    uint64_t want = victim + reserve_for_checkpoint(eng);
    return MAX_OF((want + RESERVE_STEP - 1) / RESERVE_STEP * RESERVE_STEP, RESERVE_MIN);
}

bool reserve_is_short(struct eng *eng)
{
    return __atomic_load_n(&eng->reserve_short, __ATOMIC_ACQUIRE);
}

/* ---- the file ------------------------------------------------------------------ */

/* Opens it, creating it if need be. */
static int open_reserve(struct eng *eng, struct io_file **ret_file)
{
    const struct eng_io_ops *ops = eng->io->ops;
    int r = ops->open(eng->io, RESERVE_FILE, IO_RDWR, ret_file);
    return r == -ENOENT ? ops->open(eng->io, RESERVE_FILE, IO_RDWR | IO_CREATE, ret_file) : r;
}

/* On failure it stays as it was. -EOPNOTSUPP: the file system cannot preallocate. */
static int resize_locked(struct eng *eng, uint64_t size)
{
    struct io_file *file;
    uint64_t have = reserve_has(eng);
    const struct eng_io_ops *ops = eng->io->ops;
    int r = open_reserve(eng, &file);
    if (r)
        return r;
    r = size > have ? ops->allocate(file, size) : ops->truncate(file, size);
    if (!r)
        __atomic_store_n(&eng->reserve_bytes, size, __ATOMIC_RELAXED);
    if (!r && size > have)
        eng->reserve_floor = size / 2;
    else if (r && size > have)
        (void)ops->truncate(file, have);
    ops->close(file);
    return r;
}

/* In a store that is short, takes back what there is; whether the reserve is whole, with `room` bytes to
 * spare. */
static bool refill_locked(struct eng *eng, uint64_t lack, uint64_t avail, uint64_t room)
{
    uint64_t can = avail > room ? MIN_OF(lack, (avail - room) / RESERVE_STEP * RESERVE_STEP) : 0;
    if (avail >= lack + room)
        can = lack;
    int r = can ? resize_locked(eng, reserve_has(eng) + can) : 0;
    return avail >= lack + room && (r == 0 || r == -EOPNOTSUPP);
}

/* Takes what the reserve lacks, if there is room. False: the store is short (still). */
static bool reserve_fill(struct eng *eng, uint64_t room)
{
    if (MUTANT(NO_RESERVE))
        return false;
    struct io_space space;
    uint64_t want = reserve_wanted(eng);
    pthread_mutex_lock(&eng->reserve_lock);
    uint64_t have = reserve_has(eng), lack = want > have ? want - have : 0;
    bool is_short = reserve_is_short(eng), known = eng->io->ops->space(eng->io, &space) == 0;
    if (!known)
        is_short = false; /* the writes find out */
    else if (is_short)
        is_short = !refill_locked(eng, lack, space.avail_bytes, room);
    else if (lack && space.avail_bytes >= 2 * lack + room && !eng->reserve_unsupported &&
             (!eng->reserve_held || lack > have / 2)) /* a store that grew takes more of what is plenty */
        eng->reserve_unsupported = resize_locked(eng, want) == -EOPNOTSUPP;
    __atomic_store_n(&eng->reserve_short, is_short, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&eng->reserve_lock);
    return !is_short;
}

void reserve_init(struct eng *eng)
{
    struct io_file *file;
    uint64_t size = 0;
    if (eng->io->ops->open(eng->io, RESERVE_FILE, IO_RDONLY, &file) != 0)
        return;
    if (eng->io->ops->file_size(file, &size) == 0) {
        __atomic_store_n(&eng->reserve_bytes, size, __ATOMIC_RELAXED);
        eng->reserve_floor = size / 2;
    }
    eng->io->ops->close(file);
}

void reserve_opened(struct eng *eng)
{
    __atomic_store_n(&eng->reserve_short, true, __ATOMIC_RELEASE);
    (void)reserve_fill(eng, ROOM_MIN);
}

void reserve_keep(struct eng *eng)
{
    (void)reserve_fill(eng, ROOM_MIN);
}

void reserve_hold(struct eng *eng, bool hold)
{
    pthread_mutex_lock(&eng->reserve_lock);
    eng->reserve_held = hold;
    pthread_mutex_unlock(&eng->reserve_lock);
}

/* ---- a full disk ------------------------------------------------------------------ */

void reserve_note_full(struct eng *eng)
{
    if (!__atomic_exchange_n(&eng->reserve_short, true, __ATOMIC_ACQ_REL))
        eng_logf(eng, ENG_LOG_WARNING, "the disk is full: garbage is compacted as writers need room");
}

bool reserve_release(struct eng *eng, enum reserve_use use)
{
    if (use == RESERVE_NONE)
        return false;
    pthread_mutex_lock(&eng->reserve_lock);
    uint64_t have = reserve_has(eng), least = use == RESERVE_ALL ? 0 : eng->reserve_floor;
    uint64_t size = use == RESERVE_ALL || have < RESERVE_STEP ? least : MAX_OF(have - RESERVE_STEP, least);
    bool released = size < have && resize_locked(eng, size) == 0;
    pthread_mutex_unlock(&eng->reserve_lock);
    if (released)
        reserve_note_full(eng);
    return released;
}

bool reserve_open_up(struct eng *eng, uint64_t needed)
{
    struct io_space space;
    if (eng->io->ops->space(eng->io, &space) != 0 || space.avail_bytes >= needed)
        return true;
    bool enough = space.avail_bytes + reserve_has(eng) >= needed;
    if (enough)
        (void)reserve_release(eng, RESERVE_ALL);
    return enough;
}

/* Whether some segment is held back by nothing but a checkpoint that is to come. */
static bool any_empty(struct eng *eng)
{
    bool any = false;
    pthread_mutex_lock(&eng->log.lock);
    for (uint32_t i = 1; i < eng->idx.segs.used && !any; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        any = seg->id && !seg->live && !(eng->log.active && eng->log.active->id == seg->id);
    }
    pthread_mutex_unlock(&eng->log.lock);
    return any;
}

static void clear_out(struct eng *eng)
{
    uint64_t total, live;
    int r = eng_flush_orphans(eng);
    eng_totals(eng, &total, &live);
    if (total > live)
        r = eng_compact_join(eng);
    for (unsigned i = 0; i < 2 && !r && any_empty(eng); i++) {
        r = eng_checkpoint(eng);
        (void)eng_reclaim(eng);
    }
}

static bool worth_trying(struct eng *eng)
{
    uint64_t total, live;
    eng_totals(eng, &total, &live);
    uint64_t worth = MIN_OF(total / WORTH_SHARE, WORTH_SEGMENTS * eng->log.segment_size);
    return total - live >= eng->futile_garbage + MAX_OF(worth, WORTH_MIN);
}

bool eng_make_room(struct eng *eng, uint64_t size, bool removing)
{
    uint64_t total, live, room = MAX_OF(ROOM_MIN, size + size / 8);
    if (eng_is_read_only(eng))
        return false;
    eng_quiet();
    pthread_mutex_lock(&eng->room_lock);
    bool ok = reserve_fill(eng, room);
    if (!ok && (removing || worth_trying(eng))) {
        clear_out(eng);
        ok = reserve_fill(eng, room);
        eng_totals(eng, &total, &live);
        eng->futile_garbage = total - live;
    }
    pthread_mutex_unlock(&eng->room_lock);
    eng_speak(eng);
    return ok || removing;
}

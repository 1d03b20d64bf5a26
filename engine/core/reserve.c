/*
 * reserve.c - disk space set aside for getting out of a full disk: removing, compacting and checkpointing
 * must work when nothing else can be written.
 *
 * The reserve is a preallocated file. Removals give it back to the file system piece by piece, down to what
 * is left to compaction and checkpoints. From the moment when the disk is seen full until the reserve is
 * whole again the store is short: a mutation then makes room first, by compacting; if that gains nothing, the
 * mutation is refused unless it is a removal, since it would use up what removals and compaction need.
 *
 * The size follows the store: what checkpoint files may still grow by, at least a checkpoint of the whole
 * index, and the survivors of one victim. Removals leave what the next checkpoint has to write, wherever it
 * lies, on the disk or in the reserve, and a share of what is beside it. While a compaction runs, whose
 * report says by how much the store shrank, the reserve grows only if a third is missing, and shrinks not.
 *
 * Locking: a lock of its own, a leaf, held across the calls on this one file, and those that allocate what
 * it gives to another. */
#include "core/reserve.h"

#include "core/eng.h"

#define RESERVE_FILE "reserve"
#define RESERVE_MIN (UINT64_C(1) << 20)
#define COPIES 2u          /* of a checkpoint */
#define CKPT_IMAGES_MAX 5u /* all checkpoint files together, in images of the index */
#define RESERVE_STEP (UINT64_C(256) << 10)
#define SPEND_SHARE 4u /* of it, for what may use all */
#define SHRINK_FROM 3u /* times what is wanted: more than checkpoint files make it differ by */

struct reserve {
    pthread_mutex_t lock;
    _Atomic uint64_t bytes; /* written under lock */
    /* The largest that it was since it was whole last. Protected by lock. */
    uint64_t top;
    bool frozen;           /* grows only if a third is missing. Protected by lock. */
    bool cut;              /* its extents may be longer than what is left of it. Protected by lock. */
    _Atomic bool awaited;  /* something was removed since the file system was made to give all back */
    bool unsupported;      /* the file system cannot preallocate. Protected by lock. */
    _Atomic bool is_short; /* the disk was full, and the reserve is not whole again */
    _Atomic bool refused;  /* and a write has met that: what the disk says of its space is not enough */
    /* How often is_short has changed; counted before it does, so that who sees the change sees that, too. */
    _Atomic uint64_t turns;
};

int reserve_new(struct eng *eng)
{
    eng->reserve = calloc(1, sizeof *eng->reserve);
    if (!eng->reserve)
        return -ENOMEM;
    pthread_mutex_init(&eng->reserve->lock, NULL);
    return 0;
}

void reserve_free(struct eng *eng)
{
    if (!eng->reserve)
        return;
    pthread_mutex_destroy(&eng->reserve->lock);
    free(eng->reserve);
    eng->reserve = NULL;
}

uint64_t reserve_bytes(struct eng *eng)
{
    return atomic_load_explicit(&eng->reserve->bytes, memory_order_relaxed);
}

/* Bytes of all chunks that are not dropped. */
static uint64_t index_bytes(struct eng *eng)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    uint64_t image = 0;
    for (unsigned i = 0; i < eng_tables(eng); i++) {
        const struct table *t = index_table(&eng->idx, i);
        for (uint32_t c = 0; c < t->n_chunks; c++)
            image += t->states[c] == TABLE_DROPPED ? 0 : TABLE_CHUNK_SIZE;
    }
    pthread_rwlock_unlock(&eng->index_lock);
    return image;
}

uint64_t reserve_for_checkpoint(struct eng *eng)
{
    return COPIES * index_bytes(eng);
}

static uint64_t victim_bytes(struct eng *eng)
{
    return MIN_OF(segments_bytes(&eng->segments) / 4, eng->log.segment_size);
}

static uint64_t reserve_wanted(struct eng *eng)
{
    uint64_t victim = victim_bytes(eng);
    uint64_t image = index_bytes(eng);
    uint64_t files = atomic_load_explicit(&eng->marks.disk_bytes, memory_order_relaxed);
    /* As long as writing goes on checkpoint files grow up to that, whatever little each changes. */
    uint64_t growth =
        MAX_OF(COPIES * image, CKPT_IMAGES_MAX * image - MIN_OF(files, CKPT_IMAGES_MAX * image));
    uint64_t want = MAX_OF(victim, RESERVE_MIN / 2) + growth;
    return MAX_OF((want + RESERVE_STEP - 1) / RESERVE_STEP * RESERVE_STEP, RESERVE_MIN);
}

/* What checkpoints have to write, twice, of what was changed since the newest one, and of so many
 * chunks of each table `more`, which may be NULL: no more than the whole chunks. */
static uint64_t changed_bytes(struct eng *eng, const uint64_t more[INDEX_TABLES])
{
    uint64_t bytes = 0;
    pthread_rwlock_rdlock(&eng->index_lock);
    for (unsigned i = 0; i < eng_tables(eng); i++) {
        const struct table *t = index_table(&eng->idx, i);
        uint64_t n = (uint64_t)t->n_changed + (more && !MUTANT(OWN_CHANGE_FREE) ? more[i] : 0);
        if (!MUTANT(TAKEN_IS_WRITTEN))
            n += atomic_load_explicit(&eng->marks.taken[i], memory_order_relaxed);
        bytes += MIN_OF(n, (uint64_t)t->n_chunks) * TABLE_CHUNK_SIZE;
    }
    pthread_rwlock_unlock(&eng->index_lock);
    return COPIES * bytes;
}

/* Where a checkpoint does not fit anyway, nothing: what has aged goes without one. */
static uint64_t least_of_copies(struct eng *eng, const uint64_t more[INDEX_TABLES])
{
    struct io_space space;
    uint64_t has_to_be = changed_bytes(eng, NULL) + RESERVE_STEP;
    bool fits = !io_space_known(eng->io, &space) || space.avail_bytes + reserve_bytes(eng) >= has_to_be;
    return fits ? changed_bytes(eng, more) + RESERVE_STEP : 0;
}

/* What a use must leave, on the disk and in the reserve: that checkpoint, and a share of what is set aside
 * beside it. */
static uint64_t least_of(struct eng *eng, enum reserve_use use, const uint64_t more[INDEX_TABLES])
{
    if (use == RESERVE_ALL)
        return 0;
    if (use == RESERVE_COPIES)
        return least_of_copies(eng, more);
    uint64_t beside = MAX_OF(victim_bytes(eng), RESERVE_MIN / 2);
    return changed_bytes(eng, more) + beside / 4 * (use == RESERVE_MOST ? 1 : 2);
}

/* The disk may never have had room for that much: then most of what there was. */
static uint64_t least_locked(const struct reserve *reserve, uint64_t least)
{
    return least <= reserve->top ? least : reserve->top / 4 * 3;
}

bool reserve_is_short(struct eng *eng)
{
    return atomic_load_explicit(&eng->reserve->is_short, memory_order_acquire);
}

bool reserve_was_refused(struct eng *eng)
{
    return reserve_is_short(eng) && atomic_load_explicit(&eng->reserve->refused, memory_order_acquire);
}

uint64_t reserve_turns(struct eng *eng)
{
    return atomic_load_explicit(&eng->reserve->turns, memory_order_acquire);
}

/* Returns whether it was something else. */
static bool set_is_short(struct reserve *reserve, bool is_short)
{
    if (atomic_load_explicit(&reserve->is_short, memory_order_acquire) == is_short)
        return false;
    atomic_fetch_add_explicit(&reserve->turns, 1, memory_order_acq_rel);
    return atomic_exchange_explicit(&reserve->is_short, is_short, memory_order_acq_rel) != is_short;
}

/* ---- the file ------------------------------------------------------------------ */

/* Opens the file, creating it if need be. */
static int open_reserve(struct eng *eng, struct io_file **ret_file)
{
    const struct eng_io_ops *ops = eng->io->ops;
    int r = ops->open(eng->io, RESERVE_FILE, IO_RDWR, ret_file);
    return r == -ENOENT ? ops->open(eng->io, RESERVE_FILE, IO_RDWR | IO_CREATE, ret_file) : r;
}

/* Whether the file system has, by now, given back what was not to be had at once. */
static bool give_back_locked(struct eng *eng)
{
    const struct eng_io_ops *ops = eng->io->ops;
    atomic_store_explicit(&eng->reserve->awaited, false, memory_order_relaxed);
    return ops->give_back && ops->give_back(eng->io) == 0;
}

static void set_bytes_locked(struct eng *eng, uint64_t bytes)
{
    atomic_store_explicit(&eng->reserve->bytes, bytes, memory_order_relaxed);
    eng->reserve->top = MAX_OF(eng->reserve->top, bytes);
}

/* Whether the disk has `bytes` more, which go back at once; what cannot be cut stays. All or nothing: what a
 * growth in vain would take piece by piece is wanted by whoever the reserve was spent for. */
static int ask_locked(struct eng *eng, struct io_file *file, uint64_t bytes)
{
    const struct eng_io_ops *ops = eng->io->ops;
    uint64_t have = reserve_bytes(eng);
    int r = ops->allocate(file, have, have + bytes);
    int cut = ops->truncate(file, have);
    if (!r && cut) {
        set_bytes_locked(eng, have + bytes);
        eng->reserve->cut = true; /* it will be, and is one extent */
    }
    return r;
}

/* In pieces that are an extent each: btrfs gives an extent back when all of it was cut, and nothing before.
 * After an error the reserve has those that could be had. */
static int add_pieces_locked(struct eng *eng, struct io_file *file, uint64_t size)
{
    int r = 0;
    for (uint64_t at = reserve_bytes(eng), next; at < size && !r; at = next) {
        next = MUTANT(ONE_PIECE) ? size : MIN_OF(at / RESERVE_STEP * RESERVE_STEP + RESERVE_STEP, size);
        r = eng->io->ops->allocate(file, at, next);
        if (!r)
            set_bytes_locked(eng, next);
    }
    if (r)
        (void)eng->io->ops->truncate(file, reserve_bytes(eng));
    return r;
}

/* If there are `room` bytes beside it. */
static int grow_locked(struct eng *eng, struct io_file *file, uint64_t size, uint64_t room)
{
    uint64_t more = size + room - reserve_bytes(eng);
    int r = more >= RESERVE_STEP || room ? ask_locked(eng, file, more) : 0;
    return r ? r : add_pieces_locked(eng, file, size);
}

/* Over its quota btrfs cuts no file, but removes one: then the reserve is made anew, smaller, as far as there
 * is room for it. */
static int replace_locked(struct eng *eng, uint64_t size)
{
    struct io_file *file;
    const struct eng_io_ops *ops = eng->io->ops;
    int r = ops->unlink(eng->io, RESERVE_FILE);
    if (r)
        return r;
    atomic_store_explicit(&eng->reserve->bytes, 0, memory_order_relaxed);
    eng->reserve->cut = false;
    (void)give_back_locked(eng);
    if (!size || open_reserve(eng, &file) != 0)
        return 0;
    (void)add_pieces_locked(eng, file, size);
    ops->close(file);
    return 0;
}

/* -EOPNOTSUPP: the file system cannot preallocate. */
static int resize_locked(struct eng *eng, uint64_t size)
{
    struct io_file *file;
    uint64_t have = reserve_bytes(eng);
    const struct eng_io_ops *ops = eng->io->ops;
    int r = open_reserve(eng, &file);
    if (r)
        return r;
    r = size > have ? grow_locked(eng, file, size, 0) : ops->truncate(file, size);
    ops->close(file);
    if (!r && size < have) {
        atomic_store_explicit(&eng->reserve->bytes, size, memory_order_relaxed);
        eng->reserve->cut = size > 0;
    }
    return r == -ENOSPC && size < have ? replace_locked(eng, size) : r;
}

/* An extent of which a part is left keeps all its room, as what an older version has set aside, or somebody
 * has put together. Whether the file system is such a one, and the reserve was made anew. */
static bool make_anew_locked(struct eng *eng)
{
    return eng->reserve->cut && !MUTANT(EXTENTS_STAY) && give_back_locked(eng) &&
           replace_locked(eng, reserve_bytes(eng)) == 0;
}

/* Grows to `whole`, if there are `room` bytes beside it. */
static int complete_locked(struct eng *eng, uint64_t whole, uint64_t room)
{
    struct io_file *file;
    int r = open_reserve(eng, &file);
    if (r)
        return r;
    if (whole + room > reserve_bytes(eng))
        r = grow_locked(eng, file, whole, room);
    eng->io->ops->close(file);
    if (!r && reserve_bytes(eng) > whole)
        r = resize_locked(eng, whole);
    return !r && reserve_bytes(eng) < whole ? -ENOSPC : r;
}

/* Whether the disk gives the whole reserve and `room` bytes beside it, which go back at once. A write was
 * refused, perhaps by a limit that the figures of the disk know nothing of, as a quota. */
static bool prove_locked(struct eng *eng, uint64_t whole, uint64_t room)
{
    int r = complete_locked(eng, whole, room);
    if (r == -ENOSPC && give_back_locked(eng))
        r = complete_locked(eng, whole, room);
    if (r == -ENOSPC && whole > reserve_bytes(eng))
        (void)resize_locked(eng, whole);
    return !r || r == -EOPNOTSUPP;
}

/* In a store that is short: grows the reserve by what the disk has. Returns whether the reserve is whole,
 * with `room` bytes to spare. */
static bool refill_locked(struct eng *eng, uint64_t lack, uint64_t avail, uint64_t room)
{
    uint64_t have = reserve_bytes(eng);
    uint64_t can = avail > room ? MIN_OF(lack, (avail - room) / RESERVE_STEP * RESERVE_STEP) : 0;
    if (avail < lack + room) {
        if (can)
            (void)resize_locked(eng, have + can);
        return false;
    }
    if (atomic_load_explicit(&eng->reserve->refused, memory_order_acquire))
        return prove_locked(eng, have + lack, room);
    int r = lack ? resize_locked(eng, have + lack) : 0;
    bool disk_has =
        r == -EMFILE || r == -ENFILE || r == -ENOMEM; /* and what else is opened shows what it lacks */
    return !r || r == -EOPNOTSUPP || disk_has;
}

bool reserve_fill(struct eng *eng, uint64_t room)
{
    if (MUTANT(NO_RESERVE))
        return false;
    struct io_space space;
    uint64_t want = reserve_wanted(eng);
    pthread_mutex_lock(&eng->reserve->lock);
    uint64_t have = reserve_bytes(eng), lack = want > have ? want - have : 0;
    bool is_short = reserve_is_short(eng), known = io_space_known(eng->io, &space);
    if (is_short)
        is_short = !refill_locked(eng, lack, known ? space.avail_bytes : UINT64_MAX / 2, room);
    else if (have / SHRINK_FROM > want && !eng->reserve->frozen && !MUTANT(RESERVE_GROWS))
        (void)resize_locked(eng, want); /* the index did */
    else if (!known)
        is_short = false; /* writes will show it */
    else if (lack && space.avail_bytes >= 2 * lack + room && !eng->reserve->unsupported &&
             (!eng->reserve->frozen || lack > have / 2)) /* the store grew, and there is plenty */
        eng->reserve->unsupported = resize_locked(eng, want) == -EOPNOTSUPP;
    if (!is_short) {
        eng->reserve->top = reserve_bytes(eng);
        atomic_store_explicit(&eng->reserve->refused, false, memory_order_release);
    }
    (void)set_is_short(eng->reserve, is_short);
    pthread_mutex_unlock(&eng->reserve->lock);
    return !is_short;
}

uint64_t reserve_lacks(struct eng *eng, uint64_t room)
{
    struct io_space space;
    uint64_t want = reserve_wanted(eng), have = reserve_bytes(eng);
    uint64_t need = (want > have ? want - have : 0) + room;
    return io_space_known(eng->io, &space) ? need - MIN_OF(need, space.avail_bytes) : need;
}

void reserve_init(struct eng *eng)
{
    struct io_file *file;
    uint64_t size = 0;
    if (eng->io->ops->open(eng->io, RESERVE_FILE, IO_RDONLY, &file) != 0)
        return;
    if (eng->io->ops->file_size(file, &size) == 0) {
        atomic_store_explicit(&eng->reserve->bytes, size, memory_order_relaxed);
        eng->reserve->top = size;
        eng->reserve->cut = true; /* perhaps, or it was made by an older version */
    }
    eng->io->ops->close(file);
}

/* Its size is no proof: a copy of the store may have it without a block on the disk. */
static void prove_blocks(struct eng *eng)
{
    struct io_file *file;
    const struct eng_io_ops *ops = eng->io->ops;
    uint64_t size = reserve_bytes(eng);
    if (!size || open_reserve(eng, &file) != 0)
        return;
    int r = ops->allocate(file, 0, size);
    if (r && r != -EOPNOTSUPP && ops->truncate(file, 0) == 0)
        atomic_store_explicit(&eng->reserve->bytes, 0, memory_order_relaxed);
    ops->close(file);
}

void reserve_opened(struct eng *eng)
{
    prove_blocks(eng);
    (void)set_is_short(eng->reserve, true);
    (void)reserve_fill(eng, RESERVE_ROOM_MIN);
}

void reserve_keep(struct eng *eng)
{
    (void)reserve_fill(eng, RESERVE_ROOM_MIN);
}

void reserve_freeze(struct eng *eng, bool freeze)
{
    pthread_mutex_lock(&eng->reserve->lock);
    eng->reserve->frozen = freeze;
    pthread_mutex_unlock(&eng->reserve->lock);
}

/* ---- a full disk ------------------------------------------------------------------ */

void reserve_set_short(struct eng *eng)
{
    atomic_store_explicit(&eng->reserve->refused, true, memory_order_release);
    if (set_is_short(eng->reserve, true))
        report_line(&eng->report, ENG_LOG_WARNING,
                    "the disk is full: garbage is compacted as writers need room");
}

void reserve_removed(struct eng *eng)
{
    atomic_store_explicit(&eng->reserve->awaited, true, memory_order_relaxed);
}

/* Where the disk does not tell what it has, or has refused what it said it had: whether the reserve has so
 * much, or can get it. */
static bool set_aside_locked(struct eng *eng, uint64_t need)
{
    uint64_t steps = (need + RESERVE_STEP - 1) / RESERVE_STEP * RESERVE_STEP;
    if (MUTANT(UNTOLD_ALLOWS) || need <= reserve_bytes(eng) || resize_locked(eng, steps) == 0)
        return true;
    return need <= reserve_bytes(eng) || resize_locked(eng, need) != -ENOSPC;
}

bool reserve_allows(struct eng *eng, enum reserve_use use, uint64_t size, const uint64_t more[INDEX_TABLES])
{
    struct io_space space;
    if (use == RESERVE_ALL || !reserve_is_short(eng))
        return true;
    uint64_t least = least_of(eng, use, more);
    bool known = io_space_known(eng->io, &space);
    pthread_mutex_lock(&eng->reserve->lock);
    uint64_t need = least_locked(eng->reserve, least) + size;
    bool allows = !known || space.avail_bytes + reserve_bytes(eng) >= need;
    if (allows && (!known || atomic_load_explicit(&eng->reserve->refused, memory_order_acquire)))
        allows = set_aside_locked(eng, need);
    pthread_mutex_unlock(&eng->reserve->lock);
    return allows;
}

bool reserve_leaves(struct eng *eng, enum reserve_use use, uint64_t size, const uint64_t more[INDEX_TABLES])
{
    struct io_space space;
    if (!reserve_is_short(eng) || !io_space_known(eng->io, &space))
        return true;
    uint64_t least = least_of(eng, use, more);
    pthread_mutex_lock(&eng->reserve->lock);
    least = least_locked(eng->reserve, least);
    pthread_mutex_unlock(&eng->reserve->lock);
    return !least || space.avail_bytes + reserve_bytes(eng) >= least + size;
}

bool reserve_spend_for(struct eng *eng, enum reserve_use use, const uint64_t more[INDEX_TABLES])
{
    if (use == RESERVE_NONE)
        return false;
    uint64_t least = least_of(eng, use, more);
    pthread_mutex_lock(&eng->reserve->lock);
    uint64_t have = reserve_bytes(eng);
    least = least_locked(eng->reserve, least);
    uint64_t step = use == RESERVE_ALL ? MAX_OF(have / SPEND_SHARE, RESERVE_STEP) : RESERVE_STEP;
    uint64_t size = have < step ? least : MAX_OF(have - step, least);
    bool spent = size < have && resize_locked(eng, size) == 0;
    if (spent)
        reserve_removed(eng);
    else
        spent = atomic_load_explicit(&eng->reserve->awaited, memory_order_relaxed) && give_back_locked(eng);
    if (!spent)
        spent = make_anew_locked(eng);
    pthread_mutex_unlock(&eng->reserve->lock);
    if (spent)
        reserve_set_short(eng);
    return spent;
}

bool reserve_spend(struct eng *eng, enum reserve_use use)
{
    return reserve_spend_for(eng, use, NULL);
}

/* Gives back so much, in whole pieces. */
static bool cut_locked(struct eng *eng, uint64_t bytes)
{
    uint64_t have = reserve_bytes(eng);
    uint64_t left = have - MIN_OF(have, bytes);
    return have && resize_locked(eng, left / RESERVE_STEP * RESERVE_STEP) == 0;
}

int reserve_give(struct eng *eng, struct io_file *file, uint64_t from, uint64_t to)
{
    const struct eng_io_ops *ops = eng->io->ops;
    int r = -ENOSPC;
    bool cut = false;
    pthread_mutex_lock(&eng->reserve->lock);
    while (r == -ENOSPC && cut_locked(eng, to - from)) {
        cut = true;
        r = ops->allocate(file, from, to);
        if (r == -ENOSPC && give_back_locked(eng))
            r = ops->allocate(file, from, to);
    }
    pthread_mutex_unlock(&eng->reserve->lock);
    if (cut)
        reserve_set_short(eng);
    return r == -EOPNOTSUPP ? 0 : r;
}

bool reserve_open_up(struct eng *eng, uint64_t needed)
{
    struct io_space space;
    if (!io_space_known(eng->io, &space) || space.avail_bytes >= needed)
        return true;
    if (space.avail_bytes + reserve_bytes(eng) < needed)
        return false;
    pthread_mutex_lock(&eng->reserve->lock);
    bool spent = cut_locked(eng, needed - space.avail_bytes);
    if (spent)
        reserve_removed(eng);
    pthread_mutex_unlock(&eng->reserve->lock);
    if (spent)
        reserve_set_short(eng);
    return true;
}

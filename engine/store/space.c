/*
 * space.c - the space receipt: where each byte is that the store takes from the disk, and what gives it back.
 *
 * The records of the index and the sizes of the files tell what lies in segments; what is left of du after
 * that is slack. No state. Locks: log.lock for a slice of the records of segments, index_lock shared in short
 * slices for orphans. */
#include "commit/commit.h"
#include "core/keepers.h"
#include "core/look.h"
#include "core/reserve.h"
#include "core/totals.h"
#include "store/past_space.h"
#include "store/store.h"

#include <stdio.h>

/* In the order in which they are told, with the keepers in place of ENG_SPACE_KEPT. */
static const struct eng_space_kind kinds[] = {
    {ENG_SPACE_LIVE, "live", "live", "removing or truncating memories", 0},
    {ENG_SPACE_ORPHANS, "orphans", "removed, still open",
     "closing the files (lsof +L1 MOUNTPOINT names who has them), then compact", 0},
    {ENG_SPACE_SNAPSHOTS, "snapshots", "kept by snapshots",
     "dropping some (engramctl snapshot list --space tells of each); then compact", 0},
    {ENG_SPACE_HISTORY, "history", "kept by the history",
     "a shorter history, or fewer history_bytes (config); then compact", 0},
    {ENG_SPACE_DEAD, "dead", "dead",
     "compact; by itself once fragmentation and total_bytes pass the thresholds in config", 0},
    {ENG_SPACE_DEAD_ACTIVE, "dead_active", "dead, active segment",
     "compact, which ends the active segment first", 0},
    {ENG_SPACE_KEPT, NULL, NULL, NULL, 0},
    {ENG_SPACE_EMPTY, "empty", "emptied, free to go", "the housekeeper, within commit_ms; compact at once",
     0},
    {ENG_SPACE_COPIES, "copies", "being copied", "the end of the compaction that runs", 0},
    {ENG_SPACE_METADATA, "metadata", "log metadata", "compact, as far as it belongs to dead content", 0},
    {ENG_SPACE_METADATA_SPENT, "metadata_spent", "log metadata, spent",
     "compact; by itself as what is dead, with which it is counted as fragmentation", 0},
    {ENG_SPACE_ECHO, "echo", "log, second copy",
     "the next checkpoint, once no hold is in force; compact writes it at once", 0},
    {ENG_SPACE_CHECKPOINTS, "checkpoints", "checkpoints", "nothing: at most about five times the index", 0},
    {ENG_SPACE_RESERVE, "reserve", "reserve", "nothing: kept so that compaction works on a full disk", 0},
    {ENG_SPACE_SET_ASIDE, "set_aside", "set aside",
     "removing *.kept from the store's folder, when what engramctl repair gets out of them is not needed", 0},
    {ENG_SPACE_SLACK, "slack", "slack",
     "nothing: whole disk blocks, up to 256 KiB of zeros ahead of the log, the folder, superblock, config "
     "and their copies",
     0},
};
static_assert(ARRAY_LEN(kinds) + KEEPERS_MAX <= ENG_SPACE_KINDS_MAX, "each has a place in the receipt");

/* ---- the kinds ---------------------------------------------------------------- */

/* Writes the kinds of the store, without bytes; eng NULL: those of each store. Returns how many. */
static unsigned list_kinds(const struct eng *eng, struct eng_space_kind *ret_kinds)
{
    const struct keeper *keeper;
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].id != ENG_SPACE_KEPT) {
            ret_kinds[n++] = kinds[i];
            continue;
        }
        for (size_t k = 0; (keeper = keepers_at(eng, k)); k++) {
            if (keeper->label)
                ret_kinds[n++] = (struct eng_space_kind){ENG_SPACE_KEPT, keeper->key, keeper->label,
                                                         keeper->gives_back, 0};
        }
    }
    return n;
}

unsigned eng_space_kinds(struct eng_space_kind ret_kinds[ENG_SPACE_KINDS_MAX])
{
    return ret_kinds ? list_kinds(NULL, ret_kinds) : 0;
}

static void clear_bytes(struct eng_space *sp)
{
    for (unsigned i = 0; i < sp->n_kinds; i++)
        sp->kinds[i].bytes = 0;
}

static int64_t *bytes_of(struct eng_space *sp, enum eng_space_id id)
{
    unsigned i = 0;
    while (sp->kinds[i].id != id)
        i++;
    return &sp->kinds[i].bytes;
}

/* The bytes of the emptied segments that the keeper keeps. */
static int64_t *bytes_kept(struct eng_space *sp, const struct keeper *keeper)
{
    unsigned i = 0;
    while (sp->kinds[i].key != keeper->key)
        i++;
    return &sp->kinds[i].bytes;
}

/* ---- what was removed, but is still open ------------------------------------- */

/* The name that an extent at the beginning of the file carries; "" if it cannot be had. */
static void name_of_extent(struct eng *eng, uint64_t ino, const struct locator *loc, char *buf, size_t size)
{
    struct extent_header h;
    struct segment *seg;
    *buf = '\0';
    if (!loc->len || segments_pin(&eng->segments, loc->seg, &seg))
        return;
    const struct eng_io_ops *ops = eng->io->ops;
    uint64_t at = (uint64_t)loc->off8 * 8;
    char name[EXTENT_NAME_MAX];
    if (io_pread_full(seg->file, ops, &h, sizeof h, at) == (ssize_t)sizeof h && h.magic == EXTENT_MAGIC &&
        h.ino == ino && h.len == loc->ext_len && h.len <= EXTENT_MAX && h.name_len <= EXTENT_NAME_MAX &&
        h.name_len &&
        io_pread_full(seg->file, ops, name, h.name_len, at + extent_head_size(h.len) + ALIGN8(h.len)) ==
            (ssize_t)h.name_len &&
        h.name_sum == (uint32_t)codec_hash(name, h.name_len)) {
        size_t n = MIN_OF((size_t)h.name_len, size - 1);
        memcpy(buf, name, n);
        buf[n] = '\0';
    }
    segments_unpin(seg);
}

static uint64_t xattr_bytes(const struct index *idx, const struct inode_rec *inode, unsigned *looks)
{
    struct xattr_walk walk = {.next = inode->xattrs};
    uint64_t bytes = 0;
    while (index_next_xattr(idx, &walk)) {
        bytes += walk.xattr.is_extent ? walk.xattr.loc.len : 0;
        ++*looks;
    }
    return bytes;
}

/* Adds what it looks at, the inode and its xattrs, to *looks. */
static void add_orphan(struct index *idx, uint32_t slot, struct eng_space *sp, struct locator *first,
                       unsigned *looks)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    uint64_t off;
    ++*looks;
    if (!inode || !index_is_orphan(idx, inode))
        return;
    uint64_t bytes = inode_bytes(inode) + xattr_bytes(idx, inode, looks);
    *bytes_of(sp, ENG_SPACE_ORPHANS) += (int64_t)bytes;
    if (sp->n_orphans < ENG_SPACE_ORPHANS_MAX) {
        struct eng_space_orphan *o = &sp->orphans[sp->n_orphans];
        o->ino = index_ino(inode, slot);
        o->bytes = bytes;
        if (index_extent(idx, slot, 0, &off, &first[sp->n_orphans]) != 0)
            first[sp->n_orphans] = (struct locator){0};
    }
    sp->n_orphans++;
}

#define LOOKS 4096u /* at inodes and xattrs in one hold of the lock, which the last inode may exceed */

static void find_orphans(struct eng *eng, struct eng_space *sp)
{
    struct locator first[ENG_SPACE_ORPHANS_MAX] = {0};
    bool more = true;
    for (uint32_t slot = 1; more;) {
        pthread_rwlock_rdlock(&eng->index_lock);
        for (unsigned looks = 0; looks < LOOKS && slot < eng->idx.inodes.used;)
            add_orphan(&eng->idx, slot++, sp, first, &looks);
        more = slot < eng->idx.inodes.used && sp->n_orphans < eng->idx.n_orphans;
        pthread_rwlock_unlock(&eng->index_lock);
        atomic_fetch_add_explicit(&eng->looks, 1, memory_order_relaxed);
    }
    for (unsigned i = 0; i < MIN_OF(sp->n_orphans, (uint64_t)ENG_SPACE_ORPHANS_MAX); i++)
        name_of_extent(eng, sp->orphans[i].ino, &first[i], sp->orphans[i].path, sizeof sp->orphans[i].path);
}

/* ---- segments ------------------------------------------------------------------ */

/* The receipt, and the bytes of segments that have records. */
struct receipt {
    struct eng_space *sp;
    int64_t known;
};

static int add_segment(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    struct receipt *receipt = arg;
    struct eng_space *sp = receipt->sp;
    uint64_t size = segments_size_of(&eng->segments, seg->id);
    const struct keeper *keeper = keepers_find(eng, seg);
    if (keeper && keeper->kind == KEEPER_MARK)
        keeper = NULL; /* who takes it marks it */
    receipt->known += (int64_t)size;
    if (!size)
        return 0;
    if (!keeper || keeper->label) { /* emptied */
        *(keeper ? bytes_kept(sp, keeper) : bytes_of(sp, ENG_SPACE_EMPTY)) += (int64_t)size;
        return 0;
    }
    bool active = keepers_need(eng, KEEPER_ACTIVE, seg);
    *bytes_of(sp, ENG_SPACE_LIVE) += (int64_t)seg->live;
    uint64_t payload = totals_payload_locked(eng, seg);
    *bytes_of(sp, active ? ENG_SPACE_DEAD_ACTIVE : ENG_SPACE_DEAD) += (int64_t)(payload - seg->live);
    int64_t spent = (int64_t)totals_spent_locked(eng, seg);
    *bytes_of(sp, ENG_SPACE_METADATA_SPENT) += spent;
    *bytes_of(sp, ENG_SPACE_METADATA) += (int64_t)size - (int64_t)payload - spent;
    return 0;
}

/* ---- what an opening has set aside ------------------------------------------------- */

struct set_aside {
    struct eng_io *io;
    int64_t bytes;
};

static int add_set_aside(void *arg, const char *name)
{
    struct set_aside *found = arg;
    const struct eng_io_ops *ops = found->io->ops;
    struct io_file *file;
    uint64_t size;
    uint32_t id;
    if ((segment_parse_kept_name(name, &id) && echo_parse_kept_name(name, &id)) ||
        ops->open(found->io, name, IO_RDONLY, &file))
        return 0; /* people may remove them at any time */
    if (!ops->file_size(file, &size))
        found->bytes += (int64_t)size;
    ops->close(file);
    return 0;
}

static int64_t bytes_set_aside(struct eng *eng)
{
    struct set_aside found = {.io = eng->io};
    if (eng->n_set_aside)
        (void)eng->io->ops->list(eng->io, add_set_aside, &found);
    return found.bytes;
}

/* The figures of one moment where nothing is written or retired meanwhile; checkpoints may come and go. */
static void add_segments(struct eng *eng, struct eng_space *sp)
{
    struct receipt receipt = {.sp = sp};
    (void)look_at_segments(eng, add_segment, &receipt);
    /* An output of compaction has no record until its first relocations are installed. */
    *bytes_of(sp, ENG_SPACE_COPIES) =
        MAX_OF((int64_t)segments_bytes(&eng->segments) - receipt.known, (int64_t)0);
    *bytes_of(sp, ENG_SPACE_ECHO) = (int64_t)atomic_load_explicit(&eng->log.echo.bytes, memory_order_relaxed);
    *bytes_of(sp, ENG_SPACE_CHECKPOINTS) =
        (int64_t)atomic_load_explicit(&eng->marks.disk_bytes, memory_order_relaxed);
    *bytes_of(sp, ENG_SPACE_RESERVE) = (int64_t)reserve_bytes(eng);
    *bytes_of(sp, ENG_SPACE_SET_ASIDE) = bytes_set_aside(eng);
}

static int64_t past_bytes(struct eng *eng)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    int64_t bytes = (int64_t)index_past_bytes(&eng->idx);
    pthread_rwlock_unlock(&eng->index_lock);
    return bytes;
}

int eng_space_sized(struct eng *eng, struct eng_space *ret_space, size_t size)
{
    if (!eng || !ret_space || !size)
        return -EINVAL;
    struct eng_space sp = {0};
    uint64_t before, after;
    sp.n_kinds = list_kinds(eng, sp.kinds);
    if (!is_read_only(eng))
        commit_some_orphans(eng); /* what is not open any more is dead, not an orphan */
    find_orphans(eng, &sp);
    int64_t open = *bytes_of(&sp, ENG_SPACE_ORPHANS), sum = 0;
    int64_t of_snapshots = (int64_t)past_space_of_snapshots(eng);
    int r;
    unsigned tries = 0;
    do { /* until nothing was written between the disk's figure and ours */
        clear_bytes(&sp);
        before = log_seq(&eng->log);
        r = eng->io->ops->usage(eng->io, &sp.disk_bytes);
        add_segments(eng, &sp);
        after = log_seq(&eng->log);
    } while (before != after && ++tries < 4);
    /* Live bytes of orphans are live to the log; a removal in between may have made them dead already. */
    int64_t *live = bytes_of(&sp, ENG_SPACE_LIVE), *orphans = bytes_of(&sp, ENG_SPACE_ORPHANS);
    *orphans = MIN_OF(open, *live);
    *live -= *orphans;
    int64_t past = MIN_OF(past_bytes(eng), *live), shown = MIN_OF(of_snapshots, past);
    *bytes_of(&sp, ENG_SPACE_SNAPSHOTS) = shown;
    *bytes_of(&sp, ENG_SPACE_HISTORY) = past - shown;
    *live -= past;
    for (unsigned i = 0; i < sp.n_kinds; i++)
        sum += sp.kinds[i].bytes;
    if (r) { /* people ask for the status when a store cannot be listed: it comes without what du adds */
        (void)report_store_error(&eng->report, "listing", r);
        sp.disk_bytes = (uint64_t)sum;
    }
    *bytes_of(&sp, ENG_SPACE_SLACK) = (int64_t)sp.disk_bytes - sum;
    give_sized(ret_space, size, &sp, sizeof sp);
    return 0;
}

/*
 * space.c - the space receipt: where each byte is that the store takes from
 * the disk, and what gives it back.
 *
 * What lies in segments is told by the records of the index and the sizes of
 * the files; what is left of du after that is slack. No state. Locks: log.lock
 * for the records of segments, index_lock shared in short slices for orphans.
 */
#include "commit/commit.h"
#include "core/reserve.h"
#include "store/store.h"

#include <stdio.h>

const struct eng_space_kind eng_space_kinds[ENG_SPACE_KINDS] = {
    [ENG_SPACE_LIVE] = {"live", "live", "removing or truncating memories"},
    [ENG_SPACE_ORPHANS] = {"orphans", "removed, still open",
                           "closing the files (lsof +L1 MOUNTPOINT names who has them), then compact"},
    [ENG_SPACE_DEAD] =
        {"dead", "dead",
         "compact; by itself once fragmentation and total_bytes pass the thresholds in config"},
    [ENG_SPACE_DEAD_ACTIVE] = {"dead_active", "dead, active segment",
                               "compact, which ends the active segment first"},
    [ENG_SPACE_HELD] = {"held", "emptied, held", "release, once for each hold"},
    [ENG_SPACE_WAIT_SYNC] = {"waiting_sync", "emptied, not durable", "the next commit (commit_ms) or sync"},
    [ENG_SPACE_WAIT_CHECKPOINT] = {"waiting_checkpoint", "emptied, in recovery",
                                   "the second checkpoint from now; compact writes them at once"},
    [ENG_SPACE_PINNED] = {"pinned", "emptied, being read", "the end of the reads that are under way"},
    [ENG_SPACE_EMPTY] = {"empty", "emptied, free to go", "the committer, within commit_ms; compact at once"},
    [ENG_SPACE_COPIES] = {"copies", "being copied", "the end of the compaction that runs"},
    [ENG_SPACE_METADATA] = {"metadata", "log metadata", "compact, as far as it belongs to dead content"},
    [ENG_SPACE_CHECKPOINTS] = {"checkpoints", "checkpoints", "nothing: at most about four times the index"},
    [ENG_SPACE_RESERVE] = {"reserve", "reserve", "nothing: kept so that compaction works on a full disk"},
    [ENG_SPACE_SLACK] = {"slack", "slack",
                         "nothing: whole disk blocks, up to 256 KiB of zeros ahead of the log, the folder, "
                         "superblock and config"},
};

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

static uint64_t xattr_bytes(const struct index *idx, const struct inode_rec *inode)
{
    struct xattr_view view;
    uint64_t bytes = 0;
    for (uint32_t x = inode->xattrs; x && index_xattr(idx, x, &view); x = view.next)
        bytes += view.is_extent ? view.loc.len : 0;
    return bytes;
}

static void note_orphan(struct index *idx, uint32_t slot, struct eng_space *sp, struct locator *first)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    uint64_t off;
    if (!inode || inode->nlink)
        return;
    uint64_t bytes = (S_ISREG(inode->mode) ? inode->bytes : 0) + xattr_bytes(idx, inode);
    sp->bytes[ENG_SPACE_ORPHANS] += (int64_t)bytes;
    if (sp->n_orphans < ENG_SPACE_ORPHANS_MAX) {
        struct eng_space_orphan *o = &sp->orphans[sp->n_orphans];
        o->ino = index_ino(inode, slot);
        o->bytes = bytes;
        if (index_extent(idx, slot, 0, &off, &first[sp->n_orphans]) != 0)
            first[sp->n_orphans] = (struct locator){0};
    }
    sp->n_orphans++;
}

static void find_orphans(struct eng *eng, struct eng_space *sp)
{
    struct locator first[ENG_SPACE_ORPHANS_MAX];
    bool more = true;
    for (uint32_t slot = 1; more;) {
        pthread_rwlock_rdlock(&eng->index_lock);
        for (unsigned i = 0; i < 4096 && slot < eng->idx.inodes.used; i++)
            note_orphan(&eng->idx, slot++, sp, first);
        more = slot < eng->idx.inodes.used && sp->n_orphans < eng->idx.n_orphans;
        pthread_rwlock_unlock(&eng->index_lock);
    }
    for (unsigned i = 0; i < MIN_OF(sp->n_orphans, (uint64_t)ENG_SPACE_ORPHANS_MAX); i++)
        name_of_extent(eng, sp->orphans[i].ino, &first[i], sp->orphans[i].path, sizeof sp->orphans[i].path);
}

/* ---- segments ------------------------------------------------------------------ */

/* Why a segment without live bytes is still there; the order is that in which reclaiming asks (I4). */
static enum eng_space_id why_kept(struct eng *eng, const struct seg_rec *seg, bool pinned)
{
    if (seg->death_seq > log_durable(&eng->log))
        return ENG_SPACE_WAIT_SYNC;
    if (seg->last_seq > atomic_load_explicit(&eng->marks.oldest_seq, memory_order_acquire))
        return ENG_SPACE_WAIT_CHECKPOINT;
    if (keepers_is_held(&eng->keepers))
        return ENG_SPACE_HELD;
    return pinned ? ENG_SPACE_PINNED : ENG_SPACE_EMPTY;
}

static void add_segment_locked(struct eng *eng, const struct seg_rec *seg, struct eng_space *sp)
{
    uint64_t size = segments_size_of(&eng->segments, seg->id);
    bool active = eng->log.active && eng->log.active->id == seg->id;
    if (!size)
        return;
    if (!seg->live && !active) {
        sp->bytes[why_kept(eng, seg, segments_pins_of(&eng->segments, seg->id) > 0)] += (int64_t)size;
        return;
    }
    sp->bytes[ENG_SPACE_LIVE] += (int64_t)seg->live;
    sp->bytes[active ? ENG_SPACE_DEAD_ACTIVE : ENG_SPACE_DEAD] += (int64_t)(seg->total - seg->live);
    sp->bytes[ENG_SPACE_METADATA] += (int64_t)size - (int64_t)seg->total;
}

/* The figures of one moment, except that checkpoints may come and go. */
static void add_segments(struct eng *eng, struct eng_space *sp)
{
    pthread_mutex_lock(&eng->log.lock);
    int64_t known = 0;
    for (uint32_t i = 1; i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (!seg->id)
            continue;
        add_segment_locked(eng, seg, sp);
        known += (int64_t)segments_size_of(&eng->segments, seg->id);
    }
    /* An output of compaction has no record until its first relocations are installed. */
    sp->bytes[ENG_SPACE_COPIES] = (int64_t)segments_bytes(&eng->segments) - known;
    pthread_mutex_unlock(&eng->log.lock);
    sp->bytes[ENG_SPACE_CHECKPOINTS] =
        (int64_t)atomic_load_explicit(&eng->marks.disk_bytes, memory_order_relaxed);
    sp->bytes[ENG_SPACE_RESERVE] = (int64_t)reserve_bytes(eng);
}

int eng_space_sized(struct eng *eng, struct eng_space *ret_space, size_t size)
{
    if (!eng || !ret_space || !size)
        return -EINVAL;
    struct eng_space sp = {0};
    uint64_t before, after;
    if (!is_read_only(eng))
        (void)commit_orphans(eng); /* what is not open any more is dead, not an orphan */
    find_orphans(eng, &sp);
    int64_t open = sp.bytes[ENG_SPACE_ORPHANS];
    int unknown;
    unsigned tries = 0;
    do { /* until nothing was written between the disk's figure and ours */
        memset(sp.bytes, 0, sizeof sp.bytes);
        before = log_seq(&eng->log);
        unknown = eng->io->ops->usage(eng->io, &sp.disk_bytes);
        add_segments(eng, &sp);
        after = log_seq(&eng->log);
    } while (before != after && ++tries < 4);
    /* Live bytes of orphans are live to the log; a removal in between may have made them dead already. */
    sp.bytes[ENG_SPACE_ORPHANS] = MIN_OF(open, sp.bytes[ENG_SPACE_LIVE]);
    sp.bytes[ENG_SPACE_LIVE] -= sp.bytes[ENG_SPACE_ORPHANS];
    int64_t sum = 0;
    for (unsigned i = 0; i < ENG_SPACE_SLACK; i++)
        sum += sp.bytes[i];
    /* Somebody looks at the status just when a store cannot be listed: tell the sum without what du adds. */
    if (unknown) {
        (void)report_store_error(&eng->report, "listing", unknown);
        sp.disk_bytes = (uint64_t)sum;
    }
    sp.bytes[ENG_SPACE_SLACK] = (int64_t)sp.disk_bytes - sum;
    give_sized(ret_space, size, &sp, sizeof sp);
    return 0;
}

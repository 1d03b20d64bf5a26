/*
 * moved.c - see moved.h.
 *
 * Survivors are read from one extent to the next, so that content that looks like an extent is none; behind a
 * damaged one nothing is found here, and salvage hands out as pieces what it finds. Runs before any thread
 * starts, and moved_is_wanted() where nothing is written: takes no lock. */
#include "image/moved.h"

#include "image/moved_values.h"
#include "index/extents.h"
#include "index/past.h"

#include <stdio.h>

/* ---- what is wanted ---------------------------------------------------------------- */

static bool is_gone(struct eng *eng, const struct locator *loc)
{
    return !segments_has(&eng->segments, loc->seg);
}

bool moved_is_lacking(struct eng *eng)
{
    for (uint32_t i = 1; i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (seg->id && seg->live && !segments_has(&eng->segments, seg->id))
            return true;
    }
    return false;
}

/* The states that an extent with this header may be of: the inode, newest past state, ..., oldest. 0: there
 * is none, or no other. */
static uint32_t first_state(struct eng *eng, const struct extent_header *h)
{
    return index_inode(&eng->idx, h->ino) ? ino_slot(h->ino) : 0;
}
static uint32_t next_state(struct eng *eng, uint32_t slot)
{
    const struct inode_rec *inode = index_slot(&eng->idx, slot);
    return inode ? inode->past : 0;
}

/* The next range of that state of the extent's file, from *off on, that lies in a segment that is gone, and
 * in the extent, or a part of it: what a write has cut in two while a compaction copied it has become
 * several. False: there is none. */
static bool next_wanted(struct eng *eng, const struct extent_header *h, uint32_t slot, uint64_t *off,
                        struct locator *ret_loc)
{
    uint64_t at, end = h->file_off + h->len;
    const struct inode_rec *inode = index_slot(&eng->idx, slot);
    if (!inode || !S_ISREG(inode->mode) || h->file_off == EXTENT_XATTR_OFF || end < h->file_off)
        return false;
    while (*off < end && index_extent(&eng->idx, slot, *off, &at, ret_loc) == 0 && at < end) {
        bool all = at >= h->file_off && ret_loc->len <= end - at;
        if (ret_loc->seg && is_gone(eng, ret_loc) && (all || !MUTANT(PARTS_LEFT))) {
            *off = at;
            return true;
        }
        *off = at + MAX_OF(ret_loc->len, 1u);
    }
    return false;
}

bool moved_is_wanted(struct eng *eng, const struct extent_header *h, const struct segment *seg)
{
    struct locator loc;
    if (h->file_off == EXTENT_XATTR_OFF)
        return moved_value_is_wanted(eng, h, seg->id);
    for (uint32_t slot = first_state(eng, h); slot; slot = next_state(eng, slot)) {
        uint64_t off = h->file_off;
        if (next_wanted(eng, h, slot, &off, &loc))
            return true;
    }
    return false;
}

bool moved_is_named(struct eng *eng, const struct extent_header *h, const struct segment *seg, uint64_t at)
{
    uint64_t off;
    struct locator loc;
    if (h->file_off == EXTENT_XATTR_OFF)
        return !seg->kept && moved_value_is_named(eng, h, seg->id, at);
    for (uint32_t slot = seg->kept ? 0 : first_state(eng, h); slot; slot = next_state(eng, slot))
        if (index_extent(&eng->idx, slot, h->file_off, &off, &loc) == 0 && off == h->file_off &&
            loc.seg == seg->id && locator_offset(&loc) == at && loc.len == h->len)
            return true;
    return false;
}

/* ---- the survivors ------------------------------------------------------------------- */

/* From one extent to the next. */
struct walk {
    struct recovery *rec;
    struct seg_file *sf;
    struct segment *seg; /* pinned */
    uint64_t at;
    struct extent_header h; /* of the extent at `at` */
    uint64_t found, taken;  /* ranges that were wanted; of them, with salvage, those that were certain */
    bool younger;           /* looks at those, too, that are younger than the log as far as it goes */
    struct moved_values values;
};

/* Whether a whole extent lies at w->at. */
static int read_extent(struct walk *w, bool *ret_whole)
{
    const struct eng_io_ops *ops = w->rec->eng->io->ops;
    struct buf *buf = &w->rec->extents;
    *ret_whole = false;
    if (io_pread_full(w->seg->file, ops, &w->h, sizeof w->h, w->at) != (ssize_t)sizeof w->h ||
        w->h.magic != EXTENT_MAGIC || !w->h.len || w->h.len > EXTENT_MAX || w->h.name_len > EXTENT_NAME_MAX)
        return 0;
    uint32_t head = extent_head_size(w->h.len), size = head + w->h.len;
    buf->len = 0;
    int r = buf_reserve(buf, size);
    if (r)
        return r;
    *ret_whole = io_pread_full(w->seg->file, ops, buf->data, size, w->at) == (ssize_t)size &&
                 extent_head_check(buf->data, w->h.ino, w->h.file_off, w->h.len) == 0 &&
                 extent_blocks_check(buf->data, 0, extent_blocks(w->h.len), buf->data + head) == 0;
    return 0;
}

/* [off, end) of the file becomes extents of its own. */
static int cut_out(struct walk *w, uint64_t off, uint64_t end)
{
    struct index *idx = &w->rec->eng->idx;
    const struct op cuts[2] = {{.type = OP_PUNCH}, {.type = OP_PUNCH}}; /* as far as room is concerned */
    int r = index_reserve(idx, cuts, ARRAY_LEN(cuts));
    if (!r)
        r = extents_cut(idx, ino_slot(w->h.ino), off, w->rec->seq);
    return r ? r : extents_cut(idx, ino_slot(w->h.ino), end, w->rec->seq);
}

/* What lies in this extent of the range that is at `off` the index has there from now on. */
static int take_over(struct walk *w, uint64_t off, const struct locator *missing)
{
    const struct extent_header *h = &w->h;
    uint64_t from = MAX_OF(off, h->file_off), end = MIN_OF(off + missing->len, h->file_off + h->len);
    struct op op = {.type = OP_RELOCATE, .ino = h->ino, .off = from, .old = *missing, .hsum = h->sum};
    op.old.skip += (uint32_t)(from - off);
    op.old.len = (uint32_t)(end - from);
    op.loc = (struct locator){.seg = w->sf->id,
                              .off8 = (uint32_t)(w->at / 8),
                              .skip = (uint32_t)(from - h->file_off),
                              .len = op.old.len,
                              .ext_len = h->len};
    int r = op.old.len < missing->len ? cut_out(w, from, end) : 0;
    return r ? r : moved_take_over(w->rec, &op);
}

/* Which attribute it is of is settled when all were found. */
static int look_at_value(struct walk *w)
{
    struct eng *eng = w->rec->eng;
    if (moved_value_is_named(eng, &w->h, w->sf->id, w->at) || !moved_value_is_wanted(eng, &w->h, w->sf->id))
        return 0;
    if (eng->opt.salvage)
        return moved_values_note(&w->values, w->sf->id, w->at, w->rec->extents.data);
    w->found++;
    return 0;
}

/*
 * Whether the copy may be of a version that the file had before what it lacks there. A copy for a past state
 * has the date of what it is a copy of, which is before the end of that state; one of what there is now that
 * of the copying. What was lost with a segment of the log is not younger than that (moved_is_older()). */
static bool may_be_past(struct eng *eng, const struct extent_header *h, const struct locator *missing)
{
    const struct index *idx = &eng->idx;
    const struct seg_rec *victim = index_segment(idx, missing->seg);
    const struct inode_rec *newest = index_slot(idx, next_state(eng, ino_slot(h->ino)));
    uint64_t end = MAX_OF(newest ? past_end(newest) : 0, idx->s.inexact); /* and of those that were dropped */
    return (!victim || victim->kind != SEGMENT_LOG) && h->seq < end && !MUTANT(GUESSED_MOVE);
}

/* Of a past state that lacks that place nothing tells that this is its version: it is handed out. */
static void look_at_past(struct walk *w)
{
    struct eng *eng = w->rec->eng;
    struct locator loc;
    for (uint32_t slot = next_state(eng, first_state(eng, &w->h)); slot; slot = next_state(eng, slot))
        for (uint64_t off = w->h.file_off; next_wanted(eng, &w->h, slot, &off, &loc); off += loc.len)
            w->found += w->sf->id > loc.seg;
}

static int look_at_extent(struct walk *w)
{
    struct eng *eng = w->rec->eng;
    struct locator loc;
    int r = 0;
    if (w->h.seq > w->rec->seq && !w->younger)
        return 0;
    if (w->h.file_off == EXTENT_XATTR_OFF)
        return look_at_value(w);
    uint32_t slot = first_state(eng, &w->h);
    for (uint64_t off = w->h.file_off; !r && next_wanted(eng, &w->h, slot, &off, &loc); off += loc.len) {
        if (moved_is_older(eng, w->sf->id, w->h.seq, &loc) && !MUTANT(OLDER_TAKEN))
            continue;
        w->found++;
        if (!eng->opt.salvage || may_be_past(eng, &w->h, &loc))
            continue;
        r = take_over(w, off, &loc);
        w->taken++;
    }
    look_at_past(w);
    return r;
}

static int look_at_survivors(struct walk *w)
{
    bool whole = true;
    int r = segments_pin(&w->rec->eng->segments, w->sf->id, &w->seg);
    if (r)
        return io_is_shortage(r) ? r : 0;
    w->at = sizeof(struct segment_header);
    while (!r && whole && w->at < w->seg->size) {
        r = read_extent(w, &whole);
        if (!r && whole)
            r = look_at_extent(w);
        w->at += extent_size(w->h.len, w->h.name_len);
    }
    segments_unpin(w->seg);
    w->sf->searched = !r && whole && !w->found && !MUTANT(ALL_KEPT);
    return r;
}

/* One look at all of them. -EBADMSG: they hold what is wanted. */
static int look_at_all(struct walk *w)
{
    struct recovery *rec = w->rec;
    int r = 0;
    for (size_t i = rec->n_segs; i-- > 0 && !r;) {
        w->sf = &rec->segs[i];
        w->found = w->taken = 0;
        if (!w->sf->valid || w->sf->header.kind != SEGMENT_SURVIVORS ||
            (index_segment(&rec->eng->idx, w->sf->id) && !rec->eng->opt.salvage &&
             (!rec->batches || MUTANT(KNOWN_PROVE_NOTHING))))
            continue;
        r = look_at_survivors(w);
        if (!r && w->found && !rec->eng->opt.salvage) {
            snprintf(rec->why, 256,
                     "s%08x.seg holds the only copy of content that the log, up to batch %llu, looks for "
                     "in a segment that is missing: the log is damaged behind; restore from a copy",
                     w->sf->id, (unsigned long long)rec->seq);
            return -EBADMSG;
        }
        if (!r && w->taken)
            report_line(&rec->eng->report, ENG_LOG_WARNING,
                        "s%08x.seg: %llu pieces of content are taken from it, since the segments are "
                        "missing in which the log, as far as it goes, has them",
                        w->sf->id, (unsigned long long)w->taken);
    }
    return r;
}

static int settle_values(struct walk *w)
{
    uint64_t n;
    int r = moved_values_settle(w->rec, &w->values, &n);
    if (!r && n)
        report_line(&w->rec->eng->report, ENG_LOG_WARNING,
                    "%llu values of attributes are taken from survivors of a compaction, since the segments "
                    "are missing in which the log, as far as it goes, has them",
                    (unsigned long long)n);
    return r;
}

/* Of copies of one range the youngest that is not younger than the log is right; else the youngest. */
int moved_settle(struct recovery *rec)
{
    struct walk w = {.rec = rec};
    int r = 0;
    if (rec->eng->opt.snapshot || MUTANT(MOVED_FORGOTTEN) ||
        (rec->eng->opt.salvage && MUTANT(MOVED_NOT_LOST)) || !moved_is_lacking(rec->eng))
        return 0;
    for (int younger = 0; younger < 2 && !r; younger++) {
        w.younger = younger;
        r = look_at_all(&w);
        if (!r && w.values.n)
            r = settle_values(&w);
    }
    free(w.values.all);
    return r;
}

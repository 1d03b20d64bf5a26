/*
 * adopt.c - the end of a recovery: what was recovered is made durable, unknown segments go, orphans are
 * queued, the log goes on.
 *
 * Runs before any thread starts; takes the locks only where it calls the log. */
#include "image/recovery.h"

#include "commit/orphans.h"
#include "image/checkpoint.h"
#include "image/echoes.h"
#include "image/moved.h"
#include "image/rest.h"

#include <stdio.h>

/*
 * Whole batches that nothing leads to, since the one before them is bad. A cut of the power leaves such, of
 * what was not synced; but nothing tells whether they were. So they are not part of the store, and they are
 * not destroyed. Of the bad batch itself the ops may be whole. */
static bool is_beyond(const struct recovery *rec, const struct seg_file *sf)
{
    return sf->last > rec->seq + (sf == rec->at);
}

/* Whether a file that is no part of the log may still be needed: what cannot be read in it now may be such
 * batches. Not what a cut of the power leaves at the end of the log (log_end.c). */
static bool is_evidence(const struct recovery *rec, const struct seg_file *sf)
{
    bool unread = sf->valid && sf->unread && rec->unread != rec->seq + 1 && !MUTANT(UNREAD_LEFT);
    return unread || (is_beyond(rec, sf) && !MUTANT(DISCARD_WHOLE));
}

static void tell_beyond(struct recovery *rec)
{
    for (size_t i = 0; i < rec->n_segs; i++) {
        const struct seg_file *sf = &rec->segs[i];
        if (is_beyond(rec, sf) && (sf == rec->at || rec->eng->opt.read_only))
            report_line(&rec->eng->report, ENG_LOG_WARNING,
                        "s%08x.seg: the log ends at a bad batch, but whole ones up to %llu follow in this "
                        "segment; engramctl repair reads them for as long as it is there",
                        sf->id, (unsigned long long)sf->last);
    }
}

/* Whoever mounts now may have missed the lines of the opening that did it. */
static void tell_set_aside(struct eng *eng)
{
    if (eng->n_set_aside && !eng->opt.salvage && !eng->opt.snapshot)
        report_line(
            &eng->report, ENG_LOG_WARNING,
            "%u files *.kept in the store's folder: whole batches behind a bad one, or what may be an only "
            "copy, which an earlier opening set aside; engramctl repair reads them; remove them when you do "
            "not need them",
            eng->n_set_aside);
}

static int set_aside(struct recovery *rec, const struct seg_file *sf, const char *reason)
{
    char kept[SEGMENT_NAME_SIZE];
    segment_kept_name(sf->id, kept);
    int r = segments_set_aside(&rec->eng->segments, sf->id);
    if (r) {
        snprintf(rec->why, 256, "s%08x.seg, which %s, cannot be kept as %s: %s", sf->id, reason, kept,
                 strerror(-r));
        return r;
    }
    report_line(&rec->eng->report, ENG_LOG_WARNING,
                "s%08x.seg %s: kept as %s, which engramctl repair reads; remove it when you do not need it",
                sf->id, reason, kept);
    rec->eng->n_set_aside++;
    return 0;
}

/* Segment files that the recovered state does not know: left over from what was not durable, or already
 * emptied. What holds whole batches is kept, or the log does not go on: from what a log leads past, a later
 * opening cannot tell it. */
static int discard_unknown(struct recovery *rec)
{
    struct eng *eng = rec->eng;
    bool kept = false, lacking = moved_is_lacking(eng) && !MUTANT(MOVED_REMOVED);
    bool verified = loading_is_done(&eng->loading);
    for (size_t i = 0; i < rec->n_segs; i++) {
        struct seg_file *sf = &rec->segs[i];
        bool evidence = is_evidence(rec, sf), wanted = lacking && !sf->searched;
        if (index_segment(&eng->idx, sf->id) || (sf->used && !evidence))
            continue;
        /* A header that is whole says that the log does not go on here; without one nobody knows. */
        const char *why =
            sf->holds && !sf->valid ? "has a damaged header and batches that belong nowhere" : NULL;
        if (sf->unreadable && (!evidence || MUTANT(UNREAD_LEFT)))
            why = "cannot be read and is not needed";
        if (wanted && !evidence && !verified && !MUTANT(ASIDE_UNVERIFIED))
            why = "is not part of the store, as it seems so far, and others are missing";
        if (sf->alien)
            why = "belongs to another store or has another name";
        if (why) {
            report_line(&eng->report, ENG_LOG_WARNING, "s%08x.seg %s: left alone", sf->id, why);
            continue;
        }
        if (wanted || evidence) {
            const char *reason = "is not part of the store any more, but others are missing";
            if (evidence)
                reason = is_beyond(rec, sf) ? "has whole batches behind the bad one at which the log ends"
                                            : "cannot be read behind the bad batch at which the log ends";
            int r = set_aside(rec, sf, reason);
            if (r && !MUTANT(KEPT_OR_NOT))
                return r;
            kept = kept || !r;
            continue;
        }
        if (!verified) {
            int r = rest_discard_later(eng, sf->id);
            if (r)
                return r;
            continue;
        }
        report_line(&eng->report, ENG_LOG_INFO, "removing s%08x.seg: not part of the store any more", sf->id);
        (void)segments_retire(&eng->segments, sf->id);
    }
    int r = kept ? io_syncdir(eng->io) : 0; /* under the old name the next opening may remove it */
    if (r)
        snprintf(rec->why, 256, "keeping what follows the end of the log failed: %s", strerror(-r));
    return r;
}

/* A snapshot may know of survivors that were written after the folder was listed. */
static bool find_late(struct recovery *rec, uint32_t id)
{
    struct seg_file sf = {.id = id};
    return rec->eng->opt.snapshot && segment_file_read(rec->eng, &sf, &rec->found) == 0 && sf.valid &&
           segments_add(&rec->eng->segments, id, sf.header.kind, sf.size) == 0;
}

/* Segments that the state names but that have no file. */
static void adopt_missing(struct recovery *rec)
{
    struct index *idx = &rec->eng->idx;
    for (uint32_t i = 1; i < idx->segs.used; i++) {
        const struct seg_rec *seg = table_get(&idx->segs, i);
        if (!seg->id || segments_has(&rec->eng->segments, seg->id) || find_late(rec, seg->id))
            continue;
        if (seg->live)
            report_line(&rec->eng->report, ENG_LOG_ERROR,
                        "s%08x.seg is missing: %llu bytes of content are lost; restore them from a copy",
                        seg->id, (unsigned long long)seg->live);
        else
            index_drop_segment(idx, seg->id);
    }
}

/* Reads, from the medium, the head of the segment and all from the block on in which the last batch ends.
 * What is not known to be durable was made so and read anew before (I11), so that a sync that fails now takes
 * nothing of the store along. */
static int read_end(struct recovery *rec, uint64_t from)
{
    const struct seg_file *sf = rec->at;
    const struct eng_io_ops *ops = rec->eng->io->ops;
    struct io_file *file = rec->pinned->file;
    struct segment_header h;
    size_t n = (size_t)(sf->size - from);
    int r = sf->fresh || MUTANT(END_CACHED) ? 0 : ops->datasync(file);
    if (!r && !sf->fresh && !MUTANT(END_CACHED))
        ops->drop_cache(file);
    if (!r && !MUTANT(CONTINUE_HEADLESS))
        r = io_pread_exact(file, ops, &h, sizeof h, 0);
    rec->batch.len = 0;
    if (!r)
        r = buf_reserve(&rec->batch, n + 1);
    return r ? r : io_pread_exact(file, ops, rec->batch.data, n, from);
}

/*
 * Whether the log can go on behind its last batch: if nothing but zeros lies there, since the file was
 * allocated ahead (log.c), and the block can be read in which it ends. Of one that cannot be read Linux
 * writes no part, since it reads the rest first; a system that does may not find again what it wrote. */
static bool can_go_on(struct recovery *rec)
{
    const struct seg_file *sf = rec->at;
    if (sf->torn || sf->size < rec->offset || sf->size - rec->offset > LOG_AHEAD ||
        segments_pin(&rec->eng->segments, sf->id, &rec->pinned) != 0)
        return false;
    uint64_t from = MUTANT(END_UNREAD) ? rec->offset : rec->offset / IO_ALIGN * IO_ALIGN;
    int r = read_end(rec, from);
    bool zeros = !r;
    for (uint64_t i = rec->offset - from; zeros && i < sf->size - from; i++)
        zeros = rec->batch.data[i] == 0;
    segments_unpin(rec->pinned);
    rec->pinned = NULL;
    if (r)
        report_line(
            &rec->eng->report, ENG_LOG_WARNING,
            "s%08x.seg: where the log ends, at offset %llu, cannot be read (%s): a new segment begins",
            sf->id, (unsigned long long)rec->offset, strerror(-r));
    return zeros;
}

/* The next damage may hit the first batch, which speaks for them now. */
static int mend_headers(struct recovery *rec)
{
    int r = 0;
    for (size_t i = 0; i < rec->n_segs && !r; i++) {
        struct seg_file *sf = &rec->segs[i];
        if (!sf->mended || !sf->used)
            continue;
        report_line(&rec->eng->report, ENG_LOG_WARNING,
                    "s%08x.seg: its header is damaged; written anew from its first batch", sf->id);
        int error = -EIO;
        for (unsigned tries = 0; error && !r && tries < MEDIUM_TRIES; tries++) {
            error = segment_file_mend(rec->eng, sf);
            /* a sync that failed may have lost more than the header (I11) */
            r = -atomic_load_explicit(&rec->eng->log.failed, memory_order_acquire);
        }
        if (r)
            snprintf(rec->why, 256, "s%08x.seg: mending its header failed: %s", sf->id, strerror(-r));
        else if (error)
            report_line(&rec->eng->report, ENG_LOG_WARNING, "s%08x.seg: mending its header failed: %s",
                        sf->id, strerror(-error));
    }
    return r;
}

int recovery_adopt(struct recovery *rec)
{
    struct eng *eng = rec->eng;
    eng->log.seq = eng->published_seq = rec->seq;
    eng->log.chain = rec->chain;
    eng->log.durable_seq = rec->seq;
    eng->log.durable_end = rec->at ? log_place(rec->at->id, rec->offset) : 0;
    eng->log.marked_seq = MIN_OF(eng->marks.newest_seq, rec->seq); /* of other marks nobody knows where */
    if (MUTANT(MARK_REMEMBERED))
        eng->log.marked_seq = rec->seq;
    if (!MUTANT(REPLAY_UNCOUNTED)) /* a store that is killed again and again gets its checkpoints, too */
        eng->log.bytes = rec->bytes;
    pool_missed = 0;
    int r = moved_settle(rec);
    if (!r)
        r = rest_missed(eng, rec->why); /* what is not there is wanted by nobody */
    if (r)
        return r;
    adopt_missing(rec);
    tell_beyond(rec);
    tell_set_aside(eng);
    if (eng->opt.read_only) {
        checkpoint_clean(eng); /* only measures them */
        return echoes_adopt(rec);
    }
    /* What was accepted becomes durable before anybody builds on it (I7): the content was when it was read
     * (read_from_medium), the names of the segments are now, before anything is removed. */
    r = MUTANT(NO_MAKE_DURABLE) ? 0 : io_syncdir(eng->io);
    if (!r && !MUTANT(NO_MAKE_DURABLE)) /* that of a mended superblock */
        r = -io_dir_failed(eng->io);
    if (r) {
        snprintf(rec->why, 256, "making the recovered log durable failed: %s", strerror(-r));
        return r;
    }
    r = mend_headers(rec);
    if (!r)
        r = echoes_adopt(rec);
    if (!r)
        r = discard_unknown(rec);
    if (r)
        return r;
    checkpoint_clean(eng);
    if (loading_is_done(&eng->loading)) /* else the rest of the index would be fetched for that */
        orphans_find(eng);
    /* A log that ended cleanly is continued; behind a torn end a new segment begins, and where the next
     * opening would ask in vain for the head or for what is written now. */
    if (rec->at && (rec->at->valid || MUTANT(CONTINUE_HEADLESS)) && rec->offset < eng->log.segment_size &&
        (can_go_on(rec) || MUTANT(CONTINUE_TORN))) {
        struct segment *seg;
        r = segments_pin(&eng->segments, rec->at->id, &seg);
        if (!r)
            log_continue_locked(&eng->log, seg, rec->offset, rec->at->size);
    }
    return r;
}

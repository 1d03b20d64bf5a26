/*
 * recover.c - from files to an index: the newest valid checkpoint, then the
 * log after it, batch by batch.
 *
 * The log ends at the first batch that is not whole, in whatever segment it
 * lies, unless something says that batch was durable once: a mark in a later
 * batch or segment header, wherever in the store. Then it is damage, and opening is refused (I7).
 * Batches carry the sum of the one before, so what an earlier life of the
 * store left behind its end never joins on. Where a younger segment claims to
 * begin with the next batch, an earlier life ended here: the log goes on there,
 * and what follows in the older segment was given up then.
 *
 * Before all threads; those that fetch chunks for it (rest.h) end before it goes on. */
#include "image/recover.h"

#include "core/damage.h"
#include "image/checkpoint.h"
#include "image/checkpoint_v1.h"
#include "image/echoes.h"
#include "image/load.h"
#include "image/recovery.h"
#include "image/rest.h"
#include "image/salvage.h"

#include <stdio.h>

static struct seg_file *find_segment(struct recovery *rec, uint64_t id)
{
    for (size_t i = 0; i < rec->n_segs; i++) {
        if (rec->segs[i].id == id)
            return &rec->segs[i];
    }
    return NULL;
}

/*
 * What a failed sync lost may still be read from memory, and looks clean to
 * every later sync (I11). So what is not known to be durable is read anew,
 * from the medium, before it is accepted. */
static int read_from_medium(struct recovery *rec, struct seg_file *sf)
{
    struct segment *seg;
    if (sf->fresh || rec->eng->opt.read_only || MUTANT(NO_MEDIUM_READ))
        return 0;
    int r = segments_pin(&rec->eng->segments, sf->id, &seg);
    if (r)
        return r;
    r = rec->eng->io->ops->datasync(seg->file);
    if (!r)
        rec->eng->io->ops->drop_cache(seg->file);
    segments_unpin(seg);
    const struct seg_file before = *sf;
    if (!r)
        r = recovery_read_header(rec, sf);
    if (!r && !sf->valid && before.valid && before.torn) { /* the echo spoke for it */
        sf->valid = sf->mended = true;
        sf->header = before.header;
    }
    bool behind_header = sf == rec->at && rec->offset > sizeof sf->header && !MUTANT(HEAD_WANTED);
    if (!r && sf->unreadable && !sf->valid && !(sf->size && (behind_header || rec->eng->opt.salvage))) {
        snprintf(rec->why, 256, "segment s%08x.seg cannot be read any more", sf->id);
        r = -EIO;
    }
    sf->fresh = !r;
    return r;
}

/* ---- the starting point ---------------------------------------------------------- */

static void stand_at(struct recovery *rec, const struct ckpt_position *pos)
{
    rec->seq = pos->seq;
    rec->chain = pos->chain;
    rec->at = find_segment(rec, pos->segment);
    rec->offset = pos->offset;
    rec->lacks = rec->at ? 0 : (uint32_t)pos->segment;
}

static int follow_log(struct recovery *rec);

/*
 * Whether a salvage may start from there, although a newer checkpoint is left in part: -ESTALE if the log
 * does not lead from there to what that one has. Names would show what was overwritten since. */
static int is_newest(struct recovery *rec, const struct ckpt_position *pos)
{
    const struct ckpt_position none = {0};
    if (!rec->eng->opt.salvage || pos->seq >= rec->known || MUTANT(OLD_START))
        return 0;
    rec->looks = true;
    stand_at(rec, pos);
    int r = follow_log(rec);
    bool leads = rec->seq >= rec->known;
    stand_at(rec, &none);
    rec->looks = false;
    if (io_is_shortage(r))
        return r;
    return leads ? 0 : -ESTALE;
}

static void go_on_from(struct recovery *rec, uint64_t id, const struct ckpt_position *pos)
{
    struct eng *eng = rec->eng;
    eng->marks.newest_seq = pos->seq;
    eng->marks.newest_in = pos->segment;
    eng->segments.next_id =
        MAX_OF(eng->segments.next_id, (uint32_t)MIN_OF(pos->next_segment_id, (uint64_t)UINT32_MAX));
    eng->checkpoints->next_id = MAX_OF(eng->checkpoints->next_id, id + 1);
    rec->first_new = pos->next_segment_id;
    rec->mark = MAX_OF(rec->mark, pos->seq);
    stand_at(rec, pos);
}

/* `r`: whether the checkpoint could be made durable. If not just now, it may be whole as it is, and newer
 * than what else there is. One that is damaged, or of another store, is not. */
static int settled(struct eng *eng, uint64_t id, int r)
{
    if (r && r != -ENOENT && r != -EBADMSG)
        eng->checkpoints->unread = id;
    return r;
}

static int load_old(struct recovery *rec, uint64_t id, struct ckpt_position *ret_pos)
{
    struct eng *eng = rec->eng;
    int r = eng->opt.read_only ? 0 : settled(eng, id, checkpoint_v1_settle(eng, id));
    if (!r)
        r = checkpoint_v1_load(eng, id, &eng->idx, ret_pos);
    eng->checkpoints->is_v1 = !r;
    return r;
}

/* Of format 2; else of format 1. In a store of version 1 only these count: an upgrade that came to no end has
 * not made the others the store's. */
static int load_any(struct recovery *rec, uint64_t id, struct ckpt_position *ret_pos)
{
    struct eng *eng = rec->eng;
    struct image_note none[IMAGE_NOTES];
    if (eng->sb.version == FORMAT_VERSION_OLD)
        return load_old(rec, id, ret_pos);
    int r = eng->opt.read_only ? 0 : settled(eng, id, images_settle(&eng->checkpoints->images, id));
    if (!r)
        r = load_checkpoint(eng, id, ret_pos);
    if (r) /* of one that is not used, or not of this format */
        (void)images_take_notes(&eng->checkpoints->images, none);
    if (!r || io_is_shortage(r) || !checkpoint_v1_is_finished(eng, id))
        return r;
    r = salvage_fresh_index(eng);
    return r ? r : load_old(rec, id, ret_pos);
}

static int start_from_checkpoint(struct recovery *rec, size_t i)
{
    struct ckpt_position pos;
    int r = load_any(rec, rec->ckpts[i], &pos);
    if (!r)
        r = echoes_reach(rec, pos.seq);
    if (!r)
        r = is_newest(rec, &pos);
    if (!r)
        go_on_from(rec, rec->ckpts[i], &pos);
    return r;
}

/* A checkpoint that cannot be used may still tell how far the log was durable. Or it may not be read at all,
 * and nothing says that it was not finished. */
static void note_checkpoint_mark(struct recovery *rec, uint64_t id)
{
    struct eng *eng = rec->eng;
    uint64_t seq;
    if (load_probe(eng, id, &seq) != 0) {
        if (eng->sb.version != FORMAT_VERSION_OLD && images_may_be_finished(&eng->checkpoints->images, id))
            eng->checkpoints->unread = id;
        return;
    }
    rec->mark = MUTANT(CKPT_MARK_LOST) ? rec->mark : MAX_OF(rec->mark, seq);
    rec->known = MAX_OF(rec->known, seq);
}

/* Whether the state has a place for it: a segment that the checkpoint knew, or survivors. None of its batches
 * is younger than the checkpoint, unless it was replayed. */
static bool is_known(const struct recovery *rec, const struct seg_file *sf)
{
    return index_segment(&rec->eng->idx, sf->id) != NULL;
}

static int start_from_remains(struct recovery *rec)
{
    struct ckpt_position pos;
    uint64_t id;
    int r = salvage_remains(rec->eng, rec->segs, rec->n_segs, rec->ckpts, rec->n_ckpts, &id, &pos);
    if ((rec->mended = r == SALVAGED_INDEX))
        go_on_from(rec, id, &pos);
    return MIN_OF(r, 0);
}

static int no_checkpoint(struct recovery *rec, int error)
{
    snprintf(rec->why, 256, "no checkpoint can be read, or made durable: %s", strerror(-error));
    return error;
}

static int find_start(struct recovery *rec)
{
    struct eng *eng = rec->eng;
    int error = 0; /* of the medium: it may pass */
    eng->checkpoints->next_id = checkpoint_next_id(rec->ckpts, rec->n_ckpts);
    for (size_t i = 0; i < rec->n_ckpts; i++) {
        int r = start_from_checkpoint(rec, i);
        if (!r || io_is_shortage(r) || rec->echo.has_refused)
            return r;
        note_checkpoint_mark(rec, rec->ckpts[i]);
        if (r != -ESTALE)
            load_tell_unusable(eng, rec->ckpts[i], r);
        if (r != -EBADMSG && r != -ENOENT)
            error = r;
        r = salvage_fresh_index(eng);
        if (r)
            return r;
    }
    if (error && eng->checkpoints->unread && !eng->opt.salvage && !MUTANT(UNREAD_CKPT_IS_NONE))
        return no_checkpoint(rec, error); /* the log may be older than that, and seem whole */
    /* Without a checkpoint the log must be there from its first batch. */
    int r = echoes_reach(rec, 0);
    if (r)
        return r;
    r = is_newest(rec, &(struct ckpt_position){0});
    for (size_t i = 0; i < rec->n_segs && !r; i++) {
        if (rec->segs[i].valid && rec->segs[i].header.kind == SEGMENT_LOG &&
            rec->segs[i].header.first_seq == 1)
            return 0;
    }
    if (io_is_shortage(r))
        return r;
    if (echoes_have_next(rec) && (!r || MUTANT(OLD_START)))
        return 0;
    if (rec->mark == 0 && rec->n_ckpts == 0)
        return 0; /* a new store, or one that died before its first batch was durable */
    if (eng->opt.salvage)
        return start_from_remains(rec);
    if (recovery_unreadable_end(rec))
        return -EIO;
    if (error)
        return no_checkpoint(rec, error);
    snprintf(rec->why, 256,
             "no checkpoint can be used and the log does not go back to its beginning; "
             "restore from a copy");
    return -EBADMSG;
}

/* ---- replay --------------------------------------------------------------------------- */

/* An error of the medium may pass, and the end of the log hangs on it. */
static int read_log(struct recovery *rec, void *buf, size_t size, uint64_t off)
{
    int r = -EIO;
    for (unsigned tries = 0; r == -EIO && tries < MEDIUM_TRIES; tries++)
        r = io_pread_exact(rec->pinned->file, rec->eng->io->ops, buf, size, off);
    return r;
}

/* Reads the batch at the current offset into rec->batch: -EBADMSG if it is not the next one, whole (I7,
 * I10). */
static int read_batch(struct recovery *rec, struct batch_header *ret_header)
{
    struct batch_header h;
    if (rec->offset + sizeof h > rec->at->size)
        return -EBADMSG;
    int r = read_log(rec, &h, sizeof h, rec->offset);
    if (r)
        return r;
    uint64_t left = rec->at->size - rec->offset - sizeof h;
    if (!batch_header_fits(&h, left) || (uint64_t)h.ops_len + h.extents_len > left ||
        (!MUTANT(NO_BATCH_SUM) && (h.seq != rec->seq + 1 || (h.chain != rec->chain && !MUTANT(NO_CHAIN)) ||
                                   (h.store != rec->eng->log.store && !MUTANT(NO_STORE_NUMBER)))))
        return -EBADMSG;
    rec->batch.len = 0;
    r = buf_reserve(&rec->batch, h.ops_len + 1u);
    if (!r)
        r = read_log(rec, rec->batch.data, h.ops_len, rec->offset + sizeof h);
    if (r)
        return r;
    if (h.sum != batch_sum(&h, rec->batch.data) && !MUTANT(NO_BATCH_SUM))
        return -EBADMSG;
    *ret_header = h;
    return 0;
}

/* Decodes the ops of the batch just read. */
static int decode_batch(struct recovery *rec, const struct batch_header *h)
{
    txn_reset(&rec->ops);
    for (size_t at = 0; at < h->ops_len;) {
        struct op op, *slot;
        size_t used;
        int r = op_decode(rec->batch.data + at, h->ops_len - at, &op, &used);
        if (r)
            return r;
        bool is_known = op_is_plain(&op) || eng_has_history(rec->eng);
        if (rec->ops.n_ops == h->n_ops || !is_known)
            return -EBADMSG;
        slot = txn_op(&rec->ops, op.type);
        if (!slot)
            return -ENOMEM;
        *slot = op;
        at += used;
    }
    return rec->ops.n_ops == h->n_ops ? 0 : -EBADMSG;
}

#define SCAN_WINDOW (1u << 20)
static_assert(EXTENT_HEAD_MAX + EXTENT_MAX <= SCAN_WINDOW, "each extent has room in it");

/* The extents of one batch, a window at a time: what a batch is said to have takes no memory. */
struct extents {
    uint64_t base, end; /* where they lie in the file */
    uint64_t at;        /* of what rec->extents holds */
};

/* *ret_data: `size` bytes of the extents from `off` of the file on. -EBADMSG: there are none. */
static int read_extents(struct recovery *rec, struct extents *x, uint64_t off, size_t size,
                        const uint8_t **ret_data)
{
    if (off < x->base || off > x->end || size > x->end - off)
        return -EBADMSG;
    if (off < x->at || off - x->at + size > rec->extents.len) {
        size_t n = (size_t)MIN_OF(x->end - off, (uint64_t)SCAN_WINDOW);
        rec->extents.len = 0;
        int r = buf_reserve(&rec->extents, MUTANT(BATCH_BELIEVED) ? x->end - x->base : SCAN_WINDOW);
        if (!r)
            r = read_log(rec, rec->extents.data, n, off);
        if (r)
            return r;
        x->at = off;
        rec->extents.len = n;
    }
    *ret_data = rec->extents.data + (off - x->at);
    return 0;
}

/* The extent that the op publishes is whole, and the one that was meant. */
static int verify_extent(struct recovery *rec, struct extents *x, const struct op *op)
{
    uint32_t len = op->loc.ext_len;
    const uint8_t *head = NULL;
    uint64_t hsum;
    if (op->loc.seg != rec->at->id || len > EXTENT_MAX)
        return -EBADMSG;
    int r = read_extents(rec, x, locator_offset(&op->loc), extent_head_size(len) + len, &head);
    if (r)
        return r;
    memcpy(&hsum, head + offsetof(struct extent_header, sum), sizeof hsum);
    if (hsum != op->hsum) /* whole, but what a write that failed had left in this place */
        return -EBADMSG;
    r = extent_head_check(head, op->ino, op_extent_off(op), len);
    return r ? r : extent_blocks_check(head, 0, extent_blocks(len), head + extent_head_size(len));
}

/* Beyond the durable mark the batch counts only if its content is whole, too (I7). */
static int verify_content(struct recovery *rec, const struct batch_header *h)
{
    uint64_t base = rec->offset + sizeof *h + h->ops_len;
    struct extents x = {.base = base, .end = base + h->extents_len};
    int r = 0;
    rec->extents.len = 0;
    for (size_t i = 0; i < rec->ops.n_ops && !r; i++) {
        const struct op *op = &rec->ops.ops[i];
        if (op_has_extent(op) && !(op->type == OP_REWRITE && MUTANT(REWRITE_UNVERIFIED)))
            r = verify_extent(rec, &x, op);
    }
    return MUTANT(NO_BATCH_SUM) && r == -EBADMSG ? 0 : r;
}

static void pass_batch(struct recovery *rec, const struct batch_header *h)
{
    rec->seq = h->seq;
    rec->chain = h->sum;
    rec->offset += sizeof *h + h->ops_len + h->extents_len;
}

static int apply_ops(struct recovery *rec, const struct batch_header *h)
{
    struct index *idx = &rec->eng->idx;
    pool_missed = 0;
    int r = index_touch_segment(idx, rec->at->id, SEGMENT_LOG, h->seq);
    if (!r)
        r = index_reserve(idx, rec->ops.ops, rec->ops.n_ops);
    for (size_t i = 0, n, lost; i < rec->ops.n_ops && r >= 0; i += n) {
        const struct op *op = &rec->ops.ops[i];
        if (op->type == OP_SEGMENT && !segment_id_is_plausible(op->ino, h->seq) &&
            !MUTANT(NUMBERS_BELIEVED)) {
            r = -EBADMSG;
            break;
        }
        n = 1;
        if (op->type == OP_KEEP && MUTANT(KEEP_UNLOGGED))
            continue;
        r = rec->mended ? index_apply_mended(idx, op, h->seq)
                        : index_apply_next(idx, op, rec->ops.n_ops - i, h->seq, &n, &lost);
        r = rec->mended && r == -EBADMSG ? 0 : r; /* of what is lost */
        if (op->type == OP_SEGMENT && r >= 0 &&
            !MUTANT(NUMBERS_AGAIN)) /* its file may be gone since; its number is used up (I1) */
            rec->eng->segments.next_id = MAX_OF(rec->eng->segments.next_id, (uint32_t)op->ino + 1);
    }
    return r;
}

static int apply_batch(struct recovery *rec, const struct batch_header *h)
{
    struct eng *eng = rec->eng;
    int r = apply_ops(rec, h);
    int missed = rest_missed(eng, rec->why);
    if (missed)
        return missed;
    if (r < 0) {
        snprintf(rec->why, 256,
                 "batch %llu in segment s%08x.seg at %llu does not fit what came before it: damaged",
                 (unsigned long long)h->seq, rec->at->id, (unsigned long long)rec->offset);
        return r;
    }
    echoes_note(rec, h);
    rec->mark = MAX_OF(rec->mark, h->durable_seq);
    rec->bytes += sizeof *h + h->ops_len + h->extents_len;
    rec->batches++;
    pass_batch(rec, h);
    uint64_t fetched = chunk_pool_fetched(eng->idx.pool);
    return rest_fetch_many(eng, fetched - MIN_OF(fetched, rec->advised), rec->why);
}

/* What looks like a batch at `off` is not looked at (batch_search_may()). */
static void pass_by(struct recovery *rec, struct seg_file *sf, uint64_t off)
{
    if (segment_file_pass_by(sf, off))
        report_line(
            &rec->eng->report, ENG_LOG_WARNING,
            "s%08x.seg: more of it looks like batches than it can hold; from offset %llu on not all of "
            "that was looked at",
            sf->id, (unsigned long long)off);
}

/* Takes notice of the batch of this store at `off`, if there is one and it is younger than the replay. */
static int note_mark(struct recovery *rec, struct seg_file *sf, const struct segment *seg, uint64_t off,
                     const struct batch_header *h)
{
    uint64_t size = seg->size;
    if (!batch_header_fits(h, size - off - sizeof *h) ||
        (h->store != rec->eng->log.store && !MUTANT(NO_STORE_NUMBER)) ||
        (h->seq <= rec->seq && (sf->valid || sf->holds)))
        return 0;
    if (!batch_search_may(&sf->hashed, h->ops_len, size)) {
        pass_by(rec, sf, off);
        return 0;
    }
    rec->found.len = 0;
    int r = buf_reserve(&rec->found, h->ops_len + 1u);
    if (r)
        return r;
    ssize_t n = io_pread_full(seg->file, rec->eng->io->ops, rec->found.data, h->ops_len, off + sizeof *h);
    sf->holds = sf->holds || n == -EIO;
    if (n < 0)
        return n == -EIO ? 0 : (int)n;
    if ((size_t)n == h->ops_len && h->sum == batch_sum(h, rec->found.data)) {
        if (h->seq > rec->seq)
            rec->mark = MAX_OF(rec->mark, h->durable_seq);
        sf->holds = true;
        sf->last = MAX_OF(sf->last, h->seq);
    }
    return 0;
}

/* Looks for batches from `from` on, at every place where one could begin. */
static int scan_file(struct recovery *rec, struct seg_file *sf, uint64_t from)
{
    struct segment *seg;
    struct batch_header h;
    const struct eng_io_ops *ops = rec->eng->io->ops;
    rec->extents.len = 0;
    int r = buf_reserve(&rec->extents, SCAN_WINDOW);
    if (!r)
        r = segments_pin(&rec->eng->segments, sf->id, &seg);
    if (r)
        return r;
    for (uint64_t at = ALIGN8(from); !r; at += SCAN_WINDOW - sizeof h) {
        at = io_skip_hole(seg->file, ops, at); /* where no batch begins */
        if (at >= seg->size || seg->size - at < sizeof h)
            break;
        ssize_t n = segment_file_read_around(ops, sf, seg->file, rec->extents.data, SCAN_WINDOW, at);
        r = n < 0 ? (int)n : 0;
        for (size_t i = 0; !r && i + sizeof h <= (size_t)n; i += 8) {
            memcpy(&h, rec->extents.data + i, sizeof h);
            r = note_mark(rec, sf, seg, at + i, &h);
        }
    }
    segments_unpin(seg);
    return r;
}

/* Beside such a file the store is refused, but for a salvage (recovery_end_of_log()). */
static bool may_be_scanned(const struct recovery *rec, const struct seg_file *sf)
{
    return !sf->unreadable || (rec->eng->opt.salvage && sf->size && !MUTANT(UNREAD_IS_NOTHING));
}

/*
 * Something is wrong at the present place: looks at all that was written after it for marks that tell whether
 * the next batch was durable once. Once is enough: wherever the replay goes from here was looked at. */
static int scan_marks(struct recovery *rec)
{
    int r = 0;
    if (rec->scanned || MUTANT(NO_SCAN))
        return 0;
    rec->scanned = true;
    if (rec->at && rec->offset < rec->at->size)
        r = scan_file(rec, rec->at, rec->offset);
    for (size_t i = 0; i < rec->n_segs && !r; i++) {
        struct seg_file *sf = &rec->segs[i];
        bool later = sf->valid ? sf->header.kind == SEGMENT_LOG && sf->header.first_seq > rec->seq
                               : !sf->alien && may_be_scanned(rec, sf) && !is_known(rec, sf);
        if (later && !sf->used && sf != rec->at)
            r = scan_file(rec, sf, sf->valid ? sizeof(struct segment_header) : 0);
    }
    return r;
}

/* Finds the younger segment in which the log goes on behind batch rec->seq, NULL if none. Of several that
 * claim so the youngest is right: the others ended lives. */
static int next_segment(struct recovery *rec, struct seg_file **ret_next)
{
    *ret_next = NULL;
    for (size_t i = rec->n_segs; i-- > 0;) {
        struct seg_file *sf = &rec->segs[i];
        if (!sf->valid || sf->header.kind != SEGMENT_LOG || sf->header.first_seq != rec->seq + 1 ||
            (sf->header.chain != rec->chain && !MUTANT(NO_CHAIN)) || (rec->at && sf->id <= rec->at->id))
            continue;
        int r = sf->header.first_seq > rec->mark ? read_from_medium(rec, sf) : 0;
        if (r)
            return r;
        if (sf->valid) {
            *ret_next = sf;
            break;
        }
    }
    return 0;
}

/* The lowest number above `seq` with which a younger segment claims to begin. */
static uint64_t next_claim(const struct recovery *rec, uint64_t seq)
{
    uint64_t claim = UINT64_MAX;
    for (size_t i = 0; i < rec->n_segs; i++) {
        const struct seg_file *sf = &rec->segs[i];
        if (sf->valid && sf->header.kind == SEGMENT_LOG && sf->id > rec->at->id && sf->header.first_seq > seq)
            claim = MIN_OF(claim, sf->header.first_seq);
    }
    return claim;
}

/* Whether the log leaves the present segment here. *claim saves the look at all segments for each batch. */
static int goes_elsewhere(struct recovery *rec, uint64_t *claim, bool *ret_elsewhere)
{
    struct seg_file *next = NULL;
    int r = 0;
    if (rec->seq + 1 >= *claim) {
        r = next_segment(rec, &next);
        *claim = next_claim(rec, rec->seq + 1);
    }
    *ret_elsewhere = next != NULL;
    return r;
}

/* Whether some batch or segment was written behind this very batch, as its sum in them tells. */
static bool is_followed(const struct recovery *rec, const struct batch_header *h)
{
    struct batch_header next;
    uint64_t end = rec->offset + sizeof *h + h->ops_len + h->extents_len;
    if (io_pread_full(rec->pinned->file, rec->eng->io->ops, &next, sizeof next, end) == sizeof next &&
        next.magic == BATCH_MAGIC && next.seq == h->seq + 1 && next.chain == h->sum)
        return true;
    for (size_t i = 0; i < rec->n_segs; i++) {
        const struct seg_file *sf = &rec->segs[i];
        if (sf->valid && sf->header.first_seq == h->seq + 1 && sf->header.chain == h->sum)
            return true;
    }
    return false;
}

/* Beyond the mark a sector that cannot be read may be a torn end as any: on some disks a cut of the power
 * leaves one. recovery_end_of_log() decides, when all behind it was looked at. */
static int torn_if_unreadable(struct recovery *rec, int r)
{
    if (r == -EIO && echoes_have_next(rec))
        return -EBADMSG;
    if (r == -EIO && rec->seq < rec->mark)
        snprintf(rec->why, 256, "s%08x.seg, offset %llu: %s", rec->at->id, (unsigned long long)rec->offset,
                 strerror(EIO));
    if (r != -EIO || (!rec->eng->opt.salvage && rec->seq < rec->mark))
        return r;
    rec->unread = rec->seq + 1;
    return -EBADMSG;
}

/* Reads and decodes the next batch, and decides whether it is part of the log: -EBADMSG if not. */
static int accept_batch(struct recovery *rec, struct batch_header *ret_header)
{
    int r = torn_if_unreadable(rec, read_batch(rec, ret_header));
    if (!r && echoes_know(rec, ret_header)) /* it was durable */
        rec->mark = MAX_OF(rec->mark, ret_header->seq);
    if (!r && ret_header->seq > rec->mark && !rec->at->fresh) {
        r = read_from_medium(rec, rec->at);
        if (!r)
            r = torn_if_unreadable(rec, read_batch(rec, ret_header));
    }
    if (!r)
        r = decode_batch(rec, ret_header);
    bool bad_content = !r && ret_header->seq > rec->mark && !MUTANT(NO_TAIL_CONTENT) &&
                       (r = torn_if_unreadable(rec, verify_content(rec, ret_header))) == -EBADMSG;
    if (r != -EBADMSG || echoes_have_next(rec))
        return r;
    r = scan_marks(rec);
    if (r)
        return r;
    /* Durable once: damaged content, not a torn tail. */
    return bad_content && ret_header->seq <= rec->mark && is_followed(rec, ret_header) ? 0 : -EBADMSG;
}

/* Replays the batches of one segment. 0: its valid part is done. */
static int replay_segment(struct recovery *rec)
{
    struct batch_header h = {0};
    uint64_t claim = next_claim(rec, rec->seq);
    bool elsewhere = false;
    rec->at->used = rec->at->used || !rec->looks;
    if (rec->offset >= rec->at->size)
        return 0;
    int r = segments_pin(&rec->eng->segments, rec->at->id, &rec->pinned);
    if (r)
        return r == -EIO && echoes_have_next(rec) ? 0 : r;
    while (!r && rec->offset < rec->at->size && !(MUTANT(ECHO_OVER_LOG) && echoes_have_next(rec))) {
        r = goes_elsewhere(rec, &claim, &elsewhere);
        if (r || elsewhere)
            break;
        r = rec->looks ? read_batch(rec, &h) : accept_batch(rec, &h);
        if (r == -EBADMSG) {
            r = 0;
            break;
        }
        if (!r && rec->looks)
            pass_batch(rec, &h);
        else if (!r)
            r = apply_batch(rec, &h);
    }
    segments_unpin(rec->pinned);
    rec->pinned = NULL;
    return r;
}

/* Up to where the log has nothing whole to say of the next batch. */
static int replay_log(struct recovery *rec)
{
    int r = 0;
    if (MUTANT(ECHO_OVER_LOG) && echoes_have_next(rec))
        return 0;
    if (!rec->at) {
        r = next_segment(rec, &rec->at);
        rec->offset = sizeof(struct segment_header);
    }
    while (rec->at && !r) {
        struct seg_file *next = NULL;
        r = replay_segment(rec);
        if (!r)
            r = next_segment(rec, &next);
        if (!next)
            break;
        rec->at = next;
        rec->offset = sizeof(struct segment_header);
    }
    return r;
}

/* One batch that the echo has, and the log has not. */
static int replay_echo(struct recovery *rec, bool *ret_more)
{
    struct batch_header h;
    bool ends = false;
    bool held = !rec->looks && echoes_next_is_held(rec);
    int r = held ? scan_marks(rec) : 0;
    if (!r && held)
        r = echoes_end_copy(rec, &ends);
    *ret_more = !r && !ends;
    if (!*ret_more)
        return r;
    r = echoes_read(rec, &h);
    if (r == -EIO) {
        *ret_more = false;
        return rec->looks ? 0 : recovery_pass_if_salvage(rec, r);
    }
    if (!r)
        r = decode_batch(rec, &h);
    *ret_more = !r;
    if (r)
        return r == -ENODATA || r == -EBADMSG ? 0 : r;
    echoes_take(rec, &h);
    if (!rec->looks)
        return apply_batch(rec, &h);
    pass_batch(rec, &h);
    return 0;
}

/* Up to where neither copy of the log has anything whole to say of the next batch. */
static int follow_log(struct recovery *rec)
{
    bool more = true;
    int r = echoes_fetch_ahead(rec);
    while (more && !r) {
        r = replay_log(rec);
        if (!r)
            r = replay_echo(rec, &more);
    }
    return r;
}

static int replay(struct recovery *rec)
{
    int r = follow_log(rec);
    if (!r)
        r = scan_marks(rec);
    return r ? r : recovery_end_of_log(rec);
}

/* Ops that may be one by one need not fit together (I10): what is adopted the next opening must accept. */
static int verify_replayed(struct recovery *rec)
{
    if (rec->mended)
        return salvage_verify(rec->eng, rec->seq);
    if (!loading_is_done(&rec->eng->loading)) /* the loader does, behind the open store */
        return 0;
    int r = rec->batches && !MUTANT(NO_REPLAY_VERIFY) ? index_is_sound(&rec->eng->idx) : 0;
    if (r == -EBADMSG)
        snprintf(rec->why, 256,
                 "what the log says up to batch %llu does not fit together: damaged; restore from a copy",
                 (unsigned long long)rec->seq);
    return r;
}

int recover_store(struct eng *eng, char why[256])
{
    struct recovery rec = {.eng = eng, .why = why, .last_seg = UINT32_MAX, .last_ckpt = UINT64_MAX};
    int r = checkpoint_begin(eng);
    if (!r)
        r = echoes_load(&rec);
    if (!r)
        r = recovery_take_stock(&rec);
    if (!r)
        r = find_start(&rec);
    rec.start_seq = rec.seq;
    checkpoint_tell_copies(eng);
    if (!r && eng->lost_after == UINT64_MAX)
        r = replay(&rec);
    if (!r)
        r = verify_replayed(&rec);
    if (!r)
        r = recovery_adopt(&rec);
    if (!r)
        recovery_count_lost(&rec);
    if (!r && rec.batches)
        report_line(&eng->report, ENG_LOG_INFO, "recovered %llu batches after the last checkpoint",
                    (unsigned long long)rec.batches);
    free(rec.segs);
    free(rec.ckpts);
    echoes_free(&rec);
    txn_free(&rec.ops);
    buf_free(&rec.batch);
    buf_free(&rec.extents);
    buf_free(&rec.found);
    return r;
}

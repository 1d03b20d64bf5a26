/*
 * summary_file.c - see summary_file.h. */
#include "disk/summary_file.h"

#define WINDOW (UINT64_C(256) << 10)
#define WINDOW_SMALL                                                                                         \
    (UINT64_C(4) << 10) /* where content was passed over that is longer than this: more may follow */

/* ---- from the end ------------------------------------------------------------------------ */

int summary_read(struct segment *seg, const struct eng_io_ops *ops, uint64_t store, uint64_t size,
                 struct summary *ret_s, uint64_t *ret_end)
{
    struct summary_footer f;
    struct summary s = {0};
    if (size < sizeof(struct segment_header) + sizeof f)
        return -ENODATA;
    int r = io_pread_exact(seg->file, ops, &f, sizeof f, size - sizeof f);
    if (r)
        return r;
    if (f.magic != SUMMARY_MAGIC)
        return -ENODATA;
    r = summary_footer_check(&f, seg->id, store, size);
    if (!r) /* in entries no number is zero for long */
        r = io_pread_dense(seg->file, ops, &s.bytes, f.len, size - sizeof f - f.len);
    if (!r)
        r = summary_entries_check(&f, s.bytes.data);
    if (r) {
        summary_free(&s);
        return r;
    }
    s.bytes.len = f.len;
    s.n = f.n;
    *ret_s = s;
    *ret_end = size - sizeof f - f.len;
    return 0;
}

/* ---- from the batches and extents --------------------------------------------------------------- */

struct scan {
    struct segment *seg;
    const struct eng_io_ops *ops;
    uint64_t store, end;
    uint64_t at;       /* where the next record begins */
    struct buf window; /* bytes of the file, from `from` on */
    uint64_t from;
    struct summary s;
};

/* The bytes [at, at + size), valid until the next call. -EBADMSG: there are not so many. */
static int look(struct scan *sc, uint64_t at, uint64_t size, const uint8_t **ret_bytes)
{
    if (at > sc->end || size > sc->end - at)
        return -EBADMSG;
    if (at < sc->from || at + size > sc->from + sc->window.len) {
        uint64_t ahead = at > sc->from + sc->window.len + WINDOW_SMALL ? WINDOW_SMALL : WINDOW;
        uint64_t len = MIN_OF(MAX_OF(size, ahead), sc->end - at);
        sc->window.len = 0;
        int r = buf_reserve(&sc->window, len);
        if (!r)
            r = io_pread_exact(sc->seg->file, sc->ops, sc->window.data, len, at);
        if (r)
            return r;
        sc->window.len = len;
        sc->from = at;
    }
    *ret_bytes = sc->window.data + (at - sc->from);
    return 0;
}

/* Places rise in what the engine writes. */
static int add(struct scan *sc, uint64_t place, uint32_t len, uint64_t ino, uint64_t off)
{
    struct summary_entry e = {.off8 = (uint32_t)(place / 8), .len = len, .slot = (uint32_t)ino, .off = off};
    if (place / 8 > UINT32_MAX || (sc->s.n && e.off8 <= sc->s.last.off8) || !len || len > EXTENT_MAX ||
        !e.slot)
        return -EBADMSG;
    summary_add(&sc->s, &e);
    return sc->s.lost ? -ENOMEM : 0;
}

static int add_ops(struct scan *sc, const uint8_t *ops, uint32_t len, uint32_t n)
{
    size_t at = 0, used;
    for (uint32_t i = 0; i < n; i++, at += used) {
        struct op op;
        int r = op_decode(ops + at, len - at, &op, &used);
        if (!r && op_has_extent(&op) && op.loc.seg == sc->seg->id &&
            !(op.type == OP_REWRITE && MUTANT(REWRITE_UNSCANNED)))
            r = add(sc, locator_offset(&op.loc), op.loc.ext_len, op.ino, op_extent_off(&op));
        if (r)
            return r;
    }
    return 0;
}

/* The batch at sc->at, which must follow the one whose number and sum these are; 0: any. */
static int add_batch(struct scan *sc, uint64_t *seq, uint64_t *chain)
{
    struct batch_header h;
    const uint8_t *bytes;
    int r = look(sc, sc->at, sizeof h, &bytes);
    if (r)
        return r;
    memcpy(&h, bytes, sizeof h);
    uint64_t left = sc->end - sc->at - sizeof h;
    if (h.store != sc->store || !batch_header_fits(&h, left) || (uint64_t)h.ops_len + h.extents_len > left ||
        (*seq && (h.seq != *seq + 1 || h.chain != *chain)))
        return -EBADMSG;
    r = look(sc, sc->at + sizeof h, h.ops_len, &bytes);
    if (!r && h.sum != batch_sum(&h, bytes))
        r = -EBADMSG;
    if (!r)
        r = add_ops(sc, bytes, h.ops_len, h.n_ops);
    *seq = h.seq;
    *chain = h.sum;
    sc->at += sizeof h + h.ops_len + (r ? 0 : h.extents_len);
    return r;
}

/* The extent of survivors at sc->at. */
static int add_extent(struct scan *sc)
{
    struct extent_header h;
    const uint8_t *head;
    int r = look(sc, sc->at, sizeof h, &head);
    if (r)
        return r;
    memcpy(&h, head, sizeof h);
    if (h.magic != EXTENT_MAGIC || !h.len || h.len > EXTENT_MAX || h.name_len > EXTENT_NAME_MAX ||
        extent_size(h.len, h.name_len) > sc->end - sc->at)
        return -EBADMSG;
    r = look(sc, sc->at, extent_head_size(h.len), &head);
    if (!r)
        r = extent_head_check(head, h.ino, h.file_off, h.len);
    if (!r)
        r = add(sc, sc->at, h.len, h.ino, h.file_off);
    sc->at += r ? 0 : extent_size(h.len, h.name_len);
    return r;
}

int summary_scan(struct segment *seg, const struct eng_io_ops *ops, uint64_t store, uint64_t end,
                 struct summary *ret_s, uint64_t *ret_end)
{
    struct scan sc = {
        .seg = seg, .ops = ops, .store = store, .end = end, .at = sizeof(struct segment_header)};
    uint64_t seq = 0, chain = 0;
    int r = 0;
    while (!r && sc.at < end)
        r = seg->kind == SEGMENT_SURVIVORS ? add_extent(&sc) : add_batch(&sc, &seq, &chain);
    buf_free(&sc.window);
    if (r && r != -EBADMSG && r != -EIO) { /* damage ends it, and so does what is behind the last batch */
        summary_free(&sc.s);
        return r;
    }
    *ret_s = sc.s;
    *ret_end = sc.at;
    return 0;
}

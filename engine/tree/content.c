/*
 * content.c - reading and writing file content.
 *
 * A reader takes the inode's generation and locators together, pins the segments, compares the generation
 * once more and only then reads (I2): what it reads was current when the pins were in place, and cannot go
 * away (I1). In a view that does not change, or is past (view.h), there is nothing to compare. Every byte is
 * verified before it is handed out (I6). */
#include "tree/content.h"

#include "commit/commit.h"
#include "index/extents.h"
#include "tree/attr.h"
#include "tree/gather.h"
#include "tree/tails.h"
#include "upkeep/full_disk.h"

#include <limits.h>

#define WRITE_MAX (16u << 20)
#define WHENCE_DATA 3 /* SEEK_DATA and SEEK_HOLE */
#define WHENCE_HOLE 4
#define READ_TRIES 8u     /* then the reader pins within the section */
#define READ_PIECES 1024u /* extents looked up in one section: more are read in slices */

/* ---- reading ---------------------------------------------------------------- */

struct piece {
    uint64_t off; /* file offset of the locator's first byte */
    struct locator loc;
    struct segment *seg;
};

struct pieces {
    struct piece *p, on_stack[8];
    size_t n, cap;
    uint64_t generation, version, size;
    bool more;      /* behind `size` there is more of what was asked for */
    size_t missing; /* the piece whose segment was not there */
    uint32_t state; /* slot of what they are of, 0 not known yet */
};

static void pieces_init(struct pieces *ps)
{
    ps->p = ps->on_stack;
    ps->n = 0;
    ps->size = 0;
    ps->state = 0;
    ps->cap = ARRAY_LEN(ps->on_stack);
}

static void pieces_free(struct pieces *ps)
{
    if (ps->p != ps->on_stack)
        free(ps->p);
}

static int pieces_add(struct pieces *ps, uint64_t off, const struct locator *loc)
{
    if (ps->n == ps->cap) {
        struct piece *p = malloc(2 * ps->cap * sizeof *p);
        if (!p)
            return -ENOMEM;
        memcpy(p, ps->p, ps->n * sizeof *p);
        pieces_free(ps);
        ps->p = p;
        ps->cap *= 2;
    }
    ps->p[ps->n++] = (struct piece){off, *loc, NULL};
    return 0;
}

static int collect_head(const struct index *idx, uint32_t slot, uint64_t off, struct pieces *ps)
{
    uint64_t at = off, loc_off;
    struct locator loc;
    int r = 0;
    while (at < off + ps->size && (r = index_extent(idx, slot, at, &loc_off, &loc)) == 0 &&
           loc_off < off + ps->size) {
        if (ps->n == READ_PIECES) {
            ps->size = at - off;
            ps->more = true;
            break;
        }
        r = pieces_add(ps, loc_off, &loc);
        if (r)
            return r;
        at = loc_off + loc.len;
    }
    return r < 0 ? r : 0;
}

/* Of a past state, from wherever in its line they are. */
static int collect_past(const struct index *idx, uint32_t slot, uint64_t off, struct pieces *ps)
{
    uint64_t end = off + ps->size;
    size_t n = 0;
    CLEANUP_FREE struct past_piece *found = malloc(READ_PIECES * sizeof *found);
    if (!found)
        return -ENOMEM;
    int r = past_read(idx, slot, off, end, found, READ_PIECES, &n, &end);
    for (size_t i = 0; i < n && !r; i++)
        r = pieces_add(ps, found[i].off, &found[i].loc);
    if (!r) {
        ps->more = end < off + ps->size;
        ps->size = end - off;
    }
    return r;
}

/* In a section of the view: locators of [off, off + size), cut at the end of the file or after READ_PIECES of
 * them, and the generation. */
static int collect(const struct view *view, uint64_t ino, uint64_t off, size_t size, struct pieces *ps)
{
    const struct inode_rec *inode = index_inode(view->idx, ino);
    uint32_t slot = ino_slot(ino);
    ps->n = 0;
    if (!inode)
        return -ESTALE;
    if (!S_ISREG(inode->mode))
        return S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
    ps->generation = inode->generation;
    if (view_is_past(view)) {
        bool known = ps->state && MUTANT(LINE_FROM_TWO_SECTIONS);
        slot = ps->state = known ? ps->state : view_slot(view, slot);
        inode = index_slot(view->idx, slot);
        if (!inode)
            return -ESTALE;
    }
    ps->version = inode->version;
    ps->more = false;
    ps->size = off < inode->size ? MIN_OF((uint64_t)size, inode->size - off) : 0;
    if (view_is_past(view) && slot != ino_slot(ino))
        return ps->size ? collect_past(view->idx, slot, off, ps) : 0;
    return collect_head(view->idx, slot, off, ps);
}

static void unpin(struct pieces *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        segments_unpin(ps->p[i].seg);
        ps->p[i].seg = NULL;
    }
}

/* Pins the segment of each piece. -ENOENT: one is gone. */
static int pin(struct eng *eng, struct pieces *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        int r = segments_pin(&eng->segments, ps->p[i].loc.seg, &ps->p[i].seg);
        if (r) {
            ps->p[i].seg = NULL;
            ps->missing = i;
            unpin(ps);
            return r;
        }
    }
    return 0;
}

static bool same_generation(const struct view *view, uint64_t ino, uint64_t generation)
{
    view_begin(view);
    const struct inode_rec *inode = index_inode(view->idx, ino);
    return view_end(view, inode && inode->generation == generation) == 1;
}

/* Whether pins of what was collected, set with the result r, are pins of what the view shows. What a past
 * view shows is right wherever it was found, and elsewhere once the segment is gone. */
static bool is_so_still(const struct view *view, uint64_t ino, const struct pieces *ps, int r)
{
    if (!view->lock || MUTANT(NO_GENERATION))
        return true;
    if (view_is_past(view))
        return r != -ENOENT || MUTANT(PAST_PIN_LATE);
    return same_generation(view, ino, ps->generation);
}

/* Collects and pins until both belong to one generation (I2); in a view that does not change they do. */
static int collect_and_pin(const struct view *view, uint64_t ino, uint64_t off, size_t size,
                           struct pieces *ps)
{
    struct eng *eng = view->eng;
    for (unsigned tries = 1;; tries++) {
        bool keep = tries > READ_TRIES; /* a file that is rewritten all the time: pin within the section */
        view_begin(view);
        int r = collect(view, ino, off, size, ps);
        if (keep && !r)
            r = pin(eng, ps);
        int end = (int)view_end(view, r);
        if (end && !r && keep)
            unpin(ps);
        r = end;
        if (r || keep)
            return r;
        fault_point(&eng->hook, FP_READ_COLLECTED);
        r = pin(eng, ps);
        if (r && r != -ENOENT)
            return r;
        fault_point(&eng->hook, FP_READ_PINNED);
        if (is_so_still(view, ino, ps, r))
            return r; /* -ENOENT: a segment that is still named is missing */
        if (!r)
            unpin(ps);
        COUNT(eng, read_restarts, 1);
    }
}

/* What the caller gets if collecting and pinning failed with r. */
static int pin_error(const struct view *view, uint64_t ino, const struct pieces *ps, int r)
{
    if (r == -ENOENT && ps->n) {
        const struct piece *missing = &ps->p[ps->missing];
        view_damage(*view, ino, missing->off, &missing->loc, "segment is missing");
        return -EIO;
    }
    if (r == -EACCES || r == -EPERM) /* another file system, or other rights: no damage */
        return report_store_error(&view->eng->report, "reading", r);
    return r;
}

/* Reads the first `len` bytes from `skip` on of the piece. */
static int read_piece(const struct view *view, uint64_t ino, const struct piece *p, uint32_t skip,
                      uint32_t len, uint8_t *buf)
{
    int r = segment_read(p->seg, view->eng->io->ops, ino, p->off, &p->loc, skip, len, buf);
    if (r == -EIO)
        (void)report_store_error(&view->eng->report, "reading", r);
    if (r != -EBADMSG && r != -EIO)
        return r;
    view_damage(*view, ino, p->off, &p->loc, r == -EIO ? "read error" : "checksum mismatch");
    return -EIO;
}

/* What one look at the index gives of [off, off + size). */
struct slice {
    uint64_t n, version;
    bool more;
};

static int read_slice(const struct view *view, uint64_t ino, void *buf, size_t size, uint64_t off,
                      struct slice *ret_slice)
{
    struct pieces ps;
    pieces_init(&ps);
    int r = collect_and_pin(view, ino, off, size, &ps);
    if (r)
        r = pin_error(view, ino, &ps, r);
    uint64_t at = off, end = off + (r ? 0 : ps.size);
    assert(buf || (!ps.n && at == end)); /* a read of nothing */
    for (size_t i = 0; i < ps.n && !r; i++) {
        const struct piece *p = &ps.p[i];
        uint64_t from = MAX_OF(p->off, off), to = MIN_OF(p->off + p->loc.len, end);
        memset((uint8_t *)buf + (at - off), 0, from - at); /* a hole */
        r = read_piece(view, ino, p, (uint32_t)(from - p->off), (uint32_t)(to - from),
                       (uint8_t *)buf + (from - off));
        at = to;
    }
    if (!r) {
        if (at < end)
            memset((uint8_t *)buf + (at - off), 0, end - at);
        *ret_slice = (struct slice){ps.size, ps.version, ps.more};
    }
    unpin(&ps);
    pieces_free(&ps);
    return r;
}

int content_read_range(const struct view *view, uint64_t ino, void *buf, size_t size, uint64_t off,
                       ssize_t *ret_n)
{
    struct slice slice = {.more = true};
    uint64_t n = 0, version = 0;
    size = MIN_OF(size, (size_t)SSIZE_MAX);
    for (unsigned tries = 1; slice.more;) {
        int r = read_slice(view, ino, (uint8_t *)buf + n, size - n, off + n, &slice);
        if (r)
            return r;
        if (n && slice.version != version && tries < READ_TRIES) { /* written meanwhile: from the start */
            slice.more = true;
            n = 0;
            tries++;
            continue;
        }
        version = slice.version;
        n += slice.n;
    }
    *ret_n = (ssize_t)n;
    return 0;
}

VIEW_HOT ssize_t eng_read(struct eng *eng, uint64_t ino, void *buf, size_t size, uint64_t offset)
{
    if (!eng || (!buf && size))
        return -EINVAL;
    struct view live = view_live(eng);
    ssize_t n = 0;
    int r = content_read_range(&live, ino, buf, size, offset, &n);
    if (r)
        return r;
    COUNT(eng, reads, 1);
    COUNT(eng, bytes_read, (uint64_t)n);
    return n;
}

struct seeking {
    uint64_t offset, at; /* where it began, and has come to */
    int whence;
    uint32_t max, n; /* extents: so many of one slice, and so many it has looked at */
    bool found;
};

/* The first byte of content at or after `at`. */
static int seek_data(const struct index *idx, uint32_t slot, uint64_t at, uint64_t *ret_offset)
{
    uint64_t off;
    struct locator loc;
    int r = index_extent(idx, slot, at, &off, &loc);
    if (r)
        return r > 0 ? -ENXIO : r;
    *ret_offset = MAX_OF(at, off);
    return 0;
}

/* One slice of looking. */
static int seek(const struct view *view, uint64_t ino, struct seeking *s)
{
    const struct index *idx = view->idx;
    const struct inode_rec *inode = view_state(view, ino);
    int r;
    if (!inode)
        return -ESTALE;
    if (s->offset >= inode->size)
        return -ENXIO;
    s->n = 0;
    bool is_past = inode->flags & INODE_PAST;
    if (is_past)
        r = past_seek(idx, view_slot(view, ino_slot(ino)), inode->size, s->whence == WHENCE_HOLE, &s->at,
                      &s->found);
    else if (s->whence == WHENCE_DATA)
        r = seek_data(idx, ino_slot(ino), s->at, &s->at);
    else
        r = extents_run(idx, ino_slot(ino), s->at, s->max, &s->at, &s->n);
    s->found = is_past ? s->found : s->n < s->max;
    if (!r && s->at >= inode->size) { /* the end, or what a truncation has left behind it */
        r = s->whence == WHENCE_DATA ? -ENXIO : 0;
        s->at = inode->size;
        s->found = true;
    }
    return r;
}

/* As eng_seek_some() in any view. */
static int seek_some(const struct view *view, uint64_t ino, uint64_t offset, int whence, uint64_t *looks,
                     uint64_t *ret_offset)
{
    struct seeking s = {.offset = offset, .at = offset, .whence = whence};
    int r = whence == WHENCE_DATA || whence == WHENCE_HOLE ? 0 : -EINVAL;
    while (!r && !s.found) {
        if (!*looks)
            return -EAGAIN;
        s.max = (uint32_t)MIN_OF(*looks, (uint64_t)eng_slice(view->eng));
        view_begin(view);
        r = (int)view_end(view, seek(view, ino, &s));
        *looks -= MAX_OF(s.n, 1u);
        if (!r && !s.found)
            fault_point(&view->eng->hook, FP_SEEK_SLICE);
    }
    if (!r)
        *ret_offset = s.at;
    return r;
}

int content_seek(const struct view *view, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset)
{
    uint64_t looks = UINT64_MAX;
    return seek_some(view, ino, offset, whence, &looks, ret_offset);
}

int eng_seek(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset)
{
    if (!eng || !ret_offset)
        return -EINVAL;
    struct view live = view_live(eng);
    return content_seek(&live, ino, offset, whence, ret_offset);
}

int eng_seek_some(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *looks,
                  uint64_t *ret_offset)
{
    if (!eng || !looks || !ret_offset)
        return -EINVAL;
    struct view live = view_live(eng);
    return seek_some(&live, ino, offset, whence, looks, ret_offset);
}

/* ---- writing ----------------------------------------------------------------- */

int content_draft(struct draft *draft, const void *data, size_t size, const char *path, uint32_t path_len)
{
    int r = 0;
    for (size_t at = 0; at < size && !r; at += EXTENT_MAX) {
        uint32_t len = (uint32_t)MIN_OF(size - at, (size_t)EXTENT_MAX);
        r = draft_extent(draft, (const uint8_t *)data + at, len, path, at ? 0 : path_len);
    }
    return r;
}

int content_stage(struct txn *txn, struct draft *draft, size_t first, size_t n, uint64_t ino, uint64_t off,
                  int64_t time)
{
    int r = 0;
    for (size_t i = first; i < first + n && !r; i++) {
        struct op *op = txn_op(txn, OP_EXTENT);
        if (!op)
            return -ENOMEM;
        op->ino = ino;
        op->off = off;
        op->time = time;
        op->flags = i > first ? OP_CONTINUES : 0;
        r = txn_extent(txn, draft, i, ino, off);
        off += draft->extents[i].len;
    }
    return r;
}

/* Of what is staged only [from, to) differs from what was there, where the store has a history: so the past
 * reads the rest as it is now, and need not keep what it was in. */
static void stage_rewrite(const struct eng *eng, struct txn *txn, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < txn->n_ops && eng_has_history(eng); i++) {
        struct op *op = &txn->ops[i];
        uint64_t end = op->off + op->loc.len;
        if (from <= op->off && end <= to) /* all of it */
            continue;
        op->type = OP_REWRITE;
        op->from = MIN_OF(MAX_OF(op->off, from), end);
        op->to = MAX_OF(MIN_OF(end, to), op->from);
    }
}

/* A write, and what of it is made before log.lock is taken. */
struct write {
    uint64_t ino;
    const void *buf;
    size_t size;
    bool append;
    uint64_t off;      /* of an append: where it goes as far as is known */
    uint64_t from, to; /* its extents, which hold what it takes along on both sides, too (gather.h) */
    uint64_t version;  /* of the file, of which that was read */
    uint8_t *merged;   /* all of [from, to). NULL: nothing is taken along */
    uint64_t next;     /* of what is written anew: where the next part begins, */
    uint32_t n_taken;  /* and the extents that this one was in */
    struct draft draft;
};

static void write_free(struct write *w)
{
    free(w->merged);
    draft_free(&w->draft);
}

static int check_file(const struct inode_rec *inode)
{
    if (!inode)
        return -ESTALE;
    if (!S_ISREG(inode->mode))
        return S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
    return 0;
}

/* Reads [from, to) of the file; behind its end, as it will be, there are zeros. */
static bool read_beside(const struct view *view, uint64_t ino, uint8_t *buf, uint64_t from, uint64_t to)
{
    ssize_t n = 0;
    if (from < to && content_read_range(view, ino, buf, (size_t)(to - from), from, &n))
        return false;
    if ((uint64_t)n < to - from)
        memset(buf + n, 0, (size_t)(to - from) - (size_t)n);
    return true;
}

/* Reads what the write takes along. What cannot be read stays where it is. */
static void take_along(const struct view *view, struct write *w)
{
    uint64_t end = w->off + w->size;
    w->merged = malloc((size_t)(w->to - w->from));
    if (w->merged && read_beside(view, w->ino, w->merged, w->from, w->off) &&
        read_beside(view, w->ino, w->merged + (end - w->from), end, w->to)) {
        if (w->size)
            memcpy(w->merged + (w->off - w->from), w->buf, w->size);
        return;
    }
    free(w->merged);
    w->merged = NULL;
    w->from = w->off;
    w->to = end;
}

/* Encodes the content of the write, whose place is known. */
static int draft_content(const struct view *view, struct write *w, const char *path, uint32_t path_len)
{
    if (w->from < w->off || w->to > w->off + w->size)
        take_along(view, w);
    const void *data = w->merged ? w->merged : w->buf;
    return content_draft(&w->draft, data, (size_t)(w->to - w->from), path, w->from ? 0 : path_len);
}

static void write_reset(struct write *w)
{
    draft_reset(&w->draft);
    free(w->merged);
    w->merged = NULL;
}

/* Finds out where the write goes and what it takes along, and encodes that. Under log.lock or not: without it
 * the file may change before the write is staged (write_fits()). */
static int write_draft(struct eng *eng, struct write *w)
{
    struct view live = view_live(eng);
    char path[EXTENT_NAME_MAX + 1];
    uint32_t path_len = 0;
    write_reset(w);
    view_begin(&live);
    const struct inode_rec *inode = index_inode(live.idx, w->ino);
    uint64_t end = 0;
    int r = check_file(inode);
    if (!r) {
        w->version = inode->version;
        w->off = w->append ? inode->size : w->off;
        r = __builtin_add_overflow(w->off, w->size, &end) || end > ENG_FILE_SIZE_MAX ? -EFBIG : 0;
    }
    if (!r) {
        gather_range(eng, live.idx, w->ino, w->off, end, &w->from, &w->to);
        if (!w->from)
            path_len = (uint32_t)index_path(live.idx, ino_slot(w->ino), path, EXTENT_NAME_MAX);
    }
    r = (int)view_end(&live, r);
    return r ? r : draft_content(&live, w, path, path_len);
}

/* What a write has come to; all but the first begin again. */
enum write_outcome {
    WRITE_DONE,
    WRITE_STALE,   /* the file has changed since the draft was made */
    WRITE_BLOCKED, /* the file would grow over more of its tail than one batch frees */
    WRITE_CROWDED  /* it would take more extents out of the index than one batch may */
};

/* How many extents the write takes out; up to one more than a slice. */
static int count_taken(const struct eng *eng, const struct inode_rec *inode, const struct write *w,
                       uint32_t *ret_n)
{
    uint64_t stop;
    uint32_t slice = eng_cut(eng);
    *ret_n = inode_n_extents(inode);
    if (inode_n_extents(inode) <= 1)
        return 0;
    return extents_count(&eng->idx, ino_slot(w->ino), w->from, MIN_OF(w->to, inode->size),
                         slice == UINT32_MAX ? slice : slice + 1, ret_n, &stop);
}

/* Under log.lock: whether the draft is right for what the file is now, and how many extents it takes out;
 * `locked`: it was made under the lock. */
static int write_fits(struct eng *eng, struct write *w, bool locked, enum write_outcome *ret_outcome,
                      uint32_t *ret_n)
{
    const struct inode_rec *inode = index_inode(&eng->idx, w->ino);
    uint64_t end;
    int r = check_file(inode);
    if (r)
        return r;
    uint64_t off = w->append ? inode->size : w->off;
    if (__builtin_add_overflow(off, w->size, &end) || end > ENG_FILE_SIZE_MAX)
        return -EFBIG;
    /* Relocation changes no content, and so no version. Of a draft of buf alone only the place may have
     * changed, and that is filled in now; but the path hint goes with offset 0, and a block may have become
     * crowded. */
    bool fits = w->merged ? inode->version == w->version || MUTANT(STALE_DRAFT) : !off == !w->off;
    if (fits && !w->merged) {
        w->off = w->from = off;
        w->to = end;
        fits = locked || !gather_is_due(eng, &eng->idx, w->ino, off, end);
    }
    *ret_outcome = fits ? WRITE_DONE : WRITE_STALE;
    if (fits && tail_in_way(eng, w->ino, end))
        *ret_outcome = WRITE_BLOCKED;
    r = count_taken(eng, inode, w, ret_n);
    if (!r && *ret_outcome == WRITE_DONE && *ret_n > eng_cut(eng))
        *ret_outcome = WRITE_CROWDED;
    return r;
}

#define DRAFT_TRIES 3u  /* then it is made under log.lock, with what it reads and hashes */
#define GATHER_TRIES 3u /* then as many extents are taken out as there are: others write beside */

/* ---- writing anew what is there ------------------------------------------------- */

/* The next part of the file up to `end`: what a batch may take out of the index, and an extent holds. */
static int gather_draft(struct eng *eng, struct write *w, uint64_t end)
{
    struct view live = view_live(eng);
    char path[EXTENT_NAME_MAX + 1];
    uint32_t path_len = 0, n = 0;
    write_reset(w);
    view_begin(&live);
    const struct inode_rec *inode = index_inode(live.idx, w->ino);
    int r = check_file(inode);
    w->from = w->to = w->off;
    if (!r) {
        w->version = inode->version;
        uint64_t stop = MIN_OF(MIN_OF(end, w->off + EXTENT_MAX), inode->size);
        if (stop > w->off)
            r = extents_count(live.idx, ino_slot(w->ino), w->off, stop, eng_cut(eng), &n, &stop);
        w->next = w->to = r ? w->to : MAX_OF(stop, w->off);
        if (!w->from)
            path_len = (uint32_t)index_path(live.idx, ino_slot(w->ino), path, EXTENT_NAME_MAX);
    }
    r = (int)view_end(&live, r);
    w->n_taken = n;
    return r || n <= 1 ? r : draft_content(&live, w, path, path_len);
}

/* Without a history content that only comes to another place is written content: so version and times are
 * staged as they were. */
static int gather_stage_times(struct txn *txn, const struct inode_rec *inode, uint64_t ino)
{
    struct op *op = txn_op(txn, OP_ATTR);
    if (!op)
        return -ENOMEM;
    txn->ops[0].flags |= OP_CONTINUES;
    op->ino = ino;
    op->mask = ENG_SET_MTIME;
    op->mtime = inode->mtime;
    op->ctime = inode->ctime;
    return 0;
}

/* Stages it so that nothing changes that anybody sees: version and times stay. */
static int gather_stage(struct eng *eng, struct txn *txn, struct write *w, const struct inode_rec *inode)
{
    int r = content_stage(txn, &w->draft, 0, w->draft.n, w->ino, w->from, inode->mtime);
    bool is_same = eng_has_history(eng) && !MUTANT(GATHER_IS_CHANGE);
    if (r)
        return r;
    txn->n_freed = w->n_taken;
    if (is_same)
        stage_rewrite(eng, txn, w->from, w->from);
    else
        r = gather_stage_times(txn, inode, w->ino);
    return r ? r : commit_txn(eng, txn);
}

static int gather_step(struct eng *eng, struct write *w, uint64_t end, bool *ret_stale)
{
    CLEANUP_TXN struct txn txn = {0};
    int r = gather_draft(eng, w, end);
    *ret_stale = false;
    if (r || !w->merged)
        return r;
    fault_point(&eng->hook, FP_WRITE_DRAFTED);
    r = commit_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(&eng->idx, w->ino);
    r = check_file(inode);
    *ret_stale = !r && (inode->version != w->version || w->n_taken > eng_cut(eng));
    if (!r && !*ret_stale)
        r = gather_stage(eng, &txn, w, inode);
    return commit_end(eng, r);
}

int content_gather(struct eng *eng, uint64_t ino, uint64_t off, uint64_t end)
{
    struct write w = {.ino = ino, .off = off};
    unsigned tries = 0;
    bool stale;
    int r = 0;
    while (!r && w.off < end) {
        r = gather_step(eng, &w, end, &stale);
        if (!r && stale && ++tries < DRAFT_TRIES)
            continue;
        if (w.next == w.off) /* behind the end of the file */
            break;
        w.off = w.next;
        tries = 0;
    }
    write_free(&w);
    return r;
}

/* ---- one write --------------------------------------------------------------------- */

/* How often a write has begun again. */
struct tries {
    unsigned stale, crowded;
};

/* What of the content of the write is new: behind the end of the file all is. */
static void stage_change(const struct eng *eng, struct txn *txn, const struct write *w)
{
    uint64_t size = index_inode(&eng->idx, w->ino)->size;
    if (!MUTANT(APPEND_KEEPS_TAIL))
        stage_rewrite(eng, txn, MIN_OF(w->off, size), w->off + w->size);
}

static int write_try(struct eng *eng, struct write *w, const struct tries *tries,
                     enum write_outcome *ret_outcome)
{
    CLEANUP_TXN struct txn txn = {0};
    bool locked = tries->stale >= DRAFT_TRIES || MUTANT(LATE_DRAFT);
    *ret_outcome = WRITE_DONE;
    int r = locked ? 0 : write_draft(eng, w);
    if (!r && !locked)
        fault_point(&eng->hook, FP_WRITE_DRAFTED);
    if (!r)
        r = commit_begin(eng);
    if (r)
        return r;
    if (locked)
        r = write_draft(eng, w);
    if (!r)
        r = write_fits(eng, w, locked, ret_outcome, &txn.n_freed);
    if (*ret_outcome == WRITE_CROWDED && tries->crowded >= GATHER_TRIES)
        *ret_outcome = WRITE_DONE;
    if (!r && w->size && *ret_outcome == WRITE_DONE) {
        r = content_stage(&txn, &w->draft, 0, w->draft.n, w->ino, w->from, now_ns());
        if (!r)
            stage_change(eng, &txn, w);
        if (!r)
            r = commit_txn(eng, &txn);
    }
    return commit_end(eng, r);
}

static ssize_t write_once(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t offset,
                          bool append, uint64_t *ret_offset)
{
    struct write w = {.ino = ino, .buf = buf, .size = size, .append = append, .off = offset};
    enum write_outcome outcome = WRITE_STALE;
    struct tries tries = {0};
    int r = size > WRITE_MAX ? -EINVAL : 0;
    while (!r && outcome != WRITE_DONE) {
        r = write_try(eng, &w, &tries, &outcome);
        if (!r && outcome == WRITE_BLOCKED)
            r = commit_tail(eng, ino);
        if (!r && outcome == WRITE_CROWDED)
            r = content_gather(eng, ino, w.from, w.to);
        tries.stale += outcome == WRITE_STALE;
        tries.crowded += outcome == WRITE_CROWDED;
    }
    write_free(&w);
    if (r)
        return r;
    COUNT(eng, writes, 1);
    COUNT(eng, bytes_written, size);
    if (ret_offset)
        *ret_offset = w.off;
    return (ssize_t)size;
}

static ssize_t do_write(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t offset,
                        bool append, uint64_t *ret_offset)
{
    if (!eng || (!buf && size))
        return -EINVAL;
    struct full_disk_try change = {.size = size};
    ssize_t n;
    int r;
    do {
        n = write_once(eng, ino, buf, size, offset, append, ret_offset);
        r = n < 0 ? (int)n : 0;
    } while (full_disk_again(eng, &change, &r));
    return r ? r : n;
}

ssize_t eng_write(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t offset)
{
    return do_write(eng, ino, buf, size, offset, false, NULL);
}

ssize_t eng_append(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t *ret_offset)
{
    return do_write(eng, ino, buf, size, 0, true, ret_offset);
}

/*
 * content.c - reading and writing file content.
 *
 * A reader takes the inode's generation and locators together, pins the segments, compares the generation
 * once more and only then reads (I2): what it reads was current when the pins were in place, and cannot go
 * away (I1). In a view that does not change (view.h) there is nothing to compare. Every byte is verified
 * before it is handed out (I6). */
#include "tree/content.h"

#include "commit/commit.h"
#include "core/damage.h"
#include "index/extents.h"
#include "tree/attr.h"
#include "tree/tails.h"
#include "upkeep/full_disk.h"

#include <limits.h>

#define WRITE_MAX (16u << 20)
#define WHENCE_DATA 3 /* SEEK_DATA and SEEK_HOLE */
#define WHENCE_HOLE 4
#define READ_TRIES 8u                /* then the reader pins within the section */
#define READ_PIECES 1024u            /* extents looked up in one section: more are read in slices */
#define MERGE_EXTENT_MAX (64u << 10) /* larger tail extents are not merged any further */
#define MERGE_RUN 7u /* that many tail extents of a size class are merged with the next append */

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
};

static void pieces_init(struct pieces *ps)
{
    ps->p = ps->on_stack;
    ps->n = 0;
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

/* In a section of the view: locators of [off, off + size), cut at the end of the file or after READ_PIECES of
 * them, and the generation. */
static int collect(const struct index *idx, uint64_t ino, uint64_t off, size_t size, struct pieces *ps)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    ps->n = 0;
    if (!inode)
        return -ESTALE;
    if (!S_ISREG(inode->mode))
        return S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
    ps->generation = inode->generation;
    ps->version = inode->version;
    ps->more = false;
    ps->size = off < inode->size ? MIN_OF((uint64_t)size, inode->size - off) : 0;
    uint64_t at = off, loc_off;
    struct locator loc;
    int r = 0;
    while (at < off + ps->size && (r = index_extent(idx, ino_slot(ino), at, &loc_off, &loc)) == 0 &&
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
    bool same = inode && inode->generation == generation;
    view_end(view);
    return same;
}

/* Collects and pins until both belong to one generation (I2); in a view that does not change they do. */
static int collect_and_pin(const struct view *view, uint64_t ino, uint64_t off, size_t size,
                           struct pieces *ps)
{
    struct eng *eng = view->eng;
    for (unsigned tries = 1;; tries++) {
        bool keep = tries > READ_TRIES; /* a file that is rewritten all the time: pin within the section */
        view_begin(view);
        int r = collect(view->idx, ino, off, size, ps);
        if (keep && !r)
            r = pin(eng, ps);
        view_end(view);
        if (r || keep)
            return r;
        fault_point(&eng->hook, FP_READ_COLLECTED);
        r = pin(eng, ps);
        if (r && r != -ENOENT)
            return r;
        fault_point(&eng->hook, FP_READ_PINNED);
        bool same = !view->lock || MUTANT(NO_GENERATION) || same_generation(view, ino, ps->generation);
        if (same)
            return r; /* -ENOENT: a segment that is still named is missing */
        if (!r)
            unpin(ps);
        COUNT(eng, read_restarts, 1);
    }
}

/* What the caller gets if collecting and pinning failed with r. */
static int pin_error(struct eng *eng, uint64_t ino, const struct pieces *ps, int r)
{
    if (r == -ENOENT && ps->n) {
        const struct piece *missing = &ps->p[ps->missing];
        damage_record(eng, ino, missing->off, &missing->loc, "segment is missing");
        return -EIO;
    }
    if (r == -EACCES || r == -EPERM) /* another file system, or other rights: no damage */
        return report_store_error(&eng->report, "reading", r);
    return r;
}

/* Reads the first `len` bytes from `skip` on of the piece. */
static int read_piece(struct eng *eng, uint64_t ino, const struct piece *p, uint32_t skip, uint32_t len,
                      uint8_t *buf)
{
    int r = segment_read(p->seg, eng->io->ops, ino, p->off, &p->loc, skip, len, buf);
    if (r == -EIO)
        (void)report_store_error(&eng->report, "reading", r);
    if (r != -EBADMSG && r != -EIO)
        return r;
    damage_record(eng, ino, p->off, &p->loc, r == -EIO ? "read error" : "checksum mismatch");
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
        r = pin_error(view->eng, ino, &ps, r);
    uint64_t at = off, end = off + (r ? 0 : ps.size);
    assert(buf || (!ps.n && at == end)); /* a read of nothing */
    for (size_t i = 0; i < ps.n && !r; i++) {
        const struct piece *p = &ps.p[i];
        uint64_t from = MAX_OF(p->off, off), to = MIN_OF(p->off + p->loc.len, end);
        memset((uint8_t *)buf + (at - off), 0, from - at); /* a hole */
        r = read_piece(view->eng, ino, p, (uint32_t)(from - p->off), (uint32_t)(to - from),
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

struct seeking {
    uint64_t offset, at; /* where it began, and has come to */
    int whence;
    bool found;
};

/* One slice of looking. */
static int seek(const struct view *view, uint64_t ino, struct seeking *s)
{
    const struct index *idx = view->idx;
    const struct inode_rec *inode = index_inode(idx, ino);
    int r;
    if (!inode)
        return -ESTALE;
    if (s->offset >= inode->size)
        return -ENXIO;
    s->found = true;
    if (s->whence == WHENCE_DATA)
        r = seek_data(idx, ino_slot(ino), s->at, &s->at);
    else
        r = extents_run(idx, ino_slot(ino), s->at, eng_slice(view->eng), &s->at, &s->found);
    if (!r && s->at >= inode->size) { /* the end, or what a truncation has left behind it */
        r = s->whence == WHENCE_DATA ? -ENXIO : 0;
        s->at = inode->size;
        s->found = true;
    }
    return r;
}

int content_seek(const struct view *view, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset)
{
    struct seeking s = {.offset = offset, .at = offset, .whence = whence};
    int r = whence == WHENCE_DATA || whence == WHENCE_HOLE ? 0 : -EINVAL;
    while (!r && !s.found) {
        view_begin(view);
        r = seek(view, ino, &s);
        view_end(view);
        if (!r && !s.found)
            fault_point(&view->eng->hook, FP_SEEK_SLICE);
    }
    if (!r)
        *ret_offset = s.at;
    return r;
}

int eng_seek(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset)
{
    if (!eng || !ret_offset)
        return -EINVAL;
    struct view live = view_live(eng);
    return content_seek(&live, ino, offset, whence, ret_offset);
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

/* Coarse logarithm of a size: extents of one class differ by less than a factor of 8. */
static unsigned size_class(uint64_t len)
{
    return (63u - (unsigned)__builtin_clzll(len | 1)) / 3;
}

/*
 * Where an append of `size` bytes at `end` should begin, so that it takes a run of small extents at the tail
 * along: as in a log-structured merge tree with fan-out 8, each byte is written about log8(n) times, and few
 * small extents are left. */
static uint64_t merge_from(const struct index *idx, uint32_t slot, uint64_t end, size_t size)
{
    uint64_t from = end, at = end, off;
    unsigned run = 0;
    struct locator loc;
    while (at > 0 && index_extent(idx, slot, at - 1, &off, &loc) == 0 && off + loc.len == at) {
        uint64_t total = end - off + size;
        if (loc.len > MERGE_EXTENT_MAX || total > EXTENT_MAX ||
            size_class(loc.len) > size_class(end - from + size))
            break;
        at = off;
        if (++run >= MERGE_RUN) {
            from = at;
            run = 0;
        }
    }
    return from;
}

/* A write, and what of it is made before log.lock is taken. */
struct write {
    uint64_t ino;
    const void *buf;
    size_t size;
    bool append;
    uint64_t off;     /* of an append: where it goes as far as is known */
    uint64_t from;    /* its extents begin here: below off, they hold the small ones at the tail, too */
    uint64_t version; /* of the file, of which the tail was read */
    uint8_t *merged;  /* that tail and buf. NULL: buf alone */
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

/* Reads what the write takes along. What cannot be read stays where it is. */
static void read_tail(const struct view *view, struct write *w)
{
    size_t old = (size_t)(w->off - w->from);
    ssize_t n = 0;
    w->merged = malloc(old + w->size);
    if (w->merged && !content_read_range(view, w->ino, w->merged, old, w->from, &n) && (size_t)n == old) {
        memcpy(w->merged + old, w->buf, w->size);
        return;
    }
    free(w->merged);
    w->merged = NULL;
    w->from = w->off;
}

/* Finds out where the write goes and what it takes along, and encodes that. Under log.lock or not: without it
 * the file may change before the write is staged (write_fits()). */
static int write_draft(struct eng *eng, struct write *w)
{
    struct view live = view_live(eng);
    char path[EXTENT_NAME_MAX + 1];
    uint32_t path_len = 0;
    draft_reset(&w->draft);
    free(w->merged);
    w->merged = NULL;
    view_begin(&live);
    const struct inode_rec *inode = index_inode(live.idx, w->ino);
    int r = check_file(inode);
    if (!r) {
        w->version = inode->version;
        w->off = w->append ? inode->size : w->off;
        w->from = w->off;
        if (w->off == inode->size && w->size && w->size < MERGE_EXTENT_MAX)
            w->from = merge_from(live.idx, ino_slot(w->ino), w->off, w->size);
        if (!w->from)
            path_len = (uint32_t)index_path(live.idx, ino_slot(w->ino), path, EXTENT_NAME_MAX);
    }
    view_end(&live);
    if (r)
        return r;
    if (w->from < w->off)
        read_tail(&live, w);
    if (w->merged)
        return content_draft(&w->draft, w->merged, (size_t)(w->off - w->from) + w->size, path, path_len);
    return content_draft(&w->draft, w->buf, w->size, path, w->off ? 0 : path_len);
}

/* What a write has come to; all but the first begin again. */
enum write_outcome {
    WRITE_DONE,
    WRITE_STALE,  /* the file has changed since the draft was made */
    WRITE_BLOCKED /* the file would grow over more of its tail than one batch frees */
};

/* Under log.lock: whether the draft is right for what the file is now. */
static int write_fits(struct eng *eng, struct write *w, enum write_outcome *ret_outcome)
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
     * changed, and that is filled in now; but the path hint goes with offset 0. */
    bool fits = w->merged ? inode->version == w->version || MUTANT(STALE_DRAFT) : !off == !w->off;
    *ret_outcome = fits ? WRITE_DONE : WRITE_STALE;
    if (fits && tail_in_way(eng, w->ino, end))
        *ret_outcome = WRITE_BLOCKED;
    if (fits && !w->merged)
        w->off = w->from = off;
    return 0;
}

#define DRAFT_TRIES 3u /* then it is made under log.lock, with what it reads and hashes */

static int write_try(struct eng *eng, struct write *w, bool locked, enum write_outcome *ret_outcome)
{
    CLEANUP_TXN struct txn txn = {0};
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
        r = write_fits(eng, w, ret_outcome);
    if (!r && w->size && *ret_outcome == WRITE_DONE) {
        r = content_stage(&txn, &w->draft, 0, w->draft.n, w->ino, w->from, now_ns());
        if (!r)
            r = commit_txn(eng, &txn);
    }
    commit_end(eng);
    return r;
}

static ssize_t write_once(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t offset,
                          bool append, uint64_t *ret_offset)
{
    struct write w = {.ino = ino, .buf = buf, .size = size, .append = append, .off = offset};
    enum write_outcome outcome = WRITE_STALE;
    int r = size > WRITE_MAX ? -EINVAL : 0;
    for (unsigned stale = 0; !r && outcome != WRITE_DONE;) {
        r = write_try(eng, &w, stale >= DRAFT_TRIES || MUTANT(LATE_DRAFT), &outcome);
        if (!r && outcome == WRITE_BLOCKED)
            r = commit_tail(eng, ino);
        stale += outcome == WRITE_STALE;
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

/* ---- holes -------------------------------------------------------------------- */

/* A call of eng_fallocate(), which takes as many batches as there are slices to a hole. */
struct falloc {
    uint64_t ino, off, end; /* off: up to here it is done */
    unsigned flags;
    bool done, blocked; /* blocked: by the file's tail */
};

static int stage_hole(struct eng *eng, struct txn *txn, struct falloc *f, int64_t now)
{
    uint64_t end = f->end;
    uint32_t n;
    int r = extents_count(&eng->idx, ino_slot(f->ino), f->off, f->end, eng_slice(eng), &n, &end);
    struct op *op = r ? NULL : txn_op(txn, OP_PUNCH);
    if (!op)
        return r ? r : -ENOMEM;
    op->ino = f->ino;
    op->off = f->off;
    op->len = end - f->off;
    op->time = now;
    txn->n_freed += n;
    f->off = end;
    return 0;
}

static int stage_falloc(struct eng *eng, struct txn *txn, struct falloc *f)
{
    const struct inode_rec *inode = index_inode(&eng->idx, f->ino);
    int64_t now = now_ns();
    struct op *op;
    int r = 0;
    if (f->flags & (ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_ZERO_RANGE))
        r = stage_hole(eng, txn, f, now);
    else
        f->off = f->end;
    f->done = f->off == f->end;
    if (r || !f->done)
        return r;
    if (!(f->flags & ENG_FALLOC_KEEP_SIZE) && f->end > inode->size) {
        if (!(op = txn_op(txn, OP_TRUNCATE)))
            return -ENOMEM;
        op->ino = f->ino;
        op->len = f->end;
        op->time = now;
    }
    if (!txn->n_ops) { /* nothing to do on a log, but whoever asked changed the file, as anywhere else */
        if (!(op = txn_op(txn, OP_ATTR)))
            return -ENOMEM;
        op->ino = f->ino;
        op->mask = ENG_SET_MTIME;
        op->mtime = op->ctime = now;
    }
    return 0;
}

/* One batch of it. */
static int falloc_step(struct eng *eng, struct falloc *f)
{
    CLEANUP_TXN struct txn txn = {0};
    struct falloc next = *f;
    int r = commit_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(&eng->idx, f->ino);
    if (!inode)
        r = -ESTALE;
    else if (!S_ISREG(inode->mode))
        r = S_ISDIR(inode->mode) ? -EISDIR : -ENODEV;
    next.blocked = !(f->flags & ENG_FALLOC_KEEP_SIZE) && tail_in_way(eng, f->ino, f->end);
    if (!r && !next.blocked)
        r = stage_falloc(eng, &txn, &next);
    if (!r && !next.blocked)
        r = commit_txn(eng, &txn);
    if (!r)
        *f = next;
    commit_end(eng);
    return r;
}

int eng_fallocate(struct eng *eng, uint64_t ino, unsigned flags, uint64_t offset, uint64_t len)
{
    if (!eng)
        return -EINVAL;
    struct falloc f = {.ino = ino, .off = offset, .flags = flags};
    unsigned mode = flags & ~(unsigned)ENG_FALLOC_KEEP_SIZE;
    if (mode != 0 && mode != ENG_FALLOC_ZERO_RANGE && flags != (ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE))
        return -EOPNOTSUPP;
    if (!len)
        return -EINVAL;
    if (__builtin_add_overflow(offset, len, &f.end) || f.end > ENG_FILE_SIZE_MAX)
        return -EFBIG;
    struct full_disk_try change = {.removing = flags & ENG_FALLOC_PUNCH_HOLE};
    int r;
    do {
        r = falloc_step(eng, &f);
        if (!r && f.blocked)
            r = commit_tail(eng, ino);
    } while (full_disk_again(eng, &change, &r) || (!r && !f.done));
    return r;
}

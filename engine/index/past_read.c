/*
 * past_read.c - see past_read.h.
 *
 * From the state itself to newer ones up to the head, each is gone through once, by one scan of what it has
 * in the range: that closes what is open, until nothing is. Where it has a leap (leaps.h) what was open waits
 * until that leads to the present state. */
#include "index/past_read.h"

#include "index/extents.h"
#include "index/xattr_list.h"

#include "base/fault.h"
#include "base/util.h"

#include <stdlib.h>

uint32_t past_at(const struct index *idx, uint32_t head, uint64_t at)
{
    const struct inode_rec *inode = index_slot(idx, head);
    uint64_t left = idx->s.n_past;
    if (!inode || past_head_begin(idx, inode) <= at)
        return inode ? head : 0;
    for (uint32_t slot = inode->past; slot && left--; slot = inode->past) {
        inode = index_slot(idx, slot);
        if (!inode)
            return 0;
        if (!(inode->flags & INODE_GOING) && past_begin(inode) <= at)
            return slot;
    }
    return 0;
}

/* ---- the line --------------------------------------------------------------- */

/* Past states from the newest one to that which is read. */
struct line {
    uint32_t head, *slots, on_stack[64];
    size_t n, cap;
    const struct past_room *room; /* NULL: it takes memory */
};

static void line_free(struct line *line)
{
    if (line->slots != line->on_stack && !line->room)
        free(line->slots);
}

static int line_add(struct line *line, uint32_t slot)
{
    if (line->n == line->cap && line->room)
        return -ENOMEM;
    if (line->n == line->cap) {
        uint32_t *slots = calloc(2 * line->cap, sizeof *slots);
        if (!slots)
            return -ENOMEM;
        memcpy(slots, line->slots, line->n * sizeof *slots);
        line_free(line);
        line->slots = slots;
        line->cap *= 2;
    }
    line->slots[line->n++] = slot;
    return 0;
}

static int line_in(const struct index *idx, uint32_t slot, struct line *line, const struct past_room *room)
{
    const struct inode_rec *at = index_slot(idx, slot);
    line->room = room;
    line->slots = room ? room->slots : line->on_stack;
    line->cap = room ? room->n : ARRAY_LEN(line->on_stack);
    line->n = 0;
    if (!at || !(at->flags & INODE_PAST))
        return -ESTALE;
    line->head = past_head(at);
    at = index_slot(idx, line->head);
    for (uint32_t i = at ? at->past : 0; at; i = at->past) {
        at = index_slot(idx, i);
        if (!at || line->n > idx->s.n_past)
            break;
        int r = line_add(line, i);
        if (r || i == slot)
            return r;
    }
    return -EBADMSG;
}

static int line_to(const struct index *idx, uint32_t slot, struct line *line)
{
    return line_in(idx, slot, line, NULL);
}

/* The k-th of the line, counted from the newest past state; before that one the head. */
static const struct inode_rec *line_at(const struct index *idx, const struct line *line, size_t k)
{
    return index_slot(idx, k ? line->slots[k - 1] : line->head);
}

/* ---- xattrs --------------------------------------------------------------------- */

int past_xattr(const struct index *idx, uint32_t slot, const char *name, size_t len,
               struct xattr_view *ret_view)
{
    struct line line;
    int r = line_to(idx, slot, &line);
    uint32_t x = 0;
    for (size_t k = line.n + 1; k-- > 0 && !r && !x;)
        x = index_find_xattr(idx, line_at(idx, &line, k), name, len);
    line_free(&line);
    if (r || !x)
        return r ? r : 1;
    return index_xattr(idx, x, ret_view) ? ret_view->is_absent : -EBADMSG;
}

/* Whether a state from the k-th on, in the direction of older ones, has one of that name. */
static bool older_has(const struct index *idx, const struct line *line, size_t k,
                      const struct xattr_view *view)
{
    for (; k <= line->n; k++)
        if (index_find_xattr(idx, line_at(idx, line, k), view->name, view->name_len))
            return true;
    return false;
}

int past_xattrs(const struct index *idx, uint32_t slot, int (*emit)(void *arg, const struct xattr_view *view),
                void *arg)
{
    struct xattr_names names;
    struct line line;
    int r = line_to(idx, slot, &line);
    xattr_names_none(&names);
    for (size_t k = line.n + 1; k-- > 0 && !r;) {
        const struct inode_rec *inode = line_at(idx, &line, k);
        struct xattr_walk walk = {.next = inode->xattrs};
        while (!r && index_next_xattr(idx, &walk)) {
            const struct xattr_view *view = &walk.xattr;
            bool hidden = xattr_names_may_have(&names, view) && older_has(idx, &line, k + 1, view);
            r = hidden || view->is_absent ? 0 : emit(arg, view);
        }
        xattr_names_add(idx, inode, &names);
    }
    line_free(&line);
    return r;
}

/* ---- reading ---------------------------------------------------------------------- */

#define SPANS_MAX 512u

struct spans {
    unsigned n;
    struct span {
        uint64_t off, end;
    } at[SPANS_MAX];
};

/* What is as the first state behind that number has it. */
struct wait {
    struct span span;
    uint32_t number;
};

struct reading {
    const struct index *idx;
    struct spans spans[2], *open, *left; /* what is open, and what a pass leaves of it; both in order */
    struct wait waits[SPANS_MAX];        /* in no order */
    unsigned n_waits;
    uint32_t slot; /* of the state that is gone through */
    unsigned i;    /* of the open ones: where the pass is, */
    uint64_t from; /* and what of that one it has not come to */
    struct past_piece *pieces;
    size_t n, max;
    bool is_full;
    bool newer_only; /* what the state itself has is passed over */
};

static void reading_begin(struct reading *rd, const struct index *idx, struct past_piece *pieces, size_t max)
{
    rd->idx = idx;
    rd->open = &rd->spans[0];
    rd->left = &rd->spans[1];
    rd->pieces = pieces;
    rd->n = 0;
    rd->max = max;
    rd->is_full = rd->newer_only = false;
}

/* [off, end) is open. */
static void reading_open(struct reading *rd, uint64_t off, uint64_t end)
{
    rd->is_full = false;
    rd->n = rd->n_waits = 0;
    rd->open->n = 1;
    rd->open->at[0] = (struct span){off, end};
}

static void leave(struct reading *rd, uint64_t off, uint64_t end)
{
    if (off >= end)
        return;
    if (rd->left->n == SPANS_MAX)
        rd->is_full = true;
    else
        rd->left->at[rd->left->n++] = (struct span){off, end};
}

static void next_span(struct reading *rd)
{
    rd->i++;
    rd->from = rd->i < rd->open->n ? rd->open->at[rd->i].off : 0;
}

static void pass_begin(struct reading *rd)
{
    rd->i = UINT32_MAX;
    rd->left->n = 0;
    next_span(rd);
}

static void pass_end(struct reading *rd)
{
    for (; rd->i < rd->open->n; next_span(rd))
        leave(rd, rd->from, rd->open->at[rd->i].end);
    struct spans *left = rd->left;
    rd->left = rd->open;
    rd->open = left;
}

static void found(struct reading *rd, uint64_t off, const struct locator *loc)
{
    bool waits = past_leap(loc);
    if (waits ? rd->n_waits == SPANS_MAX : rd->n == rd->max)
        rd->is_full = true;
    else if (waits)
        rd->waits[rd->n_waits++] = (struct wait){{off, off + loc->len}, past_leap(loc)};
    else
        rd->pieces[rd->n++] = (struct past_piece){off, *loc, rd->slot};
}

/* What of [off, end), which follows all that the pass has met, is open is closed. `loc` lies at off, or leads
 * on from there; NULL: there are zeros. */
static void settle(struct reading *rd, uint64_t off, uint64_t end, const struct locator *loc)
{
    for (; rd->i < rd->open->n && rd->from < end; next_span(rd)) {
        const struct span *span = &rd->open->at[rd->i];
        uint64_t lo = MAX_OF(rd->from, off), hi = MIN_OF(span->end, end);
        leave(rd, rd->from, MIN_OF(lo, span->end));
        if (lo < hi && loc) {
            struct locator part = locator_part(loc, lo - off, hi - lo);
            found(rd, lo, &part);
        }
        rd->from = MAX_OF(hi, rd->from);
        if (end < span->end) /* the rest of it is met later */
            return;
    }
}

static int settle_entry(void *arg, uint64_t off, const struct locator *loc)
{
    struct reading *rd = arg;
    settle(rd, off, off + loc->len, past_is_hole(loc) ? NULL : loc);
    return rd->i >= rd->open->n || rd->is_full;
}

/* What an inode of the line has in what is open. */
static int read_from(struct reading *rd, uint32_t slot)
{
    if (!rd->open->n)
        return 0;
    uint64_t end = rd->open->at[rd->open->n - 1].end;
    if (!inode_n_extents(index_slot(rd->idx, slot)))
        return 0;
    rd->slot = slot;
    pass_begin(rd);
    int r = extents_scan_into(rd->idx, slot, rd->open->at[0].off, end, settle_entry, rd);
    if (rd->i || rd->left->n || rd->from != rd->open->at[0].off) /* else it has met nothing */
        pass_end(rd);
    return MIN_OF(r, 0);
}

/* What is open from there on is closed. */
static void zeros_behind(struct spans *open, uint64_t off)
{
    while (open->n && open->at[open->n - 1].off >= off)
        open->n--;
    if (open->n)
        open->at[open->n - 1].end = MIN_OF(open->at[open->n - 1].end, off);
}

/* The same up to `end`. */
static void zeros_between(struct reading *rd, uint64_t off, uint64_t end)
{
    if (off >= end || !rd->open->n)
        return;
    pass_begin(rd);
    settle(rd, off, end, NULL);
    pass_end(rd);
}

/* In its place among what is open, which it does not overlap. */
static void open_again(struct reading *rd, const struct span *span)
{
    struct spans *open = rd->open;
    unsigned i = open->n;
    if (open->n == SPANS_MAX) {
        rd->is_full = true;
        return;
    }
    for (; i > 0 && open->at[i - 1].off > span->off; i--)
        open->at[i] = open->at[i - 1];
    open->at[i] = *span;
    open->n++;
}

/* What waits for the past state, or the head, or one before it. */
static void land(struct reading *rd, const struct inode_rec *at)
{
    unsigned n = 0;
    for (unsigned i = 0; i < rd->n_waits; i++) {
        const struct wait *wait = &rd->waits[i];
        bool is_over = at->flags & INODE_PAST && past_number(at) <= wait->number;
        if (is_over && !MUTANT(LEAP_TOO_SHORT))
            rd->waits[n++] = *wait;
        else
            open_again(rd, &wait->span);
    }
    rd->n_waits = n;
}

static int read_line(struct reading *rd, const struct line *line)
{
    const struct inode_rec *head = line_at(rd->idx, line, 0);
    bool tail = false; /* what is open behind the head's size is in its tail */
    int r = 0;
    for (size_t k = line->n; k-- > 0 && (rd->open->n || rd->n_waits) && !r && !rd->is_full;) {
        const struct inode_rec *at = index_slot(rd->idx, line->slots[k]);
        land(rd, at);
        r = rd->newer_only && k == line->n - 1 ? 0 : read_from(rd, line->slots[k]);
        if (MUTANT(WRONG_NEIGHBOUR))
            k = 0;
        const struct inode_rec *newer = line_at(rd->idx, line, k);
        uint64_t reach = past_reach(at);
        if (at->flags & INODE_PAST_TAIL && !MUTANT(TAIL_IS_DEAD)) {
            zeros_behind(rd->open, reach);
            tail = true;
        }
        if (!tail)
            zeros_behind(rd->open, MIN_OF(newer->size, reach));
        else if (!MUTANT(TAIL_IS_LIVE))
            zeros_between(rd, MIN_OF(newer->size, reach), head->size);
    }
    land(rd, head);
    return r || !rd->open->n || rd->is_full ? r : read_from(rd, line->head);
}

static int by_offset(const void *a, const void *b)
{
    const struct past_piece *x = a, *y = b;
    return (x->off > y->off) - (x->off < y->off);
}

int past_read_in(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end,
                 struct past_piece *pieces, size_t max, size_t *ret_n, uint64_t *ret_end,
                 const struct past_room *room)
{
    struct reading rd;
    struct line line;
    int r = line_in(idx, slot, &line, room);
    reading_begin(&rd, idx, pieces, max);
    end = r ? off : MIN_OF(end, index_slot(idx, slot)->size);
    if (!r && off < end && S_ISREG(index_slot(idx, slot)->mode)) {
        do { /* in a smaller range there are fewer */
            end = rd.is_full ? off + (end - off) / 2 : end;
            reading_open(&rd, off, end);
            r = read_line(&rd, &line);
        } while (!r && rd.is_full);
        qsort(pieces, rd.n, sizeof *pieces, by_offset);
    }
    line_free(&line);
    *ret_n = r ? 0 : rd.n;
    *ret_end = MAX_OF(off, end);
    return r;
}

int past_read(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end, struct past_piece *pieces,
              size_t max, size_t *ret_n, uint64_t *ret_end)
{
    return past_read_in(idx, slot, off, end, pieces, max, ret_n, ret_end, NULL);
}

#define COUNTED_PIECES 64u

/* What all states of the line have, from the head to that which is read. */
static uint64_t line_bytes(const struct index *idx, const struct line *line)
{
    uint64_t bytes = 0;
    for (size_t k = 0; k <= line->n; k++)
        bytes += inode_bytes(line_at(idx, line, k));
    return bytes;
}

uint64_t past_payload(const struct index *idx, uint32_t slot)
{
    struct past_piece pieces[COUNTED_PIECES];
    struct reading rd;
    struct line line;
    int r = line_to(idx, slot, &line);
    uint64_t size = r ? 0 : index_slot(idx, slot)->size, bytes = 0;
    reading_begin(&rd, idx, pieces, ARRAY_LEN(pieces));
    reading_open(&rd, 0, size);
    if (size)
        r = read_line(&rd, &line);
    for (size_t i = 0; i < rd.n; i++)
        bytes += pieces[i].loc.len;
    if (!r && rd.is_full)
        bytes = MIN_OF(line_bytes(idx, &line), size - MIN_OF(size, (uint64_t)BLOCK_SIZE));
    line_free(&line);
    return r ? size : bytes;
}

int past_hides(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end)
{
    struct past_piece first;
    struct reading rd;
    struct line line;
    int r = line_to(idx, slot, &line);
    reading_begin(&rd, idx, &first, 1);
    rd.newer_only = true;
    end = r ? off : MIN_OF(end, index_slot(idx, slot)->size);
    for (uint64_t stop = end; off < end && !r && !rd.n;) {
        reading_open(&rd, off, stop);
        r = read_line(&rd, &line);
        bool again = rd.is_full && !rd.n; /* with fewer that are open at once */
        off = again ? off : stop;
        stop = again ? off + (stop - off) / 2 : end;
    }
    line_free(&line);
    return r ? r : rd.n > 0;
}

int past_seek(const struct index *idx, uint32_t slot, uint64_t end, bool hole, uint64_t *at, bool *ret_found)
{
    struct past_piece pieces[64];
    uint64_t stop;
    size_t n, i = 0;
    int r = past_read(idx, slot, *at, end, pieces, ARRAY_LEN(pieces), &n, &stop);
    *ret_found = false;
    if (r)
        return r;
    while (hole && i < n && pieces[i].off == *at)
        *at += pieces[i++].loc.len;
    if (!hole)
        *at = n ? pieces[0].off : stop;
    *ret_found = hole ? *at < stop : n > 0;
    return 0;
}

/* ---- who has it ------------------------------------------------------------------- */

static bool is_of(const struct locator *whole, const struct locator *part)
{
    return whole->seg == part->seg && whole->off8 == part->off8 && whole->skip <= part->skip &&
           part->skip + part->len <= whole->skip + whole->len;
}

static bool holds(const struct index *idx, uint32_t slot, struct past_piece *piece)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    struct past_piece whole = {.slot = slot};
    if (piece->off != EXTENT_XATTR_OFF) {
        bool found = index_extent(idx, slot, piece->off, &whole.off, &whole.loc) == 0 &&
                     whole.off <= piece->off && is_of(&whole.loc, &piece->loc);
        *piece = found ? whole : *piece;
        return found;
    }
    struct xattr_walk walk = {.next = inode->xattrs};
    while (index_next_xattr(idx, &walk))
        if (walk.xattr.is_extent && locator_equal(&walk.xattr.loc, &piece->loc))
            return true;
    return false;
}

uint64_t past_holder(const struct index *idx, uint32_t head, struct past_piece *piece)
{
    uint64_t left = idx->s.n_past + 1;
    const struct inode_rec *inode;
    for (uint32_t slot = head; left-- && (inode = index_slot(idx, slot)); slot = inode->past)
        if (holds(idx, slot, piece))
            return index_ino(inode, slot);
    return 0;
}

/*
 * past.c - see past.h. */
#include "index/past.h"

#include "index/extents.h"
#include "index/leaps.h"
#include "index/past_read.h"
#include "index/xattr_list.h"

#include "base/fault.h"
#include "base/util.h"

#include <string.h>

/* ---- holes ------------------------------------------------------------------ */

static int put_hole(struct index *idx, uint32_t slot, uint64_t off, uint64_t end)
{
    int r = 0;
    while (off < end && !r && !MUTANT(HOLE_UNMARKED)) {
        const struct locator hole = {.len = (uint32_t)MIN_OF(end - off, (uint64_t)UINT32_MAX)};
        r = extents_put(idx, slot, off, &hole);
        off += hole.len;
    }
    return r;
}

/* What of [off, end) the past state has no entry for is a hole. */
static int note_holes(struct index *idx, uint32_t slot, uint64_t off, uint64_t end)
{
    uint64_t at;
    struct locator loc;
    while (off < end) {
        int r = index_extent(idx, slot, off, &at, &loc);
        uint64_t gap = r ? end : MIN_OF(at, end);
        if (r < 0)
            return r;
        if (off < gap && put_hole(idx, slot, off, gap) != 0)
            return -EBADMSG;
        off = r ? end : at + loc.len;
    }
    return 0;
}

/* Whether what is newer has anything where the past state has a hole, or would get one: else nobody needs it.
 * Without memory it stays, which shows the same. */
static int hole_hides(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end)
{
    int r = MUTANT(HOLES_STAY) ? 1 : past_hides(idx, slot, off, end);
    if (r == -ENOMEM)
        return 1;
    return r < 0 ? -EBADMSG : r;
}

/* Below the hole something went: if that was the last, so does the hole, else what comes and goes in a file
 * would become ever more of them in a state that stays. It goes whole, so that none is cut in two. */
static int forget_hole(struct index *idx, uint32_t slot, uint64_t off, const struct locator *hole,
                       uint64_t seq)
{
    int r = hole_hides(idx, slot, off, off + hole->len);
    return r ? MIN_OF(r, 0) : extents_punch(idx, slot, off, hole->len, seq);
}

/* ---- from one state to an older one ----------------------------------------------- */

/* What goes from an inode to a past state, as far as that has no entry there and reads what is newer; the
 * rest is freed. */
struct transfer {
    struct index *idx;
    uint32_t from, to;
    uint64_t reach; /* of `to` */
    bool holes;     /* where `from` has nothing `to` gets a hole */
    bool leaps;     /* older states may have leaps */
    uint64_t seq;
};

static struct transfer transfer_to(struct index *idx, uint32_t from, uint32_t to, uint64_t seq)
{
    const struct inode_rec *past = index_slot(idx, to);
    return (struct transfer){.idx = idx,
                             .from = from,
                             .to = to,
                             .reach = past ? past_reach(past) : 0,
                             .leaps = past && leaps_are_in(idx, past_head(past)),
                             .seq = seq};
}

/* The part goes to the state with a leap that leads to it, if there is one, else it is freed. */
static int transfer_away(const struct transfer *t, uint64_t at, const struct locator *loc, uint64_t off,
                         uint64_t end, uint32_t leaper)
{
    const struct leaps leaps = {t->idx, t->from, t->to};
    struct locator part = locator_part(loc, off - at, end - off);
    int r = extents_take_part(t->idx, t->from, at, loc, off, end, leaper ? 0 : t->seq);
    if (r || !leaper)
        return r;
    r = leaps_fill(t->idx, leaper, off, &part);
    return r ? r : leaps_turn(&leaps, off, end, leaper);
}

/* The part is the older state's, and leaps that led to it lead there. */
static int transfer_on(const struct transfer *t, uint64_t at, const struct locator *loc, uint64_t off,
                       uint64_t end, uint32_t leaper)
{
    const struct leaps leaps = {t->idx, t->from, t->to};
    struct locator part = locator_part(loc, off - at, end - off);
    int r = extents_take_part(t->idx, t->from, at, loc, off, end, 0); /* nothing died */
    if (!r && leaper)
        r = leaps_turn(&leaps, off, end, t->to);
    if (!r && past_leap(&part))
        return leaps_put(t->idx, t->to, off, end, past_leap(&part));
    if (!r)
        r = part.seg ? 1 : hole_hides(t->idx, t->to, off, end);
    return r <= 0 ? r : extents_put(t->idx, t->to, off, &part);
}

/* The part of the entry at `at` from `off` on that one thing is to be said about; it ends before *end. */
static int transfer_part(const struct transfer *t, uint64_t at, const struct locator *loc, uint64_t off,
                         uint64_t *end)
{
    const struct leaps leaps = {t->idx, t->from, t->to};
    uint32_t leaper = 0;
    uint64_t has;
    struct locator other;
    int r = index_extent(t->idx, t->to, off, &has, &other);
    if (r < 0)
        return r;
    bool is_there = !r && has <= off;
    if (!r)
        *end = MIN_OF(*end, is_there ? has + other.len : has);
    r = t->leaps ? leaps_find(&leaps, off, end, &leaper) : 0;
    if (r)
        return r;
    if (!is_there && off < t->reach)
        return transfer_on(t, at, loc, off, *end, leaper);
    r = transfer_away(t, at, loc, off, *end, leaper);
    return r || t->holes || !is_there || !past_is_hole(&other)
               ? r
               : forget_hole(t->idx, t->to, has, &other, t->seq);
}

static int transfer_range(const struct transfer *t, uint64_t off, uint64_t end)
{
    uint64_t at;
    struct locator loc;
    int r = 0;
    while (off < end && !r) {
        int found = index_extent(t->idx, t->from, off, &at, &loc);
        if (found < 0)
            return found;
        uint64_t gap = found ? end : MIN_OF(MAX_OF(at, off), end);
        r = t->holes && off < t->reach ? note_holes(t->idx, t->to, off, gap) : 0;
        off = gap;
        if (r || off >= end)
            break;
        uint64_t part = MIN_OF(at + loc.len, end);
        r = transfer_part(t, at, &loc, off, &part);
        off = part;
    }
    return r;
}

/* Behind the reach of the older state nobody reads it but by leaps. */
static int transfer(const struct transfer *t, uint64_t off, uint64_t end)
{
    uint64_t stop = MIN_OF(end, t->reach);
    int r = transfer_range(t, off, stop);
    off = MAX_OF(off, stop);
    if (r || off >= end)
        return r;
    return t->leaps ? transfer_range(t, off, end) : extents_punch(t->idx, t->from, off, end - off, t->seq);
}

uint32_t past_tail_owner(const struct index *idx, const struct inode_rec *head)
{
    uint32_t slot = head->flags & INODE_PAST_TAIL ? head->past : 0;
    const struct inode_rec *past = index_slot(idx, slot);
    uint64_t left = idx->s.n_past;
    while (past && !(past->flags & INODE_PAST_TAIL) && left--) {
        slot = past->past;
        past = index_slot(idx, slot);
    }
    return past && past->flags & INODE_PAST_TAIL ? slot : 0;
}

void past_begin_tail(struct index *idx, uint32_t slot)
{
    struct inode_rec *head = index_slot_mut(idx, slot), *newest = index_slot_mut(idx, head->past);
    if (!newest || past_reach(newest) <= head->size)
        return;
    head->flags |= INODE_PAST_TAIL;
    newest->flags |= INODE_PAST_TAIL;
}

void past_end_tail(struct index *idx, uint32_t slot)
{
    struct inode_rec *head = index_slot_mut(idx, slot),
                     *owner = index_slot_mut(idx, past_tail_owner(idx, head));
    if (owner)
        owner->flags &= ~(uint32_t)INODE_PAST_TAIL;
    head->flags &= ~(uint32_t)INODE_PAST_TAIL;
}

/* Of what a truncation has left. */
static int give_tail(struct index *idx, uint32_t slot, uint64_t off, uint64_t end, uint64_t seq)
{
    uint32_t owner = past_tail_owner(idx, index_slot(idx, slot));
    if (!owner)
        return extents_punch(idx, slot, off, end - off, seq);
    const struct transfer t = transfer_to(idx, slot, owner, seq);
    return transfer(&t, off, end);
}

/* Whether all of [off, end) that the newest past state reads is the one extent of the head, whole: as it is
 * where a small file is written anew. */
static bool gives_all(const struct inode_rec *head, const struct inode_rec *newest, uint64_t off,
                      uint64_t end)
{
    bool is_one = (head->flags & ~(uint32_t)INODE_AMENDED) == INODE_INLINE && head->nlink;
    bool has_none = newest->flags == INODE_PAST && !newest->extents.n && past_reach(newest) == newest->size;
    return is_one && has_none && off == 0 && head->first.seg && head->first.len <= end &&
           head->first.len <= newest->size && MIN_OF(end, newest->size) == head->first.len;
}

int past_give(struct index *idx, uint32_t slot, uint64_t off, uint64_t end, bool put, uint64_t seq)
{
    const struct inode_rec *head = index_slot(idx, slot);
    const struct inode_rec *newest = head ? index_slot(idx, head->past) : NULL;
    if (!newest)
        return -EBADMSG;
    if (MUTANT(AMEND_FREES) && past_end(newest) != seq)
        return extents_punch(idx, slot, off, end - off, seq);
    if (gives_all(head, newest, off, end)) {
        extents_hand_over(idx, slot, head->past);
        return 0;
    }
    struct transfer t = transfer_to(idx, slot, head->past, seq);
    t.holes = put;
    uint64_t edge = put ? end : MIN_OF(end, MAX_OF(off, head->size)); /* behind it is a tail */
    int r = off < edge ? transfer(&t, off, edge) : 0;
    return r || edge >= end ? r : give_tail(idx, slot, edge, end, seq);
}

/* ---- xattrs ------------------------------------------------------------------------------- */

/* One that is in no list comes to a past state. */
static void keep_xattr(struct index *idx, struct inode_rec *past, uint32_t handle,
                       const struct xattr_view *view)
{
    xattr_put(idx, past, handle);
    idx->n_taken++;
    if (view->is_extent)
        idx->s.past_live += view->loc.len;
}

/* One of a past state goes. */
static int free_past_xattr(struct index *idx, uint32_t handle, const struct xattr_view *view, uint64_t seq)
{
    if (view->is_extent && idx->s.past_live < view->loc.len)
        return -EBADMSG;
    idx->s.past_live -= view->is_extent ? view->loc.len : 0;
    return xattr_free(idx, handle, view, seq);
}

int past_give_xattr(struct index *idx, const struct inode_rec *head, uint32_t handle, bool gone, uint64_t seq)
{
    struct inode_rec *newest = index_slot_mut(idx, head->past);
    struct xattr_view view, own;
    if (!newest || !index_xattr(idx, handle, &view))
        return -EBADMSG;
    uint32_t before, has = index_find_xattr_behind(idx, newest, view.name, view.name_len, &before);
    if (!has) {
        keep_xattr(idx, newest, handle, &view);
        return 0;
    }
    int r = xattr_free(idx, handle, &view, seq);
    if (r || !gone || !index_xattr(idx, has, &own) || !own.is_absent)
        return r;
    xattr_take(idx, newest, before,
               &own); /* it is absent again where this one reads: nothing needs to say so */
    return free_past_xattr(idx, has, &own, seq);
}

void past_note_absent(struct index *idx, const struct inode_rec *head, const char *name, uint32_t name_len)
{
    struct inode_rec *newest = index_slot_mut(idx, head->past);
    const struct xattr_rec rec = {.name_len = (uint16_t)name_len, .flags = XATTR_ABSENT};
    if (newest && !index_find_xattr(idx, newest, name, name_len) && !MUTANT(ABSENT_UNMARKED))
        xattr_add(idx, newest, &rec, name, NULL);
}

/* What an older state reads of that name from the states [newer, head] on: whether it is a value. */
static bool newer_has(const struct index *idx, uint32_t newer, const struct inode_rec *past,
                      const struct xattr_view *view)
{
    uint32_t slot = past_head(past);
    const struct inode_rec *at = index_slot(idx, slot);
    struct xattr_view found;
    bool has = false;
    for (uint64_t left = idx->s.n_past + 1; at && left > 0; left--) {
        uint32_t x = index_find_xattr(idx, at, view->name, view->name_len);
        if (x && index_xattr(idx, x, &found))
            has = !found.is_absent;
        if (slot == newer)
            break;
        at = index_slot(idx, slot = at->past);
    }
    return has;
}

/* The older state has a record of that name, which the one that goes had, too: that it was not there need
 * not be said where nothing newer has it. Else such records would become ever more. */
static int forget_absent(struct index *idx, struct inode_rec *older, const struct xattr_view *view,
                         uint64_t seq)
{
    struct xattr_view own;
    uint32_t before, has = index_find_xattr_behind(idx, older, view->name, view->name_len, &before);
    if (!has || !index_xattr(idx, has, &own) || !own.is_absent || MUTANT(ABSENT_STAYS))
        return 0;
    xattr_take(idx, older, before, &own);
    return free_past_xattr(idx, has, &own, seq);
}

/* One xattr of a past state that is going: it is the older state's if that lacks it. */
static int transfer_xattr(struct index *idx, struct inode_rec *older, uint32_t x,
                          const struct xattr_view *view, bool lacks, bool is_said, uint64_t seq)
{
    if (lacks && !MUTANT(THIN_FREES) && (!view->is_absent || is_said)) {
        xattr_put(idx, older, x);
        return 0;
    }
    int r = older && !lacks && !is_said ? forget_absent(idx, older, view, seq) : 0;
    return r ? r : free_past_xattr(idx, x, view, seq);
}

/* All xattrs of a past state that is going, behind which comes `newer`. */
static int transfer_xattrs(struct index *idx, struct inode_rec *past, struct inode_rec *older, uint32_t newer,
                           uint64_t seq)
{
    struct xattr_names names;
    struct xattr_view view;
    int r = 0;
    uint32_t n = 0; /* a list that was not verified yet may loop */
    if (older && past->xattrs) {
        xattr_names_none(&names);
        xattr_names_add(idx, older, &names);
    }
    while (!r && past->xattrs) {
        uint32_t x = past->xattrs;
        if (n++ == XATTRS_MAX || !index_xattr(idx, x, &view))
            return -EBADMSG;
        bool lacks = older && (!xattr_names_may_have(&names, &view) ||
                               !index_find_xattr(idx, older, view.name, view.name_len));
        past->xattrs = view.next;
        r = transfer_xattr(idx, older, x, &view, lacks, !older || newer_has(idx, newer, past, &view), seq);
    }
    return r;
}

/* ---- states begin and end --------------------------------------------------------------- */

void past_amend(struct index *idx, const struct inode_rec *head, uint64_t seq)
{
    struct inode_rec *newest = index_slot_mut(idx, head->past);
    if (!newest || past_end(newest) == seq)
        return;
    past_set_end(newest, seq);
    idx->s.inexact = seq;
}

int past_keep(struct index *idx, const struct op *op, uint64_t seq)
{
    const struct inode_rec *head = index_inode(idx, op->ino);
    const struct inode_rec *newest = head ? index_slot(idx, head->past) : NULL;
    uint64_t begin = head ? past_head_begin(idx, head) : 0;
    uint32_t slot = ino_slot(op->past), number = newest ? past_number(newest) + 1 : 1;
    if (!head || begin >= seq || !number || index_claim(idx, op->past, true) != 0)
        return -EBADMSG;
    struct inode_rec *past = table_mut(&idx->inodes, slot), *live = index_slot_mut(idx, ino_slot(op->ino));
    *past = *live;
    past->reuse = (uint32_t)(op->past >> 32);
    past->flags = INODE_PAST;
    past->xattrs = 0;
    if (S_ISREG(past->mode) || S_ISLNK(past->mode)) /* of a device the number stays */
        past->first = (struct locator){0};
    past_set_begin(past, begin);
    past_set_end(past, seq);
    past_set_head(past, ino_slot(op->ino), number);
    live->past = slot;
    idx->s.n_past++;
    return 0;
}

/* ---- states go ---------------------------------------------------------------------------- */

static uint32_t *way_last(struct line_way *way)
{
    return &way->slots[(way->end - 1) % LINE_WAY];
}

/* The next newer one by the way that was gone last, 0: it does not lead there. */
static uint32_t newer_on_way(struct index *idx, uint32_t slot, uint32_t head)
{
    struct line_way *way = &idx->way;
    if (way->head != head || MUTANT(WAY_FORGOTTEN))
        way->n = 0;
    for (; way->n; way->n--, way->end--) {
        uint32_t newer = *way_last(way);
        const struct inode_rec *at = index_slot(idx, newer);
        bool is_of_line = at && (newer == head || (at->flags & INODE_PAST && past_head(at) == head));
        if (is_of_line && at->past == slot)
            return newer;
    }
    return 0;
}

/* The state that is next newer than the past one in `slot`, perhaps the head; 0: the line is broken. */
static uint32_t next_newer(struct index *idx, uint32_t slot)
{
    const struct inode_rec *at = index_slot(idx, slot);
    uint32_t head = at ? past_head(at) : 0, newer = newer_on_way(idx, slot, head);
    if (newer)
        return newer;
    struct line_way *way = &idx->way;
    uint64_t left = idx->s.n_past + 1;
    way->n_walks++;
    way->head = head;
    way->end = 0;
    for (newer = head; (at = index_slot(idx, newer)) && left > 0; newer = at->past, left--) {
        way->end++;
        *way_last(way) = newer;
        if (at->past == slot)
            break;
    }
    way->n = MIN_OF(way->end, LINE_WAY);
    return at && left > 0 ? newer : 0;
}

/* The past state has nothing any more: it leaves the line. What lay behind its end was zeros for the older
 * one, whatever newer states have there. */
static int leave_line(struct index *idx, uint32_t slot, uint32_t newer)
{
    const struct inode_rec *past = index_slot(idx, slot);
    struct inode_rec *older = index_slot_mut(idx, past->past);
    int r = 0;
    if (older && S_ISREG(past->mode) && past_reach(past) < past_reach(older) && !MUTANT(END_UNMARKED)) {
        r = extents_into_tree(idx, past->past);
        past_set_reach(older, past_reach(past));
    }
    index_slot_mut(idx, newer)->past = past->past;
    idx->s.n_past--;
    index_free_slot(idx, slot);
    return r;
}

int past_drop(struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t slot = ino_slot(op->past), newer = past_state(idx, op->past) ? next_newer(idx, slot) : 0;
    uint64_t end;
    if (!newer)
        return -EBADMSG;
    struct inode_rec *past = index_slot_mut(idx, slot), *older = index_slot_mut(idx, past->past);
    if ((past->flags | (older ? older->flags : 0)) & INODE_PAST_TAIL)
        return -EBADMSG; /* the tail goes first */
    past->flags |= INODE_GOING;
    idx->s.inexact = MAX_OF(idx->s.inexact, past_end(past));
    if (older)
        past_set_end(older, past_end(past));
    if (__builtin_add_overflow(op->off, op->len, &end))
        end = UINT64_MAX;
    struct transfer t = transfer_to(idx, slot, past->past, seq);
    int r = 0;
    if (op->off < end && older && !MUTANT(THIN_FREES))
        r = transfer(&t, op->off, end);
    else if (op->off < end)
        r = extents_punch(idx, slot, op->off, end - op->off, seq);
    if (!r && !inode_n_extents(past))
        r = transfer_xattrs(idx, past, older, newer, seq);
    return r || inode_n_extents(past) ? r : leave_line(idx, slot, newer);
}

/* ---- memory ------------------------------------------------------------------------------- */

#define ASKED_FROM 16u /* entries: of fewer it does not matter where they are */

/* Entries of a past state in [off, end), at most. */
static uint32_t count_entries(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end)
{
    const struct inode_rec *past = index_slot(idx, slot);
    uint32_t n = past ? inode_n_extents(past) : 0;
    if (n > ASKED_FROM && off < end && extents_count(idx, slot, off, end, UINT32_MAX, &n, &end) != 0)
        n = inode_n_extents(past);
    return n;
}

/* Of all states below one that may have leaps: each entry of these may cut what goes. */
static uint64_t count_leaps(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end)
{
    uint64_t n = 0, left = idx->s.n_past;
    const struct inode_rec *past;
    for (; (past = index_slot(idx, slot)) && left--; slot = past->past)
        n += past->flags & INODE_LEAPS ? count_entries(idx, slot, off, end) + UINT64_C(1) : 0;
    return 2 * n;
}

uint32_t past_gives(const struct index *idx, const struct op *op, uint64_t off, uint64_t end, uint32_t taken,
                    bool kept)
{
    const struct inode_rec *from =
        op->type == OP_DROP ? past_state(idx, op->past) : index_inode(idx, op->ino);
    const struct inode_rec *to = from ? index_slot(idx, from->past) : NULL;
    uint64_t n = taken;
    if (!from || (!to && !kept))
        return 0;
    if (to)
        n += count_entries(idx, from->past, off, end);
    if (from->flags & INODE_PAST_TAIL)
        n += count_entries(idx, past_tail_owner(idx, from), off, end);
    if (op->type == OP_REVERT)
        n += leaps_revert_adds(idx, ino_slot(op->ino), off, end);
    else if (leaps_are_in(idx, from->flags & INODE_PAST ? past_head(from) : ino_slot(op->ino)))
        n += count_leaps(idx, from->past, off, end);
    return (uint32_t)MIN_OF(2 * n + 6, (uint64_t)UINT32_MAX / 64);
}

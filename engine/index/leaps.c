/*
 * leaps.c - see leaps.h. */
#include "index/leaps.h"

#include "index/extents.h"
#include "index/past.h"
#include "index/past_read.h"

#include "base/fault.h"
#include "base/util.h"

#include <stdlib.h>

bool leaps_are_in(const struct index *idx, uint32_t head)
{
    const struct inode_rec *inode = index_slot(idx, head);
    return inode && inode->flags & INODE_LEAPS && inode->past;
}

/* ---- where they lead ---------------------------------------------------------- */

static bool leads_to(const struct leaps *l, uint32_t number)
{
    const struct inode_rec *from = index_slot(l->idx, l->from), *to = index_slot(l->idx, l->to);
    return number >= past_number(to) && (!(from->flags & INODE_PAST) || number < past_number(from));
}

/* Whether the past state has such a leap at `off`; *end as leaps_find(). */
static int find_one(const struct leaps *l, uint32_t slot, uint64_t off, uint64_t *end, bool *ret_found)
{
    uint64_t at;
    struct locator loc;
    int r = index_extent(l->idx, slot, off, &at, &loc);
    *ret_found = false;
    if (r)
        return MIN_OF(r, 0);
    *end = MIN_OF(*end, at > off ? at : at + loc.len);
    *ret_found = at <= off && past_leap(&loc) && leads_to(l, past_leap(&loc));
    return 0;
}

int leaps_find(const struct leaps *l, uint64_t off, uint64_t *end, uint32_t *ret_slot)
{
    uint64_t left = l->idx->s.n_past;
    const struct inode_rec *past;
    *ret_slot = 0;
    for (uint32_t slot = l->to; (past = index_slot(l->idx, slot)) && left--; slot = past->past) {
        bool found = false;
        int r = past->flags & INODE_LEAPS ? find_one(l, slot, off, end, &found) : 0;
        if (r)
            return r;
        if (found && !*ret_slot && !MUTANT(LEAP_DROPPED))
            *ret_slot = slot;
    }
    return 0;
}

/* ---- changing them --------------------------------------------------------------- */

int leaps_put(struct index *idx, uint32_t slot, uint64_t off, uint64_t end, uint32_t number)
{
    int r = 0;
    while (off < end && !r) {
        const struct locator leap = {.off8 = number, .len = (uint32_t)MIN_OF(end - off, (uint64_t)UINT32_MAX)};
        r = extents_put(idx, slot, off, &leap);
        off += leap.len;
    }
    struct inode_rec *past = index_slot_mut(idx, slot);
    past->flags |= INODE_LEAPS;
    index_slot_mut(idx, past_head(past))->flags |= INODE_LEAPS;
    return r;
}

/* What a past state has in [off, end), which is within one leap, goes. */
static int take_leap(struct index *idx, uint32_t slot, uint64_t off, uint64_t end)
{
    uint64_t at;
    struct locator loc;
    if (index_extent(idx, slot, off, &at, &loc) != 0 || at > off || at + loc.len < end || !past_leap(&loc))
        return -EBADMSG;
    return extents_take_part(idx, slot, at, &loc, off, end, 0);
}

int leaps_fill(struct index *idx, uint32_t slot, uint64_t off, const struct locator *piece)
{
    int r = take_leap(idx, slot, off, off + piece->len);
    return r ? r : extents_put(idx, slot, off, piece);
}

int leaps_turn(const struct leaps *l, uint64_t off, uint64_t end, uint32_t aim)
{
    uint64_t left = l->idx->s.n_past;
    const struct inode_rec *past, *target = index_slot(l->idx, aim);
    uint32_t number = past_number(target) - 1;
    int r = 0;
    for (uint32_t slot = l->to; !r && (past = index_slot(l->idx, slot)) && left--; slot = past->past) {
        bool found = false;
        uint64_t stop = end;
        r = past->flags & INODE_LEAPS ? find_one(l, slot, off, &stop, &found) : 0;
        if (r || !found)
            continue;
        r = number ? take_leap(l->idx, slot, off, end) : -EBADMSG;
        if (!r)
            r = leaps_put(l->idx, slot, off, end, number);
    }
    return r;
}

/* ---- reverting ---------------------------------------------------------------------- */

struct revert {
    struct index *idx;
    uint32_t head, past;
    uint64_t seq;
};

/* In [off, end) the past state shows zeros. */
static int revert_gap(const struct revert *rv, uint64_t off, uint64_t end)
{
    return off < end ? past_give(rv->idx, rv->head, off, end, false, rv->seq) : 0;
}

/* What a past state of the line has comes to the head. */
static int revert_piece(const struct revert *rv, const struct past_piece *p)
{
    struct index *idx = rv->idx;
    uint64_t end = p->off + p->loc.len, at;
    struct locator loc;
    if (p->slot == rv->head) /* it is there */
        return 0;
    int r = past_give(idx, rv->head, p->off, end, true, rv->seq);
    if (!r && (index_extent(idx, p->slot, p->off, &at, &loc) != 0 || at > p->off || at + loc.len < end))
        r = -EBADMSG;
    if (!r)
        r = extents_take_part(idx, p->slot, at, &loc, p->off, end, 0);
    const struct inode_rec *newest = index_slot(idx, index_slot(idx, rv->head)->past);
    if (!r && !MUTANT(LEAP_UNMARKED))
        r = leaps_put(idx, p->slot, p->off, end, past_number(newest));
    return r ? r : extents_put(idx, rv->head, p->off, &p->loc);
}

#define REVERT_PIECES 64u

static int revert_range(const struct revert *rv, uint64_t off, uint64_t end)
{
    struct past_piece pieces[REVERT_PIECES];
    int r = 0;
    while (off < end && !r) {
        struct past_room room = {rv->idx->line_room, rv->idx->line_cap};
        uint64_t stop;
        size_t n;
        r = past_read_in(rv->idx, rv->past, off, end, pieces, REVERT_PIECES, &n, &stop, &room);
        for (size_t i = 0; i < n && !r; i++) {
            r = revert_gap(rv, off, pieces[i].off);
            if (!r)
                r = revert_piece(rv, &pieces[i]);
            off = pieces[i].off + pieces[i].loc.len;
        }
        if (!r)
            r = stop > off || n ? revert_gap(rv, off, stop) : -EBADMSG;
        off = stop;
    }
    return r;
}

int leaps_revert(struct index *idx, const struct op *op, uint64_t seq)
{
    const struct inode_rec *head = index_inode(idx, op->ino), *past = past_state(idx, op->past);
    uint64_t end;
    if (!head || !past || !S_ISREG(head->mode) || past_head(past) != ino_slot(op->ino) ||
        past->flags & INODE_GOING || __builtin_add_overflow(op->off, op->len, &end) || end > head->size ||
        end > past->size)
        return -EBADMSG;
    const struct revert rv = {idx, ino_slot(op->ino), ino_slot(op->past), seq};
    return revert_range(&rv, op->off, end);
}

/* ---- memory ---------------------------------------------------------------------------- */

#define COUNTED_FROM 16u /* entries: of fewer it does not matter where they are */

/* Each end of an entry of the line may cut one of the head, of the newest state, and of the owner. */
uint64_t leaps_revert_adds(const struct index *idx, uint32_t head, uint64_t off, uint64_t end)
{
    uint64_t left = idx->s.n_past + 1, all = 2;
    const struct inode_rec *inode;
    for (uint32_t slot = head; (inode = index_slot(idx, slot)) && left--; slot = inode->past) {
        uint32_t n = inode_n_extents(inode);
        uint64_t stop;
        if (n > COUNTED_FROM && extents_count(idx, slot, off, end, UINT32_MAX, &n, &stop) != 0)
            n = inode_n_extents(inode);
        all += n;
    }
    return 6 * all;
}

int leaps_reserve(struct index *idx, const struct op *op)
{
    const struct inode_rec *inode = index_inode(idx, op->ino);
    uint64_t left = idx->s.n_past;
    size_t n = 2; /* and one that the batch keeps */
    for (; inode && inode->past && left--; n++)
        inode = index_slot(idx, inode->past);
    if (n <= idx->line_cap)
        return 0;
    uint32_t *room = reallocarray(idx->line_room, 2 * n, sizeof *room);
    if (!room)
        return -ENOMEM;
    idx->line_room = room;
    idx->line_cap = 2 * n;
    return 0;
}

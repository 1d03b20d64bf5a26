/*
 * revert.c - see revert.h. */
#include "index/revert.h"

#include "index/extents.h"
#include "index/leaps.h"
#include "index/past.h"
#include "index/past_read.h"

#include "base/fault.h"
#include "base/util.h"

#include <stdlib.h>

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

int revert_apply(struct index *idx, const struct op *op, uint64_t seq)
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

int revert_reserve(struct index *idx, const struct op *op)
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

/*
 * leaps.c - see leaps.h. */
#include "index/leaps.h"

#include "index/extents.h"

#include "base/fault.h"
#include "base/util.h"

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
        const struct locator leap = {.off8 = number,
                                     .len = (uint32_t)MIN_OF(end - off, (uint64_t)UINT32_MAX)};
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

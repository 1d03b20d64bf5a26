/*
 * extents.c - the map from file offsets to locators: one extent at offset 0
 * stands in the inode, everything else in the extent tree. Extents of an
 * inode never overlap. Every change raises the inode's generation (I2).
 * Locking as index.h says. */
#include "index/extents.h"

#include "base/fault.h"
#include "base/util.h"

#include <string.h>

int index_extent(const struct index *idx, uint32_t slot, uint64_t off, uint64_t *ret_off,
                 struct locator *ret_loc)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    if (!inode || !inode_n_extents(inode))
        return 1;
    if (inode->flags & INODE_INLINE) {
        if (off >= inode->first.len)
            return 1;
        *ret_off = 0;
        *ret_loc = inode->first;
        return 0;
    }
    struct bkey key;
    struct locator loc;
    int r = btree_floor(&idx->extents, (struct bkey){slot, off}, &key, &loc);
    if (r < 0)
        return r;
    if (!r && key.a == slot && key.b + loc.len > off) {
        *ret_off = key.b;
        *ret_loc = loc;
        return 0;
    }
    r = btree_ceil(&idx->extents, (struct bkey){slot, off}, &key, &loc);
    if (r)
        return r;
    if (key.a != slot)
        return 1;
    *ret_off = key.b;
    *ret_loc = loc;
    return 0;
}

struct counting {
    uint32_t slot, n, max;
    uint64_t end;
    bool gapless; /* ends at a gap, too, and `end` moves along */
};

/* Of the tree: whether to stop here. */
static int count_one(void *arg, struct bkey key, const void *value)
{
    struct counting *c = arg;
    struct locator loc;
    if (key.a != c->slot || (c->gapless ? key.b != c->end : key.b >= c->end))
        return 1;
    if (c->n == c->max) {
        c->end = key.b;
        return 1;
    }
    memcpy(&loc, value, sizeof loc);
    c->n++;
    if (c->gapless)
        c->end = key.b + loc.len;
    return 0;
}

/* Counts from the extent on that reaches beyond `off`. */
static int count(const struct index *idx, uint64_t off, struct counting *c)
{
    const struct inode_rec *inode = index_slot(idx, c->slot);
    uint64_t first;
    struct locator loc;
    int r = index_extent(idx, c->slot, off, &first, &loc);
    if (r)
        return r < 0 ? r : 0;
    if (c->gapless && first <= off)
        c->end = first;
    if (inode->flags & INODE_INLINE) {
        (void)count_one(c, (struct bkey){c->slot, first}, &loc);
        return 0;
    }
    r = btree_scan(&idx->extents, (struct bkey){c->slot, first}, count_one, c);
    return MIN_OF(r, 0);
}

int extents_count(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end, uint32_t max,
                  uint32_t *ret_n, uint64_t *ret_end)
{
    struct counting c = {.slot = slot, .max = max, .end = end};
    int r = count(idx, off, &c);
    *ret_n = c.n;
    *ret_end = c.end;
    return r;
}

int extents_run(const struct index *idx, uint32_t slot, uint64_t off, uint32_t max, uint64_t *ret_end,
                uint32_t *ret_n)
{
    struct counting c = {.slot = slot, .max = max, .end = off, .gapless = true};
    int r = count(idx, off, &c);
    *ret_end = c.end;
    *ret_n = c.n;
    return r;
}

struct scanning {
    uint32_t slot;
    uint64_t end;
    int (*emit)(void *arg, uint64_t off, const struct locator *loc);
    void *arg;
    int r; /* what emit returned */
};

static int scan_one(void *arg, struct bkey key, const void *value)
{
    struct scanning *s = arg;
    struct locator loc;
    if (key.a != s->slot || key.b >= s->end)
        return 1;
    memcpy(&loc, value, sizeof loc);
    s->r = s->emit(s->arg, key.b, &loc);
    return s->r != 0;
}

int extents_scan(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end,
                 int (*emit)(void *arg, uint64_t off, const struct locator *loc), void *arg)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    if (!inode || !inode_n_extents(inode) || off >= end)
        return 0;
    if (inode->flags & INODE_INLINE)
        return off == 0 ? emit(arg, 0, &inode->first) : 0;
    struct scanning s = {.slot = slot, .end = end, .emit = emit, .arg = arg};
    int r = btree_scan(&idx->extents, (struct bkey){slot, off}, scan_one, &s);
    return r < 0 ? r : s.r;
}

int extents_scan_into(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end,
                      int (*emit)(void *arg, uint64_t off, const struct locator *loc), void *arg)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    struct bkey key;
    struct locator loc;
    int r = 0;
    if (!inode || !inode_in_tree(inode) || off >= end)
        return inode ? extents_scan(idx, slot, 0, MIN_OF(end, (uint64_t)1), emit, arg) : 0;
    if (off > 0) { /* one that begins before it */
        r = btree_floor(&idx->extents, (struct bkey){slot, off - 1}, &key, &loc);
        if (!r && key.a == slot && key.b + loc.len > off)
            r = emit(arg, key.b, &loc);
        else
            r = MIN_OF(r, 0);
    }
    return r ? r : extents_scan(idx, slot, off, end, emit, arg);
}

/* A placement more, by which readers notice that it changed (I2). Of a past state that place tells its head,
 * and nobody who reads one asks. */
static void placed(struct inode_rec *inode)
{
    inode->generation += !(inode->flags & INODE_PAST);
}

/* Bytes of the extent came, or went: of its segment, and of what is kept for the past. A hole has none. */
static int account(struct index *idx, const struct inode_rec *inode, const struct locator *loc, int64_t live,
                   uint64_t death_seq)
{
    if (inode->flags & INODE_PAST) {
        if (!loc->seg)
            return 0;
        if (live < 0 && idx->s.past_live < (uint64_t)-live)
            return -EBADMSG;
        idx->s.past_live += (uint64_t)live;
    }
    if (index_is_kept(idx, inode))
        idx->kept.bytes += live;
    return segment_account(idx, loc->seg, live, 0, death_seq);
}

/* Of an inode that has one extent, in itself, or none; of a past state nothing else is in that place. */
static void set_mapped(struct inode_rec *inode, uint64_t bytes, uint32_t n)
{
    inode->flags &= ~(uint32_t)INODE_INLINE;
    inode->extents.bytes = bytes;
    inode->extents.n = n;
    if (inode->flags & INODE_PAST)
        past_set_reach(inode, inode->size);
}

int extents_into_tree(struct index *idx, uint32_t slot)
{
    struct inode_rec *inode = index_slot_mut(idx, slot);
    if (!inode || !(inode->flags & INODE_INLINE))
        return inode ? 0 : -EBADMSG;
    if (btree_put(&idx->extents, (struct bkey){slot, 0}, &inode->first) != 0)
        return -EBADMSG;
    set_mapped(inode, inode->first.len, 1);
    return 0;
}

static bool may_be_inline(const struct inode_rec *inode, uint64_t off, const struct locator *loc)
{
    if (inode_n_extents(inode) || off)
        return false;
    return !(inode->flags & INODE_PAST) || (loc->seg && past_reach(inode) == inode->size);
}

int extents_put(struct index *idx, uint32_t slot, uint64_t off, const struct locator *loc)
{
    struct inode_rec *inode = index_slot_mut(idx, slot);
    if (!inode || !loc->len)
        return -EBADMSG;
    if (may_be_inline(inode, off, loc)) {
        inode->first = *loc;
        inode->flags |= INODE_INLINE;
    } else {
        if (inode->flags & INODE_INLINE && extents_into_tree(idx, slot) != 0)
            return -EBADMSG;
        if (btree_put(&idx->extents, (struct bkey){slot, off}, loc) != 0)
            return -EBADMSG;
        inode->extents.n++;
        inode->extents.bytes += loc->seg ? loc->len : 0;
    }
    placed(inode);
    return account(idx, inode, loc, loc->len, 0);
}

void extents_hand_over(struct index *idx, uint32_t from, uint32_t to)
{
    struct inode_rec *inode = index_slot_mut(idx, from), *past = index_slot_mut(idx, to);
    past->first = inode->first;
    past->flags |= INODE_INLINE;
    idx->s.past_live += past->first.len;
    set_mapped(inode, 0, 0);
    placed(inode);
    idx->n_taken++;
}

/* Takes the extent at off out of the map, whole. */
static int extents_take(struct index *idx, uint32_t slot, uint64_t off, const struct locator *loc,
                        uint64_t seq)
{
    struct inode_rec *inode = index_slot_mut(idx, slot);
    uint32_t bytes = loc->seg ? loc->len : 0;
    if (!inode || inode_bytes(inode) < bytes)
        return -EBADMSG;
    if (inode->flags & INODE_INLINE) {
        set_mapped(inode, 0, 0);
    } else if (btree_del(&idx->extents, (struct bkey){slot, off}) != 0) {
        return -EBADMSG;
    } else {
        inode->extents.n--;
        inode->extents.bytes -= bytes;
    }
    idx->n_taken++;
    placed(inode);
    return account(idx, inode, loc, -(int64_t)loc->len, seq);
}

static inline int take_part(struct index *idx, uint32_t slot, uint64_t at, const struct locator *loc,
                            uint64_t off, uint64_t end, uint64_t seq)
{
    uint64_t loc_end = at + loc->len;
    int r = extents_take(idx, slot, at, loc, seq);
    if (!r && at < off) { /* what lies before the part stays */
        struct locator left = locator_part(loc, 0, off - at);
        r = extents_put(idx, slot, at, &left);
    }
    if (!r && loc_end > end) { /* and what lies behind it */
        struct locator right = locator_part(loc, end - at, loc_end - end);
        r = extents_put(idx, slot, end, &right);
    }
    return r;
}

int extents_take_part(struct index *idx, uint32_t slot, uint64_t at, const struct locator *loc, uint64_t off,
                      uint64_t end, uint64_t seq)
{
    return take_part(idx, slot, at, loc, off, end, seq);
}

int extents_punch(struct index *idx, uint32_t slot, uint64_t off, uint64_t len, uint64_t seq)
{
    uint64_t end, at;
    if (__builtin_add_overflow(off, len, &end))
        end = UINT64_MAX;
    struct locator loc;
    int r;
    while (off < end && (r = index_extent(idx, slot, off, &at, &loc)) == 0 && at < end) {
        r = take_part(idx, slot, at, &loc, off, end, seq);
        if (r)
            return r;
        off = MIN_OF(at + loc.len, end);
    }
    return off < end && r < 0 ? r : 0;
}

int extents_cut(struct index *idx, uint32_t slot, uint64_t off, uint64_t seq)
{
    uint64_t at;
    struct locator left, right;
    int r = index_extent(idx, slot, off, &at, &left);
    if (r || at >= off)
        return MIN_OF(r, 0);
    r = extents_take(idx, slot, at, &left, seq);
    right = left;
    right.skip += (uint32_t)(off - at);
    right.len -= (uint32_t)(off - at);
    left.len = (uint32_t)(off - at);
    if (!r)
        r = extents_put(idx, slot, at, &left);
    return r ? r : extents_put(idx, slot, off, &right);
}

int extents_move(struct index *idx, uint32_t slot, uint64_t off, const struct locator *from,
                 const struct locator *to, uint64_t seq)
{
    uint64_t at;
    struct locator loc;
    int r = index_extent(idx, slot, off, &at, &loc);
    if (r < 0)
        return r;
    if (r || at != off || !loc.seg || (!locator_equal(&loc, from) && !MUTANT(BLIND_INSTALL))) /* I3 */
        return 1;
    r = extents_take(idx, slot, off, &loc, seq);
    if (!r)
        r = extents_put(idx, slot, off, to);
    if (!r && MUTANT(SAME_GENERATION))
        index_slot_mut(idx, slot)->generation -= 2;
    return r;
}

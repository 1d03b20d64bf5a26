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

int extents_put(struct index *idx, uint32_t slot, uint64_t off, const struct locator *loc)
{
    struct inode_rec *inode = index_slot_mut(idx, slot);
    if (!inode || !loc->len)
        return -EBADMSG;
    if (!inode_n_extents(inode) && off == 0) {
        inode->first = *loc;
        inode->flags |= INODE_INLINE;
    } else {
        if (inode->flags & INODE_INLINE) {
            if (btree_put(&idx->extents, (struct bkey){slot, 0}, &inode->first) != 0)
                return -EBADMSG;
            inode->flags &= ~(uint32_t)INODE_INLINE;
            inode->extents.bytes = inode->first.len;
            inode->extents.n = 1;
        }
        if (btree_put(&idx->extents, (struct bkey){slot, off}, loc) != 0)
            return -EBADMSG;
        inode->extents.n++;
        inode->extents.bytes += loc->len;
    }
    inode->generation++;
    return segment_account(idx, loc->seg, loc->len, 0, 0);
}

/* Takes the extent at off out of the map, whole. */
static int extents_take(struct index *idx, uint32_t slot, uint64_t off, const struct locator *loc,
                        uint64_t seq)
{
    struct inode_rec *inode = index_slot_mut(idx, slot);
    if (!inode || inode_bytes(inode) < loc->len)
        return -EBADMSG;
    if (inode->flags & INODE_INLINE) {
        inode->flags &= ~(uint32_t)INODE_INLINE;
        inode->extents.bytes = inode->extents.n = 0;
    } else if (btree_del(&idx->extents, (struct bkey){slot, off}) != 0) {
        return -EBADMSG;
    } else {
        inode->extents.n--;
        inode->extents.bytes -= loc->len;
    }
    idx->n_taken++;
    inode->generation++;
    return segment_account(idx, loc->seg, -(int64_t)loc->len, 0, seq);
}

int extents_punch(struct index *idx, uint32_t slot, uint64_t off, uint64_t len, uint64_t seq)
{
    uint64_t end, at;
    if (__builtin_add_overflow(off, len, &end))
        end = UINT64_MAX;
    struct locator loc;
    int r;
    while (off < end && (r = index_extent(idx, slot, off, &at, &loc)) == 0 && at < end) {
        uint64_t loc_end = at + loc.len;
        r = extents_take(idx, slot, at, &loc, seq);
        if (!r && at < off) { /* what lies before the hole stays */
            struct locator left = loc;
            left.len = (uint32_t)(off - at);
            r = extents_put(idx, slot, at, &left);
        }
        if (!r && loc_end > end) { /* and what lies behind it */
            struct locator right = loc;
            right.skip += (uint32_t)(end - at);
            right.len = (uint32_t)(loc_end - end);
            r = extents_put(idx, slot, end, &right);
        }
        if (r)
            return r;
        off = MIN_OF(loc_end, end);
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
    if (r || at != off || (!locator_equal(&loc, from) && !MUTANT(BLIND_INSTALL))) /* I3 */
        return 1;
    r = extents_take(idx, slot, off, &loc, seq);
    if (!r)
        r = extents_put(idx, slot, off, to);
    if (!r && MUTANT(SAME_GENERATION))
        index_slot_mut(idx, slot)->generation -= 2;
    return r;
}

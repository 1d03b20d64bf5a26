/*
 * relocate.c - see relocate.h. */
#include "index/relocate.h"

#include "index/extents.h"
#include "index/past.h"

#include "base/fault.h"
#include "base/util.h"

#include <string.h>

static int move_xattr(struct index *idx, const struct xattr_walk *walk, const struct op *op, uint64_t seq)
{
    const struct xattr_view *view = &walk->xattr;
    uint8_t *p = names_mut(&idx->names, walk->handle, xattr_stored_size(view));
    memcpy(p + sizeof(struct xattr_rec) + view->name_len, &op->loc, sizeof op->loc);
    int r = segment_account(idx, view->loc.seg, -(int64_t)view->loc.len, 0, seq);
    return r ? r : segment_account(idx, op->loc.seg, op->loc.len, 0, 0);
}

static int by_inode_and_place(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a, *y = *(const struct op *const *)b;
    if (x->ino != y->ino)
        return x->ino < y->ino ? -1 : 1;
    int order = locator_order(&x->old, &y->old);
    return order ? order : (x > y) - (x < y);
}

/* Which of the relocations of one inode, sorted, is of what lies there (I3); n: none. */
static size_t find_relocation(const struct op *const *ops, size_t n, const struct locator *loc)
{
    size_t at = 0, end = n;
    while (at < end && !MUTANT(BLIND_INSTALL)) {
        size_t mid = (at + end) / 2;
        if (locator_order(&ops[mid]->old, loc) < 0)
            at = mid + 1;
        else
            end = mid;
    }
    return at < n && (locator_equal(&ops[at]->old, loc) || MUTANT(BLIND_INSTALL)) ? at : n;
}

/* All of one inode, by one walk along its list. What is left of `ops` then was lost. */
static int relocate_xattrs_of(struct index *idx, const struct op **ops, size_t *n, uint64_t seq)
{
    uint64_t ino = ops[0]->ino;
    const struct inode_rec *inode = past_or_inode(idx, ino);
    bool is_past = inode && inode->flags & INODE_PAST;
    struct xattr_walk walk = {.next = inode ? inode->xattrs : 0};
    int r = 0;
    while (*n && !r && index_next_xattr(idx, &walk)) {
        size_t i = walk.xattr.is_extent ? find_relocation(ops, *n, &walk.xattr.loc) : *n;
        if (i == *n)
            continue;
        r = move_xattr(idx, &walk, ops[i], seq);
        if (!is_past)
            ((struct inode_rec *)table_mut(&idx->inodes, ino_slot(ino)))->generation++;
        memmove(ops + i, ops + i + 1, (--*n - i) * sizeof *ops);
    }
    return r;
}

bool relocate_moves_xattr(const struct op *op)
{
    return op->type == OP_RELOCATE && op->off == EXTENT_XATTR_OFF;
}

static int relocation_check(const struct index *idx, const struct op *op)
{
    return index_locator_is_valid(idx, &op->loc) && op->loc.len == op->old.len ? 0 : -EBADMSG;
}

#define MOVED_AT_ONCE 256u

int relocate_xattrs(struct index *idx, const struct op *ops, size_t max, uint64_t seq, size_t *ret_n,
                    size_t *ret_lost)
{
    const struct op *sorted[MOVED_AT_ONCE];
    size_t n = 0, lost = 0;
    bool is_sorted = true;
    int r = 0;
    max = MIN_OF(max, MUTANT(WALKED_FOR_EACH) ? 1 : (size_t)MOVED_AT_ONCE);
    for (; !r && n < max && relocate_moves_xattr(&ops[n]); n++) {
        r = relocation_check(idx, &ops[n]);
        sorted[n] = &ops[n];
        is_sorted = is_sorted && (!n || by_inode_and_place(&sorted[n - 1], &sorted[n]) < 0);
    }
    if (!is_sorted) /* refs are in order of place: those of one file alone are */
        qsort(sorted, n, sizeof *sorted, by_inode_and_place);
    for (size_t at = 0, end; !r && at < n; at = end) {
        for (end = at; end < n && sorted[end]->ino == sorted[at]->ino;)
            end++;
        size_t left = end - at;
        r = relocate_xattrs_of(idx, sorted + at, &left, seq);
        lost += left;
    }
    *ret_n = n;
    *ret_lost = lost;
    return r;
}

int relocate(struct index *idx, const struct op *op, uint64_t seq)
{
    size_t n, lost;
    int r = relocation_check(idx, op);
    if (r)
        return r;
    if (relocate_moves_xattr(op)) {
        r = relocate_xattrs(idx, op, 1, seq, &n, &lost);
        return r ? r : (int)lost;
    }
    if (!past_or_inode(idx, op->ino))
        return 1;
    return extents_move(idx, ino_slot(op->ino), op->off, &op->old, &op->loc, seq);
}

/*
 * xattr_list.c - see xattr_list.h. */
#include "index/xattr_list.h"

#include <string.h>

void xattr_add(struct index *idx, struct inode_rec *inode, const struct xattr_rec *rec, const char *name,
               const void *value)
{
    uint32_t stored = rec->flags & XATTR_IS_EXTENT ? (uint32_t)sizeof(struct locator) : rec->value_len;
    uint32_t size = (uint32_t)sizeof *rec + rec->name_len + stored;
    uint32_t x = names_alloc(&idx->names, size);
    uint8_t *p = names_mut(&idx->names, x, size);
    memcpy(p, rec, sizeof *rec);
    memcpy(p + sizeof *rec, name, rec->name_len);
    if (stored)
        memcpy(p + sizeof *rec + rec->name_len, value, stored);
    xattr_put(idx, inode, x);
}

static void set_next(struct index *idx, uint32_t handle, uint32_t next)
{
    memcpy(names_mut(&idx->names, handle, sizeof next), &next, sizeof next); /* xattr_rec.next */
}

void xattr_take(struct index *idx, struct inode_rec *inode, uint32_t before, const struct xattr_view *view)
{
    if (before)
        set_next(idx, before, view->next);
    else
        inode->xattrs = view->next;
}

void xattr_put(struct index *idx, struct inode_rec *inode, uint32_t handle)
{
    set_next(idx, handle, inode->xattrs);
    inode->xattrs = handle;
}

int xattr_free(struct index *idx, uint32_t handle, const struct xattr_view *view, uint64_t seq)
{
    int r = view->is_extent ? segment_account(idx, view->loc.seg, -(int64_t)view->loc.len, 0, seq) : 0;
    names_free_cells(&idx->names, handle, xattr_stored_size(view));
    idx->n_taken++;
    return r;
}

static uint32_t name_bit(const struct xattr_view *view)
{
    return (uint32_t)codec_hash(view->name, view->name_len) % XATTR_NAME_BITS;
}

void xattr_names_none(struct xattr_names *names)
{
    memset(names, 0, sizeof *names);
}

void xattr_names_add(const struct index *idx, const struct inode_rec *inode, struct xattr_names *names)
{
    struct xattr_walk walk = {.next = inode->xattrs};
    while (index_next_xattr(idx, &walk)) {
        uint32_t bit = name_bit(&walk.xattr);
        names->bits[bit / 64] |= UINT64_C(1) << bit % 64;
    }
}

bool xattr_names_may_have(const struct xattr_names *names, const struct xattr_view *view)
{
    uint32_t bit = name_bit(view);
    return names->bits[bit / 64] >> bit % 64 & 1;
}

/*
 * version1.c - see version1.h. */
#include "index/version1.h"

#include <string.h>

struct inode_rec_v1 {
    uint8_t same[80]; /* up to `generation` */
    uint64_t bytes;   /* devices: rdev */
    uint32_t n_extents, dentry, xattrs, target;
    struct locator first;
    uint32_t reserved;
};
static_assert(sizeof(struct inode_rec_v1) == sizeof(struct inode_rec), "records change in their places");

static void convert_inode(struct inode_rec *inode, uint32_t slot)
{
    struct inode_rec_v1 old;
    memcpy(&old, inode, sizeof old);
    *inode = (struct inode_rec){0};
    memcpy(inode, old.same, sizeof old.same);
    /* As if the first batches had made one state each: so many at least there were. */
    inode->state = slot;
    inode->dentry = old.dentry;
    inode->xattrs = old.xattrs;
    if (S_ISLNK(inode->mode))
        inode->target = old.target;
    else if (S_ISBLK(inode->mode) || S_ISCHR(inode->mode))
        inode->rdev = old.bytes;
    bool is_inline = inode->flags & INODE_INLINE;
    if ((!S_ISREG(inode->mode) && old.n_extents) || inode->flags & ~(uint32_t)INODE_FLAGS_PLAIN) {
        inode->flags = UINT32_MAX; /* no such flags are: verification finds it */
    } else if (is_inline && (old.n_extents != 1 || old.bytes != old.first.len)) {
        inode->flags &= ~(uint32_t)INODE_INLINE;
        inode->extents.n = UINT32_MAX; /* no file has so many */
    } else if (is_inline) {
        inode->first = old.first;
    } else if (S_ISREG(inode->mode)) {
        inode->extents.bytes = old.bytes;
        inode->extents.n = old.n_extents;
    }
}

void index_convert_v1(struct index *idx)
{
    for (uint32_t slot = 1; slot < idx->inodes.used; slot++)
        if (index_slot(idx, slot))
            convert_inode(table_mut(&idx->inodes, slot), slot);
}

int index_adopt_v1(struct index *idx, const struct index_free_v1 *v1)
{
    int r = 0;
    index_convert_v1(idx);
    for (unsigned i = 0; i < INDEX_TABLES_V1 && !r; i++)
        if (index_table(idx, i) != &idx->names.cells)
            r = table_adopt_v1(index_table(idx, i), v1->heads[i], v1->counts[i]);
    return r ? r : names_adopt_v1(&idx->names, v1->names);
}

/*
 * xattrs.c - extended attributes: up to 64 bytes in the index, larger values as
 * extents in the arena, read with the same protocol as content (I2, I6).
 */
#include "tree/xattrs.h"

#include "commit/commit.h"
#include "core/damage.h"
#include "upkeep/room.h"

int xattr_stage(struct txn *txn, uint64_t ino, const char *name, const void *value, size_t size, int64_t time)
{
    struct op *op = txn_op(txn, size > XATTR_INLINE_MAX ? OP_XATTR_EXTENT : OP_XATTR_SET);
    if (!op)
        return -ENOMEM;
    op->ino = ino;
    op->time = time;
    op->name = name;
    op->name_len = (uint16_t)strlen(name);
    if (op->type == OP_XATTR_EXTENT)
        return txn_extent(txn, ino, EXTENT_XATTR_OFF, value, (uint32_t)size, NULL, 0);
    op->value = value;
    op->value_len = (uint32_t)size;
    return 0;
}

/* Bytes that listxattr needs. */
static size_t list_size(const struct index *idx, const struct inode_rec *inode)
{
    struct xattr_view view;
    size_t size = 0;
    for (uint32_t x = inode->xattrs; x && index_xattr(idx, x, &view); x = view.next)
        size += view.name_len + 1u;
    return size;
}

int eng_setxattr(struct eng *eng, uint64_t ino, const char *name, const void *value, size_t size,
                 unsigned flags)
{
    if (!eng || !name || (!value && size))
        return -EINVAL;
    CLEANUP_TXN struct txn txn = {0};
    size_t name_len = strlen(name);
    if (name_len == 0 || name_len > ENG_XATTR_NAME_MAX)
        return -ERANGE;
    if (size > ENG_XATTR_SIZE_MAX)
        return -E2BIG;
    if (flags & ~3u)
        return -EINVAL;
    int r = room_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    bool there = inode && index_find_xattr(&eng->idx, inode, name, name_len);
    if (!inode)
        r = -ESTALE;
    else if (there && (flags & ENG_XATTR_CREATE))
        r = -EEXIST;
    else if (!there && (flags & ENG_XATTR_REPLACE))
        r = -ENODATA;
    else if (!there && list_size(&eng->idx, inode) + name_len + 1 > ENG_XATTR_LIST_MAX)
        r = -ENOSPC;
    if (!r)
        r = xattr_stage(&txn, ino, name, value, size, now_ns());
    if (!r)
        r = commit_txn(eng, &txn);
    commit_end(eng);
    return r;
}

int eng_removexattr(struct eng *eng, uint64_t ino, const char *name)
{
    if (!eng || !name)
        return -EINVAL;
    CLEANUP_TXN struct txn txn = {0};
    int r = room_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    struct op *op = NULL;
    if (!inode)
        r = -ESTALE;
    else if (!index_find_xattr(&eng->idx, inode, name, strlen(name)))
        r = -ENODATA;
    else if (!(op = txn_op(&txn, OP_XATTR_DEL)))
        r = -ENOMEM;
    if (!r) {
        op->ino = ino;
        op->time = now_ns();
        op->name = name;
        op->name_len = (uint16_t)strlen(name);
        r = commit_txn(eng, &txn);
    }
    commit_end(eng);
    return r;
}

/* Under the shared index lock: the xattr, with an inline value copied out. */
static ssize_t find(struct eng *eng, uint64_t ino, const char *name, void *value, size_t size,
                    struct xattr_view *view)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    if (!inode)
        return -ESTALE;
    uint32_t x = index_find_xattr(&eng->idx, inode, name, strlen(name));
    if (!x || !index_xattr(&eng->idx, x, view))
        return x ? -EBADMSG : -ENODATA;
    if (size && size < view->value_len)
        return -ERANGE;
    if (size && !view->is_extent)
        memcpy(value, view->value, view->value_len);
    return (ssize_t)view->value_len;
}

ssize_t eng_getxattr(struct eng *eng, uint64_t ino, const char *name, void *value, size_t size)
{
    if (!eng || !name || (!value && size))
        return -EINVAL;
    struct xattr_view view;
    struct segment *seg;
    /* Values are small: the segment is pinned under the index lock, so the generation needs no second look
     * (I2). */
    pthread_rwlock_rdlock(&eng->index_lock);
    ssize_t n = find(eng, ino, name, value, size, &view);
    int r = n > 0 && size && view.is_extent ? segments_pin(&eng->segments, view.loc.seg, &seg) : 1;
    pthread_rwlock_unlock(&eng->index_lock);
    if (r > 0)
        return n;
    const char *damage = r == -ENOENT ? "segment is missing" : NULL;
    if (!r) {
        r = segment_read(seg, eng->io->ops, ino, EXTENT_XATTR_OFF, &view.loc, 0, view.loc.len, value);
        segments_unpin(seg);
        damage = r == -EBADMSG ? "checksum mismatch" : r == -EIO ? "read error" : NULL;
    }
    if (damage) {
        damage_record(eng, ino, EXTENT_XATTR_OFF, &view.loc, damage);
        r = -EIO;
    }
    return r ? r : n;
}

ssize_t eng_listxattr(struct eng *eng, uint64_t ino, char *list, size_t size)
{
    if (!eng || (!list && size))
        return -EINVAL;
    ssize_t n = 0;
    struct xattr_view view;
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    if (!inode)
        n = -ESTALE;
    else if (size && list_size(&eng->idx, inode) > size)
        n = -ERANGE;
    for (uint32_t x = inode ? inode->xattrs : 0; n >= 0 && x && index_xattr(&eng->idx, x, &view);
         x = view.next) {
        if (size) {
            memcpy(list + n, view.name, view.name_len);
            list[n + view.name_len] = 0;
        }
        n += view.name_len + 1;
    }
    pthread_rwlock_unlock(&eng->index_lock);
    return n;
}

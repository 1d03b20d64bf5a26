/*
 * xattrs.c - extended attributes: up to 64 bytes in the index, larger values as extents in segments, read
 * with the same protocol as content (I2, I6). */
#include "tree/xattrs.h"

#include "commit/commit.h"
#include "core/reserve.h"
#include "index/xattr_list.h"
#include "upkeep/full_disk.h"

#define PIN_TRIES 8u /* then the segment's file is opened within the section */

int xattrs_draft(struct draft *draft, const void *value, size_t size)
{
    return size > XATTR_INLINE_MAX ? draft_extent(draft, value, (uint32_t)size, NULL, 0) : 0;
}

int xattrs_stage(struct txn *txn, struct draft *draft, size_t *at, uint64_t ino,
                 const struct eng_xattr_pair *xattr, int64_t time)
{
    struct op *op = txn_op(txn, xattr->size > XATTR_INLINE_MAX ? OP_XATTR_EXTENT : OP_XATTR_SET);
    if (!op)
        return -ENOMEM;
    op->ino = ino;
    op->time = time;
    op->name = xattr->name;
    op->name_len = (uint16_t)strlen(xattr->name);
    if (op->type == OP_XATTR_EXTENT)
        return txn_extent(txn, draft, (*at)++, ino, EXTENT_XATTR_OFF);
    op->value = xattr->value;
    op->value_len = (uint32_t)xattr->size;
    return 0;
}

/* The next few from number *at on; false: there are no more. */
static bool copy_some(struct index *idx, uint64_t ino, uint32_t *at)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    struct xattr_walk walk = {.next = inode && idx->n_freezes ? inode->xattrs : 0};
    uint32_t first = *at, end = first + FROZEN_STEP;
    while (walk.n < end && index_next_xattr(idx, &walk)) {
        if (walk.n > first)
            (void)names_mut(&idx->names, walk.handle, xattr_stored_size(&walk.xattr));
    }
    *at = walk.n;
    return walk.n == end;
}

int xattrs_copy(struct eng *eng, uint64_t ino)
{
    uint32_t at = 0;
    int r = 0;
    for (bool more = true; more && !r;) {
        r = commit_begin(eng);
        if (r)
            break;
        pthread_rwlock_wrlock(&eng->index_lock);
        /* The next checkpoint has to write what was copied. */
        r = reserve_is_short(eng) ? -ENOSPC : chunk_pool_reserve(eng->idx.pool, FROZEN_STEP);
        more = !r && copy_some(&eng->idx, ino, &at);
        pthread_rwlock_unlock(&eng->index_lock);
        r = commit_end(eng, r);
        fault_point(&eng->hook, FP_XATTRS_COPIED);
    }
    return r;
}

/* Bytes that listxattr needs, and for how many. */
static size_t list_size(const struct index *idx, const struct inode_rec *inode, size_t *ret_n)
{
    struct xattr_walk walk = {.next = inode->xattrs};
    size_t size = 0;
    *ret_n = 0;
    for (; index_next_xattr(idx, &walk); ++*ret_n)
        size += walk.xattr.name_len + 1u;
    return size;
}

/* Whether one of such a name more is within the limits. */
static bool one_more(const struct index *idx, const struct inode_rec *inode, size_t name_len)
{
    size_t n, size = list_size(idx, inode, &n);
    return size + name_len + 1 <= ENG_XATTR_LIST_MAX && (n < ENG_XATTR_COUNT_MAX || MUTANT(MANY_XATTRS));
}

static int set_once(struct eng *eng, uint64_t ino, const char *name, const void *value, size_t size,
                    unsigned flags)
{
    CLEANUP_DRAFT struct draft draft = {0};
    CLEANUP_TXN struct txn txn = {0};
    const struct eng_xattr_pair xattr = {name, value, size};
    size_t name_len = strlen(name), at = 0;
    int r = xattrs_draft(&draft, value, size);
    if (!r)
        r = commit_begin(eng);
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
    else if (!there && !one_more(&eng->idx, inode, name_len))
        r = -ENOSPC;
    if (!r)
        r = xattrs_stage(&txn, &draft, &at, ino, &xattr, now_ns());
    if (!r)
        r = commit_txn(eng, &txn);
    return commit_end(eng, r);
}

int eng_setxattr(struct eng *eng, uint64_t ino, const char *name, const void *value, size_t size,
                 unsigned flags)
{
    if (!eng || !name || (!value && size))
        return -EINVAL;
    size_t name_len = strlen(name);
    if (name_len == 0 || name_len > ENG_XATTR_NAME_MAX)
        return -ERANGE;
    if (size > ENG_XATTR_SIZE_MAX)
        return -E2BIG;
    if (flags & ~3u)
        return -EINVAL;
    struct full_disk_try change = {.size = size};
    int r;
    do
        r = set_once(eng, ino, name, value, size, flags);
    while (full_disk_again(eng, &change, &r));
    return r;
}

static int remove_once(struct eng *eng, uint64_t ino, const char *name)
{
    CLEANUP_TXN struct txn txn = {0};
    int r = commit_begin(eng);
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
    return commit_end(eng, r);
}

int eng_removexattr(struct eng *eng, uint64_t ino, const char *name)
{
    if (!eng || !name)
        return -EINVAL;
    struct full_disk_try change = {.removing = true};
    int r;
    do
        r = remove_once(eng, ino, name);
    while (full_disk_again(eng, &change, &r));
    return r;
}

/* In a section of the view: the xattr, with an inline value copied out. */
static ssize_t find(const struct view *view, uint64_t ino, const char *name, void *value, size_t size,
                    struct xattr_view *ret_xattr)
{
    const struct index *idx = view->idx;
    const struct inode_rec *inode = index_inode(idx, ino);
    uint32_t state = inode ? view_slot(view, ino_slot(ino)) : 0;
    if (!state)
        return -ESTALE;
    if (state != ino_slot(ino)) {
        int r = past_xattr(idx, state, name, strlen(name), ret_xattr);
        if (r)
            return r > 0 ? -ENODATA : r;
    } else {
        uint32_t x = index_find_xattr(idx, inode, name, strlen(name));
        if (!x)
            return -ENODATA;
        if (!index_xattr(idx, x, ret_xattr))
            return -EBADMSG;
    }
    if (size && size < ret_xattr->value_len)
        return -ERANGE;
    if (size && !ret_xattr->is_extent)
        memcpy(value, ret_xattr->value, ret_xattr->value_len);
    return (ssize_t)ret_xattr->value_len;
}

/* The value of an xattr whose segment is pinned; lets the pin go. */
static int read_value(const struct view *view, struct segment *take_seg, uint64_t ino,
                      const struct locator *loc, void *value)
{
    int r = segment_read(take_seg, view->eng->io->ops, ino, EXTENT_XATTR_OFF, loc, 0, loc->len, value);
    segments_unpin(take_seg);
    if (r != -EBADMSG && r != -EIO)
        return r;
    view_damage(*view, ino, EXTENT_XATTR_OFF, loc, r == -EIO ? "read error" : "checksum mismatch");
    return -EIO;
}

/* Finds the xattr, and pins the segment of a value that lies in one; *ret_seg NULL: it does not. Values are
 * small: the segment is pinned within the section, so no generation is compared (I2). A file that is closed
 * is opened without the section, and kept open by a pin until the next look. */
static ssize_t find_and_pin(const struct view *view, uint64_t ino, const char *name, void *value, size_t size,
                            struct xattr_view *ret_xattr, struct segment **ret_seg)
{
    struct segments *segments = &view->eng->segments;
    struct segment *opened = NULL;
    ssize_t n = 0;
    int r = -EAGAIN;
    *ret_seg = NULL;
    for (unsigned tries = 1; r == -EAGAIN; tries++) {
        bool keep = tries > PIN_TRIES || MUTANT(OPEN_IN_SECTION); /* it is moved all the time */
        view_begin(view);
        n = find(view, ino, name, value, size, ret_xattr);
        bool is_extent = n > 0 && size && ret_xattr->is_extent;
        r = 0;
        if (is_extent)
            r = (keep ? segments_pin : segments_pin_open)(segments, ret_xattr->loc.seg, ret_seg);
        n = view_end(view, n);
        segments_unpin(STEAL(opened));
        if (r == -EAGAIN) {
            int error = segments_pin(segments, ret_xattr->loc.seg, &opened);
            r = error && error != -ENOENT ? error : r;
        }
    }
    return r ? r : n;
}

ssize_t xattrs_get(const struct view *view, uint64_t ino, const char *name, void *value, size_t size)
{
    struct xattr_view xattr = {0};
    struct segment *seg;
    if (!view->is_live && xattr_is_guard(name, strlen(name)))
        return -ENODATA; /* it is of what there is now alone */
    ssize_t n = find_and_pin(view, ino, name, value, size, &xattr, &seg);
    int r = 0;
    if (n == -ENOENT) {
        view_damage(*view, ino, EXTENT_XATTR_OFF, &xattr.loc, "segment is missing");
        r = -EIO;
    } else if (seg) {
        r = read_value(view, seg, ino, &xattr.loc, value);
    }
    return r ? r : n;
}

VIEW_HOT ssize_t eng_getxattr(struct eng *eng, uint64_t ino, const char *name, void *value, size_t size)
{
    if (!eng || !name || (!value && size))
        return -EINVAL;
    struct view live = view_live(eng);
    return xattrs_get(&live, ino, name, value, size);
}

struct name_list {
    char *names;
    size_t size; /* 0: they are only counted */
    ssize_t n;
};

static int put_name(void *arg, const struct xattr_view *xattr)
{
    struct name_list *out = arg;
    if (xattr_is_guard(xattr->name, xattr->name_len) && !MUTANT(GUARD_LISTED))
        return 0;
    if (out->size && (size_t)out->n + xattr->name_len + 1 > out->size)
        return -ERANGE;
    if (out->size) {
        memcpy(out->names + out->n, xattr->name, xattr->name_len);
        out->names[out->n + xattr->name_len] = 0;
    }
    out->n += xattr->name_len + 1;
    return 0;
}

static ssize_t list(const struct view *view, uint64_t ino, char *names, size_t size)
{
    const struct inode_rec *inode = index_inode(view->idx, ino);
    uint32_t state = inode ? view_slot(view, ino_slot(ino)) : 0;
    struct name_list out = {names, size, 0};
    int r = 0;
    if (!state)
        return -ESTALE;
    if (state != ino_slot(ino)) {
        r = past_xattrs(view->idx, state, put_name, &out);
    } else {
        struct xattr_walk walk = {.next = inode->xattrs};
        while (!r && index_next_xattr(view->idx, &walk))
            r = put_name(&out, &walk.xattr);
    }
    return r ? r : out.n;
}

ssize_t xattrs_list(const struct view *view, uint64_t ino, char *names, size_t size)
{
    view_begin(view);
    return view_end(view, list(view, ino, names, size));
}

ssize_t eng_listxattr(struct eng *eng, uint64_t ino, char *names, size_t size)
{
    if (!eng || (!names && size))
        return -EINVAL;
    struct view live = view_live(eng);
    return xattrs_list(&live, ino, names, size);
}

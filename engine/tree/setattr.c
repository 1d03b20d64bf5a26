/*
 * setattr.c - eng_setattr(): mode, owner, times and size. */
#include "commit/commit.h"
#include "commit/orphans.h"
#include "tree/attr.h"
#include "tree/guards.h"
#include "tree/tails.h"
#include "upkeep/full_disk.h"

struct tail {
    bool in_way; /* of the new size: it must be freed first, and nothing was done */
    bool left;   /* by the truncation, to be freed */
    bool is_new; /* there was none before, which another one has queued, or is freeing */
};

static int stage_size(struct eng *eng, struct txn *txn, const struct inode_rec *inode, uint64_t ino,
                      uint64_t size, int64_t now, struct tail *ret_tail)
{
    if (S_ISDIR(inode->mode))
        return -EISDIR;
    if (!S_ISREG(inode->mode))
        return -EINVAL;
    if (size > ENG_FILE_SIZE_MAX)
        return -EFBIG;
    ret_tail->in_way = tail_in_way_of_size(eng, ino, size);
    ret_tail->is_new = !(inode->flags & INODE_TAIL);
    return ret_tail->in_way ? 0 : tail_stage_size(eng, txn, ino, size, now, &ret_tail->left);
}

static int stage_fields(struct txn *txn, uint64_t ino, const struct eng_attr *attr, unsigned mask,
                        int64_t now)
{
    struct op *op = txn_op(txn, OP_ATTR);
    if (!op)
        return -ENOMEM;
    op->ino = ino;
    op->mask = mask & ATTR_MASK_STORED;
    if (mask & ENG_SET_ATIME_NOW)
        op->mask |= ENG_SET_ATIME;
    if (mask & ENG_SET_MTIME_NOW)
        op->mask |= ENG_SET_MTIME;
    op->mode = attr->mode;
    op->uid = attr->uid;
    op->gid = attr->gid;
    op->atime = mask & ENG_SET_ATIME_NOW ? now : attr->atime;
    op->mtime = mask & ENG_SET_MTIME_NOW ? now : attr->mtime;
    op->ctime = mask & ENG_SET_CTIME ? attr->ctime : now;
    return 0;
}

#define SET_ALL                                                                                              \
    (unsigned)(ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID | ENG_SET_SIZE | ENG_SET_ATIME | ENG_SET_MTIME |     \
               ENG_SET_CTIME | ENG_SET_ATIME_NOW | ENG_SET_MTIME_NOW)

static int setattr_once(struct eng *eng, uint64_t ino, const struct eng_attr *attr, unsigned mask,
                        struct guarded *guarded, struct full_disk_try *change, struct eng_attr *ret_attr,
                        struct tail *ret_tail)
{
    CLEANUP_TXN struct txn txn = {0};
    struct view live = view_live(eng);
    int64_t now = now_ns();
    *ret_tail = (struct tail){0};
    int r = commit_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(live.idx, ino);
    /* Without name and reference it is gone for callers, and freed with this very batch. */
    if (!inode || (!inode->nlink && !index_refs(live.idx, ino_slot(ino))))
        r = -ESTALE;
    else if (mask & ENG_SET_SIZE)
        change->removing = attr->size < inode->size;
    if (!r)
        r = guards_check(eng, guarded, 0, ino_slot(ino));
    if (!r && mask & ENG_SET_SIZE)
        r = stage_size(eng, &txn, inode, ino, attr->size, now, ret_tail);
    bool go = !r && !ret_tail->in_way;
    /* A mask that names nothing, as by chown(-1, -1), is still a change of status. */
    if (go && (mask == 0 || mask & ~(unsigned)ENG_SET_SIZE))
        r = stage_fields(&txn, ino, attr, mask, now);
    if (go && !r)
        r = commit_txn(eng, &txn);
    if (go && !r && mask & (ENG_SET_ATIME | ENG_SET_ATIME_NOW))
        atimes_drop(eng, ino);
    if (go && !r && ret_attr)
        attr_show(&live, index_inode(live.idx, ino), ino_slot(ino), ret_attr); /* what has become of it */
    return commit_end(eng, r);
}

int eng_setattr(struct eng *eng, uint64_t ino, const struct eng_attr *attr, unsigned mask,
                struct eng_attr *ret_attr)
{
    return eng_setattr_if(eng, ino, attr, mask, NULL, ret_attr);
}

int eng_setattr_if(struct eng *eng, uint64_t ino, const struct eng_attr *attr, unsigned mask,
                   const struct eng_guard *guard, struct eng_attr *ret_attr)
{
    const unsigned kinds = 1u << ENG_GUARD_STATE | 1u << ENG_GUARD_SHA256 | 1u << ENG_GUARD_SEEN;
    struct guarded guarded;
    if (!eng || !attr || mask & ~SET_ALL || guards_begin(&guarded, guard, kinds) != 0)
        return -EINVAL;
    struct view live = view_live(eng);
    struct full_disk_try change = {0};
    struct tail tail;
    int r;
    do {
        r = setattr_once(eng, ino, attr, mask, &guarded, &change, ret_attr, &tail);
        if (!r && tail.in_way)
            r = commit_tail(eng, ino);
    } while (guards_again(eng, &guarded, &r) || full_disk_again(eng, &change, &r) || (!r && tail.in_way));
    if (!r && tail.left) {
        if (commit_tail(eng, ino) && tail.is_new)
            orphans_add(eng, ino);
        if (ret_attr)
            (void)attr_get(&live, ino, ret_attr); /* without the tail's bytes, unless it is gone by now */
    }
    return r;
}

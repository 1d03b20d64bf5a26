/*
 * past.h - states of an inode that ended and are kept (docs/lab/history-design.md).
 *
 * A past state is an inode record of its own. Head, newest past state, ..., oldest are a line, linked by
 * `past`. A past state has what was replaced since it ended; what it has no entry for is as the next newer
 * state has it, up to its reach (past_reach()) and the size of that one; behind these are zeros. So each
 * extent has one owner, and what is given to the past changes no figure of a segment.
 *
 * The line does not branch: all that the head loses goes to its newest past state, if that lacks it. A state
 * that ends without an OP_KEEP is amended: the newest past state stands for both.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_PAST_H
#define ENGRAMFS_PAST_H

#include "index/index.h"

/* The past state of that number, or NULL. */
static inline const struct inode_rec *past_state(const struct index *idx, uint64_t ino)
{
    const struct inode_rec *past = index_slot(idx, ino_slot(ino));
    return past && past->reuse == ino >> 32 && past->flags & INODE_PAST ? past : NULL;
}
/* The inode or past state of that number, or NULL: what names an extent, for OP_RELOCATE and compaction. */
static inline const struct inode_rec *past_or_inode(const struct index *idx, uint64_t ino)
{
    const struct inode_rec *inode = index_slot(idx, ino_slot(ino));
    return inode && inode->reuse == ino >> 32 ? inode : NULL;
}
/* The number that the headers of its extents have: an inode's own, of a past state that of its head. 0: that
 * is not there. */
static inline uint64_t past_owner(const struct index *idx, const struct inode_rec *inode, uint32_t slot)
{
    uint32_t owner = inode->flags & INODE_PAST ? past_head(inode) : slot;
    const struct inode_rec *head = index_slot(idx, owner);
    return head ? index_ino(head, owner) : 0;
}
/* Whether the state may follow a newer one, `newer`, of which the head is the last: it ended when that began
 * or before; when that is going, it stands for it. */
static inline bool past_may_follow(const struct inode_rec *past, const struct inode_rec *newer)
{
    if (past_begin(past) >= past_end(past) || (past->mode ^ newer->mode) & S_IFMT)
        return false;
    if (!(newer->flags & INODE_PAST))
        return true;
    uint64_t before = newer->flags & INODE_GOING ? past_end(newer) : past_begin(newer);
    return past_end(past) <= before && past_number(past) < past_number(newer);
}
/* Of an entry of the extent tree of a past state. */
static inline bool past_is_hole(const struct locator *loc)
{
    return !loc->seg && !loc->off8 && !loc->skip && loc->len && !loc->ext_len;
}
/* The batch with which the present state of a head began, 0 not known. */
static inline uint64_t past_head_begin(const struct index *idx, const struct inode_rec *head)
{
    const struct inode_rec *newest = index_slot(idx, head->past);
    if (newest)
        return past_end(newest);
    return head->flags & INODE_AMENDED ? 0 : head->state >> 16;
}

/* OP_KEEP. -EBADMSG. */
int past_keep(struct index *idx, const struct op *op, uint64_t seq);
/* OP_DROP. -EBADMSG. */
int past_drop(struct index *idx, const struct op *op, uint64_t seq);
/* The present state of an inode that has a past ends with batch `seq`. */
void past_amend(struct index *idx, const struct inode_rec *head, uint64_t seq);
/*
 * In place of extents_punch() for the head of a line: what it has in [off, end) goes to the past as far as
 * the past reads it; what lies behind its size goes to the state whose tail that is. `put`: something else
 * comes there, and so that holes stay holes they are noted. */
int past_give(struct index *idx, uint32_t slot, uint64_t off, uint64_t end, bool put, uint64_t seq);

/*
 * In place of xattr_free() for the head of a line: the xattr, which is in no list any more, goes to the past
 * if that lacks one of its name. `gone`: none of that name comes in its place. -EBADMSG. */
int past_give_xattr(struct index *idx, const struct inode_rec *head, uint32_t handle, bool gone,
                    uint64_t seq);
/* One of that name comes to a head that has none. */
void past_note_absent(struct index *idx, const struct inode_rec *head, const char *name, uint32_t name_len);

/* Whether the head has a tail that must go before its size may fall to `size`: what a past state reads in it,
 * and what not, would be one. */
static inline bool past_tail_in_way(const struct inode_rec *head, uint64_t size)
{
    return head->past && head->flags & INODE_TAIL && size < head->size;
}
/* A truncation has left a tail, which is the newest past state's as far as that reads it, until it is given
 * or freed; no state has another one. */
uint32_t past_tail_owner(const struct index *idx, const struct inode_rec *head); /* slot, 0 none */
void past_begin_tail(struct index *idx, uint32_t slot);
void past_end_tail(struct index *idx, uint32_t slot);

/* Entries that what the op gives may add to the extent tree, beyond what it takes: `taken` of the head. With
 * `kept` a state is kept before it in its batch. */
uint32_t past_gives(const struct index *idx, const struct op *op, uint64_t off, uint64_t end, uint32_t taken,
                    bool kept);

#endif

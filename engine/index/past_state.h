/*
 * past_state.h - what a past state (past.h) says of itself.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_PAST_STATE_H
#define ENGRAMFS_PAST_STATE_H

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
/* Or a leap (leaps.h): the number of a past state, behind which it leads; 0: it is none. */
static inline uint32_t past_leap(const struct locator *loc)
{
    return !loc->seg && !loc->skip && loc->len && !loc->ext_len ? loc->off8 : 0;
}
/* The batch with which the present state of a head began, 0 not known. */
static inline uint64_t past_head_begin(const struct index *idx, const struct inode_rec *head)
{
    const struct inode_rec *newest = index_slot(idx, head->past);
    if (newest)
        return past_end(newest);
    return head->flags & INODE_AMENDED ? 0 : head->state >> 16;
}

#endif

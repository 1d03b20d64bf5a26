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

#include "index/past_state.h"

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

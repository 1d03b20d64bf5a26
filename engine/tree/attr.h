/*
 * attr.h - attributes of inodes as callers see them. */
#ifndef ENGRAMFS_ATTR_H
#define ENGRAMFS_ATTR_H

#include "commit/atimes.h"
#include "tree/view.h"

/* Of a record alone, without the access time that is kept beside it. */
void attr_fill(const struct inode_rec *inode, uint32_t slot, struct eng_attr *ret_attr);
/* As callers see the inode in the slot, of a view that is not past; in a section of it, or under log.lock for
 * the live one. Inline, so that the view's address goes nowhere (VIEW_HOT). */
static inline void attr_show(const struct view *view, const struct inode_rec *inode, uint32_t slot,
                             struct eng_attr *ret_attr)
{
    attr_fill(inode, slot, ret_attr);
    if (view->is_live)
        atimes_overlay(view->eng, ret_attr);
}
/* The same of a past view, a copy for that reason; false: it is not there. */
bool attr_show_past(struct view view, uint32_t slot, struct eng_attr *ret_attr);
/* eng_view_bytes(). */
int attr_bytes_past(const struct view *view, uint64_t ino, uint64_t *ret_bytes);
/* The same of the state that it shows of the inode in the slot, which is found. */
void attr_show_state(const struct view *view, uint32_t slot, const struct inode_rec *state,
                     struct eng_attr *ret_attr);
/* In any view, in a section. */
static inline bool attr_of(const struct view *view, uint32_t slot, struct eng_attr *ret_attr)
{
    if (view_is_past(view))
        return attr_show_past(*view, slot, ret_attr);
    const struct inode_rec *inode = index_slot(view->idx, slot);
    if (inode)
        attr_show(view, inode, slot, ret_attr);
    return inode != NULL;
}
/* eng_getattr() in any view. */
int attr_get(const struct view *view, uint64_t ino, struct eng_attr *ret_attr);
/* eng_state() in any view. */
int attr_get_state(const struct view *view, uint64_t ino, uint64_t *ret_state);

#endif

/*
 * attr.h - attributes of inodes as callers see them. */
#ifndef ENGRAMFS_ATTR_H
#define ENGRAMFS_ATTR_H

#include "tree/view.h"

/* Of a record alone, without the access time that is kept beside it. */
void attr_fill(const struct inode_rec *inode, uint32_t slot, struct eng_attr *ret_attr);
/* As callers see the inode in the slot, of a view that is not past; in a section of it, or under log.lock for
 * the live one. */
void attr_show(const struct view *view, const struct inode_rec *inode, uint32_t slot,
               struct eng_attr *ret_attr);
/* As callers of the view see the inode in the slot, in a section; false: it is not there. */
bool attr_of(const struct view *view, uint32_t slot, struct eng_attr *ret_attr);
/* eng_getattr() in any view. */
int attr_get(const struct view *view, uint64_t ino, struct eng_attr *ret_attr);

#endif

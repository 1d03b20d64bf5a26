/*
 * attr.h - attributes of inodes as callers see them. */
#ifndef ENGRAMFS_ATTR_H
#define ENGRAMFS_ATTR_H

#include "tree/view.h"

/* Of a record alone, without the access time that is kept beside it. */
void attr_fill(const struct inode_rec *inode, uint32_t slot, struct eng_attr *ret_attr);
/* As callers see the inode in the slot; in a section of the view, or under log.lock for the live one. */
void attr_show(const struct view *view, const struct inode_rec *inode, uint32_t slot,
               struct eng_attr *ret_attr);
/* eng_getattr() in any view. */
int attr_get(const struct view *view, uint64_t ino, struct eng_attr *ret_attr);

#endif

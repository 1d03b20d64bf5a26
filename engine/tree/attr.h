/*
 * attr.h - attributes of inodes as callers see them.
 */
#ifndef ENGRAMFS_ATTR_H
#define ENGRAMFS_ATTR_H

#include "core/eng.h"

/* Of a record alone, without the access time that is kept beside it. */
void attr_fill(const struct inode_rec *inode, uint32_t slot, struct eng_attr *ret_attr);
/* As callers see them; under index_lock or log.lock. */
void attr_show(struct eng *eng, uint32_t slot, struct eng_attr *ret_attr);

#endif

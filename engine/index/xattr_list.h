/*
 * xattr_list.h - the list of xattrs of an inode or a past state, in names.
 *
 * Locking: as index.h. Reserved by whoever applies the op. */
#ifndef ENGRAMFS_XATTR_LIST_H
#define ENGRAMFS_XATTR_LIST_H

#include "guarded.h"
#include "index/index.h"

/* The name that no list tells, and that is no part of a state (engine.h). */
#define XATTR_GUARD ENG_GUARD_XATTR
static inline bool xattr_is_guard(const char *name, size_t len)
{
    return len == sizeof XATTR_GUARD - 1 && memcmp(name, XATTR_GUARD, len) == 0;
}

/* A new one at the front: `value_len` bytes at `value`, or a locator with XATTR_IS_EXTENT, or nothing. */
void xattr_add(struct index *idx, struct inode_rec *inode, const struct xattr_rec *rec, const char *name,
               const void *value);
/* Takes one, `view`, out of the list that it is in, in which it stands behind `before`; 0: it is the first
 * (index_find_xattr_behind()). */
void xattr_take(struct index *idx, struct inode_rec *inode, uint32_t before, const struct xattr_view *view);
/* Puts one that is in no list to the front. */
void xattr_put(struct index *idx, struct inode_rec *inode, uint32_t handle);
/* Frees one that is in no list. -EBADMSG. */
int xattr_free(struct index *idx, uint32_t handle, const struct xattr_view *view, uint64_t seq);

/* Names that some lists may have; what is not among them they have not, so that lists of thousands need not
 * be compared name by name. */
#define XATTR_NAME_BITS 65536u
struct xattr_names {
    uint64_t bits[XATTR_NAME_BITS / 64];
};
void xattr_names_none(struct xattr_names *names);
void xattr_names_add(const struct index *idx, const struct inode_rec *inode, struct xattr_names *names);
bool xattr_names_may_have(const struct xattr_names *names, const struct xattr_view *view);

#endif

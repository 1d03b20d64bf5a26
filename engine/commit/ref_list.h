/*
 * ref_list.h - a list of live ranges of content and of xattrs.
 *
 * Locking: none; a list belongs to one thread. */
#ifndef ENGRAMFS_REF_LIST_H
#define ENGRAMFS_REF_LIST_H

#include "base/util.h"
#include "disk/codec.h"

/* One live range, found in the index. */
struct extent_ref {
    uint64_t ino;   /* whose it is: an inode, or a past state */
    uint64_t owner; /* that its header, summaries and the path hint tell: of a past state its head */
    uint64_t off;   /* EXTENT_XATTR_OFF for an xattr value */
    struct locator from, to;
    uint64_t hsum;
};

/* A list of them; zeroed is empty. */
struct ref_list {
    struct extent_ref *refs;
    size_t n, cap;
};
int ref_list_add(struct ref_list *list, uint64_t ino, uint64_t owner, uint64_t off,
                 const struct locator *loc);
/* Appends what `found` has, which is empty afterwards. Slices collect into a small list under the lock;
 * growing the large one takes milliseconds. */
int ref_list_move(struct ref_list *list, struct ref_list *found);
/* By place, and of one extent by the first byte that is meant. */
void ref_list_sort(struct ref_list *list);

#endif

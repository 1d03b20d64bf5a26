/*
 * extents.h - which bytes of a file lie where: the first extent in the inode, further ones in
 * the tree. The same of a past state (past.h), which may have holes among them: locators with segment 0.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_EXTENTS_H
#define ENGRAMFS_EXTENTS_H

#include "index/index.h"

/* The first extent of the inode that ends after `off`: 0, 1 none, -EBADMSG. */
int index_extent(const struct index *idx, uint32_t slot, uint64_t off, uint64_t *ret_off,
                 struct locator *ret_loc);

/*
 * Counts the extents that reach into [off, end), up to max. *ret_end: where the first begins that was not
 * counted; `end` if none was left. -EBADMSG. */
int extents_count(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end, uint32_t max,
                  uint32_t *ret_n, uint64_t *ret_end);
/* The end of the run of extents without gaps that goes on at `off`, after at most max of them; *ret_n: how
 * many, fewer than max if the run ends there. -EBADMSG. */
int extents_run(const struct index *idx, uint32_t slot, uint64_t off, uint32_t max, uint64_t *ret_end,
                uint32_t *ret_n);

/* Calls emit for the extents that begin in [off, end), in order, until it returns non-zero (returned) or none
 * is left (0). -EBADMSG. */
int extents_scan(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end,
                 int (*emit)(void *arg, uint64_t off, const struct locator *loc), void *arg);

/* The same for those that reach into [off, end). */
int extents_scan_into(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end,
                      int (*emit)(void *arg, uint64_t off, const struct locator *loc), void *arg);
/* So many bytes of a locator, from `from` on. */
static inline struct locator locator_part(const struct locator *loc, uint64_t from, uint64_t len)
{
    struct locator part = *loc;
    part.skip += loc->seg ? (uint32_t)from : 0; /* a hole is a hole everywhere */
    part.len = (uint32_t)len;
    return part;
}
/* Takes [off, end) of the extent that is at `at` out of the inode's, whole or in part; the rest stays.
 * Reserved as a punch. */
int extents_take_part(struct index *idx, uint32_t slot, uint64_t at, const struct locator *loc, uint64_t off,
                      uint64_t end, uint64_t seq);
/* Removes [off, off + len) from the inode's extents, accounting the dead bytes to batch seq. */
int extents_punch(struct index *idx, uint32_t slot, uint64_t off, uint64_t len, uint64_t seq);
/* The one extent of an inode that has a name, which stands in it, comes to stand in a past state that has
 * none, and reads as far as its size: as extents_take_part() and extents_put() do it, but for the account of
 * the segment, where nothing changes. */
void extents_hand_over(struct index *idx, uint32_t from, uint32_t to);
/* Places loc at off, where nothing must be. */
int extents_put(struct index *idx, uint32_t slot, uint64_t off, const struct locator *loc);
/* The extent that stands in the inode comes into the tree. */
int extents_into_tree(struct index *idx, uint32_t slot);
/* Makes two of the extent that reaches from before `off` to behind it, if one does. Reserved as a punch. */
int extents_cut(struct index *idx, uint32_t slot, uint64_t off, uint64_t seq);
/* Moves the slot at off from *from to *to if it is there unchanged: 0, 1 superseded. */
int extents_move(struct index *idx, uint32_t slot, uint64_t off, const struct locator *from,
                 const struct locator *to, uint64_t seq);

#endif

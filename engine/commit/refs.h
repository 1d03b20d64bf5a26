/*
 * refs.h - the live ranges of content and of xattrs in given segments: what compaction moves and the scrub
 * verifies.
 *
 * Locking: index_lock shared, for a slice at a time. */
#ifndef ENGRAMFS_REFS_H
#define ENGRAMFS_REFS_H

#include "core/eng.h"

/* One live range, found in the index. */
struct extent_ref {
    uint64_t ino, off; /* off: EXTENT_XATTR_OFF for an xattr value */
    struct locator from, to;
    uint64_t hsum;
};
/* Whether the index still names the range where it was found. */
bool extent_ref_current(struct eng *eng, const struct extent_ref *ref);
bool extent_ref_current_locked(const struct index *idx, const struct extent_ref *ref);
/*
 * Collects the live ranges that lie in the segments for which `wanted` has a value (NULL: in all),
 * going through the index in short locked slices. Sorted by place. */
int extent_refs_collect(struct eng *eng, const struct idmap *wanted, struct extent_ref **ret_refs,
                        size_t *ret_n);

#endif

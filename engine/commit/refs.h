/*
 * refs.h - the live ranges of content and of xattrs in given segments: what compaction moves and the scrub
 * verifies.
 *
 * Each segment has a summary of its extents and their owners (commit/summaries.h), and the index tells what
 * of each is live. What a summary does not tell is noticed by the live bytes of the segment's record, and
 * found by a walk.
 *
 * Locking: index_lock shared, for a slice at a time. */
#ifndef ENGRAMFS_REFS_H
#define ENGRAMFS_REFS_H

#include "commit/ref_list.h"
#include "core/eng.h"

/* Whether the index still names the range where it was found. */
bool extent_ref_current(struct eng *eng, const struct extent_ref *ref);
bool extent_ref_current_locked(const struct index *idx, const struct extent_ref *ref);

#define REFS_AT_ONCE 256u
/* The same of many xattrs at once, REFS_AT_ONCE at most: the list of a file is gone through once for all of
 * its own, in short locked slices. Returns how many are current: they are the first of `refs` then. */
size_t extent_refs_current_xattrs(struct eng *eng, const struct extent_ref **refs, size_t n);

/*
 * Collects the live ranges that lie in the segments for which `wanted` has a value (NULL: in all, by a walk),
 * looking at the index in short locked slices. Sorted by place. Of a range that changed meanwhile it may have
 * what was there before, and what came to a segment meanwhile it may lack. */
int extent_refs_collect(struct eng *eng, const struct idmap *wanted, struct extent_ref **ret_refs,
                        size_t *ret_n);
/* The same of one segment, as far as its summary tells. *ret_whole: no summary can tell more. For tests, and
 * for those who count what is missing. */
int extent_refs_by_summary(struct eng *eng, uint32_t segment, struct ref_list *list, bool *ret_whole);

#endif

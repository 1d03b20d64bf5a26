/*
 * compact.h - one compaction: prepare, then steps of copy, install, retire.
 */
#ifndef ENGRAMFS_COMPACT_H
#define ENGRAMFS_COMPACT_H

#include "engine_impl.h"
#include "job.h"

/*
 * Runs a compaction to its end in this thread: of as many victims, best first, as it takes until at most the
 * share `leave` of all content is garbage; 0: of all. Writers who wait for room on a full disk get all.
 * The job's gate is passed between steps; the report is written under job->lock as it goes. 0, -ECANCELED, or
 * the error; whatever it is, every memory is readable at a published location (I8).
 */
int compact_run(struct eng *eng, struct job *job, double leave, struct eng_compact_report *report);
/* The segments to empty, best first, as many as it takes until at most the share `leave` is garbage; the
 * active one and those that are empty already do not count. The array becomes the caller's. -ENOMEM. */
struct candidate;
int compact_choose(struct eng *eng, double leave, struct candidate **ret_victims, size_t *ret_n);
/* Before anything is written: whether there is room to seal, to age the metadata, and to empty the best
 * victim. -ENOSPC. */
int compact_check_room(struct eng *eng);
/* What a full compaction would do now. */
int compact_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate);

/* One live range of content or of an xattr, found in the index; shared with the scrub. */
struct extent_ref {
    uint64_t ino, off; /* off: EXTENT_XATTR_OFF for an xattr value */
    struct locator from, to;
    uint64_t hsum;
};
/* Whether the range is still named where it was found. */
bool extent_ref_current(struct eng *eng, const struct extent_ref *ref);
bool extent_ref_current_locked(const struct index *idx, const struct extent_ref *ref);
/*
 * Collects the live ranges that lie in the segments for which wanted[id] is set (n_wanted entries),
 * going through the index in short locked slices. Sorted by place.
 */
int extent_refs_collect(struct eng *eng, const uint8_t *wanted, size_t n_wanted, struct extent_ref **ret_refs,
                        size_t *ret_n);

#endif

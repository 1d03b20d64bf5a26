/*
 * sight.h - all that a reader can see of a store, as text: in a view, or through the eng_ calls. Two sights
 * are equal exactly if names, order, attributes, content, holes, targets and xattrs are. */
#ifndef ENGRAMFS_TESTS_SIGHT_H
#define ENGRAMFS_TESTS_SIGHT_H

#include <stdint.h>

struct eng;
struct view;

/* In it where a content was not the same when read whole and in pieces. */
#define SIGHT_DIFFERENT "DIFFERENT"

/* What is seen from the root, and of the inodes in `more` (0 ends them; NULL: none). `view` NULL: what the
 * eng_ calls show. The caller frees. */
char *sight_of(struct eng *eng, const struct view *view, const uint64_t *more);

#endif

/*
 * path_spans.h - a path over time: which inodes it led to, and when (docs/lab/history-design.md, "What
 * history/PATH lists").
 *
 * Locking: in a section of the live view. */
#ifndef ENGRAMFS_PATH_SPANS_H
#define ENGRAMFS_PATH_SPANS_H

#include "tree/view.h"

/* [from, to) in batches. Those of a path rise, and no two overlap. */
struct path_span {
    uint64_t ino;
    uint64_t from, to; /* UINT64_MAX: it leads there */
    enum eng_version_event began, ended;
    bool goes_on;   /* it took the place of what had its content, owner, mode and fields */
    uint32_t actor; /* by whom it began, where what it was before tells; 0 unknown */
};
struct path_spans {
    struct path_span *all;
    size_t n, cap;
};

/* -ENOENT: the path led nowhere; -ENOSPC: it led to too many; -ENAMETOOLONG, -ENOMEM. path_spans_done() all
 * the same. */
int path_spans_find(const struct index *idx, const char *path, struct path_spans *ret_spans);
void path_spans_done(struct path_spans *spans);
/* How the inode in the slot came to a name that it got in that batch where there was none; `former` is the
 * past name before (index_former_name()), 0 none. */
enum eng_version_event path_how_came(const struct index *idx, uint32_t slot, uint32_t former, uint64_t begin);

#endif

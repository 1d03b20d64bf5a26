/*
 * history.h - .engram/history: see past_nodes.h.
 *
 * Who looks a name up needs the right to search in each folder that the path of its folder has led to: by the
 * mode of today, of a removed one by the last it had; to list them likewise. A version also asks each folder
 * of its path by the modes of then and of today; one that the path itself did not show then, which came along
 * by another name, whose folders are not known here, is for its owner alone. */
#ifndef ENGRAMFS_FS_HISTORY_H
#define ENGRAMFS_FS_HISTORY_H

#include "past_found.h"
#include "rules/xattr_rules.h"

/* What `name` leads to in a node of history/; `.` and `..` not. */
int history_find(fuse_req_t req, const struct ctl_paths_what *in, const char *name,
                 struct paths_found *found);
int history_list(fuse_req_t req, const struct ctl_paths_what *of, uint64_t from, paths_emit emit, void *arg);
/* The view in which a version is, if the one that is known (`seen_at`) is none any more. */
int history_open(fuse_req_t req, const struct ctl_paths_what *what, uint64_t seen_at, struct past *ret_past);
int history_check_way(fuse_req_t req, const struct past *past, const struct ctl_paths_what *what);
ssize_t history_told(fuse_req_t req, const struct ctl_paths_what *what, enum xa_virtual which, char *text,
                     size_t size);

#endif

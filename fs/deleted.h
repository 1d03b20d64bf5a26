/*
 * deleted.h - .engram/deleted: see past_nodes.h. In each folder that is there, or was removed, what was
 * removed from it and has no name now, and the folders that are there, perhaps with nothing below.
 *
 * Who looks a name up needs the right to search in that folder, to list it the right to read it: by the mode
 * of today, in a removed folder by that of then. To the kernel all are 01777, so that it lets owners move
 * what is theirs out. */
#ifndef ENGRAMFS_FS_DELETED_H
#define ENGRAMFS_FS_DELETED_H

#include "past_found.h"
#include "rules/xattr_rules.h"

/* The folder `deleted` itself, or with another number a folder in it that is there. -ESTALE: it is not. */
int deleted_folder(fuse_req_t req, uint64_t ino, struct paths_found *found);
/* What `name` leads to in a node of deleted/; `.` and `..` not. */
int deleted_find(fuse_req_t req, const struct ctl_paths_what *in, const char *name,
                 struct paths_found *found);
int deleted_list(fuse_req_t req, const struct ctl_paths_what *of, uint64_t from, paths_emit emit, void *arg);
/* The view in which it is, if the one that is known (`seen_at`) is none any more. */
int deleted_open(fuse_req_t req, const struct ctl_paths_what *what, uint64_t seen_at, struct past *ret_past);
/* Do the folders that it was in let the caller pass, as then and as today? 0 or -EACCES. */
int deleted_check_way(fuse_req_t req, const struct past *past, const struct ctl_paths_what *what);
ssize_t deleted_told(fuse_req_t req, const struct ctl_paths_what *what, enum xa_virtual which, char *text,
                     size_t size);
int deleted_undelete(fuse_req_t req, const struct ctl_paths_what *in, const char *name, fuse_ino_t new_parent,
                     const char *new_name);

#endif

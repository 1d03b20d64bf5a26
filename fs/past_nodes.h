/*
 * past_nodes.h - requests for .engram/history and .engram/deleted: what history.c and deleted.c have in
 * common. No state, no locks. */
#ifndef ENGRAMFS_FS_PAST_NODES_H
#define ENGRAMFS_FS_PAST_NODES_H

#include "past_found.h"
#include "rules/xattr_rules.h"

/* Is that one of both folders? */
static inline bool paths_is_root(const struct session *session, fuse_ino_t parent, const char *name)
{
    return session->paths && parent == CTL_DIR_INO &&
           (strcmp(name, ctl_files[CTL_HISTORY].name) == 0 || strcmp(name, ctl_files[CTL_DELETED].name) == 0);
}
/* Has a node of these no state of the past, and so no fields? */
static inline bool paths_is_bare(fuse_ino_t ino)
{
    return ctl_paths_owns(ino) && !ctl_paths_has_state(ino);
}

/* These answer the request. `parent` and `ino` are nodes there, or a root is asked for. */
void paths_on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void paths_on_getattr(fuse_req_t req, fuse_ino_t ino, bool is_statx);
/* paths_emit: of each entry whose place is behind `from`. 0 or a negative errno value. */
int paths_list(fuse_req_t req, fuse_ino_t node, uint64_t from, paths_emit emit, void *arg);
/* Out of deleted/, or it is refused. `new_name` may be made in `new_parent`, which is none of ours. */
int paths_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                 const char *new_name, unsigned flags);

/* past_begin_request() of a node that has a state. */
int paths_begin(fuse_req_t req, fuse_ino_t node, struct past *ret_past, uint64_t *ret_ino);
/* Does the way to a node that has a state let the caller pass? 0 or -EACCES. It is gone once, as deep as it
 * may be, until the store changes or another process asks: who gives up a group meanwhile has what he had. */
int paths_check_way(fuse_req_t req, fuse_ino_t node, const struct past *past);
/* XA_ACTOR and what follows, of a node that has a state: the length, which `value` has if that is `size` or
 * less. */
ssize_t paths_told(fuse_req_t req, fuse_ino_t node, enum xa_virtual which, char *value, size_t size);

#endif

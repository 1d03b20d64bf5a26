/*
 * past.h - requests for .engram/snapshots, .engram/at and the trees in them. Nothing in a tree can be
 * changed. */
#ifndef ENGRAMFS_FS_PAST_H
#define ENGRAMFS_FS_PAST_H

#include <errno.h>

#include "control/ages.h"
#include "control/nodes.h"
#include "control/past_paths.h"
#include "past_state.h"

/* Is it the folder of snapshots or of times, or in one of them or in history or deleted? */
static inline bool past_owns(fuse_ino_t ino)
{
    return ino == CTL_SNAPSHOTS_INO || ino == CTL_AT_INO || ctl_views_owns(ino) || ages_owns(ino) ||
           ctl_paths_owns(ino);
}

/* Is it in a view, in history or in deleted? */
static inline bool past_shows(fuse_ino_t ino)
{
    return ctl_views_owns(ino) || ctl_paths_owns(ino);
}

/* May a request change it? Nothing of the past, and nothing of the session but by its own verbs. */
static inline int past_check_change(fuse_ino_t ino)
{
    if (past_owns(ino))
        return -EROFS;
    return ctl_owns(ino) ? -EPERM : 0;
}

/*
 * The view of the node and the number of its inode in the store, for the caller of the request, until
 * past_done(). -ESTALE, -ENFILE. */
int past_begin_request(fuse_req_t req, fuse_ino_t node, struct past *ret_past, uint64_t *ret_ino);
/* past_check() for what the kernel keeps of a node: nobody may have a shut one filled, not even root, since
 * whoever it is shut for could then read what the kernel has; nor one of another user whom it should be shut
 * for by now. */
int past_check_node(fuse_req_t req, const struct past *past, fuse_ino_t node, uint64_t ino,
                    enum past_right right);
/* The folder that the view's root is in. */
static inline fuse_ino_t past_folder(const struct past *past)
{
    return past->what.is_at ? CTL_AT_INO : CTL_SNAPSHOTS_INO;
}
/* These answer the request, now or later. `parent` or `ino` is one that past_owns(). */
void past_on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void past_on_getattr(fuse_req_t req, fuse_ino_t ino, bool is_statx);
void past_on_readlink(fuse_req_t req, fuse_ino_t ino);
void past_on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off);
/* EROFS; what was stored through a mapping the kernel gives up again. */
void past_on_write(fuse_req_t req, fuse_ino_t ino, bool of_mapping);
void past_on_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence);
void past_on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void past_on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
/* The request will be refused: it removes a name in that folder. Else see ctl_views_refused(). */
void past_note_removal(fuse_req_t req, fuse_ino_t parent);
/* In the folder of snapshots. */
void past_on_mkdir(fuse_req_t req, const char *name);
int past_on_rmdir(fuse_req_t req, const char *name);
int past_on_rename(fuse_req_t req, const char *name, const char *new_name, unsigned flags);
/* Tells of each snapshot whose place in listings, `cookie`, is behind `from`. Under no lock. */
int past_list_snapshots(struct session *session, uint64_t from,
                        int (*emit)(void *arg, const char *name, uint64_t ino, uint64_t cookie), void *arg);

#endif

/*
 * past_found.h - what a name in .engram/history or .engram/deleted leads to. No state, no locks. */
#ifndef ENGRAMFS_FS_PAST_FOUND_H
#define ENGRAMFS_FS_PAST_FOUND_H

#include <limits.h>

#include "control/nodes.h"
#include "control/past_paths.h"
#include "past_state.h"

/* What a name there leads to. */
struct paths_found {
    struct ctl_paths_what what; /* its path is `path` */
    bool has_past;              /* it has a state, in a view that past_done() gives back: */
    struct past past;
    struct eng_attr attr; /* as then; of a folder in deleted/ that is there, as today */
    char path[PATH_MAX];
};

/* Is told of an entry of a listing, and says non-zero where there is no room for it. */
typedef int (*paths_emit)(void *arg, const char *name, uint64_t ino, mode_t mode, uint64_t place);

/* Is it in history/, and not in deleted/? */
static inline bool paths_is_history(enum ctl_paths_kind kind)
{
    return kind <= CTL_PATHS_VERSION;
}
/* Is it `history` or `deleted` itself? */
bool paths_is_top(const struct ctl_paths_what *what);
/* Of which the mtime of folders is: now, if something has changed since it was asked for. */
int64_t paths_time(const struct session *session);
/* What stat(2) shows as the number. No lock. */
uint64_t paths_ino(const struct session *session, const struct ctl_paths_what *what);
/* Copies a path into `found`. -ENAMETOOLONG. */
int paths_set(struct paths_found *found, const char *path, size_t len);
/* Is the caller one whom no folder on the way is asked for? */
bool paths_asks_no_way(fuse_req_t req);
/* Writes what people read of an actor. */
int paths_actor(const struct eng_actor *actor, char *text, size_t size);

#endif

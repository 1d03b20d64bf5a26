/*
 * past_paths.h - the nodes that the kernel has in .engram/history and .engram/deleted.
 *
 * A node is what it shows and the user who looked it up: each has nodes of his own, so that what the kernel
 * keeps of one is never shown to another. It takes memory, in which a history's has its path, as long as the
 * kernel has it (FORGET) or a request reads it. What all may take together is bounded, and what one person
 * may who is not trusted (persons.h), in bytes; at three quarters the kernel is asked to give up what nobody
 * uses (drop_names.h).
 *
 * A nodeid says of itself, so that nobody need look for it: bits 62 and 59, its kind (bits 2 to 4), whether
 * it is root's (1), whether it is shut (0); between them a number that is not used again.
 *
 * Locking: a lock of its own, a leaf: the engine is never called under it. */
#ifndef ENGRAMFS_CONTROL_PAST_PATHS_H
#define ENGRAMFS_CONTROL_PAST_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CTL_PATHS_BITS (UINT64_C(1) << 62 | UINT64_C(1) << 59)
/* So many bytes are in use at most; of them the last CTL_PATHS_KEPT only by trusted callers. */
#define CTL_PATHS_BYTES ((size_t)32 << 20)
#define CTL_PATHS_KEPT ((size_t)4 << 20)
#define CTL_PATHS_OF_ONE ((size_t)8 << 20)

enum ctl_paths_kind {
    CTL_PATHS_HISTORY,       /* history/PATH */
    CTL_PATHS_VERSIONS,      /* history/PATH/@ */
    CTL_PATHS_VERSION,       /* a state in it */
    CTL_PATHS_FOLDER,        /* in deleted/: a folder that is there */
    CTL_PATHS_REMOVED,       /* in deleted/: what was removed */
    CTL_PATHS_REMOVED_FOLDER /* the same */
};

/* Is it a node of these? */
static inline bool ctl_paths_owns(uint64_t nodeid)
{
    return nodeid >> 59 == CTL_PATHS_BITS >> 59;
}
static inline enum ctl_paths_kind ctl_paths_kind(uint64_t nodeid)
{
    return (enum ctl_paths_kind)(nodeid >> 2 & 7);
}
static inline bool ctl_paths_is_roots(uint64_t nodeid)
{
    return (nodeid >> 1 & 1) != 0;
}
/* As in views.h. */
static inline bool ctl_paths_is_shut(uint64_t nodeid)
{
    return (nodeid & 1) != 0;
}
/* Does it show an inode in a state of the past? */
static inline bool ctl_paths_has_state(uint64_t nodeid)
{
    const enum ctl_paths_kind kind = ctl_paths_kind(nodeid);
    return kind == CTL_PATHS_VERSION || kind >= CTL_PATHS_REMOVED;
}

/* What a node shows. */
struct ctl_paths_what {
    enum ctl_paths_kind kind;
    bool shut;
    uint64_t ino;    /* in the store; not of a path alone */
    uint64_t number; /* batch: of a version, or of a removal */
    uint64_t folder; /* in deleted/: where it is or was */
    /* Of history/ with `/` between names; of what was removed its name. With a NUL. */
    const char *path;
    size_t path_len;
};

struct ctl_paths;
struct ctl_path; /* a node */

/* With a seed that nobody knows, so that nobody can make nodes lie in one place. NULL: no memory. */
struct ctl_paths *ctl_paths_new(uint64_t seed);
/* No request may be under way. */
void ctl_paths_free(struct ctl_paths *paths);

/*
 * The kernel gets the node of that for `uid`, once more. `seen_at` is the batch in whose view the state is,
 * and `version` tells it from another one in that view (ctl_path_state()). -ENFILE: too much memory is in
 * use. -ENOMEM. */
int ctl_paths_ref(struct ctl_paths *paths, const struct ctl_paths_what *what, uid_t uid, bool trusted,
                  uint64_t seen_at, uint64_t state, uint64_t *ret_nodeid);
/* The kernel has so many less of that node. */
void ctl_paths_forget(struct ctl_paths *paths, uint64_t nodeid, uint64_t n);
/* That was moved to where a memory is: its node counts no more. The kernel has it until the new name is
 * looked up, so that there are no more of these than memories. For a trusted caller, since who keeps them
 * open can have more. */
void ctl_paths_moved(struct ctl_paths *paths, const struct ctl_paths_what *what, uid_t uid);
/* The node, until ctl_paths_put(); NULL: the kernel has none of that number. */
struct ctl_path *ctl_paths_get(struct ctl_paths *paths, uint64_t nodeid);
void ctl_paths_put(struct ctl_paths *paths, struct ctl_path *path);

/* Of a node that is had. No lock, but ctl_path_seen_at(). */
const struct ctl_paths_what *ctl_path_what(const struct ctl_path *path);
uint64_t ctl_path_state(const struct ctl_path *path);
uid_t ctl_path_uid(const struct ctl_path *path);
uint64_t ctl_path_seen_at(struct ctl_paths *paths, const struct ctl_path *path);

/* Who asked for the way to a node's state, and of which moment that was. */
struct ctl_way {
    uint64_t position; /* of the store: modes of today are as they were */
    uint64_t batch;    /* in whose view the way was gone */
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
/* Was he let pass, the last that was noted of the node? */
bool ctl_path_is_open(struct ctl_paths *paths, const struct ctl_path *path, const struct ctl_way *way);
void ctl_path_opened(struct ctl_paths *paths, struct ctl_path *path, const struct ctl_way *way);

/* Should the kernel give up what nobody uses? */
bool ctl_paths_wants_back(struct ctl_paths *paths);
/* Bytes in use. */
size_t ctl_paths_used(struct ctl_paths *paths);
/* A time, ns since the epoch, for all folders: another one, later, whenever the store's position is another
 * one. So the kernel keeps a listing until something has changed. */
int64_t ctl_paths_time(struct ctl_paths *paths, uint64_t position);

#endif

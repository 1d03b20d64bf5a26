/*
 * views.h - the views of the past that the kernel has nodes of: which snapshot each is of, and who looks.
 *
 * No node takes memory. A nodeid says all: bits 62 and 61, whether it is shut (60), the view's place here (12
 * bits, from bit 48 on), the place of the user who looked it up (9 bits, from 39), the low bits of how often
 * the inode's slot was used (7 bits, from 32), and the slot. Each user has nodes of his own, so that what the
 * kernel keeps of one is never shown to another. A place is in use, and its view open, as long as the kernel
 * has a node of it (FORGET) or a request reads it; what a dropped snapshot alone shows stays until then.
 *
 * Locking: a lock of its own, a leaf: the engine is never called under it. */
#ifndef ENGRAMFS_CONTROL_VIEWS_H
#define ENGRAMFS_CONTROL_VIEWS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine.h"

#define VIEWS_PLACES 4096u
/* Of these, for all who are not trusted: there are as many times as one likes. */
#define VIEWS_OF_TIMES 1024u
#define VIEWS_CALLERS 512u
/* Beyond any number of the engine, below the bit of control files: st_ino in a view has it. */
#define VIEWS_INO_BIT (UINT64_C(1) << 61)
#define VIEWS_NODE_BITS (UINT64_C(1) << 62 | VIEWS_INO_BIT)

struct ctl_views_node {
    uint32_t place, caller;
    uint32_t reuse; /* low bits */
    uint32_t slot;  /* of the inode in the store */
    /* Who looked it up could not read it. It is another node than that which he could read, so that what the
     * kernel has kept of that one is out of his reach. */
    bool shut;
};

/* Is it a node in a view? */
static inline bool ctl_views_owns(uint64_t nodeid)
{
    return (nodeid & VIEWS_NODE_BITS) == VIEWS_NODE_BITS;
}
uint64_t ctl_views_nodeid(const struct ctl_views_node *node);
struct ctl_views_node ctl_views_node(uint64_t nodeid);

struct ctl_views;

/* What a view shows: the snapshot of a batch, or with `is_at` the tree of a time, ns since the epoch. With
 * `is_batch` the tree of any batch, of which the kernel has no nodes. */
struct ctl_views_what {
    bool is_at, is_batch;
    uint64_t key;
};

/* A view that a request reads: immutable until ctl_views_put(). */
struct past {
    struct ctl_views *views;
    struct eng *eng;
    struct eng_view *view;
    struct ctl_views_what what;
    uint64_t batch; /* whose state it is */
    uint32_t place, caller;
    bool kept; /* the kernel may keep what it is told: root asks, by a node of root's */
    /* Of a node of past_paths.h alone: whose it is, and its state. */
    bool of_path;
    uid_t whose;
    uint64_t state; /* as eng_view_state() tells it */
};

/* NULL: no memory. `eng` is borrowed until ctl_views_free(). */
struct ctl_views *ctl_views_new(struct eng *eng);
/* No request may be under way. What the kernel still has is closed. */
void ctl_views_free(struct ctl_views *views);

/*
 * The view of that, for `uid`. `trusted`: may have the last places. -ENOENT: there is
 * no such snapshot, or what was there then is not kept; -ENFILE: too many are in use, or too many users look,
 * or one person as too many. */
int ctl_views_get(struct ctl_views *views, const struct ctl_views_what *what, uid_t uid, bool trusted,
                  struct past *ret_past);
/* The view of a node, for `uid`, and the number of its inode in the store. -ESTALE: the kernel has no node of
 * that view, or there is no such inode in it. -ENFILE. */
int ctl_views_get_node(struct ctl_views *views, uint64_t nodeid, uid_t uid, bool trusted,
                       struct past *ret_past, uint64_t *ret_ino);
void ctl_views_put(struct ctl_views *views, const struct past *past);

/* The node of an inode in it for that user. No lock. */
uint64_t ctl_views_nodeid_of(const struct past *past, uint64_t ino, bool shut);
/* What stat(2) shows as the number of an inode in that view. No lock. */
uint64_t ctl_views_shown_ino(const struct eng *eng, const struct ctl_views_what *what, uint64_t ino);
/* The kernel gets n nodes of it. Under nobody's lock; the view is still had. */
void ctl_views_ref(struct ctl_views *views, const struct past *past, uint64_t n);
/* The kernel has so many less of that node. */
void ctl_views_forget(struct ctl_views *views, uint64_t nodeid, uint64_t n);
/* Who the nodes of that caller are of, as long as there are some. */
uid_t ctl_views_uid(struct ctl_views *views, uint32_t caller);
/* The process has tried to remove something in the view of that node. For a while it may not drop the
 * snapshot: who removes a folder with all below, and believes no error, ends with that. */
void ctl_views_refused(struct ctl_views *views, uint64_t nodeid, pid_t process);
bool ctl_views_is_refused(struct ctl_views *views, uint64_t batch, pid_t process);
/* The snapshot of that batch was dropped. */
void ctl_views_dropped(struct ctl_views *views, uint64_t batch);
/* What the kernel should give up of what nobody uses, 0 nothing: so many places are in use, or users look,
 * that few are left; so many of times; of a dropped snapshot it has some. */
enum { CTL_VIEWS_MANY = 1, CTL_VIEWS_TIMES = 2, CTL_VIEWS_DROPPED = 4 };
/* The same of nodes of past_paths.h. */
enum { CTL_VIEWS_PATHS = 8 };
unsigned ctl_views_wants_back(struct ctl_views *views);
/* How many places are in use. */
unsigned ctl_views_used(struct ctl_views *views);

#endif

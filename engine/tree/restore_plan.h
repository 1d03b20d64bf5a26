/*
 * restore_plan.h - what eng_restore() has to write so that memories become what they were.
 *
 * Locking: none, or log.lock; each takes index_lock in sections. */
#ifndef ENGRAMFS_RESTORE_PLAN_H
#define ENGRAMFS_RESTORE_PLAN_H

#include "tree/past_view.h"

/* Whole blocks, but for the end of the file. */
struct range {
    uint64_t off, end;
    uint32_t n_pieces; /* of what differs */
    bool is_hole;      /* in what is to be */
    bool is_same;      /* no byte differs */
};

struct ranges {
    struct range *at;
    size_t n, cap;
};

/* What may be different, or tells that something has changed. */
struct restore_state {
    uint64_t version, state, size;
    uint32_t mode, uid, gid;
};

struct memory {
    uint64_t ino, from;
    const struct view *view; /* in which `from` is what `ino` is to be */
    struct restore_state is, then;
    bool reverts;        /* content of its own comes back as it lies (OP_REVERT), else it is copied */
    struct ranges parts; /* what differs, parted into content and holes if it is copied */
    size_t extent;       /* its first in the draft */
    uint32_t n_taken;    /* extents that come to lie elsewhere */
    char *names;         /* of what it is to have, one behind the other */
    char *gone;          /* of what it has and is to have no more, */
    size_t gone_len;     /* bytes */
    struct eng_xattr_pair *sets;
    size_t n_sets;
    bool has_tail; /* the batch leaves one */
};

struct restoring {
    struct eng *eng;
    struct memory *all;
    size_t n;
    struct eng_view **views;
    size_t n_views;
    bool is_locked;       /* the plan is made under log.lock */
    struct ranges differ; /* of one memory: where it is not as it is to be */
    size_t n_parts;
    struct draft draft;
    void **blobs; /* content and values, which the draft borrows */
    size_t n_blobs, cap_blobs;
    uint64_t bytes;              /* in them */
    uint64_t n_read;             /* bytes that the plan has compared */
    uint32_t n_taken;            /* extents and xattrs that the batch takes out */
    uint32_t n_moved;            /* pieces that it reverts */
    const struct memory *in_way; /* it has a tail, or lies in more extents than a batch takes */
};

/* All that the batch needs to know. Under log.lock or not: without it all may change before it is staged. */
int restore_plan(struct restoring *re);
bool restore_is_changed(const struct memory *m);
/* Frees all; closes the views. */
void restore_free(struct restoring *re);
/* Of the memory as it is: 0, -ESTALE, -EISDIR, -EINVAL. Without a name nobody would find it again. */
int restore_check(const struct inode_rec *inode);
/* Nobody has changed it since. */
bool restore_is_still(const struct inode_rec *inode, const struct restore_state *was);

#endif

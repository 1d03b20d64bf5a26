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
    bool is_any;     /* a folder, a link or a device, too, perhaps without a name: of a rollback */
    bool sets_mtime; /* it gets that of then */
    int64_t mtime;
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
int restore_check(const struct memory *m, const struct inode_rec *inode);
/* Nobody has changed it since. */
bool restore_is_still(const struct inode_rec *inode, const struct restore_state *was);

/* ---- the batch, under log.lock ---------------------------------------------- */

/* What trying has come to; all but the first begin again. */
enum outcome {
    RESTORE_DONE,
    RESTORE_STALE,   /* something has changed since the plan was made */
    RESTORE_TAILED,  /* a truncation has left something that must go first */
    RESTORE_CROWDED, /* the batch would take more extents out of the index than it may */
};

/* Whether all is as it was planned for. */
int restore_fits(struct restoring *re, enum outcome *ret_outcome);
/* What is there now is kept, settled or not: in front of all that changes it. */
int restore_stage_keeps(const struct restoring *re, struct txn *txn);
int restore_stage(struct restoring *re, struct txn *txn);
/* Counts what is staged, in front of the commit. -EFBIG: it is more than a batch moves. */
int restore_count(const struct restoring *re, struct txn *txn);
/* Under no lock, after the batch: what a truncation has left of the memories goes, or is queued. */
void restore_free_tails(struct restoring *re);
#define RESTORE_ROOM_MIN                                                                                     \
    (UINT64_C(1) << 20) /* asked for on a full disk, where little or nothing is copied, too */

#endif

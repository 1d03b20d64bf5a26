/*
 * walk.h - goes through a target's tree, depth first, without recursion (a
 * store may be deeper than a stack).
 *
 * Others may change the tree meanwhile. What is not there any more when the walk comes to it is looked for
 * once more at the end, by its inode: what was moved is told then (WALK_ERROR), unless the walk has come to
 * it there; a file that was removed is not. Of a folder that was removed nobody knows what was moved out of
 * it before, so it is told. A file that moves from where the walk was not yet to where it was already is
 * missed: only a snapshot has one moment. */
#ifndef ENGRAMCTL_WALK_H
#define ENGRAMCTL_WALK_H

#include "ctl/transfer/links.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"

enum walk_event {
    WALK_END,
    WALK_ENTRY,   /* anything but a directory */
    WALK_ENTER,   /* a directory, before its entries */
    WALK_LEAVE,   /* the same directory, after them */
    WALK_SKIPPED, /* nothing to do: a file by a temporary name, which was told, or what is gone */
    WALK_ERROR,   /* `error` happened at `path`; the walk goes on without it */
};

/* What a WALK_ERROR leaves out. */
enum walk_loss {
    WALK_LOST_ENTRY,
    WALK_LOST_FOLDER, /* with all in it */
    WALK_LOST_REST,   /* of the folder `path`: its listing broke off, and nobody knows what is missing */
    WALK_MOVED,       /* to `path` meanwhile, with all in it */
    WALK_REMOVED,     /* a folder, before it was listed */
};

/* A longer path is none to other programs. Formats with paths leave out what has one: anybody nests so many
 * directories that all paths together have gigabytes. */
#define WALK_PATH_MAX 4095
extern const char walk_too_long[]; /* for the user */

struct walk_frame;

struct walk {
    struct target *t; /* borrowed */
    struct walk_frame *frames;
    size_t depth, cap;
    struct buf path_buf;
    /* What the last call found. */
    tdir dir;         /* that holds it */
    const char *name; /* valid until the next call */
    const char *path; /* relative to the target's root, NUL-terminated; valid until the next call */
    size_t path_len;
    struct target_attr attr;
    int error;
    enum walk_loss loss; /* of WALK_ERROR */
    /* So far: folders left out with all in them, and folders not listed to their end. */
    uint64_t folders, cut;
    struct complaints unfinished; /* what imports have not finished, which is no memory */
    struct links gone; /* not there any more, by inode: `dir` 1 is a folder, and `broken` found since */
    size_t next_gone;  /* of the table: the next to be told */
    bool seeks;        /* the second time through the tree */
    char why[160];
};

int walk_init(struct walk *w, struct target *t);
void walk_done(struct walk *w);
enum walk_event walk_next(struct walk *w);
/* What the last call found is gone: it is WALK_SKIPPED. -ENOMEM. */
int walk_gone(struct walk *w);
/* After WALK_ERROR: what is left out and why, for the user. Valid until the next call. */
const char *walk_why(struct walk *w);
/* The handle of the directory just entered. */
tdir walk_entered(const struct walk *w);
/* The directory on the way to `path` that is so many components deep; 0: the root. */
tdir walk_above(const struct walk *w, size_t depth);
/* After WALK_ENTER: leaves the directory out, without a WALK_LEAVE. */
void walk_skip(struct walk *w);

#endif

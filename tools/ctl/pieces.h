/*
 * pieces.h - pieces of content that belong to no memory: which bytes of which piece count, where several
 * have the same place of a file. State: struct pieces, of the caller. */
#ifndef ENGRAMCTL_PIECES_H
#define ENGRAMCTL_PIECES_H

#include <stddef.h>
#include <stdint.h>

struct piece {
    uint64_t ino, offset, size; /* which bytes of which file; their sum is none that wraps */
    uint64_t seq;               /* order of writing */
    uint64_t segment, at;       /* where it was found: tells those of the same seq apart */
    char *path;                 /* where its file was; NULL: it does not say. Freed by pieces_free() */
};

struct pieces {
    struct piece *all; /* from pieces_settle() on by file, then as they were written */
    size_t n, cap;
    uint64_t *cuts;  /* room for 2 of each: where the pieces of the file begin and end, rising */
    size_t *owners;  /* of what lies behind each cut: the place of the youngest in `all`; SIZE_MAX: none */
    uint64_t n_cuts; /* of these that were looked at so far, for tests */
};

/* Takes the piece with its path. -ENOMEM: it is the caller's still. */
int pieces_add(struct pieces *p, const struct piece *take_piece);
/* When all are there. -ENOMEM. */
int pieces_settle(struct pieces *p);
/* The place of it in `all`; SIZE_MAX: it is none of them. */
size_t pieces_find(const struct pieces *p, const struct piece *piece);
/* Calls emit for each run of bytes of all[i] that is in no younger piece, `from` and `to` counted within it.
 * Stops at what is not 0, and returns that. */
int pieces_visible(struct pieces *p, size_t i, int (*emit)(void *arg, uint64_t from, uint64_t to), void *arg);
/* Where the file of all[i] was, by the youngest piece that tells; NULL: none does. */
const char *pieces_path(const struct pieces *p, size_t i);
/* How many files the pieces are of. */
size_t pieces_files(const struct pieces *p);
void pieces_free(struct pieces *p);

#endif

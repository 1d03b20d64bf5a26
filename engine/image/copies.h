/*
 * copies.h - reads both copies of each image file from the medium, and mends one from the other: a piece that
 * is bad, a file that is too short, too long, or missing. What is bad in both is told, so that it can be
 * written anew from memory.
 *
 * Meanwhile checkpoints are written: a piece counts only if it is still needed once it was found to be bad.
 *
 * Locking: one run at a time. Takes the lock of checkpoints, by the caller's functions, for each piece that
 * is mended; images.lock below it. */
#ifndef ENGRAMFS_COPIES_H
#define ENGRAMFS_COPIES_H

#include "disk/medium.h"
#include "image/reader.h"

/* A piece that is bad in one copy or in both. */
struct copies_damage {
    uint64_t file, offset;
    unsigned copy; /* IMAGE_COPIES: both have lost it */
    int error;     /* of one of them. -ENOENT: the file is missing, which is told once */
    bool mended;
    uint32_t kind;     /* enum piece_kind; 0: it is the file as a whole, or its end, that is bad */
    unsigned table;    /* of the pieces of chunks and of pages */
    uint32_t chunk, k; /* as map_each_piece() tells */
    struct piece_ref ref;
};

struct copies_run {
    struct images *images;
    struct medium *medium;
    bool mend; /* else only told */
    /* Between the two no checkpoint is written, and no file of one removed. */
    void (*exclude)(void *arg);
    void (*allow)(void *arg);
    /* After each piece; an error ends the run. */
    int (*step)(void *arg);
    /* For each damage, no lock held. An error ends the run. */
    int (*found)(void *arg, const struct copies_damage *damage);
    void *arg;
};

/* -ENOMEM, or the error of a callback; damage is none. */
int copies_prove(const struct copies_run *run);
/* That page of the map is written anew by the next checkpoint. With the lock of checkpoints held. */
void copies_renew_page(struct images *images, unsigned table, uint32_t page);
/* Whether the map still needs that piece. Takes images.lock. */
bool copies_is_needed(struct images *images, const struct copies_damage *d);

#endif

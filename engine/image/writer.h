/*
 * writer.h - writes a checkpoint: of each chunk that has changed the units that have, or all of them put
 * together, or the whole; the pages of the map that tell of them; the root. All of it twice (reader.h).
 *
 * Old files become emptier with each checkpoint. What is still needed of the emptiest is written anew, so
 * that they can go: no more bytes than the checkpoint has anyhow, and only while all files together are
 * larger than they need to be.
 *
 * A root is written once all pieces are durable in both copies, and their names; both files have it before
 * the checkpoint counts. Until then the one before stands, with all of its files.
 *
 * Locking: the caller writes one checkpoint at a time. images.lock is taken for a moment at the end. */
#ifndef ENGRAMFS_WRITER_H
#define ENGRAMFS_WRITER_H

#include "image/reader.h"

/* What all files may have together for each byte that is needed, in hundredths; images.spare_bytes come
 * besides. A file of which less than a fifth is needed goes whatever they have. */
#define IMAGE_SPARE_PERCENT 150u
/* A tidy one leaves one byte for so many that are needed. */
#define IMAGE_TIDY_SHARE 64u
/* So many files there are to be, if need be by cleaning small ones; and beyond twice as many whatever it
 * costs. */
#define IMAGE_FILES_MAX 48u

struct image_write {
    struct images *images;
    uint64_t id, seq; /* of the new checkpoint; id is behind that of all files */
    /* Frozen views of the tables, all with what was written since the last checkpoint
     * (table_take_dirty()). */
    struct table *const *views;
    unsigned n_views; /* never fewer than the checkpoint before has tables; 0: as many */
    const void *head; /* the caller's part of the root, a multiple of 8 bytes */
    size_t head_len;
    /* Called when all but the root is written: to make sure that a checkpoint may be. May be NULL. */
    int (*settle)(void *arg);
    /* Called after every few chunks. May be NULL. */
    void (*pause)(void *arg);
    /* Called when the disk has no room for [from, to) of a file: 0, something was given back, and it is to be
     * tried again; -errno, nothing was. May be NULL. */
    int (*make_room)(void *arg, struct io_file *file, uint64_t from, uint64_t to);
    void *arg;
    bool keep_files; /* old files would not go: no cleaning */
    bool tidy;       /* as much cleaning as it takes, up to the whole index anew */
};

struct image_written {
    uint64_t bytes;   /* to both files */
    uint64_t cleaned; /* of them: what was only moved */
    uint32_t images, deltas, merged, pages;
};

/*
 * 0: the checkpoint is durable, and what images->map tells of. Otherwise nothing has changed, and the units
 * belong to what is to be written (table_return_dirty()). -ENOSPC: not even without cleaning; -ENOMEM, ... */
int image_write(const struct image_write *in, struct image_written *ret_written);

enum image_removal {
    IMAGE_REMOVE_NONE,
    /* Of a store of version 1 only what an upgrade that came to no end has left: its own files have the names
     * of ours. */
    IMAGE_REMOVE_OURS,
    IMAGE_REMOVE_ALL,
};

/* Whether copy 0 of that number is a finished checkpoint of another store, in a format that is not known
 * here. */
struct image_others {
    bool (*is_alien)(void *arg, uint64_t id);
    void *arg;
};

/* Removes the image files that the map does not name, but for those that are finished and say that they are
 * of another store, or have another number: *ret_alien is that of one, 0 none. Returns how many bytes all
 * that stay have. `others` may be NULL. */
uint64_t image_remove_dead(struct images *images, enum image_removal which, const struct image_others *others,
                           uint64_t *ret_alien);

#endif

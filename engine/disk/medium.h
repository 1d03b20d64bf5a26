/*
 * medium.h - reads a file of the store from the medium: past the page cache where the system can do that,
 * elsewhere after what is cached of the file was dropped. What is only in memory proves nothing.
 *
 * Locking: none; one reader at a time. What lies before the end of a whole write is read as it was written,
 * also while others append to the file. */
#ifndef ENGRAMFS_MEDIUM_H
#define ENGRAMFS_MEDIUM_H

#include "disk/io.h"

#define MEDIUM_NAME_SIZE 32

struct medium {
    struct eng_io *io;
    char name[MEDIUM_NAME_SIZE]; /* of the open file; "": none */
    struct io_file *file;
    bool is_direct;
    uint8_t *window; /* what was read last: len bytes of the file from `at` on */
    uint64_t at;
    size_t len;
    uint64_t n_read; /* bytes, since medium_init() */
};

/* -ENOMEM. */
int medium_init(struct medium *m, struct eng_io *io);
void medium_free(struct medium *m);
/* Opens the file, unless it is the one that is open. */
int medium_open(struct medium *m, const char *name);
void medium_close(struct medium *m);
/* Reads from the open file. -EBADMSG if it ends before; -EIO only for an error of those very bytes, or of the
 * blocks in which they lie. */
int medium_read(struct medium *m, void *buf, size_t size, uint64_t offset);
int medium_size(struct medium *m, uint64_t *ret_size);

#endif

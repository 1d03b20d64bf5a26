/*
 * tar_exact.h - a tar archive on its way from libarchive to a file. libarchive writes the names of attributes
 * with each byte that is not plain as %XX, which other programs do not undo, and says hdrcharset for each
 * name that is not ASCII, which GNU tar does not know. This gives the names as they are; '=', which ends a
 * key, and '%' stay escaped, as GNU tar has them. Of a time before 1970 it writes the seconds rounded down
 * and then the fraction, -2.5 for -1.5; this writes the time. Pure. */
#ifndef ENGRAMCTL_TAR_EXACT_H
#define ENGRAMCTL_TAR_EXACT_H

#include "shared/buf.h"

#include <stdint.h>

#define TAR_BLOCK 512
#define TAR_TYPE_AT 156

/* The size that a header tells: octal digits, or a binary number after a byte with its highest bit set.
 * 0: none. */
uint64_t tar_size_of(const unsigned char *header);

/* Zero-initialised is the beginning. */
struct tar_exact {
    unsigned char block[TAR_BLOCK];
    size_t have;   /* bytes of it */
    uint64_t body; /* bytes to come of the current entry, which are passed on */
    uint64_t left; /* of a pax header: bytes to come, with those that fill up the last block */
    uint64_t size; /* and its size */
    unsigned char header[TAR_BLOCK];
    int64_t mtime;       /* of the entry whose headers are fed, ns: set by the caller */
    struct buf pax, out; /* out: to be written, and emptied by the caller */
};

/* -ENOMEM, -EBADMSG: no tar archive. */
int tar_exact_feed(struct tar_exact *x, const void *data, size_t n);
void tar_exact_done(struct tar_exact *x);

#endif

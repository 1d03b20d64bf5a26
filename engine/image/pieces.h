/*
 * pieces.h - the parts of an image file of the index (format 2): images of chunks, deltas of chunks, pages of
 * the map, and the root. Encoding and checking only; nothing here reads or writes files.
 *
 * A piece says what it is, so that salvage can go through a file whose map is lost; but only a reference,
 * which has the sum of the very bytes that are meant, makes it part of a checkpoint.
 *
 * Locking: none, pure functions. */
#ifndef ENGRAMFS_PIECES_H
#define ENGRAMFS_PIECES_H

#include "base/util.h"
#include "disk/codec.h"
#include "index/table.h"

enum piece_kind {
    PIECE_IMAGE = 1, /* the first `len` bytes of a chunk; zeros behind */
    PIECE_DELTA,     /* units of a chunk that replace those of the pieces before it */
    PIECE_PAGE,      /* of the map: where the pieces of some chunks are */
    PIECE_ROOT,      /* of a checkpoint: the rest of the index, and where the pages are */
};

struct piece_header {
    uint32_t magic;
    uint8_t kind, table; /* table: of a chunk or page */
    uint16_t reserved;
    uint32_t number; /* chunk of the table, or page */
    uint32_t len;    /* bytes behind the header, a multiple of 8 */
    uint64_t file;   /* id of the file that it was written to */
    uint64_t store;  /* superblock_tag() */
    uint64_t seq;    /* batch of the checkpoint that it was written for */
    uint64_t sum;    /* of the 40 bytes before it and of the bytes behind */
};
static_assert(sizeof(struct piece_header) == 48, "piece header layout");
#define PIECE_MAGIC 0x70676e65u /* "engp" */

/* Where a piece is: in image file `file`, and at the same place in its copy. */
struct piece_ref {
    uint64_t file; /* 0: nowhere */
    uint64_t offset;
    uint64_t sum; /* that of its header */
    uint32_t len; /* of header and all */
    uint32_t kind;
};
static_assert(sizeof(struct piece_ref) == 32, "piece reference layout");

/* Completes the header in place, for the h->len bytes of data behind it. */
void piece_seal(struct piece_header *h, const void *data);
/* Whether these ref->len bytes, header first, are the piece that is meant. -EBADMSG. */
int piece_check(const struct piece_ref *ref, uint64_t store, const void *bytes);
/* Whether they are any whole piece of the file, for salvage: `size` bytes are there. -EBADMSG. */
int piece_probe(uint64_t file, uint64_t store, const void *bytes, size_t size);

/* ---- deltas ------------------------------------------------------------------------------ */

/* Bytes that a delta of these units takes, without header. */
uint32_t delta_size(const struct table_dirty *units);
/* Writes it to `out`: the bitmap, then the units of the chunk. */
void delta_encode(const struct table_dirty *units, const uint8_t *chunk, uint8_t *out);
/* Puts the units of a delta of `len` bytes in their places. -EBADMSG: it is not as long as its bitmap
 * says. */
int delta_apply(const uint8_t *delta, uint32_t len, uint8_t *chunk);
static inline bool units_any(const struct table_dirty *units)
{
    uint64_t any = 0;
    for (unsigned w = 0; w < TABLE_UNIT_WORDS; w++)
        any |= units->bits[w];
    return any;
}
static inline void units_add(struct table_dirty *units, const struct table_dirty *more)
{
    for (unsigned w = 0; w < TABLE_UNIT_WORDS; w++)
        units->bits[w] |= more->bits[w];
}

/* ---- the map ------------------------------------------------------------------------------- */

#define MAP_PAGE_CHUNKS 256u /* of one table, in a page */
#define MAP_DELTAS_MAX 12u   /* of a chunk */

/* What a checkpoint knows of a chunk. */
struct map_entry {
    struct table_meta meta;
    uint32_t n_refs; /* 0: dropped. The first is an image, the others deltas, in order */
    struct piece_ref refs[1 + MAP_DELTAS_MAX];
    struct table_dirty since; /* the units of all its deltas */
};
/* The most bytes that a page can have, without header. */
#define MAP_PAGE_MAX (MAP_PAGE_CHUNKS * (16u + (1u + MAP_DELTAS_MAX) * 32u + 64u))

/* Bytes that the entries take in a page, without header; a multiple of 8. */
uint32_t map_page_size(const struct map_entry *entries, uint32_t n);
void map_page_encode(const struct map_entry *entries, uint32_t n, uint8_t *out);
/* -EBADMSG: there are not n of them, or one cannot be. */
int map_page_decode(const uint8_t *page, uint32_t len, struct map_entry *ret_entries, uint32_t n);

#endif

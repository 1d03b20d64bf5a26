/*
 * image_files.h - image files of the index as they lie on a simulated disk: both copies at once, the pieces
 * in them, and sums made right again after bytes were altered. */
#ifndef ENGRAMFS_TESTS_IMAGE_FILES_H
#define ENGRAMFS_TESTS_IMAGE_FILES_H

#include "disk/codec.h"
#include "image/reader.h"
#include "index/index.h"
#include "simdisk.h"

/* Writes both copies of the file, whichever of them is named. */
void image_files_put(struct simdisk *disk, const char *name, const void *data, size_t size);
/* XORs a byte of both copies of file `id`. */
void image_files_flip(struct simdisk *disk, uint64_t id, uint64_t at, uint8_t mask);
/* Removes both copies. */
void image_files_remove(struct simdisk *disk, const char *name);
/* The number of the newest image file on the disk that has anything in it, which one that was begun in a kill
 * has not; 0: there is none. */
uint64_t image_files_newest(struct simdisk *disk);
/* Makes all sums right again of a file that has all pieces of its checkpoint, as far as it is still made of
 * pieces: of each, of the references to it, and of the footer. */
void image_files_reseal(uint8_t *image, size_t size);

/* ---- forged ones ---- */

/* The newest checkpoint, for which pieces are added that say what a test wants, with sums that hold. */
struct forgery {
    struct simdisk *disk;
    uint64_t store;
    struct image_map map; /* as the pieces are to say */
    struct buf file;
    struct ckpt_head head; /* of a store without history it has no more than fits there */
};
/* The head as it is written; its length. */
size_t forge_head(const struct forgery *f, uint8_t out[sizeof(struct ckpt_head)]);
void forge_begin(struct forgery *f, struct simdisk *disk, uint64_t store);
/* Puts a piece behind all others; where it is. */
struct piece_ref forge_piece(struct forgery *f, enum piece_kind kind, const void *data, uint32_t len);
/* Puts page p of a table there, as the map says, and names it. */
void forge_page(struct forgery *f, unsigned table, uint32_t p);
/* Puts root and footer there and writes both copies. */
void forge_end(struct forgery *f);

#endif

/*
 * superblock_file.h - the two files that have the superblock, each with two copies of it: the one stands in
 * for the other.
 *
 * Locking: none; writers take turns: at an opening, and then by superblock_lock of struct eng. */
#ifndef ENGRAMFS_SUPERBLOCK_FILE_H
#define ENGRAMFS_SUPERBLOCK_FILE_H

#include "disk/codec.h"
#include "disk/io.h"

#define SUPERBLOCK_FILES 2u
extern const char *const superblock_names[SUPERBLOCK_FILES];

/*
 * Reads both. ret_errors[i]: 0 where a file is, byte for byte, what it should be; else -ENOENT, -EBADMSG, or
 * an error of reading it; -ESTALE: it is the copy, and ahead. -ENOENT: both are missing; -EPROTONOSUPPORT:
 * the first, which is the one to be believed, is of another format. */
int superblock_read(struct eng_io *io, struct superblock *ret_sb, int ret_errors[SUPERBLOCK_FILES]);
/* Whether a copy, which is whole, has feature bits that the superblock `sb` has not: those were to be set,
 * and are not. No harm is in that, since nothing was written yet that needs them. */
bool superblock_is_ahead(const uint8_t *data, size_t size, const struct superblock *sb);
/* Writes one of them, or both, anew, durably. */
int superblock_write_file(struct eng_io *io, const struct superblock *sb, unsigned which);
int superblock_write(struct eng_io *io, const struct superblock *sb);
/* Both, of a store that has one: the copy first, so that it never says less than the file that it stands in
 * for. After an error in the second nobody knows which one a crash would leave. */
int superblock_replace(struct eng_io *io, const struct superblock *sb);

#endif

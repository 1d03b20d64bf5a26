/*
 * unpack.h - bytes from a descriptor, unpacked if they are packed: by gzip, bzip2, xz, zstd or lz4, told by
 * how they begin. A block at a time: what it unpacks to takes no memory.
 *
 * What it unpacks to is right if unpack_read() came to the end: the sums of the format are compared, and
 * nothing follows but zeros. Until then nothing is known of any of it. */
#ifndef ENGRAMCTL_UNPACK_H
#define ENGRAMCTL_UNPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct unpack;

/* `fd` is borrowed. Reads the beginning. -ENOMEM, an error of read(2), -EBADMSG: damaged (unpack_why() is
 * not to be had), -EOPNOTSUPP: packed, and built without libarchive. */
int unpack_open(int fd, struct unpack **ret_unpack);
bool unpack_is_packed(const struct unpack *u);
/* As read(2), with a negative errno: -EBADMSG: damaged, or cut off. For struct lines. */
ssize_t unpack_read(void *unpack, void *buf, size_t n);
/* What is wrong, after -EBADMSG. */
const char *unpack_why(const struct unpack *u);
/* Bytes of the descriptor so far. */
uint64_t unpack_bytes(const struct unpack *u);
/* Warns if some of what was read has no sum. `name` is what messages call it. */
void unpack_tell_sums(const struct unpack *u, const char *name);
void unpack_close(struct unpack *u);

#endif

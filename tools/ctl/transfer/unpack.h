/*
 * unpack.h - bytes from a descriptor, unpacked if they are packed: by gzip, bzip2, xz, zstd or lz4, told by
 * how they begin. A block at a time: what it unpacks to takes no memory. */
#ifndef ENGRAMCTL_UNPACK_H
#define ENGRAMCTL_UNPACK_H

#include <stdbool.h>
#include <sys/types.h>

struct unpack;

/* `fd` is borrowed. Reads the beginning. -ENOMEM, an error of read(2), -EOPNOTSUPP: packed, and built without
 * libarchive. */
int unpack_open(int fd, struct unpack **ret_unpack);
bool unpack_is_packed(const struct unpack *u);
/* As read(2), with a negative errno: -EBADMSG: damaged, or cut off. For struct lines. */
ssize_t unpack_read(void *unpack, void *buf, size_t n);
void unpack_close(struct unpack *u);

#endif

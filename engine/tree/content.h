/*
 * content.h - reading and staging the content of files.
 */
#ifndef ENGRAMFS_CONTENT_H
#define ENGRAMFS_CONTENT_H

#include "core/eng.h"

/* Reads [off, off + size) into buf, holes as zeros; *ret_n is less at the end of the file. */
int content_read_range(struct eng *eng, uint64_t ino, void *buf, size_t size, uint64_t off, ssize_t *ret_n);
/* Adds to the transaction the extents for [off, off + size) of the file. `path` is the hint for offset 0. */
int content_stage(struct txn *txn, uint64_t ino, const void *data, size_t size, uint64_t off, int64_t time,
                  const char *path, uint32_t path_len);

#endif

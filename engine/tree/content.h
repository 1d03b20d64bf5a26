/*
 * content.h - reading and staging the content of files. */
#ifndef ENGRAMFS_CONTENT_H
#define ENGRAMFS_CONTENT_H

#include "tree/view.h"

/* Reads [off, off + size) into buf, holes as zeros; *ret_n is less at the end of the file. */
int content_read_range(const struct view *view, uint64_t ino, void *buf, size_t size, uint64_t off,
                       ssize_t *ret_n);
/* eng_content_hash() and eng_seek() in any view. */
int content_hash(const struct view *view, uint64_t ino, uint64_t *ret_hash);
int content_seek(const struct view *view, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset);
/* Adds to the transaction the extents for [off, off + size) of the file. `path` is the hint for offset 0. */
int content_stage(struct txn *txn, uint64_t ino, const void *data, size_t size, uint64_t off, int64_t time,
                  const char *path, uint32_t path_len);

#endif

/*
 * content.h - reading and staging the content of files. */
#ifndef ENGRAMFS_CONTENT_H
#define ENGRAMFS_CONTENT_H

#include "tree/view.h"

/* Reads [off, off + size) into buf, holes as zeros; *ret_n is less at the end of the file. */
int content_read_range(const struct view *view, uint64_t ino, void *buf, size_t size, uint64_t off,
                       ssize_t *ret_n);
/* eng_seek() in any view. */
int content_seek(const struct view *view, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset);
/* Encodes [0, size) of data as extents of one file, for content_stage(). `path` is the hint if they begin at
 * offset 0. */
int content_draft(struct draft *draft, const void *data, size_t size, const char *path, uint32_t path_len);
/* Adds to the transaction the extents [first, first + n) of the draft, as the content of the file from `off`
 * on. */
int content_stage(struct txn *txn, struct draft *draft, size_t first, size_t n, uint64_t ino, uint64_t off,
                  int64_t time);
/* Writes [off, end) of the file anew, as far as it is there, in few extents and in as many batches as there
 * are slices. Nobody sees a change. What cannot be read stays as it is, and what is written all the time. */
int content_gather(struct eng *eng, uint64_t ino, uint64_t off, uint64_t end);

#endif

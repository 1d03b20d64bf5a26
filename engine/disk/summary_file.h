/*
 * summary_file.h - the summary of a segment as its file has it: read from the end, or made again from what
 * the batches and extents say of themselves.
 *
 * Locking: none; the segment is pinned by the caller. */
#ifndef ENGRAMFS_SUMMARY_FILE_H
#define ENGRAMFS_SUMMARY_FILE_H

#include "disk/io.h"
#include "disk/segments.h"
#include "disk/summary.h"

/* Reads the summary at the end of a file of `size` bytes, which is the caller's to free; *ret_end: where what
 * it tells of ends. -ENODATA: there is none; -EBADMSG: it is damaged; -EIO, -ENOMEM. */
int summary_read(struct segment *seg, const struct eng_io_ops *ops, uint64_t store, uint64_t size,
                 struct summary *ret_s, uint64_t *ret_end);
/*
 * Makes it from what lies between the header and `end`. It goes as far as that is whole: *ret_end; what lies
 * behind is not in it, so that a summary that was made is not proven to be complete. Takes the memory of the
 * largest batch's ops and of a window. */
int summary_scan(struct segment *seg, const struct eng_io_ops *ops, uint64_t store, uint64_t end,
                 struct summary *ret_s, uint64_t *ret_end);

#endif

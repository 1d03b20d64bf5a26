/*
 * segment_file.h - what a segment file says of itself, as recovery meets it. */
#ifndef ENGRAMFS_SEGMENT_FILE_H
#define ENGRAMFS_SEGMENT_FILE_H

#include "core/eng.h"

struct seg_file {
    uint32_t id;
    bool valid;      /* header, or what a whole first batch says in its place */
    bool alien;      /* its header says that it is of another store or segment; or it is no file */
    bool unreadable; /* its header is, or what was looked at for marks, by an error of the medium */
    bool torn;       /* a batch in it was taken from the second copy of the log: nothing is appended */
    bool used;       /* part of the replayed log */
    bool mended;     /* its first batch spoke for its header */
    bool fresh;      /* read from the medium, not from memory */
    bool holds;      /* a whole batch of this store */
    bool passed_by;  /* a scan did not look at all that looks like batches */
    bool searched;   /* survivors, each of which was looked at: none is an only copy */
    uint64_t hashed; /* bytes of ops that a scan hashed, see batch_search_may() */
    uint64_t last;   /* the highest number of those that a scan found; 0: none */
    uint64_t unread_from;
    uint64_t unread; /* bytes from the first to the last sector that a scan could not read */
    uint64_t size;
    struct segment_header header;
};

/* A scan passes by something of `sf` from `at` on: nobody knows whether that is needed. Whether it is the
 * first. */
bool segment_file_pass_by(struct seg_file *sf, uint64_t at);
/* Writes the header anew, durably, from what `header` says. */
int segment_file_mend(struct eng *eng, struct seg_file *sf);
/* Its header is read soon, with those of others: the system may fetch them side by side. */
void segment_file_advise(struct eng *eng, uint32_t id);
/* Reads size and header; an error of the medium is one of its answers. `scratch` is the caller's. */
int segment_file_read(struct eng *eng, struct seg_file *sf, struct buf *scratch);
/* For qsort(). */
int segment_file_by_id(const void *a, const void *b);
/* Reads from `file`, which is that of `sf`, places rising; what cannot be read is zeros, and is noted. */
ssize_t segment_file_read_around(const struct eng_io_ops *ops, struct seg_file *sf, struct io_file *file,
                                 uint8_t *buf, size_t size, uint64_t at);

#endif

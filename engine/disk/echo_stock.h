/*
 * echo_stock.h - what the files of the echo hold, as a recovery or a scrub reads them: which batches, each
 * proved by its sums. Nothing of a file is believed that is not; what is damaged costs the records that lie
 * there, and those around it are found.
 *
 * Locking: none; a stock belongs to one thread. */
#ifndef ENGRAMFS_ECHO_STOCK_H
#define ENGRAMFS_ECHO_STOCK_H

#include "disk/echo.h"

/* A record. */
struct echo_ref {
    uint64_t seq, chain, sum; /* of its batch */
    uint64_t at;              /* in the echo */
    uint64_t offset;          /* of the batch, in `segment` */
    uint32_t segment, file;   /* `file`: among those of the stock */
    uint32_t ops_len, extents_len;
    uint64_t ino; /* that its first op is about, as it says */
    bool held;    /* it was appended in a hold */
    bool used;    /* that very batch is part of the log */
    bool only;    /* and the log has lost it */
};

struct echo_stock_file {
    uint32_t id;
    bool kept;   /* an earlier opening could not read it, and set it aside */
    bool unread; /* so much of it as cannot be read may be readable tomorrow */
    uint64_t size;
    bool headless; /* its header cannot be understood */
    bool copied;   /* it is a copy of the one that was written, as its header says */
    bool alien;    /* its header says that it is of another store, or has another name; or it is no file */
    uint64_t gap;  /* the batch of a record that cannot be understood and has others behind it; 0: none is */
    bool torn;     /* by a cut of the power, as it seems: no record says that what is missing was durable */
    bool damaged;  /* something that was durable cannot be understood, or something not be read */
    /* Where the last record ends that has no ref, as a checkpoint has it (stock.since); 0: none is there. */
    uint64_t old_end;
};

/* Zeroed is empty. */
struct echo_stock {
    struct echo_stock_file *files; /* ascending by id */
    size_t n_files, cap_files;
    struct echo_ref *refs; /* ascending by seq */
    size_t n_refs, cap_refs;
    uint64_t synced; /* the last batch whose record was durable, as others say */
    bool with_kept;  /* those that were set aside are read, too */
    uint64_t since;  /* records of batches up to that one have no ref: a checkpoint has them */
    bool has_refused;
    struct echo_stock_file refused; /* with which a loading has failed */
    /* Instead of refs: how many records are of a batch from `first` to `last`. */
    bool count_only;
    uint64_t first, last, n_counted;
};

/* Where the bytes of a file come from. */
struct echo_source {
    /* All of a range: -EIO, -EBADMSG where the file ends before. Any other error ends the reading. */
    int (*read)(void *arg, void *buf, size_t size, uint64_t off);
    void *arg;
    uint64_t self; /* io_identity() of the file; 0: not known */
    /* As io_skip_hole(). May be NULL: all of the file is read. */
    uint64_t (*skip_hole)(void *arg, uint64_t off);
};

/* Reads the records of one file of `size` bytes, and adds them behind the others. -ENOMEM, or an error of the
 * source. */
int echo_stock_scan(struct echo_stock *stock, const struct echo_source *source, uint64_t store, uint32_t id,
                    uint64_t size);
/* Once all are read: puts the records in order. */
void echo_stock_sort(struct echo_stock *stock);
/* Reads all files of the folder; `fresh`: from the medium, not from memory, and made durable (I11). A file
 * may be gone, be none, or lie on a medium that cannot be read (-EIO time after time): then it has no
 * records. Any other error with one of them ends the loading, if it has not passed when the file is asked for
 * again; but not where those that were set aside are read, which are to give what they have. Also -ENOMEM,
 * and what a listing may answer. */
int echo_stock_load(struct echo_stock *stock, struct eng_io *io, uint64_t store, bool fresh);
/* Reads the same files once more, no further than they went then, for the batches behind another one. */
int echo_stock_load_since(struct echo_stock *stock, struct eng_io *io, uint64_t store, bool fresh,
                          uint64_t since);
void echo_stock_free(struct echo_stock *stock);
/* The batch behind that one, NULL: none. */
struct echo_ref *echo_stock_find(const struct echo_stock *stock, uint64_t seq, uint64_t chain);
/* That very batch. NULL: there is none. */
struct echo_ref *echo_stock_find_batch(const struct echo_stock *stock, const struct batch_header *h);
/* Reads that batch: its header, and its ops into `ops`. -EBADMSG, -EIO, -ENOMEM. */
int echo_stock_read(const struct echo_stock *stock, struct eng_io *io, const struct echo_ref *ref,
                    struct batch_header *ret_header, struct buf *ops);

#endif

/*
 * txn.h - a transaction: the operations of one batch and the extents that they
 * publish, put together in memory before the log writes them.
 *
 * Locking: none; a transaction belongs to one thread. */
#ifndef ENGRAMFS_TXN_H
#define ENGRAMFS_TXN_H

#include "base/util.h"
#include "disk/codec.h"
#include "disk/draft.h"

/* Zeroed is empty. */
struct txn {
    struct op *ops;
    size_t n_ops, cap_ops;
    struct txn_piece { /* bytes of the extents, in order; borrowed from their draft */
        const uint8_t *data;
        size_t len;
    } * pieces;
    size_t n_pieces, cap_pieces;
    struct txn_head {
        size_t op;       /* the op that publishes it */
        uint8_t *head;   /* in its draft */
        uint64_t extent; /* its place among the batch's extents */
    } * heads;
    size_t n_heads, cap_heads;
    uint64_t extents_len;
    uint32_t n_freed; /* extents and xattrs that its ops take out of the index, as far as counted */
};

void txn_free(struct txn *txn); /* zeroed is fine */
#define CLEANUP_TXN __attribute__((cleanup(txn_free)))
/* Makes it empty again, keeping its memory. */
void txn_reset(struct txn *txn);
/* How far it is, and back to there: what was staged since, also in part, is forgotten. */
struct txn_mark {
    size_t n_ops, n_heads, n_pieces, last_len;
    uint64_t extents_len;
    uint32_t n_freed;
};
struct txn_mark txn_mark(const struct txn *txn);
void txn_rewind(struct txn *txn, const struct txn_mark *mark);
/* A new zeroed op of that type; valid until the next. NULL: no memory. */
struct op *txn_op(struct txn *txn, enum op_type type);
/*
 * Adds extent i of the draft, as that of the inode at file offset off, and has the last op publish it: sets
 * its loc, relative to the batch until log_append(). The draft must stay as it is until the commit, and each
 * of its extents may be added once. -ENOMEM. */
int txn_extent(struct txn *txn, struct draft *draft, size_t i, uint64_t ino, uint64_t off);

#endif

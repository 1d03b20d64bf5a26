/*
 * txn.h - a transaction: the operations of one batch and the extents that they
 * publish, put together in memory before the log writes them.
 *
 * Locking: none; a transaction belongs to one thread. */
#ifndef ENGRAMFS_TXN_H
#define ENGRAMFS_TXN_H

#include "base/util.h"
#include "disk/codec.h"

/* Zeroed is empty. */
struct txn {
    struct op *ops;
    size_t n_ops, cap_ops;
    struct buf bytes; /* heads, small payloads and paddings, in order */
    struct txn_piece {
        const void *data; /* NULL: from `bytes` at `at` */
        size_t at, len;
    } * pieces;
    size_t n_pieces, cap_pieces;
    struct txn_head {
        size_t op, at;   /* the op that publishes it; its head in `bytes` */
        uint64_t extent; /* its place among the batch's extents */
    } * heads;
    size_t n_heads, cap_heads;
    uint64_t extents_len;
    struct buf names; /* copies of path hints etc. that must live as long as the transaction */
};

void txn_free(struct txn *txn); /* zeroed is fine */
#define CLEANUP_TXN __attribute__((cleanup(txn_free)))
/* Makes it empty again, keeping its memory. */
void txn_reset(struct txn *txn);
/* How far it is, and back to there: what was staged since, also in part, is forgotten. */
struct txn_mark {
    size_t n_ops, n_heads, n_pieces, last_len, bytes, names;
    uint64_t extents_len;
};
struct txn_mark txn_mark(const struct txn *txn);
void txn_rewind(struct txn *txn, const struct txn_mark *mark);
/* A new zeroed op of that type; valid until the next. NULL: no memory. */
struct op *txn_op(struct txn *txn, enum op_type type);
/*
 * Adds an extent with `payload` (borrowed until the commit) for file offset off and has the last op
 * publish it: sets its loc, relative to the batch until log_append(). -ENOMEM. */
int txn_extent(struct txn *txn, uint64_t ino, uint64_t off, const void *payload, uint32_t len,
               const char *name, uint32_t name_len);

#endif

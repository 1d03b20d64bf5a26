/*
 * txn.c - see txn.h. */
#include "disk/txn.h"

#include <assert.h>

void txn_free(struct txn *txn)
{
    free(txn->ops);
    free(txn->pieces);
    free(txn->heads);
    *txn = (struct txn){0};
}

void txn_reset(struct txn *txn)
{
    txn->n_ops = txn->n_pieces = txn->n_heads = 0;
    txn->extents_len = 0;
    txn->n_freed = 0;
}

struct txn_mark txn_mark(const struct txn *txn)
{
    return (struct txn_mark){.n_ops = txn->n_ops,
                             .n_heads = txn->n_heads,
                             .n_pieces = txn->n_pieces,
                             .last_len = txn->n_pieces ? txn->pieces[txn->n_pieces - 1].len : 0,
                             .extents_len = txn->extents_len,
                             .n_freed = txn->n_freed};
}

void txn_rewind(struct txn *txn, const struct txn_mark *mark)
{
    txn->n_ops = mark->n_ops;
    txn->n_heads = mark->n_heads;
    txn->n_pieces = mark->n_pieces;
    if (mark->n_pieces)
        txn->pieces[mark->n_pieces - 1].len = mark->last_len; /* it may have grown */
    txn->extents_len = mark->extents_len;
    txn->n_freed = mark->n_freed;
}

struct op *txn_op(struct txn *txn, enum op_type type)
{
    if (array_grow(&txn->ops, &txn->cap_ops, txn->n_ops + 1, sizeof *txn->ops))
        return NULL;
    struct op *op = &txn->ops[txn->n_ops++];
    *op = (struct op){.type = (uint8_t)type};
    return op;
}

/* Adds bytes, which may be the continuation of those before. */
static int add_piece(struct txn *txn, const uint8_t *data, size_t len)
{
    struct txn_piece *last = txn->n_pieces ? &txn->pieces[txn->n_pieces - 1] : NULL;
    if (!len)
        return 0;
    txn->extents_len += len;
    if (last && last->data + last->len == data) {
        last->len += len;
        return 0;
    }
    int r = array_grow(&txn->pieces, &txn->cap_pieces, txn->n_pieces + 1, sizeof *txn->pieces);
    if (r)
        return r;
    assert(txn->pieces); /* array_grow() has room for at least one */
    txn->pieces[txn->n_pieces++] = (struct txn_piece){data, len};
    return 0;
}

int txn_extent(struct txn *txn, struct draft *draft, size_t i, uint64_t ino, uint64_t off)
{
    const struct draft_extent *e = &draft->extents[i];
    uint8_t *head = draft->bytes.data + e->head;
    size_t head_size = extent_head_size(e->len), payload_size = ALIGN8(e->len);
    int r = array_grow(&txn->heads, &txn->cap_heads, txn->n_heads + 1, sizeof *txn->heads);
    if (r)
        return r;
    extent_head_place(head, ino, off);
    txn->heads[txn->n_heads++] = (struct txn_head){txn->n_ops - 1, head, txn->extents_len};
    struct op *op = &txn->ops[txn->n_ops - 1];
    op->loc = (struct locator){.len = e->len, .ext_len = e->len}; /* its place is known when it is appended */
    if (!e->payload)
        return add_piece(txn, head, head_size + payload_size + ALIGN8(e->name_len));
    r = add_piece(txn, head, head_size);
    if (!r)
        r = add_piece(txn, e->payload, e->len);
    return r ? r : add_piece(txn, head + head_size, payload_size - e->len + ALIGN8(e->name_len));
}

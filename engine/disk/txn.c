/*
 * txn.c - see txn.h. */
#include "disk/txn.h"

#include <assert.h>

/* Payloads up to this size, bytes, are copied into the batch; larger ones are written from where they are. */
#define COPY_MAX 16384u

void txn_free(struct txn *txn)
{
    free(txn->ops);
    free(txn->pieces);
    free(txn->heads);
    buf_free(&txn->bytes);
    buf_free(&txn->names);
    *txn = (struct txn){0};
}

void txn_reset(struct txn *txn)
{
    txn->n_ops = txn->n_pieces = txn->n_heads = 0;
    txn->bytes.len = txn->names.len = 0;
    txn->extents_len = 0;
}

struct txn_mark txn_mark(const struct txn *txn)
{
    return (struct txn_mark){.n_ops = txn->n_ops,
                             .n_heads = txn->n_heads,
                             .n_pieces = txn->n_pieces,
                             .last_len = txn->n_pieces ? txn->pieces[txn->n_pieces - 1].len : 0,
                             .bytes = txn->bytes.len,
                             .names = txn->names.len,
                             .extents_len = txn->extents_len};
}

void txn_rewind(struct txn *txn, const struct txn_mark *mark)
{
    txn->n_ops = mark->n_ops;
    txn->n_heads = mark->n_heads;
    txn->n_pieces = mark->n_pieces;
    if (mark->n_pieces)
        txn->pieces[mark->n_pieces - 1].len = mark->last_len; /* it may have grown */
    txn->bytes.len = mark->bytes;
    txn->names.len = mark->names;
    txn->extents_len = mark->extents_len;
}

struct op *txn_op(struct txn *txn, enum op_type type)
{
    if (array_grow(&txn->ops, &txn->cap_ops, txn->n_ops + 1, sizeof *txn->ops))
        return NULL;
    struct op *op = &txn->ops[txn->n_ops++];
    *op = (struct op){.type = (uint8_t)type};
    return op;
}

/* Adds `len` bytes: data, or (NULL) what was just put at the end of txn->bytes. */
static int add_piece(struct txn *txn, const void *data, size_t at, size_t len)
{
    struct txn_piece *last = txn->n_pieces ? &txn->pieces[txn->n_pieces - 1] : NULL;
    txn->extents_len += len;
    if (!data && last && !last->data && last->at + last->len == at) {
        last->len += len;
        return 0;
    }
    int r = array_grow(&txn->pieces, &txn->cap_pieces, txn->n_pieces + 1, sizeof *txn->pieces);
    if (r)
        return r;
    assert(txn->pieces); /* array_grow() has room for at least one */
    txn->pieces[txn->n_pieces++] = (struct txn_piece){data, at, len};
    return 0;
}

static int add_bytes(struct txn *txn, const void *data, size_t len, size_t padded)
{
    int r = buf_reserve(&txn->bytes, padded);
    if (r || !padded)
        return r;
    uint8_t *out = txn->bytes.data + txn->bytes.len;
    if (len)
        memcpy(out, data, len);
    memset(out + len, 0, padded - len);
    txn->bytes.len += padded;
    return add_piece(txn, NULL, txn->bytes.len - padded, padded);
}

int txn_extent(struct txn *txn, uint64_t ino, uint64_t off, const void *payload, uint32_t len,
               const char *name, uint32_t name_len)
{
    uint8_t head[EXTENT_HEAD_MAX];
    (void)extent_head_encode(head, ino, off, 0, payload, len, name, name_len);
    int r = array_grow(&txn->heads, &txn->cap_heads, txn->n_heads + 1, sizeof *txn->heads);
    if (r)
        return r;
    txn->heads[txn->n_heads++] = (struct txn_head){txn->n_ops - 1, txn->bytes.len, txn->extents_len};
    struct op *op = &txn->ops[txn->n_ops - 1];
    op->loc = (struct locator){.len = len, .ext_len = len}; /* its place is known when it is appended */

    r = add_bytes(txn, head, extent_head_size(len), extent_head_size(len));
    if (!r && len <= COPY_MAX)
        r = add_bytes(txn, payload, len, ALIGN8(len));
    else if (!r) {
        r = add_piece(txn, payload, 0, len);
        if (!r)
            r = add_bytes(txn, NULL, 0, ALIGN8(len) - len);
    }
    return r ? r : add_bytes(txn, name, name_len, ALIGN8(name_len));
}

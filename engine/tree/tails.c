/*
 * tails.c - see tails.h. */
#include "tree/tails.h"

#include "index/extents.h"
#include "index/past.h"

int tail_stage_size(struct eng *eng, struct txn *txn, uint64_t ino, uint64_t size, int64_t time,
                    bool *ret_tail)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    uint32_t n = 0, slice = eng_cut(eng), left = slice - MIN_OF(txn->n_freed, slice);
    uint64_t end = UINT64_MAX;
    int r = 0;
    if (inode_n_extents(inode) > left && size <= inode->size)
        r = extents_count(&eng->idx, ino_slot(ino), size, UINT64_MAX, left, &n, &end);
    struct op *op = r ? NULL : txn_op(txn, OP_TRUNCATE);
    if (!op)
        return r ? r : -ENOMEM;
    *ret_tail = end != UINT64_MAX;
    op->flags = *ret_tail ? OP_LATER : 0;
    op->ino = ino;
    op->len = size;
    op->time = time;
    txn->n_freed +=
        MIN_OF(inode_n_extents(inode), left); /* with a tail all: it is freed in batches of its own */
    return 0;
}

bool tail_in_way(struct eng *eng, uint64_t ino, uint64_t end)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    uint64_t stop = end;
    /* Beside a frozen view what is written has the batch for itself. */
    uint32_t n, max = eng_apart(eng) ? 0 : eng_cut(eng);
    if (!inode || !(inode->flags & INODE_TAIL) || end <= inode->size)
        return false;
    return extents_count(&eng->idx, ino_slot(ino), inode->size, end, max, &n, &stop) == 0 && stop != end;
}

bool tail_in_way_of_size(struct eng *eng, uint64_t ino, uint64_t size)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    /* Where there is a history the batch may keep a state first. */
    bool shrinks = inode && inode->flags & INODE_TAIL && size < inode->size && eng_has_history(eng);
    return shrinks || tail_in_way(eng, ino, size);
}

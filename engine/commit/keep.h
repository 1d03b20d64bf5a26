/*
 * keep.h - what of the past a batch keeps: decided once, when it is made, and said in the log (I12).
 *
 * Locking: log.lock. */
#ifndef ENGRAMFS_KEEP_H
#define ENGRAMFS_KEEP_H

#include "core/eng.h"

/*
 * Of a store that has a history, before anything is added to the transaction of a caller: stages an OP_KEEP
 * for each inode whose state ends with it and is kept, in front of the ops that change inodes (behind each
 * OP_CREATE, which come first then), and marks names that are kept (OP_KEPT, OP_MOVED), and changes of times
 * alone (OP_SAME). Of a store that keeps a history it adds an OP_MOMENT where the batch begins a moment, and
 * an OP_FLOOR where something had to be left out; and an OP_BY in front of all where it is known who makes
 * the batch. txn->ops moves. -ENOMEM, -ENOSPC: no number is left; the transaction is as it was, but for
 * marks. */
int keep_stage(struct eng *eng, struct txn *txn);
/* Whether the configuration asks for a history, or, where it does not say, there is one. Under log.lock or
 * index_lock. */
bool keep_is_on(const struct eng *eng);
/* OP_FLOOR for the next batch: with FLOOR_OFF of no batch the past is whole, else of that one and later ones.
 * Under log.lock. */
struct op keep_floor(struct eng *eng, enum floor_reason reason);
/* It was said, or is going to be: for eng_stats, which tells why parts of the past went. */
void keep_note_floor(struct eng *eng, const struct op *op);
/* Whether the staged transaction keeps the state that the inode has. */
bool keep_has(const struct txn *txn, uint64_t ino);

#endif

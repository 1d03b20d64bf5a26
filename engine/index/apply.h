/*
 * apply.h - what each operation of the log does to the index.
 *
 * Locking: index_lock exclusive. */
#ifndef ENGRAMFS_APPLY_H
#define ENGRAMFS_APPLY_H

#include "index/index.h"

/* Memory for applying these ops, so that index_apply() cannot fail for want of it. -ENOMEM. */
int index_reserve(struct index *idx, const struct op *ops, size_t n);
/* Where the op, of one that is about an inode's content, may take extents out, or cut them: [*ret_from,
 * *ret_end). */
void index_op_range(const struct index *idx, const struct op *op, uint64_t *ret_from, uint64_t *ret_end);
/* Of each table the most chunks that these ops take away from or change, as the next checkpoint has to write
 * them; those that are added are not counted. Under log.lock. */
void index_changes(const struct index *idx, const struct op *ops, size_t n,
                   uint64_t ret_chunks[INDEX_TABLES]);
/*
 * Applies one op of batch `seq`. A live caller has validated the op; from recovery anything may come,
 * and what does not fit is -EBADMSG, with the index still sound in memory but not to be used. */
int index_apply(struct index *idx, const struct op *op, uint64_t seq);
/* The same for the first of n ops of a batch or, where those move xattrs, for some of them: the list of a
 * file is gone through once for all of its own. So a batch is applied, by its writer and by a recovery.
 * *ret_n: how many, 1 at least; *ret_lost: relocations among them that found something else. */
int index_apply_next(struct index *idx, const struct op *ops, size_t n, uint64_t seq, size_t *ret_n,
                     size_t *ret_lost);

#endif

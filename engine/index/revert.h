/*
 * revert.h - OP_REVERT: content of a past state becomes that of its head again, as it lies (leaps.h).
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_REVERT_H
#define ENGRAMFS_REVERT_H

#include "index/past_state.h"

/* The head has in [off, off + len) what the past state of its line shows. What it has there goes to the past,
 * as what anybody replaces. -EBADMSG. */
int revert_apply(struct index *idx, const struct op *op, uint64_t seq);
/* Memory for the states that it reads. -ENOMEM. */
int revert_reserve(struct index *idx, const struct op *op);

#endif

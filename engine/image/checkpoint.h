/*
 * checkpoint.h - images of the index on disk.
 *
 * Locking: a lock of its own, between checkpoint_exclude() and checkpoint_allow(). */
#ifndef ENGRAMFS_CHECKPOINT_H
#define ENGRAMFS_CHECKPOINT_H

#include "image/checkpoint_read.h"

/* The checkpoints of a store. Protected by its lock, but before threads run. */
struct checkpoints {
    pthread_mutex_t lock;
    struct ckpt_info kept[2]; /* newest first */
    uint64_t next_id;
};

/* -ENOMEM. */
int checkpoint_new(struct eng *eng);
void checkpoint_free(struct eng *eng);
/* Writes a checkpoint of now, keeps the newest two. */
int checkpoint_write(struct eng *eng);
/* Between the two no checkpoint is written and no checkpoint file is unlinked. */
void checkpoint_exclude(struct eng *eng);
void checkpoint_allow(struct eng *eng);
/* Removes checkpoint files that neither of the kept ones needs, and measures the others. */
void checkpoint_clean(struct eng *eng);

#endif

/*
 * checkpoint.h - images of the index on disk.
 *
 * Locking: a lock of its own, between checkpoint_exclude() and checkpoint_allow(). */
#ifndef ENGRAMFS_CHECKPOINT_H
#define ENGRAMFS_CHECKPOINT_H

#include "image/checkpoint_files.h"

/* The checkpoints of a store. Protected by its lock, but before threads run. */
struct checkpoints {
    pthread_mutex_t lock;
    struct ckpt_info kept[2]; /* newest first */
    struct ckpt_files files;  /* that there are, as of the last checkpoint_clean() */
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
/* The numbers of the kept checkpoints, newest first; 0: none. */
void checkpoint_kept(struct eng *eng, uint64_t ret_ids[2]);
/* Whether a kept checkpoint needs that checkpoint file. */
bool checkpoint_needs(struct eng *eng, uint64_t file);
/* The next checkpoint names none of these images (sorted by place), but writes those chunks anew. */
void checkpoint_forget(struct eng *eng, const struct ckpt_chunk *images, size_t n);
/* Removes checkpoint files that neither of the kept ones needs, and measures the others. */
void checkpoint_clean(struct eng *eng);

#endif

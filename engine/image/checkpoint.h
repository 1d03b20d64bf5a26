/*
 * checkpoint.h - images of the index on disk.
 *
 * Locking: a lock of its own, between checkpoint_exclude() and checkpoint_allow().
 */
#ifndef ENGRAMFS_CHECKPOINT_H
#define ENGRAMFS_CHECKPOINT_H

#include "core/eng.h"

/* A checkpoint that recovery may use. */
struct ckpt_info {
    uint64_t id;  /* 0: none */
    uint64_t seq; /* last batch in it */
    uint64_t freeze;
    uint64_t *files; /* checkpoint files that have its chunks, ascending, itself included */
    size_t n_files;
};
/* Where the log goes on after a checkpoint. */
struct ckpt_position {
    uint64_t seq, chain;
    uint64_t segment, offset; /* of the end of batch seq */
    uint64_t next_segment_id;
};
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
/* Loads checkpoint `id` into an initialised index; tells where the log goes on. */
int checkpoint_load(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos,
                    struct ckpt_info *ret_info);
/* Reads the manifest of a checkpoint only: whether it could be used, and which files it needs. */
int checkpoint_probe(struct eng *eng, uint64_t id, struct ckpt_info *ret_info);
int checkpoint_parse_name(const char *name, uint64_t *ret_id);
/* Removes checkpoint files that neither of the kept ones needs, and measures the others. */
void checkpoint_clean(struct eng *eng);

#endif

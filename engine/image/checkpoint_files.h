/*
 * checkpoint_files.h - which checkpoint files there are, what each is needed for, and which are to be merged.
 *
 * An incremental checkpoint is a file of its own and names older ones. Of these there are CKPT_FILES_MAX at
 * most, however little each adds: when there are as many, the next checkpoint takes over what the smaller
 * half of them is needed for.
 *
 * Locking: the checkpoints' lock; none while the store is being opened. */
#ifndef ENGRAMFS_CHECKPOINT_FILES_H
#define ENGRAMFS_CHECKPOINT_FILES_H

#include "image/checkpoint_read.h"

#define CKPT_FILES_MAX 64u /* that one checkpoint needs, itself included: the default of `max` */

/* The checkpoint files that were in the folder when it was last looked at, by id. */
struct ckpt_files {
    size_t max; /* that one checkpoint may need, 2 at least. Immutable; tests make it smaller */
    struct ckpt_file {
        uint64_t id, size;
    } * files;
    size_t n;
};

void checkpoint_files_free(struct ckpt_files *files);
/* Looks at the folder: unlinks the checkpoint files that none of the two kept ones needs, if `may_unlink`,
 * and measures those that it has not met before. Returns the bytes that they all have. */
uint64_t checkpoint_files_clean(struct eng *eng, struct ckpt_files *files, const struct ckpt_info kept[2],
                                bool may_unlink);
/* The files from which the next checkpoint, which would need those of `newest` and itself, is to take over
 * what it needs of them; ascending, empty if there are not too many. `view` knows what is needed of each.
 * -ENOMEM. */
int checkpoint_files_merge(const struct ckpt_files *files, struct index *view, const struct ckpt_info *newest,
                           uint64_t **ret_ids, size_t *ret_n);
/* Whether an ascending array has the id. */
bool checkpoint_files_has(const uint64_t *ids, size_t n, uint64_t id);

#endif

/*
 * load.h - an index read from a checkpoint, by several threads, and verified; or of a damaged one what is
 * left.
 *
 * Locking: none. Recovery calls this before any thread runs. */
#ifndef ENGRAMFS_LOAD_H
#define ENGRAMFS_LOAD_H

#include "image/checkpoint.h"
#include "index/mend.h"

/* Makes eng->idx, initialised, the index of checkpoint `id`, and that the newest; tells where the log goes
 * on. Of a large one most is left to the loader (rest.h). -EBADMSG, -EIO: both copies of a part are damaged;
 * -ENOENT, -ENOMEM. The index must be thrown away then. */
int load_checkpoint(struct eng *eng, uint64_t id, struct ckpt_position *ret_pos);
/* The same for salvage: without the chunks that are damaged, of which *ret_holes (zeroed; the caller frees
 * its arrays) tells. Nothing is verified but sums. */
int load_parts(struct eng *eng, uint64_t id, struct ckpt_position *ret_pos, struct index_holes *ret_holes);
/* The last batch of checkpoint `id`, of either format, as far as that can still be read. Its number is used
 * up then. */
int load_probe(struct eng *eng, uint64_t id, uint64_t *ret_seq);
/* Checkpoint `id` failed with `error`. One that was finished is damage that a check tells of, if it stays;
 * what a run was writing is not. */
void load_tell_unusable(struct eng *eng, uint64_t id, int error);

#endif

/*
 * checkpoint_v1.h - checkpoint files of format 1, read: cN.ckp with whole images of chunks, and a manifest
 * that names those in older files. A store that has one is opened by it once; what is written then is of
 * format 2.
 *
 * Locking: none. Recovery calls this before any thread runs. */
#ifndef ENGRAMFS_CHECKPOINT_V1_H
#define ENGRAMFS_CHECKPOINT_V1_H

#include "image/checkpoint.h"
#include "index/mend.h"

/* Loads checkpoint `id` into an initialised index; tells where the log goes on. -EBADMSG: it is none, or is
 * damaged. */
int checkpoint_v1_load(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos);
/* The same for salvage: without the chunks that are damaged, of which *ret_holes (zeroed; the caller frees
 * its arrays) tells. Nothing is verified but sums. */
int checkpoint_v1_load_parts(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos,
                             struct index_holes *ret_holes);
/* Reads the manifest only: its last batch. */
int checkpoint_v1_probe(struct eng *eng, uint64_t id, uint64_t *ret_seq);
/* Whether it has its footer, the end of what is written of a checkpoint. */
bool checkpoint_v1_is_finished(struct eng *eng, uint64_t id);
/*
 * Makes checkpoint `id` and every file that its manifest names durable, and forgets what is cached of them.
 * An earlier run may have died before it had done so, or failed to: what memory shows is then gone with the
 * next power loss (I7, I11). */
int checkpoint_v1_settle(struct eng *eng, uint64_t id);

#endif

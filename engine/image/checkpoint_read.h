/*
 * checkpoint_read.h - checkpoint files read: their names, manifests and chunk images.
 *
 * Locking: none. Recovery calls this before any thread runs, others under the checkpoints' lock. */
#ifndef ENGRAMFS_CHECKPOINT_READ_H
#define ENGRAMFS_CHECKPOINT_READ_H

#include "core/eng.h"
#include "index/mend.h"

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

void checkpoint_name(uint64_t id, char out[32]);
int checkpoint_parse_name(const char *name, uint64_t *ret_id);
/* Notes the files that the checkpoint needs: its own, and those of its n images, which are `stride` bytes
 * apart and begin with their file. -ENOMEM. */
int checkpoint_note_files(struct ckpt_info *info, uint64_t own, const void *images, size_t stride, size_t n);

/* Behind all numbers, which descend, so that none is used twice; but names alone, of which anybody may make
 * one, do not use the numbers up. */
uint64_t checkpoint_next_id(const uint64_t *ids, size_t n);
/* Loads checkpoint `id` into an initialised index; tells where the log goes on. */
int checkpoint_load(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos,
                    struct ckpt_info *ret_info);
/* The same for salvage: without the chunks that are damaged, of which *ret_holes (zeroed; the caller frees
 * its arrays) tells. Nothing is verified but sums. */
int checkpoint_load_parts(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_position *ret_pos,
                          struct ckpt_info *ret_info, struct index_holes *ret_holes);
/* Reads the manifest of a checkpoint only: whether it could be used, and which files it needs. */
int checkpoint_probe(struct eng *eng, uint64_t id, struct ckpt_info *ret_info);
/* Whether it has its footer, the end of what is written of a checkpoint. */
bool checkpoint_is_finished(struct eng *eng, uint64_t id);
/* Appends the chunk images that checkpoint `id` names, as its manifest on the medium says, to an array of the
 * caller's; tells where the log goes on. */
int checkpoint_images(struct eng *eng, uint64_t id, struct ckpt_chunk **images, size_t *n,
                      struct ckpt_position *ret_pos);
/* For qsort() and bsearch(): by file, then by offset. */
int checkpoint_by_place(const void *a, const void *b);
/*
 * Makes checkpoint `id` and every file that its manifest names durable, and forgets what is cached of them.
 * An earlier run may have died before it had done so, or failed to: what memory shows is then gone with the
 * next power loss (I7, I11). */
int checkpoint_settle(struct eng *eng, uint64_t id);
/*
 * Settles checkpoint `id` and compares its manifest and its chunk images with their sums, but for the images
 * that it shares with the loaded checkpoint of `idx`. After 0 recovery may rely on it (I4). */
int checkpoint_prove(struct eng *eng, uint64_t id, struct index *idx, struct ckpt_info *ret_info);

#endif

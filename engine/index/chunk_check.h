/*
 * chunk_check.h - whether the records of a chunk that comes from disk may be believed one by one: each value
 * is in its range, each link leads to a place that the tables have. Whether they fit together index_verify()
 * tells, which needs all of them.
 *
 * Locking: none; nothing but what is passed is looked at. */
#ifndef ENGRAMFS_CHUNK_CHECK_H
#define ENGRAMFS_CHUNK_CHECK_H

#include "index/index.h"

/* How many records each table had when the chunks were written. */
struct index_limits {
    uint32_t used[INDEX_TABLES];
    bool has_history; /* the caller's: whether records may be as INCOMPAT_HISTORY lets them */
    bool has_past;    /* there are past states: else an inode with one would be changed as if it had */
};

void index_limits(struct index *idx, struct index_limits *ret_limits);
/* Chunk c of `table` (index_table()), of which a checkpoint also has `m`. 0, -EBADMSG. */
int index_check_chunk(const struct index_limits *limits, unsigned table, uint32_t c,
                      const struct table_meta *m, const uint8_t *chunk);

/* Whether what is not in tables fits to how large they are. 0, -EBADMSG. */
int index_check_head(const struct index *idx);
/* Whether the trees, whose nodes may all be had, are sound: btree_validate(). */
int index_check_trees(const struct index *idx);
/* Whether no record of the chunk's free chain, which is sound (table_check_chain()), is in use; buckets,
 * and actors, have no such chain. 0 or -EBADMSG. */
int index_check_free(unsigned table, const struct table_meta *m, const uint8_t *chunk);

#endif

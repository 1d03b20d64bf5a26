/*
 * moments.h - batches with a time; those with a name are snapshots (docs/lab/history-design.md).
 *
 * State: the table of moments, in the order of batches: a new one comes behind all, and one that goes leaves
 * a free record that is not used again, until its chunk is dropped. newest_snapshot is that of the last which
 * has a name. There may be millions: of each chunk is known what tells whether it must be looked at.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_MOMENTS_H
#define ENGRAMFS_MOMENTS_H

#include "index/index.h"

/* The moment in that record, or NULL. */
static inline const struct moment_rec *index_moment(const struct index *idx, uint32_t i)
{
    const struct moment_rec *moment = table_get(&idx->moments, i);
    return moment && moment->batch ? moment : NULL;
}
/* The same, if it is a snapshot. */
static inline const struct moment_rec *index_snapshot(const struct index *idx, uint32_t i)
{
    const struct moment_rec *moment = index_moment(idx, i);
    return moment && moment->flags & MOMENT_SNAPSHOT ? moment : NULL;
}
/*
 * What the moments of chunk c have in common: of those that have a place for it, it is looked for once, by
 * whoever is first, until one of them changes. `own`: where it is put else. */
const struct moment_sum *moments_sum(const struct index *idx, uint32_t c, struct moment_sum *own);
/* Gives all chunks such a place: exclusively. -ENOMEM: as before. */
int moments_make_sums(struct index *idx);

/* The snapshot's name, or NULL if damaged. */
const char *index_snapshot_name(const struct index *idx, const struct moment_rec *snapshot);
/* The record of the snapshot of that name, 0 none. */
uint32_t index_find_snapshot(const struct index *idx, const char *name, size_t len);
/* The next one behind that record, 0 none. */
uint32_t index_next_snapshot(const struct index *idx, uint32_t i);
/* Of n batches of snapshots, which rise: the first from `begin` on; whether a life [begin, end) has one. */
size_t snapshots_from(const uint64_t *batches, size_t n, uint64_t begin);
bool snapshots_see(const uint64_t *batches, size_t n, uint64_t begin, uint64_t end);
uint64_t index_count_snapshots(const struct index *idx);
/* The batches of all snapshots, which rise; the caller frees them. -ENOMEM. */
int index_snapshots(const struct index *idx, uint64_t **ret_batches, size_t *ret_n);

/* For apply.c: whether the op is one of those below. */
static inline bool moments_change(const struct op *op)
{
    return op->type == OP_MOMENT || op->type == OP_SNAPSHOT || op->type == OP_SNAPSHOT_NAME;
}
/* Room for n more. -ENOMEM, -EOVERFLOW. */
int moments_reserve(struct index *idx, uint32_t n);
/* OP_MOMENT, OP_SNAPSHOT, OP_SNAPSHOT_NAME. -EBADMSG. */
int moments_begin(struct index *idx, const struct op *op, uint64_t seq);
int moments_snapshot(struct index *idx, const struct op *op, uint64_t seq);
int moments_name(struct index *idx, const struct op *op);
/* For floor.c: the moment in that record goes; of a snapshot, once that goes. */
void moments_expire(struct index *idx, uint32_t i);

/* For index_verify(): batches rise, names are different, and no text has another owner, whose bits in `cells`
 * are set. Returns how many findings. *ret_n: how many moments. -ENOMEM. */
int64_t moments_verify(const struct index *idx, uint8_t *cells, void (*problem)(void *arg, const char *line),
                       void *arg, uint64_t *ret_n);

#endif

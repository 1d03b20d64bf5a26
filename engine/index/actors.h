/*
 * actors.h - who made batches: pairs of a uid and the name of a process. States and names that end lead to
 * them.
 *
 * State: the table of actors, which only grows, each pair once; and in memory who makes the batch whose ops
 * are applied.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_ACTORS_H
#define ENGRAMFS_ACTORS_H

#include "index/index.h"

/* The actor of that number, or NULL: 0, or it was lost. */
static inline const struct actor_rec *index_actor(const struct index *idx, uint32_t i)
{
    const struct actor_rec *actor = i ? table_get(&idx->actors, i) : NULL;
    return actor && actor->name[0] ? actor : NULL;
}
/* The number that OP_BY gives a new one; 0: there are ACTORS_MAX. */
static inline uint32_t index_predict_actor(const struct index *idx)
{
    return idx->actors.used <= ACTORS_MAX ? MAX_OF(idx->actors.used, 1u) : 0;
}

/* ---- for apply.c ---------------------------------------------------------- */

/* OP_BY, before the other ops of its batch. -EBADMSG. */
int actors_by(struct index *idx, const struct op *op, uint64_t seq);
/* Who makes batch `seq`, of which an op is applied; 0 not known. */
static inline uint32_t actors_now(const struct index *idx, uint64_t seq)
{
    return idx->by_seq == seq ? idx->by : 0;
}

/* ---- for mend.c, verify.c --------------------------------------------------- */

/* A record that cannot be goes; what leads to a lost one leads to none. */
void actors_mend(struct index *idx);
/* The table alone. Returns how many findings. */
int64_t actors_verify(const struct index *idx, void (*problem)(void *arg, const char *line), void *arg);

#endif

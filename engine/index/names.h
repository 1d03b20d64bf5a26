/*
 * names.h - small variable-size objects (names, symlink targets, xattrs) in a
 * frozen-able table of 16-byte cells. A handle is the index of the first cell; 0 is none.
 * The size of an object is known to its owner and given back on free. An object
 * never straddles a chunk. Freed runs are kept in lists by size class (runs of
 * 1..32 cells exactly, above that rounded up to a multiple of 8), so an object's place is reused by the
 * next of its class. Objects are 1..NAMES_MAX bytes. Locking and memory as table.h: names_alloc() takes up to
 * NAMES_ALLOC_CHUNKS chunks of the pool, names_free_cells() and names_mut() one. */
#ifndef ENGRAMFS_NAMES_H
#define ENGRAMFS_NAMES_H

#include "index/table.h"

#define NAMES_CELL 16u
#define NAMES_MAX 4608u /* bytes: 288 cells */
#define NAMES_CLASSES (32u + 32u)
#define NAMES_ALLOC_CHUNKS 2u /* a new chunk, and a copy of the one whose end is put into the free lists */

struct names {
    struct table cells;
    /* First cell of the first free run of each class; runs are chained in their first 4 bytes. */
    uint32_t free_heads[NAMES_CLASSES];
};

int names_init(struct names *h, struct chunk_pool *pool);
void names_free(struct names *h);
/* Objects that are to come, by class. */
struct names_need {
    uint32_t n[NAMES_CLASSES];
};
/* One more, of `size` bytes; none if there is no such object. */
void names_need(struct names_need *need, uint32_t size);
/* Room for these objects: arrays only, see table_reserve(). Nothing needed is always there. -EOVERFLOW:
 * neither has the table room for them, nor have the free lists those that it lacks. */
int names_reserve(struct names *h, const struct names_need *need);
/* Allocates `size` zeroed bytes; cannot fail after the reservations. */
uint32_t names_alloc(struct names *h, uint32_t size);
/* Ignores a [handle, size) that is not a place that an object could have: it comes from a damaged store. */
void names_free_cells(struct names *h, uint32_t handle, uint32_t size);
/* Readable bytes, or NULL if [handle, size) is not a place that an object could have (bounds, chunk
 * straddle). */
const void *names_get(const struct names *h, uint32_t handle, uint32_t size);
/* The same for writing. */
void *names_mut(struct names *h, uint32_t handle, uint32_t size);
int names_freeze(const struct names *h, struct names *view);
/* Checks loaded names: counters, free lists in range at possible places, no run twice, no loops. 0,
 * -EBADMSG, -ENOMEM. */
int names_validate(const struct names *h);
/*
 * For a walk over all owners, with a zeroed map of one bit for each cell that is used: names_mark_free()
 * marks what the free lists have, -EBADMSG if something twice; names_mark() an object. False: it is not a
 * place that an object could have, or a cell of it was marked before. */
int names_mark_free(const struct names *h, uint8_t *map);
bool names_mark(const struct names *h, uint32_t handle, uint32_t size, uint8_t *map);

#endif

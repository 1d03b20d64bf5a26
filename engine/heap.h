/*
 * heap.h - small variable-size objects (names, symlink targets, xattrs) in a
 * frozen-able table of 16-byte cells. A handle is the index of the first cell; 0 is none.
 * The size of an object is known to its owner and given back on free. An object
 * never straddles a chunk. Freed runs are kept in lists by size class (runs of
 * 1..32 cells exactly, above that rounded up to a multiple of 8), so an object's place is reused by the
 * next of its class. Objects are 1..HEAP_MAX bytes. Locking and memory as table.h: heap_alloc() takes up to
 * HEAP_ALLOC_CHUNKS chunks of the pool, heap_free() and heap_mut() one.
 */
#ifndef ENGRAMFS_HEAP_H
#define ENGRAMFS_HEAP_H

#include "table.h"

#define HEAP_CELL 16u
#define HEAP_MAX 4608u /* bytes: 288 cells */
#define HEAP_CLASSES (32u + 32u)
#define HEAP_ALLOC_CHUNKS 2u /* a new chunk, and a copy of the one whose end is put into the free lists */

struct heap {
    struct table cells;
    uint32_t free_heads[HEAP_CLASSES]; /* first cell of the first free run of each class; chained in the first
                                          4 bytes */
};

int heap_init(struct heap *h, struct table_pool *pool);
void heap_done(struct heap *h);
/* Room for n more objects of up to HEAP_MAX bytes each: arrays only, see table_reserve(). */
int heap_reserve(struct heap *h, uint32_t n);
/* Allocates `size` zeroed bytes; cannot fail after the reservations. */
uint32_t heap_alloc(struct heap *h, uint32_t size);
/* Ignores a [handle, size) that is not a place that an object could have: it comes from a damaged store. */
void heap_free(struct heap *h, uint32_t handle, uint32_t size);
/* Readable bytes, or NULL if [handle, size) is not a place that an object could have (bounds, chunk
 * straddle). */
const void *heap_get(const struct heap *h, uint32_t handle, uint32_t size);
/* The same for writing. */
void *heap_mut(struct heap *h, uint32_t handle, uint32_t size);
int heap_freeze(const struct heap *h, struct heap *view);
/* Checks a loaded heap: counters, free lists in range at possible places, no run twice, no loops. 0,
 * -EBADMSG, -ENOMEM. */
int heap_validate(const struct heap *h);

#endif

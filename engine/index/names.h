/*
 * names.h - small variable-size objects (names, symlink targets, xattrs) in a
 * freezable table of 16-byte cells. A handle is the index of the first cell; 0 is none.
 * The size of an object is known to its owner and given back on free. An object
 * never straddles a chunk. Objects are 1..NAMES_MAX bytes.
 *
 * Free cells are runs, joined with free neighbours and split again, so that chunks become empty and
 * are dropped. Locking and memory as table.h: names_alloc() takes up to NAMES_ALLOC_CHUNKS
 * chunks of the pool, names_free_cells() and names_mut() one. */
#ifndef ENGRAMFS_NAMES_H
#define ENGRAMFS_NAMES_H

#include "index/table.h"

#define NAMES_CELL 16u
#define NAMES_MAX 4608u /* bytes: 288 cells */
#define NAMES_CLASSES (32u + 32u)
#define NAMES_CHUNK_CELLS (TABLE_CHUNK_SIZE / NAMES_CELL)
#define NAMES_ALLOC_CHUNKS                                                                                   \
    3u /* copies of the chunks of a run and of the gap before a new chunk, and that chunk */

/* An array that grows by blocks, so that nobody waits while all of it is copied. */
struct names_blocks {
    void **at;
    size_t n, cap;
};
#define NAMES_STACK_BLOCK 1024u /* handles */
#define NAMES_RUNS_BLOCK 16u    /* chunks */

/* Free runs of one class that are known: places to try, which may be taken since. */
struct names_class {
    struct names_blocks handles;
    size_t n;
    uint32_t n_runs; /* at most so many of them are free now */
    size_t at;       /* the entry to be looked at next for being stale */
    bool takes_off;  /* this round takes stale ones off */
};

/* Of a chunk: where free runs begin, once its chain was walked. */
struct names_runs {
    uint64_t starts[NAMES_CHUNK_CELLS / 64];
    uint64_t met[NAMES_CHUNK_CELLS / 64]; /* which of them the present round over their class has met */
    bool known;
};

struct names {
    struct table cells;
    struct names_class classes[NAMES_CLASSES]; /* of the live names only, as all below */
    struct names_blocks runs;                  /* struct names_runs of each chunk */
    uint32_t asked;            /* the chunk to be looked at next for free runs that are not known */
    uint32_t looks;            /* left to the present change, see names_reserve() */
    bool passed_by, all_known; /* in this round some were absent; in the last none had any */
};

static inline struct names_runs *names_runs(const struct names *h, uint32_t c)
{
    return (struct names_runs *)h->runs.at[c / NAMES_RUNS_BLOCK] + c % NAMES_RUNS_BLOCK;
}

int names_init(struct names *h, struct chunk_pool *pool);
void names_free(struct names *h);
/* Objects that are to come, by class. */
struct names_need {
    uint32_t n[NAMES_CLASSES];
    uint64_t cells; /* for all, in whatever order they come */
};
/* One more, of `size` bytes; none if there is no such object. */
void names_need(struct names_need *need, uint32_t size);
/*
 * Room for these objects: arrays only, see table_reserve(). Nothing needed is always there. -EOVERFLOW:
 * neither has the table room for them, nor have its free runs. With it a change begins, in which a few
 * chunks at most are walked for free runs; all of them only in a table that cannot grow. */
int names_reserve(struct names *h, const struct names_need *need);
/* After the table was loaded: where is free is found out bit by bit when it is needed. -ENOMEM. */
int names_loaded(struct names *h);
/* Allocates `size` zeroed bytes; cannot fail after the reservations. Of chunks that are absent it needs only
 * the last. */
uint32_t names_alloc(struct names *h, uint32_t size);
/* Ignores a [handle, size) that is not a place that an object could have: it comes from a damaged store. */
void names_free_cells(struct names *h, uint32_t handle, uint32_t size);
/* Drops at most `max` chunks without any object; returns how many more could go. */
size_t names_drop_empty(struct names *h, size_t max);
/* Readable bytes, or NULL if [handle, size) is not a place that an object could have (bounds, chunk
 * straddle), or cannot be read. */
const void *names_get(const struct names *h, uint32_t handle, uint32_t size);
/* The same for writing. */
void *names_mut(struct names *h, uint32_t handle, uint32_t size);
int names_freeze(const struct names *h, struct table_room *room, struct names *view);
/* Checks the free runs of all chunks: at possible places, no cell twice, as many as are counted. 0,
 * -EBADMSG. */
int names_validate(const struct names *h);
/* The same of chunk c alone, which is not the table's yet: of a table with `used` cells. */
int names_check_chunk(const struct table_meta *m, uint32_t used, uint32_t c, const uint8_t *chunk);
/* Chunks of a damaged store whose free runs are not so have none: what is free there is lost. */
void names_mend(struct names *h);
/*
 * For a walk over all owners, with a zeroed map of one bit for each cell that is used: names_mark_free()
 * marks what is free, -EBADMSG if something twice; names_mark() an object. False: it is not a place that an
 * object could have, or a cell of it was marked before. */
int names_mark_free(const struct names *h, uint8_t *map);
bool names_mark(const struct names *h, uint32_t handle, uint32_t size, uint8_t *map);
/* The free lists of format 1: for each class the first run, chained through their first 4 bytes. To be called
 * after the table was loaded, all of it here. -EBADMSG: they are damaged; the chunks must be thrown away. */
int names_adopt_v1(struct names *h, const uint32_t free_heads[NAMES_CLASSES]);

#endif

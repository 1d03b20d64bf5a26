/*
 * pool.h - memory for the chunks of one index, the clock of freezes, and the
 * graveyard of replaced chunks.
 *
 * Chunks carry the number of the freeze period in which they were last written ("birth"). A
 * freeze sees what was born before it and replaced after it.
 *
 * Locking: none here. All calls need the index lock exclusively, except chunk_pool_bytes(),
 * chunk_pool_live_bytes() and chunk_pool_overdrafts() (shared), chunk_pool_fetched(), chunk_pool_lost() and
 * chunk_pool_poisoned() (any). pool_missed belongs to the thread. */
#ifndef ENGRAMFS_POOL_H
#define ENGRAMFS_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_CHUNK_SIZE (64u << 10)
#define POOL_KEEP_SHARE 16u /* of the chunks in use: idle spares that keep their memory */

struct chunk_pool;

int chunk_pool_new(struct chunk_pool **ret_pool);
/* All tables of it, views included, must be done before. NULL is fine. */
void chunk_pool_free(struct chunk_pool *pool);
/*
 * Makes sure that n chunks, counted from now, can be taken without failing; not additive. -ENOMEM.
 * One table_mut(), table_alloc() or table_free_record() takes at most one; table_alloc_run() one. */
int chunk_pool_reserve(struct chunk_pool *pool, size_t n);
/* Bytes of memory held: live chunks, graveyard, and spares that were used before (untouched ones cost
 * none). */
uint64_t chunk_pool_bytes(const struct chunk_pool *pool);
/* Of these the live chunks alone: the most that a checkpoint writes of chunks. */
uint64_t chunk_pool_live_bytes(const struct chunk_pool *pool);
/* How often a chunk was taken beyond the last chunk_pool_reserve(): a caller's mistake, which tests want to
 * be 0. */
uint64_t chunk_pool_overdrafts(const struct chunk_pool *pool);
/*
 * Gives memory of at most `max` idle spares back to the system; returns how many more could go. To be done
 * bit by bit after a thaw, so that no lock is held long. */
size_t chunk_pool_trim(struct chunk_pool *pool, size_t max);
/* So many idle spares always stay, and a share. */
void chunk_pool_keep(struct chunk_pool *pool, size_t n);
/*
 * Whether too few idle spares have memory behind them for the copies of a freeze: fewer than one for `share`
 * chunks in use, and than 1024. Another copy is then a page fault of whoever writes: up to milliseconds where
 * a host has to find the page. */
bool chunk_pool_is_cold(const struct chunk_pool *pool, unsigned share);
/* Takes spares without memory out of the pool, at most `max`, to be touched without any lock and given back;
 * returns how many: 0, there is no memory. */
size_t chunk_pool_lend(struct chunk_pool *pool, uint8_t **ret_chunks, size_t max);
void chunk_pool_give_back(struct chunk_pool *pool, uint8_t *const *chunks, size_t n);
/*
 * Begins a freeze period; returns its number f, 1 and up, or 0 when there is no memory to note it.
 * Copy the tables of interest with table_freeze() under the same exclusive lock. Chunks written from now on
 * have births > f, so "birth > f" means "changed since freeze f", also after f was thawed. */
uint64_t chunk_pool_freeze(struct chunk_pool *pool);
/* Is any freeze alive? While none is, table_mut() and table_free_record() take no chunk. */
bool chunk_pool_frozen(const struct chunk_pool *pool);
/* All that was written by now is of batch `seq` or before, which rises: a new period begins, and
 * chunk_pool_marked() knows. Of the marks the newest POOL_MARKS are remembered. */
#define POOL_MARKS 256u
void chunk_pool_mark(struct chunk_pool *pool, uint64_t seq);
/* A period: what was born in it or before was not written after batch `seq`, since this pool began. 0: none
 * is known. (Shared.) */
uint64_t chunk_pool_marked(const struct chunk_pool *pool, uint64_t seq);
/*
 * Ends the freeze: frees the graveyard's chunks that no other living freeze sees. Freeze f sees a chunk
 * if birth <= f < death, death being the period in which the chunk was replaced. Its views must not be read
 * any more, except by table_free(). 0 is ignored. */
void chunk_pool_thaw(struct chunk_pool *pool, uint64_t freeze);

/*
 * Why this thread could not have a chunk that it asked for, since it last set this to 0: of what it found
 * meanwhile nothing may be believed, neither that something is there nor that it is not. -EIO: the chunk is
 * lost. Anything else may pass: the chunk is asked for again when somebody needs it. */
extern _Thread_local int pool_missed;
/* Set while this thread changes the index, which it cannot do by half: what may pass is tried a few times at
 * once. */
extern _Thread_local bool pool_insists;

/* How many chunks came from their source. */
uint64_t chunk_pool_fetched(const struct chunk_pool *pool);
/* -EBADMSG once a chunk was lost for good; 0 none was. */
int chunk_pool_lost(const struct chunk_pool *pool);
/* Whether a writer was given zeros in place of a chunk that it could not have: the index must not be used any
 * more. */
bool chunk_pool_poisoned(const struct chunk_pool *pool);

/* ---- for table.c ----------------------------------------------------------- */

/* What a pool begins with. */
struct pool_head {
    uint64_t clock; /* the current period: birth of what is written now */
};
static inline uint64_t pool_clock(const struct chunk_pool *pool)
{
    return ((const struct pool_head *)(const void *)pool)->clock;
}
/* Makes n chunks idle beyond those promised. -ENOMEM. */
int pool_have_besides(struct chunk_pool *pool, size_t n);
/* Cannot fail after pool_have_besides(). Without `zeroed` the contents are undefined. */
uint8_t *pool_take(struct chunk_pool *pool, bool zeroed);
/* The same within a change that reserved its chunks. */
uint8_t *pool_take_promised(struct chunk_pool *pool, bool zeroed);
/* Does a living freeze see a chunk of that birth, if it is replaced now? */
bool pool_seen_now(const struct chunk_pool *pool, uint64_t birth);
/* A live table lets go of a chunk. */
void pool_release(struct chunk_pool *pool, uint8_t *chunk, uint64_t birth);
/* One that nothing was written to, and nobody has seen. */
void pool_put_back(struct chunk_pool *pool, uint8_t *chunk);
void pool_note_lost(struct chunk_pool *pool, int error);
void pool_note_fetched(struct chunk_pool *pool);
void pool_note_poison(struct chunk_pool *pool);
/* Held while a chunk is fetched; each of a few locks stands for some of the chunks. */
pthread_mutex_t *pool_fetch_lock(struct chunk_pool *pool, uint32_t c);

/* realloc() of an array to n elements; *array_ptr stays as it was on failure. -ENOMEM. */
int grow_array(void *array_ptr, size_t n, size_t elem_size);

#endif

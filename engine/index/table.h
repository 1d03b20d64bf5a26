/*
 * table.h - a growing array of fixed-size records, kept in chunks of 64 KiB
 * that can be frozen: the one mechanism behind checkpoints and consistent views.
 *
 * A freeze notes the current chunks of a table in O(chunks); afterwards the
 * first write to a chunk copies it, and the frozen view keeps the old one.
 * Several freezes may be alive. Chunks carry the number of the freeze period
 * in which they were last written ("birth"), so that an incremental
 * checkpoint writes only those younger than the previous one.
 *
 * Record 0 of every table is never handed out: index 0 means "none".
 * Freed records are chained through their first four bytes.
 *
 * Memory for chunks comes from the pool, which the caller fills (chunk_pool_reserve)
 * before it begins a change: table_mut() and table_alloc() cannot fail for want of memory.
 *
 * Locking: none here. Writers are exclusive (index lock); readers of the live
 * table hold it shared; readers of a frozen view need no lock, since frozen chunks never
 * change. table_thaw() needs the exclusive lock. */
#ifndef ENGRAMFS_TABLE_H
#define ENGRAMFS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_CHUNK_SIZE (64u << 10)

/* Where a chunk's image lies in a checkpoint file; file 0: nowhere yet. */
struct chunk_ref {
    uint64_t file;   /* checkpoint id */
    uint64_t offset; /* bytes */
    uint64_t sum;    /* XXH3-64 of the first `len` bytes */
    uint32_t len;    /* bytes stored; the rest of the chunk is zeros */
};

/*
 * Chunks shared by the tables of one index; also the clock of freezes and the graveyard of replaced chunks.
 * All calls need the index lock exclusively, except chunk_pool_bytes(), chunk_pool_live_bytes() and
 * chunk_pool_overdrafts() (shared). */
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
/*
 * Whether too few idle spares have memory behind them for the copies of a freeze: fewer than a quarter of the
 * chunks in use, and than 1024. Another copy is then a page fault of whoever writes: up to milliseconds where
 * a host has to find the page. */
bool chunk_pool_is_cold(const struct chunk_pool *pool);
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
/*
 * Ends the freeze: frees the graveyard's chunks that no other living freeze sees. Freeze f sees a chunk
 * if birth <= f < death, death being the period in which the chunk was replaced. Its views must not be read
 * any more, except by table_free(). 0 is ignored. */
void chunk_pool_thaw(struct chunk_pool *pool, uint64_t freeze);

struct table {
    struct chunk_pool *pool;
    uint8_t **chunks;       /* n_chunks pointers, allocated with room (cap_chunks) */
    uint64_t *births;       /* of each chunk: freeze period of its last write; 0: as loaded */
    struct chunk_ref *refs; /* of each chunk: its image in the last checkpoint, if any */
    uint32_t n_chunks, cap_chunks;
    uint32_t record_size; /* power of two, 4 to 64 KiB */
    uint32_t used;        /* records handed out so far, freed ones included; record 0 counts as used */
    uint32_t free_head;   /* first freed record, 0 none */
    uint32_t n_free;      /* length of the chain */
    uint32_t limit;       /* `used` at most: UINT32_MAX, unless a test lowers it */
    uint8_t chunk_shift;  /* log2 of records in a chunk */
    uint8_t record_shift; /* log2 of record_size */
    bool frozen;          /* a view: no writes */
};

/* Takes one chunk of its own at once (for record 0), whatever was reserved. -ENOMEM. */
int table_init(struct table *t, struct chunk_pool *pool, uint32_t record_size);
/*
 * Frees chunks (not those of a frozen view) and arrays; zeroed t is fine. Normally views are done first
 * and their freeze thawed; chunks of a live table that a living freeze sees go to the graveyard until its
 * thaw. */
void table_free(struct table *t);
/*
 * Makes sure that the arrays have room for n more records (so that table_alloc() cannot fail). -ENOMEM,
 * -EOVERFLOW beyond `limit`, 2^32-2 records. Chunk memory itself is chunk_pool_reserve()'s business. */
int table_reserve(struct table *t, uint32_t n);
/* A fresh zeroed record: the freed one first in the chain, or the next unused. Its index (never 0). */
uint32_t table_alloc(struct table *t);
/* i must be valid (assert) and in use. */
void table_free_record(struct table *t, uint32_t i);
/*
 * Appends n contiguous unused, zeroed records that lie in one chunk (for names); skips to the next chunk
 * if they do not fit, and says which records were skipped (ret_gap..ret_gap+ret_gap_n), so that the caller
 * can use them. n * record_size <= TABLE_CHUNK_SIZE. Up to 2n - 1 records are used up: reserve so many. */
uint32_t table_alloc_run(struct table *t, uint32_t n, uint32_t *ret_gap, uint32_t *ret_gap_n);

/* Record i for reading, or NULL if i is 0 or not below `used`: data from disk leads here unchecked (I10). */
static inline const void *table_get(const struct table *t, uint32_t i)
{
    if (i == 0 || i >= t->used)
        return NULL;
    return t->chunks[i >> t->chunk_shift] + ((size_t)(i & ((1u << t->chunk_shift) - 1)) << t->record_shift);
}
/*
 * Record i for writing: copies its chunk first if a living freeze sees it. i must be valid (assert). Pointers
 * into this chunk that were got before show the old contents: get them anew. */
void *table_mut(struct table *t, uint32_t i);

/*
 * Makes *view a frozen copy of t as it is now (arrays of pointers, births and refs only). Part of the freeze
 * period that the caller has just begun with chunk_pool_freeze(). -ENOMEM. */
int table_freeze(const struct table *t, struct table *view);
/* Number of payload bytes of chunk c that are in use (the last chunk is cut at `used`). */
uint32_t table_chunk_len(const struct table *t, uint32_t c);
/*
 * For loading a checkpoint: replaces the contents of an initialised table by n_chunks zeroed chunks of birth
 * 0, so that "birth > 0" means "changed since loading". The loader then fills t->chunks[c] and t->refs[c],
 * sets used, free_head, n_free, and calls table_validate_free() before anything else.
 * -EBADMSG: no such table can be; -ENOMEM. Bound
 * n_chunks by what the checkpoint holds first: address space for all of them is mapped. */
int table_load_begin(struct table *t, uint32_t n_chunks);
/* Checks the loaded counters and the free chain (in range, no loop, n_free long). 0 or -EBADMSG. */
int table_validate_free(const struct table *t);

#endif

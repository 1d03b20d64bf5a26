/*
 * table.h - a growing array of fixed-size records, kept in chunks of 64 KiB
 * that can be frozen, loaded one by one, and given up when nothing is left in
 * them: the one mechanism behind checkpoints and consistent views.
 *
 * A freeze notes the current chunks of a table in O(chunks); afterwards the
 * first write to a chunk copies it, and the frozen view keeps the old one.
 * Several freezes may be alive (pool.h).
 *
 * A chunk knows which of its units of 128 bytes were written since its image
 * on disk was made: a checkpoint writes these alone. It knows its free records, too:
 * they are chained within the chunk, so that a chunk without any other record can be
 * dropped, memory and image (table_drop_empty()). Records are handed out from the lowest chunk that has a
 * free one, so that the others become empty; those that go together may have chunks of their own.
 *
 * Of a table that is being loaded a chunk comes when it is first needed, or when
 * somebody fetches it ahead: table_get() and table_mut() ask the table's source.
 *
 * Record 0 of every table is never handed out: index 0 means "none".
 *
 * Memory for chunks comes from the pool, which the caller fills (chunk_pool_reserve())
 * before it begins a change: table_mut() and table_alloc() cannot fail for want of memory.
 *
 * Locking: none here. Writers are exclusive (index lock); readers of the live
 * table hold it shared; readers of a frozen view need no lock, since frozen chunks never
 * change. Fetching a chunk takes a lock of the pool, and may be done under either, or by a view under
 * none. */
#ifndef ENGRAMFS_TABLE_H
#define ENGRAMFS_TABLE_H

#include "index/pool.h"

#include <assert.h>

#define TABLE_UNIT 128u                             /* bytes */
#define TABLE_UNITS (TABLE_CHUNK_SIZE / TABLE_UNIT) /* in a chunk */
#define TABLE_UNIT_WORDS (TABLE_UNITS / 64)         /* of a bitmap */

/* Which units of a chunk were written since its image was made; of a chunk that is new, or was dropped
 * meanwhile, all. */
struct table_dirty {
    uint64_t bits[TABLE_UNIT_WORDS];
};

/* What a checkpoint keeps of a chunk besides its image. */
struct table_meta {
    uint16_t free_head; /* place in the chunk of the first freed record; means nothing without one */
    uint16_t n_free;    /* length of the chain */
    uint32_t carry;     /* of a dropped chunk: what its records begin with, see table_keep_word() */
    uint32_t flags;     /* TABLE_APART */
};

/* Since nothing of the chunk was in use, all that was handed out is by table_claim_apart(). */
#define TABLE_APART 1u

enum table_state {
    TABLE_HERE,    /* in memory */
    TABLE_DROPPED, /* every record that was handed out is free: no memory, no image */
    TABLE_ABSENT,  /* to be fetched from the source */
    TABLE_LOST,    /* the source could not give it */
};

/*
 * Where chunks come from: writes chunk c of `which` to `into`, verified, with zeros behind what the image
 * has. Called by several threads at once, under the index lock or not. 0; -EBADMSG: it is lost for good.
 * After any other error it may be had the next time. */
struct table_source {
    int (*fetch)(void *arg, unsigned which, uint32_t c, uint8_t *into);
    void *arg;
    unsigned which;
};

/* An absent chunk: the memory that it will have. Shared with the views of the table. */
struct table_place {
    uint8_t *chunk;
    uint8_t read; /* enum table_read; protected by the fetch lock of the chunk */
};

struct table {
    struct chunk_pool *pool;
    uint8_t *_Atomic *chunks;   /* n_chunks pointers, allocated with room (cap_chunks); NULL: not HERE */
    uint64_t *births;           /* of each chunk: freeze period of its last write; 0: as loaded */
    struct table_meta *metas;   /* of each chunk */
    struct table_dirty *dirty;  /* of each chunk; of a view: what it took over, or room for what it leaves */
    uint64_t *changed;          /* bitmap by chunk: has dirty units; the same */
    _Atomic uint8_t *states;    /* enum table_state; written under the pool's fetch lock or exclusively */
    uint64_t *room;             /* bitmap by chunk: has a free record, not apart; of the live table only */
    uint64_t *room_apart;       /* the same: has one, and is apart or dropped */
    uint64_t *empty;            /* the same: has no record in use, and is not dropped yet */
    struct table_source source; /* fetch NULL: nothing is absent */
    struct table_place *places; /* of each chunk that was loaded; NULL: none was. Of the live table */
    uint32_t n_places;
    uint32_t n_chunks, cap_chunks;
    uint32_t record_size; /* power of two, 4 to 64 KiB */
    uint32_t used;        /* records handed out so far, freed ones included; record 0 counts as used */
    uint32_t n_free;      /* of all chunks */
    uint32_t n_changed;   /* chunks with dirty units */
    uint32_t room_from;   /* no chunk below is in `room` */
    uint32_t apart_from;  /* nor in `room_apart` */
    uint32_t limit;       /* `used` at most: UINT32_MAX, unless a test lowers it */
    uint64_t units;       /* of a record, as bits from the first on; 0: more than a word has */
    uint8_t chunk_shift;  /* log2 of records in a chunk */
    uint8_t record_shift; /* log2 of record_size */
    bool keep_word;       /* see table_keep_word() */
    bool own_chains;      /* see table_own_chains() */
    bool frozen;          /* a view: no writes */
    bool is_lossy;        /* some records may be neither in use nor free: of a damaged store */
};

/* Memory for one view of a table, had before the locks are taken that a freeze needs. All zeros: none. */
struct table_room {
    uint8_t *_Atomic *chunks;
    uint64_t *births;
    struct table_meta *metas;
    _Atomic uint8_t *states;
    struct table_dirty *dirty; /* zeroed, and what table_take_dirty() leaves the table with; NULL: none */
    uint64_t *changed;
    uint32_t cap_chunks;
};
/* Room for a view of a table with `chunks` chunks; its pages are touched. -ENOMEM: *ret_room is all zeros. */
int table_room_init(struct table_room *ret_room, uint32_t chunks, bool with_dirty);
void table_room_done(struct table_room *room);
/* Gives a view that has nothing yet what is in the room. */
static inline void table_room_move(struct table *view, struct table_room *room)
{
    view->chunks = room->chunks;
    view->births = room->births;
    view->metas = room->metas;
    view->states = room->states;
    view->dirty = room->dirty;
    view->changed = room->changed;
    view->cap_chunks = room->cap_chunks;
    *room = (struct table_room){0};
}

/* Takes one chunk of its own at once (for record 0), whatever was reserved. -ENOMEM. */
int table_init(struct table *t, struct chunk_pool *pool, uint32_t record_size);
/* The second 4-byte word of a freed record outlives it, as a counter of uses does: when a chunk is dropped
 * the highest of them is kept, and is what its records begin with when they come again. */
void table_keep_word(struct table *t);
/*
 * Frees chunks (not those of a frozen view) and arrays; zeroed t is fine. Normally views are done first
 * and their freeze thawed; chunks of a live table that a living freeze sees go to the graveyard until its
 * thaw. */
void table_free(struct table *t);
/*
 * Makes sure that the arrays have room for n more records (so that table_alloc() cannot fail). -ENOMEM,
 * -EOVERFLOW beyond `limit`, 2^32-2 records. Chunk memory itself is chunk_pool_reserve()'s business. */
int table_reserve(struct table *t, uint32_t n);
/* A fresh record, zeroed but for a kept word: a freed one of the lowest chunk, or the next unused. Its index
 * (never 0). */
uint32_t table_alloc(struct table *t);
/* How far a caller that has not allocated yet is in the free chains. Zeroed: at their head; the table must
 * not change while it is used. */
struct table_ahead {
    uint32_t chunk, place, left; /* the next free record, and how many are left with it in its chain */
    uint32_t beyond;             /* how many behind them all were given */
    bool begun;
};
/* The record that the next table_alloc() hands out, or, with `ahead`, the one after those that it gave
 * before; 0: none, the table is full or damaged. */
uint32_t table_predict(const struct table *t, struct table_ahead *ahead);
/* Takes record i, which is free or the next unused, out of its chain, as table_alloc() would. -EBADMSG: it is
 * neither. */
int table_claim(struct table *t, uint32_t i);
/*
 * For records that go together, apart from others: they are in chunks of their own, so that these become
 * empty with them. They come from such chunks that have room, then from those that were dropped, then from a
 * chunk behind all others, for which what is unused of the last chunk becomes free. `others`: what the same
 * change takes before by table_predict(), or NULL. 0: none. */
uint32_t table_predict_apart(const struct table *t, struct table_ahead *ahead,
                             const struct table_ahead *others);
/* As table_claim(), and i may be the first of the chunk behind the last. Reserve two chunks more. */
int table_claim_apart(struct table *t, uint32_t i);
/* What the next user of the free record i finds as kept word; 0 of one that was never in use. */
uint32_t table_kept_word(const struct table *t, uint32_t i);
/* Whether record i is in the free chain of its chunk, or dropped with it. */
bool table_is_free(const struct table *t, uint32_t i);
/* Sets bit i of a map of `used` bits for each free record, whose chains are sound. */
void table_mark_free(const struct table *t, uint8_t *map);
/* i must be valid (assert) and in use. */
void table_free_record(struct table *t, uint32_t i);
/* Drops at most `max` chunks that have no record in use; returns how many more could go. Bit by bit, so that
 * no lock is held long. Without kept words the table ends before those at its end:
 * `used` and n_chunks fall. */
size_t table_drop_empty(struct table *t, size_t max);
/* Drops such chunks at the end only, so that table_get() finds each record below `used`. */
void table_cut_empty(struct table *t);
/*
 * Appends n contiguous unused, zeroed records that lie in one chunk (for names); skips to the next chunk
 * if they do not fit, and says which records were skipped (ret_gap..ret_gap+ret_gap_n), so that the caller
 * can use them. n * record_size <= TABLE_CHUNK_SIZE. Up to 2n - 1 records are used up: reserve so many. */
uint32_t table_alloc_run(struct table *t, uint32_t n, uint32_t *ret_gap, uint32_t *ret_gap_n);
/* Gives up the records from `used` on: the table ends before record `used`, which is 1 or more. */
void table_cut(struct table *t, uint32_t used);

/* ---- for tables whose users chain free records themselves ------------------------------------- */

/* metas[c].free_head is theirs, and n_free counts records; table_alloc() and its like are not used. */
void table_own_chains(struct table *t);
/* So many records of chunk c became free, or were taken again (n below 0). */
void table_note_free(struct table *t, uint32_t c, int32_t n);
/* The first chunk that has no record in use and is not dropped; n_chunks: none. */
uint32_t table_first_empty(const struct table *t);
/* The first chunk that is dropped; n_chunks: none. */
uint32_t table_first_dropped(const struct table *t);
/* Drops chunk c, in which nothing is in use; brings it back, zeroed, with memory that was reserved: no record
 * of it counts as free then. */
void table_drop(struct table *t, uint32_t c);
/* Ends the table before dropped chunks at its end. */
void table_cut_dropped(struct table *t);
void table_revive(struct table *t, uint32_t c);

/* Whether chunk c is in memory: nobody has to fetch it. */
static inline bool table_is_here(const struct table *t, uint32_t c)
{
    return atomic_load_explicit(&t->chunks[c], memory_order_acquire) != NULL;
}

/* The first chunk from c on of `map`, t->room or t->room_apart; n_chunks: none. */
static inline uint32_t table_next_room(const struct table *t, const uint64_t *map, uint32_t c)
{
    while (c < t->n_chunks) {
        uint64_t word = map[c / 64] >> c % 64;
        if (word)
            return c + (uint32_t)__builtin_ctzll(word);
        c = (c / 64 + 1) * 64;
    }
    return t->n_chunks;
}

/* Fetches chunk c if it is absent. NULL: dropped, or it cannot be had, which pool_missed tells. */
const uint8_t *table_chunk(const struct table *t, uint32_t c);

/* Record i for reading, or NULL if i is 0 or not below `used` (data from disk leads here unchecked, I10), or
 * in a chunk that was dropped or cannot be had, which pool_missed tells. */
static inline const void *table_get(const struct table *t, uint32_t i)
{
    if (i == 0 || i >= t->used)
        return NULL;
    const uint8_t *chunk = atomic_load_explicit(&t->chunks[i >> t->chunk_shift], memory_order_acquire);
    if (__builtin_expect(!chunk, 0) && !(chunk = table_chunk(t, i >> t->chunk_shift)))
        return NULL;
    return chunk + ((size_t)(i & ((1u << t->chunk_shift) - 1)) << t->record_shift);
}
/* table_mut() of what may have to be copied first, or is written for the first time since its image was made,
 * and of n records from i on, in one chunk. */
void *table_mut_run(struct table *t, uint32_t i, uint32_t n);
/*
 * Record i for writing: copies its chunk first if a living freeze sees it. i must be valid (assert). Pointers
 * into this chunk that were got before show the old contents: get them anew. Of a chunk that cannot be had,
 * not even when asked for again: zeros, and chunk_pool_poisoned() tells. */
static inline void *table_mut(struct table *t, uint32_t i)
{
    assert(!t->frozen && i != 0 && i < t->used);
    uint32_t c = i >> t->chunk_shift, at = (i & ((1u << t->chunk_shift) - 1)) << t->record_shift;
    uint32_t unit = at / TABLE_UNIT;
    uint8_t *chunk = atomic_load_explicit(&t->chunks[c], memory_order_relaxed);
    uint64_t noted = t->dirty[c].bits[unit / 64] >> unit % 64 & t->units;
    bool is_noted = noted && noted == t->units;
    if (__builtin_expect(is_noted && chunk && t->births[c] == pool_clock(t->pool), 1))
        return chunk + at;
    return table_mut_run(t, i, 1);
}

/* Makes *view a frozen copy of t as it is now (arrays of pointers, births, metas and states only). Part of
 * the freeze period that the caller has just begun with chunk_pool_freeze(). A chunk that is absent is
 * fetched when the view is asked for it, for the view and the table alike: t must not be freed or loaded
 * before the view is freed. It uses the memory of `room` (NULL: none), if that is large enough. -ENOMEM. */
int table_freeze_in(const struct table *t, struct table_room *room, struct table *view);
static inline int table_freeze(const struct table *t, struct table *view)
{
    return table_freeze_in(t, NULL, view);
}
/* Moves what is noted of units that were written to the view, for a checkpoint. -ENOMEM: nothing has
 * changed. */
int table_take_dirty(struct table *t, struct table *view);
/* All of chunk c is to be written by the next checkpoint: what the last has of it is bad. False: it is not in
 * memory, and cannot be fetched. */
bool table_dirty_all(struct table *t, uint32_t c);
/* The checkpoint failed: adds what the view took over to what was written since. */
void table_return_dirty(struct table *t, const struct table *view);
/* Number of payload bytes of chunk c that are in use (the last chunk is cut at `used`). */
uint32_t table_chunk_len(const struct table *t, uint32_t c);

/*
 * For loading a checkpoint: replaces the contents of an initialised table by n_chunks absent chunks of birth
 * 0, which `source` gives when they are needed; with fetch NULL they are zeroed and here. The loader then
 * sets used and the metas and states, and calls table_loaded(). -EBADMSG: no such table can be; -ENOMEM.
 * Bound n_chunks by what the checkpoint holds first: address space for all of them is mapped. */
int table_load_begin(struct table *t, uint32_t n_chunks, const struct table_source *source);
/* Chunk c of the checkpoint has no image: it was dropped. */
void table_load_dropped(struct table *t, uint32_t c);
/* Checks the loaded counters against each other and notes which chunks have free records. 0 or -EBADMSG. */
int table_loaded(struct table *t);
/* Of format 1, where one chain leads through the whole table, from record `head` on: makes a chain of each
 * chunk of it. All chunks are here. -EBADMSG: it is not n_free long, or leads astray. */
int table_adopt_v1(struct table *t, uint32_t head, uint32_t n_free);
/* Chunk c of a damaged store has no free records, but lost ones: its chain is broken. */
void table_lose_chain(struct table *t, uint32_t c);
/* Checks the free chains of all chunks, which are fetched for it (in range, no loop, n_free long). 0 or
 * -EBADMSG. */
int table_validate_free(const struct table *t);
/* The chain of chunk c alone. */
int table_validate_chunk(const struct table *t, uint32_t c);
/* The same of any chunk, whose records of 2^record_shift bytes have places up to `end`, and may be free from
 * `first` on. */
int table_check_chain(const struct table_meta *m, const uint8_t *chunk, uint32_t first, uint32_t end,
                      unsigned record_shift);

#endif

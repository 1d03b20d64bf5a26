/*
 * table.c - see table.h.
 *
 * State of a chunk: HERE with memory; DROPPED, when no record that was handed out is in use; ABSENT until it
 * is fetched, which its fetch lock orders; LOST if that failed for good. Free records of a chunk: a chain
 * through their first four bytes (places in the chunk), its length in metas[c].n_free. Of a dropped chunk all
 * records count as free, in ascending order; the chain is written when it is revived.
 *
 * Locks: none here but the pool's fetch locks, see table.h. */
#include "index/table.h"

#include "base/fault.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t chunk_records(const struct table *t)
{
    return 1u << t->chunk_shift;
}

/* First record of chunk c that can be handed out: record 0 of the table never is. */
static uint32_t first_place(uint32_t c)
{
    return c == 0;
}

/* End of the records of chunk c that were handed out, as a place in it. */
static uint32_t end_place(const struct table *t, uint32_t c)
{
    uint64_t first = (uint64_t)c << t->chunk_shift;
    return t->used <= first ? 0 : (uint32_t)MIN_OF(t->used - first, (uint64_t)chunk_records(t));
}

/* How many records of it were handed out. */
static uint32_t handed_out(const struct table *t, uint32_t c)
{
    uint32_t end = end_place(t, c);
    return end > first_place(c) ? end - first_place(c) : 0;
}

static uint8_t *here(const struct table *t, uint32_t c)
{
    return atomic_load_explicit(&t->chunks[c], memory_order_relaxed);
}

static void set_here(struct table *t, uint32_t c, uint8_t *chunk)
{
    atomic_store_explicit(&t->chunks[c], chunk, memory_order_release);
}

static uint8_t *place_at(const struct table *t, uint8_t *chunk, uint32_t place)
{
    return chunk + ((size_t)place << t->record_shift);
}

static bool bit_is_set(const uint64_t *map, uint32_t i)
{
    return map[i / 64] >> i % 64 & 1;
}

static inline void bit_set(uint64_t *map, uint32_t i, bool on)
{
    map[i / 64] = (map[i / 64] & ~(UINT64_C(1) << i % 64)) | (uint64_t)on << i % 64;
}

/* Notes what the counters of chunk c say now. */
static void note_room(struct table *t, uint32_t c)
{
    uint32_t n_free = t->metas[c].n_free;
    bool dropped = t->states[c] == TABLE_DROPPED, any = n_free > 0 && (dropped || !t->own_chains);
    bool apart = t->metas[c].flags & TABLE_APART, room = any && !apart;
    bit_set(t->room, c, room);
    bit_set(t->room_apart, c, any && (dropped || apart));
    bit_set(t->empty, c, n_free > 0 && !dropped && n_free + MUTANT(DROP_IN_USE) >= handed_out(t, c));
    if (room)
        t->room_from = MIN_OF(t->room_from, c);
    if (any && (dropped || apart))
        t->apart_from = MIN_OF(t->apart_from, c);
}

/* ---- arrays ------------------------------------------------------------------ */

static int grow_zeroed(void *array_ptr, size_t old, size_t n, size_t size)
{
    int r = grow_array(array_ptr, n, size);
    uint8_t *array;
    memcpy(&array, array_ptr, sizeof array);
    if (!r && n > old)
        memset(array + old * size, 0, (n - old) * size);
    return r;
}

static size_t words(uint32_t n)
{
    return ((size_t)n + 63) / 64;
}

/* Room for n chunks in the arrays. */
static int table_grow_arrays(struct table *t, uint32_t n)
{
    uint32_t old = t->cap_chunks;
    if (n <= old)
        return 0;
    uint32_t cap = MAX_OF(old > UINT32_MAX / 2 ? n : old * 2, MAX_OF(n, 8u));
    old = t->frozen ? cap : old; /* a view is copied over all that it has, while everybody waits */
    if (grow_zeroed(&t->chunks, old, cap, sizeof *t->chunks) < 0 ||
        grow_zeroed(&t->births, old, cap, sizeof *t->births) < 0 ||
        grow_zeroed(&t->metas, old, cap, sizeof *t->metas) < 0 ||
        grow_zeroed(&t->states, old, cap, sizeof *t->states) < 0)
        return -ENOMEM;
    if (!t->frozen && (grow_zeroed(&t->dirty, old, cap, sizeof *t->dirty) < 0 ||
                       grow_zeroed(&t->changed, words(old), words(cap), sizeof *t->changed) < 0 ||
                       grow_zeroed(&t->room, words(old), words(cap), sizeof *t->room) < 0 ||
                       grow_zeroed(&t->room_apart, words(old), words(cap), sizeof *t->room) < 0 ||
                       grow_zeroed(&t->empty, words(old), words(cap), sizeof *t->empty) < 0))
        return -ENOMEM;
    t->cap_chunks = cap;
    return 0;
}

/* Whether anything of chunk c is dirty. */
static void set_changed(struct table *t, uint32_t c, bool changed)
{
    if (bit_is_set(t->changed, c) == changed)
        return;
    bit_set(t->changed, c, changed);
    t->n_changed += changed ? 1u : UINT32_MAX;
}

static void set_all_dirty(struct table *t, uint32_t c, bool dirty)
{
    memset(&t->dirty[c], dirty ? 0xff : 0, sizeof t->dirty[c]);
    set_changed(t, c, dirty);
}

static void push_chunk(struct table *t, uint8_t *chunk, uint64_t birth)
{
    uint32_t c = t->n_chunks++;
    assert(c < t->cap_chunks); /* table_reserve() was forgotten */
    t->births[c] = birth;
    t->metas[c] = (struct table_meta){0};
    set_all_dirty(t, c, birth != 0); /* an image of one that was there before may be */
    t->states[c] = TABLE_HERE;
    bit_set(t->room, c, false);
    bit_set(t->room_apart, c, false);
    bit_set(t->empty, c, false);
    set_here(t, c, chunk);
}

int table_init(struct table *t, struct chunk_pool *pool, uint32_t record_size)
{
    assert(record_size >= 4 && record_size <= TABLE_CHUNK_SIZE && (record_size & (record_size - 1)) == 0);
    *t = (struct table){.pool = pool, .record_size = record_size, .used = 1, .limit = UINT32_MAX};
    t->record_shift = (uint8_t)__builtin_ctz(record_size);
    t->units = record_size < 64 * TABLE_UNIT ? (UINT64_C(2) << (record_size - 1) / TABLE_UNIT) - 1 : 0;
    t->chunk_shift = (uint8_t)(__builtin_ctz(TABLE_CHUNK_SIZE) - t->record_shift);
    /* One more than promised, so that a reservation of the caller stays whole. */
    if (table_grow_arrays(t, 1) < 0 || pool_have_besides(pool, 1) < 0) {
        table_free(t);
        return -ENOMEM;
    }
    push_chunk(t, pool_take(pool, true), pool_clock(pool));
    return 0;
}

void table_keep_word(struct table *t)
{
    assert(t->record_size >= 8);
    t->keep_word = true;
}

/* Gives chunk c back to the pool. */
static void let_go(struct table *t, uint32_t c)
{
    if (here(t, c))
        pool_release(t->pool, here(t, c), t->births[c]);
    else if (t->states[c] == TABLE_ABSENT || t->states[c] == TABLE_LOST)
        pool_release(t->pool, t->places[c].chunk, t->births[c]); /* a view may still fetch it */
    set_here(t, c, NULL);
}

static void pop_chunks(struct table *t, uint32_t n)
{
    while (t->n_chunks > n) {
        uint32_t c = t->n_chunks - 1;
        let_go(t, c);
        bit_set(t->room, c, false);
        bit_set(t->room_apart, c, false);
        bit_set(t->empty, c, false);
        set_changed(t, c, false);
        t->n_free -= t->metas[c].n_free;
        t->n_chunks--;
    }
}

void table_free(struct table *t)
{
    if (!t->frozen)
        pop_chunks(t, 0);
    free(t->chunks);
    free(t->births);
    free(t->metas);
    free(t->dirty);
    free(t->changed);
    free(t->states);
    free(t->room);
    free(t->room_apart);
    free(t->empty);
    if (!t->frozen)
        free(t->places);
    *t = (struct table){0};
}

int table_reserve(struct table *t, uint32_t n)
{
    assert(!t->frozen);
    /* Freed records count only at the very end: in a damaged store their chain may break, see
     * table_alloc(). */
    uint64_t used = (uint64_t)t->used + n;
    if (used > t->limit) {
        if (n > t->n_free && (uint64_t)t->used + (n - t->n_free) > t->limit)
            return -EOVERFLOW;
        used = t->limit;
    }
    return table_grow_arrays(t, (uint32_t)((used + chunk_records(t) - 1) >> t->chunk_shift));
}

/* ---- fetching, dropping, reviving -------------------------------------------- */

#define INSISTING_TRIES 4u /* for what may pass */

enum table_read { READ_NOT_YET, READ_WHOLE, READ_FAILED };

/* Fetches loaded chunk c to its place, once for the table and all of its views. With its fetch lock held. An
 * error that may pass leaves it to be fetched by the next who needs it. */
static int fetch_locked(const struct table *t, uint32_t c)
{
    struct table_place *place = &t->places[c];
    int r = 0;
    unsigned tries = pool_insists && !MUTANT(IMPATIENT) ? INSISTING_TRIES : 1;
    for (unsigned i = 0; place->read == READ_NOT_YET && i < tries; i++) {
        r = t->source.fetch(t->source.arg, t->source.which, c, place->chunk);
        if (!r)
            pool_note_fetched(t->pool);
        if (!r)
            place->read = READ_WHOLE;
        else if (r == -EBADMSG || MUTANT(MISSED_FOR_GOOD))
            place->read = READ_FAILED;
    }
    if (place->read == READ_FAILED) {
        pool_note_lost(t->pool, -EBADMSG);
        r = -EIO;
    }
    return r;
}

/* Of a view: the table may have changed its chunk since, but not in that place. */
const uint8_t *table_chunk(const struct table *t, uint32_t c)
{
    uint8_t *chunk = atomic_load_explicit(&t->chunks[c], memory_order_acquire);
    if (chunk || !t->source.fetch || c >= t->n_places)
        return chunk;
    struct table *mine = (struct table *)(uintptr_t)t; /* const for readers: nothing that they see changes */
    pthread_mutex_t *lock = pool_fetch_lock(t->pool, c);
    pthread_mutex_lock(lock);
    int r = t->states[c] == TABLE_LOST ? -EIO : 0;
    if (t->states[c] == TABLE_ABSENT) {
        r = fetch_locked(t, c);
        if (!r)
            set_here(mine, c, t->places[c].chunk);
        if (t->places[c].read != READ_NOT_YET)
            mine->states[c] = r ? TABLE_LOST : TABLE_HERE;
    }
    chunk = here(t, c);
    pthread_mutex_unlock(lock);
    if (r)
        pool_missed = r;
    return chunk;
}

static void mark_dirty(struct table *t, uint32_t c, uint32_t from, uint32_t bytes)
{
    for (uint32_t u = from / TABLE_UNIT; u <= (from + bytes - 1) / TABLE_UNIT; u++)
        t->dirty[c].bits[u / 64] |= UINT64_C(1) << u % 64;
    set_changed(t, c, true);
}

void table_drop(struct table *t, uint32_t c)
{
    let_go(t, c);
    t->states[c] = TABLE_DROPPED;
    t->metas[c].flags = 0;
    t->births[c] = pool_clock(t->pool); /* to a checkpoint that is a change */
    set_all_dirty(t, c, false);
    note_room(t, c);
}

void table_cut_dropped(struct table *t)
{
    while (t->n_chunks > 1 && t->states[t->n_chunks - 1] == TABLE_DROPPED) {
        pop_chunks(t, t->n_chunks - 1);
        t->used = t->n_chunks << t->chunk_shift;
    }
    if (t->n_chunks == 1 && t->states[0] == TABLE_DROPPED) {
        t->n_free -= t->metas[0].n_free;
        t->metas[0] = (struct table_meta){0};
        t->used = 1;
        note_room(t, 0);
    }
}

/* The highest kept word of the chunk, which is here. */
static uint32_t highest_word(const struct table *t, uint32_t c)
{
    uint32_t highest = t->metas[c].carry, word;
    for (uint32_t p = first_place(c); p < end_place(t, c); p++) {
        memcpy(&word, place_at(t, here(t, c), p) + 4, sizeof word);
        highest = MAX_OF(highest, word);
    }
    return highest;
}

size_t table_drop_empty(struct table *t, size_t max)
{
    size_t left = 0;
    for (uint32_t w = 0; w < words(t->n_chunks); w++) {
        while (t->empty[w] && max > 0) {
            uint32_t c = w * 64 + (uint32_t)__builtin_ctzll(t->empty[w]);
            bit_set(t->empty, c, false);
            if (!table_chunk(t, c))
                continue; /* lost: its record of uses must not be forgotten */
            if (t->keep_word && !MUTANT(USES_FORGOTTEN))
                t->metas[c].carry = highest_word(t, c);
            table_drop(t, c);
            max--;
        }
        left += (size_t)__builtin_popcountll(t->empty[w]);
    }
    if (!t->keep_word)
        table_cut_dropped(t);
    return left;
}

void table_cut_empty(struct table *t)
{
    for (uint32_t c = t->n_chunks - 1; t->empty[c / 64] >> c % 64 & 1; c = t->n_chunks - 1) {
        table_drop(t, c);
        table_cut_dropped(t);
    }
}

void table_revive(struct table *t, uint32_t c)
{
    uint8_t *chunk = pool_take_promised(t->pool, true);
    uint32_t n = t->metas[c].n_free, end = end_place(t, c);
    if (t->own_chains) {
        t->n_free -= n;
        t->metas[c].n_free = 0;
        n = 0;
    }
    for (uint32_t p = first_place(c); n > 0 && p < end; p++) {
        uint32_t next = p + 1 < end ? p + 1 : 0;
        memcpy(place_at(t, chunk, p), &next, sizeof next);
        if (t->keep_word)
            memcpy(place_at(t, chunk, p) + 4, &t->metas[c].carry, 4);
    }
    t->metas[c].free_head = (uint16_t)first_place(c);
    t->states[c] = TABLE_HERE;
    t->births[c] = pool_clock(t->pool);
    set_all_dirty(t, c, true);
    set_here(t, c, chunk);
    note_room(t, c);
}

/* For a writer, who cannot be told no: zeros, which nothing that is fetched later overwrites. */
static void poison(struct table *t, uint32_t c)
{
    pthread_mutex_t *lock = pool_fetch_lock(t->pool, c);
    pthread_mutex_lock(lock);
    t->places[c].read = READ_FAILED;
    pthread_mutex_unlock(lock);
    memset(t->places[c].chunk, 0, TABLE_CHUNK_SIZE);
    t->states[c] = TABLE_HERE;
    set_here(t, c, t->places[c].chunk);
    pool_note_poison(t->pool);
}

/* Makes chunk c one that is written in the current period. Kept out of line: it is seldom needed. */
static __attribute__((noinline)) void renew(struct table *t, uint32_t c)
{
    struct chunk_pool *pool = t->pool;
    if (t->states[c] == TABLE_DROPPED) {
        table_revive(t, c);
        return;
    }
    bool insists = pool_insists;
    pool_insists = true;
    if (!table_chunk(t, c))
        poison(t, c);
    pool_insists = insists;
    if (pool_seen_now(pool, t->births[c])) {
        uint8_t *copy = pool_take_promised(pool, false);
        memcpy(copy, here(t, c), TABLE_CHUNK_SIZE);
        pool_release(pool, here(t, c), t->births[c]);
        set_here(t, c, copy);
    }
    t->births[c] = pool_clock(pool);
}

void *table_mut_run(struct table *t, uint32_t i, uint32_t n)
{
    assert(!t->frozen && i != 0 && i < t->used && n > 0 && n <= t->used - i);
    uint32_t c = i >> t->chunk_shift, place = i & (chunk_records(t) - 1);
    if (t->births[c] != pool_clock(t->pool) || !here(t, c))
        renew(t, c);
    if (!MUTANT(UNIT_UNMARKED) || c % 2 == 0)
        mark_dirty(t, c, place << t->record_shift, n << t->record_shift);
    return place_at(t, here(t, c), place);
}

/* ---- handing out --------------------------------------------------------------- */

/* The next n unused records, which lie in one chunk (the last or a new one), zeroed. */
static uint32_t append(struct table *t, uint32_t n)
{
    assert(!t->frozen && t->used <= t->limit - n);
    uint32_t i = t->used, c = i >> t->chunk_shift;
    if (c == t->n_chunks)
        push_chunk(t, pool_take_promised(t->pool, true), pool_clock(t->pool));
    else if (t->states[c] == TABLE_DROPPED)
        table_revive(t, c);
    t->used += n;
    bit_set(t->empty, c, false);
    /* Beyond `used` a loaded chunk need not be zero, whatever the format says (I10). */
    memset(table_mut_run(t, i, n), 0, (size_t)n << t->record_shift);
    return i;
}

/* Is this the place of a record of chunk c that may be free? */
static bool may_be_free(const struct table *t, uint32_t c, uint32_t place)
{
    return place >= first_place(c) && place < end_place(t, c);
}

/* A stray reference of a damaged store may have written into a chain: lose records rather than crash. */
void table_lose_chain(struct table *t, uint32_t c)
{
    t->is_lossy = true;
    t->n_free -= t->metas[c].n_free;
    t->metas[c].n_free = 0;
    note_room(t, c);
}

static uint32_t next_place(const uint8_t *record)
{
    uint32_t next;
    memcpy(&next, record, sizeof next);
    return next;
}

/* Takes the record at `place` of chunk c out, to which `link` (a place, or chunk_records() for the head)
 * leads. */
static uint32_t take_out(struct table *t, uint32_t c, uint32_t link, uint32_t place)
{
    uint32_t i = (c << t->chunk_shift) + place;
    uint8_t *record = table_mut(t, i);
    uint32_t next = next_place(record), word = 0;
    if (t->keep_word)
        memcpy(&word, record + 4, sizeof word);
    if (link == chunk_records(t))
        t->metas[c].free_head = (uint16_t)next;
    else
        memcpy(table_mut(t, (c << t->chunk_shift) + link), &next, sizeof next);
    memset(record, 0, t->record_size);
    if (t->keep_word)
        memcpy(record + 4, &word, sizeof word);
    t->metas[c].n_free--;
    t->n_free--;
    note_room(t, c);
    return i;
}

uint32_t table_alloc(struct table *t)
{
    uint32_t c;
    while ((c = t->room_from = table_next_room(t, t->room, t->room_from)) < t->n_chunks) {
        if (t->states[c] == TABLE_DROPPED)
            table_revive(t, c);
        if (may_be_free(t, c, t->metas[c].free_head) && table_chunk(t, c))
            return take_out(t, c, chunk_records(t), t->metas[c].free_head);
        table_lose_chain(t, c);
    }
    return append(t, 1);
}

/* Where nothing was in use what is claimed says whether the chunk is apart; in a chunk that is, all was. */
static void claim_at(struct table *t, uint32_t c, uint32_t link, uint32_t place, bool apart)
{
    bool was = t->metas[c].flags & TABLE_APART || t->metas[c].n_free == handed_out(t, c);
    t->metas[c].flags = apart && was ? TABLE_APART : 0;
    (void)take_out(t, c, link, place); /* notes the room */
}

static int claim(struct table *t, uint32_t i, bool apart)
{
    uint32_t c = i >> t->chunk_shift, place = i & (chunk_records(t) - 1), link = chunk_records(t);
    if (i == t->used) {
        (void)append(t, 1);
        t->metas[c].flags = 0;
        note_room(t, c);
        return 0;
    }
    if (i == 0 || i > t->used || !t->metas[c].n_free)
        return -EBADMSG;
    if (t->states[c] == TABLE_DROPPED)
        table_revive(t, c);
    uint32_t at = t->metas[c].free_head;
    const uint8_t *chunk = table_chunk(t, c);
    for (uint32_t left = t->metas[c].n_free; chunk && left > 0 && may_be_free(t, c, at); left--) {
        if (at == place) {
            claim_at(t, c, link, place, apart);
            return 0;
        }
        link = at;
        at = next_place(chunk + ((size_t)at << t->record_shift));
    }
    return -EBADMSG;
}

int table_claim(struct table *t, uint32_t i)
{
    return claim(t, i, false);
}

/* The unused records of the last chunk become free ones. */
static void free_rest(struct table *t)
{
    uint32_t first = t->used, n = -first & (chunk_records(t) - 1);
    if (n == 0)
        return;
    if (t->states[first >> t->chunk_shift] == TABLE_DROPPED)
        table_revive(t, first >> t->chunk_shift);
    t->used += n;
    memset(table_mut_run(t, first, n), 0, (size_t)n << t->record_shift);
    for (uint32_t i = first + n; i > first; i--)
        table_free_record(t, i - 1);
}

/* One more chunk, of which all is free, as in one that was dropped. */
static void add_chunk_apart(struct table *t)
{
    uint32_t c = t->n_chunks;
    free_rest(t);
    push_chunk(t, NULL, pool_clock(t->pool));
    set_all_dirty(t, c, false);
    t->states[c] = TABLE_DROPPED;
    t->used += chunk_records(t);
    t->metas[c].n_free = (uint16_t)chunk_records(t);
    t->n_free += chunk_records(t);
    note_room(t, c);
}

int table_claim_apart(struct table *t, uint32_t i)
{
    uint64_t begin = (uint64_t)t->n_chunks << t->chunk_shift;
    if (i == begin && begin + chunk_records(t) <= t->limit)
        add_chunk_apart(t);
    int r = claim(t, i, true);
    t->apart_from = table_next_room(t, t->room_apart, t->apart_from);
    return r;
}

uint32_t table_kept_word(const struct table *t, uint32_t i)
{
    uint32_t c = i >> t->chunk_shift, word = 0;
    if (!t->keep_word || i == 0 || i >= t->used)
        return 0;
    if (t->states[c] == TABLE_DROPPED)
        return t->metas[c].carry;
    const uint8_t *record = table_get(t, i);
    if (record)
        memcpy(&word, record + 4, sizeof word);
    return word;
}

void table_free_record(struct table *t, uint32_t i)
{
    uint32_t c = i >> t->chunk_shift, next = t->metas[c].n_free ? t->metas[c].free_head : 0;
    memcpy(table_mut(t, i), &next, sizeof next);
    t->metas[c].free_head = (uint16_t)(i & (chunk_records(t) - 1));
    t->metas[c].n_free++;
    t->n_free++;
    note_room(t, c);
}

uint32_t table_alloc_run(struct table *t, uint32_t n, uint32_t *ret_gap, uint32_t *ret_gap_n)
{
    assert(n > 0 && n <= chunk_records(t));
    uint32_t room = -t->used & (chunk_records(t) - 1); /* unused records of the last chunk */
    *ret_gap = t->used;
    *ret_gap_n = 0;
    if (room > 0 && room < n) {
        *ret_gap_n = room;
        t->used += room;
    }
    return append(t, n);
}

void table_cut(struct table *t, uint32_t used)
{
    assert(!t->frozen && used > 0 && used <= t->used && t->n_free == 0);
    t->used = used;
    pop_chunks(t, ((used - 1) >> t->chunk_shift) + 1);
}

void table_own_chains(struct table *t)
{
    t->own_chains = true;
}

void table_note_free(struct table *t, uint32_t c, int32_t n)
{
    t->metas[c].n_free = (uint16_t)(t->metas[c].n_free + n);
    t->n_free += (uint32_t)n;
    note_room(t, c);
}

static uint32_t first_bit(const struct table *t, const uint64_t *map)
{
    for (uint32_t w = 0; w < words(t->n_chunks); w++)
        if (map[w])
            return w * 64 + (uint32_t)__builtin_ctzll(map[w]);
    return t->n_chunks;
}

uint32_t table_first_empty(const struct table *t)
{
    return first_bit(t, t->empty);
}

uint32_t table_first_dropped(const struct table *t)
{
    return first_bit(t, t->room);
}

/* ---- views and checkpoints ------------------------------------------------------ */

int table_freeze_in(const struct table *t, struct table_room *room, struct table *view)
{
    struct table v = {.pool = t->pool,
                      .record_size = t->record_size,
                      .record_shift = t->record_shift,
                      .chunk_shift = t->chunk_shift,
                      .keep_word = t->keep_word,
                      .own_chains = t->own_chains,
                      .is_lossy = t->is_lossy,
                      .source = t->source,
                      .places = t->places,
                      .n_places = t->n_places,
                      .frozen = true};
    if (room && room->cap_chunks >= t->n_chunks)
        table_room_move(&v, room);
    if (table_grow_arrays(&v, t->n_chunks) < 0) {
        table_free(&v);
        return -ENOMEM;
    }
    v.used = t->used;
    v.n_free = t->n_free;
    v.n_chunks = t->n_chunks;
    if (t->n_chunks > 0) { /* else there are no arrays: a table that is zeroed, not initialised */
        for (uint32_t c = 0; c < t->n_chunks; c++)
            atomic_store_explicit(&v.chunks[c], here(t, c), memory_order_relaxed);
        memcpy(v.births, t->births, t->n_chunks * sizeof *t->births);
        memcpy(v.metas, t->metas, t->n_chunks * sizeof *t->metas);
        memcpy(v.states, t->states, t->n_chunks * sizeof *t->states);
    }
    *view = v;
    return 0;
}

int table_take_dirty(struct table *t, struct table *view)
{
    if (!view->dirty || view->cap_chunks < t->cap_chunks) { /* too little room */
        free(view->dirty);
        free(view->changed);
        view->dirty = calloc(t->cap_chunks, sizeof *view->dirty);
        view->changed = calloc(words(t->cap_chunks), sizeof *view->changed);
    }
    if (!view->dirty || !view->changed)
        return -ENOMEM;
    const struct table noted = *t;
    t->dirty = view->dirty;
    t->changed = view->changed;
    t->n_changed = 0;
    view->dirty = noted.dirty;
    view->changed = noted.changed;
    view->n_changed = noted.n_changed;
    return 0;
}

bool table_dirty_all(struct table *t, uint32_t c)
{
    if (t->states[c] == TABLE_DROPPED)
        return true;
    if (!table_chunk(t, c))
        return false;
    set_all_dirty(t, c, true);
    return true;
}

void table_return_dirty(struct table *t, const struct table *view)
{
    for (uint32_t c = 0; c < MIN_OF(t->n_chunks, view->n_chunks); c++) {
        if (!bit_is_set(view->changed, c))
            continue;
        for (unsigned w = 0; w < TABLE_UNIT_WORDS; w++)
            t->dirty[c].bits[w] |= view->dirty[c].bits[w];
        set_changed(t, c, true);
    }
}

uint32_t table_chunk_len(const struct table *t, uint32_t c)
{
    return end_place(t, c) << t->record_shift;
}

/* ---- loading ---------------------------------------------------------------------- */

int table_load_begin(struct table *t, uint32_t n_chunks, const struct table_source *source)
{
    assert(!t->frozen);
    if (n_chunks == 0 || (uint64_t)n_chunks << t->chunk_shift > UINT64_C(1) << 32)
        return -EBADMSG;
    struct table_place *places = calloc(n_chunks, sizeof *places);
    if (!places || table_grow_arrays(t, n_chunks) < 0 || pool_have_besides(t->pool, n_chunks) < 0) {
        free(places);
        return -ENOMEM;
    }
    pop_chunks(t, 0);
    free(t->places);
    t->places = places;
    t->n_places = n_chunks;
    t->source = *source;
    while (t->n_chunks < n_chunks) {
        uint32_t c = t->n_chunks;
        uint8_t *chunk = pool_take(t->pool, true);
        places[c].chunk = chunk;
        push_chunk(t, source->fetch ? NULL : chunk, 0);
        t->states[c] = source->fetch ? TABLE_ABSENT : TABLE_HERE;
    }
    t->used = 1;
    t->n_free = 0;
    t->room_from = t->apart_from = 0;
    return 0;
}

void table_load_dropped(struct table *t, uint32_t c)
{
    assert(t->states[c] == TABLE_ABSENT || t->states[c] == TABLE_HERE);
    set_here(t, c, NULL);
    pool_put_back(t->pool, t->places[c].chunk);
    t->states[c] = TABLE_DROPPED;
}

int table_loaded(struct table *t)
{
    uint64_t chunks = ((uint64_t)t->used + chunk_records(t) - 1) >> t->chunk_shift, n_free = 0;
    if (t->used == 0 || chunks != t->n_chunks)
        return -EBADMSG;
    for (uint32_t c = 0; c < t->n_chunks; c++) {
        uint32_t n = t->metas[c].n_free, all = handed_out(t, c);
        if (n > all || (t->states[c] == TABLE_DROPPED && n != all && n != 0))
            return -EBADMSG;
        n_free += n;
        note_room(t, c);
    }
    t->n_free = (uint32_t)n_free;
    return 0;
}

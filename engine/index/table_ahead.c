/*
 * table_ahead.c - which records a table will hand out. No state, no locks. See table.h. */
#include "index/table.h"

#include <string.h>

/* What is handed out next in chunk c. */
static void ahead_to(const struct table *t, struct table_ahead *a, uint32_t c)
{
    a->chunk = c;
    a->left = c < t->n_chunks ? t->metas[c].n_free : 0;
    if (a->left)
        a->place = t->states[c] == TABLE_DROPPED ? c == 0 : t->metas[c].free_head;
}

/* The next free record of the chunk; 0: its chain is broken. */
static uint32_t ahead_in_chunk(const struct table *t, struct table_ahead *a)
{
    uint32_t c = a->chunk, place = a->place, next = place + 1;
    if (t->states[c] != TABLE_DROPPED) {
        const uint8_t *chunk = table_chunk(t, c);
        if (!chunk || place < (c == 0) || place >= table_chunk_len(t, c) >> t->record_shift)
            return 0;
        memcpy(&next, chunk + ((size_t)place << t->record_shift), sizeof next);
    }
    a->left--;
    a->place = next;
    return (c << t->chunk_shift) + place;
}

uint32_t table_predict(const struct table *t, struct table_ahead *ahead)
{
    struct table_ahead first = {0}, *a = ahead ? ahead : &first;
    if (!a->begun || (a->left == 0 && a->chunk < t->n_chunks))
        ahead_to(t, a, table_next_room(t, t->room, a->begun ? a->chunk + 1 : t->room_from));
    a->begun = true;
    if (a->chunk < t->n_chunks)
        return ahead_in_chunk(t, a);
    return (uint64_t)t->used + a->beyond < t->limit ? t->used + a->beyond++ : 0;
}

/* The first chunk from c on from which records are taken apart, but for those that were dropped and that
 * `others` may have come to. */
static uint32_t next_apart(const struct table *t, uint32_t c, const struct table_ahead *others)
{
    c = table_next_room(t, t->room_apart, c);
    while (others && others->begun && c < t->n_chunks && c <= others->chunk && t->states[c] == TABLE_DROPPED)
        c = table_next_room(t, t->room_apart, c + 1);
    return c;
}

uint32_t table_predict_apart(const struct table *t, struct table_ahead *ahead,
                             const struct table_ahead *others)
{
    struct table_ahead first = {0}, *a = ahead ? ahead : &first;
    if (!a->begun || (a->left == 0 && a->chunk < t->n_chunks))
        ahead_to(t, a, next_apart(t, a->begun ? a->chunk + 1 : t->apart_from, others));
    a->begun = true;
    if (a->chunk < t->n_chunks)
        return ahead_in_chunk(t, a);
    uint64_t records = UINT64_C(1) << t->chunk_shift,
             used = (uint64_t)t->used + (others ? others->beyond : 0);
    uint64_t i = (used + records - 1) / records * records + a->beyond;
    if (i / records * records + records > t->limit)
        return 0;
    a->beyond++;
    return (uint32_t)i;
}

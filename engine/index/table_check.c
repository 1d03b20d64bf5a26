/*
 * table_check.c - what is free in a table, whether the free chains are sound, and those of format 1 taken
 * over. See table.h. */
#include "index/table.h"

#include <errno.h>
#include <string.h>

/* End of the records of chunk c that were handed out, as a place in it. */
static uint32_t end_place(const struct table *t, uint32_t c)
{
    return table_chunk_len(t, c) >> t->record_shift;
}

static uint32_t next_place(const uint8_t *record)
{
    uint32_t next;
    memcpy(&next, record, sizeof next);
    return next;
}

/* Is this the place of a record of chunk c that may be free? */
static bool may_be_free(const struct table *t, uint32_t c, uint32_t place)
{
    return place >= (c == 0) && place < end_place(t, c);
}

bool table_is_free(const struct table *t, uint32_t i)
{
    uint32_t c = i >> t->chunk_shift, place = i & ((1u << t->chunk_shift) - 1);
    if (i == 0 || i >= t->used || t->states[c] == TABLE_DROPPED)
        return i > 0 && i < t->used;
    const uint8_t *chunk = t->metas[c].n_free ? table_chunk(t, c) : NULL;
    uint32_t at = t->metas[c].free_head;
    for (uint32_t left = t->metas[c].n_free; chunk && left > 0 && may_be_free(t, c, at); left--) {
        if (at == place)
            return true;
        at = next_place(chunk + ((size_t)at << t->record_shift));
    }
    return false;
}

static void mark(uint8_t *map, uint32_t i)
{
    map[i / 8] |= (uint8_t)(1u << i % 8);
}

void table_mark_free(const struct table *t, uint8_t *map)
{
    for (uint32_t c = 0; c < t->n_chunks; c++) {
        uint32_t first = c << t->chunk_shift, place = t->metas[c].free_head;
        const uint8_t *chunk = t->metas[c].n_free ? table_chunk(t, c) : NULL;
        for (uint32_t p = c == 0; t->states[c] == TABLE_DROPPED && p < end_place(t, c); p++)
            mark(map, first + p);
        for (uint32_t left = t->metas[c].n_free; chunk && left > 0 && may_be_free(t, c, place); left--) {
            mark(map, first + place);
            place = next_place(chunk + ((size_t)place << t->record_shift));
        }
    }
}

int table_check_chain(const struct table_meta *m, const uint8_t *chunk, uint32_t first, uint32_t end,
                      unsigned record_shift)
{
    uint64_t seen[TABLE_CHUNK_SIZE / 4 / 64] = {0};
    uint32_t place = m->free_head;
    for (uint32_t left = m->n_free; left > 0; left--) {
        if (place < first || place >= end || seen[place / 64] >> place % 64 & 1)
            return -EBADMSG;
        seen[place / 64] |= UINT64_C(1) << place % 64;
        place = next_place(chunk + ((size_t)place << record_shift));
    }
    return 0;
}

int table_validate_chunk(const struct table *t, uint32_t c)
{
    const struct table_meta *m = &t->metas[c];
    if (t->states[c] == TABLE_DROPPED || m->n_free == 0 || t->own_chains)
        return 0;
    const uint8_t *chunk = table_chunk(t, c);
    return chunk ? table_check_chain(m, chunk, c == 0, end_place(t, c), t->record_shift) : -EBADMSG;
}

int table_validate_free(const struct table *t)
{
    uint64_t chunks = ((uint64_t)t->used + (1u << t->chunk_shift) - 1) >> t->chunk_shift, n_free = 0;
    int r = t->used == 0 || chunks != t->n_chunks ? -EBADMSG : 0;
    for (uint32_t c = 0; c < t->n_chunks && !r; c++) {
        n_free += t->metas[c].n_free;
        r = t->metas[c].n_free > end_place(t, c) - (c == 0) ? -EBADMSG : table_validate_chunk(t, c);
    }
    return !r && n_free != t->n_free ? -EBADMSG : r;
}

int table_adopt_v1(struct table *t, uint32_t head, uint32_t n_free)
{
    uint32_t i = head, next;
    for (uint32_t left = n_free; left > 0; left--, i = next) {
        if (i == 0 || i >= t->used)
            return -EBADMSG;
        /* A chain that meets itself goes on somewhere: it is as long as it says, and is
         * noticed in its chunks. */
        next = next_place(table_get(t, i));
        table_free_record(t, i);
    }
    return i == 0 ? table_validate_free(t) : -EBADMSG;
}

/*
 * table_room.c - memory for a view of a table, had before the locks of a freeze are taken. No state, no
 * locks. */
#include "index/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Zeros whose pages are there: malloc() alone, and calloc(), leave that to whoever writes first. */
static void *touched(size_t n, size_t size)
{
    void *p = malloc(n * size);
    if (p)
        memset(p, 0, n * size);
    return p;
}

int table_room_init(struct table_room *ret_room, uint32_t chunks, bool with_dirty)
{
    const size_t cap = chunks > 8 ? chunks : 8, bits = (cap + 63) / 64;
    struct table_room room = {.chunks = touched(cap, sizeof *room.chunks),
                              .births = touched(cap, sizeof *room.births),
                              .metas = touched(cap, sizeof *room.metas),
                              .states = touched(cap, sizeof *room.states),
                              .dirty = with_dirty ? touched(cap, sizeof *room.dirty) : NULL,
                              .changed = with_dirty ? touched(bits, sizeof *room.changed) : NULL,
                              .cap_chunks = (uint32_t)cap};
    *ret_room = room;
    bool whole = room.chunks && room.births && room.metas && room.states;
    if (whole && (!with_dirty || (room.dirty && room.changed)))
        return 0;
    table_room_done(ret_room);
    return -ENOMEM;
}

void table_room_done(struct table_room *room)
{
    free(room->chunks);
    free(room->births);
    free(room->metas);
    free(room->states);
    free(room->dirty);
    free(room->changed);
    *room = (struct table_room){0};
}

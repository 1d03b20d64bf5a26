/*
 * idmap.h - a small hash map from segment ids to values. Its memory follows
 * the number of entries and not the ids, which only grow over a store's life
 * and which file names and batches claim unchecked (I10).
 *
 * Linear probing; ids are given out in sequence, so that the low bits of an id are
 * its place, nearly always. No locks: its owner's protect it. */
#ifndef ENGRAMFS_IDMAP_H
#define ENGRAMFS_IDMAP_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct idmap {
    struct idmap_slot {
        uint32_t id; /* 0: free */
        uint64_t value;
    } * slots;
    uint32_t cap; /* 0 or a power of two, more than twice n */
    uint32_t n;
};

static inline void idmap_done(struct idmap *map)
{
    free(map->slots);
    *map = (struct idmap){0};
}

/* Forgets all entries and keeps their room. */
static inline void idmap_clear(struct idmap *map)
{
    for (uint32_t i = 0; i < map->cap; i++)
        map->slots[i] = (struct idmap_slot){0, 0};
    map->n = 0;
}

/* The slot of id, or the free one where it would be; the map is not empty. */
static inline uint32_t idmap_slot(const struct idmap *map, uint32_t id)
{
    uint32_t i = id & (map->cap - 1);
    while (map->slots[i].id && map->slots[i].id != id)
        i = (i + 1) & (map->cap - 1);
    return i;
}

/* The value of id, or 0. */
static inline uint64_t idmap_get(const struct idmap *map, uint32_t id)
{
    return map->n && id ? map->slots[idmap_slot(map, id)].value : 0;
}

/* Room for n more. -ENOMEM. */
static inline int idmap_reserve(struct idmap *map, uint32_t n)
{
    uint64_t entries = (uint64_t)map->n + n, cap = map->cap ? map->cap : 16;
    if (n == 0 || map->cap / 2 >= entries)
        return 0;
    while (cap / 2 < entries)
        cap *= 2;
    struct idmap old = *map, grown = {.cap = (uint32_t)cap, .n = old.n};
    if (cap > UINT32_MAX)
        return -ENOMEM;
    grown.slots = calloc(grown.cap, sizeof *grown.slots);
    if (!grown.slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < old.cap; i++) {
        if (old.slots[i].id)
            grown.slots[idmap_slot(&grown, old.slots[i].id)] = old.slots[i];
    }
    free(old.slots);
    *map = grown;
    return 0;
}

/* Gives room back of which only an eighth is used. */
static inline void idmap_shrink(struct idmap *map)
{
    struct idmap old = *map, less = {0};
    if (old.cap <= 16 || old.n >= old.cap / 8 || idmap_reserve(&less, old.n + 1) != 0)
        return;
    less.n = old.n;
    for (uint32_t i = 0; i < old.cap; i++) {
        if (old.slots[i].id)
            less.slots[idmap_slot(&less, old.slots[i].id)] = old.slots[i];
    }
    free(old.slots);
    *map = less;
}

/* Sets the value (not 0) of id (not 0), for which room was reserved. */
static inline void idmap_set(struct idmap *map, uint32_t id, uint64_t value)
{
    uint32_t i = idmap_slot(map, id);
    assert(map->slots); /* idmap_reserve() has made them */
    map->n += !map->slots[i].id;
    map->slots[i] = (struct idmap_slot){id, value};
}

static inline void idmap_del(struct idmap *map, uint32_t id)
{
    uint32_t mask = map->cap - 1, hole;
    if (!map->n || !map->slots[hole = idmap_slot(map, id)].id)
        return;
    map->n--;
    /* What stands behind moves up, unless that would put it before its place. */
    for (uint32_t i = (hole + 1) & mask; map->slots[i].id; i = (i + 1) & mask) {
        uint32_t home = map->slots[i].id & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        map->slots[hole] = map->slots[i];
        hole = i;
    }
    map->slots[hole] = (struct idmap_slot){0, 0};
}

#endif

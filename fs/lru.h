/*
 * lru.h - a table of a fixed size that forgets what was not used for the longest time. Its entries have
 * numbers, from 1 to its size, by which the owner keeps what belongs to them. No locks. */
#ifndef ENGRAMFS_FS_LRU_H
#define ENGRAMFS_FS_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lru_entry {
    uint64_t a, b;               /* the key */
    uint32_t next, newer, older; /* in its chain; by use. 0: none */
};

struct lru {
    uint32_t size, used; /* entries */
    uint32_t free;       /* those given back, by `next` */
    uint32_t newest, oldest;
    uint32_t mask; /* of the chains' heads */
    uint32_t *heads;
    struct lru_entry *entries; /* [0] is none */
};

/* False: no memory. Pages are touched only as they are used. */
bool lru_init(struct lru *lru, uint32_t size);
void lru_done(struct lru *lru);
size_t lru_bytes(const struct lru *lru);

/* 0: there is none. */
uint32_t lru_find(const struct lru *lru, uint64_t a, uint64_t b);
static inline bool lru_is_full(const struct lru *lru)
{
    return lru->used == lru->size && !lru->free;
}
/* A new one, the newest. The table must not be full, nor have that key. */
uint32_t lru_add(struct lru *lru, uint64_t a, uint64_t b);
void lru_remove(struct lru *lru, uint32_t i);
/* Makes it the newest. */
void lru_touch(struct lru *lru, uint32_t i);

#endif

/* lru.c - see lru.h. */
#include "lru.h"

#include <stdlib.h>

static uint32_t *chain_of(const struct lru *lru, uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ b << 32 ^ b >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 29 ^ a >> 7) * UINT64_C(0xBF58476D1CE4E5B9);
    return &lru->heads[(h >> 32) & lru->mask];
}

bool lru_init(struct lru *lru, uint32_t size)
{
    uint32_t heads = 1;
    while (heads < size)
        heads *= 2;
    *lru = (struct lru){.size = size, .mask = heads - 1};
    lru->heads = calloc(heads, sizeof *lru->heads);
    lru->entries = calloc((size_t)size + 1, sizeof *lru->entries);
    return lru->heads && lru->entries;
}

void lru_done(struct lru *lru)
{
    free(lru->heads);
    free(lru->entries);
}

size_t lru_bytes(const struct lru *lru)
{
    return ((size_t)lru->mask + 1) * sizeof *lru->heads + ((size_t)lru->size + 1) * sizeof *lru->entries;
}

uint32_t lru_find(const struct lru *lru, uint64_t a, uint64_t b)
{
    uint32_t i = *chain_of(lru, a, b);
    while (i && (lru->entries[i].a != a || lru->entries[i].b != b))
        i = lru->entries[i].next;
    return i;
}

static void unlink_by_use(struct lru *lru, uint32_t i)
{
    const struct lru_entry *e = &lru->entries[i];
    if (e->newer)
        lru->entries[e->newer].older = e->older;
    else
        lru->newest = e->older;
    if (e->older)
        lru->entries[e->older].newer = e->newer;
    else
        lru->oldest = e->newer;
}

static void link_newest(struct lru *lru, uint32_t i)
{
    struct lru_entry *e = &lru->entries[i];
    e->newer = 0;
    e->older = lru->newest;
    if (lru->newest)
        lru->entries[lru->newest].newer = i;
    else
        lru->oldest = i;
    lru->newest = i;
}

uint32_t lru_add(struct lru *lru, uint64_t a, uint64_t b)
{
    uint32_t i = lru->free;
    if (i)
        lru->free = lru->entries[i].next;
    else
        i = ++lru->used;
    uint32_t *head = chain_of(lru, a, b);
    lru->entries[i] = (struct lru_entry){.a = a, .b = b, .next = *head};
    *head = i;
    link_newest(lru, i);
    return i;
}

void lru_remove(struct lru *lru, uint32_t i)
{
    struct lru_entry *e = &lru->entries[i];
    uint32_t *at = chain_of(lru, e->a, e->b);
    while (*at != i)
        at = &lru->entries[*at].next;
    *at = e->next;
    unlink_by_use(lru, i);
    e->next = lru->free;
    lru->free = i;
}

void lru_touch(struct lru *lru, uint32_t i)
{
    if (lru->newest == i)
        return;
    unlink_by_use(lru, i);
    link_newest(lru, i);
}

/*
 * placed.c - a hash table of names, open addressing, at most two thirds full. Of two names with one key,
 * which are two in 2^64, a link to the first is refused. State: struct placed. */
#include "ctl/transfer/placed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static uint64_t key_of(tdir dir, const char *name)
{
    uint64_t key = XXH3_64bits_withSeed(name, strlen(name), dir);
    return key ? key : 1;
}

static struct placed_name *slot(struct placed_name *table, size_t cap, uint64_t key)
{
    size_t i = key & (cap - 1);
    while (table[i].key && table[i].key != key)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static int grow(struct placed *p)
{
    size_t cap = p->cap ? p->cap * 2 : 256;
    struct placed_name *table = calloc(cap, sizeof *table);
    if (!table)
        return -ENOMEM;
    for (size_t i = 0; i < p->cap; i++)
        if (p->table[i].key)
            *slot(table, cap, p->table[i].key) = p->table[i];
    free(p->table);
    p->table = table;
    p->cap = cap;
    return 0;
}

int placed_note(struct placed *p, tdir dir, const char *name, uint64_t ino)
{
    int r = p->n * 3 >= p->cap * 2 ? grow(p) : 0;
    if (r < 0)
        return r;
    uint64_t key = key_of(dir, name);
    struct placed_name *s = slot(p->table, p->cap, key);
    p->n += !s->key;
    *s = (struct placed_name){key, ino};
    return 0;
}

bool placed_find(const struct placed *p, tdir dir, const char *name, uint64_t *ret_ino)
{
    uint64_t key = key_of(dir, name);
    const struct placed_name *s = p->cap ? slot(p->table, p->cap, key) : NULL;
    if (!s || !s->key)
        return false;
    *ret_ino = s->ino;
    return true;
}

void placed_done(struct placed *p)
{
    free(p->table);
    *p = (struct placed){0};
}

/*
 * links.c - a hash table of inodes, open addressing, at most half full. State: struct links. */
#include "ctl/transfer/links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static struct links_first *slot(struct links_first *table, size_t cap, uint64_t dev, uint64_t ino)
{
    uint64_t key[2] = {dev, ino};
    size_t i = XXH3_64bits(key, sizeof key) & (cap - 1);
    while (table[i].name && (table[i].dev != dev || table[i].ino != ino))
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static int grow(struct links *l)
{
    size_t cap = l->cap ? l->cap * 2 : 256;
    struct links_first *table = calloc(cap, sizeof *table);
    if (!table)
        return -ENOMEM;
    for (size_t i = 0; i < l->cap; i++)
        if (l->table[i].name)
            *slot(table, cap, l->table[i].dev, l->table[i].ino) = l->table[i];
    free(l->table);
    l->table = table;
    l->cap = cap;
    return 0;
}

int links_note(struct links *l, const struct target_attr *attr, tdir dir, const char *name,
               struct links_first *ret_first)
{
    int r = l->n * 2 >= l->cap ? grow(l) : 0;
    if (r < 0)
        return r;
    struct links_first *f = slot(l->table, l->cap, attr->dev, attr->ino);
    if (f->name && !f->broken) {
        *ret_first = *f;
        return 1;
    }
    const char *copy = pool_copy(&l->names, name, strlen(name));
    if (!copy)
        return -ENOMEM;
    l->n += !f->name;
    *f = (struct links_first){.dev = attr->dev, .ino = attr->ino, .dir = dir, .name = copy};
    return 0;
}

struct links_first *links_find(struct links *l, const struct target_attr *attr)
{
    struct links_first *f = l->cap ? slot(l->table, l->cap, attr->dev, attr->ino) : NULL;
    return f && f->name ? f : NULL;
}

void links_break(struct links *l, const struct target_attr *attr)
{
    struct links_first *f = links_find(l, attr);
    if (f)
        f->broken = true;
}

void links_done(struct links *l)
{
    free(l->table);
    pool_done(&l->names);
    *l = (struct links){0};
}

/*
 * buf.c - growing byte strings, pools and arrays. No shared state. */
#include "shared/buf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

bool buf_reserve(struct buf *b, size_t n)
{
    if (b->cap - b->len >= n)
        return !b->failed;
    size_t want;
    if (__builtin_add_overflow(b->len, n, &want) || want > SIZE_MAX / 2)
        goto fail;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < want)
        cap *= 2;
    char *data = realloc(b->data, cap);
    if (!data)
        goto fail;
    b->data = data;
    b->cap = cap;
    return !b->failed;
fail:
    b->failed = true;
    return false;
}

void buf_add(struct buf *b, const void *data, size_t n)
{
    if (!n || !buf_reserve(b, n))
        return;
    memcpy(b->data + b->len, data, n);
    b->len += n;
}

void buf_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_char(struct buf *b, char c)
{
    if (!buf_reserve(b, 1))
        return;
    b->data[b->len++] = c;
}

#define POOL_CHUNK ((size_t)1 << 20)

struct pool_chunk {
    struct pool_chunk *older;
    size_t size;
    char data[] __attribute__((aligned(8)));
};

void pool_done(struct pool *a)
{
    while (a->chunks) {
        struct pool_chunk *c = a->chunks;
        a->chunks = c->older;
        free(c);
    }
    *a = (struct pool){0};
}

void pool_reset(struct pool *a)
{
    struct pool_chunk *keep = NULL;
    while (a->chunks) {
        struct pool_chunk *c = a->chunks;
        a->chunks = c->older;
        /* Only a chunk of the usual size is kept: one huge memory must not hold its room for ever. */
        if (!keep && c->size == POOL_CHUNK)
            keep = c;
        else
            free(c);
    }
    *a = (struct pool){.chunks = keep};
    if (keep) {
        keep->older = NULL;
        a->next = keep->data;
        a->end = keep->data + keep->size;
    }
}

void *pool_alloc(struct pool *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + 7) & ~(size_t)7;
    if ((size_t)(a->end - a->next) >= n) {
        void *p = a->next;
        a->next += n;
        return p;
    }
    size_t size = n > POOL_CHUNK ? n : POOL_CHUNK;
    struct pool_chunk *c = malloc(sizeof *c + size);
    if (!c)
        return NULL;
    c->size = size;
    c->older = a->chunks;
    a->chunks = c;
    a->next = c->data + n;
    a->end = c->data + size;
    return c->data;
}

void *pool_copy(struct pool *a, const void *data, size_t n)
{
    char *p = pool_alloc(a, n + 1);
    if (!p)
        return NULL;
    if (n)
        memcpy(p, data, n);
    p[n] = 0;
    return p;
}

void *array_room(void *items, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return items;
    size_t more = *cap ? *cap * 2 : 32;
    void *grown = reallocarray(items, more, size);
    if (grown)
        *cap = more;
    return grown;
}

/*
 * buf.h - three kinds of growing memory: `buf`, one contiguous byte string; `pool`, many small objects that
 * die together; and arrays. */
#ifndef ENGRAM_SHARED_BUF_H
#define ENGRAM_SHARED_BUF_H

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialised is empty. A failed allocation sets `failed` and drops further output. */
struct buf {
    char *data;
    size_t len, cap;
    bool failed;
};

void buf_done(struct buf *b);
static inline void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}
/* Room for `n` more bytes at b->data + b->len; false when there is no memory. */
bool buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *data, size_t n);
void buf_str(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);

struct pool_chunk;
/* Zero-initialised is empty. */
struct pool {
    struct pool_chunk *chunks; /* newest first */
    char *next, *end;
};

void pool_done(struct pool *a);
/* Forgets all objects; keeps one chunk for reuse. */
void pool_reset(struct pool *a);
/* 8-byte aligned, not zeroed; NULL when there is no memory. */
void *pool_alloc(struct pool *a, size_t n);
/* A copy of n bytes with a NUL after them. */
void *pool_copy(struct pool *a, const void *data, size_t n);

/*
 * Room for one more item in an array of `n` items of `size` bytes, `*cap` of which fit: the array, which may
 * have moved, or NULL when there is no memory, and nothing has changed then. */
void *array_room(void *items, size_t n, size_t *cap, size_t size);

#endif

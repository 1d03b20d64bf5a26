/*
 * util.h - the few helpers that every room uses: cleanup attributes, bounds,
 * growable buffers, clocks. */
#ifndef ENGRAMFS_UTIL_H
#define ENGRAMFS_UTIL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGN8(n) (((n) + 7u) & ~(__typeof__(n))7)

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))

/* Takes a pointer out of a variable that a cleanup attribute would free. */
#define STEAL(p)                                                                                             \
    ({                                                                                                       \
        __typeof__(p) steal_ = (p);                                                                          \
        (p) = NULL;                                                                                          \
        steal_;                                                                                              \
    })

/* Nanoseconds since the epoch. */
static inline int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Nanoseconds of a clock that only runs forward. */
static inline uint64_t mono_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The instant `ns` from now, for pthread_cond_timedwait() on a condition made by cond_init_mono(). */
static inline struct timespec mono_after(uint64_t ns)
{
    uint64_t t = mono_ns() + ns;
    return (struct timespec){.tv_sec = (time_t)(t / 1000000000), .tv_nsec = (long)(t % 1000000000)};
}

static inline void cond_init_mono(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* Hands a struct of `known` bytes to a caller whose struct of that name has `size`: what only one of the two
 * has is left out, or 0. */
static inline void give_sized(void *ret, size_t size, const void *st, size_t known)
{
    memcpy(ret, st, MIN_OF(size, known));
    if (size > known)
        memset((char *)ret + known, 0, size - known);
}

/* The other way: takes a struct of `known` bytes over from a caller whose struct has `size`. -EINVAL: the
 * caller has set, behind what is known, what we do not know. */
static inline int take_sized(void *st, size_t known, const void *from, size_t size)
{
    const char *bytes = (const char *)from;
    memcpy(st, from, MIN_OF(size, known));
    for (size_t i = known; i < size; i++)
        if (bytes[i])
            return -EINVAL;
    return 0;
}

/* A growable byte buffer; zeroed is empty. */
struct buf {
    uint8_t *data;
    size_t len, cap;
};

static inline void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}
#define CLEANUP_BUF __attribute__((cleanup(buf_free)))

/* What malloc() has ready in the thread: larger blocks cost several times as much. */
#define ALLOC_QUICK ((size_t)1024)

/* Room for n more bytes. -ENOMEM. */
static inline int buf_reserve(struct buf *b, size_t n)
{
    if (n <= b->cap - b->len)
        return 0;
    size_t cap = b->cap || n > ALLOC_QUICK ? MAX_OF(b->cap * 2, (size_t)4096) : ALLOC_QUICK;
    while (cap - b->len < n)
        cap *= 2;
    uint8_t *data = realloc(b->data, cap);
    if (!data)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

/* Grows *array to hold at least `need` elements of `size` bytes. -ENOMEM. */
static inline int array_grow(void *array, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return 0;
    size_t first = MIN_OF(MAX_OF(ALLOC_QUICK / size, (size_t)1), (size_t)16), n = MAX_OF(*cap * 2, first);
    while (n < need)
        n *= 2;
    void *p = reallocarray(*(void **)array, n, size);
    if (!p)
        return -ENOMEM;
    *(void **)array = p;
    *cap = n;
    return 0;
}

#endif

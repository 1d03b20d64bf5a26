/*
 * malloc_wrap.h - what a program has in place of malloc() and its like: malloc_is_refused(), which the
 * program defines, says of each call whether there is no memory for it. */
#ifndef ENGRAMFS_TESTS_MALLOC_WRAP_H
#define ENGRAMFS_TESTS_MALLOC_WRAP_H

#include <stdbool.h>
#include <stddef.h>

static bool malloc_is_refused(void);

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *__wrap_malloc(size_t size)
{
    return malloc_is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return malloc_is_refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return malloc_is_refused() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    return malloc_is_refused() ? NULL : __real_reallocarray(p, n, size);
}

#endif

/*
 * hash.c - see hash.h. A file of its own, since xxHash's choice by processor and its inlining exclude each
 * other. */
#include "base/hash.h"

#ifdef HAVE_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

uint64_t hash_long(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

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

struct hash_stream *hash_stream_new(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state)
        XXH3_64bits_reset(state);
    return (struct hash_stream *)state;
}

void hash_stream_add(struct hash_stream *h, const void *data, size_t size)
{
    XXH3_64bits_update((XXH3_state_t *)h, data, size);
}

uint64_t hash_stream_free(struct hash_stream *take_h)
{
    uint64_t hash = take_h ? XXH3_64bits_digest((XXH3_state_t *)take_h) : 0;
    XXH3_freeState((XXH3_state_t *)take_h);
    return hash;
}

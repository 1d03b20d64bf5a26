/*
 * hash.h - XXH3 by the widest vectors that the processor at hand has. */
#ifndef ENGRAMFS_HASH_H
#define ENGRAMFS_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 without a seed. For short inputs a call inlined from xxhash.h is faster; the result is the same. */
uint64_t hash_long(const void *data, size_t size);
/* The same hash over pieces. */
struct hash_stream;
struct hash_stream *hash_stream_new(void); /* NULL: no memory */
void hash_stream_add(struct hash_stream *h, const void *data, size_t size);
uint64_t hash_stream_free(struct hash_stream *take_h); /* the hash; NULL is fine */

#endif

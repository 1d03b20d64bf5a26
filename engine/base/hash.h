/*
 * hash.h - XXH3 by the widest vectors that the processor at hand has. */
#ifndef ENGRAMFS_HASH_H
#define ENGRAMFS_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 without a seed. For short inputs a call inlined from xxhash.h is faster; the result is the same. */
uint64_t hash_long(const void *data, size_t size);

#endif

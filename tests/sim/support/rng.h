/*
 * rng.h - reproducible random numbers for tests: splitmix64 (Steele, Lea,
 * Flood: Fast Splittable Pseudorandom Number Generators, 2014). Any seed is as
 * good as any other, so that 1, 2, 3 ... may be used. */
#ifndef ENGRAMFS_TESTS_RNG_H
#define ENGRAMFS_TESTS_RNG_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t rng_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 .. n-1; 0 for n = 0. */
static inline uint64_t rng_below(uint64_t *state, uint64_t n)
{
    return n ? rng_next(state) % n : 0;
}

/* Bytes that depend on `seed` only. */
static inline void rng_fill(void *buf, size_t size, uint64_t seed)
{
    uint8_t *bytes = buf;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = rng_next(&seed);
        for (size_t k = i; k < size && k < i + 8; k++, word >>= 8)
            bytes[k] = (uint8_t)word;
    }
}

#endif

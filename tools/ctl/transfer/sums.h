/*
 * sums.h - whether all of a packed stream has a sum: of zstd, lz4 and xz some has none. By the packed bytes,
 * frame by frame; nothing is unpacked. Pure. */
#ifndef ENGRAMCTL_SUMS_H
#define ENGRAMCTL_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sums_state {
    SUMS_LOST, /* what comes is nothing that can be followed; or always has sums */
    SUMS_XZ,
    SUMS_FRAME, /* the magic number of one of zstd or lz4 */
    SUMS_SKIPPED,
    SUMS_ZSTD_HEAD,
    SUMS_ZSTD_BLOCK,
    SUMS_LZ4_HEAD,
    SUMS_LZ4_BLOCK,
};

struct sums {
    enum sums_state state;
    uint64_t skip;    /* bytes to come that say nothing */
    uint8_t head[12]; /* what is being looked at, */
    size_t have;      /* as far as it came */
    bool of_frame, of_block;
    bool missing; /* some of it has none */
};

/* `begin` has at least 8 bytes of a packed stream, which sums_feed() gets as well. */
void sums_begin(struct sums *s, const void *begin);
void sums_feed(struct sums *s, const void *data, size_t n);

#endif

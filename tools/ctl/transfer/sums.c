/*
 * sums.c - see sums.h. State: struct sums. The formats: RFC 8878 (zstd), lz4_Frame_format.md of lz4, and
 * xz-file-format.txt of xz. */
#include "ctl/transfer/sums.h"

#include <string.h>
#include <zlib.h>

#define XZ_MAGIC                                                                                             \
    "\xfd"                                                                                                   \
    "7zXZ\0"
#define MAGIC_ZSTD 0xFD2FB528U
#define MAGIC_LZ4 0x184D2204U
#define MAGIC_LZ4_OLD 0x184C2102U /* which has no sums at all */
#define MAGIC_SKIPPED 0x184D2A50U /* of both, and 15 more */

static uint32_t number(const uint8_t *p, size_t n)
{
    uint32_t v = 0;
    for (size_t i = n; i > 0; i--)
        v = v << 8 | p[i - 1];
    return v;
}

/* How many bytes are looked at in this state. */
static size_t wanted(const struct sums *s)
{
    static const size_t sizes[] = {
        [SUMS_XZ] = 12,        [SUMS_FRAME] = 4,    [SUMS_SKIPPED] = 4,  [SUMS_ZSTD_HEAD] = 1,
        [SUMS_ZSTD_BLOCK] = 3, [SUMS_LZ4_HEAD] = 2, [SUMS_LZ4_BLOCK] = 4};
    return sizes[s->state];
}

/* The header of a stream has a sum of its own, so that it is found wherever it is; all begin at multiples
 * of 4. */
static void look_xz(struct sums *s)
{
    const uint8_t *h = s->head;
    if (!memcmp(h, XZ_MAGIC, 6) && crc32(0, h + 6, 2) == number(h + 8, 4)) {
        unsigned check = h[7] & 15U; /* CRC32, CRC64, SHA-256; nobody knows others */
        s->missing |= check != 1 && check != 4 && check != 10;
    }
    memmove(s->head, s->head + 4, 8);
    s->have = 8;
}

static void look_magic(struct sums *s)
{
    uint32_t magic = number(s->head, 4);
    s->state = SUMS_LOST;
    if (magic == MAGIC_ZSTD)
        s->state = SUMS_ZSTD_HEAD;
    else if (magic == MAGIC_LZ4)
        s->state = SUMS_LZ4_HEAD;
    else if ((magic & ~15U) == MAGIC_SKIPPED)
        s->state = SUMS_SKIPPED;
    s->missing |= magic == MAGIC_LZ4_OLD;
}

static void look_zstd_head(struct sums *s)
{
    static const uint8_t dictionary[] = {0, 1, 2, 4}, content[] = {0, 2, 4, 8};
    uint8_t flags = s->head[0], size = content[flags >> 6];
    bool single = flags & 32; /* then there is a size, and no window */
    s->of_frame = flags & 4;
    s->missing |= !s->of_frame;
    s->skip = 1U + dictionary[flags & 3] + size;
    if (single && size)
        s->skip--;
    s->state = SUMS_ZSTD_BLOCK;
}

static void look_zstd_block(struct sums *s)
{
    uint32_t v = number(s->head, 3);
    unsigned type = v >> 1 & 3;
    s->skip = type == 1 ? 1 : v >> 3; /* one byte, many times */
    if (type == 3)
        s->state = SUMS_LOST;
    else if (v & 1) {
        s->skip += s->of_frame ? 4 : 0;
        s->state = SUMS_FRAME;
    }
}

static void look_lz4_head(struct sums *s)
{
    uint8_t flags = s->head[0];
    s->of_frame = flags & 4;
    s->of_block = flags & 16;
    s->missing |= !s->of_frame && !s->of_block;
    s->skip = (flags & 8U) + (flags & 1U) * 4 + 1; /* sizes, dictionary, its own sum */
    s->state = SUMS_LZ4_BLOCK;
}

static void look_lz4_block(struct sums *s)
{
    uint32_t size = number(s->head, 4);
    if (size) {
        s->skip = (uint64_t)(size & 0x7FFFFFFFU) + (s->of_block ? 4 : 0);
        return;
    }
    s->skip = s->of_frame ? 4 : 0;
    s->state = SUMS_FRAME;
}

static void look(struct sums *s)
{
    s->have = 0;
    switch (s->state) {
    case SUMS_XZ:
        look_xz(s);
        break;
    case SUMS_FRAME:
        look_magic(s);
        break;
    case SUMS_SKIPPED:
        s->skip = number(s->head, 4);
        s->state = SUMS_FRAME;
        break;
    case SUMS_ZSTD_HEAD:
        look_zstd_head(s);
        break;
    case SUMS_ZSTD_BLOCK:
        look_zstd_block(s);
        break;
    case SUMS_LZ4_HEAD:
        look_lz4_head(s);
        break;
    case SUMS_LZ4_BLOCK:
        look_lz4_block(s);
        break;
    case SUMS_LOST:
        break;
    }
}

void sums_begin(struct sums *s, const void *begin)
{
    *s = (struct sums){.state = SUMS_FRAME};
    if (!memcmp(begin, "\x1f\x8b", 2) || !memcmp(begin, "BZh", 3)) /* which always have one */
        s->state = SUMS_LOST;
    else if (!memcmp(begin, XZ_MAGIC, 6))
        s->state = SUMS_XZ;
}

void sums_feed(struct sums *s, const void *data, size_t n)
{
    const uint8_t *p = data, *end = p + n;
    while (p < end && s->state != SUMS_LOST) {
        size_t rest = (size_t)(end - p);
        if (s->skip) {
            size_t pass = s->skip < rest ? (size_t)s->skip : rest;
            s->skip -= pass;
            p += pass;
            continue;
        }
        size_t take = wanted(s) - s->have;
        take = take < rest ? take : rest;
        memcpy(s->head + s->have, p, take);
        s->have += take;
        p += take;
        if (s->have == wanted(s))
            look(s);
    }
}

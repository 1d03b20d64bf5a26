/*
 * holes.c - see holes.h. No state, no locks.
 *
 * The engine knows where content lies to the byte. It is asked step by step, and a writer may come in
 * between: a hole is told only where there was one when the engine was asked for it. */
#include "holes.h"

#include <errno.h>
#include <unistd.h>

#define STEPS_MAX 16384u /* looks of one request: some milliseconds */

static uint64_t block_of(uint64_t offset)
{
    return offset / HOLES_BLOCK * HOLES_BLOCK;
}

/* The first content at or after `at`, a block's begin. UINT64_MAX: there is none. */
static int content_from(struct eng *eng, uint64_t ino, uint64_t at, uint64_t *ret_offset)
{
    uint64_t found = UINT64_MAX;
    int r = eng_seek(eng, ino, at, SEEK_DATA, &found);
    if (r && r != -ENXIO)
        return r;
    *ret_offset = r ? UINT64_MAX : found;
    return 0;
}

static int seek_data(struct eng *eng, uint64_t ino, uint64_t offset, uint64_t *ret_offset)
{
    uint64_t found = 0;
    int r = content_from(eng, ino, block_of(offset), &found);
    if (r || found == UINT64_MAX)
        return r ? r : -ENXIO;
    uint64_t begin = block_of(found);
    *ret_offset = begin > offset ? begin : offset;
    return 0;
}

/* The first block without any content, from that of `offset` on. If that takes too many looks, the end of the
 * file: what may have holes may be called data. */
static int seek_hole(struct eng *eng, uint64_t ino, uint64_t offset, uint64_t size, uint64_t *ret_offset)
{
    uint64_t block = block_of(offset), content = 0;
    for (unsigned steps = 0; block < size; steps++) {
        if (steps == STEPS_MAX) {
            block = size;
            break;
        }
        int r = content_from(eng, ino, block, &content);
        if (r)
            return r;
        if (content >= block + HOLES_BLOCK)
            break;
        uint64_t end = 0;
        r = eng_seek(eng, ino, content, SEEK_HOLE, &end);
        if (r && r != -ENXIO) /* the file got shorter */
            return r;
        block = r ? size : block_of(end + HOLES_BLOCK - 1);
    }
    *ret_offset = block >= size ? size : block;
    if (*ret_offset < offset)
        *ret_offset = offset;
    return 0;
}

int holes_seek(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset)
{
    struct eng_attr attr;
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return -EINVAL;
    int r = eng_getattr(eng, ino, &attr);
    if (!r && offset >= attr.size)
        r = -ENXIO;
    if (r)
        return r;
    return whence == SEEK_DATA ? seek_data(eng, ino, offset, ret_offset)
                               : seek_hole(eng, ino, offset, attr.size, ret_offset);
}

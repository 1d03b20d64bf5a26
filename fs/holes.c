/*
 * holes.c - see holes.h. No state, no locks.
 *
 * The engine knows where content lies to the byte. It is asked step by step, and a writer may come in
 * between: a hole is told only where there was one when the engine was asked for it. */
#include "holes.h"

#include <errno.h>
#include <unistd.h>

/* So many extents one request looks at, and a question to the engine counts as so many: some 10 ms. */
#define LOOKS_MAX (1u << 20)
#define QUESTION_LOOKS 32u
/* Of the past: each goes through pieces of all newer states of the file. */
#define PAST_LOOKS (64u * QUESTION_LOOKS)

struct asking {
    struct eng *eng;
    struct eng_view *view; /* NULL: the store as it is */
    uint64_t ino, looks;   /* looks: that are left */
};

static uint64_t block_of(uint64_t offset)
{
    return offset / HOLES_BLOCK * HOLES_BLOCK;
}

static int ask(struct asking *a, uint64_t at, int whence, uint64_t *ret_offset)
{
    const uint64_t looks = a->view ? PAST_LOOKS : QUESTION_LOOKS;
    if (a->looks < looks)
        return -EAGAIN;
    a->looks -= looks;
    if (a->view)
        return eng_view_seek(a->view, a->ino, at, whence, ret_offset);
    return eng_seek_some(a->eng, a->ino, at, whence, &a->looks, ret_offset);
}

/* The first content at or after `at`, a block's begin. UINT64_MAX: there is none. */
static int content_from(struct asking *a, uint64_t at, uint64_t *ret_offset)
{
    uint64_t found = UINT64_MAX;
    int r = ask(a, at, SEEK_DATA, &found);
    if (r && r != -ENXIO)
        return r;
    *ret_offset = r ? UINT64_MAX : found;
    return 0;
}

static int seek_data(struct asking *a, uint64_t offset, uint64_t *ret_offset)
{
    uint64_t found = 0;
    int r = content_from(a, block_of(offset), &found);
    if (r || found == UINT64_MAX)
        return r ? r : -ENXIO;
    uint64_t begin = block_of(found);
    *ret_offset = begin > offset ? begin : offset;
    return 0;
}

/* The first block without any content, from that of `offset` on. If that takes too many looks, the end of the
 * file: what may have holes may be called data. */
static int seek_hole(struct asking *a, uint64_t offset, uint64_t size, uint64_t *ret_offset)
{
    uint64_t block = block_of(offset), content = 0;
    while (block < size) {
        uint64_t end = 0;
        int r = content_from(a, block, &content);
        if (!r && content >= block + HOLES_BLOCK)
            break;
        if (!r)
            r = ask(a, content, SEEK_HOLE, &end);
        if (r && r != -EAGAIN && r != -ENXIO) /* ENXIO: the file got shorter */
            return r;
        block = r ? size : block_of(end + HOLES_BLOCK - 1);
    }
    *ret_offset = block >= size ? size : block;
    if (*ret_offset < offset)
        *ret_offset = offset;
    return 0;
}

static int seek(struct asking *a, uint64_t offset, int whence, uint64_t *ret_offset)
{
    struct eng_attr attr;
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        return -EINVAL;
    int r = a->view ? eng_view_getattr(a->view, a->ino, &attr) : eng_getattr(a->eng, a->ino, &attr);
    if (!r && offset >= attr.size)
        r = -ENXIO;
    if (r)
        return r;
    return whence == SEEK_DATA ? seek_data(a, offset, ret_offset)
                               : seek_hole(a, offset, attr.size, ret_offset);
}

int holes_seek(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset)
{
    struct asking a = {.eng = eng, .ino = ino, .looks = LOOKS_MAX};
    return seek(&a, offset, whence, ret_offset);
}

int holes_seek_past(struct eng_view *view, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset)
{
    struct asking a = {.view = view, .ino = ino, .looks = LOOKS_MAX};
    return seek(&a, offset, whence, ret_offset);
}

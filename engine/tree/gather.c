/*
 * gather.c - see gather.h. */
#include "tree/gather.h"

#include "index/extents.h"

#include <limits.h>

#define MERGE_EXTENT_MAX GATHER_BELOW /* larger tail extents are not merged any further */
#define MERGE_RUN 7u    /* that many tail extents of a size class are merged with the next append */
#define TAKEN_MAX 1024u /* extents that are taken along at an end of a write */

/* Coarse logarithm of a size: extents of one class differ by less than a factor of 8. */
static unsigned size_class(uint64_t len)
{
    return (63u - (unsigned)__builtin_clzll(len | 1)) / 3;
}

/*
 * Where an append of `size` bytes at `end` should begin, so that it takes a run of small extents at the tail
 * along: as in a log-structured merge tree with fan-out 8, each byte is written about log8(n) times, and few
 * small extents are left. */
static uint64_t merge_from(const struct index *idx, uint32_t slot, uint64_t end, uint64_t size)
{
    uint64_t from = end, at = end, off;
    unsigned run = 0, left = MUTANT(NO_SLICES) ? UINT_MAX : TAKEN_MAX;
    struct locator loc;
    while (at > 0 && left-- > 0 && index_extent(idx, slot, at - 1, &off, &loc) == 0 && off + loc.len == at) {
        uint64_t total = end - off + size;
        if (loc.len > MERGE_EXTENT_MAX || total > EXTENT_MAX ||
            size_class(loc.len) > size_class(end - from + size))
            break;
        at = off;
        if (++run >= MERGE_RUN) {
            from = at;
            run = 0;
        }
    }
    return from;
}

bool gather_is_crowded(const struct eng *eng, const struct index *idx, uint64_t ino, uint64_t block)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    uint32_t n = 0, most = eng_block_extents(eng);
    uint64_t end;
    if (!inode || inode_n_extents(inode) < most || block >= inode->size)
        return false;
    end = MIN_OF(block + BLOCK_SIZE, inode->size);
    return extents_count(idx, ino_slot(ino), block, end, TAKEN_MAX + 1, &n, &end) == 0 && n >= most &&
           n <= TAKEN_MAX; /* more only before there was a bound: they are left alone */
}

/* Whether [off, end) begins within a crowded block, and whether it ends in one. */
static bool begins_in_crowd(const struct eng *eng, const struct index *idx, uint64_t ino, uint64_t off)
{
    return off % BLOCK_SIZE && gather_is_crowded(eng, idx, ino, off - off % BLOCK_SIZE);
}

static bool ends_in_crowd(const struct eng *eng, const struct index *idx, uint64_t ino, uint64_t end)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    return inode && end < inode->size && end % BLOCK_SIZE &&
           gather_is_crowded(eng, idx, ino, end - end % BLOCK_SIZE);
}

bool gather_is_due(const struct eng *eng, const struct index *idx, uint64_t ino, uint64_t off, uint64_t end)
{
    return off < end && (begins_in_crowd(eng, idx, ino, off) || ends_in_crowd(eng, idx, ino, end));
}

void gather_range(const struct eng *eng, const struct index *idx, uint64_t ino, uint64_t off, uint64_t end,
                  uint64_t *ret_from, uint64_t *ret_to)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    *ret_from = off;
    *ret_to = end;
    if (!inode || off == end)
        return;
    if (off == inode->size && end - off < GATHER_BELOW)
        *ret_from = merge_from(idx, ino_slot(ino), off, end - off);
    if (begins_in_crowd(eng, idx, ino, off))
        *ret_from = MIN_OF(*ret_from, off - off % BLOCK_SIZE);
    if (ends_in_crowd(eng, idx, ino, end))
        *ret_to = MIN_OF(end - end % BLOCK_SIZE + BLOCK_SIZE, inode->size);
}

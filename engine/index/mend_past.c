/*
 * mend_past.c - see mend_past.h. */
#include "index/mend_past.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"
#include "index/moments.h"
#include "index/past.h"

#include <stdio.h>
#include <stdlib.h>

bool mend_xattrs_are_whole(const struct index *idx, const struct inode_rec *inode, uint8_t *cells,
                           uint32_t *ret_last)
{
    struct xattr_view view;
    bool may_lack = inode->flags & INODE_PAST;
    uint32_t n = 0, x = inode->xattrs;
    *ret_last = 0;
    while (x && ++n <= ENG_XATTR_LIST_MAX && index_xattr(idx, x, &view) && view.name_len &&
           view.name_len <= ENG_XATTR_NAME_MAX && view.name[0] &&
           (!view.is_extent || (index_locator_is_valid(idx, &view.loc) && view.loc.len == view.value_len)) &&
           (!view.is_absent || (may_lack && !view.is_extent && !view.value_len)) &&
           names_mark(&idx->names, x, xattr_stored_size(&view), cells)) {
        *ret_last = x;
        x = view.next;
    }
    return !x;
}

bool mend_content_is_whole(const struct index *idx, const struct inode_rec *inode, uint32_t slot,
                           const struct mend_found *found)
{
    bool has_tail = inode->flags & INODE_TAIL && !(inode->flags & INODE_PAST);
    if (inode->flags & INODE_INLINE)
        return index_locator_is_valid(idx, &inode->first) &&
               (inode->first.len <= inode->size || (!inode->size && has_tail));
    return inode->extents.n == found->n_extents[slot] && inode->extents.bytes == found->bytes[slot];
}

/* ---- lines ------------------------------------------------------------------------- */

struct lines {
    struct index *idx;
    const struct mend_found *found;
    uint8_t *kept; /* bit by slot: a past state in a line */
};

static bool is_kept(const struct lines *l, uint32_t slot)
{
    return l->kept[slot / 8] >> slot % 8 & 1;
}

/* Whether the past state shows what it was, as long as all newer ones do. */
static bool is_whole(const struct lines *l, uint32_t slot, const struct inode_rec *past)
{
    uint32_t last, flags = INODE_PAST | INODE_PAST_TAIL | INODE_GOING;
    flags |= S_ISREG(past->mode) ? INODE_INLINE | INODE_LEAPS : 0;
    if (past->flags & ~flags || past->size > ENG_FILE_SIZE_MAX)
        return false;
    return (!S_ISREG(past->mode) || mend_content_is_whole(l->idx, past, slot, l->found)) &&
           mend_xattrs_are_whole(l->idx, past, l->found->cells, &last);
}

/* The next older state of the line, if it can stay; 0: the line ends. */
static uint32_t next_kept(const struct lines *l, uint32_t head, const struct inode_rec *newer, bool has_tail)
{
    uint32_t slot = newer->past;
    const struct inode_rec *past = index_slot(l->idx, slot);
    if (!past || !(past->flags & INODE_PAST) || past_head(past) != head || is_kept(l, slot) ||
        !past_may_follow(past, newer) || (past->flags & INODE_PAST_TAIL && !has_tail))
        return 0;
    if (is_whole(l, slot, past))
        return slot;
    return MUTANT(NEWER_LOST_KEPT) ? next_kept(l, head, past, has_tail) : 0;
}

static void mend_line(struct lines *l, uint32_t head)
{
    struct inode_rec *at = index_slot_mut(l->idx, head);
    const uint32_t tail = INODE_TAIL | INODE_PAST_TAIL;
    bool has_tail = (at->flags & tail) == tail; /* that no state has yet */
    while (at->past) {
        at->past = next_kept(l, head, at, has_tail);
        if (!at->past)
            break;
        l->kept[at->past / 8] |= (uint8_t)(1u << at->past % 8);
        at = index_slot_mut(l->idx, at->past);
        has_tail = has_tail && !(at->flags & INODE_PAST_TAIL);
    }
    if (has_tail || (index_slot(l->idx, head)->flags & tail) != tail) /* it is nobody's */
        index_slot_mut(l->idx, head)->flags &= ~(uint32_t)INODE_PAST_TAIL;
}

int mend_lines(struct index *idx, const struct mend_found *found)
{
    struct lines l = {.idx = idx, .found = found, .kept = calloc(idx->inodes.used / 8 + 1, 1)};
    if (!l.kept)
        return -ENOMEM;
    for (uint32_t slot = 1; slot < idx->inodes.used; slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        if (inode && !(inode->flags & INODE_PAST) && (inode->past || inode->flags & INODE_PAST_TAIL))
            mend_line(&l, slot);
    }
    for (uint32_t slot = 1; slot < idx->inodes.used; slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        if (inode && inode->flags & INODE_PAST && !is_kept(&l, slot)) {
            uint32_t reuse = inode->reuse;
            *(struct inode_rec *)table_mut(&idx->inodes, slot) = (struct inode_rec){.reuse = reuse};
        }
    }
    free(l.kept);
    return 0;
}

/* ---- moments ----------------------------------------------------------------------- */

/* Whether the name is there, and no newer snapshot has it. */
static bool has_name(const struct index *idx, uint32_t i)
{
    const struct moment_rec *rec = index_moment(idx, i);
    const char *name = index_snapshot_name(idx, rec);
    return name && index_name_is_valid(name, rec->name_len) &&
           index_find_snapshot(idx, name, rec->name_len) == i;
}

static int name_again(struct index *idx, uint32_t i)
{
    struct moment_rec *rec = table_mut(&idx->moments, i);
    char name[48];
    struct names_need need = {0};
    int len = snprintf(name, sizeof name, "#%llu", (unsigned long long)rec->batch);
    for (unsigned n = 2; index_find_snapshot(idx, name, (size_t)len); n++)
        len = snprintf(name, sizeof name, "#%llu-%u", (unsigned long long)rec->batch, n);
    names_need(&need, (uint32_t)len);
    int r = names_reserve(&idx->names, &need);
    if (!r)
        r = chunk_pool_reserve(idx->pool, 2);
    if (r)
        return r == -EOVERFLOW ? -EBADMSG : r;
    rec->name = names_alloc(&idx->names, (uint32_t)len);
    rec->name_len = (uint16_t)len;
    memcpy(names_mut(&idx->names, rec->name, (uint32_t)len), name, (size_t)len);
    return 0;
}

int mend_moments(struct index *idx)
{
    const unsigned known = MOMENT_SNAPSHOT | MOMENT_ALONE;
    uint64_t last = 0;
    int r = 0;
    idx->s.newest_snapshot = 0;
    for (uint32_t i = 1; i < idx->moments.used && !r; i++) {
        const struct moment_rec *rec = index_moment(idx, i);
        if (!rec)
            continue;
        bool is_snapshot = rec->flags & MOMENT_SNAPSHOT;
        if (rec->batch <= last || rec->flags & ~known || (!is_snapshot && (rec->flags || rec->name))) {
            *(struct moment_rec *)table_mut(&idx->moments, i) = (struct moment_rec){0};
            continue;
        }
        last = rec->batch;
        if (is_snapshot)
            idx->s.newest_snapshot = last;
        if (is_snapshot && !has_name(idx, i))
            r = name_again(idx, i);
    }
    return r;
}

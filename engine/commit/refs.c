/*
 * refs.c - the live ranges of content and of xattrs in given segments, by a walk through the index: what
 * compaction moves and the scrub verifies.
 *
 * Locks: index_lock shared, for a slice of the walk at a time, which an inode's xattrs exceed only if it is
 * the last one of it. A slice collects into a small array; without
 * the lock that is appended to the large one, whose growth takes milliseconds. */
#include "commit/refs.h"

#include "base/job.h"

#define SLICE_INODES 128u /* and their xattrs */
#define SLICE_EXTENTS 256u

struct collector {
    struct eng *eng;
    const struct idmap *wanted;      /* NULL: all */
    struct extent_ref *refs, *found; /* all; by this slice */
    size_t n, cap, n_found, cap_found;
    struct bkey next; /* where the scan of the tree continues */
    unsigned slice;
    uint64_t yielded;
};

static int collect(struct collector *c, uint64_t ino, uint64_t off, const struct locator *loc)
{
    if (c->wanted && !idmap_get(c->wanted, loc->seg))
        return 0;
    int r = array_grow(&c->found, &c->cap_found, c->n_found + 1, sizeof *c->found);
    if (!r)
        c->found[c->n_found++] = (struct extent_ref){.ino = ino, .off = off, .from = *loc};
    return r;
}

static void looked(struct collector *c)
{
    c->slice -= MIN_OF(c->slice, 1u);
}

static int collect_inode(struct collector *c, uint32_t slot)
{
    const struct inode_rec *inode = index_slot(&c->eng->idx, slot);
    struct xattr_view view;
    int r = 0;
    looked(c);
    if (!inode)
        return 0;
    if (inode->flags & INODE_INLINE)
        r = collect(c, index_ino(inode, slot), 0, &inode->first);
    for (uint32_t x = inode->xattrs; x && !r && index_xattr(&c->eng->idx, x, &view); x = view.next) {
        if (!MUTANT(NO_SLICES))
            looked(c);
        if (view.is_extent)
            r = collect(c, index_ino(inode, slot), EXTENT_XATTR_OFF, &view.loc);
    }
    return r;
}

static int collect_mapped(void *arg, struct bkey key, const void *value)
{
    struct collector *c = arg;
    const struct inode_rec *inode = index_slot(&c->eng->idx, key.a);
    struct locator loc;
    if (c->slice == 0) {
        c->next = key;
        return 1;
    }
    c->slice--;
    memcpy(&loc, value, sizeof loc);
    return inode ? collect(c, index_ino(inode, key.a), key.b, &loc) : -EBADMSG;
}

/* Appends what the slice found. */
static int append_found(struct collector *c)
{
    int r = array_grow(&c->refs, &c->cap, c->n + c->n_found, sizeof *c->refs);
    if (r)
        return r;
    if (c->n_found)
        memcpy(c->refs + c->n, c->found, c->n_found * sizeof *c->found);
    c->n += c->n_found;
    c->n_found = 0;
    atomic_fetch_add_explicit(&c->eng->looks, 1, memory_order_relaxed);
    job_yield(&c->yielded);
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct locator *x = &((const struct extent_ref *)a)->from,
                         *y = &((const struct extent_ref *)b)->from;
    if (x->seg != y->seg)
        return x->seg < y->seg ? -1 : 1;
    if (x->off8 != y->off8)
        return x->off8 < y->off8 ? -1 : 1;
    return (x->skip > y->skip) - (x->skip < y->skip);
}

bool extent_ref_current_locked(const struct index *idx, const struct extent_ref *ref)
{
    const struct inode_rec *inode = index_inode(idx, ref->ino);
    struct xattr_view view;
    struct locator loc;
    uint64_t off;
    if (!inode)
        return false;
    if (ref->off != EXTENT_XATTR_OFF)
        return ref->off < inode->size && /* else it is of a tail, and dead */
               index_extent(idx, ino_slot(ref->ino), ref->off, &off, &loc) == 0 && off == ref->off &&
               locator_equal(&loc, &ref->from);
    for (uint32_t x = inode->xattrs; x && index_xattr(idx, x, &view); x = view.next) {
        if (view.is_extent && locator_equal(&view.loc, &ref->from))
            return true;
    }
    return false;
}

bool extent_ref_current(struct eng *eng, const struct extent_ref *ref)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    bool current = extent_ref_current_locked(&eng->idx, ref);
    pthread_rwlock_unlock(&eng->index_lock);
    return current;
}

int extent_refs_collect(struct eng *eng, const struct idmap *wanted, struct extent_ref **ret_refs,
                        size_t *ret_n)
{
    struct collector c = {.eng = eng, .wanted = wanted};
    int r = 0;
    bool more = true;
    for (uint32_t slot = 1; more && !r;) { /* extents in inodes, and xattrs */
        c.slice = SLICE_INODES;
        pthread_rwlock_rdlock(&eng->index_lock);
        while (c.slice && slot < eng->idx.inodes.used && !r)
            r = collect_inode(&c, slot++);
        more = slot < eng->idx.inodes.used;
        pthread_rwlock_unlock(&eng->index_lock);
        r = r ? r : append_found(&c);
    }
    more = true;
    while (more && !r) { /* extents in the tree */
        c.slice = SLICE_EXTENTS;
        pthread_rwlock_rdlock(&eng->index_lock);
        r = btree_scan(&eng->idx.extents, c.next, collect_mapped, &c);
        pthread_rwlock_unlock(&eng->index_lock);
        more = r == 1;
        r = r < 0 ? r : append_found(&c);
    }
    free(c.found);
    if (r) {
        free(c.refs);
        return r;
    }
    if (c.n)
        qsort(c.refs, c.n, sizeof *c.refs, by_place);
    *ret_refs = c.refs;
    *ret_n = c.n;
    return 0;
}

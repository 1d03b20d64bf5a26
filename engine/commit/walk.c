/*
 * walk.c - see walk.h.
 *
 * Locks: index_lock shared, for a slice of the walk at a time, which an inode's xattrs exceed only if it is
 * the last one of it. A slice collects into a small array; without
 * the lock that is appended to the large one, whose growth takes milliseconds. */
#include "commit/walk.h"

#include "base/job.h"
#include "index/past.h"

#define SLICE_INODES 128u /* and their xattrs */
#define SLICE_EXTENTS 256u

struct collector {
    struct eng *eng;
    const struct idmap *wanted;  /* NULL: all */
    struct ref_list *all, found; /* found: by this slice */
    struct bkey next;            /* where the scan of the tree continues */
    unsigned slice;
    uint64_t yielded;
};

static int collect(struct collector *c, uint32_t slot, const struct inode_rec *inode, uint64_t off,
                   const struct locator *loc)
{
    if (!loc->seg || (c->wanted && !idmap_get(c->wanted, loc->seg))) /* a past state may have holes */
        return 0;
    return ref_list_add(&c->found, index_ino(inode, slot), past_owner(&c->eng->idx, inode, slot), off, loc);
}

static void looked(struct collector *c)
{
    c->slice -= MIN_OF(c->slice, 1u);
}

static int collect_inode(struct collector *c, uint32_t slot)
{
    const struct inode_rec *inode = index_slot(&c->eng->idx, slot);
    int r = 0;
    looked(c);
    if (!inode)
        return 0;
    if (inode->flags & INODE_INLINE)
        r = collect(c, slot, inode, 0, &inode->first);
    struct xattr_walk walk = {.next = inode->xattrs};
    while (!r && index_next_xattr(&c->eng->idx, &walk)) {
        if (!MUTANT(NO_SLICES))
            looked(c);
        if (walk.xattr.is_extent)
            r = collect(c, slot, inode, EXTENT_XATTR_OFF, &walk.xattr.loc);
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
    return inode ? collect(c, key.a, inode, key.b, &loc) : -EBADMSG;
}

static int end_slice(struct collector *c)
{
    int r = ref_list_move(c->all, &c->found);
    atomic_fetch_add_explicit(&c->eng->looks, 1, memory_order_relaxed);
    if (!c->eng->opt.no_background)
        job_yield(&c->yielded);
    return r;
}

int walk_refs(struct eng *eng, const struct idmap *wanted, struct ref_list *list)
{
    struct collector c = {.eng = eng, .wanted = wanted, .all = list};
    int r = 0;
    bool more = true;
    for (uint32_t slot = 1; more && !r;) { /* extents in inodes, and xattrs */
        c.slice = SLICE_INODES;
        pthread_rwlock_rdlock(&eng->index_lock);
        while (c.slice && slot < eng->idx.inodes.used && !r)
            r = collect_inode(&c, slot++);
        more = slot < eng->idx.inodes.used;
        pthread_rwlock_unlock(&eng->index_lock);
        r = r ? r : end_slice(&c);
    }
    more = true;
    while (more && !r) { /* extents in the tree */
        c.slice = SLICE_EXTENTS;
        pthread_rwlock_rdlock(&eng->index_lock);
        r = btree_scan(&eng->idx.extents, c.next, collect_mapped, &c);
        pthread_rwlock_unlock(&eng->index_lock);
        more = r == 1;
        r = r < 0 ? r : end_slice(&c);
    }
    free(c.found.refs);
    return r;
}

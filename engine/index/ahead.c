/*
 * ahead.c - see ahead.h. */
#include "index/ahead.h"

#include "index/apply.h"
#include "index/extents.h"
#include "index/floor.h"
#include "index/leaps.h"
#include "index/moments.h"
#include "index/past.h"
#include "index/past_names.h"
#include "index/times.h"

/* The record's chunk. */
static void touch(const struct table *t, uint32_t i)
{
    if (i && i < t->used)
        (void)table_chunk(t, i >> t->chunk_shift);
}

/* Where the next records come from, or, if none is free, where the table grows. */
static void touch_next(const struct table *t)
{
    touch(t, table_predict(t, NULL));
    touch(t, t->used - 1);
}

/* The way down to the key, with its neighbours, and to what comes before and after it. */
static void touch_key(const struct btree *t, struct bkey key)
{
    uint8_t value[BTREE_VALUE_MAX];
    struct bkey at;
    btree_touch(t, key);
    (void)btree_floor(t, key, &at, value);
    (void)btree_ceil(t, key, &at, value);
}

static int touch_extent(void *arg, uint64_t off, const struct locator *loc)
{
    (void)arg;
    (void)off;
    (void)loc;
    return 0;
}

/* What an inode or a past state has there. */
static void touch_range(const struct index *idx, uint32_t slot, uint64_t from, uint64_t end)
{
    (void)extents_scan(idx, slot, from, end, touch_extent, NULL);
    touch_key(&idx->extents, (struct bkey){slot, from});
    touch_key(&idx->extents, (struct bkey){slot, end});
}

struct hidden {
    const struct index *idx;
    uint32_t slot; /* of the past state that has the hole */
};

/* All that is newer than a hole, which may hide nothing else. */
static int touch_hidden(void *arg, uint64_t off, const struct locator *loc)
{
    const struct hidden *h = arg;
    const struct inode_rec *past = index_slot(h->idx, h->slot), *at;
    uint64_t left = h->idx->s.n_past + 1;
    for (uint32_t slot = past && !loc->seg ? past_head(past) : h->slot; slot != h->slot && left--;
         slot = at->past) {
        at = index_slot(h->idx, slot);
        if (!at)
            break;
        touch_range(h->idx, slot, off, off + loc->len);
    }
    return 0;
}

/* What goes there to a past state, and holes of either in the range. */
static void touch_older(const struct index *idx, uint32_t slot, uint32_t older, uint64_t from, uint64_t end)
{
    struct hidden of_older = {idx, older}, own = {idx, slot};
    const struct inode_rec *inode = index_slot(idx, slot);
    if (!older || !index_slot(idx, older))
        return;
    touch_range(idx, older, from, end);
    (void)extents_scan_into(idx, older, from, end, touch_hidden, &of_older);
    if (inode && inode->flags & INODE_PAST)
        (void)extents_scan_into(idx, slot, from, end, touch_hidden, &own);
}

/* All states of a line, of which any may have what comes back, or the leap that leads to what goes. */
static void touch_states(const struct index *idx, uint32_t slot, uint64_t from, uint64_t end)
{
    uint64_t left = idx->s.n_past + 1;
    const struct inode_rec *inode;
    for (; (inode = index_slot(idx, slot)) && left--; slot = inode->past)
        touch_range(idx, slot, from, end);
}

static void touch_content(const struct index *idx, const struct op *op)
{
    uint32_t slot = ino_slot(op->type == OP_DROP ? op->past : op->ino);
    const struct inode_rec *inode = index_slot(idx, slot);
    uint64_t from, end;
    index_op_range(idx, op, &from, &end);
    touch_next(&idx->extents.nodes);
    touch_range(idx, slot, from, end);
    if (inode)
        touch_older(idx, slot, inode->past, from, end);
    if (inode && inode->flags & INODE_PAST_TAIL && !(inode->flags & INODE_PAST))
        touch_older(idx, slot, past_tail_owner(idx, inode), from, end);
    bool leaps = inode && leaps_are_in(idx, inode->flags & INODE_PAST ? past_head(inode) : slot);
    if (op->type == OP_REVERT || leaps)
        touch_states(idx, slot, from, end);
}

static void touch_object(const struct index *idx, uint32_t handle)
{
    touch(&idx->names.cells, handle);
}

static void touch_list(const struct index *idx, const struct inode_rec *inode)
{
    struct xattr_walk walk = {.next = inode ? inode->xattrs : 0};
    while (index_next_xattr(idx, &walk))
        ;
}

/* All that is newer than a past state, of which one may be in any chunk; where an older one gets its xattrs,
 * theirs, too. */
static void touch_line(const struct index *idx, uint64_t number)
{
    const struct inode_rec *past = past_state(idx, number), *at;
    uint64_t left = idx->s.n_past + 1;
    bool asks = past && past->xattrs && past->past;
    for (at = past ? index_slot(idx, past_head(past)) : NULL; at && left--; at = index_slot(idx, at->past)) {
        if (asks)
            touch_list(idx, at);
        if (at->past == ino_slot(number))
            break;
    }
}

/* Of an inode, or a past state, and of the past state that they may go to. */
static void touch_xattrs(const struct index *idx, uint64_t number)
{
    const struct inode_rec *inode = index_slot(idx, ino_slot(number));
    touch_list(idx, inode);
    if (inode && inode->past)
        touch_list(idx, index_slot(idx, inode->past));
}

static void touch_target(const struct index *idx, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    if (inode && S_ISLNK(inode->mode))
        touch_object(idx, inode->target);
}

/* The dentry, its name, and the bucket that it is or would be in, with all that are in it. */
static void touch_name(const struct index *idx, const struct op *op, uint64_t *names)
{
    uint32_t parent = ino_slot(op->parent);
    const struct dentry_rec *d = index_dentry(idx, index_find_name(idx, parent, op->name, op->name_len));
    (void)index_slot(idx, parent);
    if (d) {
        if (idx->s.n_past_names) /* its xattrs are counted when that was its last name */
            touch_list(idx, index_slot(idx, d->child));
        touch_object(idx, d->name);
        touch_key(&idx->dirs, (struct bkey){d->parent, d->cookie});
    } else {
        touch_key(&idx->dirs, (struct bkey){parent, op->cookie});
        touch_next(&idx->dentries);
        touch_next(&idx->dirs.nodes);
    }
    index_fetch_buckets(idx, (*names)++);
}

/* A past name, what comes before and after it, and its text. */
static void touch_past_name(const struct index *idx, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(idx, i);
    if (!past)
        return;
    touch(&idx->past_names, past->next);
    touch(&idx->past_names, past->newer);
    touch(&idx->past_names, past->of_inode);
    touch(&idx->past_names, past->of_newer);
    touch_object(idx, past->name);
    touch_key(&idx->past_lookup, (struct bkey){past->hash, i});
}

/* Of a name that ends: where it goes, and who may get its text. */
static void touch_end(const struct index *idx, const struct op *op)
{
    uint32_t parent = ino_slot(op->parent);
    const struct dentry_rec *d = index_dentry(idx, index_find_name(idx, parent, op->name, op->name_len));
    const struct inode_rec *child = d ? index_slot(idx, d->child) : NULL;
    if (!child)
        return;
    touch_past_name(idx, index_newest_past(idx, parent, d->cookie));
    touch(&idx->past_names, child->past_name);
    touch_key(&idx->past_order, (struct bkey){parent, d->cookie});
    touch_key(&idx->past_lookup, (struct bkey){d->hash, table_predict(&idx->past_names, NULL)});
    touch_next(&idx->past_names);
    touch_next(&idx->past_order.nodes);
    touch_next(&idx->past_lookup.nodes);
}

static void touch_drop(const struct index *idx, const struct op *op)
{
    struct bkey key = {ino_slot(op->parent), op->cookie}, at;
    uint32_t d, newest = index_newest_past(idx, key.a, key.b),
                i = index_find_past(idx, key.a, key.b, op->end);
    const struct past_name_rec *past = index_past_name(idx, i);
    (void)index_slot(idx, key.a);
    touch(&idx->past_names, newest);
    touch_past_name(idx, i);
    touch_past_name(idx, past ? past->next : 0); /* it may get the text */
    touch_key(&idx->past_order, key);
    if (btree_ceil(&idx->dirs, key, &at, &d) == 0) /* perhaps a live name, beside which it was */
        touch(&idx->dentries, d);
    touch_next(&idx->past_lookup.nodes);
}

/* Names are compared with that of each snapshot. */
static void touch_moments(const struct index *idx)
{
    for (uint32_t i = 0; (i = index_next_snapshot(idx, i)) > 0;)
        touch_object(idx, index_snapshot(idx, i)->name);
}

/* `names`: how many have come or gone in the batch. */
static void touch_op(const struct index *idx, const struct op *op, uint64_t *names)
{
    const struct inode_rec *inode = index_slot(idx, ino_slot(op->ino));
    if (inode && inode->past) /* whose life may go on */
        (void)index_slot(idx, inode->past);
    switch (op->type) {
    case OP_CREATE:
    case OP_KEEP:
        touch(&idx->inodes, ino_slot(op->type == OP_KEEP ? op->past : op->ino));
        touch(&idx->inodes, idx->inodes.used - 1); /* or behind all that were in use */
        break;
    case OP_LINK:
    case OP_UNLINK:
    case OP_REPOINT:
        (void)index_slot(idx, ino_slot(op->other));
        touch_name(idx, op, names);
        if (past_names_changes(idx, op))
            touch_end(idx, op);
        else if (op->type == OP_LINK && idx->s.n_past_names) /* it may join a group */
            touch_key(&idx->past_order, (struct bkey){ino_slot(op->parent), op->cookie});
        break;
    case OP_DROP_NAME:
        touch_drop(idx, op);
        break;
    case OP_XATTR_SET:
    case OP_XATTR_EXTENT:
    case OP_XATTR_DEL:
        touch_xattrs(idx, op->ino);
        break;
    case OP_FREE:
        touch_target(idx, op->ino);
        touch_xattrs(idx, op->ino);
        touch_content(idx, op);
        break;
    case OP_DROP:
        touch_line(idx, op->past);
        touch_content(idx, op);
        touch_xattrs(idx, op->past);
        break;
    case OP_EXTENT:
    case OP_REWRITE:
    case OP_PUNCH:
    case OP_TRUNCATE:
    case OP_REVERT:
        touch_content(idx, op);
        break;
    case OP_RELOCATE:
        if (op->off == EXTENT_XATTR_OFF)
            touch_xattrs(idx, op->ino);
        else
            touch_content(idx, op);
        break;
    default:
        break;
    }
}

void index_fetch_ahead(const struct index *idx, const struct op *ops, size_t n)
{
    uint64_t names = 0;
    for (size_t i = 0; i < n; i++) {
        touch_op(idx, &ops[i], &names);
        if (ops[i].type == OP_MOMENT)
            (void)index_moment_by(idx, UINT64_MAX); /* comes behind that one */
        else if (ops[i].type == OP_BY && ops[i].name_len)
            touch(&idx->actors, idx->actors.used - 1);
        else if (moments_change(&ops[i]) || floor_takes_moments(&ops[i]))
            touch_moments(idx);
    }
    touch(&idx->names.cells, idx->names.cells.used - 1);
}

/*
 * orphans.c - the queue of inodes that wait to be freed. See orphans.h. */
#include "commit/orphans.h"

#include "core/reserve.h"
#include "index/extents.h"
#include "index/leaps.h"
#include "index/past_names.h"
#include "index/past_state.h"

#define ORPHANS_PER_BATCH 64u
#define RING_MIN 64u
#define NAME_WEIGHT 4u /* a past name is as that many extents: two trees, a text, an inode's chain */

struct orphans {
    pthread_mutex_t lock;
    /* A ring: n inodes in order of arrival, from inos[first] on; cap is a power of two. Protected by lock. */
    uint64_t *inos;
    size_t first, n, cap;
};

int orphans_new(struct eng *eng)
{
    eng->orphans = calloc(1, sizeof *eng->orphans);
    if (!eng->orphans)
        return -ENOMEM;
    pthread_mutex_init(&eng->orphans->lock, NULL);
    return 0;
}

void orphans_free(struct eng *eng)
{
    if (!eng->orphans)
        return;
    pthread_mutex_destroy(&eng->orphans->lock);
    free(eng->orphans->inos);
    free(eng->orphans);
    eng->orphans = NULL;
}

/* The i-th that waits, or the place of the next one. */
static uint64_t *ring_at(const struct orphans *o, size_t i)
{
    return &o->inos[(o->first + i) & (o->cap - 1)];
}

static int make_room(struct orphans *o)
{
    if (o->n < o->cap)
        return 0;
    struct orphans grown = {.cap = o->cap ? 2 * o->cap : RING_MIN};
    grown.inos = calloc(grown.cap, sizeof *grown.inos);
    if (!grown.inos)
        return -ENOMEM;
    for (size_t i = 0; i < o->n; i++)
        grown.inos[i] = *ring_at(o, i);
    free(o->inos);
    o->inos = grown.inos;
    o->cap = grown.cap;
    o->first = 0;
    return 0;
}

void orphans_add(struct eng *eng, uint64_t ino)
{
    struct orphans *o = eng->orphans;
    pthread_mutex_lock(&o->lock);
    if (make_room(o) == 0)
        *ring_at(o, o->n++) = ino; /* without memory, recovery frees it */
    pthread_mutex_unlock(&o->lock);
}

/* Whether nothing shows the present state, of an inode that past names alone keep: it began when the last of
 * these had ended. */
static bool is_unseen(const struct index *idx, const struct inode_rec *inode)
{
    const struct past_name_rec *newest = inode->nlink ? NULL : index_past_name(idx, inode->past_name);
    return newest && !(inode->flags & INODE_PAST) && past_head_begin(idx, inode) > newest->end &&
           !MUTANT(UNSEEN_STAYS);
}

bool orphans_frees(const struct index *idx, const struct inode_rec *inode)
{
    return index_is_orphan(idx, inode) ||
           ((inode->xattrs || inode_n_extents(inode)) && is_unseen(idx, inode));
}

#define FIND_SLICE 4096u

void orphans_find(struct eng *eng)
{
    bool more = !MUTANT(NO_ORPHANS);
    for (uint32_t slot = ENG_ROOT_INO + 1; more;) {
        pthread_rwlock_rdlock(&eng->index_lock);
        uint32_t used = eng->idx.inodes.used, end = MIN_OF(used, slot + FIND_SLICE);
        for (; slot < end; slot++) {
            const struct inode_rec *inode = index_slot(&eng->idx, slot);
            if (inode && (orphans_frees(&eng->idx, inode) || (inode->flags & INODE_TAIL)))
                orphans_add(eng, index_ino(inode, slot));
        }
        more = slot < used;
        pthread_rwlock_unlock(&eng->index_lock);
    }
}

/* Whether one of the ops from `first` on frees the inode. */
static bool txn_frees(const struct txn *txn, size_t first, uint64_t ino)
{
    for (size_t i = first; i < txn->n_ops; i++) {
        if (txn->ops[i].type == OP_FREE && txn->ops[i].ino == ino)
            return true;
    }
    return false;
}

/* What the transaction may still free. */
static uint32_t slice_left(const struct eng *eng, const struct txn *txn)
{
    uint32_t slice = eng_cut(eng);
    return slice - MIN_OF(txn->n_freed, slice);
}

/* Adds the freeing of the next extents from `off` on, which are dead. */
static int stage_slice(struct eng *eng, struct txn *txn, uint64_t ino, uint64_t off, bool *ret_more)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    uint64_t end;
    uint32_t n;
    int r = extents_count(&eng->idx, ino_slot(ino), off, UINT64_MAX, slice_left(eng, txn), &n, &end);
    *ret_more = !r && end != UINT64_MAX;
    if (r || !n)
        return r;
    struct op *op = txn_op(txn, OP_PUNCH);
    if (!op)
        return -ENOMEM;
    op->flags = OP_LATER | OP_CONTINUES;
    op->ino = ino;
    op->off = off;
    op->len = end - off;
    op->time = inode->mtime;
    txn->n_freed += n;
    return 0;
}

int orphans_stage_tail(struct eng *eng, struct txn *txn, uint64_t ino, bool *ret_more)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    *ret_more = false;
    if (!inode || !(inode->flags & INODE_TAIL))
        return 0;
    return stage_slice(eng, txn, ino, inode->size, ret_more);
}

/* An orphan that is more than a slice: it becomes an empty file at once, and loses its extents one slice
 * after the other; then it is freed. */
static int stage_large(struct eng *eng, struct txn *txn, uint64_t ino, bool *ret_more)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    struct op *op = inode->size ? txn_op(txn, OP_TRUNCATE) : NULL;
    if (!op && inode->size)
        return -ENOMEM;
    if (op) {
        op->flags = OP_LATER;
        op->ino = ino;
        op->time = inode->mtime;
    }
    int r = stage_slice(eng, txn, ino, 0, ret_more);
    *ret_more = true;
    return r;
}

uint64_t orphans_weight(const struct eng *eng, const struct inode_rec *inode)
{
    uint64_t extents = inode_n_extents(inode), max = (uint64_t)eng_cut(eng) + 1;
    uint64_t xattrs = index_count_xattrs(&eng->idx, inode, (uint32_t)MIN_OF(max, (uint64_t)XATTRS_MAX));
    return extents + xattrs + eng_apart(eng) * (1 + inode_in_tree(inode) + xattrs);
}

/* The first attributes of an inode that has more than a slice of them, and nothing else. */
static int stage_xattrs(struct eng *eng, struct txn *txn, uint64_t ino, uint32_t max)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    struct xattr_walk walk = {.next = inode->xattrs};
    while (walk.n < MAX_OF(max, 1u) && index_next_xattr(&eng->idx, &walk)) {
        struct op *op = txn_op(txn, OP_XATTR_DEL);
        if (!op)
            return -ENOMEM;
        op->flags = OP_LATER | (inode->past ? OP_SAME : 0);
        op->ino = ino;
        op->time = inode->ctime;
        op->name = walk.xattr.name; /* in the index, which does not change before the commit */
        op->name_len = (uint16_t)walk.xattr.name_len;
    }
    txn->n_freed = eng_cut(eng);
    return 0;
}

int orphans_stage_name(struct eng *eng, struct txn *txn, uint64_t dir, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(&eng->idx, i);
    const struct inode_rec *child = past ? index_slot(&eng->idx, past->child) : NULL;
    struct op *op = child ? txn_op(txn, OP_DROP_NAME) : NULL;
    if (!op)
        return child ? -ENOMEM : -EBADMSG;
    op->parent = dir;
    op->ino = index_ino(child, past->child);
    op->cookie = past->cookie;
    op->end = past->end;
    txn->n_freed += NAME_WEIGHT * (1 + eng_apart(eng));
    return 0;
}

struct past_list {
    struct eng *eng;
    struct txn *txn;
    uint64_t dir;
};

/* Those of one group, oldest first. */
static int stage_group(void *arg, struct bkey key, const void *value)
{
    struct past_list *l = arg;
    const struct index *idx = &l->eng->idx;
    uint32_t newest, i;
    memcpy(&newest, value, sizeof newest);
    const struct past_name_rec *past = index_past_name(idx, newest);
    if (key.a != ino_slot(l->dir) || !past)
        return past ? 1 : -EBADMSG;
    do {
        if (!slice_left(l->eng, l->txn))
            return 1;
        past = index_past_name(idx, i = past->newer);
        int r = orphans_stage_name(l->eng, l->txn, l->dir, i);
        if (r)
            return r;
    } while (i != newest);
    return 0;
}

/* A slice of the names that the folder had: as long as there are any they lead to what is in it. */
static int stage_past_names(struct eng *eng, struct txn *txn, uint64_t dir)
{
    struct past_list l = {eng, txn, dir};
    int r = btree_scan(&eng->idx.past_order, (struct bkey){ino_slot(dir), 0}, stage_group, &l);
    return MIN_OF(r, 0);
}

bool orphans_stage_drop(struct eng *eng, struct txn *txn, uint32_t slot, int *ret_r)
{
    const struct inode_rec *past = index_slot(&eng->idx, slot);
    uint64_t end;
    uint32_t n;
    *ret_r = extents_count(&eng->idx, slot, 0, UINT64_MAX, slice_left(eng, txn), &n, &end);
    struct op *op = *ret_r ? NULL : txn_op(txn, OP_DROP);
    if (!op) {
        *ret_r = *ret_r ? *ret_r : -ENOMEM;
        return false;
    }
    op->past = index_ino(past, slot);
    op->len = end;
    txn->n_freed += n + (1 + index_count_xattrs(&eng->idx, past, eng_cut(eng))) * (1 + eng_apart(eng));
    return end == UINT64_MAX;
}

#define OLDEST_PER_BATCH LINE_WAY /* states between a look at the whole line and the next */

/* The oldest states of an orphan's past, which goes before it. */
static int stage_past(struct eng *eng, struct txn *txn, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    uint32_t oldest[OLDEST_PER_BATCH], slot = inode->past;
    uint64_t n = 0, left;
    bool more;
    int r = 0;
    if (inode->flags & INODE_PAST_TAIL)
        return orphans_stage_tail(eng, txn, ino, &more);
    for (; (inode = index_slot(&eng->idx, slot)) && n < eng->idx.s.n_past; slot = inode->past)
        oldest[n++ % OLDEST_PER_BATCH] = slot;
    for (left = MIN_OF(n, (uint64_t)OLDEST_PER_BATCH); left > 0 && slice_left(eng, txn); left--, n--)
        if (!orphans_stage_drop(eng, txn, oldest[(n - 1) % OLDEST_PER_BATCH], &r))
            break;
    return r;
}

/* The first extents of an unseen state to which leaps may lead: what past states read there goes to them.
 * Never as a tail, which is of one state alone. */
static int stage_front(struct eng *eng, struct txn *txn, uint64_t ino, uint32_t max)
{
    uint64_t end;
    uint32_t n;
    int r = extents_count(&eng->idx, ino_slot(ino), 0, UINT64_MAX, max, &n, &end);
    struct op *op = r ? NULL : txn_op(txn, OP_PUNCH);
    if (!op)
        return r ? r : -ENOMEM;
    op->flags = OP_SAME;
    op->ino = ino;
    op->len = end;
    op->time = index_inode(&eng->idx, ino)->mtime;
    txn->n_freed += n;
    return 0;
}

/* Something of an inode's present state, which nothing shows: what a past state reads of it goes there, and
 * the rest is freed. No state ends by that. */
static int stage_unseen(struct eng *eng, struct txn *txn, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    uint32_t left = slice_left(eng, txn), n = inode_n_extents(inode);
    bool more;
    if (inode->flags & INODE_TAIL) /* before the size may fall */
        return orphans_stage_tail(eng, txn, ino, &more);
    if (!left)
        return 0;
    if (!n)
        return stage_xattrs(eng, txn, ino, left / (1 + eng_apart(eng)));
    if (n > left && leaps_are_in(&eng->idx, ino_slot(ino)) && !MUTANT(LEAP_INTO_TAIL))
        return stage_front(eng, txn, ino, left);
    struct op *op = txn_op(txn, OP_TRUNCATE);
    if (!op)
        return -ENOMEM;
    op->flags = inode->past ? OP_SAME : 0;
    if (n > left)
        op->flags |= OP_LATER;
    op->ino = ino;
    op->time = inode->mtime;
    txn->n_freed += MIN_OF(n, left); /* later, it has batches for itself */
    return 0;
}

/* Adds the freeing of one queued inode, after others from op `first` on; *ret_more: it is not done then. */
static int stage_one(struct eng *eng, struct txn *txn, size_t first, uint64_t ino, bool *ret_more)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    *ret_more = false;
    if (!inode || txn_frees(txn, first, ino))
        return 0;
    bool is_open = index_refs(&eng->idx, ino_slot(ino));
    if (is_open || !orphans_frees(&eng->idx, inode))
        return orphans_stage_tail(eng, txn, ino, ret_more);
    if (!index_is_orphan(&eng->idx, inode)) {
        *ret_more = true;
        return stage_unseen(eng, txn, ino);
    }
    if (S_ISDIR(inode->mode) && index_has_past_names(&eng->idx, ino_slot(ino))) {
        *ret_more = true;
        return stage_past_names(eng, txn, ino);
    }
    if (inode->past) {
        *ret_more = true;
        return stage_past(eng, txn, ino);
    }
    uint64_t n = orphans_weight(eng, inode);
    if (inode_n_extents(inode) && n > eng_cut(eng))
        return stage_large(eng, txn, ino, ret_more);
    *ret_more = n > slice_left(eng, txn) && (txn->n_freed || inode->xattrs);
    if (*ret_more) /* it has the next batch for itself */
        return txn->n_freed ? 0 : stage_xattrs(eng, txn, ino, eng_cut(eng) / (1 + eng_apart(eng)));
    struct op *op = txn_op(txn, OP_FREE);
    if (!op)
        return -ENOMEM;
    op->ino = ino;
    txn->n_freed += (uint32_t)n;
    return 0;
}

int orphans_stage(struct eng *eng, struct txn *txn, size_t *ret_n)
{
    uint64_t inos[ORPHANS_PER_BATCH];
    /* On a full disk there may be room for what one changes, and none for all. */
    size_t max = reserve_is_short(eng) ? 1 : ORPHANS_PER_BATCH;
    pthread_mutex_lock(&eng->orphans->lock);
    size_t n = MIN_OF(eng->orphans->n, max), i = 0;
    for (size_t k = 0; k < n; k++)
        inos[k] = *ring_at(eng->orphans, k);
    pthread_mutex_unlock(&eng->orphans->lock);
    size_t first = txn->n_ops;
    int r = 0;
    for (bool more = false; i < n && !more && !r; i += !more && !r)
        r = stage_one(eng, txn, first, inos[i], &more);
    *ret_n = i;
    return r;
}

void orphans_drop(struct eng *eng, size_t n)
{
    if (!n)
        return;
    struct orphans *o = eng->orphans;
    pthread_mutex_lock(&o->lock);
    o->first = (o->first + n) & (o->cap - 1);
    o->n -= n;
    pthread_mutex_unlock(&o->lock);
}

void orphans_after(struct eng *eng, const struct txn *txn)
{
    for (size_t i = 0; i < txn->n_ops; i++) {
        const struct op *op = &txn->ops[i];
        const struct inode_rec *inode = op->type == OP_DROP_NAME ? index_inode(&eng->idx, op->ino) : NULL;
        if (inode && orphans_frees(&eng->idx, inode) && !index_refs(&eng->idx, ino_slot(op->ino)))
            orphans_add(eng, op->ino);
    }
}

size_t orphans_queued(struct eng *eng)
{
    pthread_mutex_lock(&eng->orphans->lock);
    size_t n = eng->orphans->n;
    pthread_mutex_unlock(&eng->orphans->lock);
    return n;
}

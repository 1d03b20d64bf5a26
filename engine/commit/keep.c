/*
 * keep.c - see keep.h; docs/lab/history-design.md, 5.1, has the rules.
 *
 * A state that began with batch b is kept if (1) a snapshot sees it, which the newest does if any, or a view
 * of one that is in use, or (2) a past name of the inode ended since b: the past state before would stand for
 * what that one's end has changed, its link count above all. A name is kept if a snapshot sees it.
 *
 * What nothing leads to is no memory any more: of an orphan nothing is kept, and of what past names alone
 * keep no state that began behind the last of these, whatever snapshots have come since. */
#include "commit/keep.h"

#include "core/views.h"
#include "index/past.h"
#include "index/past_names.h"

struct keeping {
    const struct index *idx;
    struct txn *txn;
    uint64_t seen;  /* the newest batch that a snapshot sees, or a view in use of one; 0 none */
    uint64_t *inos; /* whose state is kept */
    size_t n, cap;
    struct idmap decided; /* by slot: 1, not kept for its links; 2, not at all, or kept */
};

/* ---- states ------------------------------------------------------------------------- */

enum { DECIDED_LINKS = 1, DECIDED = 2 };

static bool is_seen(const struct keeping *k, uint64_t begin)
{
    return k->seen && k->seen >= begin;
}

/* `ends`: the state ends, whether it is kept or not; else only a snapshot asks for it. */
static bool is_kept(const struct keeping *k, const struct inode_rec *inode, bool ends)
{
    const struct index *idx = k->idx;
    uint64_t begin = past_head_begin(idx, inode);
    const struct past_name_rec *newest = index_past_name(idx, inode->past_name);
    bool has_ended = newest && newest->end >= begin;
    if (index_is_orphan(idx, inode) || (!inode->nlink && !has_ended && !MUTANT(NAMELESS_KEPT)))
        return false;
    if (is_seen(k, begin) && !MUTANT(SNAPSHOT_UNSEEN))
        return true;
    return ends && has_ended && !MUTANT(REPLACED_UNSEEN);
}

/* Each inode is decided once, or once more where its state ends and only its links have changed before. */
static int decide(struct keeping *k, uint64_t ino, bool ends)
{
    uint32_t slot = ino_slot(ino);
    const struct inode_rec *inode = index_inode(k->idx, ino);
    uint64_t decided = inode ? idmap_get(&k->decided, slot) : DECIDED;
    if (decided == DECIDED || (decided == DECIDED_LINKS && !ends))
        return 0;
    bool kept = is_kept(k, inode, ends);
    int r = idmap_reserve(&k->decided, 1);
    if (!r && kept)
        r = array_grow(&k->inos, &k->cap, k->n + 1, sizeof *k->inos);
    if (r)
        return r;
    idmap_set(&k->decided, slot, kept || ends ? DECIDED : DECIDED_LINKS);
    if (kept)
        k->inos[k->n++] = ino;
    return 0;
}

/* Times alone end no state. What was read only has no time that a view promises. */
static int decide_attr(struct keeping *k, struct op *op)
{
    const unsigned times = ENG_SET_ATIME | ENG_SET_MTIME;
    const struct inode_rec *inode = index_inode(k->idx, op->ino);
    if (inode && !(op->mask & ~times))
        op->flags |= OP_SAME;
    bool is_read = inode && op->mask == ENG_SET_ATIME && op->ctime == inode->ctime;
    return is_read ? 0 : decide(k, op->ino, !(op->flags & OP_SAME));
}

static int decide_op(struct keeping *k, struct op *op)
{
    int r = 0;
    switch (op->type) {
    case OP_REPOINT:
        r = decide(k, op->other, false);
        /* fall through */
    case OP_LINK:
    case OP_UNLINK:
        if (!r)
            r = decide(k, op->parent, false);
        return r ? r : decide(k, op->ino, false);
    case OP_KEEP: /* somebody has decided */
        r = idmap_reserve(&k->decided, 1);
        if (!r)
            idmap_set(&k->decided, ino_slot(op->ino), DECIDED);
        return r;
    case OP_ATTR:
        return decide_attr(k, op);
    case OP_REWRITE:
        return op->from < op->to ? decide(k, op->ino, true) : 0;
    case OP_PUNCH:
    case OP_XATTR_DEL:
        return op->flags & OP_LATER ? 0 : decide(k, op->ino, true);
    case OP_TRUNCATE:
    case OP_EXTENT:
    case OP_XATTR_SET:
    case OP_XATTR_EXTENT:
        return decide(k, op->ino, !(op->flags & OP_SAME));
    default:
        return 0;
    }
}

/* ---- names -------------------------------------------------------------------------- */

/* Which inode loses its name by the op, and which gets it; 0: none. */
static uint64_t loses(const struct op *op)
{
    if (op->type == OP_REPOINT)
        return op->other;
    return op->type == OP_UNLINK ? op->ino : 0;
}

static uint64_t gets(const struct op *op)
{
    return op->type == OP_LINK || op->type == OP_REPOINT ? op->ino : 0;
}

/* Whether the inode gets a name for the one that op i takes: each that it gets stands for one. */
static bool is_moved(const struct txn *txn, size_t i)
{
    uint64_t ino = loses(&txn->ops[i]);
    size_t names = 0, moved = 0;
    for (size_t j = 0; j < txn->n_ops; j++) {
        names += gets(&txn->ops[j]) == ino;
        moved += loses(&txn->ops[j]) == ino && txn->ops[j].flags & OP_MOVED;
    }
    return names > moved;
}

static void mark_name(const struct keeping *k, size_t i)
{
    const struct index *idx = k->idx;
    const struct txn *txn = k->txn;
    struct op *op = &txn->ops[i];
    uint32_t d = loses(op) ? index_find_name(idx, ino_slot(op->parent), op->name, op->name_len) : 0;
    if (!d || !is_seen(k, index_name_begin(idx, d)))
        return; /* it may begin in this very batch */
    op->flags |= OP_KEPT;
    if (is_moved(txn, i))
        op->flags |= OP_MOVED;
}

/* ---- the transaction ------------------------------------------------------------------ */

/* Whether the op says a number that it takes. */
static bool takes_number(const struct op *op)
{
    return op->type == OP_CREATE || op->type == OP_KEEP;
}

/* Numbers behind those that the transaction takes already. */
static int put_keeps(const struct keeping *k, struct op *to, size_t n_taken)
{
    struct table_ahead ahead = {0};
    for (size_t i = 0; i < n_taken; i++)
        (void)index_predict_ino(k->idx, &ahead);
    for (size_t i = 0; i < k->n; i++) {
        to[i] = (struct op){.type = OP_KEEP, .ino = k->inos[i], .past = index_predict_ino(k->idx, &ahead)};
        if (!to[i].past)
            return -ENOSPC;
    }
    return 0;
}

/* The ops in their new order: numbers that are taken behind all that were in use rise. */
static int put_ops(struct keeping *k)
{
    struct txn *txn = k->txn;
    size_t n_taken = 0, first = 0, head = 0;
    for (size_t i = 0; i < txn->n_ops; i++)
        n_taken += takes_number(&txn->ops[i]);
    size_t n = txn->n_ops + k->n, at = n_taken + k->n;
    struct op *ops = calloc(n, sizeof *ops);
    int r = ops ? put_keeps(k, ops + n_taken, n_taken) : -ENOMEM;
    if (r) {
        free(ops);
        return r;
    }
    for (size_t i = 0; i < txn->n_ops; i++) {
        size_t to = takes_number(&txn->ops[i]) ? first++ : at++;
        ops[to] = txn->ops[i];
        for (; head < txn->n_heads && txn->heads[head].op == i; head++)
            txn->heads[head].op = to;
    }
    free(txn->ops);
    txn->ops = ops;
    txn->n_ops = txn->cap_ops = n;
    return 0;
}

bool keep_has(const struct txn *txn, uint64_t ino)
{
    bool has = false;
    for (size_t i = 0; i < txn->n_ops && takes_number(&txn->ops[i]) && !has; i++)
        has = txn->ops[i].type == OP_KEEP && txn->ops[i].ino == ino;
    return has;
}

int keep_stage(struct eng *eng, struct txn *txn)
{
    const struct index *idx = &eng->idx;
    struct keeping k = {.idx = idx, .txn = txn};
    int r = 0;
    k.seen = MAX_OF(idx->s.newest_snapshot, views_newest(eng));
    if (!eng_has_history(eng) || !(k.seen || idx->s.n_past_names || idx->s.n_past))
        return 0;
    for (size_t i = 0; i < txn->n_ops && !r; i++) {
        r = decide_op(&k, &txn->ops[i]);
        if (!r)
            mark_name(&k, i);
    }
    if (!r && k.n)
        r = put_ops(&k);
    idmap_done(&k.decided);
    free(k.inos);
    return r;
}

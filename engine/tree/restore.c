/*
 * restore.c - eng_restore(): memories become again what they were, in one batch. Content of their own comes
 * back as it lies (index/leaps.h); all else is changed as anybody changes it.
 *
 * What there is to write is found out and encoded before log.lock is taken (restore_plan.h). Under the lock
 * nothing may have changed since, else it begins anew; then each state that ends is kept (OP_KEEP), whatever
 * else the store keeps. The views of then are in use as if of snapshots: what others change meanwhile, and
 * what a full disk would take away, stays. */
#include "commit/commit.h"
#include "commit/orphans.h"
#include "index/extents.h"
#include "tree/content.h"
#include "tree/restore_plan.h"
#include "tree/tails.h"
#include "tree/xattrs.h"
#include "upkeep/full_disk.h"

#define MODE_BITS 07777u

/* ---- staging ------------------------------------------------------------------------------ */

/* What lies in the range of its past state comes back, and what it has there goes to the past. */
static int stage_revert(struct restoring *re, struct txn *txn, const struct memory *m, const struct range *p,
                        int64_t now)
{
    const struct index *idx = &re->eng->idx;
    uint32_t slot = view_slot(m->view, ino_slot(m->from));
    const struct inode_rec *past = index_slot(idx, slot);
    struct op *op = txn_op(txn, OP_REVERT);
    if (!op || !past)
        return op ? -ESTALE : -ENOMEM;
    op->ino = m->ino;
    op->past = index_ino(past, slot);
    op->off = p->off;
    op->len = p->end - p->off;
    op->time = now;
    re->n_moved += p->n_pieces;
    return 0;
}

static int stage_part(struct restoring *re, struct txn *txn, struct memory *m, const struct range *p,
                      size_t *extent, int64_t now)
{
    uint32_t n = 0;
    uint64_t stop;
    if (m->reverts)
        return stage_revert(re, txn, m, p, now);
    int r = extents_count(&re->eng->idx, ino_slot(m->ino), p->off, p->end, UINT32_MAX, &n, &stop);
    txn->n_freed += n;
    re->n_taken += n;
    if (r)
        return r;
    if (!p->is_hole) {
        m->n_taken += n;
        size_t k = (size_t)((p->end - p->off + EXTENT_MAX - 1) / EXTENT_MAX);
        r = content_stage(txn, &re->draft, *extent, k, m->ino, p->off, now);
        *extent += k;
        return r;
    }
    struct op *op = txn_op(txn, OP_PUNCH);
    if (!op)
        return -ENOMEM;
    op->ino = m->ino;
    op->off = p->off;
    op->len = p->end - p->off;
    op->time = now;
    return 0;
}

static int stage_growth(struct txn *txn, const struct memory *m, int64_t now)
{
    struct op *op = txn_op(txn, OP_TRUNCATE);
    if (!op)
        return -ENOMEM;
    op->ino = m->ino;
    op->len = m->then.size;
    op->time = now;
    return 0;
}

/* Its version counts all of that once. */
static int stage_content(struct restoring *re, struct txn *txn, struct memory *m, size_t *extent, int64_t now)
{
    size_t first = txn->n_ops;
    int r = 0;
    if (!S_ISREG(m->then.mode))
        return 0;
    if (m->is.size < m->then.size)
        r = stage_growth(txn, m, now);
    for (size_t i = 0; i < m->parts.n && !r; i++)
        r = stage_part(re, txn, m, &m->parts.at[i], extent, now);
    if (!r &&
        m->is.size > m->then.size) /* last: of what is behind it that much goes for which there is room */
        r = tail_stage_size(re->eng, txn, m->ino, m->then.size, now, &m->has_tail);
    for (size_t i = first + 1; i < txn->n_ops; i++)
        txn->ops[i].flags |= OP_CONTINUES;
    return r;
}

static int stage_fields(struct restoring *re, struct txn *txn, const struct memory *m, size_t *extent,
                        int64_t now)
{
    uint32_t before = (uint32_t)txn->n_ops;
    int r = 0;
    for (const char *at = m->gone; at < m->gone + m->gone_len; at += strlen(at) + 1) {
        struct op *op = txn_op(txn, OP_XATTR_DEL);
        if (!op)
            return -ENOMEM;
        op->ino = m->ino;
        op->time = now;
        op->name = at;
        op->name_len = (uint16_t)strlen(at);
    }
    for (size_t i = 0; i < m->n_sets && !r; i++)
        r = xattrs_stage(txn, &re->draft, extent, m->ino, &m->sets[i], now);
    uint32_t n = (uint32_t)txn->n_ops - before;
    txn->n_freed += n * (1 + eng_apart(re->eng));
    re->n_taken += n;
    return r;
}

static int stage_attr(struct txn *txn, const struct memory *m, int64_t now)
{
    struct op *op;
    bool same = m->is.mode == m->then.mode && m->is.uid == m->then.uid && m->is.gid == m->then.gid;
    if (same && !m->sets_mtime)
        return 0;
    if (!(op = txn_op(txn, OP_ATTR)))
        return -ENOMEM;
    op->ino = m->ino;
    op->mask = same ? 0 : ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID;
    op->mask |= m->sets_mtime ? ENG_SET_MTIME : 0;
    op->mtime = m->mtime;
    op->mode = m->then.mode & MODE_BITS;
    op->uid = m->then.uid;
    op->gid = m->then.gid;
    op->ctime = now;
    return 0;
}

int restore_stage_keeps(const struct restoring *re, struct txn *txn)
{
    struct table_ahead ahead = {0};
    for (size_t i = 0; i < re->n && !MUTANT(RESTORE_UNKEPT); i++) {
        if (!restore_is_changed(&re->all[i]))
            continue;
        struct op *op = txn_op(txn, OP_KEEP);
        if (!op)
            return -ENOMEM;
        op->ino = re->all[i].ino;
        op->past = index_predict_past(&re->eng->idx, &ahead, NULL);
        if (!op->past)
            return -ENOSPC;
    }
    return 0;
}

int restore_stage(struct restoring *re, struct txn *txn)
{
    int64_t now = now_ns();
    int r = 0;
    re->n_taken = re->n_moved = 0;
    for (size_t i = 0; i < re->n && !r; i++) {
        struct memory *m = &re->all[i];
        size_t extent = m->extent;
        m->has_tail = false;
        m->n_taken = 0;
        r = stage_content(re, txn, m, &extent, now);
        if (!r && MUTANT(RESTORE_IN_PART) && txn->n_ops) {
            r = commit_txn(re->eng, txn);
            txn_reset(txn);
        }
        if (!r)
            r = stage_fields(re, txn, m, &extent, now);
        if (!r)
            r = stage_attr(txn, m, now);
    }
    return r;
}

/* ---- one batch -------------------------------------------------------------------------------- */

#define PLAN_TRIES 3u   /* then it is made under log.lock */
#define GATHER_TRIES 2u /* of all memories together */
#define MOVED_MAX (2 * FREED_PER_BATCH)

int restore_fits(struct restoring *re, enum outcome *ret_outcome)
{
    int r = 0;
    *ret_outcome = RESTORE_DONE;
    for (size_t i = 0; i < re->n && !r && *ret_outcome == RESTORE_DONE; i++) {
        const struct memory *m = &re->all[i];
        const struct inode_rec *inode = index_inode(&re->eng->idx, m->ino),
                               *then = view_state(m->view, m->from);
        r = restore_check(m, inode);
        if (!r && !(then && restore_is_still(then, &m->then))) /* of what has no name nothing is kept */
            r = -ESTALE;
        if (!r && !restore_is_still(inode, &m->is) && !MUTANT(RESTORE_PLAN_STALE))
            *ret_outcome = RESTORE_STALE;
        else if (!r && inode->flags & INODE_TAIL)
            *ret_outcome = RESTORE_TAILED;
        re->in_way = m;
    }
    return r;
}

int restore_count(const struct restoring *re, struct txn *txn)
{
    if (re->n_moved > MOVED_MAX)
        return -EFBIG;
    txn->n_freed += re->n_moved * (1 + eng_apart(re->eng));
    return 0;
}

/* The memory of which content comes over the most extents is to be gathered first. */
static void choose_crowded(struct restoring *re)
{
    uint32_t most = 0;
    for (size_t i = 0; i < re->n; i++) {
        const struct memory *m = &re->all[i];
        if (m->n_taken <= most)
            continue;
        most = m->n_taken;
        re->in_way = m;
    }
}

/* Whether something is to be gathered before the batch; `gathered`: that was tried. Beside a frozen view, and
 * behind others that write, the batch takes more all the same. */
static bool is_crowded(struct restoring *re, const struct txn *txn, bool gathered)
{
    if (gathered ? re->n_taken <= FREED_PER_BATCH : txn->n_freed <= eng_cut(re->eng))
        return false;
    choose_crowded(re);
    return true;
}

static int try_it(struct restoring *re, bool locked, bool gathered, enum outcome *ret_outcome)
{
    CLEANUP_TXN struct txn txn = {0};
    re->is_locked = locked;
    int r = locked ? 0 : restore_plan(re);
    if (!r && !locked)
        fault_point(&re->eng->hook, FP_WRITE_DRAFTED);
    if (!r)
        r = commit_begin(re->eng);
    if (r)
        return r;
    if (locked)
        r = restore_plan(re);
    if (!r)
        r = restore_fits(re, ret_outcome);
    if (!r && *ret_outcome == RESTORE_DONE)
        r = restore_stage_keeps(re, &txn);
    if (!r && *ret_outcome == RESTORE_DONE)
        r = restore_stage(re, &txn);
    if (!r && *ret_outcome == RESTORE_DONE && is_crowded(re, &txn, gathered))
        *ret_outcome = RESTORE_CROWDED;
    else if (!r && *ret_outcome == RESTORE_DONE && txn.n_ops)
        r = restore_count(re, &txn);
    if (!r && *ret_outcome == RESTORE_DONE && txn.n_ops)
        r = commit_txn(re->eng, &txn);
    return commit_end(re->eng, r);
}

void restore_free_tails(struct restoring *re)
{
    for (size_t i = 0; i < re->n; i++)
        if (re->all[i].has_tail && commit_tail(re->eng, re->all[i].ino) != 0)
            orphans_add(re->eng, re->all[i].ino);
}

/* What content is to come over is written anew in few extents. */
static int gather(const struct restoring *re)
{
    const struct ranges *parts = &re->in_way->parts;
    int r = 0;
    for (size_t i = 0; i < parts->n && !r; i++)
        if (!parts->at[i].is_hole)
            r = content_gather(re->eng, re->in_way->ino, parts->at[i].off, parts->at[i].end);
    return r;
}

static int restore_once(struct restoring *re)
{
    enum outcome outcome = RESTORE_STALE;
    unsigned stale = 0, crowded = 0;
    int r = 0;
    while (!r && outcome != RESTORE_DONE) {
        r = try_it(re, stale >= PLAN_TRIES, crowded >= GATHER_TRIES, &outcome);
        if (!r && outcome == RESTORE_TAILED)
            r = commit_tail(re->eng, re->in_way->ino);
        if (!r && outcome == RESTORE_CROWDED)
            r = crowded < GATHER_TRIES ? gather(re) : -EFBIG;
        stale += outcome == RESTORE_STALE;
        crowded += outcome == RESTORE_CROWDED;
    }
    if (!r)
        restore_free_tails(re);
    return r;
}

/* ---- the call --------------------------------------------------------------------------------- */

static int open_view(struct restoring *re, uint64_t batch, const struct view **ret_view)
{
    size_t i = 0;
    int r = 0;
    while (i < re->n_views && re->views[i]->view.at != batch)
        i++;
    if (i == re->n_views)
        r = past_view_open(re->eng, batch, &re->views[re->n_views]);
    if (r)
        return r == -ENOENT ? -ESTALE : r;
    re->n_views += i == re->n_views;
    *ret_view = &re->views[i]->view;
    return 0;
}

static int open_all(struct restoring *re, const struct eng_restore *restores)
{
    int r = 0;
    for (size_t i = 0; i < re->n && !r; i++) {
        struct memory *m = &re->all[i];
        m->ino = restores[i].ino;
        m->from = restores[i].from;
        for (size_t k = 0; k < i && !r; k++)
            r = re->all[k].ino == m->ino ? -EINVAL : 0;
        if (!r)
            r = open_view(re, restores[i].batch, &m->view);
    }
    return r;
}

int eng_restore(struct eng *eng, const struct eng_restore *restores, size_t n)
{
    if (!eng || (!restores && n))
        return -EINVAL;
    if (n > FREED_PER_BATCH)
        return -E2BIG;
    struct restoring re = {.eng = eng, .n = n};
    re.all = calloc(n + 1, sizeof *re.all);
    re.views = calloc(n + 1, sizeof(struct eng_view *));
    int r = re.all && re.views ? open_all(&re, restores) : -ENOMEM;
    struct full_disk_try change = {0};
    bool again = !r;
    while (again) {
        r = restore_once(&re);
        change.size = MAX_OF(re.bytes, RESTORE_ROOM_MIN);
        again = full_disk_again(eng, &change, &r);
    }
    if (!r) {
        COUNT(eng, writes, n);
        COUNT(eng, bytes_written, re.bytes);
    }
    restore_free(&re);
    return r;
}

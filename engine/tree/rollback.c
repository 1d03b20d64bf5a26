/*
 * rollback.c - eng_rollback(): a folder, with all below it, becomes what it was at a batch, in one batch.
 *
 * Each name leads to the inode again to which it led, and each inode is in the state again in which it was
 * (restore_plan.h): nothing is copied, and numbers and links are those of then. All that is found out while
 * others work (rollback_plan.h); under log.lock what has changed since is looked for, as far as it lies in
 * the folder: then all begins anew. What was there until then is kept, since the view of now is in use. */
#include "commit/commit.h"
#include "commit/orphans.h"
#include "tree/entries.h"
#include "tree/past_view.h"
#include "tree/rollback_plan.h"
#include "upkeep/full_disk.h"

#define PLAN_TRIES 16u

/* ---- names ------------------------------------------------------------------ */

/* A name that goes on is another inode's; but folders come and go. */
static unsigned op_of(const struct rollback_name *name, bool comes)
{
    if (name->was && name->is && !name->is_of_folder)
        return comes ? OP_REPOINT : 0;
    if (comes)
        return name->was ? OP_LINK : 0;
    return name->is ? OP_UNLINK : 0;
}

/* What goes is gone before something comes to its place. */
static int stage_names(const struct rollback *rb, struct txn *txn, bool comes, int64_t now)
{
    uint64_t cookie = entries_new_cookie(rb->eng);
    for (size_t i = 0; i < rb->n_names; i++) {
        const struct rollback_name *name = &rb->names[i];
        unsigned type = op_of(name, comes);
        struct op *op = type ? txn_op(txn, type) : NULL;
        if (type && !op)
            return -ENOMEM;
        if (!type)
            continue;
        op->parent = name->dir;
        op->ino = comes ? name->was : name->is;
        op->other = type == OP_REPOINT ? name->is : 0;
        op->cookie = type == OP_LINK ? cookie++ : 0;
        op->time = now;
        op->name = name->text;
        op->name_len = name->len;
    }
    return cookie > COOKIE_MAX ? -ENOSPC : 0;
}

/* So that this very batch does not free what nothing shows of an inode that gets a name again. */
static void add_refs(const struct rollback *rb)
{
    for (size_t i = 0; i < rb->n_names; i++)
        if (rb->names[i].was)
            (void)index_ref(&rb->eng->idx, ino_slot(rb->names[i].was), 1);
}

static void drop_refs(const struct rollback *rb)
{
    for (size_t i = 0; i < rb->n_names; i++) {
        uint64_t ino = rb->names[i].was;
        const struct inode_rec *inode = index_inode(&rb->eng->idx, ino);
        if (inode && index_ref(&rb->eng->idx, ino_slot(ino), -1) == 0 && orphans_frees(&rb->eng->idx, inode))
            orphans_add(rb->eng, ino);
    }
}

/* ---- the batch ---------------------------------------------------------------- */

static int stage(struct rollback *rb, struct txn *txn)
{
    int64_t now = now_ns();
    int r = restore_stage_keeps(&rb->re, txn);
    if (!r)
        r = stage_names(rb, txn, false, now);
    if (!r && MUTANT(ROLLBACK_IN_PART) && txn->n_ops) {
        r = commit_txn(rb->eng, txn);
        txn_reset(txn);
    }
    if (!r)
        r = stage_names(rb, txn, true, now);
    if (!r)
        r = restore_stage(&rb->re, txn);
    return r ? r : restore_count(&rb->re, txn);
}

static int commit(struct rollback *rb)
{
    CLEANUP_TXN struct txn txn = {0};
    int r = stage(rb, &txn);
    if (r || !txn.n_ops)
        return r;
    add_refs(rb);
    r = commit_txn(rb->eng, &txn);
    drop_refs(rb);
    return r;
}

static int try_plan(struct rollback *rb, enum outcome *ret_outcome)
{
    bool stale = false;
    int r = commit_begin(rb->eng);
    if (r)
        return r;
    r = rollback_is_stale(rb, &stale);
    *ret_outcome = stale ? RESTORE_STALE : RESTORE_DONE;
    if (!r && !stale)
        r = restore_fits(&rb->re, ret_outcome);
    if (!r && *ret_outcome == RESTORE_DONE)
        r = commit(rb);
    return commit_end(rb->eng, r);
}

/* ---- what has changed ------------------------------------------------------------- */

static int tell(const struct rollback *rb, int (*emit)(void *arg, const struct eng_rolled_back *one),
                void *arg, uint64_t *ret_n)
{
    int r = 0;
    for (size_t i = 0; i < rb->n_names && !r; i++) {
        const struct rollback_name *name = &rb->names[i];
        const struct eng_rolled_back one = {name->dir, name->text, name->len, name->was};
        ++*ret_n;
        r = emit ? emit(arg, &one) : 0;
    }
    for (size_t i = 0; i < rb->re.n && !r; i++) {
        const struct eng_rolled_back one = {.ino = rb->re.all[i].ino};
        if (!restore_is_changed(&rb->re.all[i]))
            continue;
        ++*ret_n;
        r = emit ? emit(arg, &one) : 0;
    }
    return r;
}

/* ---- the call ----------------------------------------------------------------------- */

struct rollback_call {
    struct eng *eng;
    const struct view *then;
    uint32_t folder;
    int (*emit)(void *arg, const struct eng_rolled_back *one);
    void *arg;
    uint64_t *n;
    int told; /* what emit returned */
};

static int rollback_once(struct rollback_call *call)
{
    enum outcome outcome = RESTORE_STALE;
    int r = 0;
    for (unsigned tries = 0; !r && outcome != RESTORE_DONE; tries++) {
        struct rollback rb = {.eng = call->eng, .then = call->then, .folder = call->folder};
        r = tries < PLAN_TRIES ? rollback_plan(&rb) : -EBUSY;
        if (!r)
            fault_point(&call->eng->hook, FP_WRITE_DRAFTED);
        if (!r)
            r = try_plan(&rb, &outcome);
        if (!r && outcome == RESTORE_TAILED)
            r = commit_tail(call->eng, rb.re.in_way->ino);
        if (!r && outcome == RESTORE_DONE) {
            restore_free_tails(&rb.re);
            call->told = tell(&rb, call->emit, call->arg, call->n);
        }
        rollback_plan_free(&rb);
    }
    return r;
}

static int find_folder(struct eng *eng, uint64_t folder, uint32_t *ret_slot)
{
    struct view live = view_live(eng);
    const struct inode_rec *dir;
    view_begin(&live);
    int r = entries_dir(live.idx, folder, &dir);
    if (!r && !dir->nlink)
        r = -ESTALE;
    *ret_slot = ino_slot(folder);
    return (int)view_end(&live, r);
}

int eng_rollback(struct eng *eng, uint64_t folder, uint64_t batch,
                 int (*emit)(void *arg, const struct eng_rolled_back *one), void *arg, uint64_t *ret_n)
{
    struct eng_view *view = NULL;
    if (!eng || !ret_n)
        return -EINVAL;
    struct rollback_call call = {.eng = eng, .emit = emit, .arg = arg, .n = ret_n};
    struct full_disk_try change = {.size = RESTORE_ROOM_MIN};
    *ret_n = 0;
    int r = find_folder(eng, folder, &call.folder);
    if (!r)
        r = past_view_open(eng, batch, &view);
    bool again = !r;
    while (again) {
        call.then = &view->view;
        r = rollback_once(&call);
        again = full_disk_again(eng, &change, &r);
    }
    eng_view_close(view);
    return r ? r : call.told;
}

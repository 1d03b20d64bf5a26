/*
 * namespace.c - inodes and names as callers change them: creating, linking, removing, renaming. Each call
 * validates under log.lock, then commits one batch: other callers see the change whole or not at all. */
#include "commit/commit.h"
#include "commit/orphans.h"
#include "tree/attr.h"
#include "tree/entries.h"
#include "tree/guards.h"
#include "upkeep/full_disk.h"

static uint64_t ino_of(const struct eng *eng, uint32_t slot)
{
    return index_ino(index_slot(&eng->idx, slot), slot);
}

int eng_forget(struct eng *eng, uint64_t ino, uint64_t n)
{
    if (!eng)
        return -EINVAL;
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    /* An unlink at this moment sees the reference gone, or this call the name: one of them frees. */
    bool orphan = inode &&
                  index_ref(&eng->idx, ino_slot(ino), -(int64_t)MIN_OF(n, (uint64_t)UINT32_MAX)) == 0 &&
                  orphans_frees(&eng->idx, inode);
    pthread_rwlock_unlock(&eng->index_lock);
    if (orphan)
        orphans_add(eng, ino);
    return inode ? 0 : -ESTALE;
}

bool eng_is_referenced(struct eng *eng, uint64_t ino)
{
    if (!eng)
        return false;
    pthread_rwlock_rdlock(&eng->index_lock);
    bool is = index_inode(&eng->idx, ino) && index_refs(&eng->idx, ino_slot(ino)) > 0;
    pthread_rwlock_unlock(&eng->index_lock);
    return is;
}

/* After a commit that may have taken the last name of an inode. */
static void free_if_unused(struct eng *eng, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    if (inode && orphans_frees(&eng->idx, inode) && !index_refs(&eng->idx, ino_slot(ino)))
        orphans_add(eng, ino);
}

/* ---- creating and linking ----------------------------------------------------- */

/* Guards of what never replaces anything: those that ask for a target say so by not being met. */
#define FOR_NEW_NAMES                                                                                        \
    (1u << ENG_GUARD_STATE | 1u << ENG_GUARD_NONE | 1u << ENG_GUARD_SHA256 | 1u << ENG_GUARD_SEEN |          \
     1u << ENG_GUARD_MOVED)

/* Stages an op on the entry `name` of `parent`; NULL: no memory. */
static struct op *stage_name(struct txn *txn, enum op_type type, uint64_t parent, const char *name,
                             uint64_t ino, int64_t time)
{
    struct op *op = txn_op(txn, type);
    if (!op)
        return NULL;
    op->parent = parent;
    op->ino = ino;
    op->time = time;
    op->name = name;
    op->name_len = (uint16_t)strlen(name);
    return op;
}

static int stage_link(const struct eng *eng, struct txn *txn, uint64_t parent, const char *name, uint64_t ino,
                      int64_t time)
{
    uint64_t cookie = entries_new_cookie(eng);
    if (cookie > COOKIE_MAX)
        return -ENOSPC;
    struct op *op = stage_name(txn, OP_LINK, parent, name, ino, time);
    if (op)
        op->cookie = cookie;
    return op ? 0 : -ENOMEM;
}

static int stage_unlink(struct txn *txn, uint64_t parent, const char *name, uint64_t ino, int64_t time)
{
    return stage_name(txn, OP_UNLINK, parent, name, ino, time) ? 0 : -ENOMEM;
}

static int stage_repoint(struct txn *txn, uint64_t parent, const char *name, uint64_t ino, uint64_t old,
                         int64_t time)
{
    struct op *op = stage_name(txn, OP_REPOINT, parent, name, ino, time);
    if (op)
        op->other = old;
    return op ? 0 : -ENOMEM;
}

static int stage_create(const struct eng *eng, struct txn *txn, const struct eng_caller *who,
                        const struct inode_rec *dir, uint32_t mode, uint64_t rdev, const char *target,
                        int64_t time)
{
    struct op *op = txn_op(txn, OP_CREATE);
    if (!op)
        return -ENOMEM;
    op->ino = index_predict_ino(&eng->idx, NULL);
    op->mode = mode;
    op->uid = who ? who->uid : 0;
    op->gid = who ? who->gid : 0;
    op->rdev = rdev;
    op->time = time;
    if (dir->mode & S_ISGID) {
        op->gid = dir->gid;
        if (S_ISDIR(mode))
            op->mode |= S_ISGID;
    }
    if (target) {
        op->value = target;
        op->value_len = (uint32_t)strlen(target);
    }
    return op->ino ? 0 : -ENOSPC;
}

static int create_once(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                       uint32_t mode, uint64_t rdev, const char *target, struct guarded *guarded,
                       struct eng_attr *ret_attr)
{
    CLEANUP_TXN struct txn txn = {0};
    const struct inode_rec *dir;
    int64_t now = now_ns();
    int r = commit_begin(eng);
    if (r)
        return r;
    r = name ? entries_may_add(eng, parent, name, &dir) : entries_dir(&eng->idx, parent, &dir);
    if (!r && !name && !dir->nlink)
        r = -ENOENT;
    if (!r)
        r = guards_check(eng, guarded, 0, 0);
    if (!r)
        r = stage_create(eng, &txn, who, dir, mode, rdev, target, now);
    uint64_t ino = r ? 0 : txn.ops[0].ino;
    if (!r && name)
        r = stage_link(eng, &txn, parent, name, ino, now);
    if (!r)
        r = commit_txn(eng, &txn);
    if (!r)
        entries_give(eng, who, ino, ret_attr);
    return commit_end(eng, r);
}

int eng_create(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
               uint32_t mode, uint64_t rdev, const char *target, struct eng_attr *ret_attr)
{
    return eng_create_if(eng, who, parent, name, mode, rdev, target, NULL, ret_attr);
}

int eng_create_if(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                  uint32_t mode, uint64_t rdev, const char *target, const struct eng_guard *guard,
                  struct eng_attr *ret_attr)
{
    struct guarded guarded;
    if (!eng || guards_begin(&guarded, guard, FOR_NEW_NAMES) != 0 || (guard && S_ISDIR(mode)))
        return -EINVAL;
    if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode) &&
        !S_ISBLK(mode) && !S_ISCHR(mode))
        return -EINVAL;
    if (!name && (!S_ISREG(mode) || !entries_wants_ref(who))) /* nothing would keep it */
        return -EINVAL;
    if (S_ISLNK(mode) && (!target || !target[0] || strlen(target) > ENG_SYMLINK_MAX))
        return target && target[0] ? -ENAMETOOLONG : -ENOENT;
    target = S_ISLNK(mode) ? target : NULL;
    mode &= S_IFMT | 07777; /* as create(2) and mknod(2) do */
    struct full_disk_try change = {0};
    int r;
    do
        r = create_once(eng, who, parent, name, mode, rdev, target, &guarded, ret_attr);
    while (full_disk_again(eng, &change, &r));
    return r;
}

static int link_once(struct eng *eng, const struct eng_caller *who, uint64_t ino, uint64_t parent,
                     const char *name, struct guarded *guarded, struct eng_attr *ret_attr)
{
    CLEANUP_TXN struct txn txn = {0};
    const struct inode_rec *dir;
    int r = commit_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    if (!inode)
        r = -ESTALE;
    else if (S_ISDIR(inode->mode))
        r = -EPERM;
    else if (inode->nlink >= ENG_LINK_MAX)
        r = -EMLINK;
    /* An inode without a name lives by its references: one of ours keeps orphans_stage() from freeing it in
     * the batch that names it. */
    bool unnamed = !r && !inode->nlink;
    if (unnamed && index_ref(&eng->idx, ino_slot(ino), 1) == 1)
        r = -ENOENT;
    if (!r)
        r = entries_may_add(eng, parent, name, &dir);
    if (!r)
        r = guards_read(eng, guarded, ino_slot(ino));
    if (!r)
        r = guards_check(eng, guarded, ino_slot(ino), 0);
    if (!r)
        r = stage_link(eng, &txn, parent, name, ino, now_ns());
    if (!r)
        r = guards_stage(guarded, &txn, ino);
    if (!r)
        r = commit_txn(eng, &txn);
    if (!r)
        entries_give(eng, who, ino, ret_attr);
    if (unnamed && index_ref(&eng->idx, ino_slot(ino), -1) == 0)
        free_if_unused(eng, ino);
    return commit_end(eng, r);
}

int eng_link(struct eng *eng, const struct eng_caller *who, uint64_t ino, uint64_t parent, const char *name,
             struct eng_attr *ret_attr)
{
    return eng_link_if(eng, who, ino, parent, name, NULL, ret_attr);
}

int eng_link_if(struct eng *eng, const struct eng_caller *who, uint64_t ino, uint64_t parent,
                const char *name, const struct eng_guard *guard, struct eng_attr *ret_attr)
{
    struct guarded guarded;
    if (!eng || !name || guards_begin(&guarded, guard, FOR_NEW_NAMES | 1u << ENG_GUARD_STORED) != 0)
        return -EINVAL;
    struct full_disk_try change = {0};
    int r;
    do
        r = link_once(eng, who, ino, parent, name, &guarded, ret_attr);
    while (full_disk_again(eng, &change, &r));
    return r;
}

/* ---- removing ------------------------------------------------------------------- */

/* Whether the entry may go: its slot. */
static int may_remove(const struct eng *eng, uint64_t parent, const char *name, bool want_dir,
                      uint32_t *ret_slot)
{
    if (entries_is_dots(name) && !want_dir)
        return -EISDIR;
    if (entries_is_dots(name))
        return name[1] ? -ENOTEMPTY : -EINVAL;
    int r = entries_child(&eng->idx, parent, name, ret_slot);
    if (r)
        return r;
    const struct inode_rec *inode = index_slot(&eng->idx, *ret_slot);
    bool is_dir = S_ISDIR(inode->mode);
    if (is_dir != want_dir)
        return is_dir ? -EISDIR : -ENOTDIR;
    return is_dir && inode->size ? -ENOTEMPTY : 0;
}

static int remove_name(struct eng *eng, uint64_t parent, const char *name, bool want_dir,
                       struct guarded *guarded)
{
    CLEANUP_TXN struct txn txn = {0};
    uint32_t slot = 0;
    int r = commit_begin(eng);
    if (r)
        return r;
    r = may_remove(eng, parent, name, want_dir, &slot);
    uint64_t ino = r ? 0 : ino_of(eng, slot);
    if (!r)
        r = guards_check(eng, guarded, 0, slot);
    if (!r)
        r = stage_unlink(&txn, parent, name, ino, now_ns());
    if (!r)
        r = commit_txn(eng, &txn);
    if (!r)
        free_if_unused(eng, ino);
    return commit_end(eng, r);
}

/* On a full disk removing works also when what was set aside for it is used up. */
static int remove_or_make_room(struct eng *eng, uint64_t parent, const char *name, bool want_dir,
                               struct guarded *guarded)
{
    struct full_disk_try change = {.removing = true};
    int r;
    do
        r = remove_name(eng, parent, name, want_dir, guarded);
    while (guards_again(eng, guarded, &r) || full_disk_again(eng, &change, &r));
    return r;
}

int eng_unlink(struct eng *eng, uint64_t parent, const char *name)
{
    return eng_unlink_if(eng, parent, name, NULL);
}

int eng_unlink_if(struct eng *eng, uint64_t parent, const char *name, const struct eng_guard *guard)
{
    const unsigned kinds = 1u << ENG_GUARD_STATE | 1u << ENG_GUARD_SHA256 | 1u << ENG_GUARD_SEEN;
    struct guarded guarded;
    if (!eng || !name || guards_begin(&guarded, guard, kinds) != 0)
        return -EINVAL;
    return remove_or_make_room(eng, parent, name, false, &guarded);
}

int eng_rmdir(struct eng *eng, uint64_t parent, const char *name)
{
    if (!eng || !name)
        return -EINVAL;
    struct guarded guarded = {0};
    return remove_or_make_room(eng, parent, name, true, &guarded);
}

/* ---- renaming ------------------------------------------------------------------- */

/*
 * Whether directory `dir` is `top` or lies below it: 0 no, -EINVAL yes. As a rule that needs no look: what
 * has no subdirectories has nothing below it. Else it is a walk towards the root, under log.lock; where it
 * would take longer than all other mutations can wait: -ENAMETOOLONG. */
static int check_not_below(const struct index *idx, uint32_t dir, uint32_t top)
{
    const struct inode_rec *inode = index_slot(idx, top);
    uint32_t steps = inode->nlink > 1 ? ENG_MOVE_DEPTH_MAX : 0; /* nlink: its name, and its subdirectories */
    for (; dir && dir != top && dir != ENG_ROOT_INO && steps; steps--)
        dir = index_parent(idx, dir);
    if (dir == top && !MUTANT(NO_LOOP_CHECK))
        return -EINVAL;
    return dir == top || dir == ENG_ROOT_INO || inode->nlink <= 1 ? 0 : -ENAMETOOLONG;
}

struct rename {
    uint64_t from_dir, to_dir;
    const char *from, *to;
    unsigned flags;
    uint32_t src, dst; /* slots; dst 0: none */
    struct guarded *guarded;
};

/* Whether what is moved and what is replaced are such that they may be. */
static int check_ends(const struct index *idx, const struct rename *rn, const struct inode_rec *src,
                      const struct inode_rec *dst)
{
    uint32_t from_dir = ino_slot(rn->from_dir), to_dir = ino_slot(rn->to_dir);
    bool src_is_dir = S_ISDIR(src->mode), dst_is_dir = dst && S_ISDIR(dst->mode);
    int r = src_is_dir && from_dir != to_dir ? check_not_below(idx, to_dir, rn->src) : 0;
    if (r || !dst)
        return r;
    if (rn->flags & ENG_RENAME_EXCHANGE)
        return dst_is_dir && from_dir != to_dir ? check_not_below(idx, from_dir, rn->dst) : 0;
    if (rn->src == rn->dst)
        return 0;
    /* Over a directory above itself: ENOTEMPTY, as Linux says. */
    if (!src_is_dir && dst_is_dir && from_dir != to_dir && check_not_below(idx, from_dir, rn->dst) == -EINVAL)
        return -ENOTEMPTY;
    if (src_is_dir != dst_is_dir)
        return dst_is_dir ? -EISDIR : -ENOTDIR;
    return dst_is_dir && dst->size ? -ENOTEMPTY : 0;
}

static int check_rename(const struct eng *eng, struct rename *rn)
{
    const struct inode_rec *to_dir;
    if (entries_is_dots(rn->from) || entries_is_dots(rn->to))
        return rn->flags & ENG_RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    int r = entries_child(&eng->idx, rn->from_dir, rn->from, &rn->src);
    if (!r)
        r = entries_dir(&eng->idx, rn->to_dir, &to_dir);
    if (!r)
        r = entries_check_name(rn->to);
    if (r)
        return r;
    r = entries_child(&eng->idx, rn->to_dir, rn->to, &rn->dst);
    if (r == -ENOENT)
        r = rn->flags & ENG_RENAME_EXCHANGE || !to_dir->nlink ? -ENOENT : 0;
    else if (!r && rn->flags & ENG_RENAME_NOREPLACE)
        r = -EEXIST;
    if (r)
        return r;
    const struct inode_rec *src = index_slot(&eng->idx, rn->src), *dst = index_slot(&eng->idx, rn->dst);
    r = guards_read(eng, rn->guarded, rn->src);
    bool is_odd = rn->flags & ENG_RENAME_EXCHANGE || S_ISDIR(src->mode) || (dst && S_ISDIR(dst->mode));
    if (!r && rn->guarded->guard.kind && is_odd)
        r = -EINVAL;
    return r ? r : check_ends(&eng->idx, rn, src, dst);
}

/* Another name in the same directory keeps its place there: a listing under way tells it once. */
static int stage_new_name(const struct eng *eng, const struct rename *rn, uint64_t src, int64_t now,
                          struct txn *txn)
{
    uint32_t d = index_find_name(&eng->idx, ino_slot(rn->from_dir), rn->from, strlen(rn->from));
    const struct dentry_rec *dentry = index_dentry(&eng->idx, d);
    int r = dentry ? stage_unlink(txn, rn->from_dir, rn->from, src, now) : -EBADMSG;
    if (!r)
        r = stage_link(eng, txn, rn->to_dir, rn->to, src, now);
    if (!r)
        txn->ops[txn->n_ops - 1].cookie = dentry->cookie;
    return r;
}

static int rename_stage(const struct eng *eng, const struct eng_caller *who, const struct rename *rn,
                        struct txn *txn)
{
    int64_t now = now_ns();
    uint64_t src = ino_of(eng, rn->src), dst = rn->dst ? ino_of(eng, rn->dst) : 0;
    if (!dst && rn->from_dir == rn->to_dir && !(rn->flags & ENG_RENAME_WHITEOUT))
        return stage_new_name(eng, rn, src, now, txn);
    int r = dst ? stage_repoint(txn, rn->to_dir, rn->to, src, dst, now)
                : stage_link(eng, txn, rn->to_dir, rn->to, src, now);
    if (r)
        return r;
    if (dst && eng_has_history(eng) && guards_is_same(eng, rn->guarded, rn->src, rn->dst))
        txn->ops[txn->n_ops - 1].flags |= OP_SAME;
    if (rn->flags & ENG_RENAME_EXCHANGE)
        return stage_repoint(txn, rn->from_dir, rn->from, dst, src, now);
    if (!(rn->flags & ENG_RENAME_WHITEOUT))
        return stage_unlink(txn, rn->from_dir, rn->from, src, now);
    const struct inode_rec *dir = index_inode(&eng->idx, rn->from_dir);
    r = stage_create(eng, txn, who, dir, S_IFCHR, 0, NULL, now); /* overlayfs reads 0:0 as "removed" */
    return r ? r : stage_repoint(txn, rn->from_dir, rn->from, txn->ops[txn->n_ops - 1].ino, src, now);
}

static int rename_commit(struct eng *eng, const struct eng_caller *who, const struct rename *rn,
                         struct full_disk_try *change)
{
    CLEANUP_TXN struct txn txn = {0};
    uint64_t replaced = rn->dst ? ino_of(eng, rn->dst) : 0;
    change->removing = replaced && !(rn->flags & (ENG_RENAME_EXCHANGE | ENG_RENAME_WHITEOUT));
    int r = rename_stage(eng, who, rn, &txn);
    if (!r)
        r = guards_stage(rn->guarded, &txn, ino_of(eng, rn->src));
    if (!r)
        r = commit_txn(eng, &txn);
    if (!r && replaced)
        free_if_unused(eng, replaced);
    return r;
}

static int rename_once(struct eng *eng, const struct eng_caller *who, struct rename *rn,
                       struct full_disk_try *change)
{
    int r = commit_begin(eng);
    if (r)
        return r;
    r = check_rename(eng, rn);
    bool is_one = !r && rn->src == rn->dst; /* two names of one file: nothing to do, says POSIX */
    if (!r && !is_one && !rn->guarded->is_looked)
        r = guards_check(eng, rn->guarded, rn->src, rn->dst);
    if (!r && !is_one)
        r = rename_commit(eng, who, rn, change);
    return commit_end(eng, r);
}

/* GUARD_BEFORE_LOCK */
static int look_too_early(struct eng *eng, struct rename *rn)
{
    struct view live = view_live(eng);
    view_begin(&live);
    int r = check_rename(eng, rn);
    if (!r)
        r = guards_check(eng, rn->guarded, rn->src, rn->dst);
    rn->guarded->is_looked = true;
    return (int)view_end(&live, r);
}

int eng_rename(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
               uint64_t new_parent, const char *new_name, unsigned flags)
{
    return eng_rename_if(eng, who, parent, name, new_parent, new_name, flags, NULL);
}

int eng_rename_if(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                  uint64_t new_parent, const char *new_name, unsigned flags, const struct eng_guard *guard)
{
    struct guarded guarded;
    if (!eng || !name || !new_name ||
        guards_begin(&guarded, guard, FOR_NEW_NAMES | 1u << ENG_GUARD_STORED) != 0)
        return -EINVAL;
    if (flags & ~7u || ((flags & ENG_RENAME_EXCHANGE) && (flags & ~(unsigned)ENG_RENAME_EXCHANGE)))
        return -EINVAL;
    struct full_disk_try change = {0};
    int r;
    do {
        struct rename rn = {parent, new_parent, name, new_name, flags, 0, 0, &guarded};
        r = MUTANT(GUARD_BEFORE_LOCK) ? look_too_early(eng, &rn) : 0;
        if (!r)
            r = rename_once(eng, who, &rn, &change);
    } while (guards_again(eng, &guarded, &r) || full_disk_again(eng, &change, &r));
    return r;
}

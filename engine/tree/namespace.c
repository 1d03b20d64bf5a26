/*
 * namespace.c - inodes and names: looking up, creating, linking, removing,
 * renaming, listing. Each call validates under the log lock, then commits one
 * batch, so that what a caller sees is whole or not there.
 */
#include "commit/atimes.h"
#include "commit/commit.h"
#include "commit/orphans.h"
#include "tree/attr.h"
#include "upkeep/room.h"

static int name_check(const char *name)
{
    size_t len = strlen(name);
    return len == 0 ? -ENOENT : len > ENG_NAME_MAX ? -ENAMETOOLONG : strchr(name, '/') ? -EINVAL : 0;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* The directory, alive; under the log lock or the shared index lock. */
static int get_dir(const struct eng *eng, uint64_t ino, const struct inode_rec **ret_inode)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    if (!inode)
        return -ESTALE;
    if (!S_ISDIR(inode->mode))
        return -ENOTDIR;
    *ret_inode = inode;
    return 0;
}

/* Slot of the child of that name. -ENOENT. */
static int get_child(const struct eng *eng, uint64_t parent, const char *name, uint32_t *ret_slot)
{
    const struct inode_rec *dir;
    int r = get_dir(eng, parent, &dir);
    if (!r)
        r = name_check(name);
    if (r)
        return r;
    const struct dentry_rec *d =
        index_dentry(&eng->idx, index_find_name(&eng->idx, ino_slot(parent), name, strlen(name)));
    if (!d)
        return -ENOENT;
    if (!index_slot(&eng->idx, d->child))
        return -EBADMSG;
    *ret_slot = d->child;
    return 0;
}

static uint64_t ino_of(const struct eng *eng, uint32_t slot)
{
    return index_ino(index_slot(&eng->idx, slot), slot);
}

int eng_lookup(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
               struct eng_attr *ret_attr)
{
    if (!eng || !name || !ret_attr)
        return -EINVAL;
    const struct inode_rec *dir, *self;
    uint32_t slot = 0;
    int r = 0;
    pthread_rwlock_rdlock(&eng->index_lock);
    if (!strcmp(name, ".")) {
        self = index_inode(&eng->idx, parent);
        slot = ino_slot(parent);
        r = self && self->nlink ? 0 : -ESTALE;
    } else if ((r = get_dir(eng, parent, &dir)) == 0 && is_dots(name)) {
        slot = index_parent(&eng->idx, ino_slot(parent));
        r = slot ? 0 : -ENOENT;
    } else if (!r) {
        r = get_child(eng, parent, name, &slot);
    }
    if (!r) {
        attr_show(eng, slot, ret_attr);
        if (who && who->ref)
            (void)index_ref(&eng->idx, slot, 1);
    }
    pthread_rwlock_unlock(&eng->index_lock);
    return r;
}

int eng_forget(struct eng *eng, uint64_t ino, uint64_t n)
{
    if (!eng)
        return -EINVAL;
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    /* An unlink that comes at this moment sees the reference gone, or we see its nlink of 0: one of us frees.
     */
    bool orphan = inode &&
                  index_ref(&eng->idx, ino_slot(ino), -(int64_t)MIN_OF(n, (uint64_t)UINT32_MAX)) == 0 &&
                  inode->nlink == 0;
    pthread_rwlock_unlock(&eng->index_lock);
    if (orphan)
        orphans_add(eng, ino);
    return inode ? 0 : -ESTALE;
}

/* After a commit that may have taken the last name of an inode. */
static void free_if_unused(struct eng *eng, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    if (inode && !inode->nlink && !index_refs(&eng->idx, ino_slot(ino)))
        orphans_add(eng, ino);
}

#define SET_ALL                                                                                              \
    (unsigned)(ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID | ENG_SET_SIZE | ENG_SET_ATIME | ENG_SET_MTIME |     \
               ENG_SET_CTIME | ENG_SET_ATIME_NOW | ENG_SET_MTIME_NOW)

int eng_setattr(struct eng *eng, uint64_t ino, const struct eng_attr *attr, unsigned mask,
                struct eng_attr *ret_attr)
{
    if (!eng || !attr || mask & ~SET_ALL)
        return -EINVAL;
    CLEANUP_TXN struct txn txn = {0};
    int64_t now = now_ns();
    int r = room_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    struct op *op;
    if (!inode)
        r = -ESTALE;
    else if (mask & ENG_SET_SIZE) {
        r = S_ISDIR(inode->mode)             ? -EISDIR
            : !S_ISREG(inode->mode)          ? -EINVAL
            : attr->size > ENG_FILE_SIZE_MAX ? -EFBIG
                                             : 0;
        if (!r && !(op = txn_op(&txn, OP_TRUNCATE)))
            r = -ENOMEM;
        if (!r) {
            op->ino = ino;
            op->len = attr->size;
            op->time = now;
        }
    }
    /* Nothing named, as by chown(-1, -1): still a change of status. */
    if (!r && (mask == 0 || mask & ~(unsigned)ENG_SET_SIZE)) {
        op = txn_op(&txn, OP_ATTR);
        if (op) {
            op->ino = ino;
            op->mask = mask | (mask & ENG_SET_ATIME_NOW ? ENG_SET_ATIME : 0u) |
                       (mask & ENG_SET_MTIME_NOW ? ENG_SET_MTIME : 0u);
            op->mode = attr->mode;
            op->uid = attr->uid;
            op->gid = attr->gid;
            op->atime = mask & ENG_SET_ATIME_NOW ? now : attr->atime;
            op->mtime = mask & ENG_SET_MTIME_NOW ? now : attr->mtime;
            op->ctime = mask & ENG_SET_CTIME ? attr->ctime : now;
        } else {
            r = -ENOMEM;
        }
    }
    if (!r)
        r = commit_txn(eng, &txn);
    if (!r && mask & (ENG_SET_ATIME | ENG_SET_ATIME_NOW))
        atimes_drop(eng, ino);
    if (!r && ret_attr)
        attr_show(eng, ino_slot(ino), ret_attr);
    commit_end(eng);
    return r;
}

/* ---- creating and linking ----------------------------------------------------- */

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
    struct op *op = stage_name(txn, OP_LINK, parent, name, ino, time);
    if (op)
        op->cookie = eng->idx.s.next_cookie;
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
    op->ino = index_predict_ino(&eng->idx, 0);
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

/* Whether `name` may come into being in the directory. */
static int may_add(const struct eng *eng, uint64_t parent, const char *name, const struct inode_rec **ret_dir)
{
    int r = get_dir(eng, parent, ret_dir);
    if (!r)
        r = name_check(name);
    if (!r && !(*ret_dir)->nlink)
        r = -ENOENT; /* a removed directory takes no entries */
    if (!r && (is_dots(name) || index_find_name(&eng->idx, ino_slot(parent), name, strlen(name))))
        r = -EEXIST;
    return r;
}

/* Fills in and holds the entry that a call returns; under the log lock. */
static void give_entry(struct eng *eng, const struct eng_caller *who, uint64_t ino, struct eng_attr *ret_attr)
{
    if (ret_attr)
        attr_show(eng, ino_slot(ino), ret_attr);
    if (who && who->ref)
        (void)index_ref(&eng->idx, ino_slot(ino), 1);
}

static int create_once(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                       uint32_t mode, uint64_t rdev, const char *target, struct eng_attr *ret_attr)
{
    CLEANUP_TXN struct txn txn = {0};
    const struct inode_rec *dir;
    int64_t now = now_ns();
    int r = room_begin(eng);
    if (r)
        return r;
    r = name ? may_add(eng, parent, name, &dir) : get_dir(eng, parent, &dir);
    if (!r && !name && !dir->nlink)
        r = -ENOENT;
    if (!r)
        r = stage_create(eng, &txn, who, dir, mode, rdev, target, now);
    uint64_t ino = r ? 0 : txn.ops[0].ino;
    if (!r && name)
        r = stage_link(eng, &txn, parent, name, ino, now);
    if (!r)
        r = commit_txn(eng, &txn);
    if (!r)
        give_entry(eng, who, ino, ret_attr);
    commit_end(eng);
    return r;
}

int eng_create(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
               uint32_t mode, uint64_t rdev, const char *target, struct eng_attr *ret_attr)
{
    if (!eng)
        return -EINVAL;
    if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode) &&
        !S_ISBLK(mode) && !S_ISCHR(mode))
        return -EINVAL;
    if (!name && (!S_ISREG(mode) || !who || !who->ref)) /* nothing would keep it */
        return -EINVAL;
    if (S_ISLNK(mode) && (!target || !target[0] || strlen(target) > ENG_SYMLINK_MAX))
        return target && target[0] ? -ENAMETOOLONG : -ENOENT;
    target = S_ISLNK(mode) ? target : NULL;
    int r = create_once(eng, who, parent, name, mode, rdev, target, ret_attr);
    return r == -ENOSPC && room_make(eng, 0, false)
               ? create_once(eng, who, parent, name, mode, rdev, target, ret_attr)
               : r;
}

int eng_link(struct eng *eng, const struct eng_caller *who, uint64_t ino, uint64_t parent, const char *name,
             struct eng_attr *ret_attr)
{
    if (!eng || !name)
        return -EINVAL;
    CLEANUP_TXN struct txn txn = {0};
    const struct inode_rec *dir;
    int r = room_begin(eng);
    if (r)
        return r;
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    if (!inode)
        r = -ESTALE;
    else if (S_ISDIR(inode->mode))
        r = -EPERM;
    else if (inode->nlink >= ENG_LINK_MAX)
        r = -EMLINK;
    /* Without a name it lives by its references: one of ours keeps the batch that names it from freeing it.
     */
    bool unnamed = !r && !inode->nlink;
    if (unnamed && index_ref(&eng->idx, ino_slot(ino), 1) == 1)
        r = -ENOENT;
    if (!r)
        r = may_add(eng, parent, name, &dir);
    if (!r)
        r = stage_link(eng, &txn, parent, name, ino, now_ns());
    if (!r)
        r = commit_txn(eng, &txn);
    if (!r)
        give_entry(eng, who, ino, ret_attr);
    if (unnamed && index_ref(&eng->idx, ino_slot(ino), -1) == 0)
        free_if_unused(eng, ino);
    commit_end(eng);
    return r;
}

/* ---- removing ------------------------------------------------------------------- */

static int remove_name(struct eng *eng, uint64_t parent, const char *name, bool want_dir)
{
    CLEANUP_TXN struct txn txn = {0};
    uint32_t slot = 0;
    int r = room_begin(eng);
    if (r)
        return r;
    r = is_dots(name) ? (want_dir ? (name[1] ? -ENOTEMPTY : -EINVAL) : -EISDIR)
                      : get_child(eng, parent, name, &slot);
    if (!r) {
        const struct inode_rec *inode = index_slot(&eng->idx, slot);
        bool is_dir = S_ISDIR(inode->mode);
        r = is_dir && !want_dir     ? -EISDIR
            : !is_dir && want_dir   ? -ENOTDIR
            : is_dir && inode->size ? -ENOTEMPTY
                                    : 0;
    }
    uint64_t ino = r ? 0 : ino_of(eng, slot);
    if (!r)
        r = stage_unlink(&txn, parent, name, ino, now_ns());
    if (!r)
        r = commit_txn(eng, &txn);
    if (!r)
        free_if_unused(eng, ino);
    commit_end(eng);
    return r;
}

/* On a full disk removing works also when what was set aside for it is used up. */
static int remove_or_make_room(struct eng *eng, uint64_t parent, const char *name, bool want_dir)
{
    int r = remove_name(eng, parent, name, want_dir);
    return r == -ENOSPC && room_make(eng, 0, true) ? remove_name(eng, parent, name, want_dir) : r;
}

int eng_unlink(struct eng *eng, uint64_t parent, const char *name)
{
    if (!eng || !name)
        return -EINVAL;
    return remove_or_make_room(eng, parent, name, false);
}

int eng_rmdir(struct eng *eng, uint64_t parent, const char *name)
{
    if (!eng || !name)
        return -EINVAL;
    return remove_or_make_room(eng, parent, name, true);
}

/* ---- renaming ------------------------------------------------------------------- */

/* Whether directory `dir` is `top` or lies below it. */
static bool is_below(const struct eng *eng, uint32_t dir, uint32_t top)
{
    uint64_t steps = eng->idx.s.n_dirs; /* no path is longer: a damaged store must not hang us (I10) */
    while (dir && dir != top && dir != ENG_ROOT_INO && steps--)
        dir = index_parent(&eng->idx, dir);
    return dir == top;
}

struct rename {
    uint64_t from_dir, to_dir;
    const char *from, *to;
    unsigned flags;
    uint32_t src, dst; /* slots; dst 0: none */
};

static int rename_check(const struct eng *eng, struct rename *rn)
{
    const struct inode_rec *to_dir;
    if (is_dots(rn->from) || is_dots(rn->to))
        return rn->flags & ENG_RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    int r = get_child(eng, rn->from_dir, rn->from, &rn->src);
    if (!r)
        r = get_dir(eng, rn->to_dir, &to_dir);
    if (!r)
        r = name_check(rn->to);
    if (r)
        return r;
    r = get_child(eng, rn->to_dir, rn->to, &rn->dst);
    if (r == -ENOENT)
        r = rn->flags & ENG_RENAME_EXCHANGE || !to_dir->nlink ? -ENOENT : 0;
    else if (!r && rn->flags & ENG_RENAME_NOREPLACE)
        r = -EEXIST;
    if (r)
        return r;
    const struct inode_rec *src = index_slot(&eng->idx, rn->src), *dst = index_slot(&eng->idx, rn->dst);
    if (S_ISDIR(src->mode) && is_below(eng, ino_slot(rn->to_dir), rn->src))
        return -EINVAL;
    if (!dst)
        return 0;
    if (rn->flags & ENG_RENAME_EXCHANGE)
        return S_ISDIR(dst->mode) && is_below(eng, ino_slot(rn->from_dir), rn->dst) ? -EINVAL : 0;
    if (rn->src == rn->dst)
        return 0;
    if (S_ISDIR(dst->mode) && is_below(eng, ino_slot(rn->from_dir), rn->dst))
        return -ENOTEMPTY;
    if (S_ISDIR(src->mode) != S_ISDIR(dst->mode))
        return S_ISDIR(dst->mode) ? -EISDIR : -ENOTDIR;
    return S_ISDIR(dst->mode) && dst->size ? -ENOTEMPTY : 0;
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
    if (rn->flags & ENG_RENAME_EXCHANGE)
        return stage_repoint(txn, rn->from_dir, rn->from, dst, src, now);
    if (!(rn->flags & ENG_RENAME_WHITEOUT))
        return stage_unlink(txn, rn->from_dir, rn->from, src, now);
    const struct inode_rec *dir = index_inode(&eng->idx, rn->from_dir);
    r = stage_create(eng, txn, who, dir, S_IFCHR, 0, NULL, now); /* overlayfs reads 0:0 as "removed" */
    return r ? r : stage_repoint(txn, rn->from_dir, rn->from, txn->ops[txn->n_ops - 1].ino, src, now);
}

int eng_rename(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
               uint64_t new_parent, const char *new_name, unsigned flags)
{
    if (!eng || !name || !new_name)
        return -EINVAL;
    CLEANUP_TXN struct txn txn = {0};
    struct rename rn = {parent, new_parent, name, new_name, flags, 0, 0};
    if (flags & ~7u || ((flags & ENG_RENAME_EXCHANGE) && (flags & ~(unsigned)ENG_RENAME_EXCHANGE)))
        return -EINVAL;
    int r = room_begin(eng);
    if (r)
        return r;
    r = rename_check(eng, &rn);
    if (!r && rn.src != rn.dst) { /* two names of one file: nothing to do, says POSIX */
        uint64_t replaced = rn.dst ? ino_of(eng, rn.dst) : 0;
        r = rename_stage(eng, who, &rn, &txn);
        if (!r)
            r = commit_txn(eng, &txn);
        if (!r && replaced)
            free_if_unused(eng, replaced);
    }
    commit_end(eng);
    return r;
}

/* ---- reading names ---------------------------------------------------------------- */

ssize_t eng_readlink(struct eng *eng, uint64_t ino, char *buf, size_t size)
{
    if (!eng || (!buf && size))
        return -EINVAL;
    ssize_t n;
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    const char *target = inode && S_ISLNK(inode->mode)
                             ? names_get(&eng->idx.names, inode->target, (uint32_t)inode->size)
                             : NULL;
    if (!inode)
        n = -ESTALE;
    else if (!S_ISLNK(inode->mode))
        n = -EINVAL;
    else if (!target)
        n = -EBADMSG;
    else if (inode->size >= size)
        n = -ERANGE;
    else {
        n = (ssize_t)inode->size;
        memcpy(buf, target, (size_t)n);
        buf[n] = 0;
    }
    pthread_rwlock_unlock(&eng->index_lock);
    return n;
}

uint64_t eng_dir_mark(struct eng *eng)
{
    if (!eng)
        return 0;
    pthread_rwlock_rdlock(&eng->index_lock);
    uint64_t mark = eng->idx.s.next_cookie - 1;
    pthread_rwlock_unlock(&eng->index_lock);
    return mark;
}

struct listing {
    struct eng *eng;
    uint32_t dir;
    bool hold;
    int (*emit)(void *arg, const struct eng_dirent *entry);
    void *arg;
};

static int list_one(struct listing *l, uint32_t slot, const char *name, size_t len, uint64_t cookie,
                    bool hold)
{
    char copy[ENG_NAME_MAX + 1];
    struct eng_dirent entry = {.name = copy, .name_len = len, .cookie = cookie};
    if (!index_slot(&l->eng->idx, slot))
        return -EBADMSG;
    memcpy(copy, name, len);
    copy[len] = 0;
    attr_show(l->eng, slot, &entry.attr);
    if (l->emit(l->arg, &entry))
        return 1;
    if (hold)
        (void)index_ref(&l->eng->idx, slot, 1);
    return 0;
}

static int list_entry(void *arg, struct bkey key, const void *value)
{
    struct listing *l = arg;
    uint32_t d;
    if (key.a != l->dir)
        return 1;
    memcpy(&d, value, sizeof d);
    const struct dentry_rec *dentry = index_dentry(&l->eng->idx, d);
    const char *name = dentry ? names_get(&l->eng->idx.names, dentry->name, dentry->name_len) : NULL;
    if (!name || dentry->name_len > ENG_NAME_MAX)
        return -EBADMSG;
    return list_one(l, dentry->child, name, dentry->name_len, key.b, l->hold);
}

int eng_readdir(struct eng *eng, const struct eng_caller *who, uint64_t dir, uint64_t cookie,
                int (*emit)(void *arg, const struct eng_dirent *entry), void *arg)
{
    if (!eng || !emit)
        return -EINVAL;
    struct listing l = {eng, ino_slot(dir), who && who->ref, emit, arg};
    const struct inode_rec *inode;
    pthread_rwlock_rdlock(&eng->index_lock);
    int r = get_dir(eng, dir, &inode);
    if (!r && cookie < 1)
        r = list_one(&l, l.dir, ".", 1, 1, false);
    uint32_t parent = r ? 0 : index_parent(&eng->idx, l.dir);
    if (!r && cookie < 2)
        r = list_one(&l, parent ? parent : l.dir, "..", 2, 2, false);
    if (!r && cookie < UINT64_MAX)
        r = btree_scan(&eng->idx.dirs, (struct bkey){l.dir, MAX_OF(cookie, UINT64_C(2)) + 1}, list_entry, &l);
    pthread_rwlock_unlock(&eng->index_lock);
    return r > 0 ? 0 : r;
}

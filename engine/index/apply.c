/*
 * apply.c - what each op of the log does to the index. The same code serves
 * a live mutation (after its batch was written) and recovery, so that both lead to the same
 * index. Ops from disk are validated here (I10). Locking as index.h says. */
#include "index/apply.h"

#include "index/actors.h"
#include "index/extents.h"
#include "index/floor.h"
#include "index/moments.h"
#include "index/past.h"
#include "index/past_names.h"
#include "index/relocate.h"
#include "index/revert.h"
#include "index/xattr_list.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"

#include <string.h>
#include <sys/stat.h>

/* ---- helpers ------------------------------------------------------------ */

static struct inode_rec *inode_mut(struct index *idx, uint64_t ino)
{
    return index_inode(idx, ino) ? table_mut(&idx->inodes, ino_slot(ino)) : NULL;
}

static struct inode_rec *dir_mut(struct index *idx, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    return inode && S_ISDIR(inode->mode) ? table_mut(&idx->inodes, ino_slot(ino)) : NULL;
}

static uint64_t *type_counter(struct index *idx, uint32_t mode)
{
    if (S_ISREG(mode))
        return &idx->s.n_files;
    return S_ISDIR(mode) ? &idx->s.n_dirs : &idx->s.n_others;
}

/* Before and after its link count changes. */
static void count_nameless(struct index *idx, const struct inode_rec *inode, int by)
{
    idx->n_orphans += (uint64_t)(index_is_orphan(idx, inode) ? by : 0);
    index_count_kept(idx, inode, by);
}

/* Of a folder: within a batch it may have no name, and subfolders. */
static void count_subdir(struct index *idx, struct inode_rec *parent, int n)
{
    count_nameless(idx, parent, -1);
    parent->nlink += (uint32_t)n;
    count_nameless(idx, parent, 1);
}

/* A directory entry came (+1) or went (-1): link counts, times. A directory's link count is names +
 * subdirectories. */
static void count_link(struct index *idx, uint32_t dir, uint32_t child, int n, int64_t time)
{
    struct inode_rec *parent = table_mut(&idx->inodes, dir), *inode = table_mut(&idx->inodes, child);
    count_nameless(idx, inode, -1);
    inode->nlink += (uint32_t)n;
    count_nameless(idx, inode, 1);
    inode->ctime = time;
    if (S_ISDIR(inode->mode))
        count_subdir(idx, parent, n);
    parent->mtime = parent->ctime = time;
}

/* The inode has changed: unless the op says that its state goes on, that ended. `state` was its number. */
static void state_ends(struct index *idx, struct inode_rec *inode, const struct op *op, uint64_t state,
                       uint64_t seq)
{
    if (op->flags & OP_SAME)
        return;
    if (inode->past)
        past_amend(idx, inode, seq);
    else if (index_is_kept_whole(idx) && inode->nlink && state >> 16 < seq)
        idx->s.inexact = seq;
    if (!MUTANT(ACTOR_OF_FIRST))
        inode->actor = actors_now(idx, seq);
}

/* Content or xattrs have changed. */
static void state_moves(struct index *idx, struct inode_rec *inode, const struct op *op, uint64_t seq)
{
    uint64_t state = inode->state;
    inode->state = index_new_state(idx, seq);
    inode->flags &= ~(uint32_t)INODE_AMENDED;
    inode->flags |= op->flags & OP_SAME ? INODE_AMENDED : 0;
    state_ends(idx, inode, op, state, seq);
}

/* ---- inodes and names ---------------------------------------------------- */

static int apply_create(struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t fmt = op->mode & S_IFMT, slot = ino_slot(op->ino), reuse = (uint32_t)(op->ino >> 32);
    if (op->value_len > ENG_SYMLINK_MAX || (fmt == S_IFLNK && !op->value_len) ||
        (op->ino == ENG_ROOT_INO && fmt != S_IFDIR))
        return -EBADMSG;
    if (fmt != S_IFREG && fmt != S_IFDIR && fmt != S_IFLNK && fmt != S_IFIFO && fmt != S_IFSOCK &&
        fmt != S_IFBLK && fmt != S_IFCHR)
        return -EBADMSG;
    if (MUTANT(CREATE_IN_ORDER) && slot != table_predict(&idx->inodes, NULL))
        return -EBADMSG;
    if (index_claim(idx, op->ino, false) != 0)
        return -EBADMSG;
    struct inode_rec *inode = table_mut(&idx->inodes, slot);
    *inode = (struct inode_rec){.reuse = reuse,
                                .mode = op->mode,
                                .uid = op->uid,
                                .gid = op->gid,
                                .atime = op->time,
                                .mtime = op->time,
                                .ctime = op->time,
                                .btime = op->time,
                                .nlink = slot == ENG_ROOT_INO ? 1 : 0,
                                .generation = 1,
                                .state = index_new_state(idx, seq),
                                .actor = actors_now(idx, seq)};
    if (S_ISBLK(op->mode) || S_ISCHR(op->mode))
        inode->rdev = op->rdev;
    if (S_ISLNK(op->mode) && op->value_len) {
        inode->target = names_alloc(&idx->names, op->value_len);
        memcpy(names_mut(&idx->names, inode->target, op->value_len), op->value, op->value_len);
        inode->size = op->value_len;
    }
    ++*type_counter(idx, op->mode);
    idx->n_orphans += index_is_orphan(idx, inode); /* until its name comes */
    return 0;
}

static int apply_link(struct index *idx, const struct op *op)
{
    uint32_t dir = ino_slot(op->parent), child = ino_slot(op->ino);
    if (!dir_mut(idx, op->parent) || !inode_mut(idx, op->ino) ||
        !index_name_is_valid(op->name, op->name_len) || child == ENG_ROOT_INO || op->cookie < 3 ||
        op->cookie > COOKIE_MAX || index_find_name(idx, dir, op->name, op->name_len))
        return -EBADMSG;
    bool was_there = op->cookie < idx->s.next_cookie;
    idx->s.next_cookie = MAX_OF(idx->s.next_cookie, op->cookie + 1);
    int r = index_add_name(idx, dir, op->name, op->name_len, child, op->cookie);
    if (!r && was_there && idx->s.n_past_names)
        past_names_join(idx, index_slot(idx, child)->dentry);
    if (!r)
        count_link(idx, dir, child, 1, op->time);
    return r;
}

/* The name d ends, by that op. */
static int name_ends(struct index *idx, uint32_t d, const struct op *op, uint64_t seq)
{
    if (!(op->flags & OP_KEPT) && index_is_kept_whole(idx) && index_name_begin(idx, d) < seq)
        idx->s.inexact = seq;
    return past_names_changes(idx, op) ? past_names_end(idx, d, op, seq) : 0;
}

/* The name that ends by the op: where it was when somebody looked it up, as a rule. */
static uint32_t ending_name(const struct index *idx, uint32_t dir, const struct op *op)
{
    const struct dentry_rec *dentry = index_dentry(idx, (uint32_t)op->dentry);
    bool may_be = dentry && dentry->parent == dir && dentry->name_len == op->name_len;
    const void *text = may_be ? names_get(&idx->names, dentry->name, dentry->name_len) : NULL;
    if (text && memcmp(text, op->name, op->name_len) == 0)
        return (uint32_t)op->dentry;
    return index_find_name(idx, dir, op->name, op->name_len);
}

static int apply_unlink(struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t dir = ino_slot(op->parent), child = ino_slot(op->ino);
    uint32_t d = dir_mut(idx, op->parent) ? ending_name(idx, dir, op) : 0;
    const struct dentry_rec *dentry = index_dentry(idx, d);
    const struct inode_rec *inode = index_inode(idx, op->ino);
    if (!dentry || dentry->child != child || !inode || !inode->nlink)
        return -EBADMSG;
    int r = name_ends(idx, d, op, seq);
    if (!r)
        r = index_remove_name(idx, d);
    if (!r)
        count_link(idx, dir, child, -1, op->time);
    return r;
}

static int apply_repoint(struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t dir = ino_slot(op->parent), child = ino_slot(op->ino), old = ino_slot(op->other);
    uint32_t d = dir_mut(idx, op->parent) ? ending_name(idx, dir, op) : 0;
    const struct dentry_rec *dentry = index_dentry(idx, d);
    struct inode_rec *inode = inode_mut(idx, op->ino), *replaced = inode_mut(idx, op->other);
    if (!dentry || dentry->child != old || !inode || !replaced || !replaced->nlink)
        return -EBADMSG;
    int r = name_ends(idx, d, op, seq);
    if (r)
        return r;
    ((struct dentry_rec *)table_mut(&idx->dentries, d))->child = child;
    if (replaced->dentry == d)
        replaced->dentry = 0;
    inode->dentry = d;
    count_link(idx, dir, old, -1, op->time);
    count_link(idx, dir, child, 1, op->time);
    return 0;
}

static int apply_attr(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = inode_mut(idx, op->ino);
    if (!inode)
        return -EBADMSG;
    if (op->mask & ENG_SET_MODE)
        inode->mode = (inode->mode & S_IFMT) | (op->mode & 07777);
    if (op->mask & ENG_SET_UID)
        inode->uid = op->uid;
    if (op->mask & ENG_SET_GID)
        inode->gid = op->gid;
    if (op->mask & ENG_SET_ATIME)
        inode->atime = op->atime;
    if (op->mask & ENG_SET_MTIME)
        inode->mtime = op->mtime;
    inode->ctime = op->ctime;
    state_ends(idx, inode, op, inode->state, seq);
    return 0;
}

/* ---- xattrs ------------------------------------------------------------- */

/* A guard is of what there is now alone: no past state has it, or lacks it. */
static bool sets_guard(const struct op *op)
{
    return xattr_is_guard(op->name, op->name_len) && !MUTANT(GUARD_IN_STATE);
}

static void xattrs_changed(struct index *idx, struct inode_rec *inode, const struct op *op, uint64_t seq)
{
    if (sets_guard(op))
        return;
    inode->ctime = op->time;
    state_moves(idx, inode, op, seq);
}

/* Takes the xattr out of the inode's list: it goes to the past, or is freed. `gone`: none of that name comes.
 * 0, 1 not there, -EBADMSG. */
static int xattr_remove(struct index *idx, struct inode_rec *inode, const struct op *op, bool gone,
                        uint64_t seq)
{
    uint32_t before, x = index_find_xattr_behind(idx, inode, op->name, op->name_len, &before);
    struct xattr_view view;
    if (!x)
        return 1;
    if (!index_xattr(idx, x, &view))
        return -EBADMSG;
    xattr_take(idx, inode, before, &view);
    if (view.is_extent && index_is_kept(idx, inode))
        idx->kept.bytes -= view.loc.len;
    if (inode->past && !(op->flags & OP_NOT_FOR_PAST) && !sets_guard(op))
        return past_give_xattr(idx, inode, x, gone, seq);
    return xattr_free(idx, x, &view, seq);
}

static int apply_xattr(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = inode_mut(idx, op->ino);
    bool is_extent = op->type == OP_XATTR_EXTENT;
    if (!inode || !op->name_len || op->name_len > ENG_XATTR_NAME_MAX)
        return -EBADMSG;
    if (is_extent ? !index_locator_is_valid(idx, &op->loc) || op->loc.skip || op->loc.len != op->loc.ext_len
                  : op->value_len > XATTR_INLINE_MAX)
        return -EBADMSG;
    int r = xattr_remove(idx, inode, op, false, seq);
    if (r < 0)
        return r;
    if (r && inode->past && !(op->flags & OP_NOT_FOR_PAST) && !sets_guard(op))
        past_note_absent(idx, inode, op->name, op->name_len);
    const struct xattr_rec rec = {.name_len = op->name_len,
                                  .flags = is_extent ? XATTR_IS_EXTENT : 0,
                                  .value_len = is_extent ? op->loc.len : op->value_len};
    xattr_add(idx, inode, &rec, op->name, is_extent ? (const void *)&op->loc : op->value);
    if (is_extent && index_is_kept(idx, inode))
        idx->kept.bytes += op->loc.len;
    xattrs_changed(idx, inode, op, seq);
    return is_extent ? segment_account(idx, op->loc.seg, op->loc.len, op->loc.ext_len, 0) : 0;
}

static int apply_xattr_del(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = inode_mut(idx, op->ino);
    if (!inode || xattr_remove(idx, inode, op, true, seq) != 0)
        return -EBADMSG;
    xattrs_changed(idx, inode, op, seq);
    return 0;
}

/* ---- content ------------------------------------------------------------ */

static void content_changed(struct index *idx, struct inode_rec *inode, const struct op *op, uint64_t seq)
{
    /* The first op of a change has moved the state; where there is none, as when content is gathered in a
     * store without history, nothing has changed. */
    if (!(op->flags & OP_CONTINUES) || MUTANT(GATHER_MOVES_STATE))
        state_moves(idx, inode, op, seq);
    if (!(op->flags & OP_CONTINUES))
        inode->version++;
    inode->generation++;
    inode->mtime = inode->ctime = op->time;
}

static struct inode_rec *file_mut(struct index *idx, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    return inode && S_ISREG(inode->mode) ? table_mut(&idx->inodes, ino_slot(ino)) : NULL;
}

/* What the file has in [off, end) goes: to its past, or it is freed. `put`: something comes in its place. */
static int lose(struct index *idx, const struct inode_rec *inode, const struct op *op, uint64_t off,
                uint64_t end, bool put, uint64_t seq)
{
    if (inode->past && !(op->flags & OP_NOT_FOR_PAST))
        return past_give(idx, ino_slot(op->ino), off, end, put, seq);
    return extents_punch(idx, ino_slot(op->ino), off, end - off, seq);
}

/* ---- what a truncation leaves behind ---------------------------------------- */

/* Before the file grows to `end`: there are holes, not what was there before the truncation. */
static int tail_clear(struct index *idx, uint64_t ino, uint64_t end, uint64_t seq)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    if (!(inode->flags & INODE_TAIL) || end <= inode->size || MUTANT(TAIL_COMES_BACK))
        return 0;
    if (inode->flags & INODE_PAST_TAIL)
        return past_give(idx, ino_slot(ino), inode->size, end, false, seq);
    return extents_punch(idx, ino_slot(ino), inode->size, end - inode->size, seq);
}

/* Whether there is a tail, after extents or size have changed. */
static int tail_mark(struct index *idx, struct inode_rec *inode, uint32_t slot)
{
    uint64_t off;
    struct locator loc;
    int r = index_extent(idx, slot, inode->size, &off, &loc);
    inode->flags &= ~(uint32_t)INODE_TAIL;
    inode->flags |= !r ? INODE_TAIL : 0;
    if (r > 0 && inode->flags & INODE_PAST_TAIL)
        past_end_tail(idx, slot);
    return MIN_OF(r, 0);
}

/* Frees what of the extent at `off` lies behind it, and leaves those that follow. */
static int tail_cut(struct index *idx, const struct inode_rec *inode, const struct op *op, uint64_t off,
                    uint64_t seq)
{
    uint64_t at;
    struct locator loc;
    int r = index_extent(idx, ino_slot(op->ino), off, &at, &loc);
    if (r)
        return MIN_OF(r, 0);
    return at < off ? lose(idx, inode, op, off, at + loc.len, false, seq) : 0;
}

static int apply_truncate(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = file_mut(idx, op->ino);
    uint32_t slot = ino_slot(op->ino);
    if (!inode || op->len > ENG_FILE_SIZE_MAX || past_tail_in_way(inode, op->len))
        return -EBADMSG;
    bool leaves = op->flags & OP_LATER && op->len < inode->size && !(op->flags & OP_NOT_FOR_PAST);
    int r = 0;
    if (op->len > inode->size)
        r = tail_clear(idx, op->ino, op->len, seq);
    else if (op->flags & OP_LATER)
        r = tail_cut(idx, inode, op, op->len, seq);
    else if (op->len < inode->size || inode->flags & INODE_TAIL)
        r = lose(idx, inode, op, op->len, UINT64_MAX, false, seq);
    inode->size = op->len;
    if (!r)
        r = tail_mark(idx, inode, slot);
    if (leaves && inode->past && inode->flags & INODE_TAIL)
        past_begin_tail(idx, slot);
    content_changed(idx, inode, op, seq);
    return r;
}

/* Of an OP_REWRITE the range that differs from what was there, of an OP_EXTENT all. False: it cannot be. */
static bool rewritten(const struct inode_rec *inode, const struct op *op, uint64_t end, uint64_t *ret_from,
                      uint64_t *ret_to)
{
    *ret_from = op->type == OP_REWRITE ? op->from : op->off;
    *ret_to = op->type == OP_REWRITE ? op->to : end;
    bool grows = end > inode->size; /* only by what is new */
    return op->off <= *ret_from && *ret_from <= *ret_to && *ret_to <= end && (!grows || *ret_to == end) &&
           (*ret_from <= inode->size || *ret_from == op->off);
}

/* What lies in the place of an extent to come goes; what is the same in it is not the past's. */
static int make_place(struct index *idx, const struct inode_rec *inode, const struct op *op, uint64_t end,
                      uint64_t from, uint64_t to, uint64_t seq)
{
    uint32_t slot = ino_slot(op->ino);
    int r = tail_clear(idx, op->ino, end, seq);
    if (!r && from < to)
        r = lose(idx, inode, op, from, to, true, seq);
    if (!r && op->off < from)
        r = extents_punch(idx, slot, op->off, from - op->off, seq);
    return r || to >= end ? r : extents_punch(idx, slot, to, end - to, seq);
}

/* OP_EXTENT, OP_REWRITE. */
static int apply_extent(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = file_mut(idx, op->ino);
    uint64_t end, from, to;
    if (!inode || !index_locator_is_valid(idx, &op->loc) || op->loc.skip || op->loc.len != op->loc.ext_len ||
        __builtin_add_overflow(op->off, op->loc.len, &end) || end > ENG_FILE_SIZE_MAX ||
        !rewritten(inode, op, end, &from, &to))
        return -EBADMSG;
    bool has_tail = inode->flags & INODE_TAIL;
    int r = segment_account(idx, op->loc.seg, 0, op->loc.ext_len, 0);
    if (!r)
        r = make_place(idx, inode, op, end, from, to, seq);
    if (!r)
        r = extents_put(idx, ino_slot(op->ino), op->off, &op->loc);
    inode->size = MAX_OF(inode->size, end);
    if (!r && has_tail)
        r = tail_mark(idx, inode, ino_slot(op->ino));
    if (from < to)
        content_changed(idx, inode, op, seq);
    return r;
}

static int apply_punch(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = file_mut(idx, op->ino);
    uint64_t off = op->off, end;
    if (!inode)
        return -EBADMSG;
    if (__builtin_add_overflow(off, op->len, &end))
        end = UINT64_MAX;
    if (op->flags & OP_LATER) /* the file may have grown since in this very batch */
        off = MAX_OF(off, inode->size);
    bool has_tail = inode->flags & INODE_TAIL;
    int r = off < end ? lose(idx, inode, op, off, end, false, seq) : 0;
    if (!r && has_tail)
        r = tail_mark(idx, inode, ino_slot(op->ino));
    if (!(op->flags & OP_LATER))
        content_changed(idx, inode, op, seq);
    return r;
}

static int apply_revert(struct index *idx, const struct op *op, uint64_t seq)
{
    int r = revert_apply(idx, op, seq);
    if (!r)
        content_changed(idx, index_slot_mut(idx, ino_slot(op->ino)), op, seq);
    return r;
}

/* ---- the rest ----------------------------------------------------------------- */

/* Nothing leads to it any more, and from it only what goes with it. */
static bool may_free(const struct index *idx, const struct inode_rec *inode, uint32_t slot)
{
    if (inode->nlink || inode->past || slot == ENG_ROOT_INO ||
        !(index_is_orphan(idx, inode) || MUTANT(PAST_NAME_FREED)))
        return false;
    return !S_ISDIR(inode->mode) || (!inode->size && !index_has_past_names(idx, slot));
}

static int apply_free(struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t slot = ino_slot(op->ino);
    struct inode_rec *inode = inode_mut(idx, op->ino);
    struct xattr_view view;
    if (!inode || !may_free(idx, inode, slot))
        return -EBADMSG;
    int r = extents_punch(idx, slot, 0, UINT64_MAX, seq);
    uint32_t x = inode->xattrs;
    for (uint32_t n = 0; !r && n < XATTRS_MAX && x && index_xattr(idx, x, &view); n++) {
        r = xattr_free(idx, x, &view, seq);
        x = view.next;
    }
    if (S_ISLNK(inode->mode))
        names_free_cells(&idx->names, inode->target, (uint32_t)inode->size);
    --*type_counter(idx, inode->mode);
    idx->n_orphans--;
    index_free_slot(idx, slot);
    return r;
}

/* Survivors hold no metadata, so I4 has no batch of theirs to wait for: last_seq stays 0. */
static int apply_segment(struct index *idx, const struct op *op)
{
    uint32_t id = (uint32_t)op->ino;
    const struct seg_rec *known = index_segment(idx, id);
    if (op->ino == 0 || op->ino > UINT32_MAX || op->len > INT64_MAX ||
        (known && known->kind != SEGMENT_SURVIVORS))
        return -EBADMSG;
    index_put_segment(idx, id, SEGMENT_SURVIVORS, 0);
    return segment_account(idx, id, 0, (int64_t)op->len, 0);
}

static int apply_op(struct index *idx, const struct op *op, uint64_t seq)
{
    switch (op->type) {
    case OP_CREATE:
        return apply_create(idx, op, seq);
    case OP_LINK:
        return apply_link(idx, op);
    case OP_UNLINK:
        return apply_unlink(idx, op, seq);
    case OP_REPOINT:
        return apply_repoint(idx, op, seq);
    case OP_ATTR:
        return apply_attr(idx, op, seq);
    case OP_TRUNCATE:
        return apply_truncate(idx, op, seq);
    case OP_EXTENT:
    case OP_REWRITE:
        return apply_extent(idx, op, seq);
    case OP_PUNCH:
        return apply_punch(idx, op, seq);
    case OP_REVERT:
        return apply_revert(idx, op, seq);
    case OP_XATTR_SET:
    case OP_XATTR_EXTENT:
        return apply_xattr(idx, op, seq);
    case OP_XATTR_DEL:
        return apply_xattr_del(idx, op, seq);
    case OP_RELOCATE:
        return relocate(idx, op, seq);
    case OP_FREE:
        return apply_free(idx, op, seq);
    case OP_SEGMENT:
        return apply_segment(idx, op);
    case OP_BY:
        return actors_by(idx, op, seq);
    case OP_KEEP:
        return past_keep(idx, op, seq);
    case OP_DROP:
        return past_drop(idx, op, seq);
    case OP_DROP_NAME:
        return past_names_drop(idx, op);
    case OP_MOMENT:
        return moments_begin(idx, op, seq);
    case OP_SNAPSHOT:
        return moments_snapshot(idx, op, seq);
    case OP_SNAPSHOT_NAME:
        return moments_name(idx, op);
    case OP_FLOOR:
        return floor_apply(idx, op, seq);
    case OP_THIN:
        return floor_thin(idx, op, seq);
    default:
        return -EBADMSG;
    }
}

int index_apply(struct index *idx, const struct op *op, uint64_t seq)
{
    pool_insists = true;
    int r = apply_op(idx, op, seq);
    pool_insists = false;
    return r;
}

int index_apply_next(struct index *idx, const struct op *ops, size_t n, uint64_t seq, size_t *ret_n,
                     size_t *ret_lost)
{
    pool_insists = true;
    *ret_n = 1;
    *ret_lost = 0;
    int r = relocate_moves_xattr(ops) ? relocate_xattrs(idx, ops, n, seq, ret_n, ret_lost)
                                      : apply_op(idx, ops, seq);
    if (r > 0 && ops->type == OP_RELOCATE)
        *ret_lost = 1;
    pool_insists = false;
    return MIN_OF(r, 0);
}

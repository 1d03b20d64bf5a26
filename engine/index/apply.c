/*
 * apply.c - what each op of the log does to the index. The same code serves
 * a live mutation (after its batch was written) and recovery, so that both lead to the same
 * index. Ops from disk are validated here (I10). Locking as index.h says. */
#include "index/apply.h"

#include "index/extents.h"
#include "index/past_names.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"

#include <string.h>
#include <sys/stat.h>

/* ---- memory ------------------------------------------------------------- */

/* What ops may take beyond what is there: an op that only removes takes nothing, so that it works also where
 * nothing more goes in. */
struct need {
    uint32_t inodes, dentries, extents, segments;
    struct names_need names;
    struct past_need past;
    uint64_t copies; /* chunks that a freeze sees */
};

void index_op_range(const struct index *idx, const struct op *op, uint64_t *ret_from, uint64_t *ret_end)
{
    const struct inode_rec *inode = index_inode(idx, op->ino);
    uint64_t from = op->off, end = UINT64_MAX;
    if (op->type == OP_FREE) {
        from = 0;
    } else if (op->type == OP_TRUNCATE) {
        from = op->len;
        end = op->flags & OP_LATER ? from + 1 : end;
    } else {
        (void)__builtin_add_overflow(from, op->type == OP_PUNCH ? op->len : op->loc.len, &end);
        end = end < from ? UINT64_MAX : end;
    }
    if (inode && inode->flags & INODE_TAIL && (op->type == OP_TRUNCATE || op->type == OP_EXTENT))
        from = MIN_OF(from, inode->size); /* the file may grow over what a truncation has left */
    *ret_from = from;
    *ret_end = end;
}

/* Extents and xattrs that the op may take out of the index, or cut: not those that it adds. */
struct taken {
    uint32_t extents, xattrs;
};

static struct taken taken_by(const struct index *idx, const struct op *op)
{
    const struct inode_rec *inode = index_inode(idx, op->ino);
    struct taken taken = {0};
    uint64_t from, end;
    bool cuts =
        op->type == OP_FREE || op->type == OP_TRUNCATE || op->type == OP_PUNCH || op->type == OP_EXTENT;
    if (!inode || !cuts)
        return taken;
    index_op_range(idx, op, &from, &end);
    if (extents_count(idx, ino_slot(op->ino), from, end, UINT32_MAX, &taken.extents, &end))
        taken.extents = inode_n_extents(inode);
    if (op->type == OP_FREE)
        taken.xattrs = index_count_xattrs(idx, inode, XATTRS_MAX);
    return taken;
}

/* Chunks that the op changes for what it takes, beside those for itself: leaves of extents and what leads to
 * them, cells of xattrs and of those before them, records of segments. */
static uint64_t copies_of_content(const struct index *idx, const struct op *op)
{
    struct taken taken = taken_by(idx, op);
    uint64_t extents = taken.extents, xattrs = taken.xattrs;
    if (MUTANT(ALL_RESERVED) && op->type == OP_PUNCH)
        return 2 * (uint64_t)inode_n_extents(index_inode(idx, op->ino));
    return MIN_OF(2 * extents, idx->extents.nodes.n_chunks) + MIN_OF(2 * xattrs, idx->names.cells.n_chunks) +
           MIN_OF(extents + xattrs, idx->segs.n_chunks);
}

static void add_need(struct need *need, const struct op *op)
{
    uint32_t xattr = (uint32_t)sizeof(struct xattr_rec) + op->name_len;
    switch (op->type) {
    case OP_CREATE:
        need->inodes++;
        names_need(&need->names, op->value_len);
        break;
    case OP_LINK:
        need->dentries++;
        names_need(&need->names, op->name_len);
        break;
    case OP_XATTR_SET:
        names_need(&need->names, xattr + op->value_len);
        break;
    case OP_XATTR_EXTENT:
        names_need(&need->names, xattr + (uint32_t)sizeof op->loc);
        break;
    case OP_EXTENT:
    case OP_PUNCH:
    case OP_TRUNCATE:
    case OP_RELOCATE:
        need->extents += 3; /* what is cut in two, what is put, and the one that stood in the inode */
        break;
    case OP_SEGMENT:
        need->segments++;
        break;
    default:
        break;
    }
}

static int reserve_tables(struct index *idx, const struct need *need)
{
    int r = table_reserve(&idx->inodes, need->inodes);
    if (!r)
        r = table_reserve(&idx->inode_refs, need->inodes);
    if (!r)
        r = table_reserve(&idx->dentries, need->dentries);
    if (!r)
        r = table_reserve(&idx->buckets, need->dentries ? need->dentries + 1 : 0);
    if (!r)
        r = index_reserve_segments(idx, need->segments);
    if (!r)
        r = names_reserve(&idx->names, &need->names);
    if (!r && need->dentries)
        r = btree_reserve(&idx->dirs, need->dentries + 1);
    if (!r && need->extents)
        r = btree_reserve(&idx->extents, need->extents + 1);
    return r || !need->past.texts ? r : past_names_reserve(idx, &need->past);
}

int index_reserve(struct index *idx, const struct op *ops, size_t n)
{
    struct need need = {0};
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++) {
        add_need(&need, &ops[i]);
        if (past_names_changes(idx, &ops[i]))
            past_names_need(&ops[i], &need.past);
    }
    if (idx->n_freezes) {
        for (unsigned i = 0; i < INDEX_TABLES; i++)
            all += index_table(idx, i)->n_chunks;
        /* two tree paths, inodes, dentries of a split bucket, names, segments */
        for (size_t i = 0; i < n && need.copies < all; i++) {
            need.copies += 40 + copies_of_content(idx, &ops[i]);
            need.copies += past_names_changes(idx, &ops[i]) ? past_names_copies(idx) : 0;
        }
    }
    int r = chunk_pool_reserve(idx->pool, 16 + n + MIN_OF(need.copies, all));
    if (!r)
        r = chunk_pool_reserve(idx->ref_pool, 1 + n / 1024);
    return r ? r : reserve_tables(idx, &need);
}

/* Of a tree: the nodes from the root to a leaf, and at each level one that is merged or split. */
static uint64_t path_changes(const struct btree *t)
{
    return UINT64_C(2) * t->depth;
}

void index_changes(const struct index *idx, const struct op *ops, size_t n, uint64_t ret_chunks[INDEX_TABLES])
{
    memset(ret_chunks, 0, INDEX_TABLES * sizeof *ret_chunks);
    for (size_t i = 0; i < n; i++) {
        const struct op *op = &ops[i];
        struct taken taken = taken_by(idx, op);
        uint64_t content = (uint64_t)taken.extents + taken.xattrs;
        ret_chunks[TABLE_INODES] += 2;             /* and that of the directory */
        ret_chunks[TABLE_NAMES] += 2 + content;    /* the place, and what leads to it */
        ret_chunks[TABLE_SEGMENTS] += 1 + content; /* and that of the batch */
        if (content)
            ret_chunks[TABLE_EXTENTS] += path_changes(&idx->extents) + content;
        if (past_names_changes(idx, op)) {
            ret_chunks[TABLE_PAST_NAMES] += PAST_NAME_RECORDS;
            ret_chunks[TABLE_PAST_ORDER] += path_changes(&idx->past_order);
            ret_chunks[TABLE_PAST_LOOKUP] += 2 * path_changes(&idx->past_lookup);
            ret_chunks[TABLE_DENTRIES] += 1;
        }
        if (op->type != OP_LINK && op->type != OP_UNLINK && op->type != OP_REPOINT)
            continue;
        ret_chunks[TABLE_DENTRIES] += 2;
        ret_chunks[TABLE_BUCKETS] += 1;
        ret_chunks[TABLE_DIRS] += path_changes(&idx->dirs);
    }
}

/* ---- helpers ------------------------------------------------------------ */

static bool name_valid(const char *name, uint32_t len)
{
    return len > 0 && len <= ENG_NAME_MAX && !memchr(name, '/', len) && !memchr(name, 0, len) &&
           !(len == 1 && name[0] == '.') && !(len == 2 && name[0] == '.' && name[1] == '.');
}

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

static bool locator_valid(const struct index *idx, const struct locator *loc)
{
    return loc->len && loc->ext_len <= EXTENT_MAX && loc->skip < loc->ext_len &&
           loc->len <= loc->ext_len - loc->skip && index_segment(idx, loc->seg);
}

/* A directory entry came (+1) or went (-1): link counts, times. A directory's link count is names +
 * subdirectories. */
static void count_link(struct index *idx, uint32_t dir, uint32_t child, int n, int64_t time)
{
    struct inode_rec *parent = table_mut(&idx->inodes, dir), *inode = table_mut(&idx->inodes, child);
    idx->n_orphans -= index_is_orphan(idx, inode);
    inode->nlink += (uint32_t)n;
    idx->n_orphans += index_is_orphan(idx, inode);
    inode->ctime = time;
    if (S_ISDIR(inode->mode))
        parent->nlink += (uint32_t)n;
    parent->mtime = parent->ctime = time;
}

/* ---- inodes and names ---------------------------------------------------- */

static int apply_create(struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t fmt = op->mode & S_IFMT, slot = ino_slot(op->ino), reuse = (uint32_t)(op->ino >> 32);
    if (reuse < table_kept_word(&idx->inodes, slot) || reuse > INO_REUSE_MAX ||
        op->value_len > ENG_SYMLINK_MAX || (fmt == S_IFLNK && !op->value_len) ||
        (op->ino == ENG_ROOT_INO && fmt != S_IFDIR))
        return -EBADMSG;
    if (fmt != S_IFREG && fmt != S_IFDIR && fmt != S_IFLNK && fmt != S_IFIFO && fmt != S_IFSOCK &&
        fmt != S_IFBLK && fmt != S_IFCHR)
        return -EBADMSG;
    if (MUTANT(CREATE_IN_ORDER) && slot != table_predict(&idx->inodes, NULL))
        return -EBADMSG;
    if (table_claim(&idx->inodes, slot) != 0) /* I1: one that is in use, or was retired, is not free */
        return -EBADMSG;
    while (idx->inode_refs.used <= slot)
        table_alloc(&idx->inode_refs);
    *(uint32_t *)table_mut(&idx->inode_refs, slot) = 0;
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
                                .state = index_new_state(idx, seq)};
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
    if (!dir_mut(idx, op->parent) || !inode_mut(idx, op->ino) || !name_valid(op->name, op->name_len) ||
        child == ENG_ROOT_INO || op->cookie < 3 || op->cookie > COOKIE_MAX ||
        index_find_name(idx, dir, op->name, op->name_len))
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

static int apply_unlink(struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t dir = ino_slot(op->parent), child = ino_slot(op->ino);
    uint32_t d = dir_mut(idx, op->parent) ? index_find_name(idx, dir, op->name, op->name_len) : 0;
    const struct dentry_rec *dentry = index_dentry(idx, d);
    const struct inode_rec *inode = index_inode(idx, op->ino);
    if (!dentry || dentry->child != child || !inode || !inode->nlink)
        return -EBADMSG;
    int r = past_names_changes(idx, op) ? past_names_end(idx, d, op, seq) : 0;
    if (!r)
        r = index_remove_name(idx, d);
    if (!r)
        count_link(idx, dir, child, -1, op->time);
    return r;
}

static int apply_repoint(struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t dir = ino_slot(op->parent), child = ino_slot(op->ino), old = ino_slot(op->other);
    uint32_t d = dir_mut(idx, op->parent) ? index_find_name(idx, dir, op->name, op->name_len) : 0;
    const struct dentry_rec *dentry = index_dentry(idx, d);
    struct inode_rec *inode = inode_mut(idx, op->ino), *replaced = inode_mut(idx, op->other);
    if (!dentry || dentry->child != old || !inode || !replaced || !replaced->nlink)
        return -EBADMSG;
    int r = past_names_changes(idx, op) ? past_names_end(idx, d, op, seq) : 0;
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

static int apply_attr(struct index *idx, const struct op *op)
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
    return 0;
}

/* ---- xattrs ------------------------------------------------------------- */

/* Takes the xattr out of the inode's list and frees it. 0, 1 not there, -EBADMSG. */
static int xattr_remove(struct index *idx, struct inode_rec *inode, const char *name, uint32_t name_len,
                        uint64_t seq)
{
    uint32_t x = index_find_xattr(idx, inode, name, name_len);
    struct xattr_view view, prev;
    if (!x)
        return 1;
    if (!index_xattr(idx, x, &view))
        return -EBADMSG;
    if (inode->xattrs == x) {
        inode->xattrs = view.next;
    } else {
        uint32_t at = inode->xattrs;
        while (index_xattr(idx, at, &prev) && prev.next != x)
            at = prev.next;
        memcpy(names_mut(&idx->names, at, 4), &view.next, 4); /* xattr_rec.next */
    }
    int r = view.is_extent ? segment_account(idx, view.loc.seg, -(int64_t)view.loc.len, 0, seq) : 0;
    names_free_cells(&idx->names, x, xattr_stored_size(&view));
    idx->n_taken++;
    return r;
}

static int apply_xattr(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = inode_mut(idx, op->ino);
    bool is_extent = op->type == OP_XATTR_EXTENT;
    if (!inode || !op->name_len || op->name_len > ENG_XATTR_NAME_MAX)
        return -EBADMSG;
    if (is_extent ? !locator_valid(idx, &op->loc) || op->loc.skip || op->loc.len != op->loc.ext_len
                  : op->value_len > XATTR_INLINE_MAX)
        return -EBADMSG;
    int r = xattr_remove(idx, inode, op->name, op->name_len, seq);
    if (r < 0)
        return r;
    struct xattr_rec rec = {.next = inode->xattrs,
                            .name_len = op->name_len,
                            .flags = is_extent ? XATTR_IS_EXTENT : 0,
                            .value_len = is_extent ? op->loc.len : op->value_len};
    const void *stored = is_extent ? (const void *)&op->loc : op->value;
    uint32_t stored_len = is_extent ? (uint32_t)sizeof op->loc : op->value_len;
    uint32_t size = (uint32_t)sizeof rec + rec.name_len + stored_len;
    uint32_t x = names_alloc(&idx->names, size);
    uint8_t *p = names_mut(&idx->names, x, size);
    memcpy(p, &rec, sizeof rec);
    memcpy(p + sizeof rec, op->name, rec.name_len);
    if (stored_len)
        memcpy(p + sizeof rec + rec.name_len, stored, stored_len);
    inode->xattrs = x;
    inode->ctime = op->time;
    inode->state = index_new_state(idx, seq);
    return is_extent ? segment_account(idx, op->loc.seg, op->loc.len, op->loc.ext_len, 0) : 0;
}

static int apply_xattr_del(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = inode_mut(idx, op->ino);
    if (!inode || xattr_remove(idx, inode, op->name, op->name_len, seq) != 0)
        return -EBADMSG;
    inode->ctime = op->time;
    inode->state = index_new_state(idx, seq);
    return 0;
}

/* ---- content ------------------------------------------------------------ */

static void content_changed(struct index *idx, struct inode_rec *inode, const struct op *op, uint64_t seq)
{
    inode->state = index_new_state(idx, seq);
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

/* ---- what a truncation leaves behind ---------------------------------------- */

/* Before the file grows to `end`: there are holes, not what was there before the truncation. */
static int tail_clear(struct index *idx, uint64_t ino, uint64_t end, uint64_t seq)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    if (!(inode->flags & INODE_TAIL) || end <= inode->size || MUTANT(TAIL_COMES_BACK))
        return 0;
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
    return MIN_OF(r, 0);
}

/* Frees what of the extent at `off` lies behind it, and leaves those that follow. */
static int tail_cut(struct index *idx, uint32_t slot, uint64_t off, uint64_t seq)
{
    uint64_t at;
    struct locator loc;
    int r = index_extent(idx, slot, off, &at, &loc);
    if (r)
        return MIN_OF(r, 0);
    return at < off ? extents_punch(idx, slot, off, at + loc.len - off, seq) : 0;
}

static int apply_truncate(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = file_mut(idx, op->ino);
    uint32_t slot = ino_slot(op->ino);
    if (!inode || op->len > ENG_FILE_SIZE_MAX)
        return -EBADMSG;
    int r = 0;
    if (op->len > inode->size)
        r = tail_clear(idx, op->ino, op->len, seq);
    else if (op->flags & OP_LATER)
        r = tail_cut(idx, slot, op->len, seq);
    else if (op->len < inode->size || inode->flags & INODE_TAIL)
        r = extents_punch(idx, slot, op->len, UINT64_MAX, seq);
    inode->size = op->len;
    if (!r)
        r = tail_mark(idx, inode, slot);
    content_changed(idx, inode, op, seq);
    return r;
}

static int apply_extent(struct index *idx, const struct op *op, uint64_t seq)
{
    struct inode_rec *inode = file_mut(idx, op->ino);
    uint64_t end;
    if (!inode || !locator_valid(idx, &op->loc) || op->loc.skip || op->loc.len != op->loc.ext_len ||
        __builtin_add_overflow(op->off, op->loc.len, &end) || end > ENG_FILE_SIZE_MAX)
        return -EBADMSG;
    bool has_tail = inode->flags & INODE_TAIL;
    int r = segment_account(idx, op->loc.seg, 0, op->loc.ext_len, 0);
    if (!r)
        r = tail_clear(idx, op->ino, end, seq);
    if (!r)
        r = extents_punch(idx, ino_slot(op->ino), op->off, op->loc.len, seq);
    if (!r)
        r = extents_put(idx, ino_slot(op->ino), op->off, &op->loc);
    inode->size = MAX_OF(inode->size, end);
    if (!r && has_tail)
        r = tail_mark(idx, inode, ino_slot(op->ino));
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
    int r = off < end ? extents_punch(idx, ino_slot(op->ino), off, end - off, seq) : 0;
    if (!r && has_tail)
        r = tail_mark(idx, inode, ino_slot(op->ino));
    if (!(op->flags & OP_LATER))
        content_changed(idx, inode, op, seq);
    return r;
}

/* ---- relocations ------------------------------------------------------------ */

static int move_xattr(struct index *idx, const struct xattr_walk *walk, const struct op *op, uint64_t seq)
{
    const struct xattr_view *view = &walk->xattr;
    uint8_t *p = names_mut(&idx->names, walk->handle, xattr_stored_size(view));
    memcpy(p + sizeof(struct xattr_rec) + view->name_len, &op->loc, sizeof op->loc);
    int r = segment_account(idx, view->loc.seg, -(int64_t)view->loc.len, 0, seq);
    return r ? r : segment_account(idx, op->loc.seg, op->loc.len, 0, 0);
}

static int by_inode_and_place(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a, *y = *(const struct op *const *)b;
    if (x->ino != y->ino)
        return x->ino < y->ino ? -1 : 1;
    int order = locator_order(&x->old, &y->old);
    return order ? order : (x > y) - (x < y);
}

/* Which of the relocations of one inode, sorted, is of what lies there (I3); n: none. */
static size_t find_relocation(const struct op *const *ops, size_t n, const struct locator *loc)
{
    size_t at = 0, end = n;
    while (at < end && !MUTANT(BLIND_INSTALL)) {
        size_t mid = (at + end) / 2;
        if (locator_order(&ops[mid]->old, loc) < 0)
            at = mid + 1;
        else
            end = mid;
    }
    return at < n && (locator_equal(&ops[at]->old, loc) || MUTANT(BLIND_INSTALL)) ? at : n;
}

/* All of one inode, by one walk along its list. What is left of `ops` then was lost. */
static int relocate_xattrs_of(struct index *idx, const struct op **ops, size_t *n, uint64_t seq)
{
    uint64_t ino = ops[0]->ino;
    const struct inode_rec *inode = index_inode(idx, ino);
    struct xattr_walk walk = {.next = inode ? inode->xattrs : 0};
    int r = 0;
    while (*n && !r && index_next_xattr(idx, &walk)) {
        size_t i = walk.xattr.is_extent ? find_relocation(ops, *n, &walk.xattr.loc) : *n;
        if (i == *n)
            continue;
        r = move_xattr(idx, &walk, ops[i], seq);
        ((struct inode_rec *)table_mut(&idx->inodes, ino_slot(ino)))->generation++;
        memmove(ops + i, ops + i + 1, (--*n - i) * sizeof *ops);
    }
    return r;
}

static bool moves_xattr(const struct op *op)
{
    return op->type == OP_RELOCATE && op->off == EXTENT_XATTR_OFF;
}

static int relocation_check(const struct index *idx, const struct op *op)
{
    return locator_valid(idx, &op->loc) && op->loc.len == op->old.len ? 0 : -EBADMSG;
}

#define MOVED_AT_ONCE 256u

/* Those that the ops begin with, some at most; *ret_n of them, of which *ret_lost found something else. No
 * two have to do with the same xattr, so that their order is free. */
static int relocate_xattrs(struct index *idx, const struct op *ops, size_t max, uint64_t seq, size_t *ret_n,
                           size_t *ret_lost)
{
    const struct op *sorted[MOVED_AT_ONCE];
    size_t n = 0, lost = 0;
    bool is_sorted = true;
    int r = 0;
    max = MIN_OF(max, MUTANT(WALKED_FOR_EACH) ? 1 : (size_t)MOVED_AT_ONCE);
    for (; !r && n < max && moves_xattr(&ops[n]); n++) {
        r = relocation_check(idx, &ops[n]);
        sorted[n] = &ops[n];
        is_sorted = is_sorted && (!n || by_inode_and_place(&sorted[n - 1], &sorted[n]) < 0);
    }
    if (!is_sorted) /* refs are in order of place: those of one file alone are */
        qsort(sorted, n, sizeof *sorted, by_inode_and_place);
    for (size_t at = 0, end; !r && at < n; at = end) {
        for (end = at; end < n && sorted[end]->ino == sorted[at]->ino;)
            end++;
        size_t left = end - at;
        r = relocate_xattrs_of(idx, sorted + at, &left, seq);
        lost += left;
    }
    *ret_n = n;
    *ret_lost = lost;
    return r;
}

static int apply_relocate(struct index *idx, const struct op *op, uint64_t seq)
{
    size_t n, lost;
    int r = relocation_check(idx, op);
    if (r)
        return r;
    if (moves_xattr(op)) {
        r = relocate_xattrs(idx, op, 1, seq, &n, &lost);
        return r ? r : (int)lost;
    }
    if (!index_inode(idx, op->ino))
        return 1;
    return extents_move(idx, ino_slot(op->ino), op->off, &op->old, &op->loc, seq);
}

/* Nothing leads to it any more, and from it only what goes with it. */
static bool may_free(const struct index *idx, const struct inode_rec *inode, uint32_t slot)
{
    if (inode->nlink || slot == ENG_ROOT_INO || !(index_is_orphan(idx, inode) || MUTANT(PAST_NAME_FREED)))
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
    for (uint32_t n = 0; !r && n < XATTRS_MAX && inode->xattrs && index_xattr(idx, inode->xattrs, &view); n++)
        r = xattr_remove(idx, inode, view.name, view.name_len, seq);
    if (S_ISLNK(inode->mode))
        names_free_cells(&idx->names, inode->target, (uint32_t)inode->size);
    --*type_counter(idx, inode->mode);
    idx->n_orphans--;
    uint32_t reuse = inode->reuse + 1;
    *inode = (struct inode_rec){.reuse = reuse};
    if (reuse <= INO_REUSE_MAX)
        table_free_record(&idx->inodes, slot);
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
        return apply_attr(idx, op);
    case OP_TRUNCATE:
        return apply_truncate(idx, op, seq);
    case OP_EXTENT:
        return apply_extent(idx, op, seq);
    case OP_PUNCH:
        return apply_punch(idx, op, seq);
    case OP_XATTR_SET:
    case OP_XATTR_EXTENT:
        return apply_xattr(idx, op, seq);
    case OP_XATTR_DEL:
        return apply_xattr_del(idx, op, seq);
    case OP_RELOCATE:
        return apply_relocate(idx, op, seq);
    case OP_FREE:
        return apply_free(idx, op, seq);
    case OP_SEGMENT:
        return apply_segment(idx, op);
    case OP_DROP_NAME:
        return past_names_drop(idx, op);
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
    int r = moves_xattr(ops) ? relocate_xattrs(idx, ops, n, seq, ret_n, ret_lost) : apply_op(idx, ops, seq);
    if (r > 0 && ops->type == OP_RELOCATE)
        *ret_lost = 1;
    pool_insists = false;
    return MIN_OF(r, 0);
}

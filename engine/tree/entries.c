/*
 * entries.c - see entries.h. Also eng_lookup(), eng_path(), eng_readdir(), eng_dir_mark(), eng_readlink(). */
#include "tree/entries.h"

#include "tree/attr.h"

int entries_check_name(const char *name)
{
    size_t len = strlen(name);
    if (!len)
        return -ENOENT;
    if (len > ENG_NAME_MAX)
        return -ENAMETOOLONG;
    return strchr(name, '/') ? -EINVAL : 0;
}

bool entries_is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int entries_dir(const struct index *idx, uint64_t ino, const struct inode_rec **ret_inode)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    if (!inode)
        return -ESTALE;
    if (!S_ISDIR(inode->mode))
        return -ENOTDIR;
    *ret_inode = inode;
    return 0;
}

int entries_child(const struct index *idx, uint64_t parent, const char *name, uint32_t *ret_slot)
{
    const struct inode_rec *dir;
    int r = entries_dir(idx, parent, &dir);
    if (!r)
        r = entries_check_name(name);
    if (r)
        return r;
    const struct dentry_rec *d =
        index_dentry(idx, index_find_name(idx, ino_slot(parent), name, strlen(name)));
    if (!d)
        return -ENOENT;
    if (!index_slot(idx, d->child))
        return -EBADMSG;
    *ret_slot = d->child;
    return 0;
}

/* ---- looking up --------------------------------------------------------------- */

static int find(const struct index *idx, uint64_t parent, const char *name, uint32_t *ret_slot)
{
    if (!strcmp(name, ".")) { /* of an inode of any type */
        const struct inode_rec *self = index_inode(idx, parent);
        *ret_slot = ino_slot(parent);
        return self && self->nlink ? 0 : -ESTALE;
    }
    if (!entries_is_dots(name))
        return entries_child(idx, parent, name, ret_slot);
    const struct inode_rec *dir;
    int r = entries_dir(idx, parent, &dir);
    if (r)
        return r;
    *ret_slot = index_parent(idx, ino_slot(parent));
    return *ret_slot ? 0 : -ENOENT;
}

int entries_lookup(const struct view *view, bool ref, uint64_t parent, const char *name,
                   struct eng_attr *ret_attr)
{
    uint32_t slot = 0;
    view_begin(view);
    int r = find(view->idx, parent, name, &slot);
    const struct inode_rec *inode = r ? NULL : index_slot(view->idx, slot);
    if (inode) {
        attr_show(view, inode, slot, ret_attr);
        if (ref)
            view_ref(view, slot);
    }
    return (int)view_end(view, r || inode ? r : -EBADMSG);
}

VIEW_HOT int eng_lookup(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                        struct eng_attr *ret_attr)
{
    if (!eng || !name || !ret_attr)
        return -EINVAL;
    struct view live = view_live(eng);
    return entries_lookup(&live, entries_wants_ref(who), parent, name, ret_attr);
}

/* ---- symbolic links ------------------------------------------------------------ */

static ssize_t copy_target(const struct index *idx, uint64_t ino, char *buf, size_t size)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    if (!inode)
        return -ESTALE;
    if (!S_ISLNK(inode->mode))
        return -EINVAL;
    const char *target = names_get(&idx->names, inode->target, (uint32_t)inode->size);
    if (!target)
        return -EBADMSG;
    if (inode->size >= size)
        return -ERANGE;
    memcpy(buf, target, (size_t)inode->size);
    buf[inode->size] = 0;
    return (ssize_t)inode->size;
}

ssize_t entries_readlink(const struct view *view, uint64_t ino, char *buf, size_t size)
{
    view_begin(view);
    return view_end(view, copy_target(view->idx, ino, buf, size));
}

ssize_t eng_readlink(struct eng *eng, uint64_t ino, char *buf, size_t size)
{
    if (!eng || (!buf && size))
        return -EINVAL;
    struct view live = view_live(eng);
    return entries_readlink(&live, ino, buf, size);
}

/* ---- listing ------------------------------------------------------------------- */

struct listing {
    struct view view; /* a copy: one step less to idx for each entry */
    uint32_t dir;
    bool ref;
    int (*emit)(void *arg, const struct eng_dirent *entry);
    void *arg;
};

static int list_one(struct listing *l, uint32_t slot, const char *name, size_t len, uint64_t cookie, bool ref)
{
    char copy[ENG_NAME_MAX + 1];
    struct eng_dirent entry = {.name = copy, .name_len = len, .cookie = cookie};
    const struct inode_rec *inode = index_slot(l->view.idx, slot);
    if (!inode)
        return -EBADMSG;
    memcpy(copy, name, len);
    copy[len] = 0;
    attr_show(&l->view, inode, slot, &entry.attr);
    if (l->emit(l->arg, &entry))
        return 1;
    if (ref)
        view_ref(&l->view, slot);
    return 0;
}

static int list_entry(void *arg, struct bkey key, const void *value)
{
    struct listing *l = arg;
    const struct index *idx = l->view.idx;
    uint32_t d;
    if (key.a != l->dir)
        return 1;
    memcpy(&d, value, sizeof d);
    const struct dentry_rec *dentry = index_dentry(idx, d);
    const char *name = dentry ? names_get(&idx->names, dentry->name, dentry->name_len) : NULL;
    if (!name || dentry->name_len > ENG_NAME_MAX)
        return -EBADMSG;
    return list_one(l, dentry->child, name, dentry->name_len, key.b, l->ref);
}

static int list_all(struct listing *l, uint64_t cookie)
{
    const struct index *idx = l->view.idx;
    int r = cookie < 1 ? list_one(l, l->dir, ".", 1, 1, false) : 0;
    uint32_t parent = r ? 0 : index_parent(idx, l->dir);
    if (!r && cookie < 2)
        r = list_one(l, parent ? parent : l->dir, "..", 2, 2, false);
    if (!r && cookie < UINT64_MAX)
        r = btree_scan(&idx->dirs, (struct bkey){l->dir, MAX_OF(cookie, UINT64_C(2)) + 1}, list_entry, l);
    return r;
}

int entries_list(const struct view *view, bool ref, uint64_t dir, uint64_t cookie,
                 int (*emit)(void *arg, const struct eng_dirent *entry), void *arg)
{
    struct listing l = {*view, ino_slot(dir), ref, emit, arg};
    const struct inode_rec *inode;
    view_begin(view);
    int r = entries_dir(view->idx, dir, &inode);
    if (!r)
        r = list_all(&l, cookie);
    return (int)view_end(view, MIN_OF(r, 0));
}

int eng_readdir(struct eng *eng, const struct eng_caller *who, uint64_t dir, uint64_t cookie,
                int (*emit)(void *arg, const struct eng_dirent *entry), void *arg)
{
    if (!eng || !emit)
        return -EINVAL;
    struct view live = view_live(eng);
    return entries_list(&live, entries_wants_ref(who), dir, cookie, emit, arg);
}

uint64_t eng_dir_mark(struct eng *eng)
{
    if (!eng)
        return 0;
    struct view live = view_live(eng);
    view_begin(&live);
    uint64_t mark = live.idx->s.next_cookie - 1;
    (void)view_end(&live, 0); /* scalars are always there */
    return mark;
}

/* ---- and back ------------------------------------------------------------------ */

static ssize_t path_of(const struct view *view, uint64_t ino, char *buf, size_t size)
{
    const struct inode_rec *inode = index_inode(view->idx, ino);
    if (!inode)
        return -ESTALE;
    if (!inode->nlink)
        return -ENOENT;
    size_t len = index_path(view->idx, ino_slot(ino), buf, size - 1);
    buf[len] = '\0';
    return len || ino == ENG_ROOT_INO ? (ssize_t)len : -ENAMETOOLONG;
}

ssize_t eng_path(struct eng *eng, uint64_t ino, char *buf, size_t size)
{
    if (!eng || !buf || !size)
        return -EINVAL;
    struct view live = view_live(eng);
    view_begin(&live);
    ssize_t n = path_of(&live, ino, buf, size);
    return view_end(&live, n);
}

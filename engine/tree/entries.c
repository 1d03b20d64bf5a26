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

int entries_may_add(const struct eng *eng, uint64_t parent, const char *name,
                    const struct inode_rec **ret_dir)
{
    int r = entries_dir(&eng->idx, parent, ret_dir);
    if (!r)
        r = entries_check_name(name);
    if (!r && !(*ret_dir)->nlink)
        r = -ENOENT; /* a removed directory takes no entries */
    if (!r && (entries_is_dots(name) || index_find_name(&eng->idx, ino_slot(parent), name, strlen(name))))
        r = -EEXIST;
    return r;
}

void entries_give(struct eng *eng, const struct eng_caller *who, uint64_t ino, struct eng_attr *ret_attr)
{
    struct view live = view_live(eng);
    if (ret_attr)
        attr_show(&live, index_inode(live.idx, ino), ino_slot(ino), ret_attr);
    if (entries_wants_ref(who))
        view_ref(&live, ino_slot(ino));
}

/* ---- looking up --------------------------------------------------------------- */

/* In a past view. Of what is found the state may be none. */
static int find_past(const struct view *view, uint64_t parent, const char *name, uint32_t *ret_slot)
{
    const struct index *idx = view->idx;
    const struct inode_rec *dir;
    bool is_self = !strcmp(name, ".");
    if (!view_state(view, parent))
        return -ESTALE;
    int r = is_self ? 0 : entries_dir(idx, parent, &dir);
    if (!r && !entries_is_dots(name))
        r = entries_check_name(name);
    if (r)
        return r;
    if (is_self)
        *ret_slot = ino_slot(parent);
    else if (entries_is_dots(name))
        *ret_slot = index_parent_at(idx, ino_slot(parent), view->at);
    else
        *ret_slot = index_name_at(idx, ino_slot(parent), name, strlen(name), view->at);
    return *ret_slot ? 0 : -ENOENT;
}

static int find(const struct view *view, uint64_t parent, const char *name, uint32_t *ret_slot)
{
    const struct index *idx = view->idx;
    if (view_is_past(view))
        return find_past(view, parent, name, ret_slot);
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
    int r = find(view, parent, name, &slot);
    if (!r && !attr_of(view, slot, ret_attr))
        r = view_is_past(view) ? -ENOENT : -EBADMSG; /* of a past inode that state may not be kept */
    if (!r && ref)
        view_ref(view, slot);
    return (int)view_end(view, r);
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

static ssize_t copy_target(const struct view *view, uint64_t ino, char *buf, size_t size)
{
    const struct index *idx = view->idx;
    const struct inode_rec *inode = index_inode(idx, ino); /* no past state has a target: it never changes */
    if (!inode || !view_state(view, ino))
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
    return view_end(view, copy_target(view, ino, buf, size));
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
    int r; /* of the last entry of a past folder */
    int (*emit)(void *arg, const struct eng_dirent *entry);
    void *arg;
};

static int list_one(struct listing *l, uint32_t slot, const char *name, size_t len, uint64_t cookie, bool ref)
{
    char copy[ENG_NAME_MAX + 1];
    struct eng_dirent entry = {.name = copy, .name_len = len, .cookie = cookie};
    if (!attr_of(&l->view, slot, &entry.attr))
        return view_is_past(&l->view) ? 0 : -EBADMSG; /* of a past inode that state may not be kept */
    memcpy(copy, name, len);
    copy[len] = 0;
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

#define LIST_LOOKS 1024u /* at groups of names in one section */

static int list_past_entry(void *arg, const struct shown_name *name)
{
    struct listing *l = arg;
    const char *text = names_get(&l->view.idx->names, name->name, name->name_len);
    if (text && name->name_len <= ENG_NAME_MAX)
        l->r = list_one(l, name->child, text, name->name_len, name->cookie, false);
    else
        l->r = -EBADMSG;
    return l->r;
}

/* A past folder, section by section. The place moves on with what was looked at, shown or not. */
static int list_past(struct listing *l, uint64_t ino, uint64_t cookie)
{
    const struct view *view = &l->view;
    struct list_at list = {.dir = l->dir, .at = view->at, .emit = list_past_entry, .arg = l};
    const struct inode_rec *inode;
    int r = LIST_GOES_ON;
    while (r == LIST_GOES_ON) {
        view_begin(view);
        r = view_state(view, ino) ? entries_dir(view->idx, ino, &inode) : -ESTALE;
        uint32_t parent = r ? 0 : index_parent_at(view->idx, l->dir, view->at);
        if (!r && cookie < 1)
            r = list_one(l, l->dir, ".", 1, 1, false);
        if (!r && cookie < 2)
            r = list_one(l, parent ? parent : l->dir, "..", 2, 2, false);
        list.cookie = MAX_OF(cookie, UINT64_C(2));
        list.looks = LIST_LOOKS;
        if (!r)
            r = index_list_at(view->idx, &list);
        r = (int)view_end(view, l->r < 0 ? l->r : r);
        cookie = list.cookie;
        if (r == LIST_GOES_ON && MUTANT(LISTED_IN_PART))
            r = LIST_END;
        if (r == LIST_GOES_ON)
            fault_point(&view->eng->hook, FP_LIST_SLICE);
    }
    return r;
}

int entries_list(const struct view *view, bool ref, uint64_t dir, uint64_t cookie,
                 int (*emit)(void *arg, const struct eng_dirent *entry), void *arg)
{
    struct listing l = {*view, ino_slot(dir), ref, 0, emit, arg};
    const struct inode_rec *inode;
    if (view_is_past(view))
        return MIN_OF(list_past(&l, dir, cookie), 0);
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

/*
 * snapshot_copies.h - what the tree is, copied through the calls that anybody makes; and whether the index
 * shows the same for a batch, however long ago that was. */
#ifndef ENGRAMFS_TESTS_SNAPSHOT_COPIES_H
#define ENGRAMFS_TESTS_SNAPSHOT_COPIES_H

#include "past_states.h"

#include "index/past_names.h"

struct copied_xattr {
    char name[32];
    size_t size;
    uint8_t *value;
};

struct copied {
    uint64_t parent; /* of this name */
    char name[ENG_NAME_MAX + 1];
    struct eng_attr attr;
    uint8_t *content; /* of a symlink its target */
    struct copied_xattr *xattrs;
    size_t n_xattrs;
    size_t n_entries; /* of a folder */
};

/* The tree at a batch. */
struct copy {
    uint64_t batch;
    struct copied *all; /* the root first, each folder before what is in it */
    size_t n, cap;
};

/* ---- making ----------------------------------------------------------------- */

static inline void copy_free(struct copy *copy)
{
    for (size_t i = 0; i < copy->n; i++) {
        for (size_t x = 0; x < copy->all[i].n_xattrs; x++)
            free(copy->all[i].xattrs[x].value);
        free(copy->all[i].xattrs);
        free(copy->all[i].content);
    }
    free(copy->all);
    *copy = (struct copy){0};
}

static inline void copy_xattrs(struct unit *u, struct copied *c)
{
    static char list[ENG_XATTR_LIST_MAX];
    ssize_t len = eng_listxattr(u->eng, c->attr.ino, list, sizeof list);
    MUST(len >= 0);
    size_t cap = 0;
    for (const char *name = list; name < list + len; name += strlen(name) + 1) {
        MUST(array_grow(&c->xattrs, &cap, c->n_xattrs + 1, sizeof *c->xattrs) == 0);
        struct copied_xattr *x = &c->xattrs[c->n_xattrs++];
        *x = (struct copied_xattr){0};
        MUST(strlen(name) < sizeof x->name);
        memcpy(x->name, name, strlen(name));
        ssize_t size = eng_getxattr(u->eng, c->attr.ino, name, NULL, 0);
        MUST(size >= 0 && (x->value = malloc((size_t)size + 1)));
        x->size = (size_t)size;
        MUST(eng_getxattr(u->eng, c->attr.ino, name, x->value, x->size + 1) == size);
    }
}

static inline void copy_content(struct unit *u, struct copied *c)
{
    size_t size = c->attr.size;
    if (S_ISDIR(c->attr.mode))
        return;
    MUST((c->content = malloc(size + 1)));
    if (S_ISREG(c->attr.mode))
        MUST(eng_read(u->eng, c->attr.ino, c->content, size, 0) == (ssize_t)size);
    if (S_ISLNK(c->attr.mode))
        MUST(eng_readlink(u->eng, c->attr.ino, (char *)c->content, size + 1) == (ssize_t)size);
}

struct copying {
    struct copy *copy;
    uint64_t dir;
};

static inline int copy_entry(void *arg, const struct eng_dirent *entry)
{
    struct copying *c = arg;
    struct copy *copy = c->copy;
    if (entry->name_len <= 2 && memcmp(entry->name, "..", entry->name_len) == 0)
        return 0;
    MUST(array_grow(&copy->all, &copy->cap, copy->n + 1, sizeof *copy->all) == 0);
    struct copied *at = &copy->all[copy->n++];
    *at = (struct copied){.parent = c->dir, .attr = entry->attr};
    memcpy(at->name, entry->name, entry->name_len);
    return 0;
}

/* All that the root leads to now. */
static inline struct copy copy_tree(struct unit *u, uint64_t batch)
{
    struct copy copy = {.batch = batch};
    MUST(array_grow(&copy.all, &copy.cap, 1, sizeof *copy.all) == 0);
    copy.all[copy.n++] = (struct copied){.attr = unit_attr(u, ENG_ROOT_INO)};
    for (size_t i = 0; i < copy.n; i++) {
        struct copying c = {&copy, copy.all[i].attr.ino};
        size_t before = copy.n;
        if (S_ISDIR(copy.all[i].attr.mode))
            MUST(eng_readdir(u->eng, NULL, c.dir, 0, copy_entry, &c) == 0);
        copy.all[i].n_entries = copy.n - before;
        copy_content(u, &copy.all[i]);
        copy_xattrs(u, &copy.all[i]);
    }
    return copy;
}

/* ---- comparing ------------------------------------------------------------------ */

/* Fails the test, and says of what. */
#define SAME(cond, copy, c)                                                                                  \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            cr_assert_fail("batch %llu, \"%s\" (inode %llu): %s", (unsigned long long)(copy)->batch,         \
                           (c)->name, (unsigned long long)(c)->attr.ino, #cond);                             \
    } while (0)

static inline int count_shown(void *arg, const struct shown_name *name)
{
    (void)name;
    ++*(size_t *)arg;
    return 0;
}

static inline void compare_name(struct unit *u, const struct copy *copy, const struct copied *c)
{
    const struct index *idx = &u->eng->idx;
    uint32_t slot = ino_slot(c->attr.ino), dir = ino_slot(c->parent);
    size_t n = 0;
    struct list_at list = {
        .dir = slot, .at = copy->batch, .looks = UINT32_MAX, .emit = count_shown, .arg = &n};
    if (c->parent)
        SAME(index_name_at(idx, dir, c->name, strlen(c->name), copy->batch) == slot, copy, c);
    if (!S_ISDIR(c->attr.mode))
        return;
    if (c->parent)
        SAME(index_parent_at(idx, slot, copy->batch) == dir, copy, c);
    SAME(index_list_at(idx, &list) == LIST_END, copy, c);
    SAME(n == c->n_entries, copy, c);
}

static inline bool holds_value(struct unit *u, uint64_t owner, const struct xattr_view *view,
                               const struct copied_xattr *x)
{
    static uint8_t buf[ENG_XATTR_SIZE_MAX];
    const struct past_piece piece = {.off = EXTENT_XATTR_OFF, .loc = view->loc};
    if (view->value_len != x->size)
        return false;
    if (view->is_extent && !past_read_piece(u, owner, &piece, buf))
        return false;
    return memcmp(view->is_extent ? buf : view->value, x->value, x->size) == 0;
}

static inline int count_xattr(void *arg, const struct xattr_view *view)
{
    (void)view;
    ++*(size_t *)arg;
    return 0;
}

static inline void compare_xattrs(struct unit *u, const struct copy *copy, const struct copied *c,
                                  uint32_t state)
{
    const struct index *idx = &u->eng->idx;
    const struct inode_rec *rec = index_slot(idx, state);
    bool is_past = rec->flags & INODE_PAST;
    size_t n = is_past ? 0 : index_count_xattrs(idx, rec, XATTRS_MAX);
    if (is_past)
        SAME(past_xattrs(idx, state, count_xattr, &n) == 0, copy, c);
    SAME(n == c->n_xattrs, copy, c);
    for (size_t i = 0; i < c->n_xattrs; i++) {
        const struct copied_xattr *x = &c->xattrs[i];
        struct xattr_view view;
        bool has = is_past ? past_xattr(idx, state, x->name, strlen(x->name), &view) == 0
                           : index_xattr(idx, index_find_xattr(idx, rec, x->name, strlen(x->name)), &view);
        SAME(has, copy, c);
        SAME(holds_value(u, c->attr.ino, &view, x), copy, c);
    }
}

static inline void compare_state(struct unit *u, const struct copy *copy, const struct copied *c)
{
    const struct index *idx = &u->eng->idx;
    uint32_t slot = ino_slot(c->attr.ino), state = past_at(idx, slot, copy->batch);
    const struct inode_rec *rec = index_slot(idx, state), *head = index_slot(idx, slot);
    SAME(rec && head && index_ino(head, slot) == c->attr.ino, copy, c);
    bool is_past = rec->flags & INODE_PAST;
    uint64_t end = is_past ? past_end(rec) : UINT64_MAX;
    SAME(end > copy->batch, copy, c);
    SAME(rec->mode == c->attr.mode && rec->uid == c->attr.uid && rec->gid == c->attr.gid, copy, c);
    SAME(rec->mtime == c->attr.mtime, copy, c);
    SAME(rec->ctime == c->attr.ctime, copy, c);
    SAME(rec->size == c->attr.size, copy, c);
    uint32_t nlink =
        S_ISDIR(rec->mode) ? rec->nlink + 1 : index_links_at(idx, slot, rec->nlink, end, copy->batch);
    SAME(nlink == c->attr.nlink, copy, c);
    if (S_ISREG(rec->mode) && is_past)
        SAME(past_holds_bytes(u, index_ino(rec, state), c->content, rec->size), copy, c);
    else if (S_ISREG(rec->mode))
        SAME(unit_holds_bytes(u, c->attr.ino, c->content, rec->size), copy, c);
    if (S_ISLNK(rec->mode))
        SAME(memcmp(names_get(&idx->names, head->target, (uint32_t)rec->size), c->content, rec->size) == 0,
             copy, c);
    compare_xattrs(u, copy, c, state);
}

/* Whether the index shows all of it, and nothing else, at its batch. */
static inline void copy_compare(struct unit *u, const struct copy *copy)
{
    for (size_t i = 0; i < copy->n; i++) {
        compare_name(u, copy, &copy->all[i]);
        compare_state(u, copy, &copy->all[i]);
    }
}

/* ---- snapshots beside their copies ----------------------------------------------------- */

static inline struct copy copied_snapshot(struct unit *u, const char *name)
{
    uint64_t batch;
    cr_assert_eq(eng_snapshot_create(u->eng, name, &batch), 0);
    return copy_tree(u, batch);
}

#endif

/*
 * model.c - a file tree as it should be. See model_load.c for the engine's side. */
#include "model_private.h"

#include "engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

void *model_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

/* ---- nodes and entries -------------------------------------------------- */

struct model_node *model_node_new(struct model *m, uint32_t mode)
{
    struct model_node *node = model_alloc(sizeof *node);
    node->mode = mode;
    node->next = m->nodes;
    m->nodes = node;
    return node;
}

static void free_xattrs(struct model_node *node)
{
    while (node->xattrs) {
        struct model_xattr *xattr = node->xattrs;
        node->xattrs = xattr->next;
        free(xattr->value);
        free(xattr);
    }
}

static void free_node(struct model_node *node)
{
    while (node->entries) {
        struct model_entry *entry = node->entries;
        node->entries = entry->next;
        free(entry);
    }
    free_xattrs(node);
    free(node->data);
    free(node);
}

static void drop_link(struct model *m, struct model_node *node)
{
    if (--node->nlink > 0)
        return;
    struct model_node **link = &m->nodes;
    while (*link != node)
        link = &(*link)->next;
    *link = node->next;
    free_node(node);
}

/* Where the entry is or, in order of name, belongs. */
static struct model_entry **find(struct model_node *dir, const char *name)
{
    struct model_entry **link = &dir->entries;
    while (*link && strcmp((*link)->name, name) < 0)
        link = &(*link)->next;
    return link;
}

static struct model_node *child(struct model_node *dir, const char *name)
{
    struct model_entry *entry = *find(dir, name);
    return entry && strcmp(entry->name, name) == 0 ? entry->node : NULL;
}

void model_add_entry(struct model_node *dir, const char *name, struct model_node *node)
{
    struct model_entry **link = find(dir, name);
    struct model_entry *entry = model_alloc(sizeof *entry);
    (void)snprintf(entry->name, sizeof(entry->name), "%s", name);
    entry->node = node;
    entry->next = *link;
    *link = entry;
    node->nlink++;
    dir->mtime = 0;
}

static void remove_entry(struct model *m, struct model_node *dir, const char *name)
{
    struct model_entry **link = find(dir, name);
    struct model_entry *entry = *link;
    *link = entry->next;
    dir->mtime = 0;
    drop_link(m, entry->node);
    free(entry);
}

/* ---- paths -------------------------------------------------------------- */

/* The directory of the last component, which is copied to `name`. */
static int resolve_parent(const struct model *m, const char *path, struct model_node **ret_dir,
                          char name[256])
{
    struct model_node *dir = m->root;
    for (;;) {
        const char *slash = strchr(path, '/');
        size_t len = slash ? (size_t)(slash - path) : strlen(path);
        if (len > 255)
            return -ENAMETOOLONG;
        memcpy(name, path, len);
        name[len] = '\0';
        if (!slash)
            break;
        dir = child(dir, name);
        if (!dir)
            return -ENOENT;
        if (!S_ISDIR(dir->mode))
            return -ENOTDIR;
        path = slash + 1;
    }
    *ret_dir = dir;
    return 0;
}

static int resolve(const struct model *m, const char *path, struct model_node **ret_node)
{
    struct model_node *dir;
    char name[256];
    int r = resolve_parent(m, path, &dir, name);
    if (r < 0)
        return r;
    struct model_node *node = name[0] ? child(dir, name) : dir;
    if (!node)
        return -ENOENT;
    *ret_node = node;
    return 0;
}

int model_find(const struct model *m, const char *path, struct model_node **ret_node)
{
    return resolve(m, path, ret_node);
}

static int resolve_file(const struct model *m, const char *path, struct model_node **ret_node)
{
    struct model_node *node;
    int r = resolve(m, path, &node);
    if (r < 0)
        return r;
    if (S_ISDIR(node->mode))
        return -EISDIR;
    if (!S_ISREG(node->mode))
        return -EINVAL;
    *ret_node = node;
    return 0;
}

static bool is_below(const struct model_node *dir, const struct model_node *node)
{
    for (const struct model_entry *entry = dir->entries; entry; entry = entry->next) {
        if (entry->node == node || (S_ISDIR(entry->node->mode) && is_below(entry->node, node)))
            return true;
    }
    return false;
}

/* ---- operations --------------------------------------------------------- */

struct model *model_new(void)
{
    struct model *m = model_alloc(sizeof *m);
    m->root = model_node_new(m, S_IFDIR | 0755);
    m->root->nlink = 1;
    return m;
}

void model_free(struct model *m)
{
    if (!m)
        return;
    model_free_snapshots(m);
    while (m->nodes) {
        struct model_node *node = m->nodes;
        m->nodes = node->next;
        free_node(node);
    }
    free(m);
}

int model_create(struct model *m, const char *path, uint32_t mode, const char *target)
{
    struct model_node *dir;
    char name[256];
    int r = resolve_parent(m, path, &dir, name);
    if (r < 0)
        return r;
    if (child(dir, name))
        return -EEXIST;
    struct model_node *node = model_node_new(m, mode);
    model_add_entry(dir, name, node);
    if (S_ISLNK(mode)) {
        node->mode = S_IFLNK | 0777;
        model_put_bytes(node, target, strlen(target), 0);
    }
    return 0;
}

static void set_size(struct model_node *node, uint64_t size)
{
    if (size > node->cap) {
        uint64_t cap = size > node->cap * 2 ? size : node->cap * 2;
        uint8_t *data = model_alloc(cap);
        if (node->size)
            memcpy(data, node->data, node->size);
        free(node->data);
        node->data = data;
        node->cap = cap;
    }
    if (size < node->size)
        memset(node->data + size, 0, node->size - size);
    node->size = size;
}

void model_put_bytes(struct model_node *node, const void *data, uint64_t size, uint64_t offset)
{
    if (size == 0)
        return;
    if (offset + size > node->size)
        set_size(node, offset + size);
    memcpy(node->data + offset, data, size);
}

int model_write(struct model *m, const char *path, const void *data, uint64_t size, uint64_t offset)
{
    struct model_node *node;
    int r = resolve_file(m, path, &node);
    if (r < 0 || size == 0)
        return r;
    model_put_bytes(node, data, size, offset);
    node->mtime = 0;
    return 0;
}

int model_append(struct model *m, const char *path, const void *data, uint64_t size)
{
    struct model_node *node;
    int r = resolve_file(m, path, &node);
    return r < 0 ? r : model_write(m, path, data, size, node->size);
}

int model_truncate(struct model *m, const char *path, uint64_t size)
{
    struct model_node *node;
    int r = resolve_file(m, path, &node);
    if (r < 0)
        return r;
    set_size(node, size);
    node->mtime = 0;
    return 0;
}

int model_zero(struct model *m, const char *path, uint64_t offset, uint64_t size, bool extend)
{
    struct model_node *node;
    int r = resolve_file(m, path, &node);
    if (r < 0)
        return r;
    if (extend && offset + size > node->size)
        set_size(node, offset + size);
    if (offset < node->size)
        memset(node->data + offset, 0, size < node->size - offset ? size : node->size - offset);
    node->mtime = 0;
    return 0;
}

/* The entry `path`, which may be a symlink, and where it is. */
static int resolve_entry(struct model *m, const char *path, struct model_node **ret_dir, char name[256],
                         struct model_node **ret_node)
{
    int r = resolve_parent(m, path, ret_dir, name);
    if (r < 0)
        return r;
    *ret_node = child(*ret_dir, name);
    return *ret_node ? 0 : -ENOENT;
}

int model_unlink(struct model *m, const char *path)
{
    struct model_node *dir, *node;
    char name[256];
    int r = resolve_entry(m, path, &dir, name, &node);
    if (r < 0)
        return r;
    if (S_ISDIR(node->mode))
        return -EISDIR;
    remove_entry(m, dir, name);
    return 0;
}

int model_rmdir(struct model *m, const char *path)
{
    struct model_node *dir, *node;
    char name[256];
    int r = resolve_entry(m, path, &dir, name, &node);
    if (r < 0)
        return r;
    if (!S_ISDIR(node->mode))
        return -ENOTDIR;
    if (node->entries)
        return -ENOTEMPTY;
    remove_entry(m, dir, name);
    return 0;
}

int model_link(struct model *m, const char *from, const char *to)
{
    struct model_node *node, *dir;
    char name[256];
    int r = resolve(m, from, &node);
    if (!r)
        r = resolve_parent(m, to, &dir, name);
    if (r < 0)
        return r;
    if (S_ISDIR(node->mode))
        return -EPERM;
    if (child(dir, name))
        return -EEXIST;
    model_add_entry(dir, name, node);
    return 0;
}

static int exchange(struct model_node *dir1, const char *name1, struct model_node *dir2, const char *name2)
{
    struct model_entry *a = *find(dir1, name1), *b = *find(dir2, name2);
    struct model_node *node = a->node;
    a->node = b->node;
    b->node = node;
    dir1->mtime = dir2->mtime = 0;
    return 0;
}

static int check_replaced(const struct model_node *node, const struct model_node *victim)
{
    if (S_ISDIR(node->mode) && !S_ISDIR(victim->mode))
        return -ENOTDIR;
    if (!S_ISDIR(node->mode) && S_ISDIR(victim->mode))
        return -EISDIR;
    return victim->entries ? -ENOTEMPTY : 0;
}

int model_rename(struct model *m, const char *from, const char *to, unsigned flags)
{
    struct model_node *dir1, *dir2;
    char name1[256], name2[256];
    int r = resolve_parent(m, from, &dir1, name1);
    if (!r)
        r = resolve_parent(m, to, &dir2, name2);
    if (r < 0)
        return r;

    struct model_node *node = child(dir1, name1), *victim = child(dir2, name2);
    if (!node || (!victim && flags & ENG_RENAME_EXCHANGE))
        return -ENOENT;
    if (victim && flags & ENG_RENAME_NOREPLACE)
        return -EEXIST;
    if (S_ISDIR(node->mode) && (node == dir2 || is_below(node, dir2)))
        return -EINVAL;
    if (flags & ENG_RENAME_EXCHANGE && node == victim)
        return 0;
    if (flags & ENG_RENAME_EXCHANGE) {
        if (S_ISDIR(victim->mode) && (victim == dir1 || is_below(victim, dir1)))
            return -EINVAL;
        return exchange(dir1, name1, dir2, name2);
    }
    if (victim && S_ISDIR(victim->mode) && (victim == dir1 || is_below(victim, dir1)))
        return -ENOTEMPTY; /* Linux asks this before it compares types */
    if (node == victim)
        return 0;
    r = victim ? check_replaced(node, victim) : 0;
    if (r < 0)
        return r;
    if (victim)
        remove_entry(m, dir2, name2);
    model_add_entry(dir2, name2, node);
    remove_entry(m, dir1, name1);
    if (flags & ENG_RENAME_WHITEOUT)
        model_add_entry(dir1, name1, model_node_new(m, S_IFCHR));
    return 0;
}

/* Where the xattr is or, in order of name, belongs. */
static struct model_xattr **find_xattr(struct model_node *node, const char *name, bool *ret_found)
{
    struct model_xattr **link = &node->xattrs;
    while (*link && strcmp((*link)->name, name) < 0)
        link = &(*link)->next;
    *ret_found = *link && strcmp((*link)->name, name) == 0;
    return link;
}

void model_put_xattr(struct model_node *node, const char *name, const void *value, uint64_t size)
{
    bool found;
    struct model_xattr **link = find_xattr(node, name, &found);
    if (!found) {
        struct model_xattr *xattr = model_alloc(sizeof *xattr);
        (void)snprintf(xattr->name, sizeof(xattr->name), "%s", name);
        xattr->next = *link;
        *link = xattr;
    }
    free((*link)->value);
    (*link)->value = model_alloc(size);
    (*link)->size = size;
    if (size)
        memcpy((*link)->value, value, size);
}

int model_setxattr(struct model *m, const char *path, const char *name, const void *value, uint64_t size,
                   unsigned flags)
{
    struct model_node *node;
    bool found;
    int r = resolve(m, path, &node);
    if (r < 0)
        return r;
    (void)find_xattr(node, name, &found);
    if (found && flags & ENG_XATTR_CREATE)
        return -EEXIST;
    if (!found && flags & ENG_XATTR_REPLACE)
        return -ENODATA;
    model_put_xattr(node, name, value, size);
    return 0;
}

int model_removexattr(struct model *m, const char *path, const char *name)
{
    struct model_node *node;
    bool found;
    int r = resolve(m, path, &node);
    if (r < 0)
        return r;
    struct model_xattr **link = find_xattr(node, name, &found);
    if (!found)
        return -ENODATA;
    struct model_xattr *xattr = *link;
    *link = xattr->next;
    free(xattr->value);
    free(xattr);
    return 0;
}

int model_drop_xattrs(struct model *m, const char *path)
{
    struct model_node *node;
    int r = resolve(m, path, &node);
    if (!r)
        free_xattrs(node);
    return r;
}

int model_chmod(struct model *m, const char *path, uint32_t mode)
{
    struct model_node *node;
    int r = resolve(m, path, &node);
    if (!r)
        node->mode = (node->mode & S_IFMT) | (mode & 07777);
    return r;
}

int model_chown(struct model *m, const char *path, uint32_t uid, uint32_t gid)
{
    struct model_node *node;
    int r = resolve(m, path, &node);
    if (!r) {
        node->uid = uid;
        node->gid = gid;
    }
    return r;
}

int model_set_mtime(struct model *m, const char *path, int64_t mtime)
{
    struct model_node *node;
    int r = resolve(m, path, &node);
    if (!r)
        node->mtime = mtime < MODEL_TIME_NOW ? mtime : 0;
    return r;
}

int model_stat(const struct model *m, const char *path, uint32_t *ret_mode, uint64_t *ret_size)
{
    struct model_node *node;
    int r = resolve(m, path, &node);
    if (r < 0)
        return r;
    *ret_mode = node->mode;
    if (ret_size)
        *ret_size = node->size;
    return 0;
}

/* ---- copy, hash, comparison --------------------------------------------- */

static struct model_node *clone_node(struct model *to, struct model_node *node)
{
    struct model_node *copy = model_node_new(to, node->mode);
    node->peer = copy;
    copy->uid = node->uid;
    copy->gid = node->gid;
    copy->nlink = node->nlink;
    copy->mtime = node->mtime;
    model_put_bytes(copy, node->data, node->size, 0);
    struct model_xattr **link = &copy->xattrs;
    for (const struct model_xattr *xattr = node->xattrs; xattr; xattr = xattr->next) {
        model_put_xattr(copy, xattr->name, xattr->value, xattr->size);
        link = &(*link)->next;
    }
    return copy;
}

struct model *model_clone_tree(const struct model *m)
{
    struct model *to = model_alloc(sizeof *to);
    for (struct model_node *node = m->nodes; node; node = node->next)
        (void)clone_node(to, node);
    to->root = m->root->peer;
    for (struct model_node *node = m->nodes; node; node = node->next) {
        struct model_entry **link = &node->peer->entries;
        for (const struct model_entry *entry = node->entries; entry; entry = entry->next) {
            *link = model_alloc(sizeof(**link));
            **link = *entry;
            (*link)->next = NULL;
            (*link)->node = entry->node->peer;
            link = &(*link)->next;
        }
    }
    return to;
}

struct model *model_clone(const struct model *m)
{
    struct model *to = model_clone_tree(m);
    model_clone_snapshots(to, m);
    return to;
}

static void hash_node(XXH3_state_t *state, struct model_node *node, uint64_t *serial)
{
    uint64_t head[5] = {node->serial, node->mode, (uint64_t)node->mtime, node->size,
                        (uint64_t)node->uid << 32 | node->gid};
    XXH3_64bits_update(state, head, sizeof(head));
    if (node->serial)
        return; /* another name of one that was seen: its number says which */
    node->serial = ++*serial;
    if (node->size)
        XXH3_64bits_update(state, node->data, node->size);
    for (const struct model_xattr *xattr = node->xattrs; xattr; xattr = xattr->next) {
        XXH3_64bits_update(state, &xattr->size, sizeof(xattr->size));
        XXH3_64bits_update(state, xattr->name, strlen(xattr->name) + 1);
        if (xattr->size)
            XXH3_64bits_update(state, xattr->value, xattr->size);
    }
    for (const struct model_entry *entry = node->entries; entry; entry = entry->next) {
        XXH3_64bits_update(state, entry->name, strlen(entry->name) + 1);
        hash_node(state, entry->node, serial);
    }
    XXH3_64bits_update(state, "", 1); /* end of the entries */
}

uint64_t model_hash(const struct model *m)
{
    XXH3_state_t *state = XXH3_createState();
    XXH3_64bits_reset(state);
    for (struct model_node *node = m->nodes; node; node = node->next)
        node->serial = 0;
    uint64_t serial = 0;
    hash_node(state, m->root, &serial);
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return model_hash_snapshots(m, hash);
}

static bool differ(char *why, const char *path, const char *what, uint64_t a, uint64_t b)
{
    (void)snprintf(why, MODEL_WHY_MAX, "/%.200s: %.80s: %" PRIu64 " against %" PRIu64, path, what, a, b);
    return false;
}

static bool equal_bytes(const struct model_node *a, const struct model_node *b, const char *path, char *why)
{
    if (a->size != b->size)
        return differ(why, path, "size", a->size, b->size);
    for (uint64_t i = 0; i < a->size; i++) {
        if (a->data[i] != b->data[i]) {
            char what[64];
            (void)snprintf(what, sizeof(what), "byte at %" PRIu64 " of %" PRIu64, i, a->size);
            return differ(why, path, what, a->data[i], b->data[i]);
        }
    }
    return true;
}

/* Which of two sorted lists goes on with the lower name; NULL: it has ended. */
static int compare_heads(const char *x, const char *y)
{
    if (!x)
        return 1;
    return y ? strcmp(x, y) : -1;
}

static bool equal_xattrs(const struct model_node *a, const struct model_node *b, const char *path, char *why)
{
    const struct model_xattr *x = a->xattrs, *y = b->xattrs;
    for (; x || y; x = x->next, y = y->next) {
        int order = compare_heads(x ? x->name : NULL, y ? y->name : NULL);
        if (order != 0) {
            (void)snprintf(why, MODEL_WHY_MAX, "/%.200s: xattr %.60s only in the %s", path,
                           order < 0 ? x->name : y->name, order < 0 ? "first" : "second");
            return false;
        }
        if (x->size != y->size)
            return differ(why, path, x->name, x->size, y->size);
        if (x->size && memcmp(x->value, y->value, x->size) != 0) {
            (void)snprintf(why, MODEL_WHY_MAX, "/%.200s: value of xattr %.60s", path, x->name);
            return false;
        }
    }
    return true;
}

static bool equal_nodes(struct model_node *a, struct model_node *b, const char *path, char *why);

static bool equal_entries(const struct model_node *a, const struct model_node *b, const char *path, char *why)
{
    const struct model_entry *x = a->entries, *y = b->entries;
    for (; x || y; x = x->next, y = y->next) {
        int order = compare_heads(x ? x->name : NULL, y ? y->name : NULL);
        const char *name = order <= 0 ? x->name : y->name;
        char sub[1024];
        (void)snprintf(sub, sizeof(sub), "%.700s%s%s", path, path[0] ? "/" : "", name);
        if (order != 0) {
            (void)snprintf(why, MODEL_WHY_MAX, "/%.300s: only in the %s", sub,
                           order < 0 ? "first" : "second");
            return false;
        }
        if (!equal_nodes(x->node, y->node, sub, why))
            return false;
    }
    return true;
}

static bool equal_nodes(struct model_node *a, struct model_node *b, const char *path, char *why)
{
    if (a->peer || b->peer) {
        if (a->peer == b && b->peer == a)
            return true;
        (void)snprintf(why, MODEL_WHY_MAX, "/%.300s: names another inode", path);
        return false;
    }
    a->peer = b;
    b->peer = a;
    if (a->mode != b->mode)
        return differ(why, path, "mode", a->mode, b->mode);
    if (a->uid != b->uid || a->gid != b->gid)
        return differ(why, path, "owner", (uint64_t)a->uid << 32 | a->gid, (uint64_t)b->uid << 32 | b->gid);
    if (a->nlink != b->nlink)
        return differ(why, path, "links", a->nlink, b->nlink);
    if (a->mtime != b->mtime)
        return differ(why, path, "mtime", (uint64_t)a->mtime, (uint64_t)b->mtime);
    return equal_bytes(a, b, path, why) && equal_xattrs(a, b, path, why) && equal_entries(a, b, path, why);
}

bool model_equal(const struct model *a, const struct model *b, char why[MODEL_WHY_MAX])
{
    for (struct model_node *node = a->nodes; node; node = node->next)
        node->peer = NULL;
    for (struct model_node *node = b->nodes; node; node = node->next)
        node->peer = NULL;
    return equal_nodes(a->root, b->root, "", why) && model_equal_snapshots(a, b, why);
}

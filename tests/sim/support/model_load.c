/*
 * model_load.c - reads a whole engine into a model, through engine.h only,
 * and checks on the way that the engine's answers agree with each other. */
#include "model_private.h"

#include "engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#define ENTRIES_PER_CALL 7  /* few, so that cookies are used */
#define READ_CHUNK 10007    /* bytes; odd, so that reads meet blocks at any place */
#define XATTR_LIST_MAX 8192 /* bytes; enough for what tests set */

static const struct eng_caller nobody = {.uid = 0, .gid = 0, .ref = false};

struct loader {
    struct eng *eng;
    struct eng_view *view; /* NULL: of now */
    struct model *m;
    char *why;
    char path[1024]; /* of the node being loaded */
};

__attribute__((format(printf, 3, 4))) static int fail(struct loader *l, int error, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)snprintf(l->why, MODEL_WHY_MAX, "/%.200s: %s (%s)", l->path, text, strerror(-error));
    return error;
}

/* ---- the engine, or a view of its past ---------------------------------- */

static int get_attr(struct loader *l, uint64_t ino, struct eng_attr *ret_attr)
{
    return l->view ? eng_view_getattr(l->view, ino, ret_attr) : eng_getattr(l->eng, ino, ret_attr);
}

static int get_entry(struct loader *l, uint64_t dir, const char *name, struct eng_attr *ret_attr)
{
    return l->view ? eng_view_lookup(l->view, dir, name, ret_attr)
                   : eng_lookup(l->eng, &nobody, dir, name, ret_attr);
}

static ssize_t get_content(struct loader *l, uint64_t ino, void *buf, size_t size, uint64_t at)
{
    return l->view ? eng_view_read(l->view, ino, buf, size, at) : eng_read(l->eng, ino, buf, size, at);
}

static ssize_t get_target(struct loader *l, uint64_t ino, char *buf, size_t size)
{
    return l->view ? eng_view_readlink(l->view, ino, buf, size) : eng_readlink(l->eng, ino, buf, size);
}

static ssize_t get_xattr(struct loader *l, uint64_t ino, const char *name, void *value, size_t size)
{
    return l->view ? eng_view_getxattr(l->view, ino, name, value, size)
                   : eng_getxattr(l->eng, ino, name, value, size);
}

static ssize_t get_xattrs(struct loader *l, uint64_t ino, char *list, size_t size)
{
    return l->view ? eng_view_listxattr(l->view, ino, list, size) : eng_listxattr(l->eng, ino, list, size);
}

static int load_content(struct loader *l, struct model_node *node, const struct eng_attr *attr)
{
    uint8_t buf[READ_CHUNK];
    for (uint64_t at = 0;;) {
        ssize_t n = get_content(l, attr->ino, buf, sizeof(buf), at);
        if (n < 0)
            return fail(l, (int)n, "read at %" PRIu64, at);
        if (n == 0)
            break;
        model_put_bytes(node, buf, (uint64_t)n, at);
        at += (uint64_t)n;
        if ((size_t)n < sizeof(buf) && at < attr->size)
            return fail(l, -EBADMSG, "short read before the end, at %" PRIu64, at);
    }
    if (node->size != attr->size)
        return fail(l, -EBADMSG, "size is %" PRIu64 ", read %" PRIu64, attr->size, node->size);

    if (l->view)
        return 0; /* which has no hash */
    uint64_t hash = 0;
    int r = eng_content_hash(l->eng, attr->ino, &hash);
    if (r < 0)
        return fail(l, r, "content hash");
    if (hash != XXH3_64bits(node->size ? (const void *)node->data : "", node->size))
        return fail(l, -EBADMSG, "content hash does not fit the content");
    return 0;
}

static int load_target(struct loader *l, struct model_node *node, const struct eng_attr *attr)
{
    char target[ENG_SYMLINK_MAX + 1];
    ssize_t n = get_target(l, attr->ino, target, sizeof(target));
    if (n < 0)
        return fail(l, (int)n, "readlink");
    if ((uint64_t)n != attr->size || strlen(target) != (size_t)n)
        return fail(l, -EBADMSG, "length of the symlink is %zd, its size %" PRIu64, n, attr->size);
    model_put_bytes(node, target, (uint64_t)n, 0);
    return 0;
}

static int load_xattrs(struct loader *l, struct model_node *node, uint64_t ino)
{
    char list[XATTR_LIST_MAX];
    ssize_t size = get_xattrs(l, ino, list, sizeof(list));
    if (size < 0)
        return fail(l, (int)size, "listxattr");
    if (get_xattrs(l, ino, NULL, 0) != size)
        return fail(l, -EBADMSG, "listxattr gives another length than asked for it");
    for (const char *name = list; name < list + size; name += strlen(name) + 1) {
        ssize_t length = get_xattr(l, ino, name, NULL, 0);
        if (length < 0)
            return fail(l, (int)length, "length of xattr %s", name);
        uint8_t *value = model_alloc((size_t)length);
        ssize_t n = get_xattr(l, ino, name, value, (size_t)length + 1);
        if (n == length)
            model_put_xattr(node, name, value, (uint64_t)n);
        free(value);
        if (n != length)
            return fail(l, n < 0 ? (int)n : -EBADMSG, "xattr %s", name);
    }
    return 0;
}

static struct model_node *known_node(const struct model *m, uint64_t ino)
{
    for (struct model_node *node = m->nodes; node; node = node->next) {
        if (node->ino == ino)
            return node;
    }
    return NULL;
}

static int load_node(struct loader *l, struct model_node *node, const struct eng_attr *attr);

/* ---- directories -------------------------------------------------------- */

struct listing {
    struct {
        char name[256];
        struct eng_attr attr;
    } entries[ENTRIES_PER_CALL];
    int n;
    uint64_t cookie;
};

static int collect(void *arg, const struct eng_dirent *entry)
{
    struct listing *listing = arg;
    if (listing->n == ENTRIES_PER_CALL)
        return 1;
    (void)snprintf(listing->entries[listing->n].name, 256, "%s", entry->name);
    listing->entries[listing->n++].attr = entry->attr;
    listing->cookie = entry->cookie;
    return 0;
}

static int load_entry(struct loader *l, struct model_node *dir, const char *name, const struct eng_attr *attr)
{
    struct eng_attr again;
    int r = get_entry(l, dir->ino, name, &again);
    if (r < 0)
        return fail(l, r, "readdir lists %s, lookup fails", name);
    if (again.ino != attr->ino || again.mode != attr->mode || again.size != attr->size ||
        again.nlink != attr->nlink)
        return fail(l, -EBADMSG, "readdir and lookup of %s differ", name);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;

    struct model_node *node = known_node(l->m, attr->ino);
    size_t len = strlen(l->path);
    if (snprintf(l->path + len, sizeof(l->path) - len, "%s%s", len ? "/" : "", name) >=
        (int)(sizeof(l->path) - len))
        return fail(l, -ENAMETOOLONG, "path");
    if (node && S_ISDIR(node->mode))
        return fail(l, -EBADMSG, "a second name of a directory");
    bool is_new = !node;
    if (is_new) {
        node = model_node_new(l->m, attr->mode);
        node->ino = attr->ino;
    }
    model_add_entry(dir, name, node);
    r = is_new ? load_node(l, node, attr) : 0;
    if (!r)
        l->path[len] = '\0';
    return r;
}

static int load_directory(struct loader *l, struct model_node *dir, const struct eng_attr *attr)
{
    uint64_t n_entries = 0;
    int64_t mtime = dir->mtime;
    struct listing *listing = model_alloc(sizeof *listing);
    int r = 0;
    do {
        listing->n = 0;
        r = l->view ? eng_view_readdir(l->view, attr->ino, listing->cookie, collect, listing)
                    : eng_readdir(l->eng, &nobody, attr->ino, listing->cookie, collect, listing);
        if (r < 0)
            (void)fail(l, r, "readdir after cookie %" PRIu64, listing->cookie);
        for (int i = 0; i < listing->n && r >= 0; i++)
            r = load_entry(l, dir, listing->entries[i].name, &listing->entries[i].attr);
        n_entries += (uint64_t)listing->n;
    } while (r >= 0 && listing->n > 0);
    free(listing);
    dir->mtime = mtime;
    if (r >= 0 && n_entries != attr->size + 2)
        return fail(l, -EBADMSG, "%" PRIu64 " entries listed, size %" PRIu64, n_entries, attr->size);
    return r < 0 ? r : 0;
}

/* ---- nodes -------------------------------------------------------------- */

static int load_node(struct loader *l, struct model_node *node, const struct eng_attr *attr)
{
    struct eng_attr again;
    int r = get_attr(l, attr->ino, &again);
    if (r < 0)
        return fail(l, r, "getattr");
    if (again.mode != attr->mode || again.size != attr->size || again.nlink != attr->nlink)
        return fail(l, -EBADMSG, "getattr differs from readdir");
    node->uid = attr->uid;
    node->gid = attr->gid;
    node->mtime = attr->mtime < MODEL_TIME_NOW ? attr->mtime : 0;

    r = load_xattrs(l, node, attr->ino);
    if (r == 0 && S_ISREG(attr->mode))
        r = load_content(l, node, attr);
    if (r == 0 && S_ISLNK(attr->mode))
        r = load_target(l, node, attr);
    if (r == 0 && S_ISDIR(attr->mode))
        r = load_directory(l, node, attr);
    return r;
}

/* Links can be counted only when all names were seen. */
static int check_links(struct loader *l)
{
    for (const struct model_node *node = l->m->nodes; node; node = node->next) {
        struct eng_attr attr;
        int r = get_attr(l, node->ino, &attr);
        if (r < 0)
            return fail(l, r, "getattr of inode %" PRIu64, node->ino);
        if (!S_ISDIR(node->mode) && attr.nlink != node->nlink)
            return fail(l, -EBADMSG, "inode %" PRIu64 " has %u links, %u names", node->ino, attr.nlink,
                        node->nlink);
    }
    return 0;
}

/* The tree of now, or that of a view. */
static int load_tree(struct eng *eng, struct eng_view *view, struct model **ret_model,
                     char why[MODEL_WHY_MAX])
{
    struct loader *l = model_alloc(sizeof *l);
    l->eng = eng;
    l->view = view;
    l->m = model_new();
    l->why = why;

    struct eng_attr attr;
    int r = get_attr(l, ENG_ROOT_INO, &attr);
    if (r < 0) {
        (void)fail(l, r, "getattr of the root");
    } else {
        l->m->root->ino = ENG_ROOT_INO;
        l->m->root->mode = attr.mode;
        r = load_node(l, l->m->root, &attr);
    }
    if (!r)
        r = check_links(l);
    if (!r)
        *ret_model = l->m;
    else
        model_free(l->m);
    free(l);
    return r;
}

/* ---- snapshots ----------------------------------------------------------- */

struct snapshots {
    struct eng *eng;
    struct model *m;
    char *why;
};

int model_load_batch(struct eng *eng, uint64_t batch, struct model **ret_model, char why[MODEL_WHY_MAX])
{
    struct eng_view *view;
    int r = eng_view_open(eng, batch, &view);
    if (r) {
        (void)snprintf(why, MODEL_WHY_MAX, "no view");
        return r;
    }
    r = load_tree(eng, view, ret_model, why);
    eng_view_close(view);
    return r;
}

static int load_snapshot(void *arg, const struct eng_snapshot *snapshot)
{
    struct snapshots *all = arg;
    char reason[MODEL_WHY_MAX] = "";
    struct model *tree = NULL;
    int r = model_load_batch(all->eng, snapshot->batch, &tree, reason);
    if (r < 0)
        (void)snprintf(all->why, MODEL_WHY_MAX, "snapshot %.60s of batch %" PRIu64 ": %.300s (%s)",
                       snapshot->name, snapshot->batch, reason, strerror(-r));
    else
        model_add_snapshot(all->m, snapshot->name, tree);
    return r;
}

int model_load(struct eng *eng, struct model **ret_model, char why[MODEL_WHY_MAX])
{
    struct model *m = NULL;
    int r = load_tree(eng, NULL, &m, why);
    if (r < 0)
        return r;
    r = eng_snapshot_list(eng, load_snapshot, &(struct snapshots){.eng = eng, .m = m, .why = why});
    if (r < 0)
        model_free(m);
    else
        *ret_model = m;
    return r;
}

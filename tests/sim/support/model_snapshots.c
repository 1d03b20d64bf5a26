/*
 * model_snapshots.c - the snapshots of a model: trees under names, oldest first. */
#include "model_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

static struct model_snapshot **find(struct model *m, const char *name)
{
    struct model_snapshot **link = &m->snapshots;
    while (*link && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

void model_add_snapshot(struct model *m, const char *name, struct model *take_tree)
{
    struct model_snapshot *snapshot = model_alloc(sizeof *snapshot), **link = &m->snapshots;
    (void)snprintf(snapshot->name, sizeof(snapshot->name), "%s", name);
    snapshot->tree = take_tree;
    snapshot->hash = model_hash(take_tree);
    while (*link)
        link = &(*link)->next;
    *link = snapshot;
}

static void remove_snapshot(struct model_snapshot **link)
{
    struct model_snapshot *snapshot = *link;
    *link = snapshot->next;
    model_free(snapshot->tree);
    free(snapshot);
}

void model_free_snapshots(struct model *m)
{
    while (m->snapshots)
        remove_snapshot(&m->snapshots);
}

void model_clone_snapshots(struct model *to, const struct model *m)
{
    for (const struct model_snapshot *s = m->snapshots; s; s = s->next)
        model_add_snapshot(to, s->name, model_clone_tree(s->tree));
}

int model_snapshot(struct model *m, const char *name)
{
    if (*find(m, name))
        return -EEXIST;
    model_add_snapshot(m, name, model_clone_tree(m));
    return 0;
}

int model_snapshot_rename(struct model *m, const char *name, const char *new_name)
{
    struct model_snapshot *snapshot = *find(m, name);
    if (!snapshot)
        return -ENOENT;
    if (strcmp(name, new_name) != 0 && *find(m, new_name))
        return -EEXIST;
    (void)snprintf(snapshot->name, sizeof(snapshot->name), "%s", new_name);
    return 0;
}

int model_snapshot_drop(struct model *m, const char *name)
{
    struct model_snapshot **link = find(m, name);
    if (!*link)
        return -ENOENT;
    remove_snapshot(link);
    return 0;
}

int model_can_restore(struct model *m, const char *path, const char *name)
{
    const struct model_snapshot *snapshot = *find(m, name);
    struct model_node *node;
    int r = model_find(m, path, &node);
    if (!r)
        r = snapshot ? model_find(snapshot->tree, path, &node) : -ENOENT;
    return r;
}

void model_restore(struct model *m, const char *path, const char *name)
{
    struct model_node *now, *then;
    if (model_find(m, path, &now) || model_find((*find(m, name))->tree, path, &then))
        abort();
    bool same = now->size == then->size && (!now->size || memcmp(now->data, then->data, now->size) == 0);
    int64_t mtime = same ? now->mtime : 0; /* else it is now */
    (void)model_truncate(m, path, 0);
    (void)model_write(m, path, then->data, then->size, 0);
    (void)model_drop_xattrs(m, path);
    for (const struct model_xattr *x = then->xattrs; x; x = x->next)
        model_put_xattr(now, x->name, x->value, x->size);
    now->mode = then->mode;
    now->uid = then->uid;
    now->gid = then->gid;
    now->mtime = mtime;
}

int model_rollback(struct model *m, const char *name)
{
    const struct model_snapshot *snapshot = *find(m, name);
    if (!snapshot)
        return -ENOENT;
    struct model *tree = model_clone_tree(snapshot->tree);
    const struct model was = *m;
    m->root = tree->root;
    m->nodes = tree->nodes;
    tree->root = was.root;
    tree->nodes = was.nodes;
    model_free(tree);
    return 0;
}

static struct model_entry *entry_of(const struct model *m, const char *name)
{
    struct model_entry *entry = m->root->entries;
    while (entry && strcmp(entry->name, name) != 0)
        entry = entry->next;
    return entry;
}

/* Of files with one name. */
static struct model_node *copy_node(struct model *m, const struct model_node *from)
{
    struct model_node *node = model_node_new(m, from->mode);
    node->uid = from->uid;
    node->gid = from->gid;
    model_put_bytes(node, from->data, from->size, 0);
    for (const struct model_xattr *x = from->xattrs; x; x = x->next)
        model_put_xattr(node, x->name, x->value, x->size);
    for (const struct model_entry *entry = from->entries; entry; entry = entry->next)
        model_add_entry(node, entry->name, copy_node(m, entry->node));
    node->mtime = S_ISDIR(from->mode) ? 0 : from->mtime;
    return node;
}

int model_undelete(struct model *m, const char *name, const char *snapshot)
{
    const struct model_snapshot *from = *find(m, snapshot);
    const struct model_entry *entry = from ? entry_of(from->tree, name) : NULL;
    if (!entry || entry_of(m, name))
        return -ENOENT;
    model_add_entry(m->root, name, copy_node(m, entry->node));
    return 0;
}

void model_forget_snapshots(struct model *m)
{
    model_free_snapshots(m);
}

bool model_has_snapshots(const struct model *m)
{
    return m->snapshots != NULL;
}

uint64_t model_hash_tree(const struct model *m)
{
    const struct model bare = {.root = m->root, .nodes = m->nodes};
    return model_hash(&bare);
}

uint64_t model_hash_snapshots(const struct model *m, uint64_t seed)
{
    for (const struct model_snapshot *s = m->snapshots; s; s = s->next)
        seed = XXH3_64bits_withSeed(s->name, strlen(s->name), seed ^ s->hash);
    return seed;
}

bool model_equal_snapshots(const struct model *a, const struct model *b, char why[MODEL_WHY_MAX])
{
    const struct model_snapshot *x = a->snapshots, *y = b->snapshots;
    char reason[MODEL_WHY_MAX];
    for (; x && y && strcmp(x->name, y->name) == 0; x = x->next, y = y->next) {
        if (model_equal(x->tree, y->tree, reason))
            continue;
        (void)snprintf(why, MODEL_WHY_MAX, "snapshot %.60s: %.400s", x->name, reason);
        return false;
    }
    if (x || y)
        (void)snprintf(why, MODEL_WHY_MAX, "snapshot %.60s against %.60s", x ? x->name : "(none)",
                       y ? y->name : "(none)");
    return !x && !y;
}

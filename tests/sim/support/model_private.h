/*
 * model_private.h - what the files of the model share. */
#ifndef ENGRAMFS_TESTS_MODEL_PRIVATE_H
#define ENGRAMFS_TESTS_MODEL_PRIVATE_H

#include "model.h"

struct model_xattr {
    struct model_xattr *next; /* in order of name */
    char name[256];
    uint8_t *value;
    uint64_t size;
};

struct model_entry {
    struct model_entry *next; /* in order of name */
    char name[256];
    struct model_node *node;
};

struct model_node {
    struct model_node *next; /* all nodes of the model */
    uint32_t mode, uid, gid;
    uint32_t nlink; /* entries that name it; of the root: 1 */
    int64_t mtime;  /* 0: not compared */
    uint8_t *data;  /* content, or target of a symlink; zeros from size to cap */
    uint64_t size, cap;
    struct model_xattr *xattrs;
    struct model_entry *entries;
    uint64_t ino; /* of the engine, when loaded from one */

    struct model_node *peer; /* scratch: its copy, its counterpart */
    uint64_t serial;         /* scratch of model_hash() */
};

struct model_snapshot {
    struct model_snapshot *next; /* the next younger one */
    char name[256];
    struct model *tree; /* without snapshots */
    uint64_t hash;      /* of tree */
};

struct model {
    struct model_node *root, *nodes;
    struct model_snapshot *snapshots; /* oldest first */
};

void *model_alloc(size_t size);
struct model_node *model_node_new(struct model *m, uint32_t mode);
void model_add_entry(struct model_node *dir, const char *name, struct model_node *node);
void model_put_bytes(struct model_node *node, const void *data, uint64_t size, uint64_t offset);
void model_put_xattr(struct model_node *node, const char *name, const void *value, uint64_t size);
/* -ENOENT, -ENOTDIR. */
int model_find(const struct model *m, const char *path, struct model_node **ret_node);
/* A copy without the snapshots. */
struct model *model_clone_tree(const struct model *m);
/* model_snapshots.c: the part of the snapshots in model_free() and its like. */
void model_add_snapshot(struct model *m, const char *name, struct model *take_tree);
void model_free_snapshots(struct model *m);
void model_clone_snapshots(struct model *to, const struct model *m);
uint64_t model_hash_snapshots(const struct model *m, uint64_t seed);
bool model_equal_snapshots(const struct model *a, const struct model *b, char why[MODEL_WHY_MAX]);

#endif

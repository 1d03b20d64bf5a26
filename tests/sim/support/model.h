/*
 * model.h - a file tree as it should be: the plainest structures that can
 * hold one, independent of the engine, and the comparison of the two.
 *
 * Paths are relative to the root, components separated by '/'. Functions that
 * change return 0 or the negative errno that the engine is expected to give,
 * and then change nothing.
 *
 * Times: only an mtime that was set explicitly, to something before the year
 * 2001, is compared; all others count as "now". */
#ifndef ENGRAMFS_TESTS_MODEL_H
#define ENGRAMFS_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eng;
struct model;

#define MODEL_TIME_NOW INT64_C(1000000000000000000) /* ns; later times are not compared */
#define MODEL_WHY_MAX 512

struct model *model_new(void);
void model_free(struct model *m); /* NULL is fine */
struct model *model_clone(const struct model *m);

int model_create(struct model *m, const char *path, uint32_t mode, const char *target);
int model_write(struct model *m, const char *path, const void *data, uint64_t size, uint64_t offset);
int model_append(struct model *m, const char *path, const void *data, uint64_t size);
int model_truncate(struct model *m, const char *path, uint64_t size);
/* Makes a range zeros; with `extend` the file grows to hold it. */
int model_zero(struct model *m, const char *path, uint64_t offset, uint64_t size, bool extend);
int model_unlink(struct model *m, const char *path);
int model_rmdir(struct model *m, const char *path);
int model_link(struct model *m, const char *from, const char *to);
int model_rename(struct model *m, const char *from, const char *to, unsigned flags); /* enum eng_rename */
int model_setxattr(struct model *m, const char *path, const char *name, const void *value, uint64_t size,
                   unsigned flags); /* enum eng_xattr */
int model_removexattr(struct model *m, const char *path, const char *name);
int model_drop_xattrs(struct model *m, const char *path);
int model_chmod(struct model *m, const char *path, uint32_t mode);
int model_chown(struct model *m, const char *path, uint32_t uid, uint32_t gid);
int model_set_mtime(struct model *m, const char *path, int64_t mtime);

/* A snapshot is the tree of now under a name. Snapshots are part of the model for all functions below, and
 * for model_clone(). */
int model_snapshot(struct model *m, const char *name);
int model_snapshot_rename(struct model *m, const char *name, const char *new_name);
int model_snapshot_drop(struct model *m, const char *name);
/* A file becomes again what the snapshot has of it; whether it can: 0, -ENOENT. */
void model_restore(struct model *m, const char *path, const char *name);
int model_can_restore(struct model *m, const char *path, const char *name);
/* All becomes again what the snapshot has. -ENOENT. */
int model_rollback(struct model *m, const char *name);
/* What the root of that snapshot has under the name, with all below, is there again. -ENOENT: it is there, or
 * was not. */
int model_undelete(struct model *m, const char *name, const char *snapshot);
bool model_has_snapshots(const struct model *m);
void model_forget_snapshots(struct model *m);

/* What is there; -ENOENT, -ENOTDIR. ret_size may be NULL. */
int model_stat(const struct model *m, const char *path, uint32_t *ret_mode, uint64_t *ret_size);

/* Equal trees have equal hashes. */
uint64_t model_hash(const struct model *m);
/* The same of the tree alone, whatever snapshots there are. */
uint64_t model_hash_tree(const struct model *m);
/* Whether the trees are equal; if not, `why` says the first difference: path, what, both values. */
bool model_equal(const struct model *a, const struct model *b, char why[MODEL_WHY_MAX]);

/*
 * Reads everything an engine holds, its snapshots, too. Fails also if the engine contradicts
 * itself: readdir, lookup and getattr, sizes, content hashes. 0 or a negative
 * errno, -EBADMSG for a contradiction; `why` explains. */
int model_load(struct eng *eng, struct model **ret_model, char why[MODEL_WHY_MAX]);
/* The same of the tree that the view of a batch shows. */
int model_load_batch(struct eng *eng, uint64_t batch, struct model **ret_model, char why[MODEL_WHY_MAX]);

#endif

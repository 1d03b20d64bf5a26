/*
 * target.h - opens targets (target_ops.h), and does what works with any of them. */
#ifndef ENGRAMCTL_TARGET_H
#define ENGRAMCTL_TARGET_H

#include "ctl/transfer/mounts.h"
#include "ctl/transfer/target_ops.h"

/* Opens a store or a mount, whichever `path` is. On failure `ret_why` has one line that names the path. */
int target_open(const char *path, unsigned flags, struct target **ret_target, char ret_why[512]);
/* The same; `store`: with TARGET_SNAPSHOT, where the store of the mount is, NULL: where the mount says. `at`:
 * the store is read as it was in the snapshot of that name, or after the batch of that number; NULL: as it
 * is. With TARGET_READ_ONLY; a mount needs TARGET_SNAPSHOT, too. */
int target_open_as(const char *path, const char *store, const char *at, unsigned flags,
                   struct target **ret_target, char ret_why[512]);
/* A view of an open store as it was in the snapshot of that name or, if there is none, after the batch of
 * that number; to be closed before the target is. On failure `ret_why` has one line. */
int target_open_view(struct target *t, const char *at, struct eng_view **ret_view, char ret_why[512]);
/* Opens a directory as a plain tree; with TARGET_CREATE it must be missing or empty. */
int target_open_tree(const char *path, unsigned flags, struct target **ret_target, char ret_why[512]);
/* Flushes, closes and frees. NULL is fine. */
int target_close(struct target *t);

/* A descriptor of the folder of a store, or of the store of a mount. */
int target_open_store_folder(const char *path, char ret_why[512]);
/* Whether `path` is in an engramfs mount: 1, 0: no, or -errno. Then mounts_done(). */
int target_find_mount(const char *path, struct target_mount *ret_mount, char ret_why[512]);

/* So often a file that is cut while it is read is read again. */
#define CUTS_MAX 10
/* Of files over this holes are asked for. */
#define TARGET_HOLES_FROM ((uint64_t)64 << 10)

/* open() of a file for reading. One that took the name meanwhile will do: `attr` is of the file that was
 * opened. */
int target_open_file(struct target *t, tdir dir, const char *name, struct target_attr *attr,
                     struct target_file *ret_file);
/* A walk through `t` leaves out this file or folder, since that is where it goes. */
void target_leave_out(struct target *t, uint64_t dev, uint64_t ino);

/* strerror(), in the words of this program where those are clearer. */
const char *target_strerror(int error);
/* Whether an error of one record means that the next ones will fail as well: of what may be an error of one
 * name only, a mount's root says whether it is. */
bool target_error_is_fatal(struct target *t, int error);
/* After an error of something in a source: 0, or -ECANCELED if all of it answers no more, which is told. */
int target_still_there(struct target *t);

/* Whether an open file has fewer than `size` bytes by now; then *ret_size is how many. A store has not. */
bool target_is_cut(struct target *t, struct target_file *f, uint64_t size, uint64_t *ret_size);
/* The whole content into `buf` (attr->size bytes expected): a struct buf's worth. -EFBIG beyond `max`. If it
 * is cut meanwhile it is read again: -EREMCHG if that goes on. */
struct buf;
int target_read_all(struct target *t, struct target_file *f, uint64_t size, uint64_t max, struct buf *out);

/* How many memories there are below, for a progress display; 0: unknown. */
uint64_t target_count(struct target *t);

/* All user.* and guarded attributes of an open file or directory, in `pool`; ones that vanish meanwhile are
 * left out. With an error but -ENOMEM, those that can be read. */
struct pool;
int target_load_xattrs(struct target *t, struct target_file *f, struct pool *pool,
                       const struct eng_xattr_pair **ret_xattrs, size_t *ret_n);

#endif

/*
 * mount.h - what is said to and asked of the kernel about a mount point. */
#ifndef ENGRAMFS_FS_MOUNT_H
#define ENGRAMFS_FS_MOUNT_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif

#include <fuse_lowlevel.h>

#include "options.h"

/*
 * The absolute path of a directory that may be missing in its last component
 * or be the mount point of a dead daemon. The caller frees it. -errno. */
int mnt_absolute(const char *path, char **ret_path);

/* A mount point. It is looked up once: who may rename or link its folders later, or mount something over
 * them, leads us nowhere else, and cannot keep anybody waiting. */
struct mnt_place {
    const char *path; /* absolute, without links; the caller's, for as long as the place is open */
    const char *name; /* in `parent`, part of `path` */
    int parent;       /* O_PATH */
    int point;        /* O_PATH: the directory to be mounted on; -1 once that is done */
};
/* -errno if a folder of the path has become a link since mnt_absolute(), or cannot be had. */
int mnt_place_open(const char *path, struct mnt_place *ret_place);
void mnt_place_close(struct mnt_place *place);
/*
 * Makes it fit for mounting on: a directory, no engramfs on it already, and if
 * a daemon died under it, detached first. On failure a negative errno and one
 * line. */
int mnt_prepare(struct mnt_place *place, char why[FS_WHY_MAX]);

/* The arguments of fuse_session_new(), from those of the command line and the absolute path of the store. */
int mnt_session_args(const struct fs_options *opt, const char *store, struct fuse_args *args);
/* Mounts a session there; *ret_device is the mount's. On failure a negative errno and one line. */
int mnt_mount(struct fuse_session *fuse, struct mnt_place *place, dev_t *ret_device, char why[FS_WHY_MAX]);

/* Is what one sees there this mount? Another one may lie above it. The daemon is asked for nothing. */
bool mnt_on_top(const struct mnt_place *place, dev_t device);
/* The root of what is mounted there, by O_PATH, for its folder may be one that nobody may read; or -errno. */
int mnt_open_root(const struct mnt_place *place);
/* Pages stored through mappings, of files that stay open: umount would do it, but will not while they are. */
void mnt_write_back(const struct mnt_place *place);
/* Unmounts as umount(8) would, -EBUSY while files are open; or, with `lazy`, as umount -l, and -f where that
 * is allowed. As root, or through fusermount3, which has some seconds. */
int mnt_unmount(const struct mnt_place *place, bool lazy);
/* Ends the connection of a mount as fusectl does: where closing its descriptor would not, and whoever waits
 * for an answer has to be told. Only if fusectl is mounted. */
void mnt_abort(dev_t device);

#endif

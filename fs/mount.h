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

/*
 * Makes `path` (absolute) fit for mounting on: a directory, no engramfs on it
 * already, and if a daemon died under it, detached first. On failure a
 * negative errno and one line. */
int mnt_prepare(const char *path, char why[FS_WHY_MAX]);

/* The arguments of fuse_session_new(), from those of the command line and the absolute path of the store. */
int mnt_session_args(const struct fs_options *opt, const char *store, struct fuse_args *args);
/* Mounts a session on `path` (absolute). On failure a negative errno and one line. */
int mnt_mount(struct fuse_session *fuse, const char *path, char why[FS_WHY_MAX]);

/* Unmounts as umount(8) would: -EBUSY while files are open. As root or through fusermount3. */
int mnt_unmount(const char *path);

#endif

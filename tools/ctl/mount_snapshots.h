/*
 * mount_snapshots.h - the snapshots of a mounted store, by its folder .engram/snapshots. */
#ifndef ENGRAMCTL_MOUNT_SNAPSHOTS_H
#define ENGRAMCTL_MOUNT_SNAPSHOTS_H

#include "admin.h"

/* These return 0 or -errno: what the mount answers; -EOPNOTSUPP: it has no such folder. */

/* What programs have written to the mount by then is in it; what they have stored into mappings as far as the
 * kernel writes it back in time, since it tells of no end: msync(2) makes certain. */
int mount_snapshots_create(const char *mountpoint, const char *name);
/* -EEXIST: there is one called `new_name`. */
int mount_snapshots_rename(const char *mountpoint, const char *name, const char *new_name);
int mount_snapshots_drop(const char *mountpoint, const char *name);
/* -ENOSYS: the mount shows no attributes. Tells of each, oldest first, until `emit` returns other than 0;
 * returns that. */
int mount_snapshots_list(const char *mountpoint, int (*emit)(void *arg, const struct eng_snapshot *snapshot),
                         void *arg);
/* What it keeps, as the mount tells: -EACCES to those who may not drop it; -ENOSYS. */
int mount_snapshots_space(const char *mountpoint, const char *name, struct eng_snapshot_space *ret);

#endif

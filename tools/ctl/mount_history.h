/*
 * mount_history.h - the versions of a memory of a mounted store, by its folder .engram/history: what the
 * caller may see there. */
#ifndef ENGRAMCTL_MOUNT_HISTORY_H
#define ENGRAMCTL_MOUNT_HISTORY_H

#include "engine.h"

/* As eng_history(), but that times are in milliseconds, `ino` is what stat(2) shows of the version, and
 * `seen_at` is not told. -EISDIR: PATH is, or was at last, a folder; -EOPNOTSUPP: the mount has no such
 * folder. */
int mount_history(const char *mountpoint, const char *path,
                  int (*emit)(void *arg, const struct eng_version *version), void *arg);

#endif

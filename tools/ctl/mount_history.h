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

/* The same of what is in a folder and below it, or was, and of the folder itself: each with its path from the
 * root on, in no order. A name that is too long to be shown whole is as `history` shows it. Takes a
 * descriptor for each folder on the way. */
int mount_history_below(const char *mountpoint, const char *path,
                        int (*emit)(void *arg, const char *path, const struct eng_version *version),
                        void *arg);

#endif

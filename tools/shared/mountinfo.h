/*
 * mountinfo.h - what the kernel tells of mounts (proc(5)): which one a descriptor is in, and in whose name it
 * is mounted. No file system is asked for anything, since it may be somebody's who never answers. */
#ifndef ENGRAM_SHARED_MOUNTINFO_H
#define ENGRAM_SHARED_MOUNTINFO_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* In whose name something is mounted, where nobody knows: not root's. */
#define MOUNTINFO_NOBODY ((uid_t)UINT32_MAX)

/* One line. */
struct mountinfo {
    int id;
    dev_t dev;
    /* Of a FUSE: whose daemon says what is in it; else 0. The kernel's word, unlike the other fields, but a
     * number of the user namespace in which it was mounted: in a mount namespace of a user's own, where root
     * is only if it has entered it, that user's may be 0. */
    uid_t user;
    bool is_engramfs, is_fuse;
    char root[PATH_MAX], mountpoint[PATH_MAX], source[PATH_MAX]; /* root: the folder of it that is mounted */
};

/* The number of the mount that a descriptor is in; -1: unknown. */
int mountinfo_number(int fd);
/* The line of that mount. 1, 0: none, as of one that was taken away and is in use still, or -errno. */
int mountinfo_find(int id, struct mountinfo *ret);
/* The first one where all of that engramfs is mounted, likewise. */
int mountinfo_find_whole(dev_t dev, struct mountinfo *ret);

#endif

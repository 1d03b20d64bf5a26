/*
 * mounts.h - which mount a descriptor is in. No file system is asked for anything, since it may be somebody's
 * who never answers; but for one that was taken away and is in use still, which the kernel does not list. */
#ifndef ENGRAMCTL_MOUNTS_H
#define ENGRAMCTL_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

struct target_mount {
    char *mountpoint, *prefix; /* of an engramfs, and the path from there, "" if there is none; to be freed */
    char *source;              /* the store, as the mount was told; to be freed */
    uid_t user;                /* as mounts_user() has it: what it says of itself is his word */
    bool is_fuse;              /* also of one that is no engramfs */
};
/* Whether the place of `fd` is in an engramfs mount: 1, 0: no, or -errno. `path` is for messages. */
int mounts_find(int fd, const char *path, struct target_mount *ret_mount, char ret_why[512]);
void mounts_done(struct target_mount *m);
/* In whose name what `fd` is in is mounted: 0: root's, or no FUSE; MOUNTINFO_NOBODY: nobody knows. */
uid_t mounts_user(int fd);
/* The same of a place that may be anybody's, who need not answer: what is not listed is nobody's. */
uid_t mounts_user_unasked(int fd);

#endif

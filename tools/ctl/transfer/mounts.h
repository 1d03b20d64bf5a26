/*
 * mounts.h - which mount a descriptor is in. Mountinfo tells that (proc(5)), and the descriptor's own file
 * in /proc: no file system is asked for anything, since it may be somebody's who never answers. */
#ifndef ENGRAMCTL_MOUNTS_H
#define ENGRAMCTL_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

struct target_mount {
    char *mountpoint, *prefix; /* of an engramfs, and the path from there, "" if there is none; to be freed */
    char *source;              /* the store, as the mount was told; to be freed */
    uid_t user;                /* in whose name it is mounted: what it says of itself is his word */
    bool is_fuse;              /* also of one that is no engramfs */
};
/* Whether the place of `fd` is in an engramfs mount: 1, 0: no, or -errno. `path` is for messages. */
int mounts_find(int fd, const char *path, struct target_mount *ret_mount, char ret_why[512]);
void mounts_done(struct target_mount *m);
/* The number of the mount that a descriptor is in, as mountinfo has it; -1: unknown. */
int mounts_number(int fd);

#endif

/*
 * mounts.c - see mounts.h. No state. */
#include "ctl/transfer/mounts.h"

#include "shared/mountinfo.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

/* Whether `path` is `dir` or below it; if so returns the rest without its slash. */
static const char *below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    if (n == 1 && *dir == '/')
        return path + 1;
    if (strncmp(path, dir, n) != 0 || (path[n] && path[n] != '/'))
        return NULL;
    return path[n] ? path + n + 1 : path + n;
}

void mounts_done(struct target_mount *m)
{
    free(m->mountpoint);
    free(m->prefix);
    free(m->source);
    *m = (struct target_mount){0};
}

/* Of an engramfs. The control files are where all of it is mounted, so that place, if there is one, is its
 * mount point; of a mount of one folder of it, paths begin at its root, wherever that is mounted. */
static int note_mount(int fd, struct mountinfo *m, struct target_mount *ret)
{
    char path[64], real[PATH_MAX];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, real, sizeof real - 1);
    if (n < 0)
        return -errno;
    real[n] = 0;
    const char *rest = below(real, m->mountpoint), *folder = m->root + 1;
    if (!rest)
        return -ENOENT; /* not to be reached from here any more */
    *ret = (struct target_mount){.user = m->user, .is_fuse = true};
    if (asprintf(&ret->prefix, "%s%s%s", folder, *folder && *rest ? "/" : "", rest) < 0)
        ret->prefix = NULL;
    ret->source = strdup(m->source);
    ret->mountpoint = strdup(m->mountpoint);
    int r = ret->prefix && ret->source && ret->mountpoint ? 0 : -ENOMEM;
    if (!r && *folder && (r = mountinfo_find_whole(m->dev, m)) > 0) {
        free(ret->mountpoint);
        ret->mountpoint = strdup(m->mountpoint);
        r = ret->mountpoint ? 0 : -ENOMEM;
    }
    if (r < 0)
        mounts_done(ret);
    return r;
}

/* The line of the mount that `fd` is in: 1, or -errno. 0: it is not listed, as after a lazy unmount; then
 * `ret` says of which kind it is. Who has mounted it nobody tells any more, and a FUSE may be anybody's. */
static int find_mount(int fd, struct mountinfo *ret)
{
    struct statfs fs;
    int r = mountinfo_find(mountinfo_number(fd), ret);
    if (r)
        return r;
    *ret = (struct mountinfo){0};
    ret->is_fuse = fstatfs(fd, &fs) < 0 || fs.f_type == FUSE_SUPER_MAGIC;
    ret->user = ret->is_fuse ? MOUNTINFO_NOBODY : 0;
    return 0;
}

uid_t mounts_user(int fd)
{
    struct mountinfo *m = calloc(1, sizeof *m);
    uid_t user = m && find_mount(fd, m) >= 0 ? m->user : MOUNTINFO_NOBODY;
    free(m);
    return user;
}

uid_t mounts_user_unasked(int fd)
{
    struct mountinfo *m = calloc(1, sizeof *m);
    uid_t user = m && mountinfo_find(mountinfo_number(fd), m) > 0 ? m->user : MOUNTINFO_NOBODY;
    free(m);
    return user;
}

int mounts_find(int fd, const char *path, struct target_mount *ret_mount, char ret_why[512])
{
    struct stat st;
    struct mountinfo *m = calloc(1, sizeof *m);
    *ret_mount = (struct target_mount){0};
    int r = m ? find_mount(fd, m) : -ENOMEM;
    if (r >= 0) {
        ret_mount->is_fuse = m->is_fuse;
        ret_mount->user = m->user;
    }
    if (r > 0 && m->is_engramfs) {
        r = fstat(fd, &st) < 0 ? -errno : note_mount(fd, m, ret_mount);
        r = r < 0 ? r : 1;
    } else if (r > 0) {
        r = 0;
    }
    const char *hint = r == -ENOTCONN ? " (its daemon has died: unmount it with fusermount3 -u)" : "";
    if (r < 0)
        snprintf(ret_why, 512, "%s: %s%s", path, r == -ENOSYS ? "needs /proc" : strerror(-r), hint);
    free(m);
    return r;
}

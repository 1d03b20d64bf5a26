/*
 * target.c - finds out what a path is and opens it. State: none of its own.
 */
#include "target.h"

#include "buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape_mount(char *s)
{
    char *o = s;
    while (*s) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
            *o++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *o++ = *s++;
        }
    }
    *o = 0;
}

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

/* One line of mountinfo (proc(5)): the mount point, if it is an engramfs mount of device `dev`, else NULL. */
static char *engramfs_mount(char *line, dev_t dev)
{
    unsigned major, minor;
    char root[PATH_MAX], mountpoint[PATH_MAX];
    char *type = strstr(line, " - ");
    if (!type || strncmp(type + 3, "fuse.engramfs ", 14) != 0)
        return NULL;
    if (sscanf(line, "%*d %*d %u:%u %4095s %4095s", &major, &minor, root, mountpoint) != 4 ||
        makedev(major, minor) != dev || strcmp(root, "/") != 0)
        return NULL;
    unescape_mount(mountpoint);
    return strdup(mountpoint);
}

/* The innermost engramfs mount that holds `real`. */
static int search_mounts(const char *real, dev_t dev, char **ret_mountpoint, char **ret_prefix)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL, *best = NULL;
    size_t cap = 0;
    if (!f)
        return -errno;
    while (getline(&line, &cap, f) > 0) {
        char *mp = engramfs_mount(line, dev);
        if (mp && below(real, mp) && (!best || strlen(mp) >= strlen(best))) {
            free(best);
            best = mp;
        } else {
            free(mp);
        }
    }
    free(line);
    fclose(f);
    if (!best)
        return 0;
    char *prefix = strdup(below(real, best));
    if (!prefix) {
        free(best);
        return -ENOMEM;
    }
    *ret_prefix = prefix;
    *ret_mountpoint = best;
    return 1;
}

int target_find_mount(const char *path, char **ret_mountpoint, char **ret_prefix, char ret_why[512])
{
    struct statfs fs;
    struct stat st;
    if (statfs(path, &fs) < 0 || (fs.f_type == FUSE_SUPER_MAGIC && stat(path, &st) < 0)) {
        int e = errno;
        if (e == ENOENT)
            return 0;
        snprintf(ret_why, 512, "%s: %s%s", path, strerror(e),
                 e == ENOTCONN ? " (its daemon has died: unmount it with fusermount3 -u)" : "");
        return -e;
    }
    if (fs.f_type != FUSE_SUPER_MAGIC)
        return 0;
    char *real = realpath(path, NULL);
    int r = real ? search_mounts(real, st.st_dev, ret_mountpoint, ret_prefix) : -errno;
    if (r < 0)
        snprintf(ret_why, 512, "%s: %s", path, strerror(-r));
    free(real);
    return r;
}

static struct target *target_new(const char *path)
{
    struct target *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->path = strdup(path);
    if (!t->path) {
        free(t);
        return NULL;
    }
    return t;
}

static void target_free(struct target *t)
{
    free(t->path);
    free(t->mountpoint);
    free(t->prefix);
    free(t);
}

/* A missing path is where a new store goes, but never inside a mount: that was meant as a folder of the
 * mount. */
static int refuse_missing_in_mount(const char *path, char ret_why[512])
{
    char *copy, *mountpoint = NULL, *prefix = NULL, why[512];
    if (access(path, F_OK) == 0 || !(copy = strdup(path)))
        return 0;
    int r = target_find_mount(dirname(copy), &mountpoint, &prefix, why);
    free(copy);
    free(mountpoint);
    free(prefix);
    if (r <= 0)
        return 0;
    snprintf(ret_why, 512, "%s: no such directory in the mount (make it with mkdir)", path);
    return -ENOENT;
}

int target_open(const char *path, unsigned flags, struct target **ret_target, char ret_why[512])
{
    struct target *t = target_new(path);
    if (!t) {
        snprintf(ret_why, 512, "out of memory");
        return -ENOMEM;
    }
    int r = target_find_mount(path, &t->mountpoint, &t->prefix, ret_why);
    if (r > 0) {
        t->kind = TARGET_MOUNT;
        r = target_posix_open(t, path, ret_why);
    } else if (r == 0) {
        t->kind = TARGET_STORE;
        r = refuse_missing_in_mount(path, ret_why);
        if (r == 0)
            r = target_store_open(t, flags, ret_why);
    }
    if (r < 0) {
        target_free(t);
        return r;
    }
    *ret_target = t;
    return 0;
}

/* -ENOTEMPTY, or 0 if there is nothing in it. */
static int check_empty(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    int r = 0;
    for (struct dirent *e; r == 0 && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = -ENOTEMPTY;
    closedir(d);
    return r;
}

int target_open_tree(const char *path, unsigned flags, struct target **ret_target, char ret_why[512])
{
    int r = 0;
    if (flags & TARGET_CREATE) {
        r = mkdir(path, 0777) == 0 ? 0 : -errno;
        if (r == -EEXIST)
            r = check_empty(path);
    }
    struct target *t = r == 0 ? target_new(path) : NULL;
    if (r == 0 && !t)
        r = -ENOMEM;
    if (!t) {
        snprintf(ret_why, 512, "%s: %s", path, strerror(-r));
        return r;
    }
    /* A mount can be the source of a tree; its control directory is then left out. */
    char why[512];
    t->kind = target_find_mount(path, &t->mountpoint, &t->prefix, why) > 0 ? TARGET_MOUNT : TARGET_TREE;
    r = target_posix_open(t, path, ret_why);
    if (r < 0) {
        target_free(t);
        return r;
    }
    *ret_target = t;
    return 0;
}

int target_close(struct target *t)
{
    if (!t)
        return 0;
    int r = t->ops->finish(t);
    t->ops->close_files(t);
    target_free(t);
    return r;
}

bool target_error_is_fatal(int error)
{
    switch (error) {
    case -ENOSPC:
    case -EDQUOT:
    case -EROFS:
    case -EIO:
    case -EBADMSG:
    case -ENOMEM:
    case -ENOTCONN:
    case -ESHUTDOWN:
    case -EMFILE:
    case -ENFILE:
        return true;
    default:
        return false;
    }
}

const char *target_strerror(int error)
{
    switch (error) {
    case -E2BIG:
        return "an attribute is too large for the file system";
    case -EEXIST:
        return "its file name is taken by another memory";
    default:
        return strerror(-error);
    }
}

int target_read_all(struct target *t, struct target_file *f, uint64_t size, uint64_t max, struct buf *out)
{
    if (size > max)
        return -EFBIG;
    out->len = 0;
    /* One byte more than expected: that read then finds the end, or that the file has grown. */
    for (;;) {
        size_t room = size >= out->len ? (size_t)size - out->len + 1 : 65536;
        if (room > 8 << 20)
            room = 8 << 20;
        if (!buf_reserve(out, room))
            return -ENOMEM;
        ssize_t n = t->ops->read(t, f, out->data + out->len, room, out->len);
        if (n < 0)
            return (int)n;
        out->len += (size_t)n;
        if (n == 0 || (size_t)n < room)
            return 0;
        if (out->len > max)
            return -EFBIG;
    }
}

/*
 * mounts.c - see mounts.h. No state. */
#include "ctl/transfer/mounts.h"

#include <errno.h>
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
            *o++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
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

void mounts_done(struct target_mount *m)
{
    free(m->mountpoint);
    free(m->prefix);
    free(m->source);
    *m = (struct target_mount){0};
}

/* One line of mountinfo. */
struct mount_line {
    int id;
    dev_t dev;
    uid_t user;
    bool is_engramfs, is_fuse;
    char root[PATH_MAX], mountpoint[PATH_MAX], source[PATH_MAX]; /* root: the folder of it that is mounted */
};

static bool parse_mount(const char *line, struct mount_line *ret)
{
    unsigned major, minor;
    char type[64] = "";
    const char *rest = strstr(line, " - ");
    if (!rest || sscanf(rest, " - %63s %4095s", type, ret->source) < 1 ||
        sscanf(line, "%d %*d %u:%u %4095s %4095s", &ret->id, &major, &minor, ret->root, ret->mountpoint) != 5)
        return false;
    const char *user = strstr(rest, "user_id=");
    ret->user = user ? (uid_t)strtoul(user + sizeof "user_id=" - 1, NULL, 10) : 0;
    ret->is_engramfs = !strcmp(type, "fuse.engramfs");
    ret->is_fuse = !strcmp(type, "fuse") || !strcmp(type, "fuseblk") || !strncmp(type, "fuse.", 5);
    ret->dev = makedev(major, minor);
    unescape_mount(ret->root);
    unescape_mount(ret->mountpoint);
    unescape_mount(ret->source);
    return true;
}

/* The line of that number; -1: the first one where all of that engramfs is mounted. 1, 0: none, or -errno. */
static int find_line(int id, dev_t dev, struct mount_line *ret)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return -errno;
    char *line = NULL;
    size_t cap = 0;
    bool found = false;
    while (!found && getline(&line, &cap, f) > 0)
        found = parse_mount(line, ret) &&
                (id >= 0 ? ret->id == id : ret->is_engramfs && ret->dev == dev && !strcmp(ret->root, "/"));
    free(line);
    fclose(f);
    return found;
}

int mounts_number(int fd)
{
    char path[64], line[128];
    int id = -1;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "mnt_id: %d", &id) != 1)
        ;
    if (f)
        fclose(f);
    return id;
}

/* Of an engramfs. The control files are where all of it is mounted, so that place, if there is one, is its
 * mount point; of a mount of one folder of it, paths begin at its root, wherever that is mounted. */
static int note_mount(int fd, struct mount_line *m, struct target_mount *ret)
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
    if (!r && *folder && (r = find_line(-1, m->dev, m)) > 0) {
        free(ret->mountpoint);
        ret->mountpoint = strdup(m->mountpoint);
        r = ret->mountpoint ? 0 : -ENOMEM;
    }
    if (r < 0)
        mounts_done(ret);
    return r;
}

int mounts_find(int fd, const char *path, struct target_mount *ret_mount, char ret_why[512])
{
    struct stat st;
    struct statfs fs;
    struct mount_line *m = calloc(1, sizeof *m);
    int id = mounts_number(fd);
    *ret_mount = (struct target_mount){0};
    int r = m ? 0 : -ENOMEM;
    if (!r && id < 0)
        r = -ENOSYS;
    if (!r)
        r = find_line(id, 0, m);
    if (r > 0) {
        ret_mount->is_fuse = m->is_fuse;
        ret_mount->user = m->user;
        r = m->is_engramfs;
    } else if (!r) { /* one that is not listed any more */
        ret_mount->is_fuse = fstatfs(fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
    }
    if (r > 0) {
        r = fstat(fd, &st) < 0 ? -errno : note_mount(fd, m, ret_mount);
        r = r < 0 ? r : 1;
    }
    const char *hint = r == -ENOTCONN ? " (its daemon has died: unmount it with fusermount3 -u)" : "";
    if (r < 0)
        snprintf(ret_why, 512, "%s: %s%s", path, r == -ENOSYS ? "needs /proc" : strerror(-r), hint);
    free(m);
    return r;
}

/*
 * target.c - finds out what a path is and opens it. State: none of its own. */
#include "ctl/transfer/target.h"

#include "ctl/transfer/target_backends.h"

#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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

static void mount_done(struct target_mount *m)
{
    free(m->mountpoint);
    free(m->prefix);
    free(m->source);
    *m = (struct target_mount){0};
}

/* One line of mountinfo (proc(5)) about an engramfs. */
struct mount_line {
    dev_t dev;
    char root[PATH_MAX], mountpoint[PATH_MAX], source[PATH_MAX]; /* root: the folder of it that is mounted */
};

static bool parse_mount(const char *line, struct mount_line *ret)
{
    unsigned major, minor;
    const char *type = strstr(line, " - ");
    if (!type || sscanf(type, " - fuse.engramfs %4095s", ret->source) != 1)
        return false;
    if (sscanf(line, "%*d %*d %u:%u %4095s %4095s", &major, &minor, ret->root, ret->mountpoint) != 4)
        return false;
    ret->dev = makedev(major, minor);
    unescape_mount(ret->root);
    unescape_mount(ret->mountpoint);
    unescape_mount(ret->source);
    return true;
}

/* A mount of one folder of an engramfs: paths begin at its root, wherever that is mounted. */
static bool note_mount(const struct mount_line *m, const char *rest, struct target_mount *ret)
{
    char *prefix = NULL;
    const char *folder = m->root + 1;
    if (asprintf(&prefix, "%s%s%s", folder, *folder && *rest ? "/" : "", rest) < 0)
        prefix = NULL;
    mount_done(ret);
    *ret = (struct target_mount){strdup(m->mountpoint), prefix, strdup(m->source)};
    return ret->mountpoint && ret->prefix && ret->source;
}

/* The innermost engramfs mount that holds `real`. The control files are where all of it is mounted, so that
 * place, if there is one, is its mount point. */
static int search_mounts(const char *real, dev_t dev, struct target_mount *ret)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    struct target_mount best = {0};
    struct mount_line *m = malloc(sizeof *m);
    char *line = NULL, *whole = NULL;
    size_t cap = 0, best_len = 0;
    bool memory = m;
    while (f && memory && getline(&line, &cap, f) > 0) {
        if (!parse_mount(line, m) || m->dev != dev)
            continue;
        if (!whole && !strcmp(m->root, "/"))
            memory = (whole = strdup(m->mountpoint));
        const char *rest = below(real, m->mountpoint);
        if (rest && strlen(m->mountpoint) >= best_len) {
            best_len = strlen(m->mountpoint);
            memory = memory && note_mount(m, rest, &best);
            if (!strcmp(m->root, "/")) {
                free(whole);
                whole = strdup(m->mountpoint);
            }
        }
    }
    int r = best.mountpoint ? 1 : 0;
    if (!f || !memory)
        r = f ? -ENOMEM : -errno;
    if (r > 0 && whole) {
        free(best.mountpoint);
        best.mountpoint = whole;
        whole = NULL;
    }
    free(whole);
    free(line);
    free(m);
    if (f)
        fclose(f);
    if (r > 0)
        *ret = best;
    else
        mount_done(&best);
    return r;
}

int target_find_mount(const char *path, struct target_mount *ret_mount, char ret_why[512])
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
    int r = real ? search_mounts(real, st.st_dev, ret_mount) : -errno;
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

/* Whether fstab says that this is a mount point. */
static bool in_fstab(const char *path)
{
    FILE *f = setmntent("/etc/fstab", "re");
    char *real = realpath(path, NULL);
    bool found = false;
    for (struct mntent *e; f && real && !found && (e = getmntent(f));)
        found = !strcmp(e->mnt_dir, real);
    if (f)
        endmntent(f);
    free(real);
    return found;
}

/* -ENOTEMPTY, or 0 if there is nothing in it. */
static int check_empty(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    int r = 0;
    for (struct dirent *e; !r && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = -ENOTEMPTY;
    closedir(d);
    return r;
}

/*
 * Whether a store may be opened or made at `path`, where no mount is. It is made never inside a mount, which
 * was meant as a folder of the mount, and never in a mount point, where it would be hidden. An empty folder
 * may be one as well. */
static int check_new_store(const char *path, unsigned flags, char ret_why[512])
{
    struct statfs fs;
    bool exists = access(path, F_OK) == 0;
    char *copy = strdup(path);
    const char *place = copy && !exists ? dirname(copy) : path;
    bool fuse = copy && statfs(place, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
    free(copy);
    if (!(flags & TARGET_CREATE) && (exists || !fuse))
        return 0;
    if (fuse && !exists)
        snprintf(ret_why, 512, "%s: no such directory in the mount (make it with mkdir)", path);
    else if (fuse)
        snprintf(ret_why, 512, "%s: not an engramfs mount, but in one of FUSE, where no store is made", path);
    else if (exists && in_fstab(path))
        snprintf(ret_why, 512, "%s is a mount point of /etc/fstab, and nothing is mounted there", path);
    else if (exists && !(flags & TARGET_CREATE_IN) && check_empty(path) == 0)
        snprintf(ret_why, 512,
                 "%s is empty: a mount point whose daemon does not run? (--create makes a store of it)",
                 path);
    else
        return 0;
    return -ENOENT;
}

/* The directory of the store that the target's prefix names. */
static int find_root(struct target *t, char ret_why[512])
{
    struct target_attr attr;
    char *rest = t->prefix, *name;
    int r = 0;
    char *copy = strdup(rest);
    if (!copy)
        return -ENOMEM;
    for (rest = copy; !r && (name = strsep(&rest, "/"));) {
        if (!*name)
            continue;
        r = t->ops->lookup(t, t->root, name, &attr);
        if (!r && !S_ISDIR(attr.mode))
            r = -ENOTDIR;
        if (!r)
            r = t->ops->subdir(t, t->root, name, &attr, &t->root);
    }
    free(copy);
    if (r < 0)
        snprintf(ret_why, 512, "%s: %s", t->path, strerror(-r));
    return r;
}

/*
 * The store behind a mount as it is at this moment. Its daemon is asked to hold what is there; then the log
 * can be read by us as by a recovery, whatever is appended meanwhile. */
static int open_snapshot(struct target *t, const char *store, char ret_why[512])
{
    t->hold_fd = control_hold(t->mountpoint);
    if (t->hold_fd < 0) {
        snprintf(ret_why, 512, "%s: cannot hold the store: %s", t->mountpoint, control_strerror(t->hold_fd));
        return t->hold_fd;
    }
    t->kind = TARGET_STORE;
    t->held = true;
    int r = target_store_open(t, store, TARGET_SNAPSHOT, ret_why);
    if (!r && (r = find_root(t, ret_why)) < 0)
        (void)t->ops->finish(t);
    return r;
}

static void release_snapshot(struct target *t)
{
    if (t->held)
        control_release(t->hold_fd);
}

int target_open(const char *path, unsigned flags, struct target **ret_target, char ret_why[512])
{
    struct target *t = target_new(path);
    if (!t) {
        snprintf(ret_why, 512, "out of memory");
        return -ENOMEM;
    }
    struct target_mount m = {0};
    int r = target_find_mount(path, &m, ret_why);
    if (r > 0) {
        t->kind = TARGET_MOUNT;
        t->mountpoint = m.mountpoint;
        t->prefix = m.prefix;
        r = flags & TARGET_SNAPSHOT ? open_snapshot(t, m.source, ret_why)
                                    : target_posix_open(t, path, ret_why);
        free(m.source);
    } else if (!r) {
        t->kind = TARGET_STORE;
        r = check_new_store(path, flags, ret_why);
        if (!r) /* nobody writes to a store that is not mounted: it is its own snapshot */
            r = target_store_open(t, path, flags & TARGET_SNAPSHOT ? TARGET_READ_ONLY : flags, ret_why);
    }
    if (r < 0) {
        release_snapshot(t);
        target_free(t);
        return r;
    }
    *ret_target = t;
    return 0;
}

int target_open_tree(const char *path, unsigned flags, struct target **ret_target, char ret_why[512])
{
    int r = 0;
    if (flags & TARGET_CREATE) {
        r = mkdir(path, 0777) == 0 ? 0 : -errno;
        if (r == -EEXIST)
            r = check_empty(path);
    }
    struct target *t = !r ? target_new(path) : NULL;
    if (!r && !t)
        r = -ENOMEM;
    if (!t) {
        snprintf(ret_why, 512, "%s: %s", path, strerror(-r));
        return r;
    }
    /* A mount can be the source of a tree; its control directory is then left out. */
    struct target_mount m = {0};
    char why[512];
    t->kind = target_find_mount(path, &m, why) > 0 ? TARGET_MOUNT : TARGET_TREE;
    t->mountpoint = m.mountpoint;
    t->prefix = m.prefix;
    free(m.source);
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
    release_snapshot(t);
    target_free(t);
    return r;
}

bool target_error_is_fatal(struct target *t, int error)
{
    switch (error) {
    case -EIO:
    case -EBADMSG:
    case -ENOTCONN:
    case -ECONNABORTED:
    case -ESHUTDOWN:
        return t->kind != TARGET_MOUNT || t->ops->answers(t) < 0;
    case -ENOSPC:
    case -EDQUOT:
    case -EROFS:
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
        return true;
    default:
        return false;
    }
}

int target_still_there(struct target *t)
{
    int r = t->ops->answers(t);
    if (!r)
        return 0;
    cli_error("%s: %s%s", t->path, strerror(-r), r == -ENOTCONN ? " (its daemon has died)" : "");
    return -ECANCELED;
}

const char *target_strerror(int error)
{
    switch (error) {
    case -E2BIG:
        return "an attribute is too large for the file system";
    case -EEXIST:
        return "its file name is taken by another memory";
    case -EREMCHG:
        return "somebody has put something else in its place meanwhile";
    case -EDEADLK:
        return "is what this is copied to, and is left out";
    case -EINPROGRESS:
        return "has the name of a file that an import has not finished";
    case -EXDEV:
        return "something else is mounted there";
    default:
        return strerror(-error);
    }
}

int target_open_file(struct target *t, tdir dir, const char *name, struct target_attr *attr,
                     struct target_file *ret_file)
{
    int r = -ESTALE;
    for (int i = 0; r == -ESTALE && i < 100; i++) {
        r = i ? t->ops->lookup(t, dir, name, attr) : 0;
        if (!r && !S_ISREG(attr->mode))
            return -EREMCHG;
        if (!r)
            r = t->ops->open(t, dir, name, attr, false, ret_file);
    }
    return r;
}

void target_leave_out(struct target *t, const char *path)
{
    struct stat st;
    if (t->kind == TARGET_STORE || stat(path, &st) < 0)
        return;
    t->self_dev = st.st_dev;
    t->self_ino = st.st_ino;
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

/* One attribute into the pool. 1: taken, 0: it is gone. */
static int load_xattr(struct target *t, struct target_file *f, struct pool *pool, const char *name,
                      char *value, struct eng_xattr_pair *ret)
{
    ssize_t size = t->ops->getxattr(t, f, name, value, ENG_XATTR_SIZE_MAX);
    if (size < 0)
        return size == -ENODATA ? 0 : (int)size;
    const char *copy = pool_copy(pool, name, strlen(name));
    const char *data = pool_copy(pool, value, (size_t)size);
    if (!copy || !data)
        return -ENOMEM;
    *ret = (struct eng_xattr_pair){copy, data, (size_t)size};
    return 1;
}

int target_load_xattrs(struct target *t, struct target_file *f, struct pool *pool,
                       const struct eng_xattr_pair **ret_xattrs, size_t *ret_n)
{
    char list[ENG_XATTR_LIST_MAX];
    ssize_t size = t->ops->listxattr(t, f, list, sizeof list);
    if (size < 0)
        return (int)size;
    size_t count = 0, n = 0;
    for (const char *s = list; s < list + size; s += strlen(s) + 1)
        count++;
    struct eng_xattr_pair *x = count ? pool_alloc(pool, count * sizeof *x) : NULL;
    char *value = count ? malloc(ENG_XATTR_SIZE_MAX) : NULL;
    int r = count && (!x || !value) ? -ENOMEM : 0;
    for (const char *s = list; r >= 0 && s < list + size; s += strlen(s) + 1) {
        if (strncmp(s, "user.", 5) != 0)
            continue;
        r = load_xattr(t, f, pool, s, value, &x[n]);
        n += r == 1;
    }
    free(value);
    if (r < 0)
        return r;
    *ret_xattrs = x;
    *ret_n = n;
    return 0;
}

uint64_t target_count(struct target *t)
{
    struct eng_stats s;
    struct statvfs st;
    if (t->root == ENG_ROOT_INO && t->kind == TARGET_STORE)
        return eng_stats(t->eng, &s) == 0 ? s.memories : 0;
    if (t->kind == TARGET_MOUNT && !*t->prefix && statvfs(t->mountpoint, &st) == 0)
        return st.f_files - st.f_ffree;
    return 0;
}

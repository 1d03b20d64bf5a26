/*
 * target_posix.c - a mount or any directory tree, through file system calls.
 *
 * State: a descriptor of the root, and a table of the directories visited, by
 * which a handle stands for a path relative to the root. */
#include "ctl/transfer/target_backends.h"

#include "shared/buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct target_ops posix_ops; /* at the end of the file */

struct posix {
    int root;
    char **dirs; /* owned strings; [0] is "" */
    size_t n, cap;
    struct pool pool;
};

static struct posix *posix_of(struct target *t)
{
    return t->backend;
}

static int add_dir(struct posix *p, const char *path, tdir *ret)
{
    char **dirs = array_room(p->dirs, p->n, &p->cap, sizeof *dirs);
    if (!dirs)
        return -ENOMEM;
    p->dirs = dirs;
    char *copy = pool_copy(&p->pool, path, strlen(path));
    if (!copy)
        return -ENOMEM;
    p->dirs[p->n] = copy;
    *ret = p->n++;
    return 0;
}

int target_posix_open(struct target *t, const char *path, char ret_why[512])
{
    struct posix *p = calloc(1, sizeof *p);
    int r = p ? 0 : -ENOMEM;
    if (p) {
        p->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = p->root < 0 ? -errno : add_dir(p, "", &t->root);
    }
    t->ops = &posix_ops;
    t->backend = p;
    if (r < 0) {
        snprintf(ret_why, 512, "%s: %s", path, strerror(-r));
        t->ops->close_files(t);
    }
    return r;
}

static void posix_close_files(struct target *t)
{
    struct posix *p = posix_of(t);
    if (!p)
        return;
    if (p->root >= 0)
        close(p->root);
    pool_done(&p->pool);
    free(p->dirs);
    free(p);
    t->backend = NULL;
}

static int posix_finish(struct target *t)
{
    struct posix *p = posix_of(t);
    if (!t->wrote)
        return 0;
    /* A mount commits on fsync only; on a plain file system syncfs() shows what delayed allocation
     * still hid. */
    int r = t->kind == TARGET_MOUNT ? fsync(p->root) : syncfs(p->root);
    return r < 0 && errno != EINVAL && errno != ENOSYS && errno != EROFS ? -errno : 0;
}

/* The path of a name, relative to the root. */
static int path_of(struct target *t, tdir dir, const char *name, char ret_path[PATH_MAX])
{
    const char *d = posix_of(t)->dirs[dir];
    int n = snprintf(ret_path, PATH_MAX, "%s%s%s", d, *d ? "/" : "", name);
    return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int64_t to_ns(const struct timespec *ts)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)ts->tv_sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)ts->tv_nsec, &ns))
        return ts->tv_sec < 0 ? INT64_MIN + 1 : INT64_MAX;
    return ns;
}

static struct timespec from_ns(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    if (ns == TARGET_NOW)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (ts.tv_nsec < 0) {
        ts.tv_nsec += 1000000000;
        ts.tv_sec--;
    }
    return ts;
}

static void from_stat(const struct stat *st, struct target_attr *ret)
{
    *ret = (struct target_attr){.dev = st->st_dev,
                                .ino = st->st_ino,
                                .size = (uint64_t)st->st_size,
                                .rdev = st->st_rdev,
                                .atime = to_ns(&st->st_atim),
                                .mtime = to_ns(&st->st_mtim),
                                .mode = st->st_mode,
                                .nlink = (uint32_t)st->st_nlink,
                                .uid = st->st_uid,
                                .gid = st->st_gid};
}

static int posix_lookup(struct target *t, tdir dir, const char *name, struct target_attr *ret)
{
    char path[PATH_MAX];
    struct stat st;
    int r = path_of(t, dir, name, path);
    if (r < 0)
        return r;
    if (fstatat(posix_of(t)->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    from_stat(&st, ret);
    return 0;
}

static int posix_subdir(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                        tdir *ret)
{
    char path[PATH_MAX];
    (void)attr;
    int r = path_of(t, dir, name, path);
    return r < 0 ? r : add_dir(posix_of(t), path, ret);
}

static int posix_mkdir(struct target *t, tdir dir, const char *name, uint32_t mode, tdir *ret)
{
    char path[PATH_MAX];
    int r = path_of(t, dir, name, path);
    if (r < 0)
        return r;
    if (mkdirat(posix_of(t)->root, path, mode & 07777) < 0)
        return -errno;
    return add_dir(posix_of(t), path, ret);
}

/* ---- files --------------------------------------------------------------- */

static int write_all(int fd, const char *buf, size_t n, uint64_t offset)
{
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(fd, buf + done, n - done, (off_t)(offset + done));
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        done += (size_t)w;
    }
    return 0;
}

static bool has_xattr(const struct eng_record *rec, const char *name)
{
    for (size_t i = 0; i < rec->n_xattrs; i++)
        if (!strcmp(rec->xattrs[i].name, name))
            return true;
    return false;
}

/* A file that is written anew keeps nothing of the old memory's fields. */
static int remove_stale_xattrs(int fd, const struct eng_record *rec)
{
    char list[ENG_XATTR_LIST_MAX];
    ssize_t n = flistxattr(fd, list, sizeof list);
    if (n < 0)
        return errno == ENOTSUP ? 0 : -errno;
    for (const char *s = list; s < list + n; s += strlen(s) + 1)
        if (!strncmp(s, "user.", 5) && !has_xattr(rec, s) && fremovexattr(fd, s) < 0 && errno != ENODATA)
            return -errno;
    return 0;
}

/* ext4 says ENOSPC where all attributes of a file do not fit its one block: that is no full disk. */
static int set_xattr(int fd, const char *name, const void *value, size_t size)
{
    if (fsetxattr(fd, name, value, size, 0) == 0)
        return 0;
    return errno == ENOSPC ? -E2BIG : -errno;
}

static int set_xattrs(int fd, const struct eng_record *rec)
{
    for (size_t i = 0; i < rec->n_xattrs; i++) {
        int r = set_xattr(fd, rec->xattrs[i].name, rec->xattrs[i].value, rec->xattrs[i].size);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Only root can give files away; for others everything is their own, as with cp -a. */
static int keep_owner(int fd, uint32_t uid, uint32_t gid)
{
    if (geteuid() != 0 || (uid == geteuid() && gid == getegid()))
        return 0;
    return fchown(fd, uid, gid) < 0 ? -errno : 0;
}

/* Everything about a file but its name; the order matters: chown clears set-id bits, writing sets times. */
static int fill(int fd, const struct eng_record *rec, bool existed)
{
    int r = existed ? remove_stale_xattrs(fd, rec) : 0;
    if (!r)
        r = write_all(fd, rec->content, rec->size, 0);
    if (!r)
        r = set_xattrs(fd, rec);
    if (!r && !existed)
        r = keep_owner(fd, rec->uid, rec->gid);
    if (!r && !existed && ((rec->mode & 07000) || !(rec->mode & 0200)))
        r = fchmod(fd, rec->mode & 07777) < 0 ? -errno : 0;
    if (!r && rec->mtime != TARGET_NOW) {
        struct timespec ts = from_ns(rec->mtime), both[2] = {ts, ts};
        r = futimens(fd, both) < 0 ? -errno : 0;
    }
    return r;
}

static int put_one(struct target *t, const struct eng_record *rec)
{
    char path[PATH_MAX];
    int r = path_of(t, rec->parent, rec->name, path), root = posix_of(t)->root;
    if (r < 0)
        return r;
    /* Writable for its owner until it is complete: setting an attribute needs that. */
    int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(root, path, flags | O_CREAT | O_EXCL, (rec->mode & 0777) | 0200);
    bool existed = fd < 0 && errno == EEXIST;
    if (existed)
        fd = openat(root, path, flags | O_TRUNC);
    if (fd < 0)
        return -errno;
    r = fill(fd, rec, existed);
    if (close(fd) < 0 && !r)
        r = -errno;
    return r;
}

static ssize_t posix_put(struct target *t, struct eng_record *records, size_t n)
{
    ssize_t stored = 0;
    for (size_t i = 0; i < n; i++) {
        records[i].result = put_one(t, &records[i]);
        stored += records[i].result == 0;
    }
    return stored;
}

static int posix_open(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                      bool write, struct target_file *ret)
{
    char path[PATH_MAX];
    (void)attr;
    int r = path_of(t, dir, name, path);
    if (r < 0)
        return r;
    int fd =
        openat(posix_of(t)->root, path, (write ? O_WRONLY : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    *ret = (struct target_file){.fd = fd};
    return 0;
}

static int posix_close(struct target *t, struct target_file *f)
{
    (void)t;
    int r = close(f->fd) < 0 ? -errno : 0;
    f->fd = -1;
    return r;
}

static ssize_t posix_read(struct target *t, struct target_file *f, void *buf, size_t n, uint64_t offset)
{
    (void)t;
    size_t done = 0;
    while (done < n) {
        ssize_t r = pread(f->fd, (char *)buf + done, n - done, (off_t)(offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        done += (size_t)r;
    }
    return (ssize_t)done;
}

static ssize_t posix_write(struct target *t, struct target_file *f, const void *buf, size_t n,
                           uint64_t offset)
{
    (void)t;
    int r = write_all(f->fd, buf, n, offset);
    return r < 0 ? r : (ssize_t)n;
}

static int posix_truncate(struct target *t, struct target_file *f, uint64_t size)
{
    (void)t;
    return ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
}

static int posix_seek(struct target *t, struct target_file *f, uint64_t offset, int whence, uint64_t *ret)
{
    (void)t;
    off_t o = lseek(f->fd, (off_t)offset, whence);
    if (o < 0)
        return -errno;
    *ret = (uint64_t)o;
    return 0;
}

static ssize_t posix_listxattr(struct target *t, struct target_file *f, char *list, size_t size)
{
    (void)t;
    ssize_t n = flistxattr(f->fd, list, size);
    if (n >= 0)
        return n;
    return errno == ENOTSUP ? 0 : -errno;
}

static ssize_t posix_getxattr(struct target *t, struct target_file *f, const char *name, void *value,
                              size_t size)
{
    (void)t;
    ssize_t n = fgetxattr(f->fd, name, value, size);
    return n < 0 ? -errno : n;
}

static int posix_setxattr(struct target *t, struct target_file *f, const char *name, const void *value,
                          size_t size)
{
    (void)t;
    return set_xattr(f->fd, name, value, size);
}

static int posix_removexattr(struct target *t, struct target_file *f, const char *name)
{
    (void)t;
    return fremovexattr(f->fd, name) < 0 ? -errno : 0;
}

/* ---- names and attributes ------------------------------------------------- */

static int posix_setattr(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                         unsigned mask)
{
    char path[PATH_MAX];
    int r = path_of(t, dir, name, path), root = posix_of(t)->root;
    if (r < 0)
        return r;
    if ((mask & (ENG_SET_UID | ENG_SET_GID)) && geteuid() == 0 &&
        fchownat(root, path, mask & ENG_SET_UID ? attr->uid : (uid_t)-1,
                 mask & ENG_SET_GID ? attr->gid : (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if ((mask & ENG_SET_MODE) && !S_ISLNK(attr->mode) && fchmodat(root, path, attr->mode & 07777, 0) < 0)
        return -errno;
    if (mask & (ENG_SET_ATIME | ENG_SET_MTIME)) {
        struct timespec ts[2] = {from_ns(attr->atime), from_ns(attr->mtime)};
        if (!(mask & ENG_SET_ATIME))
            ts[0].tv_nsec = UTIME_OMIT;
        if (!(mask & ENG_SET_MTIME))
            ts[1].tv_nsec = UTIME_OMIT;
        if (utimensat(root, path, ts, AT_SYMLINK_NOFOLLOW) < 0)
            return -errno;
    }
    return 0;
}

static int posix_make(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                      const char *link)
{
    char path[PATH_MAX];
    int r = path_of(t, dir, name, path), root = posix_of(t)->root;
    if (r < 0)
        return r;
    r = S_ISLNK(attr->mode) ? symlinkat(link, root, path) : mknodat(root, path, attr->mode, attr->rdev);
    if (r < 0)
        return -errno;
    return posix_setattr(t, dir, name, attr, ENG_SET_UID | ENG_SET_GID);
}

static ssize_t posix_readlink(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                              char *buf, size_t size)
{
    char path[PATH_MAX];
    (void)attr;
    int r = path_of(t, dir, name, path);
    if (r < 0)
        return r;
    ssize_t n = readlinkat(posix_of(t)->root, path, buf, size);
    if (n < 0)
        return -errno;
    if ((size_t)n >= size)
        return -ERANGE;
    buf[n] = 0;
    return n;
}

static int posix_link(struct target *t, tdir from_dir, const char *from, tdir dir, const char *name)
{
    char old[PATH_MAX], new[PATH_MAX];
    int r = path_of(t, from_dir, from, old);
    if (!r)
        r = path_of(t, dir, name, new);
    if (r < 0)
        return r;
    return linkat(posix_of(t)->root, old, posix_of(t)->root, new, 0) < 0 ? -errno : 0;
}

static int remove_name(struct target *t, tdir dir, const char *name, int flags)
{
    char path[PATH_MAX];
    int r = path_of(t, dir, name, path);
    if (r < 0)
        return r;
    return unlinkat(posix_of(t)->root, path, flags) < 0 ? -errno : 0;
}

static int posix_unlink(struct target *t, tdir dir, const char *name)
{
    return remove_name(t, dir, name, 0);
}

static int posix_rmdir(struct target *t, tdir dir, const char *name)
{
    return remove_name(t, dir, name, AT_REMOVEDIR);
}

/* ---- listing --------------------------------------------------------------- */

struct target_scan {
    DIR *dir;
    bool hide_control; /* the root of a mount: .engram is no memory */
};

static int posix_scan_open(struct target *t, tdir dir, struct target_scan **ret)
{
    const char *path = posix_of(t)->dirs[dir];
    int fd = openat(posix_of(t)->root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct target_scan *s = calloc(1, sizeof *s);
    if (s)
        s->dir = fdopendir(fd);
    if (!s || !s->dir) {
        int r = s ? -errno : -ENOMEM;
        close(fd);
        free(s);
        return r;
    }
    s->hide_control = t->kind == TARGET_MOUNT && dir == t->root && !*t->prefix;
    *ret = s;
    return 0;
}

static int posix_scan_next(struct target_scan *s, const char **ret_name, struct target_attr *ret_attr)
{
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(s->dir);
        if (!e)
            return errno ? -errno : 0;
        const char *n = e->d_name;
        if (!strcmp(n, ".") || !strcmp(n, "..") || (s->hide_control && !strcmp(n, ".engram")))
            continue;
        struct stat st;
        if (fstatat(dirfd(s->dir), n, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT)
                continue; /* removed meanwhile */
            return -errno;
        }
        from_stat(&st, ret_attr);
        *ret_name = n;
        return 1;
    }
}

static void posix_scan_close(struct target_scan *s)
{
    if (!s)
        return;
    closedir(s->dir);
    free(s);
}

static const struct target_ops posix_ops = {
    .close_files = posix_close_files,
    .finish = posix_finish,
    .lookup = posix_lookup,
    .subdir = posix_subdir,
    .mkdir = posix_mkdir,
    .put = posix_put,
    .open = posix_open,
    .close = posix_close,
    .read = posix_read,
    .write = posix_write,
    .truncate = posix_truncate,
    .seek = posix_seek,
    .listxattr = posix_listxattr,
    .getxattr = posix_getxattr,
    .setxattr = posix_setxattr,
    .removexattr = posix_removexattr,
    .setattr = posix_setattr,
    .make = posix_make,
    .readlink = posix_readlink,
    .link = posix_link,
    .unlink = posix_unlink,
    .rmdir = posix_rmdir,
    .scan_open = posix_scan_open,
    .scan_next = posix_scan_next,
    .scan_close = posix_scan_close,
};

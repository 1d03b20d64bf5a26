/*
 * target_posix.c - a mount or any directory tree, through file system calls.
 *
 * State: the directories visited (beneath.h), and the file that is being replaced. Others may change the tree
 * meanwhile, and mean ill: a name is used in a descriptor of its directory only, never followed if it is a
 * link, and what is changed about a file is changed through a descriptor of it. */
#include "ctl/transfer/target_backends.h"

#include "ctl/transfer/beneath.h"
#include "ctl/transfer/file_attr.h"
#include "ctl/transfer/guarded.h"
#include "ctl/transfer/listing.h"
#include "ctl/transfer/same.h"
#include "ctl/transfer/temporary.h"
#include "shared/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct target_ops posix_ops; /* at the end of the file */

#define OPEN_FLAGS (O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

struct posix {
    struct beneath *dirs;
    /* Of what has not its own name yet; empty: it is written in place. */
    char temporary[TEMPORARY_BUF];
    bool no_tmpfile; /* no files without a name here */
    bool has_met;    /* the last name was there already: it pays to look at the next one first */
    /* By directory: whether it was looked at for what killed imports have left. */
    bool *swept;
    size_t n_swept, cap_swept;
};

static struct posix *posix_of(struct target *t)
{
    return t->backend;
}

int target_posix_open(struct target *t, int fd, char ret_why[512])
{
    struct posix *p = calloc(1, sizeof *p);
    /* Whoever owns a folder of a mount can mount something else there. */
    int r = p ? beneath_open(fd, t->kind == TARGET_MOUNT, &p->dirs) : -ENOMEM;
    t->ops = &posix_ops;
    t->backend = p;
    if (p)
        p->has_met = true;
    t->root = 0;
    if (r < 0) {
        snprintf(ret_why, 512, "%s: %s", t->path, strerror(-r));
        t->ops->close_files(t);
    }
    return r;
}

static void posix_close_files(struct target *t)
{
    struct posix *p = posix_of(t);
    if (!p)
        return;
    beneath_free(p->dirs);
    free(p->swept);
    free(p);
    t->backend = NULL;
}

static int posix_finish(struct target *t)
{
    if (!t->wrote)
        return 0;
    /* A mount commits on fsync only; on a plain file system syncfs() shows what delayed allocation
     * still hid. */
    int fd = beneath_root(posix_of(t)->dirs);
    int r = t->kind == TARGET_MOUNT ? fsync(fd) : syncfs(fd);
    return r < 0 && errno != EINVAL && errno != ENOSYS && errno != EROFS ? -errno : 0;
}

/* A descriptor of the directory, for one call with `name` in it. */
static int dir_of(struct target *t, tdir dir, const char *name)
{
    if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
        return -EINVAL;
    return beneath_fd(posix_of(t)->dirs, dir);
}

static int posix_lookup(struct target *t, tdir dir, const char *name, struct target_attr *ret)
{
    struct stat st = {0};
    int at = dir_of(t, dir, name);
    if (at < 0)
        return at;
    struct beneath *dirs = posix_of(t)->dirs;
    int r = t->is_wary ? beneath_stat_wary(dirs, at, name, &st) : beneath_stat_at(dirs, at, name, &st);
    if (!r)
        listing_from_stat(&st, ret);
    return r;
}

static int posix_subdir(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                        tdir *ret)
{
    size_t index;
    int r = beneath_add(posix_of(t)->dirs, dir, name, attr->dev, attr->ino, &index);
    if (!r)
        *ret = index;
    return r;
}

static int posix_mkdir(struct target *t, tdir dir, const char *name, uint32_t mode, tdir *ret)
{
    struct beneath *dirs = posix_of(t)->dirs;
    size_t index;
    int at = dir_of(t, dir, name);
    if (at < 0)
        return at;
    if (mkdirat(at, name, 0700) < 0)
        return -errno;
    int r = beneath_add_made(dirs, dir, name, &index);
    if (!r && (mode & 07777) != 0700) {
        int fd = beneath_fd(dirs, index);
        r = fd < 0 ? fd : beneath_chmod(fd, mode & 07777);
    }
    if (!r)
        *ret = index;
    return r;
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

/* A new file, never open to more than in the end, and writable for its owner: setting an attribute needs
 * that. */
static int make_file(int at, const char *name, int flags, const struct eng_record *rec)
{
    mode_t mode = rec->mode & (file_gives_away(rec->uid, rec->gid) ? 0700 : 0777);
    int fd = openat(at, name, OPEN_FLAGS | O_WRONLY | flags, mode | 0200);
    return fd < 0 ? -errno : fd;
}

/* Once in each directory that gets a file by a temporary name. */
static void sweep_once(struct posix *p, tdir dir, int at)
{
    while (p->n_swept <= dir) {
        bool *swept = array_room(p->swept, p->n_swept, &p->cap_swept, sizeof *swept);
        if (!swept)
            return;
        p->swept = swept;
        p->swept[p->n_swept++] = false;
    }
    if (!p->swept[dir])
        temporary_sweep(p->dirs, at);
    p->swept[dir] = true;
}

/* A file by a temporary name that nothing has. */
static int make_temporary(struct posix *p, tdir dir, int at, const struct eng_record *rec)
{
    int fd = -EEXIST;
    sweep_once(p, dir, at);
    for (int i = 0; fd == -EEXIST && i < TEMPORARY_TRIES; i++) {
        temporary_name(p->temporary);
        fd = make_file(at, p->temporary, O_CREAT | O_EXCL, rec);
        if (fd >= 0 && temporary_lock(p->dirs, fd, at, p->temporary) < 0) {
            close(fd);
            fd = -EEXIST;
        }
    }
    return fd;
}

/* What has the temporary name gets its own, if nothing else has that: else -EEXIST. */
static int give_name(const struct posix *p, int at, const char *name)
{
    if (renameat2(at, p->temporary, at, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (linkat(at, p->temporary, at, name, 0) < 0) /* NFS, say */
        return -errno;
    return unlinkat(at, p->temporary, 0) < 0 ? -errno : 0;
}

/*
 * For the content that is to stand under a name: a file beside it, which takes the name when it is complete.
 * The old one is written to only where nothing can be made in the directory, or nothing that belongs to its
 * owner. */
static int posix_stream_open(struct target *t, const struct eng_record *rec, bool over,
                             struct target_file *ret)
{
    struct posix *p = posix_of(t);
    struct stat st = {0};
    int at = dir_of(t, rec->parent, rec->name);
    if (at < 0)
        return at;
    bool foreign = t->keeps_attr && geteuid() != 0 && beneath_stat_at(p->dirs, at, rec->name, &st) == 0 &&
                   st.st_uid != geteuid();
    int fd = foreign ? -EACCES : make_temporary(p, rec->parent, at, rec);
    bool in_place = !over && (foreign || fd == -EACCES || fd == -EPERM);
    if (in_place) {
        p->temporary[0] = 0;
        fd = beneath_open_at(p->dirs, at, rec->name, OPEN_FLAGS | O_WRONLY);
    }
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0) {
        int r = -errno;
        if (!in_place)
            (void)unlinkat(at, p->temporary, 0);
        close(fd);
        return r;
    }
    *ret = (struct target_file){.ino = st.st_ino, .fd = fd, .in_place = in_place};
    return 0;
}

static int stream_end(struct target *t, const struct eng_record *rec, struct target_file *f)
{
    struct posix *p = posix_of(t);
    int r = f->in_place ? file_remove_stale_xattrs(t, f->fd, rec) : 0;
    if (!r)
        r = file_set_xattrs(f->fd, rec);
    if (!r)
        r = file_settle(f->fd, rec, NULL);
    if (!r)
        r = file_set_guarded(t, f->fd, rec);
    int at = !r && !f->in_place ? dir_of(t, rec->parent, rec->name) : r;
    if (at < 0 || f->in_place)
        return at;
    return renameat(at, p->temporary, at, rec->name) < 0 ? -errno : 0;
}

static int posix_stream_close(struct target *t, const struct eng_record *rec, struct target_file *f, int r)
{
    struct posix *p = posix_of(t);
    if (!r)
        r = stream_end(t, rec, f);
    if (close(f->fd) < 0 && !r)
        r = -errno;
    int at = r < 0 && !f->in_place ? beneath_fd(p->dirs, rec->parent) : -1;
    if (at >= 0)
        (void)unlinkat(at, p->temporary, 0);
    return r;
}

static int replace(struct target *t, const struct eng_record *rec, uint64_t *ret_ino)
{
    struct target_file f = {.fd = -1};
    int r = posix_stream_open(t, rec, false, &f);
    if (r < 0)
        return r;
    *ret_ino = f.ino;
    r = write_all(f.fd, rec->content, rec->size, 0);
    if (!r && f.in_place)
        r = ftruncate(f.fd, (off_t)rec->size) < 0 ? -errno : 0;
    return posix_stream_close(t, rec, &f, r);
}

/* A name that exists: nothing is done if everything is as the record says. */
static int put_again(struct target *t, const struct eng_record *rec, uint64_t *ret_ino)
{
    struct target_attr have = {0}, want = {0};
    struct eng_record as = *rec;
    int r = posix_lookup(t, rec->parent, rec->name, &have);
    if (!r && !S_ISREG(have.mode))
        return S_ISDIR(have.mode) ? -EISDIR : -EEXIST;
    if (!r && t->keeps_attr) {
        as.mode = have.mode;
        as.uid = have.uid;
        as.gid = have.gid;
    }
    int same = r < 0 ? r : same_record(t, &as, &have);
    unsigned mask = same_changes(&as, &have, geteuid() == 0, &want);
    /* Somebody else's file could have been linked to this name. */
    if (same > 0 && mask && (have.nlink > 1 || guarded_any(&as) || same_takes_away(t, &have, &want, mask)))
        same = 0;
    if (same <= 0)
        return same < 0 ? same : replace(t, &as, ret_ino);
    *ret_ino = have.ino;
    return mask ? t->ops->setattr(t, rec->parent, rec->name, &want, mask) : 0;
}

static int fill(struct target *t, int fd, const struct eng_record *rec, uint64_t *ret_ino)
{
    struct stat made = {0};
    int r = fstat(fd, &made) < 0 ? -errno : write_all(fd, rec->content, rec->size, 0);
    *ret_ino = made.st_ino;
    if (!r)
        r = file_set_xattrs(fd, rec);
    if (!r)
        r = file_settle(fd, rec, &made);
    return r ? r : file_set_guarded(t, fd, rec);
}

/* A file without a name, which gets one when it is complete. -EOPNOTSUPP: there are none here. */
static int put_nameless(struct target *t, int at, const struct eng_record *rec, uint64_t *ret_ino)
{
    char path[64];
    int fd = make_file(at, ".", O_TMPFILE, rec);
    if (fd == -EISDIR || fd == -ENOENT || fd == -EINVAL || fd == -ENOSYS)
        return -EOPNOTSUPP; /* a kernel, or a file system, that does not know O_TMPFILE */
    if (fd < 0)
        return fd;
    int r = fill(t, fd, rec, ret_ino);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!r && linkat(AT_FDCWD, path, at, rec->name, AT_SYMLINK_FOLLOW) < 0)
        r = errno == ENOENT || errno == EPERM || errno == EXDEV ? -EOPNOTSUPP : -errno; /* no /proc, say */
    if (close(fd) < 0 && !r)
        r = -errno;
    return r;
}

/* The same under a temporary name. */
static int put_renamed(struct target *t, int at, const struct eng_record *rec, uint64_t *ret_ino)
{
    struct posix *p = posix_of(t);
    int fd = make_temporary(p, rec->parent, at, rec);
    if (fd < 0)
        return fd;
    int r = fill(t, fd, rec, ret_ino);
    int lock = dup(fd); /* until it has its name; and close() tells what was not written */
    if (close(fd) < 0 && !r)
        r = -errno;
    if (!r)
        r = give_name(p, at, rec->name);
    if (lock >= 0)
        close(lock);
    if (r < 0)
        (void)unlinkat(at, p->temporary, 0);
    return r;
}

/* Half a memory must not look like a whole one, neither to a reader nor after a kill: a new file has its name
 * last of all. */
static int put_one(struct target *t, const struct eng_record *rec, uint64_t *ret_ino)
{
    struct posix *p = posix_of(t);
    int at = dir_of(t, rec->parent, rec->name);
    if (at < 0)
        return at;
    int r = 0;
    if (p->has_met)
        r = beneath_is_taken(p->dirs, at, rec->name) > 0 ? -EEXIST : 0;
    if (!r)
        r = p->no_tmpfile ? -EOPNOTSUPP : put_nameless(t, at, rec, ret_ino);
    if (r == -EOPNOTSUPP) {
        p->no_tmpfile = true;
        r = put_renamed(t, at, rec, ret_ino);
    }
    p->has_met = r == -EEXIST;
    return p->has_met ? put_again(t, rec, ret_ino) : r;
}

static ssize_t posix_put(struct target *t, struct eng_record *records, size_t n, uint64_t *inos)
{
    ssize_t stored = 0;
    for (size_t i = 0; i < n; i++) {
        records[i].result = put_one(t, &records[i], &inos[i]);
        stored += records[i].result == 0;
    }
    return stored;
}

static int posix_open(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                      bool write, struct target_file *ret)
{
    struct stat st = {0};
    int at = dir_of(t, dir, name);
    if (at < 0)
        return at;
    struct beneath *dirs = posix_of(t)->dirs;
    int fd = beneath_open_at(dirs, at, name, OPEN_FLAGS | (write ? O_WRONLY : O_RDONLY));
    if (fd < 0)
        return fd;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (!r && !beneath_has(dirs, st.st_dev))
        r = -EXDEV;
    if (!r && ((attr->mode ^ st.st_mode) & S_IFMT || attr->dev != st.st_dev || attr->ino != st.st_ino))
        r = -ESTALE;
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret = (struct target_file){.fd = fd};
    return 0;
}

static int posix_open_dir(struct target *t, tdir self, struct target_file *ret)
{
    int at = beneath_fd(posix_of(t)->dirs, self);
    int fd = at < 0 ? at : openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return at < 0 ? at : -errno;
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
        if (!r)
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
    return file_list_xattrs(t, f->fd, list, size);
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
    return file_set_xattr(f->fd, name, value, size);
}

static int posix_removexattr(struct target *t, struct target_file *f, const char *name)
{
    (void)t;
    return fremovexattr(f->fd, name) < 0 ? -errno : 0;
}

/* ---- names and attributes ------------------------------------------------- */

/* An O_PATH descriptor of what has the name. */
static int open_name(struct target *t, tdir dir, const char *name, struct stat *ret_st)
{
    int at = dir_of(t, dir, name);
    int fd = at < 0 ? at : beneath_open_at(posix_of(t)->dirs, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fd;
    if (fstat(fd, ret_st) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static int posix_setattr(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                         unsigned mask)
{
    struct stat st = {0};
    int fd = open_name(t, dir, name, &st);
    if (fd < 0)
        return fd;
    int r = st.st_dev == attr->dev && st.st_ino == attr->ino ? file_set_attr(fd, &st, attr, mask) : -EREMCHG;
    close(fd);
    return r;
}

static int posix_getattr_dir(struct target *t, tdir self, struct target_attr *ret)
{
    struct stat st = {0};
    int fd = beneath_fd(posix_of(t)->dirs, self);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    listing_from_stat(&st, ret);
    return 0;
}

static int posix_setattr_dir(struct target *t, tdir self, const struct target_attr *attr, unsigned mask)
{
    struct stat st = {0};
    int fd = beneath_fd(posix_of(t)->dirs, self);
    if (fd < 0)
        return fd;
    return fstat(fd, &st) < 0 ? -errno : file_set_attr(fd, &st, attr, mask);
}

/* Under the temporary name. */
static int make_other(struct posix *p, int at, const struct target_attr *attr, const char *link)
{
    mode_t first = (attr->mode & S_IFMT) | (attr->mode & 0700);
    int r = -EEXIST;
    for (int i = 0; r == -EEXIST && i < TEMPORARY_TRIES; i++) {
        temporary_name(p->temporary);
        r = link ? symlinkat(link, at, p->temporary) : mknodat(at, p->temporary, first, attr->rdev);
        r = r < 0 ? -errno : 0;
    }
    return r;
}

/* What has the temporary name gets its own: in place of what has that, or only if it is free. */
static int take_name(const struct posix *p, int at, const char *name, bool over)
{
    if (!over)
        return give_name(p, at, name);
    return renameat(at, p->temporary, at, name) < 0 ? -errno : 0;
}

static int posix_make(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                      const char *link, bool over, uint64_t *ret_ino)
{
    struct posix *p = posix_of(t);
    struct stat st = {0};
    int at = dir_of(t, dir, name);
    int r = at < 0 ? at : make_other(p, at, attr, link);
    if (r < 0)
        return r;
    int fd = open_name(t, dir, p->temporary, &st);
    if (fd < 0)
        return fd;
    bool ours = !((st.st_mode ^ attr->mode) & S_IFMT) && st.st_nlink == 1 && st.st_uid == geteuid() &&
                (link || st.st_rdev == attr->rdev);
    unsigned mask = ENG_SET_UID | ENG_SET_GID | ENG_SET_ATIME | ENG_SET_MTIME | (link ? 0u : ENG_SET_MODE);
    r = ours ? file_set_attr(fd, &st, attr, mask) : -EREMCHG;
    close(fd);
    if (!r)
        r = take_name(p, at, name, over);
    if (r < 0 && ours)
        (void)unlinkat(at, p->temporary, 0);
    if (!r)
        *ret_ino = st.st_ino;
    return r;
}

static ssize_t posix_readlink(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                              char *buf, size_t size)
{
    (void)attr;
    int at = dir_of(t, dir, name);
    int fd = at < 0 ? at : beneath_open_at(posix_of(t)->dirs, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fd;
    ssize_t n = readlinkat(fd, "", buf, size);
    int e = errno;
    close(fd);
    if (n < 0)
        return -e;
    if ((size_t)n >= size)
        return -ERANGE;
    buf[n] = 0;
    return n;
}

static int posix_link(struct target *t, tdir from_dir, const char *from, uint64_t ino, tdir dir,
                      const char *name, bool over)
{
    struct stat st = {0};
    int fd = open_name(t, from_dir, from, &st);
    if (fd < 0)
        return fd == -ENOENT ? -ENOTUNIQ : fd;
    int to = st.st_ino == ino ? dir_of(t, dir, name) : -ENOTUNIQ, r = to;
    if (to >= 0)
        r = over ? temporary_link_over(fd, to, name) : temporary_link_new(fd, to, name);
    close(fd);
    return r;
}

static int remove_name(struct target *t, tdir dir, const char *name, int flags)
{
    int at = dir_of(t, dir, name);
    if (at < 0)
        return at;
    return unlinkat(at, name, flags) < 0 ? -errno : 0;
}

static int posix_unlink(struct target *t, tdir dir, const char *name)
{
    return remove_name(t, dir, name, 0);
}

static int posix_rmdir(struct target *t, tdir dir, const char *name)
{
    return remove_name(t, dir, name, AT_REMOVEDIR);
}

static int posix_scan_open(struct target *t, tdir dir, struct target_scan **ret)
{
    return listing_open(t, posix_of(t)->dirs, dir, ret);
}

/* Only a mount can go away beneath us. */
static int posix_answers(struct target *t)
{
    return t->kind == TARGET_MOUNT ? beneath_answers(posix_of(t)->dirs) : 0;
}

static const struct target_ops posix_ops = {
    .close_files = posix_close_files,
    .finish = posix_finish,
    .lookup = posix_lookup,
    .subdir = posix_subdir,
    .mkdir = posix_mkdir,
    .put = posix_put,
    .stream_open = posix_stream_open,
    .stream_close = posix_stream_close,
    .open = posix_open,
    .open_dir = posix_open_dir,
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
    .getattr_dir = posix_getattr_dir,
    .setattr_dir = posix_setattr_dir,
    .make = posix_make,
    .readlink = posix_readlink,
    .link = posix_link,
    .unlink = posix_unlink,
    .rmdir = posix_rmdir,
    .scan_open = posix_scan_open,
    .scan_next = listing_next,
    .scan_close = listing_close,
    .answers = posix_answers,
};

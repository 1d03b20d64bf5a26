/*
 * target.c - finds out what a path is and opens it. State: none of its own. */
#include "ctl/transfer/target.h"

#include "ctl/transfer/fields.h"
#include "ctl/transfer/guarded.h"
#include "ctl/transfer/place.h"
#include "ctl/transfer/storeid.h"
#include "ctl/transfer/target_backends.h"
#include "ctl/transfer/trust.h"

#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static struct target *target_new(const char *path)
{
    struct target *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->folder = -1;
    t->path = strdup(path);
    if (!t->path) {
        free(t);
        return NULL;
    }
    return t;
}

static void target_free(struct target *t)
{
    if (t->folder >= 0)
        close(t->folder);
    free(t->path);
    free(t->mountpoint);
    free(t->prefix);
    free(t);
}

/* Whether fstab says that this is a mount point. */
static bool in_fstab(int fd)
{
    char path[PLACE_PATH], real[PATH_MAX];
    ssize_t n = readlink(place_path(fd, path), real, sizeof real - 1);
    FILE *f = n > 0 ? setmntent("/etc/fstab", "re") : NULL;
    bool found = false;
    real[n > 0 ? n : 0] = 0;
    for (struct mntent *e; f && !found && (e = getmntent(f));)
        found = !strcmp(e->mnt_dir, real);
    if (f)
        endmntent(f);
    return found;
}

/*
 * Whether a store may be opened or made at a place where no mount is. It is made never inside a mount, which
 * was meant as a folder of the mount, and never in a mount point, where it would be hidden. An empty folder
 * may be one as well. `fuse`: the place, or its folder, is in a FUSE. */
static int check_new_store(const char *path, const struct place *p, bool fuse, unsigned flags,
                           char ret_why[512])
{
    bool exists = p->fd >= 0;
    if (!(flags & TARGET_CREATE) && (exists || !fuse))
        return 0;
    if (exists && (flags & TARGET_NEW))
        snprintf(ret_why, 512, "%s exists: name a folder that does not", path);
    else if (fuse && !exists)
        snprintf(ret_why, 512, "%s: no such directory in the mount (make it with mkdir)", path);
    else if (fuse)
        snprintf(ret_why, 512, "%s: not an engramfs mount, but in one of FUSE, where no store is made", path);
    else if (exists && in_fstab(p->fd))
        snprintf(ret_why, 512, "%s is a mount point of /etc/fstab, and nothing is mounted there", path);
    else if (exists && !(flags & TARGET_CREATE_IN) && place_check_empty(p->fd) == 0)
        snprintf(ret_why, 512,
                 "%s is empty: a mount point whose daemon does not run? (--create makes a store of it)",
                 path);
    else
        return 0;
    return exists && (flags & TARGET_NEW) ? -EEXIST : -ENOENT;
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
static int open_snapshot(struct target *t, const struct target_mount *m, const char *store, char ret_why[512])
{
    t->hold_fd = control_hold(t->mountpoint);
    t->held = t->hold_fd >= 0;
    if (!t->held) {
        snprintf(ret_why, 512, "%s: cannot hold the store: %s", t->mountpoint, control_strerror(t->hold_fd));
        return t->hold_fd;
    }
    t->kind = TARGET_STORE;
    int fd = storeid_open(t->mountpoint, m->user, store ? store : m->source, ret_why);
    if (fd < 0)
        return fd;
    int r = target_store_open(t, fd, TARGET_SNAPSHOT, ret_why);
    trust_note_folder(t, fd);
    trust_note_user(t, m->user);
    close(fd);
    if (!r && (r = find_root(t, ret_why)) < 0)
        (void)t->ops->finish(t);
    return r;
}

static void release_snapshot(struct target *t)
{
    if (t->held)
        control_release(t->hold_fd);
}

/* A mount that does not show the fields of its memories is not what an export or import is of. */
static int check_fields(struct target *t, char ret_why[512])
{
    char list[ENG_XATTR_LIST_MAX];
    struct target_file f = {.fd = -1};
    if (t->kind != TARGET_MOUNT)
        return 0;
    int r = t->ops->open_dir(t, t->root, &f);
    ssize_t n = r < 0 ? r : t->ops->listxattr(t, &f, list, sizeof list);
    if (r >= 0)
        (void)t->ops->close(t, &f);
    if (n == -ENOTSUP)
        snprintf(
            ret_why, 512,
            "%.200s is mounted with -o noxattr, which hides all fields, and ids that are no paths: export it "
            "with --snapshot, or mount it without that option",
            t->path);
    else if (n < 0)
        snprintf(ret_why, 512, "%s: %s", t->path, strerror((int)-n));
    return n < 0 ? (int)n : 0;
}

/* A mount or tree as it is seen through the file system. */
static int open_posix(struct target *t, int fd, unsigned flags, char ret_why[512])
{
    int r = target_posix_open(t, fd, ret_why);
    if (r < 0 || !(flags & TARGET_FIELDS))
        return r;
    r = check_fields(t, ret_why);
    if (r < 0)
        t->ops->close_files(t);
    return r;
}

/* Looks the path up, once for all, and the mount that it is in. 1: in one of an engramfs. */
static int look_up(const char *path, struct place *ret_place, struct target_mount *ret_mount,
                   char ret_why[512])
{
    *ret_mount = (struct target_mount){0};
    int r = place_open(path, ret_place);
    if (r < 0)
        snprintf(ret_why, 512, "%s: %s%s", path, target_strerror(r),
                 r == -ENOTCONN ? " (its daemon has died: unmount it with fusermount3 -u)" : "");
    else if (ret_place->fd >= 0)
        r = mounts_find(ret_place->fd, path, ret_mount, ret_why);
    if (!r && ret_place->fd < 0) {
        r = mounts_find(ret_place->folder, path, ret_mount, ret_why) < 0 ? -EIO : 0;
        bool fuse = ret_mount->is_fuse;
        mounts_done(ret_mount);
        ret_mount->is_fuse = fuse;
    }
    return r;
}

/* Of a mount: the folder of its store, as the mount names it. What has that name by now need not be that
 * folder: its owner may have put a link to one of root's there. */
static void note_trust(struct target *t, const struct target_mount *m)
{
    char why[512];
    bool is_said = m->user != 0 || !m->source; /* by a user, who may say any */
    int fd = is_said || geteuid() != 0 ? -1 : storeid_open(m->mountpoint, m->user, m->source, why);
    trust_note_folder(t, fd);
    trust_note_user(t, m->user);
    if (fd >= 0)
        close(fd);
}

/* A copy of something that has it inside leaves it out. */
static void note_place(struct target *t, int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    t->at_dev = st.st_dev;
    t->at_ino = st.st_ino;
}

int target_find_mount(const char *path, struct target_mount *ret_mount, char ret_why[512])
{
    struct place p;
    int r = look_up(path, &p, ret_mount, ret_why);
    place_close(&p);
    return r;
}

int target_open_store_folder(const char *path, char ret_why[512])
{
    struct place p;
    struct target_mount m;
    int fd = look_up(path, &p, &m, ret_why);
    if (fd > 0) {
        fd = storeid_open(m.mountpoint, m.user, m.source, ret_why);
    } else if (!fd) {
        fd = p.fd < 0 ? -ENOENT : openat(p.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fd = fd == -1 ? -errno : fd;
        if (fd < 0)
            snprintf(ret_why, 512, "%s: %s", path, strerror(-fd));
    }
    mounts_done(&m);
    place_close(&p);
    return fd;
}

/* Nobody writes to a store that is not mounted: it is its own snapshot. */
static int open_store(struct target *t, struct place *p, bool fuse, unsigned flags, char ret_why[512])
{
    int r = check_new_store(t->path, p, fuse, flags, ret_why);
    if (r < 0)
        return r;
    t->kind = TARGET_STORE;
    if (p->fd < 0)
        r = flags & TARGET_CREATE ? place_make(p, 0700) : -ENOENT;
    if (r < 0) {
        snprintf(ret_why, 512, "%s: %s", t->path, target_strerror(r));
        return r;
    }
    t->folder = p->fd;
    p->fd = -1;
    if (flags & TARGET_SNAPSHOT)
        flags = TARGET_READ_ONLY;
    r = target_store_open(t, t->folder, flags, ret_why);
    trust_note_folder(t, t->folder);
    if (!r && !(flags & TARGET_READ_ONLY) && eng_folder_is_open(t->folder))
        cli_warning("%s: other users may open this folder, and so keep the store from being mounted: "
                    "chmod 0700 %s",
                    t->path, t->path);
    return r;
}

int target_open(const char *path, unsigned flags, struct target **ret_target, char ret_why[512])
{
    return target_open_as(path, NULL, NULL, flags, ret_target, ret_why);
}

int target_open_as(const char *path, const char *store, const char *at, unsigned flags,
                   struct target **ret_target, char ret_why[512])
{
    struct target *t = target_new(path);
    struct place p = {.fd = -1, .folder = -1};
    struct target_mount m = {0};
    if (!t) {
        snprintf(ret_why, 512, "out of memory");
        return -ENOMEM;
    }
    t->at = at;
    int r = look_up(path, &p, &m, ret_why);
    if (r > 0 && at && !(flags & TARGET_SNAPSHOT)) {
        snprintf(ret_why, 512, "%s is mounted: --at needs --snapshot, to read its store", path);
        mounts_done(&m);
        r = -EBUSY;
    } else if (r > 0) {
        t->kind = TARGET_MOUNT;
        t->mountpoint = m.mountpoint;
        t->prefix = m.prefix;
        if (flags & TARGET_SNAPSHOT)
            r = open_snapshot(t, &m, store, ret_why);
        else
            r = open_posix(t, p.fd, flags, ret_why);
        if (t->kind == TARGET_MOUNT)
            note_trust(t, &m);
        free(m.source);
    } else if (!r) {
        r = open_store(t, &p, m.is_fuse, flags, ret_why);
    }
    note_place(t, t->folder >= 0 ? t->folder : p.fd);
    place_close(&p);
    if (r < 0) {
        release_snapshot(t);
        target_free(t);
        return r;
    }
    *ret_target = t;
    return 0;
}

int target_open_view(struct target *t, const char *at, struct eng_view **ret_view, char ret_why[512])
{
    return target_store_view(t, at, ret_view, ret_why);
}

/* The folder itself, which with TARGET_CREATE is made, or empty. */
static int open_tree(const char *path, unsigned flags, struct place *p, struct target_mount *m,
                     bool *ret_found, char ret_why[512])
{
    int r = look_up(path, p, m, ret_why);
    if (r < 0)
        return r;
    bool missing = p->fd < 0;
    *ret_found = !missing;
    if (missing)
        r = flags & TARGET_CREATE ? place_make(p, 0777) : -ENOENT;
    else if (flags & TARGET_CREATE)
        r = place_check_empty(p->fd);
    if (r < 0)
        snprintf(ret_why, 512, "%s: %s", path, target_strerror(r));
    return r < 0 || !missing ? r : mounts_find(p->fd, path, m, ret_why);
}

int target_open_tree(const char *path, unsigned flags, struct target **ret_target, char ret_why[512])
{
    struct place p = {.fd = -1, .folder = -1};
    struct target_mount m = {0};
    bool found = false;
    int r = open_tree(path, flags, &p, &m, &found, ret_why);
    struct target *t = r >= 0 ? target_new(path) : NULL;
    if (r >= 0 && !t) {
        snprintf(ret_why, 512, "out of memory");
        r = -ENOMEM;
    }
    if (t) {
        /* A mount can be the source of a tree; its control directory is then left out. */
        t->kind = m.mountpoint ? TARGET_MOUNT : TARGET_TREE;
        t->mountpoint = m.mountpoint;
        t->prefix = m.prefix;
        t->is_found = found;
        if (m.mountpoint)
            note_trust(t, &m);
        else
            trust_note_user(t, m.user);
        m.mountpoint = m.prefix = NULL;
        r = open_posix(t, p.fd, flags, ret_why);
        note_place(t, p.fd);
    }
    mounts_done(&m);
    place_close(&p);
    if (r < 0) {
        if (t)
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
        return "its attributes are too large or too many for what it goes to";
    case -EEXIST:
        return "its file name is taken by another memory";
    case -EREMCHG:
        return "somebody has put something else in its place meanwhile";
    case -ENOTUNIQ:
        return "what it is a hard link to is not there, or is not what was put there";
    case -EDEADLK:
        return "is what this is copied to, and is left out";
    case -EINPROGRESS:
        return "has the name of a file that an import has not finished";
    case -ENOLINK:
        return "a link of somebody else's leads to what is not his";
    case -EXDEV:
        return "something else is mounted there";
    case -EREMOTE:
        return "another user has mounted something there (--trust takes it over)";
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
    return r == -ESTALE ? -EREMCHG : r;
}

void target_leave_out(struct target *t, uint64_t dev, uint64_t ino)
{
    if (t->kind == TARGET_STORE)
        return;
    t->self_dev = dev;
    t->self_ino = ino;
}

bool target_is_cut(struct target *t, struct target_file *f, uint64_t size, uint64_t *ret_size)
{
    uint64_t end;
    if (t->kind == TARGET_STORE || t->ops->seek(t, f, 0, SEEK_END, &end) < 0 || end >= size)
        return false;
    *ret_size = end;
    return true;
}

/* Once, up to the end that it has by then. */
static int read_all(struct target *t, struct target_file *f, uint64_t size, uint64_t max, struct buf *out)
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

int target_read_all(struct target *t, struct target_file *f, uint64_t size, uint64_t max, struct buf *out)
{
    for (int i = 0; i < CUTS_MAX; i++) {
        int r = read_all(t, f, size, max, out);
        if (r < 0 || out->len >= size)
            return r;
        size = out->len; /* what was read may be the beginning of what it was before */
    }
    return -EREMCHG;
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

/* A host gives each of its files a label: that is none of a memory. A guard is for one rename. */
static bool is_carried(const struct target *t, const char *name)
{
    if ((t->kind == TARGET_TREE && !strcmp(name, "security.selinux")) || !strcmp(name, FIELD_GUARD))
        return false;
    return !strncmp(name, "user.", 5) || guarded_is(name);
}

int target_load_xattrs(struct target *t, struct target_file *f, struct pool *pool,
                       const struct eng_xattr_pair **ret_xattrs, size_t *ret_n)
{
    char list[ENG_XATTR_LIST_MAX];
    ssize_t size = t->ops->listxattr(t, f, list, sizeof list);
    size_t count = 0, n = 0;
    *ret_n = 0;
    if (size < 0)
        return (int)size;
    for (const char *s = list; s < list + size; s += strlen(s) + 1)
        count++;
    struct eng_xattr_pair *x = count ? pool_alloc(pool, count * sizeof *x) : NULL;
    char *value = count ? malloc(ENG_XATTR_SIZE_MAX) : NULL;
    int r = count && (!x || !value) ? -ENOMEM : 0, error = 0;
    for (const char *s = list; r != -ENOMEM && s < list + size; s += strlen(s) + 1) {
        if (!is_carried(t, s))
            continue;
        r = load_xattr(t, f, pool, s, value, &x[n]);
        n += r == 1;
        error = r < 0 ? r : error;
    }
    free(value);
    if (r == -ENOMEM)
        return r;
    *ret_xattrs = x;
    *ret_n = n;
    return error;
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

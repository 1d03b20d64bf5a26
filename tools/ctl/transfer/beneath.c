/*
 * beneath.c - see beneath.h. State: struct beneath: the table of directories, and descriptors of those used
 * last.
 *
 * openat2(2) (Linux 5.6) finds a directory in one call. Where there is none, or a filter forbids it, each
 * component is opened for itself with O_NOFOLLOW. */
#include "ctl/transfer/beneath.h"

#include "ctl/transfer/mounts.h"
#include "shared/buf.h"
#include "shared/mountinfo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#define OPEN_MAX_DIRS 64
#define OPEN_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct dir {
    size_t parent;
    const char *name; /* in the pool */
    uint64_t dev, ino;
    int fd; /* -1: not open */
};

struct beneath {
    int root;  /* the same as dirs[0].fd, but readable */
    int mount; /* its number; -1: unknown */
    bool one_mount, is_wary, no_openat2;
    int known; /* in another mount, which is no FUSE but root's, and keeps its number meanwhile; -1 */
    struct dir *dirs;
    size_t n, cap;
    size_t *table; /* their numbers by what they are, open addressing; 0: a free slot */
    size_t cap_table;
    size_t open[OPEN_MAX_DIRS]; /* those with a descriptor, but for the root; 0: a free slot */
    size_t next;                /* in `open`: the slot that is taken next, which is the oldest */
    size_t *way;                /* from a directory up to one that is open */
    size_t cap_way;
    struct pool names;
};

/* The slot of a directory: its own, or the free one where it belongs. */
static size_t *slot(const struct beneath *b, const struct dir *dir)
{
    uint64_t key[3] = {dir->parent, dir->dev, dir->ino};
    size_t i = XXH3_64bits(key, sizeof key) & (b->cap_table - 1);
    for (; b->table[i]; i = (i + 1) & (b->cap_table - 1)) {
        const struct dir *d = &b->dirs[b->table[i]];
        if (d->parent == dir->parent && d->dev == dir->dev && d->ino == dir->ino &&
            !strcmp(d->name, dir->name))
            break;
    }
    return &b->table[i];
}

static int grow_table(struct beneath *b)
{
    size_t *old = b->table, cap = b->cap_table ? b->cap_table * 2 : 64;
    size_t *table = calloc(cap, sizeof *table);
    if (!table)
        return -ENOMEM;
    b->table = table;
    b->cap_table = cap;
    for (size_t i = 1; i < b->n; i++)
        *slot(b, &b->dirs[i]) = i;
    free(old);
    return 0;
}

static int add(struct beneath *b, const struct dir *dir, size_t *ret_dir)
{
    struct dir *dirs = array_room(b->dirs, b->n, &b->cap, sizeof *dirs);
    if (!dirs)
        return -ENOMEM;
    b->dirs = dirs;
    if (b->n * 2 >= b->cap_table && grow_table(b) < 0)
        return -ENOMEM;
    b->dirs[b->n] = *dir;
    b->dirs[b->n].name = pool_copy(&b->names, dir->name, strlen(dir->name));
    if (!b->dirs[b->n].name)
        return -ENOMEM;
    if (b->n)
        *slot(b, dir) = b->n;
    *ret_dir = b->n++;
    return 0;
}

/* The number of the mount that a descriptor is in; -1: unknown. No file system is asked for anything. Not all
 * have handles; /proc is slower. */
static int mount_of(int fd)
{
    struct file_handle handle = {.handle_bytes = 0}; /* which is too small: only the number is wanted */
    int mount = -1;
    if (name_to_handle_at(fd, "", &handle, &mount, AT_EMPTY_PATH) < 0 && errno != EOVERFLOW)
        return mountinfo_number(fd);
    return mount;
}

int beneath_open(int fd, bool one_mount, struct beneath **ret_beneath)
{
    struct beneath *b = calloc(1, sizeof *b);
    struct stat st = {0};
    size_t root;
    if (!b)
        return -ENOMEM;
    b->one_mount = one_mount;
    b->known = -1;
    b->root = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = b->root < 0 || fstat(b->root, &st) < 0 ? -errno : 0;
    b->mount = b->root >= 0 ? mount_of(b->root) : -1;
    if (!r) {
        struct dir dir = {.name = "", .dev = st.st_dev, .ino = st.st_ino, .fd = b->root};
        r = add(b, &dir, &root);
    }
    if (r < 0) {
        beneath_free(b);
        return r;
    }
    *ret_beneath = b;
    return 0;
}

void beneath_free(struct beneath *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < OPEN_MAX_DIRS; i++)
        if (b->open[i])
            close(b->dirs[b->open[i]].fd);
    if (b->root >= 0)
        close(b->root);
    if (b->known >= 0)
        close(b->known);
    free(b->dirs);
    free(b->table);
    free(b->way);
    pool_done(&b->names);
    free(b);
}

int beneath_root(const struct beneath *b)
{
    return b->root;
}

int beneath_add(struct beneath *b, size_t parent, const char *name, uint64_t dev, uint64_t ino,
                size_t *ret_dir)
{
    if (!beneath_has(b, dev))
        return -EXDEV;
    struct dir dir = {.parent = parent, .name = name, .dev = dev, .ino = ino, .fd = -1};
    size_t known = *slot(b, &dir);
    if (!known)
        return add(b, &dir, ret_dir);
    *ret_dir = known;
    return 0;
}

/* ---- descriptors ------------------------------------------------------------ */

/* In another mount than the root, and it matters. */
static bool is_elsewhere(const struct beneath *b, int fd)
{
    return b->one_mount && b->mount >= 0 && mount_of(fd) != b->mount;
}

/* Is what the descriptor is of in a FUSE that is not root's? Of a mount that is not this is remembered. */
static bool is_somebodys(struct beneath *b, int fd)
{
    int mount = mount_of(fd);
    if (mount >= 0 && (mount == b->mount || (b->known >= 0 && mount == mount_of(b->known))))
        return false;
    if (mounts_user_unasked(fd))
        return true;
    int known = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (known >= 0 && b->known >= 0)
        close(b->known);
    b->known = known >= 0 ? known : b->known;
    return false;
}

/* Whether what the descriptor is of may be asked for anything. */
static int check_mount(struct beneath *b, int fd)
{
    if (is_elsewhere(b, fd))
        return -EXDEV;
    return b->is_wary && is_somebodys(b, fd) ? -EREMOTE : 0;
}

/* Component by component. */
static int walk_down(struct beneath *b, int at, char *path)
{
    char *rest = path, *name;
    int fd = -1;
    while ((name = strsep(&rest, "/"))) {
        int next = openat(fd < 0 ? at : fd, name, OPEN_FLAGS);
        int r = next < 0 ? -errno : check_mount(b, next);
        if (r < 0 && next >= 0)
            close(next);
        if (fd >= 0)
            close(fd);
        if (r < 0)
            return r;
        fd = next;
    }
    return fd;
}

/* `path` is cut up. */
static int open_dir(struct beneath *b, int at, char *path)
{
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    int fd = -1;
    if (b->one_mount || b->is_wary)
        how.resolve |= RESOLVE_NO_XDEV;
    if (!b->no_openat2) {
        do
            fd = (int)syscall(SYS_openat2, at, path, &how, sizeof how);
        while (fd < 0 && (errno == EINTR || errno == EAGAIN)); /* EAGAIN: a rename came in between */
        b->no_openat2 = fd < 0 && (errno == ENOSYS || errno == EPERM);
    }
    int r = fd < 0 ? -errno : fd;
    if (b->no_openat2 || (r == -EXDEV && b->is_wary))
        r = walk_down(b, at, path);
    return r == -ELOOP || r == -ENOTDIR || r == -EXDEV ? -EREMCHG : r;
}

/* Notes the directories from `dir` up to one that is open, which is *ret_open. */
static int find_way(struct beneath *b, size_t dir, size_t *ret_n, size_t *ret_open)
{
    size_t n = 0;
    for (; b->dirs[dir].fd < 0; dir = b->dirs[dir].parent) {
        size_t *way = array_room(b->way, n, &b->cap_way, sizeof *way);
        if (!way)
            return -ENOMEM;
        b->way = way;
        b->way[n++] = dir;
    }
    *ret_n = n;
    *ret_open = dir;
    return 0;
}

/* Opens along the way, as much at once as fits a path. */
static int open_way(struct beneath *b, size_t n, size_t from)
{
    int at = b->dirs[from].fd, fd = -1;
    while (n > 0) {
        char path[PATH_MAX];
        size_t len = 0;
        for (; n > 0; n--) {
            const char *name = b->dirs[b->way[n - 1]].name;
            size_t more = strlen(name) + (len > 0);
            if (len > 0 && len + more >= sizeof path)
                break;
            if (more >= sizeof path)
                return -ENAMETOOLONG;
            len += (size_t)snprintf(path + len, sizeof path - len, "%s%s", len ? "/" : "", name);
        }
        int next = open_dir(b, at, path);
        if (fd >= 0)
            close(fd);
        if (next < 0)
            return next;
        at = fd = next;
    }
    return fd;
}

/* Keeps the descriptor; the one that was opened first of all makes room. */
static void keep_open(struct beneath *b, size_t dir, int fd)
{
    size_t *slot = &b->open[b->next];
    b->next = (b->next + 1) % OPEN_MAX_DIRS;
    if (*slot) {
        close(b->dirs[*slot].fd);
        b->dirs[*slot].fd = -1;
    }
    *slot = dir;
    b->dirs[dir].fd = fd;
}

int beneath_fd(struct beneath *b, size_t dir)
{
    size_t n, from;
    struct stat st;
    if (b->dirs[dir].fd >= 0)
        return b->dirs[dir].fd;
    int r = find_way(b, dir, &n, &from);
    int fd = r < 0 ? r : open_way(b, n, from);
    if (fd < 0)
        return fd;
    r = fstat(fd, &st) < 0 ? -errno : 0;
    if (!r && (st.st_dev != b->dirs[dir].dev || st.st_ino != b->dirs[dir].ino))
        r = -EREMCHG;
    if (r < 0) {
        close(fd);
        return r;
    }
    keep_open(b, dir, fd);
    return fd;
}

/* ---- single names ------------------------------------------------------------ */

bool beneath_has(const struct beneath *b, uint64_t dev)
{
    return !b->one_mount || dev == b->dirs[0].dev;
}

/* Where the name leads to is known before it is asked for anything. */
static int open_checked(struct beneath *b, int at, const char *name, int flags)
{
    char path[64];
    int found = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (found < 0)
        return -errno;
    int r = check_mount(b, found);
    if (!r && (flags & O_PATH))
        return found;
    /* That, whatever has its name by now. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", found);
    int fd = r ? -1 : open(path, flags & ~O_NOFOLLOW);
    if (!r && fd < 0 && errno == ENOENT) /* no /proc */
        fd = openat(at, name, flags);
    if (!r && fd < 0)
        r = -errno;
    close(found);
    return r ? r : fd;
}

int beneath_open_at(struct beneath *b, int at, const char *name, int flags)
{
    struct open_how how = {.flags = (unsigned)flags, .resolve = RESOLVE_NO_XDEV};
    int fd = -1;
    if (!(flags & O_PATH))
        how.flags |= O_LARGEFILE; /* as openat() does */
    if (!b->one_mount && !b->is_wary) {
        fd = openat(at, name, flags);
        return fd < 0 ? -errno : fd;
    }
    if (!b->no_openat2) {
        do
            fd = (int)syscall(SYS_openat2, at, name, &how, sizeof how);
        while (fd < 0 && errno == EINTR);
        if (fd >= 0)
            return fd;
        bool is_mounted = errno == EXDEV && b->is_wary;
        if (!is_mounted && errno != ENOSYS && errno != EPERM)
            return -errno;
        b->no_openat2 = errno == ENOSYS;
    }
    return open_checked(b, at, name, flags);
}

int beneath_stat_at(struct beneath *b, int at, const char *name, struct stat *ret_st)
{
    if (!b->one_mount)
        return fstatat(at, name, ret_st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
    /* Whose is it? Only a descriptor that is surely ours is asked: others need not answer, ever. */
    int fd = beneath_open_at(b, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fd;
    int r = fstat(fd, ret_st) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int beneath_stat_wary(struct beneath *b, int at, const char *name, struct stat *ret_st)
{
    if (b->one_mount)
        return beneath_stat_at(b, at, name, ret_st);
    b->is_wary = true;
    /* As there: whose it is, by a descriptor that no file system is asked for, and then what it is. */
    int fd = beneath_open_at(b, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fd;
    int r = fstat(fd, ret_st) < 0 ? -errno : 0;
    close(fd);
    return r;
}

int beneath_is_taken(struct beneath *b, int at, const char *name)
{
    int fd = beneath_open_at(b, at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 || fd == -EXDEV)
        return 1;
    return fd == -ENOENT ? 0 : fd;
}

int beneath_answers(const struct beneath *b)
{
    struct statx st;
    int r = statx(b->root, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_TYPE, &st);
    return r < 0 && errno != ENOSYS ? -errno : 0;
}

/* ---- what was just made -------------------------------------------------------- */

static bool is_empty(int fd)
{
    int readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = readable >= 0 ? fdopendir(readable) : NULL;
    bool empty = d;
    if (!d && readable >= 0)
        close(readable);
    for (struct dirent *e; d && empty && (e = readdir(d));)
        empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
    if (d)
        closedir(d);
    return empty;
}

int beneath_add_made(struct beneath *b, size_t parent, const char *name, size_t *ret_dir)
{
    struct stat st;
    int at = beneath_fd(b, parent);
    int fd = at < 0 ? at : beneath_open_at(b, at, name, OPEN_FLAGS);
    if (fd < 0)
        return at < 0 ? at : -EREMCHG;
    int r = fstat(fd, &st) < 0 ? -errno : 0;
    if (!r && (st.st_uid != geteuid() || (st.st_mode & 05777) != 0700 || !is_empty(fd)))
        r = -EREMCHG;
    struct dir dir = {.parent = parent, .name = name, .dev = st.st_dev, .ino = st.st_ino, .fd = -1};
    if (!r && !beneath_has(b, st.st_dev))
        r = -EXDEV;
    if (!r)
        r = add(b, &dir, ret_dir);
    if (r < 0)
        close(fd);
    else
        keep_open(b, *ret_dir, fd);
    return r;
}

int beneath_chmod(int fd, uint32_t mode)
{
    char path[64];
#ifdef SYS_fchmodat2
    if (syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != ENOSYS && errno != EPERM)
        return -errno;
#endif
    /* Follows to what the descriptor is of, whatever has its name by now. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return chmod(path, mode) < 0 ? -errno : 0;
}

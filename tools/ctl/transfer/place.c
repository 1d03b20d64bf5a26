/*
 * place.c - see place.h. No state. */
#include "ctl/transfer/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { LINKS_MAX = 40 };

static int walk(int at, const char *path, unsigned *links, struct place *p);

/* What a link leads to. One of /proc is no text: the kernel follows it. Whose link leads to what is not his
 * would have us do there what we may and he may not. */
static int follow(struct place *p, int link, const char *text, unsigned *links)
{
    struct stat whose = {0}, st = {0};
    struct statfs fs = {0};
    struct place to;
    if (++*links > LINKS_MAX)
        return -ELOOP;
    if (fstat(link, &whose) < 0 || fstatfs(link, &fs) < 0)
        return -errno;
    if (fs.f_type == PROC_SUPER_MAGIC) {
        p->fd = openat(p->folder, p->name, O_PATH | O_CLOEXEC);
        return p->fd < 0 ? -errno : 0;
    }
    int r = walk(p->folder, text, links, &to);
    if (r < 0)
        return r;
    if (whose.st_uid != 0 && whose.st_uid != geteuid() &&
        (fstat(to.fd >= 0 ? to.fd : to.folder, &st) < 0 || st.st_uid != whose.st_uid)) {
        place_close(&to);
        return -ENOLINK;
    }
    place_close(p);
    *p = to;
    return 0;
}

/* One name further. */
static int step(struct place *p, const char *name, size_t len, unsigned *links)
{
    char text[PATH_MAX];
    if (p->fd < 0)
        return -ENOENT;
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    if (p->folder >= 0)
        close(p->folder);
    p->folder = p->fd;
    memcpy(p->name, name, len);
    p->name[len] = 0;
    p->fd = -1;
    int fd = openat(p->folder, p->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    ssize_t n = readlinkat(fd, "", text, sizeof text - 1);
    if (n < 0) {
        p->fd = fd;
        return 0;
    }
    text[n] = 0;
    int r = follow(p, fd, text, links);
    close(fd);
    return r;
}

/* Name by name. */
static int walk(int at, const char *path, unsigned *links, struct place *p)
{
    *p = (struct place){.fd = -1, .folder = -1};
    if (!*path)
        return -ENOENT;
    p->fd = openat(at, *path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = p->fd < 0 ? -errno : 0;
    while (!r && *(path += strspn(path, "/"))) {
        size_t len = strcspn(path, "/");
        r = step(p, path, len, links);
        path += len;
    }
    if (r < 0)
        place_close(p);
    return r;
}

int place_open(const char *path, struct place *ret)
{
    unsigned links = 0;
    return walk(AT_FDCWD, path, &links, ret);
}

int place_open_special(const struct place *p, const struct stat *st)
{
    struct statfs fs = {0};
    char path[PLACE_PATH];
    bool ours = st->st_uid == 0 || st->st_uid == geteuid();
    /* a pipe without a name is one that we were given */
    if (!ours && S_ISFIFO(st->st_mode) && (fstatfs(p->fd, &fs) < 0 || fs.f_type != PIPEFS_MAGIC))
        return -EACCES;
    int fd = open(place_path(p->fd, path), O_WRONLY | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int place_is_below(int fd, const struct stat *top)
{
    struct stat st, last = {0};
    int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), r = at < 0 ? -errno : 0;
    for (bool first = true; !r; first = false) {
        r = fstat(at, &st) < 0 ? -errno : 0;
        if (!r && st.st_dev == top->st_dev && st.st_ino == top->st_ino)
            r = 1;
        if (r || (!first && st.st_dev == last.st_dev && st.st_ino == last.st_ino))
            break; /* ".." of "/" is "/" */
        last = st;
        int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = up < 0 ? -errno : 0;
        close(at);
        at = up;
    }
    if (at >= 0)
        close(at);
    return r;
}

/* Makes what was just made in the folder durable. */
static int sync_folder(const struct place *p)
{
    int fd = openat(p->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int inside = fd < 0 ? openat(p->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int r = 0;
    if (fd >= 0)
        r = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
    else if (inside < 0 || syncfs(inside) < 0) /* a folder that may be written but not read */
        r = -errno;
    if (fd >= 0)
        close(fd);
    if (inside >= 0)
        close(inside);
    return r;
}

int place_make(struct place *p, mode_t mode)
{
    struct stat st;
    if (p->fd >= 0 || p->folder < 0)
        return -EEXIST;
    if (mkdirat(p->folder, p->name, mode) < 0)
        return -errno;
    int fd = openat(p->folder, p->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || place_check_empty(fd) < 0) {
        if (fd >= 0)
            close(fd);
        return -EREMCHG;
    }
    p->fd = fd;
    return sync_folder(p);
}

void place_close(struct place *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->folder >= 0)
        close(p->folder);
    p->fd = p->folder = -1;
}

const char *place_path(int fd, char buf[PLACE_PATH])
{
    snprintf(buf, PLACE_PATH, "/proc/self/fd/%d", fd);
    return buf;
}

int place_check_empty(int fd)
{
    int readable = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = readable >= 0 ? fdopendir(readable) : NULL;
    int r = d ? 0 : -errno;
    if (!d && readable >= 0)
        close(readable);
    for (struct dirent *e; d && !r && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = -ENOTEMPTY;
    if (d)
        closedir(d);
    return r;
}

/*
 * place.c - see place.h. No state. */
#include "ctl/transfer/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens the folder that the last name of `path` is in, and notes that name; "x/" is x. */
static int open_folder(const char *path, struct place *p)
{
    char folder[PATH_MAX];
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t name = end;
    while (name > 0 && path[name - 1] != '/')
        name--;
    if (end == 0 || end - name > NAME_MAX || name + 1 >= sizeof folder)
        return end ? -ENAMETOOLONG : -ENOENT;
    memcpy(p->name, path + name, end - name);
    p->name[end - name] = 0;
    if (!*p->name || !strcmp(p->name, ".") || !strcmp(p->name, ".."))
        return 0; /* there is always one */
    snprintf(folder, sizeof folder, "%.*s", (int)name, path);
    p->folder = open(name ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return p->folder < 0 ? -errno : 0;
}

int place_open(const char *path, struct place *ret)
{
    *ret = (struct place){.fd = -1, .folder = -1};
    int r = open_folder(path, ret);
    if (r < 0)
        return r;
    ret->fd =
        ret->folder < 0 ? open(path, O_PATH | O_CLOEXEC) : openat(ret->folder, ret->name, O_PATH | O_CLOEXEC);
    r = ret->fd < 0 ? -errno : 0;
    if (r == -ENOENT && ret->folder >= 0)
        return 0;
    if (r < 0)
        place_close(ret);
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

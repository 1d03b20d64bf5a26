/*
 * mount_snapshots.c - see mount_snapshots.h. No state. */
#include "ctl/mount_snapshots.h"

#include "rules/rfc3339.h"
#include "shared/control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { WRITE_BACK_MS = 5000 };

/* A name that is a path would lead out of the folder. */
static int check_name(const char *name)
{
    bool is_dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    return !*name || is_dots || strchr(name, '/') ? -EINVAL : 0;
}

static int open_folder(const char *mountpoint)
{
    int fd = control_open_snapshots(mountpoint);
    return fd == -ENOENT ? -EOPNOTSUPP : fd;
}

static int open_for(const char *mountpoint, const char *name)
{
    int r = check_name(name);
    return r ? r : open_folder(mountpoint);
}

/* How many requests the kernel has for the daemon; 0 also where nobody can tell. */
static unsigned long requests_under_way(dev_t dev)
{
    char path[64], text[32] = "";
    (void)snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/waiting", minor(dev));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    return n > 0 ? strtoul(text, NULL, 10) : 0;
}

/* syncfs(2) begins to write back, and does not wait for a FUSE: until nothing is under way any more. On a
 * mount that is never idle for so long as it may take. */
static int write_back(int folder)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    struct stat st = {0};
    int r = syncfs(folder) < 0 || fstat(folder, &st) < 0 ? -errno : 0;
    for (unsigned ms = 0; !r && ms < WRITE_BACK_MS && requests_under_way(st.st_dev) > 0; ms++)
        (void)nanosleep(&pause, NULL);
    return r;
}

int mount_snapshots_create(const char *mountpoint, const char *name)
{
    int folder = open_for(mountpoint, name);
    if (folder < 0)
        return folder;
    int r = write_back(folder);
    if (!r && mkdirat(folder, name, 0755) < 0)
        r = -errno;
    close(folder);
    return r;
}

int mount_snapshots_rename(const char *mountpoint, const char *name, const char *new_name)
{
    int r = check_name(new_name), folder = r ? r : open_for(mountpoint, name);
    if (folder < 0)
        return folder;
    r = renameat2(folder, name, folder, new_name, RENAME_NOREPLACE) < 0 ? -errno : 0;
    close(folder);
    return r;
}

int mount_snapshots_drop(const char *mountpoint, const char *name)
{
    int folder = open_for(mountpoint, name);
    if (folder < 0)
        return folder;
    int r = unlinkat(folder, name, AT_REMOVEDIR) < 0 ? -errno : 0;
    close(folder);
    return r;
}

static int get_text(int fd, const char *name, char ret_text[64])
{
    ssize_t n = fgetxattr(fd, name, ret_text, 63);
    if (n < 0)
        return -errno;
    ret_text[n] = '\0';
    return 0;
}

static int get_number(int fd, const char *name, uint64_t *ret)
{
    char text[64], *end = text;
    int r = get_text(fd, name, text);
    if (r)
        return r == -EOPNOTSUPP ? -ENOSYS : r;
    *ret = strtoull(text, &end, 10);
    return end == text || *end ? -EPROTO : 0;
}

int mount_snapshots_space(const char *mountpoint, const char *name, struct eng_snapshot_space *ret)
{
    int folder = open_for(mountpoint, name);
    if (folder < 0)
        return folder;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : get_number(fd, "user.engram.snapshot.position", &ret->batch);
    if (!r)
        r = get_number(fd, "user.engram.snapshot.bytes", &ret->alone);
    if (!r)
        r = get_number(fd, "user.engram.snapshot.shared_bytes", &ret->shared);
    if (fd >= 0)
        close(fd);
    close(folder);
    return r == -ENODATA || r == -ESTALE ? -ENOENT : r;
}

/* What the mount tells of one. -ENOENT: it went meanwhile. */
static int look_at(int folder, const char *name, struct eng_snapshot *ret)
{
    char batch[64], when[64], *end = batch;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : get_text(fd, "user.engram.snapshot.position", batch);
    if (!r)
        r = get_text(fd, "user.engram.snapshot.time", when);
    if (fd >= 0)
        close(fd);
    if (r == -EOPNOTSUPP)
        return -ENOSYS;
    if (r)
        return r == -ENODATA || r == -ESTALE ? -ENOENT : r;
    *ret = (struct eng_snapshot){.name = name, .batch = strtoull(batch, &end, 10)};
    return end == batch || *end || !rfc3339_parse(when, strlen(when), &ret->time) ? -EPROTO : 0;
}

int mount_snapshots_list(const char *mountpoint, int (*emit)(void *arg, const struct eng_snapshot *snapshot),
                         void *arg)
{
    int folder = open_folder(mountpoint), r = 0;
    DIR *dir = folder >= 0 ? fdopendir(folder) : NULL;
    if (!dir) {
        r = folder < 0 ? folder : -errno;
        if (folder >= 0)
            close(folder);
        return r;
    }
    while (!r) {
        struct eng_snapshot snapshot;
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            r = -errno;
            break;
        }
        if (check_name(entry->d_name))
            continue;
        r = look_at(folder, entry->d_name, &snapshot);
        if (!r)
            r = emit(arg, &snapshot);
        else if (r == -ENOENT)
            r = 0;
    }
    (void)closedir(dir);
    return r;
}

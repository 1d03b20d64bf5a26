/*
 * listing.c - see listing.h. State: struct target_scan. */
#include "ctl/transfer/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct target_scan {
    DIR *dir;
    struct beneath *dirs;
    uint64_t dev;
    const struct target *target;
    bool hide_control; /* the root of a mount: .engram is no memory */
};

static int64_t to_ns(const struct timespec *ts)
{
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)ts->tv_sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)ts->tv_nsec, &ns))
        return ts->tv_sec < 0 ? INT64_MIN + 1 : INT64_MAX;
    return ns;
}

void listing_from_stat(const struct stat *st, struct target_attr *ret)
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

int listing_open(struct target *t, struct beneath *dirs, tdir dir, struct target_scan **ret)
{
    struct target_file f = {.fd = -1};
    int r = t->ops->open_dir(t, dir, &f);
    if (r < 0)
        return r;
    struct target_scan *s = calloc(1, sizeof *s);
    struct stat st;
    if (s && fstat(f.fd, &st) == 0)
        s->dev = st.st_dev;
    if (s)
        s->dir = fdopendir(f.fd);
    if (!s || !s->dir) {
        r = s ? -errno : -ENOMEM;
        close(f.fd);
        free(s);
        return r;
    }
    s->dirs = dirs;
    s->target = t;
    s->hide_control = t->kind == TARGET_MOUNT && dir == t->root && !*t->prefix;
    *ret = s;
    return 0;
}

int listing_next(struct target_scan *s, const char **ret_name, struct target_attr *ret_attr, int *ret_error)
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
        int r = s->target->is_wary ? beneath_stat_wary(s->dirs, dirfd(s->dir), n, &st)
                                   : beneath_stat_at(s->dirs, dirfd(s->dir), n, &st);
        if (!r)
            listing_from_stat(&st, ret_attr);
        else
            *ret_attr = (struct target_attr){.dev = s->dev, .ino = e->d_ino, .mode = DTTOIF(e->d_type)};
        *ret_error = r;
        *ret_name = n;
        return 1;
    }
}

void listing_close(struct target_scan *s)
{
    if (!s)
        return;
    closedir(s->dir);
    free(s);
}

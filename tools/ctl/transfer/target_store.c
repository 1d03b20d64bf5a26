/*
 * target_store.c - a store that is not mounted, through the engine. A
 * directory handle is its inode number. State: the struct eng. */
#include "ctl/transfer/target_backends.h"

#include "shared/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct target_ops store_ops; /* at the end of the file */

/* How long to wait for a daemon that is just being unmounted. */
#define LOCK_WAIT_MS 2000
#define WRITE_MAX ((size_t)8 << 20)

static void engine_log(void *arg, enum eng_log_level level, const char *line)
{
    (void)arg;
    if (level == ENG_LOG_ERROR || level == ENG_LOG_WARNING)
        cli_warning("%s", line);
}

int target_store_open(struct target *t, const char *path, unsigned flags, char ret_why[512])
{
    char why[256] = "";
    struct eng_options opt = {
        .read_only = flags & (TARGET_READ_ONLY | TARGET_SNAPSHOT),
        .snapshot = flags & TARGET_SNAPSHOT,
        .salvage = flags & TARGET_SALVAGE,
        .must_exist = !(flags & TARGET_CREATE),
        .no_background = flags & (TARGET_READ_ONLY | TARGET_SNAPSHOT | TARGET_QUIET),
        .lock_wait_ms = LOCK_WAIT_MS,
        .log = engine_log,
    };
    int r = eng_open(path, &opt, &t->eng, why);
    if (r < 0) {
        snprintf(ret_why, 512, "%s: %s", path, why[0] ? why : strerror(-r));
        return r;
    }
    t->ops = &store_ops;
    t->root = ENG_ROOT_INO;
    t->caller = (struct eng_caller){.uid = geteuid(), .gid = getegid()};
    return 0;
}

static int store_finish(struct target *t)
{
    int r = eng_close(t->eng);
    t->eng = NULL;
    return r;
}

static void store_close_files(struct target *t)
{
    (void)t;
}

static void from_eng(const struct eng_attr *a, struct target_attr *ret)
{
    *ret = (struct target_attr){.ino = a->ino,
                                .size = a->size,
                                .rdev = a->rdev,
                                .atime = a->atime,
                                .mtime = a->mtime,
                                .mode = a->mode,
                                .nlink = a->nlink,
                                .uid = a->uid,
                                .gid = a->gid};
}

static int store_lookup(struct target *t, tdir dir, const char *name, struct target_attr *ret)
{
    struct eng_attr a;
    int r = eng_lookup(t->eng, &t->caller, dir, name, &a);
    if (!r)
        from_eng(&a, ret);
    return r;
}

static int store_subdir(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                        tdir *ret)
{
    (void)t, (void)dir, (void)name;
    *ret = attr->ino;
    return 0;
}

static int store_mkdir(struct target *t, tdir dir, const char *name, uint32_t mode, tdir *ret)
{
    struct eng_attr a;
    int r = eng_create(t->eng, &t->caller, dir, name, S_IFDIR | (mode & 07777), 0, NULL, &a);
    if (!r)
        *ret = a.ino;
    return r;
}

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static ssize_t store_put(struct target *t, struct eng_record *records, size_t n)
{
    int64_t now = now_ns();
    for (size_t i = 0; i < n; i++)
        if (records[i].mtime == TARGET_NOW)
            records[i].mtime = now;
    return eng_put_many(t->eng, records, n);
}

static int store_open(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                      bool write, struct target_file *ret)
{
    (void)t, (void)dir, (void)name, (void)write;
    *ret = (struct target_file){.ino = attr->ino, .fd = -1};
    return 0;
}

static int store_close(struct target *t, struct target_file *f)
{
    (void)t, (void)f;
    return 0;
}

static ssize_t store_read(struct target *t, struct target_file *f, void *buf, size_t n, uint64_t offset)
{
    return eng_read(t->eng, f->ino, buf, n, offset);
}

static ssize_t store_write(struct target *t, struct target_file *f, const void *buf, size_t n,
                           uint64_t offset)
{
    for (size_t done = 0; done < n;) {
        size_t part = n - done < WRITE_MAX ? n - done : WRITE_MAX;
        ssize_t w = eng_write(t->eng, f->ino, (const char *)buf + done, part, offset + done);
        if (w < 0)
            return w;
        done += (size_t)w;
    }
    return (ssize_t)n;
}

static int store_truncate(struct target *t, struct target_file *f, uint64_t size)
{
    struct eng_attr a = {.size = size};
    return eng_setattr(t->eng, f->ino, &a, ENG_SET_SIZE, NULL);
}

static int store_seek(struct target *t, struct target_file *f, uint64_t offset, int whence, uint64_t *ret)
{
    return eng_seek(t->eng, f->ino, offset, whence, ret);
}

static ssize_t store_listxattr(struct target *t, struct target_file *f, char *list, size_t size)
{
    return eng_listxattr(t->eng, f->ino, list, size);
}

static ssize_t store_getxattr(struct target *t, struct target_file *f, const char *name, void *value,
                              size_t size)
{
    return eng_getxattr(t->eng, f->ino, name, value, size);
}

static int store_setxattr(struct target *t, struct target_file *f, const char *name, const void *value,
                          size_t size)
{
    return eng_setxattr(t->eng, f->ino, name, value, size, 0);
}

static int store_removexattr(struct target *t, struct target_file *f, const char *name)
{
    return eng_removexattr(t->eng, f->ino, name);
}

static int store_setattr(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                         unsigned mask)
{
    struct eng_attr a;
    int r = eng_lookup(t->eng, &t->caller, dir, name, &a);
    if (r < 0)
        return r;
    struct eng_attr set = {
        .mode = attr->mode, .uid = attr->uid, .gid = attr->gid, .atime = attr->atime, .mtime = attr->mtime};
    return eng_setattr(t->eng, a.ino, &set, mask, NULL);
}

static int store_make(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                      const char *link)
{
    struct eng_caller who = {.uid = attr->uid, .gid = attr->gid};
    struct eng_attr a;
    return eng_create(t->eng, &who, dir, name, attr->mode, attr->rdev, link, &a);
}

static ssize_t store_readlink(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                              char *buf, size_t size)
{
    (void)dir, (void)name;
    return eng_readlink(t->eng, attr->ino, buf, size);
}

static int store_link(struct target *t, tdir from_dir, const char *from, tdir dir, const char *name)
{
    struct eng_attr a;
    int r = eng_lookup(t->eng, &t->caller, from_dir, from, &a);
    return r < 0 ? r : eng_link(t->eng, &t->caller, a.ino, dir, name, &a);
}

static int store_unlink(struct target *t, tdir dir, const char *name)
{
    return eng_unlink(t->eng, dir, name);
}

static int store_rmdir(struct target *t, tdir dir, const char *name)
{
    return eng_rmdir(t->eng, dir, name);
}

/* ---- listing: the engine calls back under its lock, so entries are taken over in blocks -------- */

#define SCAN_BLOCK 128 /* about 40 KiB: with more, malloc() would map and unmap memory for each directory */

struct target_scan {
    struct target *t;
    tdir dir;
    uint64_t cookie; /* after the last entry of the block */
    size_t n, next;  /* entries in the block; the next one to hand out */
    bool end;
    struct {
        char name[ENG_NAME_MAX + 1];
        struct target_attr attr;
    } entries[SCAN_BLOCK];
};

static int take_entry(void *arg, const struct eng_dirent *e)
{
    struct target_scan *s = arg;
    if (s->n == SCAN_BLOCK)
        return 1;
    s->cookie = e->cookie;
    if ((e->name_len == 1 && e->name[0] == '.') || (e->name_len == 2 && !memcmp(e->name, "..", 2)))
        return 0;
    if (e->name_len > ENG_NAME_MAX)
        return 0;
    memcpy(s->entries[s->n].name, e->name, e->name_len);
    s->entries[s->n].name[e->name_len] = 0;
    from_eng(&e->attr, &s->entries[s->n].attr);
    s->n++;
    return 0;
}

static int store_scan_open(struct target *t, tdir dir, struct target_scan **ret)
{
    struct target_scan *s = malloc(sizeof *s);
    if (!s)
        return -ENOMEM;
    s->t = t;
    s->dir = dir;
    s->cookie = 0;
    s->n = s->next = 0;
    s->end = false;
    *ret = s;
    return 0;
}

static int store_scan_next(struct target_scan *s, const char **ret_name, struct target_attr *ret_attr)
{
    if (s->next == s->n) {
        if (s->end)
            return 0;
        s->n = s->next = 0;
        int r = eng_readdir(s->t->eng, &s->t->caller, s->dir, s->cookie, take_entry, s);
        if (r < 0)
            return r;
        s->end = s->n < SCAN_BLOCK;
        if (s->n == 0)
            return 0;
    }
    *ret_name = s->entries[s->next].name;
    *ret_attr = s->entries[s->next].attr;
    s->next++;
    return 1;
}

static void store_scan_close(struct target_scan *s)
{
    free(s);
}

static const struct target_ops store_ops = {
    .close_files = store_close_files,
    .finish = store_finish,
    .lookup = store_lookup,
    .subdir = store_subdir,
    .mkdir = store_mkdir,
    .put = store_put,
    .open = store_open,
    .close = store_close,
    .read = store_read,
    .write = store_write,
    .truncate = store_truncate,
    .seek = store_seek,
    .listxattr = store_listxattr,
    .getxattr = store_getxattr,
    .setxattr = store_setxattr,
    .removexattr = store_removexattr,
    .setattr = store_setattr,
    .make = store_make,
    .readlink = store_readlink,
    .link = store_link,
    .unlink = store_unlink,
    .rmdir = store_rmdir,
    .scan_open = store_scan_open,
    .scan_next = store_scan_next,
    .scan_close = store_scan_close,
};

/*
 * target_store.c - a store that is not mounted, through the engine, as it is or as it was (t->view). A
 * directory handle is its inode number. State: the struct eng. */
#include "ctl/transfer/target_backends.h"

#include "ctl/transfer/place.h"
#include "ctl/transfer/same.h"
#include "ctl/transfer/temporary.h"
#include "shared/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct target_ops store_ops; /* at the end of the file */

#define WRITE_MAX ((size_t)8 << 20)

static int store_finish(struct target *t);

static void engine_log(void *arg, enum eng_log_level level, const char *line)
{
    (void)arg;
    if (level == ENG_LOG_ERROR || level == ENG_LOG_WARNING)
        cli_warning("%s", line);
}

struct sought {
    const char *name;
    uint64_t batch;
};

static int find_snapshot(void *arg, const struct eng_snapshot *snapshot)
{
    struct sought *s = arg;
    if (strcmp(snapshot->name, s->name) != 0)
        return 0;
    s->batch = snapshot->batch;
    return 1;
}

/* The batch of the snapshot of that name, or the one that the number says. */
static int find_batch(struct target *t, const char *at, uint64_t *ret_batch, char ret_why[512])
{
    struct sought s = {.name = at};
    int r = eng_snapshot_list(t->eng, find_snapshot, &s);
    *ret_batch = s.batch;
    if (r)
        return r < 0 ? r : 0;
    *ret_batch = strtoull(at, NULL, 10);
    if (!at[0] || at[strspn(at, "0123456789")]) {
        snprintf(ret_why, 512, "%.200s: no snapshot is called '%.200s'", t->path, at);
        return -ENOENT;
    }
    return 0;
}

int target_store_view(struct target *t, const char *at, struct eng_view **ret_view, char ret_why[512])
{
    uint64_t batch = 0;
    ret_why[0] = 0;
    int r = find_batch(t, at, &batch, ret_why);
    if (!r)
        r = eng_view_open(t->eng, batch, ret_view);
    if (r == -ENOENT && !ret_why[0])
        snprintf(ret_why, 512, "%.200s: what was there after batch %llu is not kept", t->path,
                 (unsigned long long)batch);
    else if (r < 0 && !ret_why[0])
        snprintf(ret_why, 512, "%.200s: %s", t->path, strerror(-r));
    return r;
}

int target_store_open(struct target *t, int fd, unsigned flags, char ret_why[512])
{
    char why[256] = "", path[PLACE_PATH];
    struct eng_options opt = {
        .read_only = flags & (TARGET_READ_ONLY | TARGET_SNAPSHOT),
        .snapshot = flags & TARGET_SNAPSHOT,
        .salvage = flags & TARGET_SALVAGE,
        .must_exist = !(flags & TARGET_CREATE),
        .no_background = flags & (TARGET_READ_ONLY | TARGET_SNAPSHOT | TARGET_QUIET),
        .lock_wait_ms = TARGET_LOCK_WAIT_MS,
        .log = engine_log,
    };
    int r = eng_open(place_path(fd, path), &opt, &t->eng, why);
    if (r < 0) {
        snprintf(ret_why, 512, "%.250s: %s", t->path, why[0] ? why : strerror(-r));
        return r;
    }
    t->ops = &store_ops;
    t->root = ENG_ROOT_INO;
    t->caller = (struct eng_caller){.uid = geteuid(), .gid = getegid()};
    r = t->at ? target_store_view(t, t->at, &t->view, ret_why) : 0;
    if (r < 0)
        (void)store_finish(t);
    return r;
}

static int store_finish(struct target *t)
{
    eng_view_close(t->view);
    t->view = NULL;
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
                                .mtime = a->mtime == TARGET_NOW ? TARGET_NOW + 1 : a->mtime,
                                .mode = a->mode,
                                .nlink = a->nlink,
                                .uid = a->uid,
                                .gid = a->gid};
}

static int store_lookup(struct target *t, tdir dir, const char *name, struct target_attr *ret)
{
    struct eng_attr a;
    int r = t->view ? eng_view_lookup(t->view, dir, name, &a) : eng_lookup(t->eng, &t->caller, dir, name, &a);
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

static int store_open_dir(struct target *t, tdir self, struct target_file *ret)
{
    (void)t;
    *ret = (struct target_file){.ino = self, .fd = -1};
    return 0;
}

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- files: of an existing one only what is different is written -------------------------- */

enum what { AS_IT_IS, WRITE, SHARED };

/* What the engine has -ENOSPC for, as has a disk that is full. */
static bool too_many_xattrs(const struct eng_record *rec)
{
    size_t list = 0;
    for (size_t i = 0; i < rec->n_xattrs; i++)
        list += strlen(rec->xattrs[i].name) + 1;
    return rec->n_xattrs > ENG_XATTR_COUNT_MAX || list > ENG_XATTR_LIST_MAX;
}

/* What is to be done about a record; mode and owner of an existing file are its caller's. */
static enum what needed(struct target *t, struct eng_record *rec)
{
    struct eng_attr a;
    struct target_attr have, want;
    rec->result = too_many_xattrs(rec) ? -E2BIG : 0;
    if (rec->result)
        return AS_IT_IS;
    if (eng_lookup(t->eng, &t->caller, rec->parent, rec->name, &a) < 0 || !S_ISREG(a.mode))
        return WRITE;
    from_eng(&a, &have);
    struct eng_record as = *rec;
    if (t->keeps_attr) {
        as.mode = have.mode;
        as.uid = have.uid;
        as.gid = have.gid;
    }
    if (same_record(t, rec, &have) > 0) {
        unsigned mask = same_changes(&as, &have, true, &want) & (ENG_SET_MTIME | ENG_SET_ATIME);
        struct eng_attr times = {.atime = want.atime, .mtime = want.mtime};
        rec->result = mask ? eng_setattr(t->eng, have.ino, &times, mask, NULL) : 0;
        return AS_IT_IS;
    }
    if (have.nlink == 1)
        return WRITE;
    *rec = as;
    return SHARED;
}

/* A temporary name that nothing has. */
static void free_name(struct target *t, tdir dir, char ret_name[TEMPORARY_BUF])
{
    struct eng_attr a;
    int i = 0;
    do
        temporary_name(ret_name);
    while (eng_lookup(t->eng, &t->caller, dir, ret_name, &a) != -ENOENT && ++i < TEMPORARY_TRIES);
}

/* The other names of the file keep what it has. */
static int put_unshared(struct target *t, struct eng_record *rec)
{
    const char *name = rec->name;
    char temporary[TEMPORARY_BUF];
    free_name(t, rec->parent, temporary);
    rec->name = temporary;
    ssize_t n = eng_put_many(t->eng, rec, 1);
    rec->name = name;
    int r = n < 0 ? (int)n : rec->result;
    if (!r)
        r = eng_rename(t->eng, &t->caller, rec->parent, temporary, rec->parent, name, 0);
    if (r < 0)
        (void)eng_unlink(t->eng, rec->parent, temporary);
    rec->result = r;
    return n < 0 ? (int)n : 0;
}

static ssize_t store_put(struct target *t, struct eng_record *records, size_t n, uint64_t *inos)
{
    memset(inos, 0, n * sizeof *inos);
    int64_t now = now_ns();
    ssize_t stored = 0, r = 0;
    for (size_t first = 0, i = 0; r >= 0 && i <= n; i++) {
        enum what what = i < n ? needed(t, &records[i]) : AS_IT_IS;
        if (i < n && records[i].mtime == TARGET_NOW)
            records[i].mtime = now;
        if (what == WRITE)
            continue;
        r = i > first ? eng_put_many(t->eng, records + first, i - first) : 0;
        stored += r > 0 ? r : 0;
        if (r >= 0 && what == SHARED)
            r = put_unshared(t, &records[i]);
        first = i + 1;
        stored += i < n && r >= 0 && !records[i].result;
    }
    return r < 0 ? r : stored;
}

static int store_scan_open(struct target *t, tdir dir, struct target_scan **ret);
static int store_scan_next(struct target_scan *s, const char **ret_name, struct target_attr *ret_attr,
                           int *ret_error);
static void store_scan_close(struct target_scan *s);

/* Removes what killed imports of this user have left in the directory: nobody else has the store open. */
static void sweep(struct target *t, tdir dir)
{
    struct target_scan *scan;
    struct target_attr attr;
    const char *name;
    int error;
    if (t->swept == dir || store_scan_open(t, dir, &scan) < 0)
        return;
    t->swept = dir;
    while (store_scan_next(scan, &name, &attr, &error) > 0)
        if (temporary_is(name, strlen(name)) && S_ISREG(attr.mode) && attr.nlink == 1 &&
            attr.uid == t->caller.uid && eng_unlink(t->eng, dir, name) == 0)
            cli_warning("%s: removed; an import that has ended had not finished it", name);
    store_scan_close(scan);
}

/* Until it is complete the file belongs to us, so that the next import knows whose it was. */
static int store_stream_open(struct target *t, const struct eng_record *rec, bool over,
                             struct target_file *ret)
{
    (void)over; /* the old one is never written to */
    if (too_many_xattrs(rec))
        return -E2BIG;
    struct eng_attr a;
    struct eng_record empty = *rec;
    sweep(t, rec->parent);
    free_name(t, rec->parent, t->temporary);
    empty.name = t->temporary;
    empty.mode = S_IFREG | 0600;
    empty.uid = t->caller.uid;
    empty.gid = t->caller.gid;
    empty.content = "";
    empty.size = 0;
    if (empty.mtime == TARGET_NOW)
        empty.mtime = now_ns();
    ssize_t n = eng_put_many(t->eng, &empty, 1);
    int r = n < 0 ? (int)n : empty.result;
    if (!r)
        r = eng_lookup(t->eng, &t->caller, rec->parent, t->temporary, &a);
    if (!r)
        *ret = (struct target_file){.ino = a.ino, .fd = -1};
    return r;
}

static int store_stream_close(struct target *t, const struct eng_record *rec, struct target_file *f, int r)
{
    struct eng_attr set = {
        .mode = rec->mode, .uid = rec->uid, .gid = rec->gid, .atime = rec->mtime, .mtime = rec->mtime};
    unsigned times = rec->mtime != TARGET_NOW ? ENG_SET_ATIME | ENG_SET_MTIME : 0;
    if (!r)
        r = eng_setattr(t->eng, f->ino, &set, ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID | times, NULL);
    if (!r)
        r = eng_rename(t->eng, &t->caller, rec->parent, t->temporary, rec->parent, rec->name, 0);
    if (r < 0)
        (void)eng_unlink(t->eng, rec->parent, t->temporary);
    return r;
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
    return t->view ? eng_view_read(t->view, f->ino, buf, n, offset)
                   : eng_read(t->eng, f->ino, buf, n, offset);
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
    return t->view ? eng_view_seek(t->view, f->ino, offset, whence, ret)
                   : eng_seek(t->eng, f->ino, offset, whence, ret);
}

static ssize_t store_listxattr(struct target *t, struct target_file *f, char *list, size_t size)
{
    return t->view ? eng_view_listxattr(t->view, f->ino, list, size)
                   : eng_listxattr(t->eng, f->ino, list, size);
}

static ssize_t store_getxattr(struct target *t, struct target_file *f, const char *name, void *value,
                              size_t size)
{
    return t->view ? eng_view_getxattr(t->view, f->ino, name, value, size)
                   : eng_getxattr(t->eng, f->ino, name, value, size);
}

static int store_setxattr(struct target *t, struct target_file *f, const char *name, const void *value,
                          size_t size)
{
    char list[ENG_XATTR_LIST_MAX];
    size_t count = 0;
    int r = eng_setxattr(t->eng, f->ino, name, value, size, 0);
    if (r != -ENOSPC)
        return r;
    ssize_t n = eng_listxattr(t->eng, f->ino, list, sizeof list);
    for (const char *s = list; s < list + n; s += strlen(s) + 1)
        count++;
    return count >= ENG_XATTR_COUNT_MAX || n + (ssize_t)strlen(name) >= ENG_XATTR_LIST_MAX ? -E2BIG : r;
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

static int store_getattr_dir(struct target *t, tdir self, struct target_attr *ret)
{
    struct eng_attr a;
    int r = t->view ? eng_view_getattr(t->view, self, &a) : eng_getattr(t->eng, self, &a);
    if (!r)
        from_eng(&a, ret);
    return r;
}

static int store_setattr_dir(struct target *t, tdir self, const struct target_attr *attr, unsigned mask)
{
    struct eng_attr set = {
        .mode = attr->mode, .uid = attr->uid, .gid = attr->gid, .atime = attr->atime, .mtime = attr->mtime};
    return eng_setattr(t->eng, self, &set, mask, NULL);
}

/* What was made by a temporary name takes its own; with an error it is gone. */
static int take_name(struct target *t, tdir dir, const char *temporary, const char *name, int r)
{
    struct eng_attr a;
    if (!r)
        r = eng_rename(t->eng, &t->caller, dir, temporary, dir, name, 0);
    /* Of two names of one file a rename leaves both. */
    if (eng_lookup(t->eng, &t->caller, dir, temporary, &a) == 0)
        (void)eng_unlink(t->eng, dir, temporary);
    return r;
}

static int store_make(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                      const char *link, bool over, uint64_t *ret_ino)
{
    struct eng_caller who = {.uid = attr->uid, .gid = attr->gid};
    struct eng_attr a;
    char temporary[TEMPORARY_BUF];
    if (over)
        free_name(t, dir, temporary);
    int r = eng_create(t->eng, &who, dir, over ? temporary : name, attr->mode, attr->rdev, link, &a);
    if (r < 0)
        return r;
    unsigned mask = ENG_SET_ATIME | ENG_SET_MTIME | (link ? 0u : ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID);
    *ret_ino = a.ino;
    r = store_setattr_dir(t, a.ino, attr, mask);
    return over ? take_name(t, dir, temporary, name, r) : r;
}

static ssize_t store_readlink(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                              char *buf, size_t size)
{
    (void)dir, (void)name;
    return t->view ? eng_view_readlink(t->view, attr->ino, buf, size)
                   : eng_readlink(t->eng, attr->ino, buf, size);
}

static int store_link(struct target *t, tdir from_dir, const char *from, uint64_t ino, tdir dir,
                      const char *name, bool over)
{
    struct eng_attr a;
    char temporary[TEMPORARY_BUF];
    int r = eng_lookup(t->eng, &t->caller, from_dir, from, &a);
    if (r == -ENOENT || (!r && a.ino != ino))
        r = -ENOTUNIQ;
    if (over)
        free_name(t, dir, temporary);
    if (!r)
        r = eng_link(t->eng, &t->caller, a.ino, dir, over ? temporary : name, &a);
    return !r && over ? take_name(t, dir, temporary, name, 0) : r;
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
    struct store_entry {
        char name[ENG_NAME_MAX + 1];
        struct target_attr attr;
    } * entries; /* SCAN_BLOCK of them, at the end n */
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
    s->entries = malloc(SCAN_BLOCK * sizeof *s->entries);
    if (!s->entries) {
        free(s);
        return -ENOMEM;
    }
    s->t = t;
    s->dir = dir;
    s->cookie = 0;
    s->n = s->next = 0;
    s->end = false;
    *ret = s;
    return 0;
}

/* A walk has one listing for each directory above it, and anybody nests thousands of them. */
static void give_back(struct target_scan *s)
{
    struct store_entry *less = realloc(s->entries, (s->n ? s->n : 1) * sizeof *less);
    if (less)
        s->entries = less;
}

static int store_scan_next(struct target_scan *s, const char **ret_name, struct target_attr *ret_attr,
                           int *ret_error)
{
    if (s->next == s->n) {
        if (s->end)
            return 0;
        s->n = s->next = 0;
        const struct target *t = s->t;
        int r = t->view ? eng_view_readdir(t->view, s->dir, s->cookie, take_entry, s)
                        : eng_readdir(t->eng, &t->caller, s->dir, s->cookie, take_entry, s);
        if (r < 0)
            return r;
        s->end = s->n < SCAN_BLOCK;
        if (s->end)
            give_back(s);
        if (s->n == 0)
            return 0;
    }
    *ret_name = s->entries[s->next].name;
    *ret_attr = s->entries[s->next].attr;
    *ret_error = 0;
    s->next++;
    return 1;
}

/* It is in this process. */
static int store_answers(struct target *t)
{
    (void)t;
    return 0;
}

static void store_scan_close(struct target_scan *s)
{
    free(s->entries);
    free(s);
}

static const struct target_ops store_ops = {
    .close_files = store_close_files,
    .finish = store_finish,
    .lookup = store_lookup,
    .subdir = store_subdir,
    .mkdir = store_mkdir,
    .put = store_put,
    .stream_open = store_stream_open,
    .stream_close = store_stream_close,
    .open = store_open,
    .open_dir = store_open_dir,
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
    .getattr_dir = store_getattr_dir,
    .setattr_dir = store_setattr_dir,
    .make = store_make,
    .readlink = store_readlink,
    .link = store_link,
    .unlink = store_unlink,
    .rmdir = store_rmdir,
    .scan_open = store_scan_open,
    .scan_next = store_scan_next,
    .scan_close = store_scan_close,
    .answers = store_answers,
};

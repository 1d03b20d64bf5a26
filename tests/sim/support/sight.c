/*
 * sight.c - see sight.h. */
#include "sight.h"

#include "inside.h"
#include "need.h"
#include "tree/attr.h"
#include "tree/content.h"
#include "tree/digest.h"
#include "tree/entries.h"
#include "tree/view.h"
#include "tree/xattrs.h"

#include <stdio.h>

#define PIECE 1777u /* reads of part of a block, over the borders of blocks and extents */

struct sight {
    struct eng *eng;
    const struct view *view; /* NULL: what the eng_ calls show */
    FILE *out;
};

/* ---- one call, of either kind ----------------------------------------------------------- */

static int see_lookup(const struct sight *s, uint64_t dir, const char *name, struct eng_attr *attr)
{
    return s->view ? entries_lookup(s->view, false, dir, name, attr)
                   : eng_lookup(s->eng, NULL, dir, name, attr);
}

static int see_getattr(const struct sight *s, uint64_t ino, struct eng_attr *attr)
{
    return s->view ? attr_get(s->view, ino, attr) : eng_getattr(s->eng, ino, attr);
}

static ssize_t see_read(const struct sight *s, uint64_t ino, void *buf, size_t size, uint64_t off)
{
    if (!s->view)
        return eng_read(s->eng, ino, buf, size, off);
    ssize_t n;
    int r = content_read_range(s->view, ino, buf, size, off, &n);
    return r ? r : n;
}

static int see_seek(const struct sight *s, uint64_t ino, uint64_t off, int whence, uint64_t *at)
{
    return s->view ? content_seek(s->view, ino, off, whence, at) : eng_seek(s->eng, ino, off, whence, at);
}

static int see_hash(const struct sight *s, uint64_t ino, uint64_t *hash)
{
    return s->view ? digest_content_hash(s->view, ino, hash) : eng_content_hash(s->eng, ino, hash);
}

static ssize_t see_readlink(const struct sight *s, uint64_t ino, char *buf, size_t size)
{
    return s->view ? entries_readlink(s->view, ino, buf, size) : eng_readlink(s->eng, ino, buf, size);
}

static ssize_t see_getxattr(const struct sight *s, uint64_t ino, const char *name, void *value, size_t size)
{
    return s->view ? xattrs_get(s->view, ino, name, value, size)
                   : eng_getxattr(s->eng, ino, name, value, size);
}

static ssize_t see_listxattr(const struct sight *s, uint64_t ino, char *names, size_t size)
{
    return s->view ? xattrs_list(s->view, ino, names, size) : eng_listxattr(s->eng, ino, names, size);
}

/* ---- all of it ---------------------------------------------------------------------------- */

static void put_bytes(FILE *out, const void *bytes, ssize_t n)
{
    char hex[2048];
    (void)fprintf(out, " %zd:", n);
    for (ssize_t at = 0; at < n;) {
        size_t len = 0;
        for (; at < n && len < sizeof hex; at++) {
            uint8_t byte = ((const uint8_t *)bytes)[at];
            hex[len++] = "0123456789abcdef"[byte >> 4];
            hex[len++] = "0123456789abcdef"[byte & 15];
        }
        (void)fwrite(hex, 1, len, out);
    }
    (void)fputc('\n', out);
}

static void put_attr(FILE *out, const struct eng_attr *a)
{
    (void)fprintf(out,
                  "ino %llx size %llu bytes %llu rdev %llx times %lld %lld %lld %lld mode %o nlink %u"
                  " owner %u %u version %llu generation %llu\n",
                  (unsigned long long)a->ino, (unsigned long long)a->size, (unsigned long long)a->bytes,
                  (unsigned long long)a->rdev, (long long)a->atime, (long long)a->mtime, (long long)a->ctime,
                  (long long)a->btime, a->mode, a->nlink, a->uid, a->gid, (unsigned long long)a->version,
                  (unsigned long long)a->generation);
}

#define WHOLE_MAX (UINT64_C(16) << 20) /* of larger files only the data is read */

static void put_data(const struct sight *s, uint64_t ino)
{
    uint64_t from = 0, to = 0;
    while (see_seek(s, ino, to, SEEK_DATA, &from) == 0 && see_seek(s, ino, from, SEEK_HOLE, &to) == 0) {
        uint8_t *buf = malloc(to - from);
        UNIT_NEED(buf && to - from <= WHOLE_MAX);
        (void)fprintf(s->out, "data at %llu", (unsigned long long)from);
        put_bytes(s->out, buf, see_read(s, ino, buf, to - from, from));
        free(buf);
    }
}

/* The whole in one read, and again in pieces. */
static void put_content(const struct sight *s, uint64_t ino, uint64_t size)
{
    uint64_t hash = 0;
    uint8_t *buf = malloc(size + 1), *again = malloc(size + PIECE);
    UNIT_NEED(buf && again);
    ssize_t n = see_read(s, ino, buf, size + 1, 0), at = 0, piece;
    while ((piece = see_read(s, ino, again + at, PIECE, (uint64_t)at)) > 0)
        at += piece;
    (void)fprintf(s->out, "hash %d", see_hash(s, ino, &hash));
    (void)fprintf(s->out, " %llx pieces %zd %s content", (unsigned long long)hash, piece < 0 ? piece : at,
                  n == at && !memcmp(buf, again, (size_t)at) ? "same" : SIGHT_DIFFERENT);
    put_bytes(s->out, buf, n);
    for (int whence = 3; whence <= 4; whence++) {
        for (uint64_t off = 0; off < size + 4000; off += 3999) {
            uint64_t to = 0;
            int r = see_seek(s, ino, off, whence, &to);
            (void)fprintf(s->out, " %llu:%d:%llu", (unsigned long long)off, r, (unsigned long long)to);
        }
    }
    (void)fputc('\n', s->out);
    free(buf);
    free(again);
}

static void put_xattrs(const struct sight *s, uint64_t ino)
{
    char *names = malloc(ENG_XATTR_LIST_MAX), *value = malloc(ENG_XATTR_SIZE_MAX);
    UNIT_NEED(names && value);
    ssize_t len = see_listxattr(s, ino, names, ENG_XATTR_LIST_MAX);
    (void)fprintf(s->out, "xattrs %zd %zd\n", len, see_listxattr(s, ino, NULL, 0));
    for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1) {
        ssize_t n = see_getxattr(s, ino, names + at, value, ENG_XATTR_SIZE_MAX);
        (void)fprintf(s->out, "%s %zd", names + at, see_getxattr(s, ino, names + at, NULL, 0));
        put_bytes(s->out, value, n);
    }
    free(names);
    free(value);
}

/* One inode, by its number. */
static void put_inode(const struct sight *s, uint64_t ino)
{
    struct eng_attr attr;
    int r = see_getattr(s, ino, &attr);
    if (r) {
        (void)fprintf(s->out, "error %d\n", r);
        return;
    }
    put_attr(s->out, &attr);
    put_xattrs(s, ino);
    if (S_ISREG(attr.mode) && attr.size <= WHOLE_MAX)
        put_content(s, ino, attr.size);
    else if (S_ISREG(attr.mode))
        put_data(s, ino);
    if (S_ISLNK(attr.mode)) {
        char target[ENG_SYMLINK_MAX + 1];
        put_bytes(s->out, target, see_readlink(s, ino, target, sizeof target));
    }
}

struct entries {
    struct {
        char name[ENG_NAME_MAX + 1];
        uint64_t cookie;
        struct eng_attr attr;
    } * all;
    size_t n, cap;
};

static int add(void *arg, const struct eng_dirent *entry)
{
    struct entries *e = arg;
    UNIT_NEED(!array_grow(&e->all, &e->cap, e->n + 1, sizeof *e->all));
    memcpy(e->all[e->n].name, entry->name, entry->name_len + 1);
    e->all[e->n].cookie = entry->cookie;
    e->all[e->n++].attr = entry->attr;
    return 0;
}

static void put_dir(const struct sight *s, uint64_t dir)
{
    struct entries e = {0};
    int r =
        s->view ? entries_list(s->view, false, dir, 0, add, &e) : eng_readdir(s->eng, NULL, dir, 0, add, &e);
    (void)fprintf(s->out, "directory %llx: %d, %zu entries\n", (unsigned long long)dir, r, e.n);
    for (size_t i = 0; i < e.n; i++) {
        struct eng_attr attr = {0};
        (void)fprintf(s->out, "%s %llu ", e.all[i].name, (unsigned long long)e.all[i].cookie);
        put_attr(s->out, &e.all[i].attr);
        (void)fprintf(s->out, "lookup %d ", see_lookup(s, dir, e.all[i].name, &attr));
        put_attr(s->out, &attr);
        if (e.all[i].cookie > 2) /* not "." and ".." */
            put_inode(s, attr.ino);
        if (e.all[i].cookie > 2 && S_ISDIR(attr.mode))
            put_dir(s, attr.ino);
    }
    free(e.all);
}

char *sight_of(struct eng *eng, const struct view *view, const uint64_t *more)
{
    char *text = NULL;
    size_t size = 0;
    struct sight s = {eng, view, open_memstream(&text, &size)};
    UNIT_NEED(s.out);
    put_inode(&s, ENG_ROOT_INO);
    put_dir(&s, ENG_ROOT_INO);
    for (; more && *more; more++)
        put_inode(&s, *more);
    UNIT_NEED(!fclose(s.out));
    return text;
}

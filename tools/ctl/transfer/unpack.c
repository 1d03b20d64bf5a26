/*
 * unpack.c - see unpack.h. State: struct unpack. Only filters that are part of libarchive are used, since
 * others would start programs; HAVE_LIBARCHIVE says whether there is one. */
#include "ctl/transfer/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_LIBARCHIVE
#include <archive.h>
#include <archive_entry.h>
#endif

#define FIRST 16
#define READ_SIZE ((size_t)256 << 10)

struct unpack {
    int fd;
    struct archive *a; /* NULL: not packed */
    size_t n, given;   /* bytes in `buf` that were read to tell, and how many of them are handed on */
    int error;         /* of reading the descriptor, behind libarchive's back */
    char buf[READ_SIZE];
};

static bool is_packed(const char *p, size_t n)
{
    static const struct {
        size_t len;
        const char *magic;
    } kinds[] = {{3, "\x1f\x8b\x08"},
                 {3, "BZh"},
                 {6, "\xfd"
                     "7zXZ\0"},
                 {4, "\x28\xb5\x2f\xfd"},
                 {4, "\x04\x22\x4d\x18"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (n >= kinds[i].len && !memcmp(p, kinds[i].magic, kinds[i].len))
            return true;
    return false;
}

#ifdef HAVE_LIBARCHIVE
static la_ssize_t read_packed(struct archive *a, void *arg, const void **ret_data)
{
    struct unpack *u = arg;
    ssize_t n = (ssize_t)u->n;
    u->n = 0;
    if (!n)
        n = read(u->fd, u->buf, sizeof u->buf);
    if (n < 0) {
        u->error = -errno;
        archive_set_error(a, errno, "%s", strerror(errno));
    }
    *ret_data = u->buf;
    return n;
}

static int open_packed(struct unpack *u)
{
    struct archive_entry *entry;
    u->a = archive_read_new();
    if (!u->a)
        return -ENOMEM;
    (void)archive_read_support_filter_gzip(u->a);
    (void)archive_read_support_filter_bzip2(u->a);
    (void)archive_read_support_filter_xz(u->a);
    (void)archive_read_support_filter_zstd(u->a);
    (void)archive_read_support_filter_lz4(u->a);
    (void)archive_read_support_format_raw(u->a);
    (void)archive_read_support_format_empty(u->a);
    if (archive_read_open(u->a, u, NULL, read_packed, NULL) != ARCHIVE_OK)
        return u->error ? u->error : -EBADMSG;
    int r = archive_read_next_header(u->a, &entry);
    return r == ARCHIVE_OK || r == ARCHIVE_EOF ? 0 : -EBADMSG;
}

static ssize_t unpack_packed(struct unpack *u, void *buf, size_t n)
{
    la_ssize_t got = archive_read_data(u->a, buf, n);
    if (got >= 0)
        return got;
    int e = u->error;
    u->error = 0;
    return e ? e : -EBADMSG;
}

static void close_packed(struct unpack *u)
{
    archive_read_free(u->a);
}
#else
static int open_packed(struct unpack *u)
{
    (void)u;
    return -EOPNOTSUPP;
}

static ssize_t unpack_packed(struct unpack *u, void *buf, size_t n)
{
    (void)u, (void)buf, (void)n;
    return -EOPNOTSUPP;
}

static void close_packed(struct unpack *u)
{
    (void)u;
}
#endif

int unpack_open(int fd, struct unpack **ret_unpack)
{
    struct unpack *u = calloc(1, sizeof *u);
    int r = u ? 0 : -ENOMEM;
    if (u)
        u->fd = fd;
    /* A pipe may give it in pieces; a line that is typed is not waited for. */
    for (ssize_t n = 1; !r && n > 0 && u->n < FIRST && !memchr(u->buf, '\n', u->n);
         u->n += n > 0 ? (size_t)n : 0) {
        n = read(fd, u->buf + u->n, sizeof u->buf - u->n);
        r = n < 0 ? -errno : 0;
    }
    if (!r && is_packed(u->buf, u->n))
        r = open_packed(u);
    if (r < 0) {
        unpack_close(u);
        return r;
    }
    *ret_unpack = u;
    return 0;
}

bool unpack_is_packed(const struct unpack *u)
{
    return u->a;
}

ssize_t unpack_read(void *unpack, void *buf, size_t n)
{
    struct unpack *u = unpack;
    if (u->a)
        return unpack_packed(u, buf, n);
    if (u->given < u->n) {
        n = n < u->n - u->given ? n : u->n - u->given;
        memcpy(buf, u->buf + u->given, n);
        u->given += n;
        return (ssize_t)n;
    }
    ssize_t got = read(u->fd, buf, n);
    return got < 0 ? -errno : got;
}

void unpack_close(struct unpack *u)
{
    if (u && u->a)
        close_packed(u);
    free(u);
}

/*
 * unpack.c - see unpack.h. State: struct unpack; HAVE_LIBARCHIVE says whether there is libarchive, and zlib.
 *
 * libarchive passes over the sum at the end of a gzip member, and whatever follows a stream that it knows no
 * more: so gzip is left to zlib, and what follows is looked at here. Only filters that are part of libarchive
 * are used, since others would start programs. */
#include "ctl/transfer/unpack.h"

#include "shared/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_LIBARCHIVE
#include "ctl/transfer/sums.h"

#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <zlib.h>
#endif

#define FIRST 16
#define READ_SIZE ((size_t)256 << 10)

enum way { PLAIN, GZIP, FILTER };

struct unpack {
    int fd;
    enum way way;
    const char *name; /* of what packs it; NULL: nothing does */
    size_t n, given;  /* bytes in `buf`, and how many of them are handed on */
    uint64_t bytes;   /* read from fd */
    size_t begin;     /* where what is packed begins: behind frames that are to be skipped */
    bool ended;
    int error; /* what the next unpack_read() returns */
    char why[128];
#ifdef HAVE_LIBARCHIVE
    struct sums sums;
    z_stream z;
    struct archive *a;
#endif
    char buf[READ_SIZE];
};

static const struct kind {
    const char *name;
    size_t len;
    const char *magic;
    enum way way;
} kinds[] = {{"gzip", 3, "\x1f\x8b\x08", GZIP},
             {"xz", 6,
              "\xfd"
              "7zXZ\0",
              FILTER},
             {"zstd", 4, "\x28\xb5\x2f\xfd", FILTER},
             {"lz4", 4, "\x04\x22\x4d\x18", FILTER},
             {"lz4", 4, "\x02\x21\x4c\x18", FILTER}};

/* The name of a file in a tar archive may begin as a bzip2 stream does, but not so far. */
static bool is_bzip2(const char *p, size_t n)
{
    return n >= 10 && !memcmp(p, "BZh", 3) &&
           (!memcmp(p + 4, "1AY&SY", 6) || !memcmp(p + 4, "\x17rE8P\x90", 6));
}

static uint32_t number(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[3] << 24 | (uint32_t)u[2] << 16 | (uint32_t)u[1] << 8 | u[0];
}

static bool is_skipped(const char *p)
{
    return (number(p) & ~15U) == 0x184D2A50U;
}

/* Where the frames of zstd and lz4 end that are to be skipped (RFC 8878, 3.1.2), as pzstd begins with; that
 * may be behind what was read yet. 0: there is none. */
static uint64_t skipped(const struct unpack *u)
{
    uint64_t at = 0;
    while (at + 8 <= u->n && is_skipped(u->buf + at))
        at += 8 + (uint64_t)number(u->buf + at + 4);
    return at;
}

static void find_way(struct unpack *u)
{
    uint64_t begin = skipped(u);
    if (is_bzip2(u->buf, u->n)) {
        u->way = FILTER;
        u->name = "bzip2";
    }
    for (size_t i = 0; begin < u->n && i < sizeof kinds / sizeof *kinds; i++)
        if (u->n - begin >= kinds[i].len && !memcmp(u->buf + begin, kinds[i].magic, kinds[i].len)) {
            u->way = kinds[i].way;
            u->name = kinds[i].name;
            u->begin = (size_t)begin;
        }
}

#ifdef HAVE_LIBARCHIVE
/* The next block into `buf`; 0: the end. */
static ssize_t fetch(struct unpack *u)
{
    ssize_t n;
    do
        n = read(u->fd, u->buf, sizeof u->buf);
    while (n < 0 && errno == EINTR && !cli_interrupted());
    u->given = 0;
    u->n = n > 0 ? (size_t)n : 0;
    u->bytes += u->n;
    sums_feed(&u->sums, u->buf, u->n);
    return n < 0 ? -errno : n;
}

static int bad(struct unpack *u, const char *why)
{
    snprintf(u->why, sizeof u->why, "%s", why ? why : "it cannot be unpacked");
    return -EBADMSG;
}

/* Behind the end there may be zeros, as on a tape, and nothing else: who takes no notice of the beginning of
 * another member loses all that follows. */
static int look_behind(struct unpack *u)
{
    ssize_t n = 1;
    while (n > 0) {
        for (; u->given < u->n; u->given++)
            if (u->buf[u->given])
                return bad(u, "what follows its end is not packed, or damaged");
        n = fetch(u);
    }
    u->ended = !n;
    return (int)n;
}

/* ---- gzip ---------------------------------------------------------------------- */

/* After the end of a member: another one, or the end of all. */
static int next_member(struct unpack *u)
{
    if (u->given == u->n) {
        ssize_t n = fetch(u);
        u->ended = !n;
        if (n <= 0)
            return (int)n;
    }
    if (u->buf[u->given] != '\x1f')
        return look_behind(u);
    return inflateReset(&u->z) == Z_OK ? 0 : -ENOMEM;
}

/* Unpacks from what is in `buf`. */
static int inflate_some(struct unpack *u)
{
    u->z.next_in = (Bytef *)u->buf + u->given;
    u->z.avail_in = (uInt)(u->n - u->given);
    int z = inflate(&u->z, Z_NO_FLUSH);
    u->given = u->n - u->z.avail_in;
    if (z == Z_STREAM_END)
        return next_member(u);
    if (z == Z_OK || z == Z_BUF_ERROR)
        return 0;
    return z == Z_MEM_ERROR ? -ENOMEM : bad(u, u->z.msg);
}

static ssize_t read_gzip(struct unpack *u, void *buf, size_t n)
{
    uInt room = n < UINT_MAX ? (uInt)n : UINT_MAX;
    u->z.next_out = buf;
    u->z.avail_out = room;
    while (u->z.avail_out == room && !u->ended && !u->error) {
        ssize_t got = u->given < u->n ? 1 : fetch(u);
        if (got > 0)
            u->error = inflate_some(u);
        else
            u->error = got < 0 ? (int)got : bad(u, "it ends too early");
    }
    /* What came before an error is handed on first: all of it is to be seen. */
    return u->z.avail_out < room ? (ssize_t)(room - u->z.avail_out) : u->error;
}

/* ---- what libarchive unpacks ----------------------------------------------------- */

static la_ssize_t read_packed(struct archive *a, void *arg, const void **ret_data)
{
    struct unpack *u = arg;
    ssize_t n = u->given < u->n ? (ssize_t)(u->n - u->given) : fetch(u);
    if (n < 0) {
        u->error = (int)n;
        archive_set_error(a, (int)-n, "%s", strerror((int)-n));
        return -1;
    }
    *ret_data = u->buf + u->given;
    u->given = u->n;
    return n;
}

static int open_filter(struct unpack *u)
{
    struct archive_entry *entry;
    u->a = archive_read_new();
    if (!u->a)
        return -ENOMEM;
    (void)archive_read_support_filter_bzip2(u->a);
    (void)archive_read_support_filter_xz(u->a);
    (void)archive_read_support_filter_zstd(u->a);
    (void)archive_read_support_filter_lz4(u->a);
    (void)archive_read_support_format_raw(u->a);
    (void)archive_read_support_format_empty(u->a);
    int r = archive_read_open(u->a, u, NULL, read_packed, NULL);
    if (r == ARCHIVE_OK)
        r = archive_read_next_header(u->a, &entry);
    u->ended = r == ARCHIVE_EOF; /* nothing, packed */
    if (r == ARCHIVE_OK || r == ARCHIVE_EOF)
        return 0;
    return u->error ? u->error : -EBADMSG;
}

/* The filter has come to what it takes for the end: it has read on as far as `buf` is full. */
static int end_filter(struct unpack *u)
{
    uint64_t used = u->begin + (uint64_t)archive_filter_bytes(u->a, -1), left = u->bytes - used;
    if (used > u->bytes || left > u->n)
        return bad(u, "what follows its end is not packed, or damaged");
    u->given = u->n - (size_t)left;
    return look_behind(u);
}

static ssize_t read_filter(struct unpack *u, void *buf, size_t n)
{
    la_ssize_t got = archive_read_data(u->a, buf, n);
    if (got > 0)
        return got;
    if (!got)
        u->error = end_filter(u);
    else if (!u->error)
        u->error = bad(u, archive_error_string(u->a));
    return u->error;
}

static int open_packed(struct unpack *u)
{
    sums_begin(&u->sums, u->buf);
    sums_feed(&u->sums, u->buf, u->n);
    u->given = u->begin;
    if (u->way == FILTER)
        return open_filter(u);
    return inflateInit2(&u->z, MAX_WBITS + 16) == Z_OK ? 0 : -ENOMEM; /* gzip, and nothing else */
}

static ssize_t unpack_packed(struct unpack *u, void *buf, size_t n)
{
    if (u->ended || u->error || !n)
        return u->error;
    return u->way == GZIP ? read_gzip(u, buf, n) : read_filter(u, buf, n);
}

static void close_packed(struct unpack *u)
{
    if (u->way == GZIP)
        (void)inflateEnd(&u->z);
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

/* ---- both ------------------------------------------------------------------------ */

/* Whether it cannot be told yet what it is. A pipe may give it in pieces; a line that is typed is not waited
 * for. */
static bool wants_more(const struct unpack *u)
{
    uint64_t begin = skipped(u);
    if (begin)
        return u->n < begin + 8 && u->n < sizeof u->buf;
    bool typed = memchr(u->buf, '\n', u->n) && (u->n < 4 || !is_skipped(u->buf));
    return u->n < FIRST && !typed;
}

int unpack_open(int fd, struct unpack **ret_unpack)
{
    struct unpack *u = calloc(1, sizeof *u);
    int r = u ? 0 : -ENOMEM;
    if (u)
        u->fd = fd;
    for (ssize_t n = 1; !r && n > 0 && wants_more(u); u->n += n > 0 ? (size_t)n : 0) {
        n = read(fd, u->buf + u->n, sizeof u->buf - u->n);
        r = n < 0 ? -errno : 0;
    }
    if (!r) {
        u->bytes = u->n;
        find_way(u);
        r = u->way != PLAIN ? open_packed(u) : 0;
    }
    if (r < 0) {
        unpack_close(u);
        return r;
    }
    *ret_unpack = u;
    return 0;
}

bool unpack_is_packed(const struct unpack *u)
{
    return u->way != PLAIN;
}

ssize_t unpack_read(void *unpack, void *buf, size_t n)
{
    struct unpack *u = unpack;
    if (u->way != PLAIN)
        return unpack_packed(u, buf, n);
    if (u->given < u->n) {
        n = n < u->n - u->given ? n : u->n - u->given;
        memcpy(buf, u->buf + u->given, n);
        u->given += n;
        return (ssize_t)n;
    }
    ssize_t got = read(u->fd, buf, n);
    u->bytes += got > 0 ? (uint64_t)got : 0;
    return got < 0 ? -errno : got;
}

const char *unpack_why(const struct unpack *u)
{
    return *u->why ? u->why : "it cannot be unpacked";
}

uint64_t unpack_bytes(const struct unpack *u)
{
    return u->bytes;
}

void unpack_tell_sums(const struct unpack *u, const char *name)
{
#ifdef HAVE_LIBARCHIVE
    if (u && u->sums.missing)
        cli_warning("%s: packed by %s without a sum: damage of it may go unnoticed", name, u->name);
#else
    (void)u, (void)name;
#endif
}

void unpack_close(struct unpack *u)
{
    if (u)
        close_packed(u);
    free(u);
}

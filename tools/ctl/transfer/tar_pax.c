/*
 * tar_pax.c - see tar_pax.h. No state. */
#include "ctl/transfer/tar_pax.h"

#include "ctl/transfer/tar_exact.h"
#include "ctl/transfer/tar_number.h"

#include <stdio.h>
#include <string.h>

#define MTIME_AT 136

/* Where the numbers are, the most that they may be, and what is said of others. The last id of an owner means
 * "none" to the system; Linux has 12 and 20 bits for a device. */
static const struct number {
    const char *key; /* in a pax header; NULL: there is none */
    size_t at, size; /* in a header */
    int64_t max;
    const char *why;
} numbers[TAR_NUMBERS] = {
    [TAR_MODE] = {NULL, 100, 8, 0177777, "its mode is none"},
    [TAR_UID] = {"uid", 108, 8, UINT32_MAX - 1, "its owner is no number that an owner can have"},
    [TAR_GID] = {"gid", 116, 8, UINT32_MAX - 1, "its group is no number that a group can have"},
    [TAR_SIZE] = {"size", 124, 12, INT64_MAX, "its size is none"},
    [TAR_MAJOR] = {"SCHILY.devmajor", 329, 8, 0xFFF, "a device that there cannot be"},
    [TAR_MINOR] = {"SCHILY.devminor", 337, 8, 0xFFFFF, "a device that there cannot be"}};

static const char no_time[] = "its time is none";
static const char damaged[] = "a damaged pax header";

/* The first thing that is wrong is told. */
static void wrong(struct tar_pax *ret, const char *why)
{
    if (!ret->why)
        ret->why = why;
}

static bool is_key(const char *key, size_t len, const char *name)
{
    return len == strlen(name) && !memcmp(key, name, len);
}

static bool begins(const char *key, size_t len, const char *with)
{
    return len >= strlen(with) && !memcmp(key, with, strlen(with));
}

/* Keys that make something else of an entry; comments, say, do not. */
static bool matters(const char *key, size_t len)
{
    static const char *const keys[] = {"path",  "linkpath",        "size",           "uid", "gid",
                                       "mtime", "SCHILY.devmajor", "SCHILY.devminor"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_key(key, len, keys[i]))
            return true;
    return begins(key, len, "SCHILY.xattr.") || begins(key, len, "LIBARCHIVE.xattr.");
}

static bool is_path(const char *key, size_t len)
{
    return is_key(key, len, "path") || is_key(key, len, "linkpath") || is_key(key, len, "GNU.sparse.name");
}

/* A size of a sparse file, which libarchive takes for that of the entry. */
static bool is_other_size(const char *key, size_t len)
{
    return is_key(key, len, "GNU.sparse.size") || is_key(key, len, "GNU.sparse.realsize") ||
           is_key(key, len, "SCHILY.realsize");
}

static void set_number(struct tar_pax *ret, size_t i, bool valid, int64_t v)
{
    if (!valid || v < 0 || v > numbers[i].max)
        wrong(ret, numbers[i].why);
    ret->number[i] = v;
}

/* A value for this entry. An empty one means that of the header. */
static void look_value(const char *key, size_t len, const char *value, size_t n, struct tar_pax *ret)
{
    int64_t v;
    bool valid = tar_decimal(value, n, &v);
    for (size_t i = 0; i < TAR_NUMBERS; i++) {
        if (!numbers[i].key || !is_key(key, len, numbers[i].key))
            continue;
        ret->given &= ~(1U << i);
        if (n) {
            set_number(ret, i, valid, v);
            ret->given |= 1U << i;
        }
    }
    if (is_other_size(key, len) && (!valid || v < 0))
        wrong(ret, numbers[TAR_SIZE].why);
    if (is_key(key, len, "mtime")) {
        ret->timed = n > 0;
        if (n && !tar_time_parse(value, n, &ret->mtime))
            wrong(ret, no_time);
    }
}

/* "KEY=VALUE" of a record. */
static void look_record(const char *text, size_t n, bool global, struct tar_pax *ret)
{
    const char *equals = memchr(text, '=', n);
    size_t len = equals ? (size_t)(equals - text) : n;
    if (!equals)
        wrong(ret, damaged);
    else if (memchr(text, 0, len))
        wrong(ret, "a NUL byte in a key of its pax header");
    else if (is_path(text, len) && memchr(equals, 0, n - len))
        wrong(ret, "a NUL byte in its path, or in that of its link");
    else if (global && matters(text, len))
        snprintf(ret->global, sizeof ret->global, "%.*s", (int)(len < 60 ? len : 60), text);
    else if (!global)
        look_value(text, len, equals + 1, n - len - 1, ret);
}

/* A record is its own length in digits, a space, "KEY=VALUE" and a newline. */
static void look_records(const char *p, size_t n, bool global, struct tar_pax *ret)
{
    while (n > 0) {
        size_t len = 0, digits = 0;
        for (; digits < n && digits < 10 && p[digits] >= '0' && p[digits] <= '9'; digits++)
            len = len * 10 + (size_t)(p[digits] - '0');
        if (digits >= n || p[digits] != ' ' || len < digits + 2 || len > n || p[len - 1] != '\n') {
            wrong(ret, damaged);
            return;
        }
        look_record(p + digits + 1, len - digits - 2, global, ret);
        p += len;
        n -= len;
    }
}

/* The header of the entry itself: what no pax header has said. */
static void look_header(const unsigned char *header, struct tar_pax *ret)
{
    char type = (char)header[TAR_TYPE_AT];
    bool is_device = type == '3' || type == '4';
    int64_t v = 0;
    for (size_t i = 0; i < TAR_NUMBERS; i++) {
        if ((i == TAR_MAJOR || i == TAR_MINOR) && !is_device)
            ret->number[i] = 0;
        else if (!(ret->given & 1U << i)) {
            bool valid = tar_field(header + numbers[i].at, numbers[i].size, &v);
            set_number(ret, i, valid, v);
        }
    }
    if (ret->timed)
        return;
    if (!tar_field(header + MTIME_AT, 12, &v))
        wrong(ret, no_time);
    ret->mtime = tar_time_of(v);
}

/* Whether it is a header of the one that follows. */
static bool is_ahead(const unsigned char *header)
{
    char type = (char)header[TAR_TYPE_AT];
    return type && strchr("xXgLKVA", type);
}

static size_t in_blocks(uint64_t size)
{
    return (size_t)((size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK);
}

size_t tar_pax_length(const void *headers, size_t n)
{
    const unsigned char *p = headers;
    size_t at = 0;
    while (n - at >= TAR_BLOCK && is_ahead(p + at)) {
        uint64_t size = tar_size_of(p + at);
        at += TAR_BLOCK;
        if (size > n - at || in_blocks(size) > n - at)
            return 0;
        at += in_blocks(size);
    }
    return n - at >= TAR_BLOCK ? at + TAR_BLOCK : 0;
}

void tar_pax_look(const void *headers, size_t n, struct tar_pax *ret)
{
    const unsigned char *p = headers;
    *ret = (struct tar_pax){0};
    while (n >= TAR_BLOCK) {
        char type = (char)p[TAR_TYPE_AT];
        uint64_t size = tar_size_of(p);
        if (!is_ahead(p)) {
            look_header(p, ret);
            return;
        }
        if (size > n - TAR_BLOCK)
            break;
        if (strchr("xXg", type))
            look_records((const char *)p + TAR_BLOCK, (size_t)size, type == 'g', ret);
        size_t whole = TAR_BLOCK + in_blocks(size);
        if (whole > n)
            break;
        p += whole;
        n -= whole;
    }
    wrong(ret, "its headers cannot be looked at");
}

/*
 * tar_pax.c - see tar_pax.h. No state. */
#include "ctl/transfer/tar_pax.h"

#include "ctl/transfer/tar_exact.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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

/* "KEY=VALUE" of a record. */
static void look_record(const char *text, size_t n, bool global, struct tar_pax *ret)
{
    const char *equals = memchr(text, '=', n);
    size_t len = equals ? (size_t)(equals - text) : n;
    if (!equals)
        ret->why = "a damaged pax header";
    else if (memchr(text, 0, len))
        ret->why = "a NUL byte in a key of its pax header";
    else if (is_path(text, len) && memchr(equals, 0, n - len))
        ret->why = "a NUL byte in its path, or in that of its link";
    else if (global && matters(text, len))
        snprintf(ret->global, sizeof ret->global, "%.*s", (int)(len < 60 ? len : 60), text);
}

/* A record is its own length in digits, a space, "KEY=VALUE" and a newline. */
static void look_records(const char *p, size_t n, bool global, struct tar_pax *ret)
{
    while (n > 0) {
        size_t len = 0, digits = 0;
        for (; digits < n && digits < 10 && p[digits] >= '0' && p[digits] <= '9'; digits++)
            len = len * 10 + (size_t)(p[digits] - '0');
        if (digits >= n || p[digits] != ' ' || len < digits + 2 || len > n || p[len - 1] != '\n') {
            ret->why = "a damaged pax header";
            return;
        }
        look_record(p + digits + 1, len - digits - 2, global, ret);
        p += len;
        n -= len;
    }
}

void tar_pax_look(const void *headers, size_t n, struct tar_pax *ret)
{
    const unsigned char *p = headers;
    *ret = (struct tar_pax){0};
    while (n >= TAR_BLOCK) {
        char type = (char)p[TAR_TYPE_AT];
        uint64_t size = tar_size_of(p);
        if (!memchr("xXgLK", type, 5) || size > n - TAR_BLOCK)
            return;
        if (type != 'L' && type != 'K')
            look_records((const char *)p + TAR_BLOCK, (size_t)size, type == 'g', ret);
        size_t whole = TAR_BLOCK + (size_t)((size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK);
        if (whole > n)
            return;
        p += whole;
        n -= whole;
    }
}

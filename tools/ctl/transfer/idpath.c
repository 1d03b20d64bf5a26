/*
 * idpath.c - ids to file names. Pure functions. */
#include "ctl/transfer/idpath.h"

#include "ctl/transfer/temporary.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define HASHED_TEXT_MAX 64 /* bytes of the readable part: enough to recognise, short enough for ls */

bool idpath_is_plain(const char *component, size_t len, bool first)
{
    if (len == 0 || len > IDPATH_NAME_MAX || component[0] == IDPATH_MARK)
        return false;
    if (component[0] == '.') {
        if (len == 1 || (len == 2 && component[1] == '.'))
            return false;
        if (first && len == 7 && !memcmp(component, ".engram", 7))
            return false;
        if (temporary_is(component, len))
            return false;
    }
    return !memchr(component, 0, len);
}

/* Appends the escape of `c` at name[at] if it leaves `at` <= max; else returns 0. */
static size_t put_escaped(char *name, size_t at, size_t max, unsigned char c, bool slash)
{
    bool escape = c == IDPATH_MARK || c == 0 || (slash && c == '/');
    if (at + (escape ? 3 : 1) > max)
        return 0;
    if (!escape) {
        name[at] = (char)c;
        return at + 1;
    }
    static const char hex[] = "0123456789ABCDEF";
    name[at] = IDPATH_MARK;
    name[at + 1] = hex[c >> 4];
    name[at + 2] = hex[c & 15];
    return at + 3;
}

static bool escaped(char form, const char *component, size_t len, char ret_name[IDPATH_NAME_BUF])
{
    char name[IDPATH_NAME_BUF] = {IDPATH_MARK, form};
    size_t at = 2;
    for (size_t i = 0; i < len; i++) {
        at = put_escaped(name, at, IDPATH_NAME_MAX, (unsigned char)component[i], false);
        if (!at)
            return false;
    }
    name[at] = 0;
    memcpy(ret_name, name, at + 1);
    return true;
}

bool idpath_dir(const char *component, size_t len, char ret_name[IDPATH_NAME_BUF])
{
    return escaped('d', component, len, ret_name);
}

bool idpath_leaf(const char *component, size_t len, char ret_name[IDPATH_NAME_BUF])
{
    return escaped('f', component, len, ret_name);
}

void idpath_hashed(const char *id, size_t id_len, const char *text, size_t len,
                   char ret_name[IDPATH_NAME_BUF])
{
    XXH128_hash_t h = XXH3_128bits(id, id_len);
    size_t at = (size_t)snprintf(ret_name, IDPATH_NAME_BUF, "%ch%016llx%016llx-", IDPATH_MARK,
                                 (unsigned long long)h.high64, (unsigned long long)h.low64);
    size_t max = at + HASHED_TEXT_MAX, whole = at;
    for (size_t i = 0; i < len; i++) {
        /* The text is cut between characters: a name with half of one cannot be shown. */
        if (((unsigned char)text[i] & 0xC0) != 0x80)
            whole = at;
        size_t next = put_escaped(ret_name, at, max, (unsigned char)text[i], true);
        if (!next) {
            at = whole;
            break;
        }
        at = next;
    }
    ret_name[at] = 0;
}

/* Length of an id's component as a name, 0 if it has no plain or escaped form that fits. */
static size_t static_name(const char *component, size_t len, bool first, bool last,
                          char ret_name[IDPATH_NAME_BUF], enum idpath_form *form)
{
    if (idpath_is_plain(component, len, first)) {
        memcpy(ret_name, component, len);
        ret_name[len] = 0;
        return len;
    }
    if (*form == IDPATH_PLAIN)
        *form = IDPATH_ESCAPED;
    if (!(last ? idpath_leaf : idpath_dir)(component, len, ret_name))
        return 0;
    return strlen(ret_name);
}

/* Builds the path with everything in its place; false if that is impossible. */
static bool tree_path(const char *id, size_t len, char *path, enum idpath_form *form)
{
    size_t at = 0;
    const char *p = id, *end = id + len;
    for (bool first = true;; first = false) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        char name[IDPATH_NAME_BUF];
        size_t n = static_name(p, (size_t)(stop - p), first, !slash, name, form);
        if (!n && slash)
            return false;
        if (!n) {
            *form = IDPATH_HASHED;
            idpath_hashed(id, len, p, (size_t)(stop - p), name);
            n = strlen(name);
        }
        if (at + n + (slash ? 1 : 0) > IDPATH_PATH_MAX)
            return false;
        memcpy(path + at, name, n);
        at += n;
        if (!slash)
            break;
        path[at++] = '/';
        p = slash + 1;
    }
    path[at] = 0;
    return true;
}

enum idpath_form idpath_of(const char *id, size_t len, char ret_path[IDPATH_PATH_MAX + 1])
{
    enum idpath_form form = IDPATH_PLAIN;
    if (tree_path(id, len, ret_path, &form))
        return form;
    idpath_hashed(id, len, id, len, ret_path);
    return IDPATH_HASHED;
}

bool idpath_needs_flat(const char *id, size_t len)
{
    char path[IDPATH_PATH_MAX + 1];
    enum idpath_form form = IDPATH_PLAIN;
    /* The common short id: every component fits even when escaped, and so does the path. */
    if (len <= IDPATH_NAME_MAX / 3 - 2)
        return false;
    return !tree_path(id, len, path, &form);
}

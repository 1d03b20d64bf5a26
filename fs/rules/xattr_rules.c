/*
 * xattr_rules.c - the rules for extended attributes (see xattr.h).
 *
 * A memory's fields travel as user.engram.* with `rsync -aX`, therefore they
 * are kept as the text that was set, and checked when they are set: a value
 * that another program would choke on is refused here with EINVAL. */
#include "rules/xattr_rules.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "guarded.h"
#include "rules/rfc3339.h"

#define PREFIX "user.engram."
#define GUARD_KEY "if_match"

enum { TEXT_MAX = 128 }; /* longest text of a checked field */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Number of digits at s, at most `max`. */
static size_t digits(const char *s, size_t max)
{
    size_t n = 0;
    while (n < max && is_digit(s[n]))
        n++;
    return n;
}

/* Decimal text without sign or blanks, whole; no "inf", "nan" or hexadecimal, which strtod() would take. */
static bool parse_real(const char *s, double *ret)
{
    const char *p = s;
    size_t whole = digits(p, TEXT_MAX);
    p += whole;
    size_t fraction = 0;
    if (*p == '.') {
        fraction = digits(p + 1, TEXT_MAX);
        p += 1 + fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-')
            p++;
        size_t n = digits(p, 5);
        if (n == 0 || n > 4)
            return false;
        p += n;
    }
    if (*p != '\0')
        return false;
    /* The program never calls setlocale(), so the point is a point. */
    double value = strtod(s, NULL);
    if (!isfinite(value))
        return false;
    *ret = value;
    return true;
}

static bool is_unit_interval(const char *s)
{
    double value;
    return parse_real(s, &value) && value <= 1.0;
}

static bool is_not_negative(const char *s)
{
    double value;
    return parse_real(s, &value);
}

static bool is_unsigned(const char *s, uint64_t max)
{
    uint64_t value = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (!is_digit(*s) || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            return false;
    }
    return value <= max;
}

static bool is_signed(const char *s)
{
    bool negative = *s == '-';
    return is_unsigned(s + negative, (uint64_t)INT64_MAX + negative);
}

static bool is_timestamp(const char *s)
{
    int64_t ns;
    return rfc3339_parse(s, strlen(s), &ns) || is_signed(s);
}

static bool is_embedding(const unsigned char *value, size_t size)
{
    if (size == 0 || size % 4 != 0)
        return false;
    for (size_t i = 0; i < size; i += 4) {
        uint32_t bits = (uint32_t)value[i] | (uint32_t)value[i + 1] << 8 | (uint32_t)value[i + 2] << 16 |
                        (uint32_t)value[i + 3] << 24;
        if ((bits & 0x7f800000) == 0x7f800000 && (bits & 0x007fffff) != 0)
            return false; /* NaN: no distance to it means anything */
    }
    return true;
}

static int check_field(const char *key, const void *value, size_t size)
{
    if (strcmp(key, "embedding") == 0)
        return is_embedding(value, size) ? 0 : -EINVAL;
    if (strcmp(key, GUARD_KEY) == 0)
        return eng_guard_parse(value, size, &(struct eng_guard){0});
    if (strcmp(key, "id") == 0)
        return 0; /* any bytes, and none at all: an empty id is one that cannot be a path */
    static const char *const known[] = {"confidence", "activation", "decay_rate",  "recall_count",
                                        "node_flags", "created",    "last_access", "content"};
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(key, known[i]) != 0)
        i++;
    if (i == sizeof known / sizeof *known)
        return 0; /* later fields, kept as they are */
    char text[TEXT_MAX + 1];
    if (size == 0 || size > TEXT_MAX || memchr(value, '\0', size))
        return -EINVAL;
    memcpy(text, value, size);
    text[size] = '\0';
    bool ok = false;
    switch (i) {
    case 0:
    case 1:
        ok = is_unit_interval(text);
        break;
    case 2:
        ok = is_not_negative(text);
        break;
    case 3:
        ok = is_unsigned(text, UINT64_MAX);
        break;
    case 4:
        ok = is_unsigned(text, UINT32_MAX);
        break;
    case 5:
    case 6:
        ok = is_timestamp(text);
        break;
    case 7:
        ok = strcmp(text, "none") == 0;
        break;
    }
    return ok ? 0 : -EINVAL;
}

enum xa_virtual xa_virtual(const char *name)
{
    static const char *const keys[] = {[XA_CONTENT_HASH] = "content_hash",
                                       [XA_CONTENT_SHA256] = "content_sha256",
                                       [XA_STATE] = "state",
                                       [XA_VERSION] = "version",
                                       [XA_GENERATION] = "generation",
                                       [XA_SNAPSHOT_POSITION] = "snapshot.position",
                                       [XA_SNAPSHOT_TIME] = "snapshot.time",
                                       [XA_SNAPSHOT_BYTES] = "snapshot.bytes",
                                       [XA_SNAPSHOT_SHARED_BYTES] = "snapshot.shared_bytes",
                                       [XA_EXACT] = "exact",
                                       [XA_ACTOR] = "actor",
                                       [XA_EVENT] = "event",
                                       [XA_ENDED] = "ended"};
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0)
        return XA_STORED;
    const char *key = name + sizeof PREFIX - 1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i] && strcmp(key, keys[i]) == 0)
            return (enum xa_virtual)i;
    return XA_STORED;
}

bool xa_is_guard(const char *name)
{
    return strcmp(name, PREFIX GUARD_KEY) == 0;
}

int xa_check_get(const char *name)
{
    static const char *const spaces[] = {"user.", "trusted.", "security."};
    if (strlen(name) > ENG_XATTR_NAME_MAX)
        return -ERANGE;
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        size_t n = strlen(spaces[i]);
        if (strncmp(name, spaces[i], n) == 0)
            return name[n] ? 0 : -EINVAL;
    }
    return -EOPNOTSUPP;
}

int xa_check_remove(const char *name)
{
    int r = xa_check_get(name);
    if (r)
        return r;
    return xa_virtual(name) != XA_STORED ? -EPERM : 0;
}

int xa_absent(const char *name, bool labels)
{
    return labels || strcmp(name, "security.selinux") != 0 ? -ENODATA : -EOPNOTSUPP;
}

int xa_check_set(const char *name, const void *value, size_t size)
{
    int r = xa_check_remove(name);
    if (r)
        return r;
    if (size > ENG_XATTR_SIZE_MAX)
        return -E2BIG;
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0)
        return 0;
    return check_field(name + sizeof PREFIX - 1, value, size);
}

size_t xa_filter_list(char *list, size_t size, int privileged)
{
    size_t out = 0;
    for (size_t in = 0; in < size;) {
        size_t n = strnlen(list + in, size - in) + 1;
        if (n > size - in)
            break; /* not terminated: nothing that could be shown */
        bool hidden = !privileged && strncmp(list + in, "trusted.", 8) == 0;
        if (!hidden && xa_virtual(list + in) == XA_STORED && !xa_is_guard(list + in)) {
            memmove(list + out, list + in, n);
            out += n;
        }
        in += n;
    }
    return out;
}

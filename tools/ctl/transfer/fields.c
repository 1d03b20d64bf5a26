/*
 * fields.c - the table of known fields. Pure functions. */
#include "ctl/transfer/fields.h"

#include "rules/rfc3339.h"
#include "shared/jsontext.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const struct field fields[] = {
    {"created_at", FIELD_XATTR_CREATED, FIELD_TIME, "an RFC 3339 time"},
    {"confidence", "user.engram.confidence", FIELD_UNIT, "a number from 0 to 1"},
    {"activation", "user.engram.activation", FIELD_UNIT, "a number from 0 to 1"},
    {"decay_rate", "user.engram.decay_rate", FIELD_RATE, "a number of at least 0"},
    {"recall_count", "user.engram.recall_count", FIELD_COUNT, "an unsigned integer of 64 bits"},
    {"node_flags", "user.engram.node_flags", FIELD_FLAGS, "an unsigned integer of 32 bits"},
    {"last_access", "user.engram.last_access", FIELD_TIME_OR_INTEGER, "an RFC 3339 time or an integer"},
    {"embedding", "user.engram.embedding", FIELD_FLOATS,
     "a non-empty array of numbers that fit 32-bit floats"},
    {NULL, NULL, 0, NULL},
};

const struct field *field_by_key(const char *key, size_t len)
{
    for (const struct field *f = fields; f->key; f++)
        if (strlen(f->key) == len && !memcmp(f->key, key, len))
            return f;
    return NULL;
}

const struct field *field_by_xattr(const char *name)
{
    if (strncmp(name, FIELD_OWN_PREFIX, sizeof FIELD_OWN_PREFIX - 1) != 0)
        return NULL;
    for (const struct field *f = fields; f->key; f++)
        if (!strcmp(f->xattr, name))
            return f;
    return NULL;
}

#define TEXT_MAX 128 /* longest text of a field, as on a mount */

/* The value of a JSON number without a sign, NAN if it is none. */
static double number(const char *text, size_t len)
{
    char copy[TEXT_MAX + 1];
    if (len > TEXT_MAX || !jt_is_number(text, len) || *text == '-')
        return NAN;
    memcpy(copy, text, len);
    copy[len] = 0;
    return strtod(copy, NULL);
}

/* Most are plain fractions, which need no conversion to be known to lie between 0 and 1. */
static bool unit_valid(const char *text, size_t len)
{
    if (len > 1 && len <= TEXT_MAX && text[0] == '0' && text[1] == '.' && jt_is_number(text, len) &&
        !memchr(text, 'e', len) && !memchr(text, 'E', len))
        return true;
    double v = number(text, len);
    return v >= 0 && v <= 1;
}

static bool unsigned_valid(const char *text, size_t len, uint64_t max)
{
    uint64_t v = 0;
    if (!len || len > TEXT_MAX || !jt_is_number(text, len))
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(v, 10U, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v))
            return false;
    return v <= max;
}

static bool signed_valid(const char *text, size_t len)
{
    bool minus = len && *text == '-';
    return unsigned_valid(text + minus, len - minus, (uint64_t)INT64_MAX + minus);
}

static bool floats_valid(const unsigned char *p, size_t len)
{
    if (len == 0 || len % 4)
        return false;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t bits =
            (uint32_t)p[i] | (uint32_t)p[i + 1] << 8 | (uint32_t)p[i + 2] << 16 | (uint32_t)p[i + 3] << 24;
        if ((bits >> 23 & 0xFF) == 0xFF)
            return false;
    }
    return true;
}

bool field_valid(const struct field *f, const void *value, size_t len)
{
    int64_t ns;
    double v;
    switch (f->kind) {
    case FIELD_TIME:
        return len <= TEXT_MAX && rfc3339_parse(value, len, &ns);
    case FIELD_TIME_OR_INTEGER:
        return signed_valid(value, len) || (len <= TEXT_MAX && rfc3339_parse(value, len, &ns));
    case FIELD_UNIT:
        return unit_valid(value, len);
    case FIELD_RATE:
        v = number(value, len);
        return v >= 0 && isfinite(v);
    case FIELD_COUNT:
        return unsigned_valid(value, len, UINT64_MAX);
    case FIELD_FLAGS:
        return unsigned_valid(value, len, UINT32_MAX);
    case FIELD_FLOATS:
        return floats_valid(value, len);
    }
    return false;
}

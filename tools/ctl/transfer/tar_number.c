/*
 * tar_number.c - see tar_number.h. No state. */
#include "ctl/transfer/tar_number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define EARLIEST (INT64_MIN + 1) /* INT64_MIN is TARGET_NOW */

/* v = v * base + digit, or as far as 64 bits go. */
static void append(int64_t *v, int base, int digit)
{
    bool negative = *v < 0;
    int64_t to;
    if (__builtin_mul_overflow(*v, (int64_t)base, &to) || __builtin_add_overflow(to, (int64_t)digit, &to))
        to = negative || digit < 0 ? INT64_MIN : INT64_MAX;
    *v = to;
}

/* Digits of `base`, the negative ones of a negative number; how many there are. */
static size_t digits(const char *p, size_t n, int base, int sign, int64_t *ret)
{
    size_t i = 0;
    *ret = 0;
    for (; i < n && p[i] >= '0' && p[i] < '0' + base; i++)
        append(ret, base, sign * (p[i] - '0'));
    return i;
}

static bool binary(const unsigned char *p, size_t size, int64_t *ret)
{
    *ret = p[0] & 0x40 ? (int64_t)p[0] - 256 : p[0] & 0x3F; /* the highest bit is a mark, the next the sign */
    for (size_t i = 1; i < size; i++)
        append(ret, 256, p[i]);
    return true;
}

bool tar_field(const unsigned char *field, size_t size, int64_t *ret)
{
    const char *p = (const char *)field, *end = p + size;
    if (*field & 0x80)
        return binary(field, size, ret);
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    int sign = p < end && *p == '-' ? -1 : 1;
    p += sign < 0;
    size_t n = digits(p, (size_t)(end - p), 8, sign, ret);
    p += n;
    return (n || sign > 0) && (p == end || *p == ' ' || !*p);
}

bool tar_decimal(const char *text, size_t len, int64_t *ret)
{
    size_t sign = len && *text == '-';
    size_t n = digits(text + sign, len - sign, 10, sign ? -1 : 1, ret);
    return n && n + sign == len;
}

int64_t tar_time_of(int64_t seconds)
{
    int64_t ns;
    if (__builtin_mul_overflow(seconds, SECOND, &ns) || ns < EARLIEST)
        return seconds < 0 ? EARLIEST : INT64_MAX;
    return ns;
}

/* As Python writes some: 5e-05. */
static bool with_exponent(const char *text, size_t len, int64_t *ret_ns)
{
    char copy[TAR_TIME_BUF], *end;
    if (!len || len >= sizeof copy || strspn(text, "0123456789+-.eE") < len)
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    double v = strtod(copy, &end) * 1e9;
    if (*end)
        return false;
    if (v >= 0x1p63)
        *ret_ns = INT64_MAX;
    else if (v <= -0x1p63)
        *ret_ns = EARLIEST;
    else
        *ret_ns = (int64_t)v - ((double)(int64_t)v > v);
    return true;
}

bool tar_time_parse(const char *text, size_t len, int64_t *ret_ns)
{
    size_t at = len && *text == '-', n = 0;
    int sign = at ? -1 : 1;
    int64_t seconds, part = 0, ns, scale = SECOND;
    bool rest = false;
    size_t whole = digits(text + at, len - at, 10, sign, &seconds);
    at += whole;
    if (at < len && text[at] == '.') {
        for (at++; at < len && text[at] >= '0' && text[at] <= '9'; at++, n++) {
            scale /= 10;
            part += scale * (text[at] - '0');
            rest = rest || (!scale && text[at] != '0');
        }
    }
    if (at < len || whole + n == 0)
        return with_exponent(text, len, ret_ns);
    part = sign * part - (sign < 0 && rest);
    if (__builtin_mul_overflow(seconds, SECOND, &ns) || __builtin_add_overflow(ns, part, &ns) ||
        ns < EARLIEST)
        ns = sign < 0 ? EARLIEST : INT64_MAX;
    *ret_ns = ns;
    return true;
}

char *tar_time_format(int64_t ns, char buf[TAR_TIME_BUF])
{
    uint64_t size = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    int n = snprintf(buf, TAR_TIME_BUF, "%s%llu.%09llu", ns < 0 ? "-" : "",
                     (unsigned long long)(size / (uint64_t)SECOND),
                     (unsigned long long)(size % (uint64_t)SECOND));
    while (buf[n - 1] == '0')
        buf[--n] = 0;
    if (buf[n - 1] == '.')
        buf[n - 1] = 0;
    return buf;
}

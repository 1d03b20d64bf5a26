/*
 * text_buffer.c - a growing text buffer and the few formats that control files use.
 *
 * Owns nothing but the buffer it is given; takes no locks. */
#include "control/text_buffer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules/figures.h"
#include "rules/rfc3339.h"

void text_done(struct text *t)
{
    free(t->data);
    *t = (struct text)TEXT_INIT;
}

static bool reserve(struct text *t, size_t more)
{
    if (t->failed)
        return false;
    if (t->cap - t->len > more)
        return true;
    size_t cap = t->cap ? t->cap : 512;
    while (cap - t->len <= more)
        if (__builtin_mul_overflow(cap, (size_t)2, &cap)) {
            t->failed = true;
            return false;
        }
    char *data = realloc(t->data, cap);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->cap = cap;
    return true;
}

void text_add_bytes(struct text *t, const char *bytes, size_t len)
{
    if (!reserve(t, len))
        return;
    memcpy(t->data + t->len, bytes, len);
    t->len += len;
    t->data[t->len] = '\0';
}

void text_add(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n < 0)
        t->failed = true;
    else if (reserve(t, (size_t)n)) {
        (void)vsnprintf(t->data + t->len, (size_t)n + 1, format, again);
        t->len += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

/* Length of the valid UTF-8 sequence at s, 0 if there is none (RFC 3629: no overlong forms,
 * no surrogates). */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xe0 ? 3 : 2;
    if (s[0] >= 0xf0)
        n = 4;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) /* stops at the final NUL too */
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
        return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

void text_json_key(struct text *t, const char *indent, const char *key)
{
    bool first = t->len && t->data[t->len - 1] == '{';
    text_add(t, "%s\n%s\"%s\": ", first ? "" : ",", indent, key);
}

void text_json_string(struct text *t, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    text_add_bytes(t, "\"", 1);
    while (*p) {
        size_t n = utf8_length(p);
        if (n == 0)
            text_add_bytes(t, "\\ufffd", 6);
        else if (*p == '"' || *p == '\\')
            text_add(t, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            text_add(t, "\\u%04x", *p);
        else
            text_add_bytes(t, (const char *)p, n);
        p += n ? n : 1;
    }
    text_add_bytes(t, "\"", 1);
}

bool text_is_utf8(const char *s)
{
    size_t n = 1;
    for (const unsigned char *p = (const unsigned char *)s; *p && n > 0; p += n)
        n = utf8_length(p);
    return n > 0;
}

void text_base64(struct text *t, const char *s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t left = strlen(s), n; left > 0; left -= n, s += n) {
        n = left < 3 ? left : 3;
        unsigned bits = (unsigned)(unsigned char)s[0] << 16;
        bits |= n > 1 ? (unsigned)(unsigned char)s[1] << 8 : 0;
        bits |= n > 2 ? (unsigned)(unsigned char)s[2] : 0;
        const char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                              n > 1 ? digits[bits >> 6 & 63] : '=', n > 2 ? digits[bits & 63] : '='};
        text_add_bytes(t, four, sizeof four);
    }
}

void text_json_number(struct text *t, double value)
{
    text_add(t, "%.15g", isfinite(value) ? value : 0.0);
}

void text_time(struct text *t, int64_t ns)
{
    char buf[40];
    text_add(t, "%s", rfc3339_format_ms(ns, buf));
}

void text_bytes(struct text *t, uint64_t bytes)
{
    char buf[32];
    text_add(t, "%s", figure_bytes(bytes, buf));
}

void text_name(struct text *t, const char *name)
{
    for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
        if (*p < 0x20 || *p == 0x7f || *p == '\\')
            text_add(t, "\\x%02x", *p);
        else
            text_add_bytes(t, (const char *)p, 1);
    }
}

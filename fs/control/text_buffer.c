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
#include "rules/printable.h"
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

void text_json_key(struct text *t, const char *indent, const char *key)
{
    bool first = t->len && t->data[t->len - 1] == '{';
    text_add(t, "%s\n%s\"%s\": ", first ? "" : ",", indent, key);
}

/* A character of `n` bytes that is not to be shown as it is. */
static void json_escape(struct text *t, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    text_add(t, "\\u%04x", n == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu) : p[0]);
}

void text_json_string(struct text *t, const char *s)
{
    text_add_bytes(t, "\"", 1);
    while (*s) {
        size_t n = utf8_length(s);
        if (n == 0)
            text_add_bytes(t, "\\ufffd", 6);
        else if (*s == '"' || *s == '\\')
            text_add(t, "\\%c", *s);
        else if (printable_length(s) == 0)
            json_escape(t, s, n);
        else
            text_add_bytes(t, s, n);
        s += n ? n : 1;
    }
    text_add_bytes(t, "\"", 1);
}

bool text_is_utf8(const char *s)
{
    size_t n = 1;
    for (; *s && n > 0; s += n)
        n = utf8_length(s);
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
    char piece[5];
    while (*name) {
        name += printable_piece(name, piece);
        text_add_bytes(t, piece, strlen(piece));
    }
}

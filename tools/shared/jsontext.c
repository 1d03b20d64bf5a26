/*
 * jsontext.c - scanning and printing JSON text. Pure functions; the scanner's
 * state is in the caller's struct jt_in.
 *
 * The grammar is RFC 8259, with nothing added: no comments, no trailing
 * commas, no lone surrogates, strings in valid UTF-8. */
#include "shared/jsontext.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- strings ------------------------------------------------------------ */

#define ONES UINT64_C(0x0101010101010101)
#define HIGH UINT64_C(0x8080808080808080)

static uint64_t load64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Skips plain ASCII, eight bytes at a time (may stop early at a byte that is plain). */
static const char *skip_plain(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t x = load64(p);
        uint64_t special = x | ((x ^ ONES * '"') - ONES) | ((x ^ ONES * '\\') - ONES) | (x - ONES * 0x20);
        if (special & HIGH)
            break;
        p += 8;
    }
    return p;
}

static bool continuation(const char *p, const char *end, int n)
{
    if (end - p <= n)
        return false;
    for (int i = 1; i <= n; i++)
        if (((unsigned char)p[i] & 0xC0) != 0x80)
            return false;
    return true;
}

/* Length of the sequence at p, 0 if it is not valid (Unicode 15, table 3-7). */
static size_t utf8_sequence(const char *p, const char *end)
{
    unsigned char a = (unsigned char)p[0];
    if (a < 0x80)
        return 1;
    if (a >= 0xC2 && a <= 0xDF)
        return continuation(p, end, 1) ? 2 : 0;
    if (a >= 0xE0 && a <= 0xEF) {
        if (!continuation(p, end, 2))
            return 0;
        unsigned char b = (unsigned char)p[1];
        return (a == 0xE0 && b < 0xA0) || (a == 0xED && b > 0x9F) ? 0 : 3;
    }
    if (a >= 0xF0 && a <= 0xF4) {
        if (!continuation(p, end, 3))
            return 0;
        unsigned char b = (unsigned char)p[1];
        return (a == 0xF0 && b < 0x90) || (a == 0xF4 && b > 0x8F) ? 0 : 4;
    }
    return 0;
}

bool utf8_valid(const char *s, size_t len)
{
    const char *p = s, *end = s + len;
    while (p < end) {
        while (end - p >= 8 && !(load64(p) & HIGH))
            p += 8;
        if (p == end)
            break;
        size_t n = utf8_sequence(p, end);
        if (!n)
            return false;
        p += n;
    }
    return true;
}

static int hex4(const char *p, const char *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (c >= '0' && c <= '9')
            d = c - '0';
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

static char *put_utf8(char *o, unsigned c)
{
    if (c < 0x80) {
        *o++ = (char)c;
    } else if (c < 0x800) {
        *o++ = (char)(0xC0 | c >> 6);
        *o++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *o++ = (char)(0xE0 | c >> 12);
        *o++ = (char)(0x80 | (c >> 6 & 63));
        *o++ = (char)(0x80 | (c & 63));
    } else {
        *o++ = (char)(0xF0 | c >> 18);
        *o++ = (char)(0x80 | (c >> 12 & 63));
        *o++ = (char)(0x80 | (c >> 6 & 63));
        *o++ = (char)(0x80 | (c & 63));
    }
    return o;
}

/* Decodes the escape at *p (after the backslash); false if it is none. */
static bool unescape(const char **p, const char *end, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *hit = *p < end && **p ? strchr(from, **p) : NULL;
    if (hit) {
        *(*out)++ = to[hit - from];
        (*p)++;
        return true;
    }
    if (*p >= end || **p != 'u')
        return false;
    int c = hex4(*p + 1, end);
    if (c < 0 || (c >= 0xDC00 && c <= 0xDFFF))
        return false;
    *p += 5;
    if (c >= 0xD800 && c <= 0xDBFF) {
        int low = end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, end) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return false;
        *p += 6;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    *out = put_utf8(*out, (unsigned)c);
    return true;
}

static bool fail(struct jt_in *in, const char *why)
{
    in->why = why;
    return false;
}

/* Finds the closing quote of the string whose content starts at `p`; NULL if there is none or a control byte
 * is first. */
static const char *string_end(struct jt_in *in, const char *p, bool *ret_escapes, bool *ret_ascii)
{
    *ret_escapes = false;
    *ret_ascii = true;
    for (;;) {
        p = skip_plain(p, in->end);
        if (p >= in->end) {
            in->p = in->end;
            in->why = "a string without its closing quote";
            return NULL;
        }
        unsigned char c = (unsigned char)*p;
        if (c == '"')
            return p;
        if (c == '\\') {
            *ret_escapes = true;
            p++; /* the escaped byte, which may be a quote, is checked when decoded */
            if (p >= in->end)
                continue;
            c = (unsigned char)*p;
        }
        if (c < 0x20) {
            in->p = p;
            in->why = "a control character in a string";
            return NULL;
        }
        if (c >= 0x80)
            *ret_ascii = false;
        p++;
    }
}

/* Decodes the string at in->p, which is its opening quote. */
static bool scan_string(struct jt_in *in, struct jt_text *ret)
{
    bool escapes, ascii;
    const char *s = in->p + 1, *end = string_end(in, s, &escapes, &ascii);
    if (!end)
        return false;
    if (!ascii && !utf8_valid(s, (size_t)(end - s)))
        return fail(in, "invalid UTF-8 in a string");
    char *o =
        escapes ? pool_alloc(in->pool, (size_t)(end - s) + 1) : pool_copy(in->pool, s, (size_t)(end - s));
    if (!o)
        return fail(in, NULL);
    ret->data = o;
    ret->len = (size_t)(end - s);
    in->p = end + 1;
    if (!escapes)
        return true;
    while (s < end) {
        const char *b = memchr(s, '\\', (size_t)(end - s));
        size_t n = (size_t)((b ? b : end) - s);
        memcpy(o, s, n);
        o += n;
        s += n;
        if (!b)
            break;
        s++;
        if (!unescape(&s, end, &o)) {
            in->p = b;
            return fail(in, "an invalid escape in a string");
        }
    }
    *o = 0;
    ret->len = (size_t)(o - ret->data);
    return true;
}

/* ---- numbers, literals, nested values ------------------------------------ */

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Length of the number at `p`, 0 if there is none. */
static size_t number_length(const char *start, const char *end)
{
    const char *p = start, *q;
    if (p < end && *p == '-')
        p++;
    if (p < end && *p == '0')
        p++;
    else if ((q = skip_digits(p, end)) > p)
        p = q;
    else
        return 0;
    if (p < end && *p == '.') {
        q = skip_digits(p + 1, end);
        if (q == p + 1)
            return 0;
        p = q;
    }
    if (p < end && (*p | 32) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        q = skip_digits(p, end);
        if (q == p)
            return 0;
        p = q;
    }
    return (size_t)(p - start);
}

bool jt_is_number(const char *text, size_t len)
{
    return len && number_length(text, text + len) == len;
}

/* Finds the end of the array or object at `p` by its brackets; whether it is valid inside is for others to
 * say. */
static const char *nested_end(const char *p, const char *end)
{
    size_t depth = 0;
    for (; p < end; p++) {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                if (*p == '\\')
                    p++;
        } else if (*p == '[' || *p == '{') {
            depth++;
        } else if (*p == ']' || *p == '}') {
            if (--depth == 0)
                return p + 1;
        }
    }
    return NULL;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

static bool scan_literal(struct jt_in *in, struct jt_member *m)
{
    static const struct {
        const char *text;
        size_t len;
        enum jt_kind kind;
    } literals[] = {{"true", 4, JT_TRUE}, {"false", 5, JT_FALSE}, {"null", 4, JT_NULL}};
    for (size_t i = 0; i < 3; i++) {
        if ((size_t)(in->end - in->p) >= literals[i].len &&
            !memcmp(in->p, literals[i].text, literals[i].len)) {
            m->kind = literals[i].kind;
            in->p += literals[i].len;
            return true;
        }
    }
    return fail(in, "not a JSON value");
}

static bool scan_value(struct jt_in *in, struct jt_member *m)
{
    m->raw = in->p;
    if (in->p >= in->end)
        return fail(in, "the line ends where a value should be");
    char c = *in->p;
    bool ok = true;
    if (c == '"') {
        m->kind = JT_STRING;
        ok = scan_string(in, &m->string);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        m->kind = JT_NUMBER;
        size_t n = number_length(in->p, in->end);
        if (!n)
            return fail(in, "an invalid number");
        in->p += n;
    } else if (c == '[' || c == '{') {
        m->kind = c == '[' ? JT_ARRAY : JT_OBJECT;
        const char *e = nested_end(in->p, in->end);
        if (!e)
            return fail(in, "an array or object without its closing bracket");
        in->p = e;
    } else {
        ok = scan_literal(in, m);
    }
    m->raw_len = (size_t)(in->p - m->raw);
    return ok;
}

bool jt_in_object(struct jt_in *in, const char *text, size_t len, struct pool *pool)
{
    *in = (struct jt_in){.start = text, .p = text, .end = text + len, .pool = pool};
    in->p = skip_space(in->p, in->end);
    if (in->p >= in->end || *in->p != '{')
        return fail(in, "not a JSON object");
    in->p++;
    return true;
}

static int member_error(struct jt_in *in, const char *why)
{
    in->why = why;
    return -1;
}

static int object_closed(struct jt_in *in)
{
    in->p = skip_space(in->p + 1, in->end);
    return in->p == in->end ? 0 : member_error(in, "something follows the object");
}

int jt_in_member(struct jt_in *in, struct jt_member *ret)
{
    struct jt_member m = {0};
    in->p = skip_space(in->p, in->end);
    if (in->p < in->end && *in->p == '}' && in->count == 0)
        return object_closed(in);
    if (in->count > 0) {
        if (in->p < in->end && *in->p == '}')
            return object_closed(in);
        if (in->p >= in->end || *in->p != ',')
            return member_error(in, "expected ',' or '}'");
        in->p = skip_space(in->p + 1, in->end);
    }
    if (in->p >= in->end || *in->p != '"')
        return member_error(in, "expected a key in quotes");
    if (!scan_string(in, &m.key))
        return -1;
    in->p = skip_space(in->p, in->end);
    if (in->p >= in->end || *in->p != ':')
        return member_error(in, "expected ':' after a key");
    in->p = skip_space(in->p + 1, in->end);
    if (!scan_value(in, &m))
        return -1;
    in->count++;
    *ret = m;
    return 1;
}

bool jt_valid(const char *text, size_t len, char ret_why[200])
{
    json_error_t error;
    if (jt_is_number(text, len))
        return true; /* of any size, which jansson's would not be */
    /* INT_AS_REAL: integers of any length; only the text is kept, never this value. */
    json_t *v = json_loadb(
        text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
        &error);
    bool ok = v != NULL;
    json_decref(v);
    if (!ok && ret_why)
        snprintf(ret_why, 200, "%s", error.text);
    return ok;
}

struct nest {
    struct jt_in in;
    unsigned depth;
    unsigned char objects[JT_DEPTH_MAX / 8]; /* a bit for each bracket that is open: it is a brace */
};

/* Whether the string that begins at in->p is one; nothing of it is kept. */
static bool pass_string(struct jt_in *in)
{
    bool escapes, ascii;
    const char *s = in->p + 1, *end = string_end(in, s, &escapes, &ascii);
    if (!end || (!ascii && !utf8_valid(s, (size_t)(end - s))))
        return false;
    in->p = end + 1;
    while (escapes && (s = memchr(s, '\\', (size_t)(end - s)))) {
        char decoded[4], *o = decoded;
        s++;
        if (!unescape(&s, end, &o))
            return false;
    }
    return true;
}

static bool in_object(const struct nest *n)
{
    unsigned i = n->depth - 1;
    return n->objects[i / 8] >> i % 8 & 1;
}

static bool pass_key(struct jt_in *in)
{
    in->p = skip_space(in->p, in->end);
    if (in->p >= in->end || *in->p != '"' || !pass_string(in))
        return false;
    in->p = skip_space(in->p, in->end);
    return in->p < in->end && *in->p++ == ':';
}

/* Passes a value without brackets, or opens one; *ret_opened: the next value is the first in it. */
static bool pass_value(struct nest *n, bool *ret_opened)
{
    struct jt_in *in = &n->in;
    struct jt_member m;
    in->p = skip_space(in->p, in->end);
    char c = in->p < in->end ? *in->p : 0;
    *ret_opened = false;
    if (c == '"')
        return pass_string(in);
    if (c != '[' && c != '{')
        return scan_value(in, &m);
    if (n->depth == JT_DEPTH_MAX)
        return false;
    unsigned i = n->depth++, bit = 1u << i % 8;
    n->objects[i / 8] = (unsigned char)((n->objects[i / 8] & ~bit) | (c == '{' ? bit : 0));
    in->p = skip_space(in->p + 1, in->end);
    *ret_opened = in->p >= in->end || *in->p != (c == '{' ? '}' : ']');
    return !*ret_opened || c == '[' || pass_key(in);
}

/* Closes the brackets that end behind a value; *ret_more: another value of one comes. */
static bool pass_ends(struct nest *n, bool *ret_more)
{
    struct jt_in *in = &n->in;
    *ret_more = false;
    for (; n->depth; n->depth--) {
        in->p = skip_space(in->p, in->end);
        char c = in->p < in->end ? *in->p++ : 0;
        if (c == ',') {
            *ret_more = true;
            return !in_object(n) || pass_key(in);
        }
        if (c != (in_object(n) ? '}' : ']'))
            return false;
    }
    in->p = skip_space(in->p, in->end);
    return in->p == in->end;
}

bool jt_is_json(const char *text, size_t len)
{
    struct nest n = {.in = {.start = text, .p = text, .end = text + len}};
    bool more = true, opened;
    while (more) {
        if (!pass_value(&n, &opened))
            return false;
        if (!opened && !pass_ends(&n, &more))
            return false;
    }
    return true;
}

bool jt_floats(const char *text, size_t len, size_t max, struct pool *pool, void **ret_data, size_t *ret_size)
{
    const char *p = text, *end = text + len;
    size_t commas = 0;
    if (p >= end || *p++ != '[')
        return false;
    for (const char *c = p; (c = memchr(c, ',', (size_t)(end - c))); c++)
        commas++;
    if (commas >= max / 4)
        return false;
    unsigned char *data = pool_alloc(pool, (commas + 1) * 4);
    size_t n = 0;
    if (!data)
        return false;
    p = skip_space(p, end);
    while (p < end && !(n == 0 && *p == ']')) {
        size_t digits = number_length(p, end);
        /* strtof() stops where the number does: a bracket follows it at the latest. */
        float v = digits ? strtof(p, NULL) : NAN;
        if (!isfinite(v))
            return false;
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        for (int i = 0; i < 4; i++)
            data[n * 4 + (size_t)i] = (unsigned char)(bits >> (8 * i));
        n++;
        p = skip_space(p + digits, end);
        if (p >= end || *p != ',')
            break;
        p = skip_space(p + 1, end);
    }
    if (p + 1 != end || *p != ']')
        return false;
    *ret_data = data;
    *ret_size = n * 4;
    return true;
}

bool jt_strings(const char *text, size_t len, struct pool *pool, struct jt_text **ret_strings, size_t *ret_n)
{
    struct jt_in in = {.start = text, .p = text, .end = text + len, .pool = pool};
    size_t n = 0, commas = 0;
    if (!len || *text != '[' || !jt_valid(text, len, NULL))
        return false;
    for (size_t i = 0; i < len; i++)
        commas += text[i] == ',';
    struct jt_text *strings = pool_alloc(pool, (commas + 1) * sizeof *strings);
    if (!strings)
        return false;
    /* It is known to be valid, so that only the kinds of its elements have to be looked at. */
    for (;;) {
        in.p = skip_space(in.p + 1, in.end);
        if (n == 0 && *in.p == ']')
            break;
        if (*in.p != '"' || !scan_string(&in, &strings[n]))
            return false;
        n++;
        in.p = skip_space(in.p, in.end);
        if (*in.p != ',')
            break;
    }
    *ret_strings = strings;
    *ret_n = n;
    return true;
}

/* ---- printing ------------------------------------------------------------ */

void jt_put_string(struct buf *out, const char *s, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    const char *p = s, *end = s + len;
    if (!buf_reserve(out, len + 2))
        return;
    buf_char(out, '"');
    while (p < end) {
        const char *plain = p;
        for (p = skip_plain(p, end); p < end; p++)
            if ((unsigned char)*p < 0x20 || *p == '"' || *p == '\\')
                break;
        buf_add(out, plain, (size_t)(p - plain));
        if (p == end)
            break;
        unsigned char c = (unsigned char)*p++;
        static const char plain_form[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
        const char *hit = c ? strchr(plain_form, c) : NULL;
        if (hit) {
            buf_char(out, '\\');
            buf_char(out, letter[hit - plain_form]);
        } else {
            buf_str(out, "\\u00");
            buf_char(out, hex[c >> 4]);
            buf_char(out, hex[c & 15]);
        }
    }
    buf_char(out, '"');
}

void jt_put_raw(struct buf *out, const char *text, size_t len)
{
    size_t at = out->len;
    buf_add(out, text, len);
    if (out->failed)
        return;
    /* In valid JSON a newline can only be space between tokens. */
    for (char *p = out->data + at; (p = memchr(p, '\n', (size_t)(out->data + out->len - p)));)
        *p = ' ';
}

/*
 * The digits of `v` (positive) as an integer, with v == digits * 10^-shift when
 * read back as a float; 0 if this quick way cannot tell. The scale is a power
 * of ten that a double holds exactly and so is the integer, so that
 * digits / scale is what strtod() would make of the text (Clinger, "How to
 * read floating point numbers accurately", the fast path). */
static uint64_t quick_digits(float v, int exponent, int *ret_shift)
{
    static const double pow10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    for (int n = 1; n <= 9; n++) {
        int shift = n - 1 - exponent;
        if (shift < 0)
            continue;
        if (shift > 22)
            return 0;
        double r = rint((double)v * pow10[shift]);
        if ((float)(r / pow10[shift]) == v) {
            *ret_shift = shift;
            return (uint64_t)r;
        }
    }
    return 0;
}

void jt_put_float(struct buf *out, float v)
{
    char text[48], digits[24];
    if (signbit(v)) {
        buf_char(out, '-');
        v = -v;
    }
    if (v == 0) {
        buf_str(out, "0.0");
        return;
    }
    int shift;
    uint64_t d = v >= 1e-10F && v < 1e9F ? quick_digits(v, (int)floor(log10((double)v)), &shift) : 0;
    if (!d) {
        for (int n = 6; n <= 9; n++) {
            snprintf(text, sizeof text, "%.*g", n, (double)v);
            if (strtof(text, NULL) == v)
                break;
        }
        buf_str(out, text);
        return;
    }
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)d);
    if (n > shift)
        snprintf(text, sizeof text, "%.*s.%s", n - shift, digits, shift ? digits + n - shift : "0");
    else
        snprintf(text, sizeof text, "0.%.*s%s", shift - n, "0000000000000000000000", digits);
    buf_str(out, text);
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct buf *out, const void *data, size_t len)
{
    const unsigned char *p = data;
    if (!buf_reserve(out, len / 3 * 4 + 6))
        return;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;
        if (n > 1)
            v |= (uint32_t)p[i + 1] << 8;
        if (n > 2)
            v |= p[i + 2];
        buf_char(out, base64_digits[v >> 18]);
        buf_char(out, base64_digits[v >> 12 & 63]);
        buf_char(out, n > 1 ? base64_digits[v >> 6 & 63] : '=');
        buf_char(out, n > 2 ? base64_digits[v & 63] : '=');
    }
}

void jt_put_base64(struct buf *out, const void *data, size_t len)
{
    buf_char(out, '"');
    base64_put(out, data, len);
    buf_char(out, '"');
}

void jt_put_member(struct buf *out, const char *key, const char *s)
{
    size_t len = strlen(s);
    bool is_text = utf8_valid(s, len);
    buf_str(out, ", \"");
    buf_str(out, key);
    buf_str(out, is_text ? "\": " : "_base64\": ");
    if (is_text)
        jt_put_string(out, s, len);
    else
        jt_put_base64(out, s, len);
}

bool base64_decode(const char *s, size_t len, struct pool *pool, void **ret_data, size_t *ret_size)
{
    *ret_data = NULL;
    if (len % 4)
        return false;
    unsigned char *out = pool_alloc(pool, len / 4 * 3 + 1);
    if (!out)
        return false;
    *ret_data = out;
    size_t pad = len && s[len - 1] == '=';
    if (pad)
        pad += s[len - 2] == '=';
    uint32_t v = 0;
    size_t o = 0;
    for (size_t i = 0; i < len; i++) {
        const char *hit = s[i] ? strchr(base64_digits, s[i]) : NULL;
        if (i >= len - pad)
            hit = base64_digits;
        if (!hit)
            return false;
        v = v << 6 | (uint32_t)(hit - base64_digits);
        if (i % 4 == 3) {
            out[o++] = (unsigned char)(v >> 16);
            out[o++] = (unsigned char)(v >> 8);
            out[o++] = (unsigned char)v;
        }
    }
    *ret_size = o - pad;
    return true;
}

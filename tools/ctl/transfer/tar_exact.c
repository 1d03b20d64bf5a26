/*
 * tar_exact.c - see tar_exact.h. State: struct tar_exact. */
#include "ctl/transfer/tar_exact.h"

#include "ctl/transfer/tar_number.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define XATTR_KEY "SCHILY.xattr."
#define SIZE_AT 124
#define SUM_AT 148

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

uint64_t tar_size_of(const unsigned char *header)
{
    int64_t v = 0;
    return tar_field(header + SIZE_AT, 12, &v) && v > 0 ? (uint64_t)v : 0;
}

static uint64_t padded(uint64_t n)
{
    return (n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

/* A record says its own length, digits and newline among it. */
static void put_record(struct buf *out, const struct buf *text)
{
    char digits[24];
    size_t len = text->len + 2;
    for (size_t last = 0; last != len;) {
        last = len;
        len = (size_t)snprintf(digits, sizeof digits, "%zu", last) + text->len + 2;
    }
    buf_str(out, digits);
    buf_char(out, ' ');
    buf_add(out, text->data, text->len);
    buf_char(out, '\n');
}

/* "KEY=VALUE" with the name of an attribute as it is, and the time that the entry has. */
static void exact_record(struct tar_exact *x, struct buf *out, const char *p, size_t n)
{
    char time[TAR_TIME_BUF];
    const char *equals = memchr(p, '=', n);
    struct buf text = {0};
    size_t key = equals ? (size_t)(equals - p) : n, at = 0;
    if (key == 10 && !memcmp(p, "hdrcharset", 10))
        return;
    if (key > sizeof XATTR_KEY && !memcmp(p, XATTR_KEY, sizeof XATTR_KEY - 1)) {
        while (at < key) {
            int high = p[at] == '%' && at + 2 < key ? hex(p[at + 1]) : -1;
            int c = high >= 0 && hex(p[at + 2]) >= 0 ? high << 4 | hex(p[at + 2]) : 0;
            bool undo = c && c != '%' && c != '=';
            buf_char(&text, undo ? (char)c : p[at]);
            at += undo ? 3 : 1;
        }
    }
    if (key == 5 && !memcmp(p, "mtime", 5)) {
        buf_str(&text, "mtime=");
        buf_str(&text, tar_time_format(x->mtime, time));
        at = n;
    }
    buf_add(&text, p + at, n - at);
    if (text.failed)
        out->failed = true;
    else
        put_record(out, &text);
    buf_done(&text);
}

/* The records of a pax header, and the header before them. */
static int put_pax(struct tar_exact *x)
{
    struct buf records = {0};
    size_t at = 0;
    bool right = true;
    while (right && at < x->size) {
        size_t len = 0, digits = at;
        for (; digits < x->size && x->pax.data[digits] >= '0' && x->pax.data[digits] <= '9'; digits++)
            len = len * 10 + (size_t)(x->pax.data[digits] - '0');
        size_t head = digits + 1 - at;
        right = len > head && len <= x->size - at;
        if (right)
            exact_record(x, &records, x->pax.data + digits + 1, len - head - 1);
        at += len;
    }
    unsigned sum = 0;
    char number[16];
    snprintf(number, sizeof number, "%011zo", records.len);
    memcpy(x->header + SIZE_AT, number, 12);
    memset(x->header + SUM_AT, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += x->header[i];
    snprintf(number, sizeof number, "%06o", sum);
    memcpy(x->header + SUM_AT, number, 7);
    size_t fill = (size_t)padded(records.len) - records.len;
    if (records.len) {
        buf_add(&x->out, x->header, TAR_BLOCK);
        buf_add(&x->out, records.data, records.len);
        while (fill--)
            buf_char(&x->out, 0);
    }
    bool failed = records.failed || x->out.failed;
    buf_done(&records);
    buf_reset(&x->pax);
    if (failed)
        return -ENOMEM;
    return right ? 0 : -EBADMSG;
}

static void take_header(struct tar_exact *x)
{
    char type = (char)x->block[TAR_TYPE_AT];
    uint64_t size = type >= '1' && type <= '6' ? 0 : tar_size_of(x->block);
    if (type == 'x' && size) {
        memcpy(x->header, x->block, TAR_BLOCK);
        x->size = size;
        x->left = padded(size);
        return;
    }
    buf_add(&x->out, x->block, TAR_BLOCK);
    x->body = padded(size);
}

int tar_exact_feed(struct tar_exact *x, const void *data, size_t n)
{
    const char *p = data;
    int r = 0;
    while (!r && n > 0) {
        size_t part = n;
        if (x->body) {
            part = part < x->body ? part : (size_t)x->body;
            buf_add(&x->out, p, part);
            x->body -= part;
        } else if (x->left) {
            part = part < x->left ? part : (size_t)x->left;
            buf_add(&x->pax, p, part);
            x->left -= part;
            r = x->pax.failed ? -ENOMEM : 0;
            if (!r && !x->left)
                r = put_pax(x);
        } else {
            part = part < TAR_BLOCK - x->have ? part : TAR_BLOCK - x->have;
            memcpy(x->block + x->have, p, part);
            x->have += part;
            if (x->have == TAR_BLOCK) {
                x->have = 0;
                take_header(x);
            }
        }
        p += part;
        n -= part;
    }
    return x->out.failed ? -ENOMEM : r;
}

void tar_exact_done(struct tar_exact *x)
{
    buf_done(&x->pax);
    buf_done(&x->out);
}

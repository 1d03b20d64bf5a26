/*
 * lines.c - block-wise line reader. State: struct lines. */
#include "ctl/transfer/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)256 << 10) /* stays in the cache from being read to being parsed */

void lines_init(struct lines *l, lines_read read, void *arg)
{
    *l = (struct lines){.read = read, .arg = arg};
}

void lines_done(struct lines *l)
{
    buf_done(&l->buf);
    *l = (struct lines){0};
}

/* Makes room behind the unread bytes: moves them to the front, grows if they fill half of the buffer. */
static int make_room(struct lines *l)
{
    struct buf *b = &l->buf;
    size_t n = b->len - l->start;
    if (l->start > 0 && n > 0)
        memmove(b->data, b->data + l->start, n);
    l->start = 0;
    b->len = n;
    if (b->cap > 0 && n <= b->cap / 2)
        return 0;
    size_t cap = b->cap ? b->cap * 2 : BLOCK;
    return buf_reserve(b, cap - n) ? 0 : -ENOMEM;
}

/* Reads once; sets eof. */
static int fill(struct lines *l)
{
    int r = make_room(l);
    if (r < 0)
        return r;
    ssize_t n = l->read(l->arg, l->buf.data + l->buf.len, l->buf.cap - l->buf.len);
    if (n < 0)
        return (int)n;
    l->eof = n == 0;
    l->buf.len += (size_t)n;
    return 0;
}

/* Drops bytes up to and including the next newline. */
static int skip_line(struct lines *l)
{
    for (;;) {
        char *nl = memchr(l->buf.data + l->start, '\n', l->buf.len - l->start);
        size_t n = nl ? (size_t)(nl + 1 - (l->buf.data + l->start)) : l->buf.len - l->start;
        l->start += n;
        l->bytes += n;
        if (nl || l->eof)
            return -E2BIG;
        int r = fill(l);
        if (r < 0 && r != -EINTR)
            return r;
    }
}

int lines_next(struct lines *l, const char **ret_line, size_t *ret_len)
{
    size_t searched = 0; /* of the unread bytes, without a newline */
    for (;;) {
        size_t unread = l->buf.len - l->start;
        char *from = unread ? l->buf.data + l->start : NULL;
        char *nl = unread > searched ? memchr(from + searched, '\n', unread - searched) : NULL;
        if (nl || (l->eof && unread > 0)) {
            size_t len = nl ? (size_t)(nl - from) : unread;
            l->number++;
            l->start += len + (nl != NULL);
            l->bytes += len + (nl != NULL);
            *ret_line = from;
            *ret_len = len;
            return 1;
        }
        if (l->eof)
            return 0;
        if (unread > LINES_MAX) {
            l->number++;
            return skip_line(l);
        }
        searched = unread;
        int r = fill(l);
        if (r < 0)
            return r;
    }
}

/*
 * lines.h - reads what comes in blocks line by line, in large blocks, without
 * copying lines that lie within one block. */
#ifndef ENGRAMCTL_LINES_H
#define ENGRAMCTL_LINES_H

#include "shared/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LINES_MAX ((size_t)1 << 30) /* of one line, bytes; it is held in memory */

/* As read(2), with a negative errno. */
typedef ssize_t (*lines_read)(void *arg, void *buf, size_t n);

struct lines {
    lines_read read;
    void *arg; /* of read; borrowed */
    struct buf buf;
    size_t start; /* unread bytes are buf.data[start..buf.len) */
    bool eof;
    uint64_t number; /* of the line last returned, from 1 */
    uint64_t bytes;  /* consumed so far */
};

void lines_init(struct lines *l, lines_read read, void *arg);
void lines_done(struct lines *l);
/*
 * 1: a line without its newline, valid until the next call; 0: the end;
 * -E2BIG: a line over LINES_MAX was skipped (its number is l->number); -EINTR:
 * a signal came while waiting, call again; other errors end the reading. */
int lines_next(struct lines *l, const char **ret_line, size_t *ret_len);

#endif

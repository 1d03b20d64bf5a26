/*
 * findings.h - what a verification of the index finds, and who is told.
 *
 * Locking: of one thread. */
#ifndef ENGRAMFS_FINDINGS_H
#define ENGRAMFS_FINDINGS_H

#include <stdint.h>

struct findings {
    void (*problem)(void *arg, const char *line); /* NULL: they are counted only */
    void *arg;
    int64_t n;
};

/* One more, as a line of at most 255 bytes. */
__attribute__((format(printf, 2, 3))) void findings_add(struct findings *f, const char *fmt, ...);

#endif

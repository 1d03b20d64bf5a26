/*
 * refused.h - the replacements that `-o conflicts=refuse` has refused: the last ones, for
 * `.engram/conflicts`, and a line in the log for each, but for those that come in crowds. */
#ifndef ENGRAMFS_FS_REFUSED_H
#define ENGRAMFS_FS_REFUSED_H

#include <limits.h>

#include "seen.h"

enum { REFUSED_KEPT = 256 };

struct refused_one {
    int64_t time;     /* ns since the epoch */
    const char *what; /* the operation; a constant */
    struct seen_process who, writer;
    bool has_writer;
    uint64_t seen;                      /* version; 0: of another file that was there */
    uint64_t ino, version, size, state; /* what was there; state 0: not known */
    char path[PATH_MAX];
};

struct refused;

/* NULL: no memory. */
struct refused *refused_new(void);
void refused_free(struct refused *refused);
/* Keeps it in the place of the oldest, and logs it. */
void refused_add(struct refused *refused, const struct refused_one *one);
uint64_t refused_total(struct refused *refused);
/* Number `n`, from 1 on in the order in which they came. False: it is not kept any more, or not there yet. */
bool refused_get(struct refused *refused, uint64_t n, struct refused_one *ret_one);

#endif

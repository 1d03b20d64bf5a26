/*
 * tar_pax.h - what the headers before an entry say that libarchive passes over without a word, and numbers of
 * which it makes others. Pure. */
#ifndef ENGRAMCTL_TAR_PAX_H
#define ENGRAMCTL_TAR_PAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tar_number { TAR_MODE, TAR_UID, TAR_GID, TAR_SIZE, TAR_MAJOR, TAR_MINOR, TAR_NUMBERS };

struct tar_pax {
    const char *why; /* what is wrong with the entry; NULL: nothing */
    char global[64]; /* a key that a global header sets for all entries from here on; empty: none */
    /* If nothing is wrong: what the entry says, each in its range; the devices are 0 unless it is one. */
    int64_t number[TAR_NUMBERS];
    int64_t mtime;  /* ns; the nearest that is kept */
    unsigned given; /* bits of those that a pax header has said */
    bool timed;     /* the same of mtime */
};

/* How many bytes the headers have, to the end of the entry's own one, which is the last; 0: not all are
 * there. */
size_t tar_pax_length(const void *headers, size_t n);
/* `headers` begins with the first header of the entry; what follows its last one is not looked at. */
void tar_pax_look(const void *headers, size_t n, struct tar_pax *ret);

#endif

/*
 * tar_pax.h - what the pax headers before an entry say that libarchive passes over without a word. Pure. */
#ifndef ENGRAMCTL_TAR_PAX_H
#define ENGRAMCTL_TAR_PAX_H

#include <stddef.h>

struct tar_pax {
    const char *why; /* what is wrong with the entry; NULL: nothing */
    char global[64]; /* a key that a global header sets for all entries from here on; empty: none */
};

/* `headers` begins with the first header of the entry; what follows its last one is not looked at. */
void tar_pax_look(const void *headers, size_t n, struct tar_pax *ret);

#endif

/*
 * placed.h - which inode an import has put under which name. Whoever may rename there can put something of
 * his in its place before a hard link to that name comes, which the import makes as root, perhaps: so a link
 * is made to what the import itself has put there, or not at all. 24 bytes for a name. */
#ifndef ENGRAMCTL_PLACED_H
#define ENGRAMCTL_PLACED_H

#include "ctl/transfer/target_ops.h"

struct placed_name {
    uint64_t key; /* of directory and name; 0: a free slot */
    uint64_t ino; /* 0: of a store that nobody else has open */
};

/* Zero-initialised is empty. */
struct placed {
    struct placed_name *table;
    size_t n, cap; /* cap is 0 or a power of two */
};

/* What had the name before is forgotten. -ENOMEM. */
int placed_note(struct placed *p, tdir dir, const char *name, uint64_t ino);
bool placed_find(const struct placed *p, tdir dir, const char *name, uint64_t *ret_ino);
void placed_done(struct placed *p);

#endif

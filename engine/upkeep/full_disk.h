/*
 * full_disk.h - making room on a full disk, by compacting, before a mutation.
 *
 * Locking: a lock of its own, outermost of all. */
#ifndef ENGRAMFS_FULL_DISK_H
#define ENGRAMFS_FULL_DISK_H

#include "core/eng.h"

/* -ENOMEM. */
int full_disk_new(struct eng *eng);
void full_disk_free(struct eng *eng);
/* commit_begin(); on a full disk, makes room first. */
int full_disk_begin(struct eng *eng);
/*
 * After -ENOSPC, without locks: compacts if there is garbage worth it. True: the caller tries once more what
 * needs `size` bytes, or, `removing`, a removal. */
bool full_disk_make_room(struct eng *eng, uint64_t size, bool removing);

#endif

/*
 * room.h - making room on a full disk, by compacting, before a mutation.
 *
 * Locking: a lock of its own, outermost of all. */
#ifndef ENGRAMFS_ROOM_H
#define ENGRAMFS_ROOM_H

#include "core/eng.h"

/* -ENOMEM. */
int room_new(struct eng *eng);
void room_free(struct eng *eng);
/* commit_begin(); on a full disk, makes room first. */
int room_begin(struct eng *eng);
/*
 * After -ENOSPC, without locks: compacts if there is garbage worth it. True: the caller tries once more what
 * needs `size` bytes, or, `removing`, a removal. */
bool room_make(struct eng *eng, uint64_t size, bool removing);

#endif

/*
 * room.h - a full disk: making room before a mutation, by compacting.
 *
 * Locking: a lock of its own, outermost of all. */
#ifndef ENGRAMFS_ROOM_H
#define ENGRAMFS_ROOM_H

#include "core/eng.h"

/* -ENOMEM. */
int room_new(struct eng *eng);
void room_free(struct eng *eng);
/* commit_begin(), after room was made where the disk is full. */
int room_begin(struct eng *eng);
/*
 * After -ENOSPC, without locks: compacts if there is garbage worth it. True: try once more what needs `size`
 * bytes, or, `removing`, takes away. */
bool room_make(struct eng *eng, uint64_t size, bool removing);

#endif

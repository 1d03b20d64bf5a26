/*
 * hook.h - sets the fault hook of an open store, for tests that otherwise know engine.h only; and in which
 * order a compaction and its installer go on. */
#ifndef ENGRAMFS_TESTS_HOOK_H
#define ENGRAMFS_TESTS_HOOK_H

#include "base/fault.h"

#include <stdbool.h>
#include <stdint.h>

struct eng;
struct schedule;

/* fn NULL: none. Threads of the engine may run; none may be in an earlier fn that takes another arg. */
void hook_set(struct eng *eng, void (*fn)(void *arg, enum fault_point point), void *arg);

/* How many extents a mutation frees at once, so that small files are freed in slices. 0: as ever. */
void hook_slice(struct eng *eng, uint32_t n);
/* How many extents a block of a file may have, so that files of many small ones can be made. 0: as ever. */
void hook_block_extents(struct eng *eng, uint32_t n);
/* Chunks of the index that are not in use stay ready: a store that is open for a moment gives none back to
 * the system, which takes longer than all else. */
void hook_keep_chunks(struct eng *eng);
/* Gives the store, open for writing, a history, if $ENG_HISTORY is set, and the disk lets it. */
void hook_history(struct eng *eng);
/* Whether compactions have an installer (engine/compact.c) although the store has no threads. While no call
 * is under way. */
void hook_installer(struct eng *eng, bool beside);
/*
 * Compactions have an installer, and of the two threads only one runs at a time: at each fault point `seed`
 * decides which goes on, so that the order of their I/O calls is the same each time. Takes the hook. The
 * schedule outlives the store. */
struct schedule *schedule_new(struct eng *eng, uint64_t seed);
void schedule_free(struct schedule *schedule); /* NULL is fine */
/* How often the installer was given something, of all schedules. */
uint64_t schedules_given(void);

#endif

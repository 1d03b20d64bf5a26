/*
 * reserve.h - disk space set aside, so that a full disk can be left again. */
#ifndef ENGRAMFS_RESERVE_H
#define ENGRAMFS_RESERVE_H

#include "index/index.h"

struct eng;
struct io_file;

/* What may use the reserve. All but the last leave what a checkpoint of the whole index takes, without which
 * no room is ever won; of what is beside that: nothing is used; a half by removals; three quarters by those
 * that give back more than they take; nearly all by copies of survivors; all, and the rest, by what installs
 * these, and by checkpoints. */
enum reserve_use { RESERVE_NONE, RESERVE_SOME, RESERVE_MOST, RESERVE_COPIES, RESERVE_ALL };
/* What must be free besides the reserve for the store not to be short, bytes. */
#define RESERVE_ROOM_MIN (UINT64_C(128) << 10)

/* -ENOMEM. */
int reserve_new(struct eng *eng);
void reserve_free(struct eng *eng);
/* Reads how large the reserve of an earlier run is, before anything is written. */
void reserve_init(struct eng *eng);
/* Called once the store is recovered. */
void reserve_opened(struct eng *eng);
/* Bytes set aside now. */
uint64_t reserve_bytes(struct eng *eng);
/* Sets space aside, if there is room. */
void reserve_keep(struct eng *eng);
/* Fills up the reserve, if `room` bytes stay free beside it. False: the store is short (still). */
bool reserve_fill(struct eng *eng, uint64_t room);
/* How many bytes must become free before that can be, as far as the disk tells. */
uint64_t reserve_lacks(struct eng *eng, uint64_t room);
/* While frozen the reserve grows only if a third is missing, or to be whole again after a full disk. */
void reserve_freeze(struct eng *eng, bool freeze);
/* The most bytes that a checkpoint can need: those of the whole index. */
uint64_t reserve_for_checkpoint(struct eng *eng);
/* Whether the disk was full, and has not been seen with room since. */
bool reserve_is_short(struct eng *eng);
void reserve_set_short(struct eng *eng);
/* Whether it is short, and a write has met that: the disk may say that it has room, as over a quota. */
bool reserve_was_refused(struct eng *eng);
/* How often the store has become short, or has been seen with room again. */
uint64_t reserve_turns(struct eng *eng);
/* A file was removed: where the file system takes its time to give the space back, that is waited for before
 * a change is refused. */
void reserve_removed(struct eng *eng);
/* Before a batch of `size` bytes, which changes so many chunks more (index_changes()): whether disk and
 * reserve, as far as the disk tells, keep then what this use must leave. What the reserve gave back for a
 * checkpoint is not for removals, wherever it lies. */
bool reserve_allows(struct eng *eng, enum reserve_use use, uint64_t size, const uint64_t more[INDEX_TABLES]);
/* The same by the figures of the disk alone, where it tells some; nothing is set aside for it. */
bool reserve_leaves(struct eng *eng, enum reserve_use use, uint64_t size, const uint64_t more[INDEX_TABLES]);
/* After -ENOSPC: gives space back to the file system. True: what failed may be tried again. */
bool reserve_spend(struct eng *eng, enum reserve_use use);
/* Likewise, for work that changes so many chunks of each table, which a checkpoint has to write then. */
bool reserve_spend_for(struct eng *eng, enum reserve_use use, const uint64_t more[INDEX_TABLES]);
/* After -ENOSPC for [from, to) of a file: gives it so much of the reserve, of which others may take some
 * meanwhile. 0: to be tried again, and what the file system can keep for the file it keeps. -ENOSPC: all was
 * given; errors of the file. */
int reserve_give(struct eng *eng, struct io_file *file, uint64_t from, uint64_t to);
/* Before work that needs so many bytes: spends as much of the reserve as the disk alone does not have. False:
 * both together do not. */
bool reserve_open_up(struct eng *eng, uint64_t needed);

#endif

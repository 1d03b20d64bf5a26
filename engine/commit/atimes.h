/*
 * atimes.h - access times of what was read, kept in memory and written in batches.
 *
 * Locking: a lock of its own, a leaf. */
#ifndef ENGRAMFS_ATIMES_H
#define ENGRAMFS_ATIMES_H

#include "core/eng.h"

/* -ENOMEM. */
int atimes_new(struct eng *eng);
void atimes_free(struct eng *eng);
/* Makes `now` the pending atime of the inode. False: there is no room before atimes_flush(). */
bool atimes_add(struct eng *eng, uint64_t ino, int64_t now);
/* Writes the pending access time of attr->ino, if any, to attr. */
void atimes_overlay(struct eng *eng, struct eng_attr *attr);
/* Under log.lock, after an atime was set: forgets the pending one. */
void atimes_drop(struct eng *eng, uint64_t ino);
/* Writes the pending times to the log; those that cannot be written stay pending. */
void atimes_flush(struct eng *eng);
/* How many are pending. */
uint32_t atimes_count(const struct eng *eng);

#endif

/*
 * atimes.h - access times of what was read, kept in memory and written in batches.
 *
 * Locking: a lock of its own, a leaf.
 */
#ifndef ENGRAMFS_ATIMES_H
#define ENGRAMFS_ATIMES_H

#include "core/eng.h"

/* -ENOMEM. */
int atimes_new(struct eng *eng);
void atimes_free(struct eng *eng);
/* Keeps `now` as the atime of the inode. False: there is no room until atimes_flush(). */
bool atimes_add(struct eng *eng, uint64_t ino, int64_t now);
/* Shows the access time that is kept for attr->ino, if any. */
void atimes_overlay(struct eng *eng, struct eng_attr *attr);
/* Forgets it: the atime was set; under the log lock. */
void atimes_drop(struct eng *eng, uint64_t ino);
/* Writes what is kept to the log; what could not be written stays. */
void atimes_flush(struct eng *eng);
/* How many inodes have one. */
uint32_t atimes_count(const struct eng *eng);

#endif

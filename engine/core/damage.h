/*
 * damage.h - damage that was found: reported once for each extent, and kept for eng_damaged().
 *
 * Locking: a lock of its own, a leaf. */
#ifndef ENGRAMFS_DAMAGE_H
#define ENGRAMFS_DAMAGE_H

#include "admin.h"
#include "disk/codec.h"

struct eng;

/* One damaged extent: what eng_damaged() tells, and what shows whether a memory still names it. */
struct damage {
    struct eng_damage told;
    uint64_t ino; /* whose the locator is: told.ino, or a past state of it */
    uint64_t off; /* where in the file it stands; EXTENT_XATTR_OFF for an xattr */
    struct locator loc;
};

/* -ENOMEM. */
int damage_new(struct eng *eng);
void damage_free(struct eng *eng);
/* Records that the extent of inode, or past state, `ino` at file offset `off` cannot be read or verified.
 * Locks index_lock. */
void damage_record(struct eng *eng, uint64_t ino, uint64_t off, const struct locator *loc,
                   const char *reason);
/* The same of a file of the store's own that a recovery needs; `reason` says which part of it. Reports
 * nothing. */
void damage_record_file(struct eng *eng, const char *name, uint64_t offset, const char *reason);
/* What was recorded of such files is no longer so. */
void damage_forget_files(struct eng *eng);
/* What is said of an extent that could not be read or verified with this error. */
const char *damage_reason(int error);
/* Copies all that was recorded; the array becomes the caller's. -ENOMEM. */
int damage_copy(struct eng *eng, struct damage **ret_damage, size_t *ret_n);

#endif

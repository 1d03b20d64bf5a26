/*
 * backup_past.h - is what the folder of a backup holds part of the past of the store?
 *
 * Both logs say so themselves: a batch has a number, and a sum that covers the sums of all batches before it.
 * The store has in its past what the folder has if one of the folder's last batches is in the store's log,
 * and those behind it in the folder change nothing that anybody would miss: access times, which a mere look
 * at a mounted backup writes, and what compaction and the freeing of removed files do. A log that was
 * compacted has lost its older batches, and cannot tell. For that case alone each run leaves a note in the
 * folder, of the batch up to which it has filled it: a folder that still ends there holds nothing but what a
 * run has put there. */
#ifndef ENGRAMCTL_BACKUP_PAST_H
#define ENGRAMCTL_BACKUP_PAST_H

#include "ctl/backup_files.h"

/* Has the folder the file that this room keeps there under this name? */
bool backup_past_is_note(const char *name);
/* Notes in `b` with which batch the files of the moment end, as the store has them. */
void backup_past_look(struct backup *b);
/* 0, or -EEXIST if the folder holds what the store does not have, or nobody can tell; which was said. */
int backup_past_check(struct backup *b);
/* Makes it durable that the folder may end from now on with the batch that backup_past_look() has found. */
int backup_past_note(struct backup *b);

#endif

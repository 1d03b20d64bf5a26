/*
 * backup.h - one run of `engramctl backup`. */
#ifndef ENGRAMCTL_BACKUP_H
#define ENGRAMCTL_BACKUP_H

#include "ctl/backup_files.h"

/* Each returns 0, or a negative errno when it has said what is wrong. */

/* Opens both folders, locks the one to copy to until it is closed, and has the mount hold its files; makes
 * sure that the store is the mount's, and that what is in the folder is a backup of it or nothing. */
int backup_open(struct backup *b);
void backup_close(struct backup *b);
/* The files of the moment, as the mount lists them. */
int backup_list(struct backup *b);
/* Refuses a folder that has what the store has not, by the two logs; backup_past.h. */
int backup_compare(struct backup *b);
/* Copies those that are missing or have changed. */
int backup_copy(struct backup *b);
/* Notes that the file may be damaged in the copy; NULL: any of them. */
int backup_suspect(struct backup *b, const char *name);
bool backup_is_suspect(const struct backup *b, const char *name);
/* Prepares a second run, which compares the suspects as a whole: the mount holds its files again. Then come
 * backup_list(), backup_copy(), which keeps the hold this time, and backup_adopt(). */
int backup_again(struct backup *b);
/* Gives the copies their names, and then takes away what is not of the moment. */
int backup_adopt(struct backup *b);

#endif

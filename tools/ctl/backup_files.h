/*
 * backup_files.h - the files of a backup: from the folder of a store to another, one by one.
 *
 * A file is copied under a name of this program's, synced, and gets its own name when all files of the moment
 * are there; until then an earlier backup in the folder stays as it was. Sealed segments and checkpoints
 * never change: one that has the same size, beginning and end is taken as it is (the end has the sums that
 * chain a batch to all before it). The last segment of the log is compared as a whole: nothing behind it says
 * how far it was durable, so that a recovery may take damage in it for a torn end. So is a suspect: a file
 * that the verification found damaged in the copy, or may have. A segment that is damaged in the store takes
 * the place of none that is there with the same size: that may be the last whole one. */
#ifndef ENGRAMCTL_BACKUP_FILES_H
#define ENGRAMCTL_BACKUP_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct backup_item {
    char name[40];
    uint64_t size;   /* what of it belongs to the moment, bytes */
    bool is_end;     /* the last segment of the log, which is compared as a whole */
    bool is_suspect; /* so is this */
    bool is_waiting; /* copied, synced, under the other name */
};

/* Of the log: its number, and its sum, which covers all batches before it. Number 0: none. */
struct backup_batch {
    uint64_t seq, sum;
};

struct backup {
    const char *mountpoint, *store, *path; /* borrowed */
    uid_t user;                            /* who has mounted it */
    int store_fd, to_fd, hold_fd;          /* -1: none */
    bool is_first;                         /* the folder is no backup yet: each file gets its name at once */
    /* Its list of names is damaged: it is no store, and was none since the run that was interrupted. */
    bool is_broken;
    struct backup_item *items; /* segments by number, then checkpoints */
    size_t n, cap;
    char (*suspects)[40]; /* names */
    size_t n_suspects;
    bool suspects_all;        /* the copy could not be read at all */
    bool is_again;            /* a second run over it, for the suspects */
    uint64_t seq;             /* of a batch that the mount had before it listed them: the copy must have it */
    struct backup_batch end;  /* the last one of what is copied; see backup_past.h */
    struct backup_batch past; /* and of what the folder had before */
    bool replace;             /* also a folder that has what the store has not */
    uint64_t rate;            /* bytes a second; 0: unlimited */
    uint64_t total_bytes, copied_bytes, copied_files;
    struct timespec start;
};

/* Files that have not their own name yet begin with it. Each function that fails says why. */
#define BACKUP_PREFIX ".engram-backup."

/* Is it a name that the store or this program gives to a file in such a folder? */
bool backup_is_store_name(const char *name);
bool backup_is_own_name(const char *name);
/* Is it, as it lies on the disk, what the store has of it? */
bool backup_is_same(const struct backup *b, const struct backup_item *item);
/* A path to a folder that is open, whatever lies at its name by now. */
#define BACKUP_FOLDER_SIZE 32
void backup_folder(int fd, char ret[BACKUP_FOLDER_SIZE]);
/* Do the checksums of a segment of the store not hold? */
bool backup_is_source_damaged(const struct backup *b, const struct backup_item *item);
/* Copies one file, unless it is there, and notes in `item` whether it waits for its name. */
int backup_file(struct backup *b, struct backup_item *item);
/* The same for a small one, which is compared as a whole. 1: the store has none. */
int backup_small_file(struct backup *b, const char *name, struct backup_item *item);
int backup_give_name(struct backup *b, struct backup_item *item);

#endif

/*
 * beneath.h - directories beneath one root, each known by a number. For a program that may do more than those
 * who change the tree meanwhile: root's import into a mount that others use, say.
 *
 * A directory is a name in another one and the inode it had when it was added. Its descriptor is found again
 * at any time, without following a symlink, without leaving the root, and only if the inode is the same:
 * whoever swaps a directory for a link or for another directory gets an error out of us, and nothing else.
 * Callers use a name in such a descriptor, a single component, and follow nothing either.
 *
 * Errors: -EREMCHG: something else is there now; -EXDEV: in another mount; and those of the system. */
#ifndef ENGRAMCTL_BENEATH_H
#define ENGRAMCTL_BENEATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct beneath;
struct stat;

/* The directory that `fd` is of is number 0. `one_mount`: nothing mounted in it is entered. */
int beneath_open(int fd, bool one_mount, struct beneath **ret_beneath);
/* NULL is fine. */
void beneath_free(struct beneath *b);
/* The root as a descriptor that can be read and flushed. Borrowed. */
int beneath_root(const struct beneath *b);
/* Another directory: `name` in `parent`, which has this inode. Not opened yet. The same one, added again, has
 * the number that it had. */
int beneath_add(struct beneath *b, size_t parent, const char *name, uint64_t dev, uint64_t ino,
                size_t *ret_dir);
/*
 * A directory that was just made by us: added if `name` is an empty directory of ours with mode 0700, which
 * whatever could have been put in its place is not. */
int beneath_add_made(struct beneath *b, size_t parent, const char *name, size_t *ret_dir);
/* An O_PATH descriptor of a directory, or an error. Borrowed; valid during the next two calls. */
int beneath_fd(struct beneath *b, size_t dir);

/*
 * openat(2) of a single name in the descriptor of a directory; `flags` make nothing. -EXDEV: one_mount, and
 * something is mounted there: whose it is is asked for nothing, and can neither answer with an error of his
 * choice nor let us wait. */
int beneath_open_at(struct beneath *b, int at, const char *name, int flags);
/* fstatat(2) of it, not followed, and never of what is mounted there: -EXDEV. */
int beneath_stat_at(struct beneath *b, int at, const char *name, struct stat *ret_st);
/* Likewise; without one_mount, -EREMOTE for what is in a FUSE that is not root's, mounted somewhere beneath:
 * its daemon says what is there, and what that may, so it is asked for nothing. From then on beneath_fd() and
 * beneath_open_at() refuse it, too: it may come between a look and what follows. */
int beneath_stat_wary(struct beneath *b, int at, const char *name, struct stat *ret_st);
/* Whether something has the name, be it mounted there: 1, 0, or an error. */
int beneath_is_taken(struct beneath *b, int at, const char *name);
/* Whether what is on this device may be read and written. */
bool beneath_has(const struct beneath *b, uint64_t dev);
/* 0, or why the root answers no more, not even from a cache: then nothing beneath it does. */
int beneath_answers(const struct beneath *b);

/* chmod(2) of an O_PATH descriptor. */
int beneath_chmod(int fd, uint32_t mode);

#endif

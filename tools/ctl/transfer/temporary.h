/*
 * temporary.h - files that have not their own name yet: how they are called, and what becomes of those that a
 * killed import has left.
 *
 * Anybody may give that name to a file of his: it is left out where memories are read, and that is told, but
 * it is removed for the user only who owns it. One of a living import is locked (flock(2)) as long as it has
 * the name. */
#ifndef ENGRAMCTL_TEMPORARY_H
#define ENGRAMCTL_TEMPORARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct beneath;

#define TEMPORARY_BUF 64

/* How often a name is tried, if somebody has it. */
#define TEMPORARY_TRIES 100
/* A name that nobody knows beforehand: else he could take all of them. */
void temporary_name(char ret_name[TEMPORARY_BUF]);
/* The same number, for a name of another form. */
uint64_t temporary_number(void);
bool temporary_is(const char *name, size_t len);
/* Locks a file that was just made by the name. -EEXIST: somebody has removed it before that. */
int temporary_lock(struct beneath *dirs, int fd, int at, const char *name);
/* linkat(2) of what the O_PATH descriptor `fd` is of, whatever has its name by now. */
int temporary_link_new(int fd, int to, const char *name);
/* The same in place of what has the name, at once: by a temporary one. */
int temporary_link_over(int fd, int to, const char *name);
/* Removes what killed imports of this user have left in a directory. */
void temporary_sweep(struct beneath *dirs, int at);

#endif

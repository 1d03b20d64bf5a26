/*
 * replace.h - a memory of a mount gives way to a new file, in one step, and only if it is still what it was
 * taken for: what `put` and `edit` have in common.
 *
 * The new file has no name until it is complete, so that one that is killed leaves nothing. No call gives a
 * file without a name one that is taken, so it then has for a moment a temporary one (temporary.h) beside the
 * memory, is given its guard there, and is renamed; the daemon compares under its lock.
 *
 * What goes wrong is told by cli_error(); functions that return a code return one of CLI_. */
#ifndef ENGRAMCTL_REPLACE_H
#define ENGRAMCTL_REPLACE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/* The longest guard: 64 hexadecimal digits. */
#define REPLACE_GUARD_BUF 80

struct replace {
    const char *path; /* as the user gave it. borrowed */
    char name[NAME_MAX + 1];
    int folder;
    int old;        /* the memory, for reading; -1: nothing has the name */
    uint64_t state; /* of it, when it was opened */
    int new;        /* what takes its place, open for writing; empty at first */
    /* A guard that is a state refuses also what somebody else has made with the same content, which it lets
     * pass by itself (a retry): always beside others that ask for this, as far as can be seen of others. */
    bool is_exact;
};

/* What a user gives as a state: `state:N`, N or 64 hexadecimal digits, as the attribute wants it. */
bool replace_parse_guard(const char *text, char ret_guard[REPLACE_GUARD_BUF]);

/* Finds the folder of a path in a mount; a symbolic link at its end is followed. replace_done() either
 * way. */
int replace_find(struct replace *r, const char *path);
/* Opens the memory, and a new file; anew, if they were open. */
int replace_open(struct replace *r);
/* Only the memory anew: for another attempt at replace_commit() with the new file as it is. */
int replace_open_again(struct replace *r);
/* All that can be read. -errno, which is not told. */
int replace_copy(int from, int to);
/*
 * The new file gets owner, mode and fields of the memory, and its name; on return it is on the disk. `guard`:
 * of replace_parse_guard(); NULL: none, but where nothing had the name when it was opened nothing may have it
 * now. 0, or -ECANCELED: the memory is not what it was taken for (-EEXIST: there is one by now), nothing has
 * changed, and nothing was told. -EIO: something else, which was told. `ret_state`: that of the new one; may
 * be NULL. */
int replace_commit(struct replace *r, const char *guard, uint64_t *ret_state);
/* What the path is now: its state, 0 if that is not known, e.g. since nothing is there. */
uint64_t replace_state_now(const struct replace *r);
void replace_done(struct replace *r);

#endif

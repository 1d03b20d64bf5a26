/*
 * due_names.h - due names: those that a backup has still to give to files, and to take away: a list in the
 * folder, which counts as soon as it is there. Before it is, the folder has what it had; from then on what
 * the list says, however far the giving has come: whoever writes gives the rest first, whoever reads looks
 * through the list.
 *
 * The file NAME waits under the name DUE_PREFIX NAME. Locking: none; a writer has the lock of the store. */
#ifndef ENGRAMFS_DUE_NAMES_H
#define ENGRAMFS_DUE_NAMES_H

#include "admin.h"

#define DUE_PREFIX ".engram-backup."
#define DUE_LIST DUE_PREFIX "names"
#define DUE_NAME_SIZE (sizeof DUE_PREFIX + sizeof((struct eng_due_name *)0)->name)

struct due_names {
    struct eng_due_name *names;
    size_t n;
};

/* The list of the folder; none is no error. -EBADMSG: there is one, and it is damaged. */
int due_names_read(int folder, struct due_names *ret_due);
void due_names_free(struct due_names *due);
/* What the list says of a name; NULL: nothing. */
const struct eng_due_name *due_names_find(const struct due_names *due, const char *name);
/* Gives the names, durably, and then takes the list away. */
int due_names_give(int folder, const struct due_names *due);
/* The name under which the file waits. */
void due_names_waiting(const char *name, char ret[DUE_NAME_SIZE]);

#endif

/*
 * actors.h - how many names of processes users may be noted under who are not trusted. A store knows so many
 * pairs of a user and a name, for good (eng_act_as()): whoever may write could take them all by changing his
 * name. */
#ifndef ENGRAMFS_FS_ACTORS_H
#define ENGRAMFS_FS_ACTORS_H

#include <stdbool.h>
#include <sys/types.h>

/* May that user be noted under that name? One person may under some, all together under half of what a store
 * knows. Takes a lock of its own, a leaf. */
bool actors_has_room(uid_t uid, const char *name);

#endif

/*
 * store.h - what the files of this room share. */
#ifndef ENGRAMFS_STORE_H
#define ENGRAMFS_STORE_H

#include "core/eng.h"

/* Reads the superblock, creating the store where that is allowed. `why`: explanation on failure. */
int create_or_load(struct eng *eng, char why[256]);
/* Makes a recovered store that is to be written one of today's format, see upgrade.c. `why`: explanation on
 * failure; the store is whole then, and of the format that its superblock says. */
int upgrade_store(struct eng *eng, char why[256]);
/*
 * Sets INCOMPAT_HISTORY, durably, if the store does not have it: afterwards ops of history may be committed,
 * and checkpoints have their tables. -EROFS; -EBUSY: the store is held; an error of writing: no such op may
 * be committed, and the store is as it was, but that an older program may refuse it from now on. */
int store_set_history(struct eng *eng);
/* The first batch of a store: its root directory. */
int create_root(struct eng *eng);
/* Takes over what the file "config" says. */
void config_load(struct eng *eng);
/* The store is open: what the file asks for of a history holds. */
void config_opened(struct eng *eng);

#endif

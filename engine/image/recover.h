/*
 * recover.h - from files to an index. Runs before any thread starts. */
#ifndef ENGRAMFS_RECOVER_H
#define ENGRAMFS_RECOVER_H

#include "core/eng.h"

/* Loads the newest valid checkpoint and replays the log. `why`: explanation on failure. */
int recover_store(struct eng *eng, char why[256]);

#endif

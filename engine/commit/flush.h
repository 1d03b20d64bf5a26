/*
 * flush.h - durability: group commit, with its figures and its consequences. */
#ifndef ENGRAMFS_FLUSH_H
#define ENGRAMFS_FLUSH_H

#include "core/eng.h"

/* log_sync(), timed; a failure turns the store read-only (I11). */
int flush_log(struct eng *eng);
/* For eng_close(): as eng_sync(), but of the orphans it frees some, and the next opening finds the others. */
int sync_some(struct eng *eng);

#endif

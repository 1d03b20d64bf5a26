/*
 * changes.h - what changed in the store, as JSON lines, for the files `changes` and `changes-since/SINCE`. */
#ifndef ENGRAMFS_CONTROL_CHANGES_H
#define ENGRAMFS_CONTROL_CHANGES_H

#include "control/text_buffer.h"
#include "session.h"

/* The latest changes, CHANGES_LATEST at least where so many are known: whole batches, oldest first. */
#define CHANGES_LATEST 1000
int changes_latest(struct session *session, struct text *t);
/* The changes after position `since`: whole batches, 1 MiB or the first batch. -ESTALE: they are not all
 * known any more, or it lies in the future. */
int changes_since(struct session *session, uint64_t since, struct text *t);

#endif

/*
 * acting.h - who makes the changes of a thread (eng_act_as()), and by which number the log calls them.
 *
 * Locking: log.lock, but for eng_act_as(). */
#ifndef ENGRAMFS_ACTING_H
#define ENGRAMFS_ACTING_H

#include "core/eng.h"

/* -ENOMEM. */
int acting_new(struct eng *eng);
void acting_free(struct eng *eng);
/* OP_BY, as of this thread. False: it acts for nobody, or nobody more can be known. Its name lasts until the
 * next call of the thread. */
bool acting_by(struct eng *eng, struct op *ret_op);

#endif

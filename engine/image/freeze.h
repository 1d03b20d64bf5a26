/*
 * freeze.h - a frozen copy of the index beside the live one: its locks, and the memory that it costs.
 *
 * While a freeze lives whoever writes copies the chunks that the frozen copy sees (index/table.h), under
 * log.lock and index_lock. So their memory is made ready before, and given back after, in small steps.
 *
 * Locking: each function takes the locks that it needs; the caller holds none of log.queue, log.lock and
 * index_lock. */
#ifndef ENGRAMFS_FREEZE_H
#define ENGRAMFS_FREEZE_H

#include "core/eng.h"

/* Between the two calls the caller may freeze, thaw and change the live index: log.lock and index_lock are
 * held. freeze_lock() queues as mutations do, since its callers come back at once. */
void freeze_lock(struct eng *eng);
void freeze_unlock(struct eng *eng);
/* Room for a freeze of the index as it is now. -ENOMEM. */
int freeze_room(struct eng *eng, bool with_dirty, struct index_room *ret_room);
/* A frozen copy for as long as the caller likes; everybody waits for the copying of its arrays alone.
 * -ENOMEM. */
int freeze_take(struct eng *eng, struct index *ret_view, uint64_t *ret_freeze);
/* Ends it, and gives memory back. */
void freeze_give_back(struct eng *eng, struct index *view, uint64_t freeze);
/* Touches memory for the copies without a lock: a page fault can take milliseconds where a host has to find
 * the page. To be called before a freeze, and from time to time while it lives. */
void freeze_keep_warm(struct eng *eng);
/* The same before a freeze that ends soon: no more than freeze_trim() keeps. */
void freeze_warm_briefly(struct eng *eng);
/* Gives back what removals have left empty. */
void freeze_shrink(struct eng *eng);
/* Gives memory back after a thaw, and after an opening: what tables began with. */
void freeze_trim(struct eng *eng);

#endif

/*
 * clocks.h - what a batch needs to know of time: which states are settled, whether it begins a moment, how
 * old the store is (docs/lab/history-design.md, 5 and 6).
 *
 * No clock of people decides what is kept or for how long. A state is settled by CLOCK_MONOTONIC. The age of
 * the store is seconds of CLOCK_BOOTTIME while it is open; of the gap between two openings what the clock of
 * people says, but not less than nothing, and a day at most.
 *
 * Locking: log.lock. */
#ifndef ENGRAMFS_CLOCKS_H
#define ENGRAMFS_CLOCKS_H

#include "core/eng.h"

/* -ENOMEM. */
int clocks_new(struct eng *eng);
void clocks_free(struct eng *eng);

/* What follows, up to clocks_note(), is as of now. */
void clocks_look(struct eng *eng);
/* The last batch of which what it changed is settled, if nothing has changed it since: it stands for
 * history_settle or longer. What the opening found is. */
uint64_t clocks_settled(struct eng *eng);
/* The store's age in seconds, which never falls. */
uint64_t clocks_age(struct eng *eng);

#define MOMENT_NS UINT64_C(10000000)
/* Whether the next batch begins a moment: the last one did so MOMENT_NS ago, or nothing may come to it. */
bool clocks_is_moment(struct eng *eng);
/* Somebody looks at the store as it is now: what comes later belongs to another moment. */
void clocks_end_moment(struct eng *eng);
/* OP_MOMENT, as of now. */
struct op clocks_moment(struct eng *eng);
/* The transaction is published, as the last batch. */
void clocks_note(struct eng *eng, const struct txn *txn);

#endif

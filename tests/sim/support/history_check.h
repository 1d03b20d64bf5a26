/*
 * history_check.h - whether a store that keeps a history shows, at the times of the operations of a workload,
 * what the model held then. */
#ifndef ENGRAMFS_TESTS_HISTORY_CHECK_H
#define ENGRAMFS_TESTS_HISTORY_CHECK_H

#include "workload.h"

/* Of a store that holds the state after `step`: some of the operations before, chosen by `seed`. What is not
 * older than the history is to keep must be there; what is there must be right. False, with the reason. */
bool history_agrees(struct eng *eng, const struct workload *w, size_t step, uint64_t seed, const char *when,
                    char *why);

#endif

/*
 * hook.h - sets the fault hook of an open store, for tests that otherwise know engine.h only.
 */
#ifndef ENGRAMFS_TESTS_HOOK_H
#define ENGRAMFS_TESTS_HOOK_H

#include "fault.h"

struct eng;

/* fn NULL: none. While no call is under way. */
void hook_set(struct eng *eng, void (*fn)(void *arg, enum fault_point point), void *arg);

#endif

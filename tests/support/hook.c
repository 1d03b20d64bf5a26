/*
 * hook.c - see hook.h.
 */
#include "hook.h"

#include "engine_impl.h"

void hook_set(struct eng *eng, void (*fn)(void *arg, enum fault_point point), void *arg)
{
    eng->hook = (struct fault_hook){fn, arg};
}

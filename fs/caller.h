/*
 * caller.h - who asks: the process whose request is being handled. */
#ifndef ENGRAMFS_FS_CALLER_H
#define ENGRAMFS_FS_CALLER_H

#include <stdbool.h>

#include "session.h"

/* As the engine wants to know it; each entry that is answered is referenced by the kernel. */
struct eng_caller caller_of(fuse_req_t req);
/*
 * The engine, for a change that the caller asked for: until the next call this thread makes changes for it.
 * The name of its process may be one that it had some 15 ms ago, or one that had its number then. */
struct eng *caller_engine(fuse_req_t req);
/* Whether `gid` is the caller's group or one of its other groups, of which the kernel allows NGROUPS_MAX. */
bool caller_in_group(fuse_req_t req, gid_t gid);
/* Whether modes do not bind the caller: it is uid 0, has CAP_DAC_OVERRIDE or CAP_DAC_READ_SEARCH, and is in
 * the daemon's user namespace, as far as can be told. */
bool caller_is_above_modes(fuse_req_t req);
/* The process of the thread that asks. 0: it cannot be told. */
pid_t caller_process(fuse_req_t req);

#endif

/*
 * caller.h - who asks: the process whose request is being handled. */
#ifndef ENGRAMFS_FS_CALLER_H
#define ENGRAMFS_FS_CALLER_H

#include <stdbool.h>

#include "session.h"

/* As the engine wants to know it; each entry that is answered is referenced by the kernel. */
struct eng_caller caller_of(fuse_req_t req);
/* Whether `gid` is the caller's group or one of its other groups, of which the kernel allows NGROUPS_MAX. */
bool caller_in_group(fuse_req_t req, gid_t gid);

#endif

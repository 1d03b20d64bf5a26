/*
 * ops.h - the table of FUSE requests. */
#ifndef ENGRAMFS_FS_OPS_H
#define ENGRAMFS_FS_OPS_H

#include "session.h"

extern const struct fuse_lowlevel_ops ops_table;

#endif

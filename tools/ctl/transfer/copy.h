/*
 * copy.h - copies a whole tree from one target to another: files, directories,
 * symlinks, special files, modes, times, owners (as far as the user may),
 * attributes, hard links as hard links, holes of large files as holes. */
#ifndef ENGRAMCTL_COPY_H
#define ENGRAMCTL_COPY_H

#include "ctl/transfer/result.h"
#include "ctl/transfer/target.h"

enum copy_flags {
    COPY_FIT = 1, /* of more attributes than a file can have as many as fit; the others are told */
};

/*
 * Existing files are replaced, existing directories are filled. Returns 0 even
 * if single files failed; -EINTR when interrupted; other errors ended it. */
int copy_tree(struct target *from, struct target *to, unsigned flags, struct copy_result *ret);

#endif

/*
 * target_backends.h - the two implementations of struct target_ops, for target.c alone. Both are given a
 * descriptor of the folder (borrowed), and never look at the path again, which may lead elsewhere by now:
 * t->path is for messages. */
#ifndef ENGRAMCTL_TARGET_BACKENDS_H
#define ENGRAMCTL_TARGET_BACKENDS_H

#include "ctl/transfer/target_ops.h"

/* target_store.c: a store folder, through the engine. `flags` are enum target_flags. */
int target_store_open(struct target *t, int fd, unsigned flags, char ret_why[512]);
/* target_open_view() of such a one. */
int target_store_view(struct target *t, const char *at, struct eng_view **ret_view, char ret_why[512]);
/* target_posix.c: a mount or any other tree, through system calls. */
int target_posix_open(struct target *t, int fd, char ret_why[512]);

#endif

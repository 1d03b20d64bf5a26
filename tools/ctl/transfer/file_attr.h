/*
 * file_attr.h - what a file of a mount or tree has beside its content, by a descriptor of it: extended
 * attributes, owner, mode and times. Of what others may change nothing is done by a name. Calls return 0 or a
 * negative errno. */
#ifndef ENGRAMCTL_FILE_ATTR_H
#define ENGRAMCTL_FILE_ATTR_H

#include "ctl/transfer/target_ops.h"

#include <sys/stat.h>

/* Only root can give files away; for others everything is their own, as with cp -a. */
bool file_gives_away(uint32_t uid, uint32_t gid);
/* flistxattr(2). A file system without attributes has none; a mount of ours has them, even if it does not
 * show them. */
ssize_t file_list_xattrs(const struct target *t, int fd, char *list, size_t size);
/* -E2BIG: they do not fit. */
int file_set_xattr(int fd, const char *name, const void *value, size_t size);
/* All but the guarded ones. */
int file_set_xattrs(int fd, const struct eng_record *rec);
/* Those, last of all: a new owner takes a capability away. */
int file_set_guarded(struct target *t, int fd, const struct eng_record *rec);
/* A file that is written anew keeps nothing of the old memory's fields. */
int file_remove_stale_xattrs(const struct target *t, int fd, const struct eng_record *rec);
/* Owner, mode and time of a file that is complete. `made`: what a new file was when it was made, which nobody
 * but us changes; a mount tells that without a request, but not after a write. NULL: it has to be asked. */
int file_settle(int fd, const struct eng_record *rec, const struct stat *made);
/* The same of an O_PATH descriptor, as setattr() of struct target_ops has it. */
int file_set_attr(int fd, const struct stat *st, const struct target_attr *attr, unsigned mask);

#endif

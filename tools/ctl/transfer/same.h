/*
 * same.h - what is different between a record and the file of its name, so that only that is written. */
#ifndef ENGRAMCTL_SAME_H
#define ENGRAMCTL_SAME_H

#include "ctl/transfer/target_ops.h"

/* The mode that a file of owner `have_uid`, `have_gid` may get, which was of `uid`, `gid`: set-ID bits lend
 * the rights of one owner, not of another. */
uint32_t same_mode(uint32_t mode, uint32_t uid, uint32_t gid, uint32_t have_uid, uint32_t have_gid);

/* 1: the regular file of `attr` has the content and the attributes of the record; 0: it has not; or a
 * negative errno, if that cannot be known and nothing may be put there either. */
int same_record(struct target *t, const struct eng_record *rec, const struct target_attr *attr);
/* Whether an open file has the record's attributes, and no other user.* ones. As above. */
int same_xattrs(struct target *t, struct target_file *f, const struct eng_record *rec);
/* Makes that so. */
int same_set_xattrs(struct target *t, struct target_file *f, const struct eng_record *rec);
/* The same, but others stay. -E2BIG: not all fit; all that do are there. */
int same_add_xattrs(struct target *t, struct target_file *f, const struct eng_record *rec);
/*
 * Which attributes are to be set (ENG_SET_*), and to what: *ret_want, which is for setattr() of that file.
 * `owner`: owners can be set. */
unsigned same_changes(const struct eng_record *rec, const struct target_attr *have, bool owner,
                      struct target_attr *ret_want);
/* Whether these changes give the file to somebody else, or take rights away. Whoever has it open keeps it
 * open, for writing, perhaps: another file is to have the name then. Not so in a store, which nobody else has
 * open. */
bool same_takes_away(const struct target *t, const struct target_attr *have, const struct target_attr *want,
                     unsigned mask);

#endif

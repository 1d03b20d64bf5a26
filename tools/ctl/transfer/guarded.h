/*
 * guarded.h - attributes that the system guards, trusted.* and security.*: root sets them, if at all, and
 * they are carried along with the fields of a memory. */
#ifndef ENGRAMCTL_GUARDED_H
#define ENGRAMCTL_GUARDED_H

#include "ctl/transfer/target_ops.h"

#include <stdbool.h>

bool guarded_is(const char *name);
/* Whether some of the record's attributes are; a new owner may take those away. */
bool guarded_any(const struct eng_record *rec);
/* One of `entry` cannot be set: 0 if that was told, and the rest is to be kept; or the error, if it is not of
 * this attribute. */
int guarded_refuse(struct target *t, const char *entry, const char *name, int error);

#endif

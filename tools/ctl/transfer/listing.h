/*
 * listing.h - what is in a directory of a mount or tree: scan_open() and so on of target_posix.c. An entry of
 * which nothing but its name is known does not end the listing. */
#ifndef ENGRAMCTL_LISTING_H
#define ENGRAMCTL_LISTING_H

#include "ctl/transfer/beneath.h"
#include "ctl/transfer/target_ops.h"

struct stat;

int listing_open(struct target *t, struct beneath *dirs, tdir dir, struct target_scan **ret);
int listing_next(struct target_scan *s, const char **ret_name, struct target_attr *ret_attr, int *ret_error);
void listing_close(struct target_scan *s);

void listing_from_stat(const struct stat *st, struct target_attr *ret);

#endif

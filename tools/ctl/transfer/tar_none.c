/*
 * tar_none.c - what tar.h is without libarchive. */
#include "ctl/transfer/tar.h"

#include <errno.h>

const bool tar_is_built = false;

int tar_export(struct target *from, int fd, struct copy_result *ret)
{
    (void)from, (void)fd;
    *ret = (struct copy_result){0};
    return -EOPNOTSUPP;
}

int tar_import(int fd, const char *name, struct target *to, struct copy_result *ret)
{
    (void)fd, (void)name, (void)to;
    *ret = (struct copy_result){0};
    return -EOPNOTSUPP;
}

/*
 * bytes.h - sizes as people write them. Pure. */
#ifndef ENGRAMFS_FS_BYTES_H
#define ENGRAMFS_FS_BYTES_H

#include <stdint.h>

/* "4096", "64k", "1M", "2G", "1T" (powers of 1024). -EINVAL, -ERANGE beyond 2^63-1. */
int bytes_parse(const char *s, uint64_t *ret_bytes);

#endif

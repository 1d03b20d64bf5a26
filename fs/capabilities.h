/*
 * capabilities.h - what the daemon asks of the kernel at INIT, and why.
 *
 * libfuse asks for some capabilities by itself, and each version for others. Here they are all listed; what
 * is not in the list is not asked for, whatever libfuse wants. docs/KERNEL-CACHE.md has what follows from
 * them for those who read, and the tests. */
#ifndef ENGRAMFS_FS_CAPABILITIES_H
#define ENGRAMFS_FS_CAPABILITIES_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum capability_ask {
    CAPABILITY_OFF,
    CAPABILITY_ON,
    CAPABILITY_WRITEBACK, /* with -o writeback */
    CAPABILITY_REFUSE     /* with -o conflicts=refuse */
};

struct capability {
    const char *name; /* as FUSE_CAP_… */
    uint64_t bit;
    enum capability_ask ask;
    const char *why;
};

extern const struct capability capabilities[];
extern const size_t capabilities_n;

/* Sets what is wanted of what the kernel can do, and nothing else; to be called by init(). `option`: which
 * option there is of the two, that cannot be had together; else CAPABILITY_ON. */
void capabilities_ask(struct fuse_conn_info *conn, enum capability_ask option);

/* What this libfuse wants and what the kernel can do: libfuse has 64 bits for them from 3.17 on. */
uint64_t capabilities_wanted(const struct fuse_conn_info *conn);
uint64_t capabilities_offered(const struct fuse_conn_info *conn);

#endif

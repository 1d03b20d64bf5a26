/*
 * capabilities.c - see capabilities.h. No state, no locks. */
#include "capabilities.h"

#ifdef ENG_MUTANTS
#include <stdlib.h>
#include <string.h>
#endif

/* `set` is OFF, ON, WRITEBACK or REFUSE. */
#define CAPABILITY(cap, set, reason)                                                                         \
    {                                                                                                        \
#cap, (uint64_t)(FUSE_CAP_##cap), CAPABILITY_##set, reason                                           \
    }

const struct capability capabilities[] = {
    CAPABILITY(ASYNC_READ, ON, "several reads of a file are under way at once: read-ahead"),
    CAPABILITY(PARALLEL_DIROPS, ON, "look-ups and listings of a directory go side by side"),
    CAPABILITY(CACHE_SYMLINKS, ON, "the target of a symbolic link never changes"),
    CAPABILITY(READDIRPLUS, ON, "a listing brings the attributes along"),
    CAPABILITY(EXPORT_SUPPORT, ON, "numbers can be looked up without a name: file handles, NFS"),
    CAPABILITY(EXPLICIT_INVAL_DATA, ON, "all changes come through the kernel, which has seen them"),
    CAPABILITY(IOCTL_DIR, ON, "lsattr(1) asks directories, too"),
    CAPABILITY(WRITEBACK_CACHE, WRITEBACK, "small writes are collected in the kernel; asked for by the user"),

    CAPABILITY(ASYNC_DIO, OFF,
               "up to 6.18 at least the kernel leaves pages in its cache that readers put there while an "
               "asynchronous O_DIRECT write was under way: they read old bytes from then on"),
    CAPABILITY(AUTO_INVAL_DATA, OFF, "it would drop pages whenever a time differs, for nothing"),
    CAPABILITY(READDIRPLUS_AUTO, OFF, "a listing always brings the attributes along"),
    CAPABILITY(ATOMIC_O_TRUNC, OFF, "where OPEN is sent the kernel does not hold the inode's lock over it"),
    CAPABILITY(POSIX_LOCKS, OFF, "there is one kernel only, which keeps the locks"),
    CAPABILITY(FLOCK_LOCKS, OFF, "there is one kernel only, which keeps the locks"),
    CAPABILITY(POSIX_ACL, OFF, "the kernel would ask once more for each file that it meets"),
    CAPABILITY(DONT_MASK, OFF, "the kernel applies the umask"),
    CAPABILITY(HANDLE_KILLPRIV, OFF, "fuse_compat.c asks for its second version"),
    CAPABILITY(SPLICE_READ, OFF, "most requests are small: a pipe costs more than a copy"),
    CAPABILITY(SPLICE_WRITE, OFF, "most replies are small: a pipe costs more than a copy"),
    CAPABILITY(SPLICE_MOVE, OFF, "no pages are given away"),
    CAPABILITY(NO_OPEN_SUPPORT, OFF, "an offer, of which op_open() makes use; to want it means nothing"),
    CAPABILITY(NO_OPENDIR_SUPPORT, OFF,
               "an offer, of which op_opendir() makes use; to want it means nothing"),
#ifdef FUSE_CAP_EXPIRE_ONLY
    CAPABILITY(EXPIRE_ONLY, OFF, "no entry is ever called expired"),
#endif
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
    CAPABILITY(HANDLE_KILLPRIV_V2, OFF, "fuse_compat.c asks for it, whatever libfuse knows"),
#endif
#ifdef FUSE_CAP_SETXATTR_EXT
    CAPABILITY(SETXATTR_EXT, OFF, "its flags are for ACLs, of which there are none"),
#endif
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
    CAPABILITY(DIRECT_IO_ALLOW_MMAP, OFF, "only control files go past the cache, and are not mapped"),
#endif
#ifdef FUSE_CAP_PASSTHROUGH
    CAPABILITY(PASSTHROUGH, OFF, "contents lie in segments, not in files of their own"),
#endif
#ifdef FUSE_CAP_NO_EXPORT_SUPPORT
    CAPABILITY(NO_EXPORT_SUPPORT, OFF, "file handles are given"),
#endif
#ifdef FUSE_CAP_OVER_IO_URING
    CAPABILITY(OVER_IO_URING, OFF, "requests would not pass fuse_compat.c"),
#endif
};
const size_t capabilities_n = sizeof capabilities / sizeof *capabilities;

#ifdef HAVE_FUSE_WANT_EXT
uint64_t capabilities_wanted(const struct fuse_conn_info *conn)
{
    return conn->want_ext;
}

uint64_t capabilities_offered(const struct fuse_conn_info *conn)
{
    return conn->capable_ext;
}

/* libfuse refuses a connection if the two differ. */
static void set_wanted(struct fuse_conn_info *conn, uint64_t bits)
{
    conn->want_ext = bits;
    conn->want = (uint32_t)bits;
}
#else
uint64_t capabilities_wanted(const struct fuse_conn_info *conn)
{
    return conn->want;
}

uint64_t capabilities_offered(const struct fuse_conn_info *conn)
{
    return conn->capable;
}

static void set_wanted(struct fuse_conn_info *conn, uint64_t bits)
{
    conn->want = (uint32_t)bits;
}
#endif

static bool is_asked(const struct capability *cap, enum capability_ask option)
{
#ifdef ENG_MUTANTS
    /* tests/mount/cache.sh shows that its program notices what this one does. */
    const char *also = getenv("FS_MUTANT_ASK");
    if (also && strcmp(also, cap->name) == 0)
        return true;
#endif
    return cap->ask == CAPABILITY_ON || (cap->ask != CAPABILITY_OFF && cap->ask == option);
}

void capabilities_ask(struct fuse_conn_info *conn, enum capability_ask option)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < capabilities_n; i++)
        if (is_asked(&capabilities[i], option))
            bits |= capabilities[i].bit;
    set_wanted(conn, bits & capabilities_offered(conn));
}

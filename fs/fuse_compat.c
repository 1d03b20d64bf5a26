/*
 * fuse_compat.c - rewrites requests and the answer to INIT.
 *
 * State: of the INIT request, in struct session; it is the first, and nothing is served beside it.
 * No locks. Layouts and numbers are the kernel's, of protocol 7.39 (include/uapi/linux/fuse.h); the headers
 * at hand may be older. */
#include "fuse_compat.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "reply.h"
#include "room.h"

enum { OPCODE_TMPFILE = 51, OPCODE_STATX = 52 };
enum { INIT_HANDLE_KILLPRIV_V2 = 1 << 28, WRITE_KILL_SUIDGID = 1 << 2, SETATTR_KILL_SUIDGID = 1 << 11 };
enum { INIT_EXT = 1 << 30, INIT2_DIRECT_IO_ALLOW_MMAP = 1 << 4 };

struct wire_time {
    int64_t sec;
    uint32_t nsec;
    int32_t reserved;
};

struct wire_statx {
    uint64_t valid_sec;
    uint32_t valid_nsec, flags;
    uint64_t spare[2];
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare0;
    uint64_t ino, size, blocks, attributes_mask;
    struct wire_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t spare2[14];
};
_Static_assert(sizeof(struct wire_statx) == 288, "fuse_statx_out");

/* STATX begins with what GETATTR is: flags and a file handle. */
static void rewrite_statx(struct fuse_in_header *head, void *body, size_t size)
{
    struct fuse_getattr_in in;
    if (size < sizeof in)
        return;
    memcpy(&in, body, sizeof in);
    in.getattr_flags |= FUSE_GETATTR_FH;
    in.fh = COMPAT_STATX;
    memcpy(body, &in, sizeof in);
    head->opcode = FUSE_GETATTR;
}

/* TMPFILE is laid out as CREATE is, name and all. */
static void rewrite_tmpfile(struct fuse_in_header *head, const char *body, size_t size)
{
    if (size >= sizeof(struct fuse_create_in) + sizeof COMPAT_TMPFILE &&
        memcmp(body + sizeof(struct fuse_create_in), COMPAT_TMPFILE, sizeof COMPAT_TMPFILE) == 0)
        head->opcode = FUSE_CREATE;
}

static void mark_write(char *body, size_t size)
{
    struct fuse_write_in in;
    if (size < sizeof in)
        return;
    memcpy(&in, body, sizeof in);
    in.fh = in.write_flags & WRITE_KILL_SUIDGID ? COMPAT_KILL_SUIDGID : 0;
    memcpy(body, &in, sizeof in);
}

static void mark_setattr(char *body, size_t size)
{
    struct fuse_setattr_in in;
    if (size < sizeof in)
        return;
    memcpy(&in, body, sizeof in);
    /* chown(-1, -1) takes them, too; with -o writeback the ctime comes along */
    bool nothing = !(in.valid & ~(uint32_t)(FATTR_FH | FATTR_LOCKOWNER | FATTR_CTIME));
    in.fh = nothing || in.valid & SETATTR_KILL_SUIDGID ? COMPAT_KILLS_SUIDGID : 0;
    if (!(in.valid & FATTR_FH))
        in.fh |= COMPAT_BY_NAME;
    in.valid |= FATTR_FH;
    memcpy(body, &in, sizeof in);
}

/* Remembers the request if its answer is to be completed. */
static void note_init(struct session *session, const struct fuse_in_header *head, const char *body,
                      size_t size)
{
    struct fuse_init_in in = {0};
    memcpy(&in, body, size < sizeof in ? size : sizeof in);
    session->init_request = in.flags & INIT_HANDLE_KILLPRIV_V2 ? head->unique : 0;
    session->maps_direct = session->init_request && session->opt->refuses_conflicts && in.flags & INIT_EXT &&
                           in.flags2 & INIT2_DIRECT_IO_ALLOW_MMAP;
}

static ssize_t read_request(int fd, void *buf, size_t size, void *userdata)
{
    ssize_t n = read(fd, buf, size);
    struct fuse_in_header *head = buf; /* libfuse's buffer is aligned for it */
    if (n < (ssize_t)sizeof *head)
        return n;
    char *body = (char *)buf + sizeof *head;
    size_t len = (size_t)n - sizeof *head;
    switch (head->opcode) {
    case FUSE_INIT:
        note_init(userdata, head, body, len);
        break;
    case FUSE_WRITE:
        mark_write(body, len);
        break;
    case FUSE_SETATTR:
        mark_setattr(body, len);
        break;
    case OPCODE_STATX:
        rewrite_statx(head, body, len);
        break;
    case OPCODE_TMPFILE:
        rewrite_tmpfile(head, body, len);
        break;
    default:
        break;
    }
    room_note_request(buf, (size_t)n);
    return n;
}

static void complete_init(struct session *session, struct fuse_init_out *out, size_t size)
{
    if (size >= offsetof(struct fuse_init_out, flags) + sizeof out->flags)
        out->flags |= INIT_HANDLE_KILLPRIV_V2;
    if (size < offsetof(struct fuse_init_out, flags2) + sizeof out->flags2)
        session->maps_direct = false;
    if (session->maps_direct) {
        out->flags |= INIT_EXT;
        out->flags2 |= INIT2_DIRECT_IO_ALLOW_MMAP;
    }
}

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
    struct session *session = userdata;
    const struct fuse_out_header *head = iov[0].iov_base;
    if (session->init_request && head->unique == session->init_request && !head->error && count > 1) {
        complete_init(session, iov[1].iov_base, iov[1].iov_len);
        session->init_request = 0;
    }
    return writev(fd, iov, count);
}

int compat_attach(struct fuse_session *session)
{
    static const struct fuse_custom_io io = {.read = read_request, .writev = write_reply};
    return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

static struct wire_time time_of(struct timespec t)
{
    return (struct wire_time){.sec = t.tv_sec, .nsec = (uint32_t)t.tv_nsec};
}

int compat_reply_statx(fuse_req_t req, const struct stat *st, const int64_t *btime, double timeout)
{
    struct wire_statx out = {
        .valid_sec = (uint64_t)timeout,
        .mask = STATX_BASIC_STATS,
        .blksize = (uint32_t)st->st_blksize,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .mode = (uint16_t)st->st_mode,
        .ino = st->st_ino,
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
        .atime = time_of(st->st_atim),
        .ctime = time_of(st->st_ctim),
        .mtime = time_of(st->st_mtim),
        .rdev_major = major(st->st_rdev),
        .rdev_minor = minor(st->st_rdev),
    };
    if (btime) {
        out.mask |= STATX_BTIME;
        out.btime = time_of(reply_time(*btime));
    }
    return fuse_reply_buf(req, (const char *)&out, sizeof out);
}

/*
 * raw_fuse.h - what the file systems of these tests share: /dev/fuse without any library. For programs of one
 * file, which define _GNU_SOURCE first. State: the descriptor. */
#ifndef ENGRAM_TESTS_RAW_FUSE_H
#define ENGRAM_TESTS_RAW_FUSE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int raw_dev = -1;

static void reply(uint64_t unique, int error, const void *data, size_t size)
{
    struct fuse_out_header head = {.len = (uint32_t)(sizeof head + size), .error = error, .unique = unique};
    struct iovec v[2] = {{&head, sizeof head}, {(void *)(uintptr_t)data, size}};
    if (writev(raw_dev, v, size ? 2 : 1) < 0 && errno != ENOENT) /* ENOENT: who asked waits no more */
        perror("reply");
}

static void reply_init(uint64_t unique)
{
    struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
                                 .minor = 31,
                                 .max_readahead = 65536,
                                 .max_background = 8,
                                 .congestion_threshold = 8,
                                 .max_write = 65536};
    reply(unique, 0, &init, sizeof init);
}

/* Mounts on `place`, a folder or a file, in the name of `uid`, with `source` as what it says of itself. As
 * root. */
static int raw_mount(const char *place, const char *type, const char *source, unsigned uid, bool for_all)
{
    char options[256];
    struct stat st;
    if (lstat(place, &st) < 0)
        return -errno;
    raw_dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=%o,user_id=%u,group_id=%u%s", raw_dev,
             st.st_mode & S_IFMT, uid, uid, for_all ? ",allow_other" : "");
    if (raw_dev >= 0 && mount(source, place, type, MS_NOSUID | MS_NODEV, options) == 0)
        return 0;
    int r = -errno;
    perror("mount");
    return r;
}

/* Calls `serve` for what is asked for and wants an answer, until it is unmounted. */
static void raw_serve(void (*serve)(const struct fuse_in_header *in, const char *body))
{
    static char buf[FUSE_MIN_READ_BUFFER + 65536];
    for (;;) {
        ssize_t n = read(raw_dev, buf, sizeof buf);
        const struct fuse_in_header *in = (const void *)buf;
        if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
            continue;
        if (n < (ssize_t)sizeof *in)
            return;
        if (in->opcode == FUSE_INIT)
            reply_init(in->unique);
        else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET && in->opcode != FUSE_INTERRUPT)
            serve(in, buf + sizeof *in);
    }
}

#endif

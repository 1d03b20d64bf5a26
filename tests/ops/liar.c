/*
 * liar.c - a file system of somebody who means ill, on /dev/fuse without any library.
 *
 *   liar PLACE ERRNO          mounted for its user (nobody) alone; answers every request with the error
 *   liar PLACE ERRNO others   for all: root's stat() of PLACE gets that error, each time anew
 *   liar PLACE silent others  never answers, neither root nor anybody else
 *   liar PLACE cut others     a folder whose listing has one name, "one", and then breaks off with EIO
 *
 * PLACE is a folder or a file. As root, who mounts it in the name of nobody; ends when it is unmounted. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static int dev;

static void reply(uint64_t unique, int error, const void *data, size_t size)
{
    struct fuse_out_header head = {.len = (uint32_t)(sizeof head + size), .error = error, .unique = unique};
    struct iovec v[2] = {{&head, sizeof head}, {(void *)(uintptr_t)data, size}};
    if (writev(dev, v, size ? 2 : 1) < 0 && errno != ENOENT) /* ENOENT: who asked does not wait any more */
        perror("liar: reply");
}

static void reply_init(uint64_t unique)
{
    struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
                                 .minor = 31,
                                 .max_readahead = 65536,
                                 .max_background = 8,
                                 .congestion_threshold = 8,
                                 .max_write = 4096};
    reply(unique, 0, &init, sizeof init);
}

/* Of the folder that breaks off. */
static void cut(const struct fuse_in_header *in, const char *body)
{
    struct fuse_attr_out attr = {.attr = {.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2}};
    struct fuse_entry_out one = {.nodeid = 2, .attr = {.ino = 2, .mode = S_IFREG | 0644, .nlink = 1}};
    struct fuse_open_out opened = {.fh = 1};
    const struct fuse_read_in *read = (const void *)body;
    struct {
        struct fuse_dirent entry;
        char name[8];
    } list = {{.ino = 2, .off = 1, .namelen = 3, .type = S_IFREG >> 12}, "one"};
    if (in->nodeid == 2) {
        attr.attr.ino = 2;
        attr.attr.mode = S_IFREG | 0644;
    }
    if (in->opcode == FUSE_GETATTR)
        reply(in->unique, 0, &attr, sizeof attr);
    else if (in->opcode == FUSE_LOOKUP && !strcmp(body, "one"))
        reply(in->unique, 0, &one, sizeof one);
    else if (in->opcode == FUSE_OPENDIR || in->opcode == FUSE_OPEN)
        reply(in->unique, 0, &opened, sizeof opened);
    else if (in->opcode == FUSE_READDIR && read->offset == 0)
        reply(in->unique, 0, &list, sizeof list);
    else if (in->opcode == FUSE_READDIR)
        reply(in->unique, -EIO, NULL, 0);
    else
        reply(in->unique, -ENOSYS, NULL, 0);
}

int main(int argc, char **argv)
{
    static char buf[FUSE_MIN_READ_BUFFER + 65536];
    char options[256];
    struct stat st;
    if (argc < 3 || lstat(argv[1], &st) < 0)
        return 2;
    int error = atoi(argv[2]), silent = !strcmp(argv[2], "silent");
    dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=%o,user_id=%d,group_id=%d%s", dev, st.st_mode & S_IFMT,
             NOBODY, NOBODY, argc > 3 ? ",allow_other" : "");
    if (dev < 0 || mount("liar", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
        perror("liar: mount");
        return 1;
    }
    for (;;) {
        ssize_t n = read(dev, buf, sizeof buf);
        const struct fuse_in_header *in = (const void *)buf;
        if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
            continue;
        if (n < (ssize_t)sizeof *in)
            return 0; /* unmounted */
        if (in->opcode == FUSE_INIT)
            reply_init(in->unique);
        else if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT)
            continue;
        else if (silent)
            fprintf(stderr, "liar: asked, %u\n", in->opcode);
        else if (!error)
            cut(in, buf + sizeof *in);
        else
            reply(in->unique, -error, NULL, 0);
    }
}

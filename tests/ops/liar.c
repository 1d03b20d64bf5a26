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
#include "raw_fuse.h"

#include <stdlib.h>

enum { NOBODY = 65534 };

static int error; /* 0: cut */
static bool silent;

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

static void serve(const struct fuse_in_header *in, const char *body)
{
    if (silent)
        fprintf(stderr, "liar: asked, %u\n", in->opcode);
    else if (!error)
        cut(in, body);
    else
        reply(in->unique, -error, NULL, 0);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    error = atoi(argv[2]);
    silent = !strcmp(argv[2], "silent");
    if (raw_mount(argv[1], "fuse", "liar", NOBODY, argc > 3) < 0)
        return 1;
    raw_serve(serve);
    return 0;
}

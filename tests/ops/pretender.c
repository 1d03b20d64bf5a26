/*
 * pretender.c - a file system that calls itself an engramfs, and is none; on /dev/fuse without any library.
 *
 *   pretender PLACE UID SOURCE KIND [TO]
 *
 * mounted on PLACE in the name of UID, with SOURCE as its store, for all. Whatever is looked up in its folder
 * .engram is, by KIND: link: a link to TO; fifo: a pipe; endless: a file without an end; words: a file with
 * what that of the same name in the folder TO has; folder: .engram itself is a link to TO. Prints a line for
 * each look at .engram. As root; ends when it is unmounted. */
#define _GNU_SOURCE
#include "raw_fuse.h"

#include <stdlib.h>

enum { CONTROL = 2, INSIDE = 3 };

static const char *kind, *to;
static char asked[512]; /* words: the file that was looked up last */

static struct fuse_attr attr_of(uint64_t node)
{
    struct fuse_attr attr = {.ino = node, .mode = S_IFDIR | 0755, .nlink = 2};
    if (node == CONTROL && !strcmp(kind, "folder"))
        attr.mode = S_IFLNK | 0777;
    else if (node == INSIDE && !strcmp(kind, "link"))
        attr.mode = S_IFLNK | 0777;
    else if (node == INSIDE)
        attr.mode = (!strcmp(kind, "fifo") ? S_IFIFO : S_IFREG) | 0666;
    return attr;
}

static void look_up(const struct fuse_in_header *in, const char *name)
{
    struct fuse_entry_out entry = {.nodeid = in->nodeid == 1 ? CONTROL : INSIDE};
    if (in->nodeid == 1 && strcmp(name, ".engram") != 0) {
        reply(in->unique, -ENOENT, NULL, 0);
        return;
    }
    if (in->nodeid == CONTROL)
        (void)snprintf(asked, sizeof asked, "%s/%s", to, name);
    if (in->nodeid == 1 && puts(".engram") >= 0)
        (void)fflush(stdout);
    entry.attr = attr_of(entry.nodeid);
    reply(in->unique, 0, &entry, sizeof entry);
}

static void read_file(const struct fuse_in_header *in, const struct fuse_read_in *read)
{
    static char data[65536];
    size_t size = read->size < sizeof data ? read->size : sizeof data;
    int fd = strcmp(kind, "words") != 0 ? -1 : open(asked, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : pread(fd, data, size, (off_t)read->offset);
    if (fd >= 0)
        close(fd);
    else
        memset(data, 0, sizeof data);
    if (fd < 0)
        n = (ssize_t)size;
    reply(in->unique, 0, data, n > 0 ? (size_t)n : 0);
}

static void serve(const struct fuse_in_header *in, const char *body)
{
    struct fuse_attr_out attr = {.attr = attr_of(in->nodeid)};
    struct fuse_open_out opened = {.open_flags = FOPEN_DIRECT_IO};
    struct fuse_statfs_out fs = {.st = {.bsize = 4096, .namelen = 255}};
    const struct fuse_write_in *write = (const void *)body;
    struct fuse_write_out written = {.size = write->size};
    switch (in->opcode) {
    case FUSE_GETATTR:
        reply(in->unique, 0, &attr, sizeof attr);
        break;
    case FUSE_LOOKUP:
        look_up(in, body);
        break;
    case FUSE_READLINK:
        reply(in->unique, 0, to, strlen(to));
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        reply(in->unique, 0, &opened, sizeof opened);
        break;
    case FUSE_READ:
        read_file(in, (const void *)body);
        break;
    case FUSE_WRITE:
        reply(in->unique, 0, &written, sizeof written);
        break;
    case FUSE_STATFS:
        reply(in->unique, 0, &fs, sizeof fs);
        break;
    default:
        reply(in->unique, -ENOSYS, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    kind = argv[4];
    to = argc > 5 ? argv[5] : "";
    if (raw_mount(argv[1], "fuse.engramfs", argv[3], (unsigned)atoi(argv[2]), true) < 0)
        return 1;
    raw_serve(serve);
    return 0;
}

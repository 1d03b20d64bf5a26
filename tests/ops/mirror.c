/*
 * mirror.c - a file system of an ordinary user's that shows a folder as it likes, on /dev/fuse without any
 * library.
 *
 *   mirror PLACE UID SOURCE FOLDER
 *
 * mounted on PLACE in the name of UID, with SOURCE as what it says of itself, for all. Shows FOLDER, and what
 * is in it; all of it is root's, and what has set-ID bits or not is as in FOLDER. As root; ends when it is
 * unmounted. */
#define _GNU_SOURCE
#include "raw_fuse.h"

#include <dirent.h>
#include <stdlib.h>

enum { NODES = 1000 };

static char *paths[NODES]; /* by the number of the node */
static unsigned long n_paths = 2;

static int attr_of(const char *path, uint64_t node, struct fuse_attr *ret)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return -errno;
    *ret = (struct fuse_attr){.ino = node,
                              .size = (uint64_t)st.st_size,
                              .blocks = (uint64_t)st.st_blocks,
                              .mode = st.st_mode,
                              .nlink = (uint32_t)st.st_nlink,
                              .blksize = 4096};
    return 0;
}

static uint64_t node_of(const char *path)
{
    for (unsigned long i = 1; i < n_paths; i++)
        if (!strcmp(paths[i], path))
            return i;
    if (n_paths == NODES)
        return 0;
    paths[n_paths] = strdup(path);
    return n_paths++;
}

static void look_up(const struct fuse_in_header *in, const char *name)
{
    char path[4096];
    struct fuse_entry_out entry = {0};
    snprintf(path, sizeof path, "%s/%s", paths[in->nodeid], name);
    int r = attr_of(path, 0, &entry.attr);
    if (!r)
        entry.attr.ino = entry.nodeid = node_of(path);
    reply(in->unique, r ? r : entry.nodeid ? 0 : -ENOMEM, &entry, r ? 0 : sizeof entry);
}

static void list(const struct fuse_in_header *in, const struct fuse_read_in *read)
{
    char out[8192];
    size_t n = 0;
    uint64_t at = 0;
    DIR *d = opendir(paths[in->nodeid]);
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t len = strlen(e->d_name), size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + len);
        if (++at <= read->offset)
            continue;
        if (n + size > sizeof out || n + size > read->size)
            break;
        struct fuse_dirent entry = {.ino = e->d_ino, .off = at, .namelen = (uint32_t)len, .type = e->d_type};
        memset(out + n, 0, size);
        memcpy(out + n, &entry, FUSE_NAME_OFFSET);
        memcpy(out + n + FUSE_NAME_OFFSET, e->d_name, len);
        n += size;
    }
    if (d)
        closedir(d);
    reply(in->unique, 0, out, n);
}

static void read_file(const struct fuse_in_header *in, const struct fuse_read_in *read)
{
    static char data[1 << 20];
    size_t size = read->size < sizeof data ? read->size : sizeof data;
    int fd = open(paths[in->nodeid], O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, data, size, (off_t)read->offset);
    reply(in->unique, n < 0 ? -EIO : 0, data, n < 0 ? 0 : (size_t)n);
    if (fd >= 0)
        close(fd);
}

static void serve(const struct fuse_in_header *in, const char *body)
{
    struct fuse_attr_out attr = {0};
    struct fuse_open_out opened = {0};
    struct fuse_statfs_out fs = {.st = {.bsize = 4096, .namelen = 255}};
    int r;
    switch (in->opcode) {
    case FUSE_GETATTR:
        r = attr_of(paths[in->nodeid], in->nodeid, &attr.attr);
        reply(in->unique, r, &attr, r ? 0 : sizeof attr);
        break;
    case FUSE_LOOKUP:
        look_up(in, body);
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        reply(in->unique, 0, &opened, sizeof opened);
        break;
    case FUSE_READ:
        read_file(in, (const void *)body);
        break;
    case FUSE_READDIR:
        list(in, (const void *)body);
        break;
    case FUSE_STATFS:
        reply(in->unique, 0, &fs, sizeof fs);
        break;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FLUSH:
        reply(in->unique, 0, NULL, 0);
        break;
    default:
        reply(in->unique, -ENOSYS, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    paths[1] = argv[4];
    if (raw_mount(argv[1], "fuse", argv[3], (unsigned)atoi(argv[2]), true) < 0)
        return 1;
    raw_serve(serve);
    return 0;
}

/*
 * medium.c - see medium.h. */
#include "disk/medium.h"

#include "base/util.h"

#include <stdio.h>

#define WINDOW (1u << 20)

int medium_init(struct medium *m, struct eng_io *io)
{
    *m = (struct medium){.io = io, .window = aligned_alloc(IO_ALIGN, WINDOW)};
    return m->window ? 0 : -ENOMEM;
}

void medium_close(struct medium *m)
{
    if (!m->file)
        return;
    if (!m->is_direct)
        m->io->ops->drop_cache(m->file); /* nobody else has need of it */
    m->io->ops->close(m->file);
    m->file = NULL;
    m->name[0] = '\0';
    m->len = 0;
}

void medium_free(struct medium *m)
{
    if (!m->io)
        return;
    medium_close(m);
    free(m->window);
    *m = (struct medium){0};
}

static int open_file(struct medium *m, const char *name, bool is_direct)
{
    const struct eng_io_ops *ops = m->io->ops;
    int r = ops->open(m->io, name, is_direct ? IO_DIRECT : IO_RDONLY, &m->file);
    if (r)
        return r;
    m->is_direct = is_direct;
    m->len = 0;
    snprintf(m->name, sizeof m->name, "%s", name);
    if (!is_direct)
        ops->drop_cache(m->file);
    return 0;
}

int medium_open(struct medium *m, const char *name)
{
    if (m->file && strcmp(m->name, name) == 0)
        return 0;
    medium_close(m);
    int r = open_file(m, name, true);
    if (r && r != -ENOENT && r != -ENOMEM)
        r = open_file(m, name, false);
    return io_is_no_file(r) ? -EBADMSG : r;
}

/* Of an aligned range what there is, if the file ends early. -EINVAL: not in this way. */
static ssize_t read_direct(struct medium *m, size_t size, uint64_t from)
{
    for (size_t done = 0;;) {
        uint64_t end;
        ssize_t n = m->io->ops->pread(m->file, m->window + done, size - done, from + done);
        if (n == -EINTR)
            continue;
        if (n < 0 || done + (size_t)n == size)
            return n < 0 ? n : (ssize_t)size;
        int r = m->io->ops->file_size(m->file, &end);
        if (r || from + done + (size_t)n >= end)
            return r ? r : (ssize_t)(done + (size_t)n);
        if ((size_t)n < IO_ALIGN)
            return -EINVAL;
        done += (size_t)n / IO_ALIGN * IO_ALIGN;
    }
}

static int fill(struct medium *m, uint64_t from, uint64_t to)
{
    ssize_t n = m->is_direct ? read_direct(m, (size_t)(to - from), from) : -EINVAL;
    if (n == -EINVAL && m->is_direct) {
        char name[MEDIUM_NAME_SIZE];
        memcpy(name, m->name, sizeof name);
        medium_close(m);
        int r = open_file(m, name, false);
        if (r)
            return r;
    }
    if (!m->is_direct)
        n = io_pread_full(m->file, m->io->ops, m->window, (size_t)(to - from), from);
    m->at = from;
    m->len = n < 0 ? 0 : (size_t)n;
    m->n_read += m->len;
    return n < 0 ? (int)n : 0;
}

/* Has the window begin with the block of `offset`. A bad spot further on is not an error of these bytes. */
static int find(struct medium *m, size_t size, uint64_t offset)
{
    uint64_t from = offset / IO_ALIGN * IO_ALIGN;
    int r = fill(m, from, from + WINDOW);
    if (r != -EIO)
        return r;
    uint64_t to = (offset + size + IO_ALIGN - 1) / IO_ALIGN * IO_ALIGN;
    return fill(m, from, MIN_OF(to, from + WINDOW));
}

int medium_read(struct medium *m, void *buf, size_t size, uint64_t offset)
{
    uint8_t *out = buf;
    if (!m->file)
        return -EBADF;
    while (size) {
        bool has = offset >= m->at && offset - m->at < m->len;
        int r = has ? 0 : find(m, size, offset);
        if (r)
            return r;
        if (offset - m->at >= m->len)
            return -EBADMSG;
        size_t n = MIN_OF(size, m->len - (size_t)(offset - m->at));
        memcpy(out, m->window + (offset - m->at), n);
        out += n;
        offset += n;
        size -= n;
    }
    return 0;
}

int medium_size(struct medium *m, uint64_t *ret_size)
{
    return m->file ? m->io->ops->file_size(m->file, ret_size) : -EBADF;
}

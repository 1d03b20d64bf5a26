/*
 * io.c - helpers over any implementation of the OS seam: whole reads and
 * writes, and small files that are replaced as a whole.
 *
 * No state, no locks. */
#include "disk/io.h"

#include "base/fault.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void io_begin(struct eng_io *io)
{
    atomic_store_explicit(&io->dir_failed, 0, memory_order_release);
}

int io_syncdir(struct eng_io *io)
{
    int r = io->ops->syncdir(io), none = 0;
    if (r && !MUTANT(FORGET_SYNCDIR))
        (void)atomic_compare_exchange_strong_explicit(&io->dir_failed, &none, -r, memory_order_acq_rel,
                                                      memory_order_acquire);
    return r;
}

ssize_t io_pread_full(struct io_file *file, const struct eng_io_ops *ops, void *buf, size_t size,
                      uint64_t offset)
{
    if (size > SSIZE_MAX)
        return -EINVAL;
    size_t done = 0;
    while (done < size) {
        ssize_t n = ops->pread(file, (char *)buf + done, size - done, offset + done);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int io_pread_exact(struct io_file *file, const struct eng_io_ops *ops, void *buf, size_t size,
                   uint64_t offset)
{
    ssize_t n = io_pread_full(file, ops, buf, size, offset);
    if (n < 0)
        return (int)n;
    return (size_t)n == size ? 0 : -EBADMSG;
}

#define DENSE_STEP ((size_t)1 << 20)
#define HOLE 4096u

bool io_has_hole(const void *bytes, size_t n)
{
    static const uint8_t zeros[HOLE];
    for (size_t at = 0; n - at >= HOLE; at += HOLE)
        if (memcmp((const uint8_t *)bytes + at, zeros, HOLE) == 0)
            return true;
    return false;
}

int io_pread_dense(struct io_file *file, const struct eng_io_ops *ops, struct buf *into, size_t size,
                   uint64_t offset)
{
    int r = 0;
    for (size_t done = 0, n; done < size && !r; done += n) {
        n = MUTANT(MANIFEST_BELIEVED) ? size - done : MIN_OF(size - done, DENSE_STEP);
        r = buf_reserve(into, n);
        uint8_t *at = r ? NULL : into->data + into->len;
        if (!r)
            r = io_pread_exact(file, ops, at, n, offset + done);
        if (!r && io_has_hole(at, n))
            r = -EBADMSG;
        into->len += r ? 0 : n;
    }
    return r;
}

uint64_t io_skip_hole(struct io_file *file, const struct eng_io_ops *ops, uint64_t at)
{
    uint64_t data;
    int r = ops->next_data && !MUTANT(HOLES_ARE_READ) ? ops->next_data(file, at, &data) : -EOPNOTSUPP;
    if (r)
        return r == -ENXIO ? UINT64_MAX : at;
    return data > at ? data / 8 * 8 : at;
}

int io_pwritev_full(struct io_file *file, const struct eng_io_ops *ops, struct iovec *iov, int n,
                    uint64_t offset)
{
    for (;;) {
        while (n > 0 && iov->iov_len == 0) {
            iov++;
            n--;
        }
        if (n <= 0)
            return 0;

        ssize_t done = ops->pwritev(file, iov, n, offset);
        if (done == -EINTR)
            continue;
        if (done < 0)
            return (int)done;
        if (done == 0)
            return -EIO;

        offset += (uint64_t)done;
        size_t left = (size_t)done;
        while (n > 0 && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            n--;
        }
        if (n > 0) {
            iov->iov_base = (char *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
}

static int write_new_file(struct eng_io *io, const char *name, const void *data, size_t size)
{
    struct io_file *file;
    int r = io->ops->open(io, name, IO_RDWR | IO_CREATE, &file);
    if (r == -EEXIST) { /* left behind by a crash in the middle of an earlier replacement */
        r = io->ops->unlink(io, name);
        if (r < 0)
            return r;
        r = io->ops->open(io, name, IO_RDWR | IO_CREATE, &file);
    }
    if (r < 0)
        return r;

    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    r = io_pwritev_full(file, io->ops, &iov, 1, 0);
    if (!r)
        r = io->ops->datasync(file);
    io->ops->close(file);
    return r;
}

int io_replace_file(struct eng_io *io, const char *name, const void *data, size_t size)
{
    char temp[NAME_MAX + 1];
    int len = snprintf(temp, sizeof temp, "%s.tmp", name);
    if (len < 0 || (size_t)len >= sizeof temp)
        return -ENAMETOOLONG;

    int r = write_new_file(io, temp, data, size);
    if (!r)
        r = io->ops->rename(io, temp, name);
    if (r < 0) {
        (void)io->ops->unlink(io, temp); /* the first failure is the one to report */
        return r;
    }
    return io_syncdir(io);
}

static int read_open_file(struct io_file *file, const struct eng_io_ops *ops, size_t max, char **ret_data,
                          size_t *ret_size)
{
    uint64_t size;
    int r = ops->file_size(file, &size);
    if (r < 0)
        return r;
    if (size > max)
        return -EFBIG;
    char *data = malloc((size_t)size + 1);
    if (!data)
        return -ENOMEM;
    ssize_t n = io_pread_full(file, ops, data, (size_t)size, 0);
    if (n < 0) {
        free(data);
        return (int)n;
    }
    data[n] = '\0';
    *ret_data = data;
    *ret_size = (size_t)n;
    return 0;
}

int io_read_file(struct eng_io *io, const char *name, size_t max, char **ret_data, size_t *ret_size)
{
    struct io_file *file;
    int r = io->ops->open(io, name, IO_RDONLY, &file);
    if (r < 0)
        return r;
    r = read_open_file(file, io->ops, max, ret_data, ret_size);
    io->ops->close(file);
    return r;
}

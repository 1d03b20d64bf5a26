/*
 * aio.c - asynchronous writes: io_submit(2) and io_uring, by the system calls themselves. */
#include "cache.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PARTS = 4 };

static unsigned char data[CACHE_MOST] __attribute__((aligned(CACHE_PAGE)));

/* Four parts of the file in whole pages; a file of less than four pages is written in one. */
static size_t part_size(const struct file *f)
{
    size_t pages = f->size / CACHE_PAGE / PARTS;
    return pages * CACHE_PAGE;
}

static int submit(struct file *f, size_t from, size_t part)
{
    aio_context_t context = 0;
    struct iocb cb[PARTS], *list[PARTS];
    struct io_event done[PARTS];
    if (syscall(SYS_io_setup, PARTS, &context)) {
        MUST(errno == ENOSYS ? 0 : -1);
        return 1;
    }
    memset(cb, 0, sizeof(cb));
    for (size_t i = 0; i < PARTS; i++) {
        cb[i].aio_lio_opcode = IOCB_CMD_PWRITE;
        cb[i].aio_fildes = (uint32_t)f->direct;
        cb[i].aio_buf = (uint64_t)(uintptr_t)(data + i * part);
        cb[i].aio_nbytes = part;
        cb[i].aio_offset = (int64_t)(from + i * part);
        list[i] = &cb[i];
    }
    rnd_bytes(data, PARTS * part);
    MUST(syscall(SYS_io_submit, context, PARTS, list) == PARTS ? 0 : -1);
    MUST(syscall(SYS_io_getevents, context, PARTS, PARTS, done, NULL) == PARTS ? 0 : -1);
    for (size_t i = 0; i < PARTS; i++)
        MUST(done[i].res == (int64_t)part ? 0 : -1);
    MUST(syscall(SYS_io_destroy, context));
    model_put(f, from, data, PARTS * part);
    return 0;
}

int op_aio(struct file *f)
{
    size_t part = part_size(f);
    return part ? submit(f, 0, part) : 1;
}

int op_aio_append(struct file *f)
{
    size_t end = f->size / CACHE_PAGE * CACHE_PAGE;
    return submit(f, end, 2 * CACHE_PAGE);
}

/* ---- io_uring ------------------------------------------------------------------ */

struct ring {
    int fd;
    struct io_uring_params p;
    unsigned char *at; /* both rings */
    size_t size;
    struct io_uring_sqe *sqes;
};

static _Atomic unsigned *word(const struct ring *r, unsigned off)
{
    return (_Atomic unsigned *)(void *)(r->at + off);
}

static bool ring_begin(struct ring *r)
{
    memset(&r->p, 0, sizeof(r->p));
    r->fd = (int)syscall(SYS_io_uring_setup, PARTS, &r->p);
    if (r->fd < 0 || !(r->p.features & IORING_FEAT_SINGLE_MMAP)) {
        if (r->fd >= 0)
            (void)close(r->fd);
        return false; /* forbidden, or too old */
    }
    size_t sq = r->p.sq_off.array + r->p.sq_entries * sizeof(unsigned);
    size_t cq = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
    r->size = sq > cq ? sq : cq;
    r->at = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
    MUST((void *)r->at == MAP_FAILED ? -1 : 0);
    r->sqes = mmap(NULL, r->p.sq_entries * sizeof(*r->sqes), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
                   IORING_OFF_SQES);
    MUST((void *)r->sqes == MAP_FAILED ? -1 : 0);
    return true;
}

static void ring_end(struct ring *r)
{
    (void)munmap(r->sqes, r->p.sq_entries * sizeof(*r->sqes));
    (void)munmap(r->at, r->size);
    (void)close(r->fd);
}

static int by_ring(struct file *f, int fd, size_t part)
{
    struct ring r;
    if (!ring_begin(&r))
        return 1;
    rnd_bytes(data, PARTS * part);
    memset(r.sqes, 0, PARTS * sizeof(*r.sqes));
    for (unsigned i = 0; i < PARTS; i++) {
        r.sqes[i].opcode = IORING_OP_WRITE;
        r.sqes[i].fd = fd;
        r.sqes[i].addr = (uint64_t)(uintptr_t)(data + i * part);
        r.sqes[i].len = (uint32_t)part;
        r.sqes[i].off = i * part;
        atomic_store(word(&r, r.p.sq_off.array + i * (unsigned)sizeof(unsigned)), i);
    }
    atomic_store(word(&r, r.p.sq_off.tail), PARTS);
    MUST(syscall(SYS_io_uring_enter, r.fd, PARTS, PARTS, IORING_ENTER_GETEVENTS, NULL, 0) == PARTS ? 0 : -1);
    MUST(atomic_load(word(&r, r.p.cq_off.tail)) == PARTS ? 0 : -1);
    const struct io_uring_cqe *cqes = (const void *)(r.at + r.p.cq_off.cqes);
    for (unsigned i = 0; i < PARTS; i++)
        MUST(cqes[i].res == (int)part ? 0 : -1);
    ring_end(&r);
    model_put(f, 0, data, PARTS * part);
    return 0;
}

int op_uring(struct file *f)
{
    size_t part = part_size(f);
    return part ? by_ring(f, f->direct, part) : 1;
}

int op_uring_buffered(struct file *f)
{
    size_t part = part_size(f);
    return part ? by_ring(f, f->fd2, part) : 1;
}

/*
 * io.c - other ways to content than read and write: mappings, O_DIRECT, libaio
 * and io_uring by their system calls. */
#include "posix.h"

#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { PAGE = 4096 };

static char *map(int fd, int prot, int flags)
{
    char *m = mmap(NULL, 4 * PAGE, prot, flags, fd, 0);
    MUST(m == MAP_FAILED ? -1 : 0);
    return m;
}

/* Without the NUL. */
static void store(char *to, const char *text)
{
    for (size_t i = 0; text[i]; i++)
        to[i] = text[i];
}

static void mappings(void)
{
    char buf[32] = "";
    p_file("m", 0644, 10000);
    int fd = open("m", O_RDWR | O_CLOEXEC);
    MUST(fd);
    char *shared = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    char *private = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    p_equal("io.map.read", memcmp(shared, "abcdef", 6), 0);
    p_equal("io.map.tail", shared[10000] | shared[3 * PAGE - 1], 0);
    store(private, "PRIV");
    p_equal("io.map.private", memcmp(shared, "abcd", 4), 0);
    store(shared + 5000, "MAPPED");
    MUST(pread(fd, buf, 6, 5000));
    p_text("io.map.coherent-read", buf, "MAPPED");
    MUST(pwrite(fd, "WRITTEN", 7, 6000));
    p_equal("io.map.coherent-write", memcmp(shared + 6000, "WRITTEN", 7), 0);
    X("io.map.msync", msync(shared, 4 * PAGE, MS_SYNC), 0);
    X("io.map.msync-async", msync(shared, 4 * PAGE, MS_ASYNC), 0);
    MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    MUST(pread(fd, buf, 6, 5000));
    p_text("io.map.written-back", buf, "MAPPED");
    shared[10001] = 'T'; /* behind the end: not part of the file */
    MUST(msync(shared, 4 * PAGE, MS_SYNC));
    p_equal("io.map.tail-size", p_stat("m").st_size, 10000);
    MUST(ftruncate(fd, 10010));
    MUST(pread(fd, buf, 10, 10000));
    p_equal("io.map.tail-zero", memcmp(buf, "\0\0\0\0\0\0\0\0\0\0", 10), 0);
    MUST(unlink("m"));
    store(shared, "STILL"); /* unlinked, mapped, closed: content lives */
    MUST(close(fd));
    p_equal("io.map.unlinked", memcmp(shared, "STILL", 5), 0);
    MUST(munmap(shared, 4 * PAGE));
    MUST(munmap(private, 4 * PAGE));
    p_file("ro", 0644, 100);
    fd = open("ro", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("io.map.readonly", mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0,
      EACCES);
    MUST(close(fd));
    fd = open("ro", O_WRONLY | O_CLOEXEC);
    MUST(fd);
    X("io.map.writeonly", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0, EACCES);
    MUST(close(fd));
    fd = open(".", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("io.map.dir", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0, ENODEV);
    MUST(close(fd));
}

static sigjmp_buf bus;

static void on_bus(int sig)
{
    siglongjmp(bus, sig);
}

static void beyond_the_end(void)
{
    p_file("short", 0644, 10000);
    int fd = open("short", O_RDWR | O_CLOEXEC);
    MUST(fd);
    volatile char *m = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    (void)signal(SIGBUS, on_bus);
    if (sigsetjmp(bus, 1) == 0) {
        (void)m[3 * PAGE];
        p_true("io.map.sigbus", false);
    } else {
        p_true("io.map.sigbus", true);
    }
    MUST(ftruncate(fd, PAGE));
    if (sigsetjmp(bus, 1) == 0) {
        (void)m[PAGE];
        p_true("io.map.sigbus-truncated", false);
    } else {
        p_true("io.map.sigbus-truncated", true);
    }
    MUST(ftruncate(fd, 2 * PAGE));
    p_equal("io.map.extended", m[PAGE], 0);
    MUST(close(fd));
}

/* Two processes with one mapping. */
static void shared_by_two(void)
{
    p_file("two", 0644, 4 * PAGE);
    int fd = open("two", O_RDWR | O_CLOEXEC);
    MUST(fd);
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char *m = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
        for (int i = 0; i < 4; i++)
            m[i * PAGE + 7] = (char)('0' + i);
        _exit(0);
    }
    int status = 1;
    (void)waitpid(child, &status, 0);
    char *m = map(fd, PROT_READ, MAP_SHARED);
    p_equal("io.map.other-process", status == 0 && m[7] == '0' && m[3 * PAGE + 7] == '3', 1);
    char c;
    MUST(pread(fd, &c, 1, 2 * PAGE + 7));
    p_equal("io.map.other-process-read", c, '2');
    MUST(close(fd));
}

static char block[2 * PAGE] __attribute__((aligned(PAGE)));

static void direct(void)
{
    p_file("d", 0644, 5 * PAGE + 100);
    int fd = open("d", O_RDWR | O_DIRECT | O_CLOEXEC), cached = open("d", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(cached);
    p_equal("io.direct.read", pread(fd, block, PAGE, PAGE), PAGE);
    p_equal("io.direct.content", block[0], 'a' + PAGE % 26);
    p_equal("io.direct.tail", pread(fd, block, PAGE, 5 * PAGE), 100);
    p_equal("io.direct.end", pread(fd, block, PAGE, 6 * PAGE), 0);
    memset(block, 'D', PAGE);
    p_equal("io.direct.write", pwrite(fd, block, PAGE, PAGE), PAGE);
    char c = 0;
    MUST(pread(cached, &c, 1, PAGE + 5));
    p_equal("io.direct.seen-cached", c, 'D');
    MUST(pwrite(cached, "cached", 6, 2 * PAGE));
    MUST(pread(fd, block, PAGE, 2 * PAGE));
    p_equal("io.direct.sees-cached", memcmp(block, "cached", 6), 0);
    char *m = map(cached, PROT_READ | PROT_WRITE, MAP_SHARED);
    store(m, "mapped");
    MUST(pread(fd, block, PAGE, 0));
    p_equal("io.direct.sees-mapped", memcmp(block, "mapped", 6), 0);
    memset(block, 'E', PAGE);
    MUST(pwrite(fd, block, PAGE, 0));
    p_equal("io.direct.seen-mapped", m[100], 'E');
    MUST(munmap(m, 4 * PAGE));
    p_equal("io.direct.extend", pwrite(fd, block, PAGE, 8 * PAGE), PAGE);
    p_equal("io.direct.extended", p_stat("d").st_size, 9 * PAGE);
    X("io.direct.unaligned-offset", pread(fd, block, PAGE, 100), EINVAL);
    X("io.direct.unaligned-memory", pread(fd, block + 3, PAGE, 0), EINVAL);
    X("io.direct.unaligned-size", pwrite(fd, block, 100, 0), EINVAL);
    MUST(close(fd));
    MUST(close(cached));
}

/* libaio without the library: a few writes at once, then the reads. */
static void aio(void)
{
    enum { N = 16 };
    static char data[N][PAGE] __attribute__((aligned(PAGE)));
    static struct iocb cb[N];
    struct iocb *list[N];
    struct io_event events[N];
    aio_context_t ctx = 0;
    if (syscall(SYS_io_setup, N, &ctx) < 0) {
        p_skip("io.aio", "no io_setup");
        return;
    }
    for (int flags = 0; flags < 2; flags++) {
        const char *name = flags ? "aio-direct" : "aio";
        int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | (flags ? O_DIRECT : 0), 0644);
        MUST(fd);
        for (int round = 0; round < 2; round++) {
            for (int i = 0; i < N; i++) {
                memset(data[i], round ? 0 : 'a' + i, PAGE);
                cb[i] = (struct iocb){.aio_lio_opcode = round ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
                                      .aio_fildes = (uint32_t)fd,
                                      .aio_buf = (uint64_t)(uintptr_t)data[i],
                                      .aio_nbytes = PAGE,
                                      .aio_offset = (int64_t)(N - 1 - i) * PAGE,
                                      .aio_data = (uint64_t)i};
                list[i] = &cb[i];
            }
            p_equal(p_id("io.%s.submit-%d", name, round), syscall(SYS_io_submit, ctx, N, list), N);
            p_equal(p_id("io.%s.done-%d", name, round), syscall(SYS_io_getevents, ctx, N, N, events, NULL),
                    N);
            int good = 0;
            for (int i = 0; i < N; i++)
                good += events[i].res == PAGE;
            p_equal(p_id("io.%s.good-%d", name, round), good, N);
        }
        int same = 0;
        for (int i = 0; i < N; i++)
            same += data[i][0] == 'a' + i && data[i][PAGE - 1] == 'a' + i;
        p_equal(p_id("io.%s.same", name), same, N);
        cb[0] = (struct iocb){.aio_lio_opcode = IOCB_CMD_FSYNC, .aio_fildes = (uint32_t)fd};
        if (syscall(SYS_io_submit, ctx, 1, list) == 1 &&
            syscall(SYS_io_getevents, ctx, 1, 1, events, NULL) == 1)
            p_equal(p_id("io.%s.fsync", name), events[0].res, 0);
        else
            p_true(p_id("io.%s.fsync", name), false);
        MUST(close(fd));
    }
    (void)syscall(SYS_io_destroy, ctx);
}

/* io_uring by hand: one ring, one request at a time. */
struct ring {
    int fd;
    struct io_uring_params p;
    char *sq, *cq;
    struct io_uring_sqe *sqes;
};

static int ring_open(struct ring *r)
{
    memset(r, 0, sizeof *r);
    r->fd = (int)syscall(SYS_io_uring_setup, 8, &r->p);
    if (r->fd < 0)
        return -1;
    r->sq = mmap(NULL, r->p.sq_off.array + r->p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
                 IORING_OFF_SQ_RING);
    r->cq = mmap(NULL, r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe),
                 PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
    r->sqes = mmap(NULL, r->p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
                   r->fd, IORING_OFF_SQES);
    return r->sq == MAP_FAILED || r->cq == MAP_FAILED || r->sqes == MAP_FAILED ? -1 : 0;
}

static int ring_do(struct ring *r, const struct io_uring_sqe *sqe)
{
    unsigned *tail = (unsigned *)(void *)(r->sq + r->p.sq_off.tail);
    unsigned mask = *(unsigned *)(void *)(r->sq + r->p.sq_off.ring_mask), at = *tail & mask;
    r->sqes[at] = *sqe;
    ((unsigned *)(void *)(r->sq + r->p.sq_off.array))[at] = at;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
        return -errno;
    unsigned *head = (unsigned *)(void *)(r->cq + r->p.cq_off.head);
    unsigned cq_mask = *(unsigned *)(void *)(r->cq + r->p.cq_off.ring_mask);
    const struct io_uring_cqe *cqe = (const struct io_uring_cqe *)(void *)(r->cq + r->p.cq_off.cqes);
    int res = cqe[*head & cq_mask].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return res;
}

static void uring(void)
{
    struct ring r;
    if (ring_open(&r) != 0) {
        p_skip("io.uring", "io_uring is not allowed here");
        return;
    }
    int fd = open("uring", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    MUST(fd);
    static char out[3 * PAGE], in[3 * PAGE];
    memset(out, 'u', sizeof(out));
    struct io_uring_sqe sqe = {
        .opcode = IORING_OP_WRITE, .fd = fd, .addr = (uintptr_t)out, .len = sizeof(out)};
    p_equal("io.uring.write", ring_do(&r, &sqe), 3 * PAGE);
    sqe.off = 2 * PAGE;
    sqe.len = 100;
    p_equal("io.uring.write-at", ring_do(&r, &sqe), 100);
    sqe = (struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)in, .len = sizeof(in)};
    p_equal("io.uring.read", ring_do(&r, &sqe), 3 * PAGE);
    p_equal("io.uring.same", memcmp(in, out, sizeof(in)), 0);
    sqe = (struct io_uring_sqe){.opcode = IORING_OP_FSYNC, .fd = fd};
    p_equal("io.uring.fsync", ring_do(&r, &sqe), 0);
    sqe = (struct io_uring_sqe){.opcode = IORING_OP_FALLOCATE, .fd = fd, .addr = 100000, .off = 0};
    p_equal("io.uring.fallocate", ring_do(&r, &sqe), 0);
    p_equal("io.uring.size", p_stat("uring").st_size, 100000);
    sqe = (struct io_uring_sqe){.opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (uintptr_t) "uring"};
    p_equal("io.uring.unlink", ring_do(&r, &sqe), 0);
    X("io.uring.gone", access("uring", F_OK), ENOENT);
    MUST(close(fd));
    (void)close(r.fd);
}

void io_run(void)
{
    mappings();
    p_apart(beyond_the_end);
    shared_by_two();
    direct();
    aio();
    uring();
}

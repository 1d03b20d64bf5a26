/*
 * ops.c - what changes content, each in one way, and the model likewise. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned char data[CACHE_MOST] __attribute__((aligned(CACHE_PAGE)));

struct range {
    size_t off, n;
};

/* Somewhere in the file. */
static struct range some(const struct file *f)
{
    if (f->size < 2)
        return (struct range){0, f->size};
    size_t off = below(f->size - 1);
    return (struct range){off, 1 + below(f->size - off)};
}

static struct range some_pages(const struct file *f)
{
    size_t pages = f->size / CACHE_PAGE, first = pages ? below(pages) : 0;
    return (struct range){first * CACHE_PAGE, pages ? (1 + below(pages - first)) * CACHE_PAGE : 0};
}

/* The call with random bytes must do all of it. */
static void put(struct file *f, struct range r, int fd)
{
    rnd_bytes(data, r.n);
    MUST(pwrite(fd, data, r.n, (off_t)r.off) == (ssize_t)r.n ? 0 : -1);
    model_put(f, r.off, data, r.n);
}

/* ---- writes ------------------------------------------------------------------- */

static int write_some(struct file *f)
{
    put(f, some(f), f->fd2);
    return 0;
}

static int write_longer(struct file *f)
{
    put(f, (struct range){f->size + below(9000), 1 + below(9000)}, f->fd2);
    return 0;
}

static int write_direct(struct file *f)
{
    put(f, some_pages(f), f->direct);
    return 0;
}

static int write_direct_longer(struct file *f)
{
    size_t end = (f->size + CACHE_PAGE - 1) / CACHE_PAGE * CACHE_PAGE;
    put(f, (struct range){end - (end ? CACHE_PAGE : 0), 3 * CACHE_PAGE}, f->direct);
    return 0;
}

/* Not all file systems can; then nothing has happened. */
static int write_direct_odd(struct file *f)
{
    struct range r = some(f);
    rnd_bytes(data, r.n);
    if (pwrite(f->direct, data, r.n, (off_t)r.off) != (ssize_t)r.n)
        return 1;
    model_put(f, r.off, data, r.n);
    return 0;
}

static int append_by(struct file *f, int flags, size_t n)
{
    int fd = open(f->name, O_WRONLY | O_APPEND | O_CLOEXEC | flags);
    MUST(fd);
    rnd_bytes(data, n);
    MUST(write(fd, data, n) == (ssize_t)n ? 0 : -1);
    model_put(f, f->size, data, n);
    MUST(close(fd));
    return 0;
}

static int append(struct file *f)
{
    return append_by(f, 0, 1 + below(9000));
}

static int append_direct(struct file *f)
{
    if (f->size % CACHE_PAGE)
        return 1;
    return append_by(f, O_DIRECT, CACHE_PAGE);
}

static int write_synced(struct file *f)
{
    int fd = open(f->name, O_WRONLY | O_DSYNC | O_CLOEXEC);
    MUST(fd);
    put(f, some(f), fd);
    MUST(close(fd));
    return 0;
}

static int write_vector(struct file *f)
{
    struct range r = some(f);
    rnd_bytes(data, r.n);
    const struct iovec parts[] = {{data, r.n / 3}, {data + r.n / 3, r.n - r.n / 3}};
    MUST(pwritev(f->fd, parts, 2, (off_t)r.off) == (ssize_t)r.n ? 0 : -1);
    model_put(f, r.off, data, r.n);
    return 0;
}

static int write_by_link(struct file *f)
{
    int fd = open(f->other_name, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    put(f, some(f), fd);
    MUST(close(fd));
    return 0;
}

static int write_by_process(struct file *f)
{
    struct range r = some(f);
    rnd_bytes(data, r.n);
    pid_t child = fork();
    MUST(child);
    if (child == 0) {
        int fd = open(f->name, O_WRONLY | O_CLOEXEC);
        _exit(fd < 0 || pwrite(fd, data, r.n, (off_t)r.off) != (ssize_t)r.n);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    MUST(status ? -1 : 0);
    model_put(f, r.off, data, r.n);
    return 0;
}

/* Into pages of the pipe, and from there into the file. */
static int splice_into(struct file *f)
{
    struct range r = some(f);
    int ends[2];
    loff_t off = (loff_t)r.off;
    r.n = r.n > 32768 ? 32768 : r.n;
    rnd_bytes(data, r.n);
    MUST(pipe2(ends, O_CLOEXEC));
    MUST(write(ends[1], data, r.n) == (ssize_t)r.n ? 0 : -1);
    for (size_t done = 0; done < r.n;) {
        ssize_t n = splice(ends[0], NULL, f->fd2, &off, r.n - done, 0);
        MUST(n > 0 ? 0 : -1);
        done += (size_t)n;
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
    model_put(f, r.off, data, r.n);
    return 0;
}

/* Another file of so many random bytes. */
static int source(size_t n)
{
    rnd_bytes(data, n);
    int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    MUST(fd);
    MUST(pwrite(fd, data, n, 0) == (ssize_t)n ? 0 : -1);
    return fd;
}

static int send_into(struct file *f)
{
    struct range r = some(f);
    int from = source(r.n);
    off_t off = 0;
    MUST(lseek(f->fd, (off_t)r.off, SEEK_SET));
    while (off < (off_t)r.n)
        MUST(sendfile(f->fd, from, &off, r.n - (size_t)off) > 0 ? 0 : -1);
    MUST(close(from));
    model_put(f, r.off, data, r.n);
    return 0;
}

static void copy_range(int from, off_t at, int to, off_t off, size_t n)
{
    while (n > 0) {
        ssize_t got = copy_file_range(from, &at, to, &off, n, 0);
        MUST(got > 0 ? 0 : -1);
        n -= (size_t)got;
    }
}

static int copy_to(struct file *f, int to)
{
    struct range r = some(f);
    int from = source(r.n);
    copy_range(from, 0, to, (off_t)r.off, r.n);
    MUST(close(from));
    model_put(f, r.off, data, r.n);
    return 0;
}

/* The daemon copies for a descriptor that has made its file, the kernel by reading and writing for others. */
static int copy_into(struct file *f)
{
    return copy_to(f, f->fd);
}

static int copy_opened(struct file *f)
{
    return copy_to(f, f->fd2);
}

/* From what a mapping has just stored, and nobody has written back. */
static int copy_stored(struct file *f)
{
    struct range r = some_pages(f);
    int from = source(r.n);
    if (r.n) {
        unsigned char *m = mmap(NULL, r.n, PROT_READ | PROT_WRITE, MAP_SHARED, from, 0);
        MUST(m == MAP_FAILED ? -1 : 0);
        rnd_bytes(data, r.n);
        memcpy(m, data, r.n);
        copy_range(from, 0, f->fd, (off_t)r.off, r.n);
        MUST(munmap(m, r.n));
    }
    MUST(close(from));
    model_put(f, r.off, data, r.n);
    return 0;
}

static int copy_within(struct file *f)
{
    size_t half = f->size / 2, n = half ? 1 + below(half) : 0, at = half ? below(half - n + 1) : 0;
    copy_range(f->fd, (off_t)at, f->fd, (off_t)(half + at), n);
    memmove(f->model + half + at, f->model + at, n);
    return 0;
}

/* ---- mappings ------------------------------------------------------------------- */

static int store(struct file *f)
{
    struct range r = some(f);
    rnd_bytes(data, r.n);
    memcpy(f->stored + r.off, data, r.n);
    model_put(f, r.off, data, r.n);
    f->unsynced = true;
    return 0;
}

static int store_synced(struct file *f)
{
    (void)store(f);
    MUST(msync(f->stored, CACHE_MOST, MS_SYNC));
    f->unsynced = false;
    return 0;
}

/* Is nobody else's business. */
static int store_private(struct file *f)
{
    unsigned char *m = mmap(NULL, CACHE_MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE, f->fd, 0);
    MUST(m == MAP_FAILED ? -1 : 0);
    if (f->size)
        memset(m, 'p', f->size);
    MUST(munmap(m, CACHE_MOST));
    return 0;
}

/* ---- sizes and holes ---------------------------------------------------------------- */

static int allocate(struct file *f, int mode, struct range r)
{
    if (r.n == 0)
        return 0;
    if (fallocate(f->fd2, mode, (off_t)r.off, (off_t)r.n)) {
        MUST(errno == EOPNOTSUPP ? 0 : -1);
        return 1;
    }
    if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
        model_zero(f, r.off, r.n, !(mode & FALLOC_FL_KEEP_SIZE));
    else if (!(mode & FALLOC_FL_KEEP_SIZE) && r.off + r.n > f->size)
        model_resize(f, r.off + r.n);
    return 0;
}

static int punch(struct file *f)
{
    return allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, some(f));
}

static int punch_pages(struct file *f)
{
    return allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, some_pages(f));
}

static int zero_range(struct file *f)
{
    struct range r = some(f);
    r.n += below(2) * 5000;
    return allocate(f, FALLOC_FL_ZERO_RANGE, r);
}

static int zero_range_keep(struct file *f)
{
    struct range r = some(f);
    r.n += 5000;
    return allocate(f, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, r);
}

static int allocate_longer(struct file *f)
{
    return allocate(f, 0, (struct range){f->size / 2, f->size / 2 + 1 + below(9000)});
}

static int allocate_keep(struct file *f)
{
    return allocate(f, FALLOC_FL_KEEP_SIZE, (struct range){f->size / 2, f->size});
}

static int shrink(struct file *f)
{
    size_t to = f->size ? below(f->size) : 0;
    MUST(ftruncate(f->fd2, (off_t)to));
    model_resize(f, to);
    return 0;
}

static int shrink_by_name(struct file *f)
{
    size_t to = f->size / 2 / CACHE_PAGE * CACHE_PAGE;
    MUST(truncate(f->other_name, (off_t)to));
    model_resize(f, to);
    return 0;
}

static int grow(struct file *f)
{
    size_t to = f->size + 1 + below(9000);
    MUST(ftruncate(f->fd2, (off_t)to));
    model_resize(f, to);
    return 0;
}

/* What was cut off is zeros when the file grows again. */
static int shrink_and_grow(struct file *f)
{
    size_t to = f->size;
    (void)shrink(f);
    MUST(truncate(f->name, (off_t)to));
    model_resize(f, to);
    return 0;
}

/* With O_TRUNC, and written anew. */
static int replace_by(struct file *f, int flags)
{
    size_t n = (f->size + CACHE_PAGE - 1) / CACHE_PAGE * CACHE_PAGE;
    int fd = open(f->name, O_WRONLY | O_TRUNC | O_CLOEXEC | flags);
    MUST(fd);
    model_resize(f, 0);
    put(f, (struct range){0, n}, fd);
    MUST(close(fd));
    return 0;
}

static int replace(struct file *f)
{
    return replace_by(f, 0);
}

static int replace_direct(struct file *f)
{
    return replace_by(f, O_DIRECT);
}

static int truncate_only(struct file *f)
{
    int fd = open(f->name, O_RDWR | O_TRUNC | O_CLOEXEC);
    MUST(fd);
    MUST(close(fd));
    model_resize(f, 0);
    return 0;
}

const struct content_op content_ops[] = {
    {"write", write_some, false},
    {"write-longer", write_longer, false},
    {"write-direct", write_direct, false},
    {"write-direct-longer", write_direct_longer, false},
    {"write-direct-odd", write_direct_odd, false},
    {"append", append, false},
    {"append-direct", append_direct, false},
    {"write-synced", write_synced, false},
    {"write-vector", write_vector, false},
    {"write-by-link", write_by_link, false},
    {"write-by-process", write_by_process, false},
    {"splice", splice_into, false},
    {"sendfile", send_into, false},
    {"copy", copy_into, false},
    {"copy-opened", copy_opened, false},
    {"copy-stored", copy_stored, false},
    {"copy-within", copy_within, false},
    {"store", store, false},
    {"store-synced", store_synced, false},
    {"store-private", store_private, false},
    {"punch", punch, false},
    {"punch-pages", punch_pages, false},
    {"zero-range", zero_range, false},
    {"zero-range-keep", zero_range_keep, false},
    {"allocate-longer", allocate_longer, false},
    {"allocate-keep", allocate_keep, false},
    {"shrink", shrink, true},
    {"shrink-by-name", shrink_by_name, true},
    {"grow", grow, false},
    {"shrink-and-grow", shrink_and_grow, true},
    {"replace", replace, true},
    {"replace-direct", replace_direct, true},
    {"truncate", truncate_only, true},
    {"aio", op_aio, false},
    {"aio-longer", op_aio_append, false},
    {"uring", op_uring, false},
    {"uring-buffered", op_uring_buffered, false},
};
const size_t content_ops_n = COUNT_OF(content_ops);

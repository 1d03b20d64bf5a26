/*
 * file.c - the file, its model, and the kinds of readers that compare the two. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the model ------------------------------------------------------------ */

void model_put(struct file *f, size_t off, const void *data, size_t n)
{
    memcpy(f->model + off, data, n);
    if (off + n > f->size)
        f->size = off + n;
}

void model_zero(struct file *f, size_t off, size_t n, bool may_grow)
{
    if (!may_grow && off + n > f->size)
        n = off < f->size ? f->size - off : 0;
    memset(f->model + off, 0, n);
    if (off + n > f->size)
        f->size = off + n;
}

void model_resize(struct file *f, size_t size)
{
    if (size < f->size)
        memset(f->model + size, 0, f->size - size);
    f->size = size;
}

/* ---- the file ------------------------------------------------------------- */

static unsigned char *map(int fd, int protection, int flags)
{
    void *at = mmap(NULL, CACHE_MOST, protection, flags, fd, 0);
    MUST(at == MAP_FAILED ? -1 : 0);
    return at;
}

static int open_it(const struct file *f, int flags)
{
    int fd = open(f->name, flags | O_CLOEXEC);
    MUST(fd);
    return fd;
}

static void fill(struct file *f, size_t size, bool holes)
{
    rnd_bytes(f->model, size);
    memset(f->model + size, 0, CACHE_MOST - size);
    f->size = size;
    MUST(pwrite(f->fd, f->model, size, 0) == (ssize_t)size ? 0 : -1);
    for (size_t at = 0; holes && at + 3 * CACHE_PAGE < size; at += 6 * CACHE_PAGE) {
        MUST(fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, 3 * CACHE_PAGE));
        model_zero(f, at, 3 * CACHE_PAGE, false);
    }
}

void file_begin(struct file *f, size_t size, bool holes)
{
    f->unsynced = false;
    f->name = "file";
    f->other_name = "linked";
    (void)unlink(f->name);
    (void)unlink(f->other_name);
    if (!f->model)
        f->model = malloc(CACHE_MOST);
    MUST(f->model ? 0 : -1);
    f->fd = open(f->name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    MUST(f->fd);
    MUST(link(f->name, f->other_name));
    fill(f, size, holes);
    f->fd2 = open_it(f, O_RDWR);
    f->direct = open_it(f, O_RDWR | O_DIRECT);
    f->reader = open_it(f, O_RDONLY);
    f->direct_reader = open_it(f, O_RDONLY | O_DIRECT);
    f->shared = map(f->reader, PROT_READ, MAP_SHARED);
    f->private = map(f->reader, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    f->stored = map(f->fd, PROT_READ | PROT_WRITE, MAP_SHARED);
}

void file_end(struct file *f)
{
    (void)munmap(f->shared, CACHE_MOST);
    (void)munmap(f->private, CACHE_MOST);
    (void)munmap(f->stored, CACHE_MOST);
    const int fds[] = {f->fd, f->fd2, f->direct, f->reader, f->direct_reader};
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        MUST(close(fds[i]));
}

void file_drop(struct file *f)
{
    MUST(fsync(f->fd));
    f->unsynced = false;
    (void)madvise(f->shared, CACHE_MOST, MADV_DONTNEED);
    (void)madvise(f->private, CACHE_MOST, MADV_DONTNEED);
    (void)madvise(f->stored, CACHE_MOST, MADV_DONTNEED);
    MUST(posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED));
}

/* ---- readers: what they see goes to `to`, of CACHE_MOST bytes, and how much it is is returned -------- */

static ssize_t read_all(int fd, unsigned char *to)
{
    size_t at = 0;
    ssize_t n = 1;
    while (n > 0 && at < CACHE_MOST) {
        n = pread(fd, to + at, CACHE_MOST - at, (off_t)at);
        MUST(n);
        at += (size_t)n;
        if (at % CACHE_PAGE) /* the end: O_DIRECT cannot read on from here */
            break;
    }
    return (ssize_t)at;
}

static ssize_t by_pread(struct file *f, unsigned char *to)
{
    return read_all(f->reader, to);
}

static ssize_t by_direct(struct file *f, unsigned char *to)
{
    return read_all(f->direct_reader, to);
}

static ssize_t by_mapping(struct file *f, unsigned char *to)
{
    memcpy(to, f->shared, f->size);
    return (ssize_t)f->size;
}

static ssize_t by_private_mapping(struct file *f, unsigned char *to)
{
    memcpy(to, f->private, f->size);
    return (ssize_t)f->size;
}

static ssize_t by_small_reads(struct file *f, unsigned char *to)
{
    size_t at = 0;
    ssize_t n;
    MUST(lseek(f->reader, 0, SEEK_SET));
    while ((n = read(f->reader, to + at, 1 + at % 3001)) > 0)
        at += (size_t)n;
    MUST(n);
    return (ssize_t)at;
}

static ssize_t by_name(struct file *f, unsigned char *to)
{
    int fd = open_it(f, O_RDONLY);
    ssize_t n = read_all(fd, to);
    MUST(close(fd));
    return n;
}

static ssize_t by_link(struct file *f, unsigned char *to)
{
    int fd = open(f->other_name, O_RDONLY | O_CLOEXEC);
    MUST(fd);
    ssize_t n = read_all(fd, to);
    MUST(close(fd));
    return n;
}

/* Without a copy through this process: pages themselves go into the pipe. */
static ssize_t by_splice(struct file *f, unsigned char *to)
{
    int ends[2];
    off_t off = 0;
    size_t at = 0;
    ssize_t n;
    MUST(pipe2(ends, O_CLOEXEC));
    while ((n = splice(f->reader, &off, ends[1], NULL, 32768, 0)) > 0)
        for (ssize_t got, left = n; left > 0; left -= got, at += (size_t)got) {
            got = read(ends[0], to + at, (size_t)left);
            MUST(got);
        }
    MUST(n);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return (ssize_t)at;
}

/* The result of another process that has opened it anew: in memory that both have. */
static ssize_t by_process(struct file *f, unsigned char *to)
{
    unsigned char *common = mmap(NULL, CACHE_MOST, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(common == MAP_FAILED ? -1 : 0);
    struct stat st;
    pid_t child = fork();
    MUST(child);
    if (child == 0) {
        int fd = open(f->name, O_RDONLY | O_CLOEXEC);
        _exit(fd < 0 || fstat(fd, &st) || read_all(fd, common) != st.st_size);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    MUST(stat(f->name, &st));
    memcpy(to, common, (size_t)st.st_size);
    (void)munmap(common, CACHE_MOST);
    return status ? -1 : (ssize_t)st.st_size;
}

static const struct {
    const char *name;
    ssize_t (*read)(struct file *f, unsigned char *to);
    bool costs;
} readers[] = {
    {"a mapping", by_mapping, false},
    {"a private mapping", by_private_mapping, false},
    {"pread", by_pread, false},
    {"small reads", by_small_reads, false},
    {"a splice", by_splice, false},
    {"an O_DIRECT read", by_direct, false},
    {"a new descriptor", by_name, true},
    {"another name", by_link, true},
    {"another process", by_process, true},
    {"a mapping again", by_mapping, true}, /* what the others have read may have come in between */
};

/* ---- attributes and holes ----------------------------------------------------- */

static bool same_times(const struct statx *a, const struct statx *b)
{
    return a->stx_mtime.tv_sec == b->stx_mtime.tv_sec && a->stx_mtime.tv_nsec == b->stx_mtime.tv_nsec &&
           a->stx_ctime.tv_sec == b->stx_ctime.tv_sec && a->stx_ctime.tv_nsec == b->stx_ctime.tv_nsec;
}

bool blocks_lag;

bool stat_agrees(int fd, const char *path, char why[256])
{
    struct statx kept, asked;
    int flags = *path ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH;
    MUST(statx(fd, path, flags, STATX_BASIC_STATS, &kept));
    MUST(statx(fd, path, flags | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &asked));
    const struct {
        const char *name;
        uint64_t kept, asked;
    } fields[] = {
        {"size", kept.stx_size, asked.stx_size},
        {"mode", kept.stx_mode, asked.stx_mode},
        {"nlink", kept.stx_nlink, asked.stx_nlink},
        {"ino", kept.stx_ino, asked.stx_ino},
        {"uid", kept.stx_uid, asked.stx_uid},
        {"gid", kept.stx_gid, asked.stx_gid},
        {"blocks", blocks_lag ? asked.stx_blocks : kept.stx_blocks, asked.stx_blocks},
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (fields[i].kept != fields[i].asked) {
            (void)snprintf(why, 256, "%s%s kept %llu, asked %llu", *path ? path : "the descriptor's ",
                           fields[i].name, (unsigned long long)fields[i].kept,
                           (unsigned long long)fields[i].asked);
            return false;
        }
    if (same_times(&kept, &asked))
        return true;
    (void)snprintf(
        why, 256, "times of '%s' (mode %o): kept %lld.%09u and %lld.%09u, asked %lld.%09u and %lld.%09u",
        path, kept.stx_mode, (long long)kept.stx_mtime.tv_sec, kept.stx_mtime.tv_nsec,
        (long long)kept.stx_ctime.tv_sec, kept.stx_ctime.tv_nsec, (long long)asked.stx_mtime.tv_sec,
        asked.stx_mtime.tv_nsec, (long long)asked.stx_ctime.tv_sec, asked.stx_ctime.tv_nsec);
    return false;
}

/* Nothing that has content is called a hole, neither by SEEK_DATA nor by a file that takes no block. */
static bool holes_agree(struct file *f, char why[256])
{
    struct stat st;
    bool content = false;
    MUST(fstat(f->reader, &st));
    for (off_t at = 0; at < (off_t)f->size;) {
        off_t data = lseek(f->reader, at, SEEK_DATA);
        MUST(data < 0 && errno != ENXIO ? -1 : 0);
        off_t end = data < 0 ? (off_t)f->size : data;
        for (off_t i = at; i < end; i++)
            if (f->model[i]) {
                (void)snprintf(why, 256, "SEEK_DATA from %lld gives %lld, but there is content at %lld",
                               (long long)at, (long long)data, (long long)i);
                return false;
            }
        if (data < 0)
            break;
        content = true;
        at = lseek(f->reader, data, SEEK_HOLE);
        MUST(at);
    }
    if (content && st.st_blocks == 0) { /* tar -S would store no byte of it */
        (void)snprintf(why, 256, "no blocks, but content");
        return false;
    }
    return true;
}

static bool contents_agree(struct file *f, bool whole, char why[256])
{
    static unsigned char seen[CACHE_MOST] __attribute__((aligned(CACHE_PAGE)));
    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        if (readers[i].costs && !whole)
            continue;
        ssize_t n = readers[i].read(f, seen);
        if (n != (ssize_t)f->size) {
            (void)snprintf(why, 256, "%s sees %zd bytes of %zu", readers[i].name, n, f->size);
            return false;
        }
        if (memcmp(seen, f->model, f->size) == 0)
            continue;
        size_t at = 0, wrong = 0;
        while (seen[at] == f->model[at])
            at++;
        for (size_t k = at; k < f->size; k++)
            wrong += seen[k] != f->model[k];
        (void)snprintf(why, 256, "%s sees %zu wrong bytes of %zu, the first at %zu: %02x for %02x",
                       readers[i].name, wrong, f->size, at, seen[at], f->model[at]);
        return false;
    }
    return true;
}

bool file_agrees(struct file *f, bool whole, char why[256])
{
    struct stat st;
    MUST(fstat(f->reader, &st));
    if (st.st_size != (off_t)f->size) {
        (void)snprintf(why, 256, "fstat has %lld bytes, not %zu", (long long)st.st_size, f->size);
        return false;
    }
    bool holes = f->unsynced || holes_agree(f, why); /* posix/holes.c has what is stored and not synced */
    return holes && contents_agree(f, whole, why) && stat_agrees(f->reader, "", why);
}

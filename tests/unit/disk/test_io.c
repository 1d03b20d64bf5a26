/*
 * test_io.c - the POSIX side of the OS seam, and the helpers that loop over
 * short counts and EINTR (these over a fake implementation). */
#include "disk/medium.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- a scratch directory, made and removed around each test ------------- */

static char scratch[64];
static char store[96]; /* within scratch; made by io_posix_new() */
static struct eng_io *io;

static void setup(void)
{
    strcpy(scratch, "/tmp/engramfs-io-XXXXXX");
    cr_assert_not_null(mkdtemp(scratch));
    (void)snprintf(store, sizeof(store), "%s/store", scratch);
    cr_assert_eq(io_posix_new(store, true, &io), 0);
}

static int remove_one(void *arg, const char *name)
{
    struct eng_io *dir = arg;
    return dir->ops->unlink(dir, name);
}

static void teardown(void)
{
    (void)io->ops->list(io, remove_one, io);
    io_posix_free(io);
    cr_assert_eq(rmdir(store), 0);
    cr_assert_eq(rmdir(scratch), 0);
}

TestSuite(io, .init = setup, .fini = teardown);

struct names {
    int n, stop_at;
    char joined[256];
};

static int collect(void *arg, const char *name)
{
    struct names *names = arg;
    names->n++;
    strcat(names->joined, name);
    strcat(names->joined, " ");
    return names->n == names->stop_at ? 7 : 0;
}

static struct names list_names(int stop_at, int expect)
{
    struct names names = {.stop_at = stop_at};
    cr_assert_eq(io->ops->list(io, collect, &names), expect);
    return names;
}

static struct io_file *create(const char *name)
{
    struct io_file *file = NULL;
    cr_assert_eq(io->ops->open(io, name, IO_RDWR | IO_CREATE, &file), 0);
    return file;
}

static void put(struct io_file *file, const char *text, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    cr_assert_eq(io_pwritev_full(file, io->ops, &iov, 1, offset), 0);
}

/* ---- the directory ------------------------------------------------------ */

Test(io, new_makes_a_private_directory_once)
{
    struct stat st;
    cr_assert_eq(stat(store, &st), 0);
    cr_assert(S_ISDIR(st.st_mode));
    cr_assert_eq(st.st_mode & 077, 0);

    struct eng_io *again = NULL;
    cr_assert_eq(io_posix_new(store, true, &again), 0);
    io_posix_free(again);
    io_posix_free(NULL);
}

Test(io, new_reports_what_is_wrong)
{
    char path[256];
    struct eng_io *other = NULL;
    (void)snprintf(path, sizeof(path), "%s/missing", scratch);
    cr_assert_eq(io_posix_new(path, false, &other), -ENOENT);
    (void)snprintf(path, sizeof(path), "%s/missing/below", scratch);
    cr_assert_eq(io_posix_new(path, true, &other), -ENOENT);

    io->ops->close(create("plain"));
    (void)snprintf(path, sizeof(path), "%s/plain", store);
    cr_assert_eq(io_posix_new(path, true, &other), -ENOTDIR);
    cr_assert_eq(io_posix_new(path, false, &other), -ENOTDIR);
    cr_assert_null(other);
}

Test(io, list_delivers_each_name_and_stops_when_told)
{
    cr_assert_eq(list_names(0, 0).n, 0);
    io->ops->close(create("one"));
    io->ops->close(create("two"));
    struct names names = list_names(0, 0);
    cr_assert_eq(names.n, 2);
    cr_assert_not_null(strstr(names.joined, "one "));
    cr_assert_not_null(strstr(names.joined, "two "));
    cr_assert_eq(list_names(1, 7).n, 1);
    cr_assert_eq(list_names(0, 0).n, 2, "a listing must start from the beginning");
}

Test(io, unlink_and_rename)
{
    struct io_file *file = create("a");
    put(file, "content of a", 0);
    io->ops->close(file);
    io->ops->close(create("b"));

    cr_assert_eq(io->ops->rename(io, "a", "b"), 0);
    cr_assert_eq(io->ops->syncdir(io), 0);
    char *data = NULL;
    size_t size = 0;
    cr_assert_eq(io_read_file(io, "b", 100, &data, &size), 0);
    cr_assert_str_eq(data, "content of a");
    free(data);

    cr_assert_eq(io->ops->rename(io, "a", "c"), -ENOENT);
    cr_assert_eq(io->ops->unlink(io, "a"), -ENOENT);
    cr_assert_eq(io->ops->unlink(io, "b"), 0);
    cr_assert_eq(list_names(0, 0).n, 0);
}

/* ---- open --------------------------------------------------------------- */

Test(io, open_tells_missing_from_existing)
{
    struct io_file *file = NULL;
    cr_assert_eq(io->ops->open(io, "f", IO_RDONLY, &file), -ENOENT);
    cr_assert_eq(io->ops->open(io, "f", IO_RDWR, &file), -ENOENT);
    io->ops->close(create("f"));
    cr_assert_eq(io->ops->open(io, "f", IO_RDWR | IO_CREATE, &file), -EEXIST);
    cr_assert_null(file);
    cr_assert_eq(io->ops->open(io, "f", IO_RDWR, &file), 0);
    io->ops->close(file);
    io->ops->close(NULL);
}

Test(io, open_for_reading_refuses_writes)
{
    io->ops->close(create("f"));
    struct io_file *file = NULL;
    cr_assert_eq(io->ops->open(io, "f", IO_RDONLY, &file), 0);
    struct iovec iov = {.iov_base = scratch, .iov_len = 1};
    cr_assert_eq(io->ops->pwritev(file, &iov, 1, 0), -EBADF);
    io->ops->close(file);
}

Test(io, open_takes_regular_files_only)
{
    char path[128];
    struct io_file *file = NULL;
    (void)snprintf(path, sizeof(path), "%s/link", store);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    cr_assert_eq(io->ops->open(io, "link", IO_RDONLY, &file), -ELOOP);

    (void)snprintf(path, sizeof(path), "%s/fifo", store);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(io->ops->open(io, "fifo", IO_RDONLY, &file), -EBADMSG, "must neither hang nor succeed");

    (void)snprintf(path, sizeof(path), "%s/dir", store);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(io->ops->open(io, "dir", IO_RDONLY, &file), -EISDIR);
    cr_assert_eq(rmdir(path), 0);
}

/* ---- content ------------------------------------------------------------ */

Test(io, a_file_without_a_name_is_not_durable)
{
    struct io_file *file = create("f");
    put(file, "hello", 0);
    cr_assert_eq(io->ops->datasync(file), 0);
    cr_assert_eq(io->ops->unlink(io, "f"), 0);
    put(file, "world", 5);
    cr_assert_eq(io->ops->datasync(file), -ENOENT);
    io->ops->close(file);
}

Test(io, write_read_size_truncate)
{
    struct io_file *file = create("f");
    uint64_t size = 1;
    cr_assert_eq(io->ops->file_size(file, &size), 0);
    cr_assert_eq(size, 0);

    put(file, "hello", 0);
    put(file, "world", 10);
    cr_assert_eq(io->ops->datasync(file), 0);
    io->ops->drop_cache(file);
    cr_assert_eq(io->ops->file_size(file, &size), 0);
    cr_assert_eq(size, 15);

    char buf[32];
    cr_assert_eq(io_pread_full(file, io->ops, buf, sizeof(buf), 0), 15, "short at the end of the file");
    cr_assert_eq(memcmp(buf, "hello\0\0\0\0\0world", 15), 0);
    cr_assert_eq(io_pread_full(file, io->ops, buf, sizeof(buf), 15), 0);
    cr_assert_eq(io_pread_full(file, io->ops, buf, sizeof(buf), 1 << 20), 0);

    cr_assert_eq(io->ops->truncate(file, 3), 0);
    cr_assert_eq(io_pread_full(file, io->ops, buf, sizeof(buf), 0), 3);
    cr_assert_eq(io->ops->truncate(file, 5), 0);
    cr_assert_eq(io_pread_full(file, io->ops, buf, sizeof(buf), 0), 5);
    cr_assert_eq(memcmp(buf, "hel\0\0", 5), 0);
    io->ops->close(file);
}

/* The linker wraps pread(), pwritev() and openat(): one sector is bad, or one file, as the kernel tells. */
ssize_t __real_pread64(int fd, void *buf, size_t size, off_t at);
ssize_t __wrap_pread64(int fd, void *buf, size_t size, off_t at);
int __real_openat64(int dir, const char *name, int flags, int mode);
int __wrap_openat64(int dir, const char *name, int flags, int mode);
static int medium_errno, open_errno;
static off_t bad_sector = 2 * 4096;

ssize_t __real_pwritev64(int fd, const struct iovec *iov, int n, off_t at);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t at);

/* The kernel reads what of a block is not written. */
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int n, off_t at)
{
    errno = medium_errno;
    return medium_errno && at % 4096 ? -1 : __real_pwritev64(fd, iov, n, at);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t size, off_t at)
{
    if (!medium_errno || at >= bad_sector + 512 || at + (off_t)size <= bad_sector)
        return __real_pread64(fd, buf, size, at);
    errno = medium_errno;
    return -1;
}

int __wrap_openat64(int dir, const char *name, int flags, int mode)
{
    if (!open_errno)
        return __real_openat64(dir, name, flags, mode);
    errno = open_errno;
    return -1;
}

/* Another file system may tell no birth. */
int __real_statx(int dir, const char *path, int flags, unsigned mask, struct statx *st);
int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *st);
static unsigned untold;

int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *st)
{
    int r = __real_statx(dir, path, flags, mask, st);
    st->stx_mask &= ~untold;
    return r;
}

static uint64_t identity_of(const char *name, int flags)
{
    struct io_file *file;
    cr_assert_eq(io->ops->open(io, name, flags, &file), 0, "%s", name);
    uint64_t self = io_identity(file, io->ops);
    if (!self && !untold)
        cr_skip_test("this file system tells no time of birth");
    if (flags & IO_CREATE) {
        struct iovec iov = {"the same", 8};
        cr_assert_eq(io_pwritev_full(file, io->ops, &iov, 1, 0), 0);
        cr_assert_eq(io->ops->truncate(file, 5), 0);
        cr_assert_eq(io_identity(file, io->ops), self);
    }
    io->ops->close(file);
    return self;
}

Test(io, a_copy_of_a_file_is_another_one)
{
    uint64_t self = identity_of("a", IO_RDWR | IO_CREATE);
    cr_assert_eq(identity_of("a", IO_RDONLY), self);
    cr_assert_eq(io->ops->rename(io, "a", "b"), 0);
    cr_assert_eq(identity_of("b", IO_RDWR), self);
    uint64_t copy = identity_of("a", IO_RDWR | IO_CREATE);
    cr_assert_neq(copy, self);
    cr_assert_eq(io->ops->rename(io, "a", "b"), 0);
    cr_assert_eq(identity_of("b", IO_RDONLY), copy, "in its place");
}

Test(io, without_a_birth_nobody_knows_which_file_it_is)
{
    untold = STATX_BTIME;
    cr_assert_eq(identity_of("a", IO_RDWR | IO_CREATE), 0);
    untold = 0;
}

Test(io, all_errors_of_the_medium_are_one)
{
    static const int errors[] = {EIO, ENODATA, EILSEQ, EREMOTEIO, EUCLEAN, EBADMSG};
    static const char blocks[4 * 4096];
    struct io_file *file = create("f");
    struct iovec iov = {.iov_base = (void *)(uintptr_t)blocks, .iov_len = sizeof(blocks)};
    struct medium m;
    char buf[4096];
    cr_assert_eq(io_pwritev_full(file, io->ops, &iov, 1, 0), 0);
    cr_assert_eq(io->ops->datasync(file), 0);
    cr_assert_eq(medium_init(&m, io), 0);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        medium_errno = errors[i];
        cr_assert_eq(io->ops->pread(file, buf, 512, 2 * 4096), -EIO, "%d", errors[i]);
        iov = (struct iovec){.iov_base = buf, .iov_len = 512};
        cr_assert_eq(io->ops->pwritev(file, &iov, 1, 2 * 4096 + 100), -EIO, "%d", errors[i]);
        cr_assert_eq(medium_open(&m, "f"), 0);
        for (uint64_t block = 0; block < 4; block++)
            cr_assert_eq(medium_read(&m, buf, sizeof(buf), block * 4096), block == 2 ? -EIO : 0, "%d: %d",
                         errors[i], (int)block);
        medium_close(&m);
        medium_errno = 0;
        open_errno = errors[i];
        struct io_file *other = NULL;
        cr_assert_eq(io->ops->open(io, "f", IO_RDONLY, &other), -EIO);
        cr_assert_eq(io->ops->open(io, "f", IO_RDWR, &other), -EIO);
        open_errno = 0;
    }
    medium_free(&m);
    open_errno = EACCES;
    struct io_file *other = NULL;
    cr_assert_eq(io->ops->open(io, "f", IO_RDONLY, &other), -EACCES);
    open_errno = 0;
    medium_errno = EINTR;
    cr_assert_eq(io->ops->pread(file, buf, 512, 2 * 4096), -EINTR, "others keep their names");
    medium_errno = EROFS;
    cr_assert_eq(io->ops->pwritev(file, &iov, 1, 2 * 4096 + 100), -EROFS);
    medium_errno = 0;
    io->ops->close(file);
}

Test(io, write_takes_more_vectors_than_the_kernel)
{
    enum { N = 3000 };
    struct iovec iov[N];
    char bytes[N];
    for (int i = 0; i < N; i++) {
        bytes[i] = (char)i;
        iov[i] = (struct iovec){.iov_base = &bytes[i], .iov_len = 1};
    }
    struct io_file *file = create("f");
    cr_assert_eq(io_pwritev_full(file, io->ops, iov, N, 7), 0);
    char back[N];
    cr_assert_eq(io_pread_full(file, io->ops, back, N, 7), N);
    cr_assert_eq(memcmp(bytes, back, N), 0);
    io->ops->close(file);
}

Test(io, offsets_beyond_the_kernel_are_refused)
{
    struct io_file *file = create("f");
    char byte = 0;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    cr_assert_eq(io->ops->pread(file, &byte, 1, UINT64_MAX), -EINVAL);
    cr_assert_eq(io->ops->pwritev(file, &iov, 1, UINT64_MAX), -EINVAL);
    cr_assert_eq(io->ops->truncate(file, UINT64_MAX), -EFBIG);
    cr_assert_eq(io->ops->allocate(file, 0, UINT64_MAX), -EFBIG);
    io->ops->close(file);
}

Test(io, what_is_not_cached_can_be_read_past_the_cache)
{
    enum { SIZE = 3 << 20 };
    struct io_file *file = create("f"), *direct = NULL;
    uint8_t *data = malloc(SIZE), *buf = aligned_alloc(IO_ALIGN, SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (uint8_t)(i / 7);
    struct iovec iov = {data, SIZE};
    cr_assert_eq(io_pwritev_full(file, io->ops, &iov, 1, 0), 0);
    cr_assert_eq(io->ops->cached(file, 0, SIZE), 1, "it was just written");
    cr_assert_eq(io->ops->cached(file, IO_ALIGN, 1000), 1);
    cr_assert_eq(io->ops->datasync(file), 0);
    io->ops->drop_cache(file);
    struct statfs fs;
    cr_assert_eq(statfs(store, &fs), 0);
    bool in_memory = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
    cr_assert_eq(io->ops->cached(file, 0, SIZE), in_memory);
    if (in_memory) {
        fprintf(stderr, "a file system in memory cannot forget: skipped\n");
    } else if (io->ops->open(io, "f", IO_DIRECT, &direct) == 0) {
        memset(buf, 0, SIZE);
        cr_assert_eq(io->ops->pread(direct, buf, SIZE - IO_ALIGN, IO_ALIGN), SIZE - IO_ALIGN);
        cr_assert_eq(memcmp(buf, data + IO_ALIGN, SIZE - IO_ALIGN), 0);
        cr_assert_eq(io->ops->cached(file, 0, SIZE), 0, "nor is it now");
        io->ops->close(direct);
    }
    io->ops->close(file);
    free(buf);
    free(data);
}

Test(io, allocate_reserves_and_usage_counts_it)
{
    uint64_t before = 0, after = 0, size = 0;
    cr_assert_eq(io->ops->usage(io, &before), 0);
    struct io_file *file = create("f");
    int r = io->ops->allocate(file, 0, 1 << 20);
    if (r != -EOPNOTSUPP) {
        cr_assert_eq(r, 0);
        cr_assert_eq(io->ops->file_size(file, &size), 0);
        cr_assert_eq(size, 1 << 20);
        cr_assert_eq(io->ops->usage(io, &after), 0);
        cr_assert_geq(after, before + (1 << 20));
    }
    io->ops->close(file);
}

Test(io, space_is_plausible)
{
    struct io_space space = {0};
    cr_assert_eq(io->ops->space(io, &space), 0);
    cr_assert_geq(space.block_size, 512);
    cr_assert_geq(space.total_bytes, space.free_bytes);
    cr_assert_geq(space.free_bytes, space.avail_bytes);
}

/* ---- the lock ----------------------------------------------------------- */

Test(io, lock_excludes_others_until_unlock_or_close)
{
    struct eng_io *other = NULL;
    cr_assert_eq(io_posix_new(store, false, &other), 0);
    cr_assert_eq(io->ops->lock(io, false), 0);
    cr_assert_eq(other->ops->lock(other, false), -EBUSY);
    cr_assert_eq(other->ops->lock(other, true), -EBUSY);
    io->ops->unlock(io);
    cr_assert_eq(other->ops->lock(other, false), 0);
    cr_assert_eq(io->ops->lock(io, true), -EBUSY);
    io_posix_free(other);
    cr_assert_eq(io->ops->lock(io, false), 0);
    io->ops->unlock(io);
}

Test(io, shared_locks_go_together)
{
    struct eng_io *other = NULL;
    cr_assert_eq(io_posix_new(store, false, &other), 0);
    cr_assert_eq(io->ops->lock(io, true), 0);
    cr_assert_eq(other->ops->lock(other, true), 0);
    io->ops->unlock(io);
    cr_assert_eq(io->ops->lock(io, false), -EBUSY, "the other reader is still there");
    other->ops->unlock(other);
    cr_assert_eq(io->ops->lock(io, false), 0);
    io_posix_free(other);
}

/* ---- whole files -------------------------------------------------------- */

Test(io, replace_file_replaces_and_leaves_no_temporary)
{
    char *data = NULL;
    size_t size = 0;
    cr_assert_eq(io_replace_file(io, "conf", "first, longer", 13), 0);
    cr_assert_eq(io_replace_file(io, "conf", "second", 6), 0);
    cr_assert_eq(io_read_file(io, "conf", 100, &data, &size), 0);
    cr_assert_eq(size, 6);
    cr_assert_str_eq(data, "second");
    free(data);
    cr_assert_str_eq(list_names(0, 0).joined, "conf ");

    cr_assert_eq(io_replace_file(io, "conf", NULL, 0), 0);
    cr_assert_eq(io_read_file(io, "conf", 0, &data, &size), 0);
    cr_assert_eq(size, 0);
    cr_assert_str_eq(data, "");
    free(data);
}

Test(io, replace_file_overcomes_a_temporary_left_by_a_crash)
{
    struct io_file *file = create("conf.tmp");
    put(file, "a longer text from before the crash", 0);
    io->ops->close(file);
    cr_assert_eq(io_replace_file(io, "conf", "new", 3), 0);
    char *data = NULL;
    size_t size = 0;
    cr_assert_eq(io_read_file(io, "conf", 100, &data, &size), 0);
    cr_assert_str_eq(data, "new");
    free(data);
    cr_assert_str_eq(list_names(0, 0).joined, "conf ");
}

Test(io, replace_file_cleans_up_when_it_fails)
{
    char path[128], name[300];
    (void)snprintf(path, sizeof(path), "%s/dir", store);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(io_replace_file(io, "dir", "x", 1), -EISDIR);
    cr_assert_str_eq(list_names(0, 0).joined, "dir ");
    cr_assert_eq(rmdir(path), 0);

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(io_replace_file(io, name, "x", 1), -ENAMETOOLONG);
}

Test(io, read_file_has_a_limit)
{
    char *data = NULL;
    size_t size = 0;
    cr_assert_eq(io_read_file(io, "conf", 100, &data, &size), -ENOENT);
    cr_assert_eq(io_replace_file(io, "conf", "12345", 5), 0);
    cr_assert_eq(io_read_file(io, "conf", 4, &data, &size), -EFBIG);
    cr_assert_null(data);
    cr_assert_eq(io_read_file(io, "conf", 5, &data, &size), 0);
    cr_assert_eq(data[5], '\0');
    free(data);
}

/* ---- loops, over a fake that is as awkward as the contract allows -------- */

struct io_file {
    char bytes[64];
    size_t size;
    size_t chunk; /* most it transfers in a call */
    int calls;
    int fail_at, error; /* the call that returns `error`; 0: none */
};

static ssize_t fake_pread(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    file->calls++;
    if (file->calls == file->fail_at)
        return file->error;
    if (file->calls % 2 == 1)
        return -EINTR;
    if (offset >= file->size)
        return 0;
    size_t n = file->size - offset;
    n = n < size ? n : size;
    n = n < file->chunk ? n : file->chunk;
    memcpy(buf, file->bytes + offset, n);
    return (ssize_t)n;
}

static ssize_t fake_pwritev(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    file->calls++;
    if (file->calls == file->fail_at)
        return file->error;
    if (file->calls % 2 == 1)
        return -EINTR;
    size_t done = 0;
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < iov[i].iov_len && done < file->chunk; k++)
            file->bytes[offset + done++] = ((const char *)iov[i].iov_base)[k];
    }
    if (file->size < offset + done)
        file->size = offset + done;
    return (ssize_t)done;
}

static const struct eng_io_ops fake_ops = {.pread = fake_pread, .pwritev = fake_pwritev};

Test(io_loops, reads_go_on_after_short_counts_and_eintr)
{
    struct io_file file = {.bytes = "0123456789abcdef", .size = 16, .chunk = 3};
    char buf[32] = {0};
    cr_assert_eq(io_pread_full(&file, &fake_ops, buf, 10, 2), 10);
    cr_assert_str_eq(buf, "23456789ab");
    file.calls = 0;
    cr_assert_eq(io_pread_full(&file, &fake_ops, buf, sizeof(buf), 10), 6);
    file.calls = 0;
    cr_assert_eq(io_pread_full(&file, &fake_ops, buf, 0, 10), 0);
    cr_assert_eq(file.calls, 0);
}

Test(io_loops, reads_report_an_error_in_the_middle)
{
    struct io_file file = {.size = 16, .chunk = 3, .fail_at = 5, .error = -EIO};
    char buf[16];
    cr_assert_eq(io_pread_full(&file, &fake_ops, buf, 16, 0), -EIO);
}

Test(io_loops, writes_go_on_within_and_across_vectors)
{
    for (size_t chunk = 1; chunk <= 12; chunk++) {
        struct io_file file = {.chunk = chunk};
        struct iovec iov[] = {
            {.iov_base = (char[]){"abc"}, .iov_len = 3},
            {.iov_base = NULL, .iov_len = 0},
            {.iov_base = (char[]){"defgh"}, .iov_len = 5},
            {.iov_base = (char[]){"ij"}, .iov_len = 2},
            {.iov_base = NULL, .iov_len = 0},
        };
        cr_assert_eq(io_pwritev_full(&file, &fake_ops, iov, 5, 4), 0);
        cr_assert_eq(file.size, 14);
        cr_assert_eq(memcmp(file.bytes, "\0\0\0\0abcdefghij", 14), 0);
    }
}

Test(io_loops, writes_report_errors_and_never_spin)
{
    struct io_file file = {.chunk = 2, .fail_at = 3, .error = -ENOSPC};
    struct iovec iov = {.iov_base = (char[]){"abcdef"}, .iov_len = 6};
    cr_assert_eq(io_pwritev_full(&file, &fake_ops, &iov, 1, 0), -ENOSPC);

    struct io_file stuck = {.chunk = 0};
    iov = (struct iovec){.iov_base = (char[]){"abcdef"}, .iov_len = 6};
    cr_assert_eq(io_pwritev_full(&stuck, &fake_ops, &iov, 1, 0), -EIO);

    iov.iov_len = 0;
    cr_assert_eq(io_pwritev_full(&stuck, &fake_ops, &iov, 1, 0), 0);
    cr_assert_eq(io_pwritev_full(&stuck, &fake_ops, NULL, 0, 0), 0);
}

/*
 * data.c - content: sizes and limits, truncation, copying, vectors, several
 * writers, and what each refuses. */
#include "posix.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

static int fresh(const char *name, size_t size)
{
    p_file(name, 0644, size);
    int fd = open(name, O_RDWR | O_CLOEXEC);
    MUST(fd);
    return fd;
}

static void sizes(void)
{
    char c = 'x';
    void *volatile nowhere = (void *)1; /* volatile: the compiler knows better than to let us */
    void *bad = nowhere;
    int fd = fresh("sizes", 0);
    p_equal("data.read.empty", read(fd, &c, 1), 0);
    p_equal("data.write", write(fd, "hello", 5), 5);
    p_equal("data.read.end", read(fd, &c, 1), 0);
    p_equal("data.read.beyond", pread(fd, &c, 1, 1000000), 0);
    X("data.read.negative", pread(fd, &c, 1, -1), EINVAL);
    X("data.write.negative", pwrite(fd, &c, 1, -1), EINVAL);
    X("data.read.fault", read(fd, NULL, 0), 0);
    X("data.write.fault", pwrite(fd, bad, 10, 0), EFAULT);
    X("data.read.to-fault", pread(fd, bad, 5, 0), EFAULT);
    p_equal("data.write.none-beyond", pwrite(fd, &c, 0, 100), 0);
    p_equal("data.write.none-beyond-size", p_stat("sizes").st_size, 5);
    X("data.truncate.negative", ftruncate(fd, -1), EINVAL);
    X("data.truncate.path-negative", truncate("sizes", -1), EINVAL);
    X("data.truncate.dir", truncate(".", 0), EISDIR);
    X("data.truncate.up", ftruncate(fd, 10000), 0);
    char buf[16];
    p_equal("data.truncate.read", pread(fd, buf, 16, 0), 16);
    p_equal("data.truncate.zeros", memcmp(buf, "hello\0\0\0\0\0\0\0\0\0\0", 16), 0);
    X("data.truncate.down", ftruncate(fd, 3), 0);
    X("data.truncate.up-again", ftruncate(fd, 10), 0);
    MUST(pread(fd, buf, 10, 0));
    p_equal("data.truncate.no-old-bytes", memcmp(buf, "hel\0\0\0\0\0\0\0", 10), 0);
    X("data.seek.negative", lseek(fd, -1, SEEK_SET), EINVAL);
    X("data.seek.overflow", lseek(fd, INT64_MAX, SEEK_END), EINVAL);
    X("data.seek.whence", lseek(fd, 0, 99), EINVAL);
    p_equal("data.seek.end", lseek(fd, -1, SEEK_END), 9);
    p_equal("data.seek.far", lseek(fd, 1ll << 40, SEEK_SET) == 1ll << 40, 1);
    MUST(close(fd));
}

/* A size that holds on ext4 with 4 KiB blocks, what is too much for it, and what is too much for anybody. */
static void huge(void)
{
    static const struct {
        const char *name;
        off_t size;
        int err;
    } table[] = {
        {"4g", 1ll << 32, 0},     {"16g", 1ll << 34, 0},      {"1t", 1ll << 40, 0},
        {"8t", 1ll << 43, 0},     {"12t", 3ll << 42, 0},      {"17t", 17ll << 40, EFBIG},
        {"1p", 1ll << 50, EFBIG}, {"most", INT64_MAX, EFBIG},
    };
    int fd = fresh("huge", 0);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        MUST(ftruncate(fd, 0));
        X(p_id("data.huge.%s.truncate", table[i].name), ftruncate(fd, table[i].size), table[i].err);
        p_equal(p_id("data.huge.%s.size", table[i].name), p_stat("huge").st_size,
                table[i].err ? 0 : table[i].size);
        if (table[i].size == INT64_MAX)
            X("data.huge.most.write", pwrite(fd, "xy", 2, INT64_MAX - 1), EINVAL);
        else
            X(p_id("data.huge.%s.write", table[i].name), pwrite(fd, "x", 1, table[i].size - 1), table[i].err);
        X(p_id("data.huge.%s.fallocate-keep", table[i].name),
          fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, table[i].size),
          table[i].err == 0 ? 0 : EFBIG);
    }
    MUST(ftruncate(fd, 0));
    MUST(close(fd));
}

static void limited(void)
{
    int fd = fresh("limited", 0);
    const struct rlimit limit = {10000, 10000};
    (void)signal(SIGXFSZ, SIG_IGN);
    MUST(setrlimit(RLIMIT_FSIZE, &limit));
    p_equal("data.limit.partial", pwrite(fd, "0123456789", 10, 9995), 5);
    p_equal("data.limit.size", p_stat("limited").st_size, 10000);
    X("data.limit.write", pwrite(fd, "x", 1, 10000), EFBIG);
    X("data.limit.truncate", ftruncate(fd, 10001), EFBIG);
    X("data.limit.truncate-within", ftruncate(fd, 9999), 0);
    X("data.limit.fallocate", fallocate(fd, 0, 0, 20000), EFBIG);
    MUST(close(fd));
}

static void vectors(void)
{
    char a[3] = "ab", b[4] = "cde", buf[8] = "";
    static struct iovec many[IOV_MAX + 1];
    struct iovec out[3] = {{a, 2}, {NULL, 0}, {b, 3}}, in[2] = {{buf, 1}, {buf + 1, 6}};
    int fd = fresh("vectors", 0);
    p_equal("data.writev", writev(fd, out, 3), 5);
    p_equal("data.preadv", preadv(fd, in, 2, 0), 5);
    p_text("data.preadv.content", buf, "abcde");
    p_equal("data.pwritev2.append", pwritev2(fd, out, 1, 0, RWF_APPEND), 2);
    p_text("data.pwritev2.append-content", p_content("vectors"), "abcdeab");
    p_equal("data.pwritev2.dsync", pwritev2(fd, out, 1, 0, RWF_DSYNC), 2);
    /* the second of two parts cannot be read: what the first held may have been written, not more */
    void *volatile nowhere = (void *)1;
    struct iovec bad[2] = {{a, 2}, {nowhere, 5}};
    MUST(ftruncate(fd, 0));
    p_equal("data.writev.fault", pwritev(fd, bad, 2, 0), 2);
    p_equal("data.writev.fault-size", p_stat("vectors").st_size, 2);
    bad[0].iov_base = nowhere;
    X("data.writev.fault-first", pwritev(fd, bad, 2, 0), EFAULT);
    in[1].iov_base = nowhere;
    MUST(pwrite(fd, "abcdef", 6, 0));
    p_equal("data.readv.fault", preadv(fd, in, 2, 0), 1);
    bad[1].iov_len = (size_t)-1;
    X("data.writev.negative", writev(fd, bad, 2), EINVAL);
    X("data.writev.many", writev(fd, many, IOV_MAX + 1), EINVAL);
    MUST(close(fd));
}

/* For a descriptor that has not made its file. */
static void copies_by_kernel(int in, int out)
{
    int opened = open("to", O_WRONLY | O_CLOEXEC);
    char want[100], have[100];
    off_t from = 0, to = (off_t)1 << 50;
    MUST(opened);
    X("data.copy.opened-huge", copy_file_range(in, &from, opened, &to, 10, 0), EFBIG);
    from = 10, to = 5;
    p_equal("data.copy.opened", copy_file_range(in, &from, opened, &to, 1000, 0), 1000);
    MUST(pread(in, want, 100, 910));
    MUST(pread(out, have, 100, 905));
    p_equal("data.copy.opened-content", memcmp(want, have, 100), 0);
    MUST(close(opened));
}

static void copies(void)
{
    int in = fresh("from", 100000), out = fresh("to", 0), dir = open(".", O_RDONLY | O_CLOEXEC);
    off_t from = 10, to = 50;
    MUST(dir);
    ssize_t n = 0, got;
    while (n < 90000 && (got = copy_file_range(in, &from, out, &to, (size_t)(90000 - n), 0)) > 0)
        n += got;
    p_equal("data.copy", n, 90000);
    p_equal("data.copy.size", p_stat("to").st_size, 90050);
    char want[100], have[100];
    MUST(pread(in, want, 100, 60010));
    MUST(pread(out, have, 100, 60050));
    p_equal("data.copy.content", memcmp(want, have, 100), 0);
    MUST(pread(out, have, 50, 0));
    p_equal("data.copy.gap", have[0] | have[49], 0);
    from = 200000;
    p_equal("data.copy.beyond", copy_file_range(in, &from, out, NULL, 10, 0), 0);
    from = 0, to = 10;
    X("data.copy.overlap", copy_file_range(in, &from, in, &to, 100, 0), EINVAL);
    from = 0, to = 200000;
    p_equal("data.copy.same-file", copy_file_range(in, &from, in, &to, 1000, 0), 1000);
    X("data.copy.flags", copy_file_range(in, NULL, out, NULL, 10, 1), EINVAL);
    X("data.copy.dir", copy_file_range(dir, NULL, out, NULL, 10, 0), EISDIR);
    from = 0, to = (off_t)1 << 50;
    X("data.copy.huge", copy_file_range(in, &from, out, &to, 10, 0), EFBIG);
    copies_by_kernel(in, out);
    int readonly = open("to", O_RDONLY | O_CLOEXEC), append = open("to", O_WRONLY | O_APPEND | O_CLOEXEC);
    from = 0;
    X("data.copy.readonly", copy_file_range(in, &from, readonly, NULL, 10, 0), EBADF);
    X("data.copy.append", copy_file_range(in, &from, append, NULL, 10, 0), EBADF);
    MUST(close(readonly));
    MUST(close(append));
    int sent = fresh("sent", 0);
    from = 0;
    p_equal("data.sendfile", sendfile(sent, in, &from, 5000), 5000);
    int tube[2];
    MUST(pipe(tube));
    from = 100;
    p_equal("data.splice.out", splice(in, &from, tube[1], NULL, 4000, 0), 4000);
    to = 5000;
    p_equal("data.splice.in", splice(tube[0], NULL, sent, &to, 4000, 0), 4000);
    MUST(pread(in, want, 100, 100));
    MUST(pread(sent, have, 100, 5000));
    p_equal("data.splice.content", memcmp(want, have, 100), 0);
    MUST(close(sent));
    MUST(close(in));
    MUST(close(out));
    MUST(close(dir));
}

/* Several processes write their own blocks of one file, strewn among each other's. */
enum { WRITERS = 4, BLOCKS = 300, BLOCK = 3000 };

static void writers(void)
{
    MUST(close(fresh("shared", 0)));
    (void)fflush(stdout);
    pid_t child[WRITERS];
    for (int w = 0; w < WRITERS; w++)
        if ((child[w] = fork()) == 0) {
            static char block[BLOCK];
            int fd = open("shared", O_WRONLY | O_CLOEXEC);
            memset(block, 'a' + w, sizeof(block));
            for (int i = 0; i < BLOCKS; i++) /* not in order: 7 and 300 have no divisor in common */
                if (pwrite(fd, block, BLOCK, ((off_t)(i * 7 % BLOCKS) * WRITERS + w) * BLOCK) != BLOCK)
                    _exit(1);
            _exit(0);
        }
    bool all = true;
    for (int w = 0; w < WRITERS; w++) {
        int status = 1;
        all = waitpid(child[w], &status, 0) == child[w] && status == 0 && all;
    }
    p_true("data.writers.written", all);
    p_equal("data.writers.size", p_stat("shared").st_size, (long long)WRITERS * BLOCKS * BLOCK);
    int fd = open("shared", O_RDONLY | O_CLOEXEC), wrong = 0;
    static char block[BLOCK];
    for (int i = 0; i < BLOCKS * WRITERS; i++) {
        bool whole = pread(fd, block, BLOCK, (off_t)i * BLOCK) == BLOCK;
        wrong += !whole || block[0] != 'a' + i % WRITERS || memcmp(block, block + 1, BLOCK - 1) != 0;
    }
    p_equal("data.writers.wrong", wrong, 0);
    MUST(close(fd));
}

static void allocations(void)
{
    static const struct {
        const char *name;
        int mode;
        off_t off, len, size; /* size: of 10000 afterwards */
        int err;
    } table[] = {
        {"plain", 0, 0, 20000, 20000, 0},
        {"within", 0, 100, 50, 10000, 0},
        {"keep", FALLOC_FL_KEEP_SIZE, 0, 20000, 10000, 0},
        {"punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096, 10000, 0},
        {"punch-beyond", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 20000, 4096, 10000, 0},
        {"punch-alone", FALLOC_FL_PUNCH_HOLE, 0, 4096, 10000, EOPNOTSUPP},
        {"zero", FALLOC_FL_ZERO_RANGE, 100, 20000, 20100, 0},
        {"zero-keep", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 100, 20000, 10000, 0},
        {"zero-punch", FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10, 10000,
         EOPNOTSUPP},
        {"collapse", FALLOC_FL_COLLAPSE_RANGE, 0, 4096, 5904, 0},
        {"insert", FALLOC_FL_INSERT_RANGE, 0, 4096, 14096, 0},
        {"unknown", 0x4000, 0, 10, 10000, EOPNOTSUPP},
        {"none", 0, 0, 0, 10000, EINVAL},
        {"negative", 0, -1, 10, 10000, EINVAL},
        {"negative-len", 0, 0, -1, 10000, EINVAL},
        {"overflow", 0, INT64_MAX, 10, 10000, EFBIG},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        int fd = fresh("fa", 10000);
        X(p_id("data.fallocate.%s", table[i].name), fallocate(fd, table[i].mode, table[i].off, table[i].len),
          table[i].err);
        p_equal(p_id("data.fallocate.%s-size", table[i].name), p_stat("fa").st_size, table[i].size);
        MUST(close(fd));
        MUST(unlink("fa"));
    }
    int fd = open(".", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("data.fallocate.dir", fallocate(fd, 0, 0, 10), EBADF);
    MUST(close(fd));
    fd = fresh("posixfa", 0);
    X("data.fallocate.posix", posix_fallocate(fd, 0, 100000) ? -1 : 0, 0);
    p_true("data.fallocate.blocks", p_stat("posixfa").st_blocks * 512 >= 100000);
    MUST(close(fd));
}

static void blocks(void)
{
    MUST(close(fresh("bl", 0)));
    p_equal("data.blocks.empty", p_stat("bl").st_blocks, 0);
    int fd = open("bl", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(pwrite(fd, "x", 1, 1 << 30));
    MUST(fsync(fd));
    p_true("data.blocks.sparse", p_stat("bl").st_blocks > 0 && p_stat("bl").st_blocks <= 16);
    MUST(ftruncate(fd, 0));
    p_equal("data.blocks.truncated", p_stat("bl").st_blocks, 0);
    static char buf[65536];
    memset(buf, 'b', sizeof(buf));
    MUST(pwrite(fd, buf, sizeof(buf), 0));
    MUST(fsync(fd));
    p_equal("data.blocks.full", p_stat("bl").st_blocks, 128);
    MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192));
    p_equal("data.blocks.punched", p_stat("bl").st_blocks, 112);
    p_equal("data.blocks.blksize", p_stat("bl").st_blksize, 4096);
    MUST(close(fd));
    MUST(close(fresh("one", 1)));
    fd = open("one", O_RDWR | O_CLOEXEC);
    MUST(fsync(fd));
    MUST(close(fd));
    p_equal("data.blocks.one-byte", p_stat("one").st_blocks, 8);
}

void data_run(void)
{
    sizes();
    p_apart(huge);
    p_apart(limited);
    vectors();
    copies();
    writers();
    allocations();
    blocks();
}

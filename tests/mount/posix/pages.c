/*
 * pages.c - pages at the end of a file, pages that a call on the same file
 * needs itself, and ways around a user's buffer: splice, sendfile, O_DIRECT. */
#include "posix.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { PAGE = 4096 };

static char block[16 * PAGE] __attribute__((aligned(PAGE)));

static int fresh(const char *name, size_t size, int flags)
{
    p_file(name, 0644, size);
    int fd = open(name, O_RDWR | O_CLOEXEC | flags);
    MUST(fd);
    return fd;
}

static char *map(int fd, size_t n)
{
    char *m = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(m == MAP_FAILED ? -1 : 0);
    return m;
}

static int not_zero(int fd, off_t from, size_t n)
{
    static char buf[4 * PAGE];
    int found = 0;
    ssize_t got = pread(fd, buf, n, from);
    MUST(got);
    for (ssize_t i = 0; i < got; i++)
        found += buf[i] != 0;
    return found;
}

/* Ways to make a file longer whose last page was stored to behind the end: what lies there must be zeros. */
static int by_truncate(int fd)
{
    return ftruncate(fd, 3 * PAGE);
}
static int by_pwrite(int fd)
{
    return pwrite(fd, "x", 1, 3 * PAGE) == 1 ? 0 : -1;
}
static int by_pwrite_same_page(int fd)
{
    return pwrite(fd, "x", 1, 3000) == 1 ? 0 : -1;
}
static int by_fallocate(int fd)
{
    return fallocate(fd, 0, 0, 3 * PAGE);
}
static int by_zero_range(int fd)
{
    return fallocate(fd, FALLOC_FL_ZERO_RANGE, 2 * PAGE, PAGE);
}
static int by_copy(int fd)
{
    off_t in = 0, out = 3 * PAGE;
    return copy_file_range(fd, &in, fd, &out, 100, 0) == 100 ? 0 : -1;
}
static int by_append(int fd)
{
    MUST(lseek(fd, 2500, SEEK_SET));
    return write(fd, "y", 1) == 1 ? 0 : -1;
}

static void behind_the_end(void)
{
    static const struct {
        const char *name;
        int (*lengthen)(int fd);
    } ways[] = {
        {"truncate", by_truncate},     {"pwrite", by_pwrite},         {"pwrite-near", by_pwrite_same_page},
        {"fallocate", by_fallocate},   {"zero-range", by_zero_range}, {"copy", by_copy},
        {"write-after-gap", by_append}};
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        int fd = fresh("end", 1000, 0);
        char *m = map(fd, PAGE);
        memset(m + 1000, 'S', PAGE - 1000);
        MUST(ways[i].lengthen(fd));
        p_equal(p_id("pages.behind.%s", ways[i].name), not_zero(fd, 1000, 1500), 0);
        MUST(msync(m, PAGE, MS_SYNC));
        MUST(munmap(m, PAGE));
        MUST(fsync(fd));
        MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
        p_equal(p_id("pages.behind.%s.stored", ways[i].name), not_zero(fd, 1000, 1500), 0);
        MUST(close(fd));
        MUST(unlink("end"));
    }
}

/* A mapping sees what calls do to the file, and calls what is done to the mapping. */
static void coherence(void)
{
    int fd = fresh("coherent", 8 * PAGE, 0), direct = open("coherent", O_RDWR | O_DIRECT | O_CLOEXEC);
    MUST(direct);
    char *m = map(fd, 8 * PAGE);
    memset(m, 'm', 8 * PAGE);
    MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + 100, 2 * PAGE));
    p_equal("pages.coherent.punch",
            m[PAGE + 99] == 'm' && m[PAGE + 100] == 0 && m[3 * PAGE + 99] == 0 && m[3 * PAGE + 100] == 'm',
            1);
    MUST(fallocate(fd, FALLOC_FL_ZERO_RANGE, 5 * PAGE, PAGE));
    p_equal("pages.coherent.zero", m[5 * PAGE] | m[6 * PAGE - 1], 0);
    memset(m, 'n', PAGE);
    p_equal("pages.coherent.direct-read", pread(direct, block, PAGE, 0), PAGE);
    p_equal("pages.coherent.direct-read-seen", block[17], 'n');
    memset(block, 'w', PAGE);
    p_equal("pages.coherent.direct-write", pwrite(direct, block, PAGE, 7 * PAGE), PAGE);
    p_equal("pages.coherent.direct-write-seen", m[7 * PAGE + 5], 'w');
    off_t in = 0, out = 4 * PAGE;
    memset(m, 'c', 100);
    p_equal("pages.coherent.copy", copy_file_range(fd, &in, fd, &out, 100, 0), 100);
    p_equal("pages.coherent.copy-seen", m[4 * PAGE + 99], 'c');
    MUST(ftruncate(fd, PAGE));
    MUST(ftruncate(fd, 8 * PAGE));
    p_equal("pages.coherent.cut", m[2 * PAGE] | m[8 * PAGE - 1], 0);
    MUST(munmap(m, 8 * PAGE));
    MUST(close(fd));
    MUST(close(direct));
}

/* The buffer of a call is a mapping of the very file, and not in memory: the call faults on its own pages. */
static void own_pages(void)
{
    for (int flags = 0; flags < 2; flags++) {
        const char *name = flags ? "own-direct" : "own";
        int fd = fresh(name, 8 * PAGE, flags ? O_DIRECT : 0);
        MUST(fsync(fd));
        char *m = map(fd, 8 * PAGE);
        MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
        p_equal(p_id("pages.%s.write", name), pwrite(fd, m + 4 * PAGE, 2 * PAGE, 0), 2 * PAGE);
        p_equal(p_id("pages.%s.written", name), m[0] == 'a' + 4 * PAGE % 26, 1);
        MUST(madvise(m, 8 * PAGE, MADV_DONTNEED));
        p_equal(p_id("pages.%s.read", name), pread(fd, m, 2 * PAGE, 6 * PAGE), 2 * PAGE);
        p_equal(p_id("pages.%s.read-same", name), memcmp(m, m + 6 * PAGE, 2 * PAGE), 0);
        MUST(munmap(m, 8 * PAGE));
        MUST(close(fd));
    }
}

static void mapping_calls(void)
{
    int fd = fresh("calls", 4 * PAGE, 0);
    char *m = map(fd, 4 * PAGE);
    unsigned char in_core[4];
    m = mremap(m, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    X("pages.mremap", m == MAP_FAILED ? -1 : 0, 0);
    X("pages.populate", mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0) == MAP_FAILED, 0);
    X("pages.mlock", mlock(m, PAGE), 0);
    X("pages.munlock", munlock(m, PAGE), 0);
    X("pages.mincore", mincore(m, 4 * PAGE, in_core), 0);
    X("pages.willneed", madvise(m, 4 * PAGE, MADV_WILLNEED), 0);
    X("pages.remove", madvise(m + PAGE, PAGE, MADV_REMOVE), 0); /* a hole is punched */
    p_equal("pages.removed", m[PAGE] == 0 && m[2 * PAGE] != 0, 1);
    X("pages.map-sync",
      mmap(NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0) == MAP_FAILED ? -1 : 0, EOPNOTSUPP);
    X("pages.unaligned", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100) == MAP_FAILED ? -1 : 0, EINVAL);
    X("pages.readahead", readahead(fd, 0, 4 * PAGE), 0);
    X("pages.sync-range", sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER), 0);
    for (int advice = POSIX_FADV_NORMAL; advice <= POSIX_FADV_NOREUSE; advice++)
        X(p_id("pages.fadvise.%d", advice), posix_fadvise(fd, 0, 0, advice) ? -1 : 0, 0);
    struct iovec part = {block, PAGE};
    p_equal("pages.nowait", preadv2(fd, &part, 1, 0, RWF_NOWAIT), PAGE); /* it is in memory */
    p_equal("pages.hipri", preadv2(fd, &part, 1, 0, RWF_HIPRI), PAGE);
    X("pages.flags", preadv2(fd, &part, 1, 0, 0x10000), EOPNOTSUPP);
    p_equal("pages.write-dsync", pwritev2(fd, &part, 1, 0, RWF_SYNC), PAGE);
    MUST(close(fd));
}

static void pipes(void)
{
    int tube[2], in = fresh("from", 5 * PAGE, 0), out = fresh("to", 0, 0);
    int direct = open("from", O_RDONLY | O_DIRECT | O_CLOEXEC);
    MUST(pipe2(tube, O_CLOEXEC));
    MUST(direct);
    off_t at = 100;
    p_equal("pages.splice.in", splice(in, &at, tube[1], NULL, 10000, 0), 10000);
    p_equal("pages.splice.out", splice(tube[0], NULL, out, NULL, 10000, 0), 10000);
    p_equal("pages.splice.size", p_stat("to").st_size, 10000);
    MUST(pread(in, block, 10000, 100));
    MUST(pread(out, block + 10000, 10000, 0));
    p_equal("pages.splice.same", memcmp(block, block + 10000, 10000), 0);
    at = 0;
    p_equal("pages.splice.direct", splice(direct, &at, tube[1], NULL, PAGE, 0), PAGE);
    MUST(read(tube[0], block, PAGE));
    p_equal("pages.splice.direct-same", block[5], 'f');
    at = 6 * PAGE;
    p_equal("pages.splice.end", splice(in, &at, tube[1], NULL, PAGE, SPLICE_F_NONBLOCK), 0);
    at = 0;
    p_equal("pages.sendfile", sendfile(out, in, &at, 5 * PAGE), 5 * PAGE);
    p_equal("pages.sendfile.offset", at, 5 * PAGE);
    int append = open("to", O_WRONLY | O_APPEND | O_CLOEXEC);
    MUST(append);
    MUST(write(tube[1], "abc", 3));
    X("pages.splice.append", splice(tube[0], NULL, append, NULL, 3, 0), EINVAL);
    struct iovec part = {block, 100};
    MUST(read(tube[0], block, 3));
    p_equal("pages.vmsplice", vmsplice(tube[1], &part, 1, 0), 100);
    p_equal("pages.vmsplice.out", splice(tube[0], NULL, out, NULL, 100, 0), 100);
    MUST(close(append));
    MUST(close(direct));
    MUST(close(in));
    MUST(close(out));
}

/* One thread makes the file longer, the other looks: no byte beyond what was written, and none but zeros
 * before it. */
static _Atomic int growing_done;

static void *grow(void *arg)
{
    int fd = *(int *)arg;
    for (int i = 0; i < 400; i++) {
        memset(block, 'g', 700);
        if (pwrite(fd, block, 700, (off_t)i * 700) != 700)
            break;
    }
    growing_done = 1;
    return NULL;
}

static void growing(void)
{
    static char buf[300000];
    int fd = fresh("growing", 0, 0), wrong = 0, again = 1;
    pthread_t thread;
    growing_done = 0;
    MUST(pthread_create(&thread, NULL, grow, &fd) ? -1 : 0);
    while (again) {
        again = !growing_done; /* once more after the last write */
        ssize_t n = pread(fd, buf, sizeof(buf), 0);
        for (ssize_t i = 0; i < n; i++)
            wrong += buf[i] != 'g';
    }
    (void)pthread_join(thread, NULL);
    p_equal("pages.growing.wrong", wrong, 0);
    p_equal("pages.growing.size", p_stat("growing").st_size, 400 * 700);
    MUST(close(fd));
}

void pages_run(void)
{
    behind_the_end();
    coherence();
    own_pages();
    mapping_calls();
    pipes();
    growing();
}

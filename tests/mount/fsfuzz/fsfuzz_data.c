/*
 * fsfuzz_data.c - random operations on the content of files: through open
 * handles, by path, and through mappings (fsfuzz.h).
 *
 * A mapping is written back by the kernel when it likes, and the time of the
 * change is that of the writing then. So that times can be compared, what was
 * stored through a mapping is flushed before the operation ends; what happens
 * to the same pages in between is part of the operation. */
#include "fsfuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "rng.h"

/* Edges: of pages, of blocks with a checksum, of extents. */
static off_t pick_offset(struct run *r)
{
    static const uint32_t edges[] = {4096, 65536, 262144, 1 << 20};
    if (chance(r, 15))
        return 0;
    if (chance(r, 35)) {
        uint64_t edge = edges[below(r, 4)];
        off_t at = (off_t)(edge * (1 + below(r, 4)) + below(r, 5)) - 2;
        return at < FILE_MAX ? at : FILE_MAX;
    }
    if (chance(r, 60))
        return (off_t)below(r, 20000);
    return (off_t)below(r, chance(r, 60) ? 400000 : FILE_MAX);
}

static size_t pick_size(struct run *r)
{
    uint64_t kind = below(r, 100);
    return kind < 3    ? 0
           : kind < 40 ? (size_t)below(r, 200)
           : kind < 75 ? (size_t)below(r, 9000)
           : kind < 85 ? 4096 * (1 + (size_t)below(r, 8))
           : kind < 97 ? (size_t)below(r, 70000)
                       : (size_t)below(r, OP_MAX);
}

static struct handle *live(struct run *r)
{
    const uint64_t first = below(r, HANDLES);
    for (uint64_t i = 0; i < HANDLES; i++)
        if (r->handles[(first + i) % HANDLES].used)
            return &r->handles[(first + i) % HANDLES];
    return NULL;
}

static long number(const struct run *r, const struct handle *h)
{
    return (long)(h - r->handles);
}

static bool is_regular(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static off_t size_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : 0;
}

/* The same bytes for both sides, unless ours is to be wrong. */
static void fill(struct run *r, size_t n)
{
    const uint64_t seed = below(r, UINT64_MAX);
    const bool zero = chance(r, 4);
    for (int s = 0; s < r->sides; s++) {
        rng_fill(r->buf[s], n, seed);
        if (zero)
            memset(r->buf[s], 0, n);
        if (n && lies(r, s, "write"))
            r->buf[s][n / 2] ^= 1;
    }
}

/* ---- reads and writes ---------------------------------------------------- */

static void do_read(struct run *r)
{
    struct handle *h = live(r);
    if (!h)
        return;
    const size_t n = pick_size(r);
    const off_t at = chance(r, 50) ? (off_t)below(r, (uint64_t)size_of(h->fd[OURS]) + 1) : pick_offset(r);
    const bool positioned = chance(r, 70);
    if (positioned)
        say(r, "pread handle %ld: %zu bytes at %lld", number(r, h), n, (long long)at);
    else
        say(r, "read handle %ld: %zu bytes", number(r, h), n);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, positioned ? pread(h->fd[s], r->buf[s], n, at) : read(h->fd[s], r->buf[s], n));
    act_end(r);
    if (r->ret[OURS] > 0)
        compare_bytes(r, h->path, r->buf[OURS], r->buf[REF], (size_t)r->ret[OURS]);
}

static void do_write(struct run *r)
{
    struct handle *h = live(r);
    if (!h)
        return;
    const size_t n = pick_size(r);
    const off_t at = pick_offset(r);
    const bool positioned = chance(r, 70);
    fill(r, n);
    if (positioned)
        say(r, "pwrite handle %ld (%s): %zu bytes at %lld", number(r, h), h->path, n, (long long)at);
    else
        say(r, "write handle %ld (%s): %zu bytes", number(r, h), h->path, n);
    watch(r, h->path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, positioned ? pwrite(h->fd[s], r->buf[s], n, at) : write(h->fd[s], r->buf[s], n));
    act_end(r);
}

static void do_writev(struct run *r)
{
    struct handle *h = live(r);
    if (!h)
        return;
    const size_t n = pick_size(r), first = below(r, n + 1), second = below(r, n - first + 1);
    const off_t at = pick_offset(r);
    fill(r, n);
    say(r, "pwritev handle %ld (%s): %zu bytes in three at %lld", number(r, h), h->path, n, (long long)at);
    watch(r, h->path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        const struct iovec parts[] = {{r->buf[s], first},
                                      {r->buf[s] + first, second},
                                      {r->buf[s] + first + second, n - first - second}};
        record(r, s, pwritev(h->fd[s], parts, 3, at));
    }
    act_end(r);
}

/* Past the page cache: whole blocks, aligned, through a descriptor of its own. */
static void do_direct(struct run *r)
{
    enum { BLOCK = 4096 };
    char path[PATH_CAP];
    int fd[SIDES];
    pick_path(r, path);
    const bool writing = chance(r, 50);
    const size_t n = BLOCK * (1 + (size_t)below(r, 16));
    const off_t at = (off_t)below(r, 64) * BLOCK;
    const uint64_t seed = below(r, UINT64_MAX);
    say(r, "O_DIRECT %s %s: %zu bytes at %lld", writing ? "write" : "read", path, n, (long long)at);
    watch(r, path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        fd[s] = openat(r->root[s], path, O_RDWR | O_DIRECT | O_NONBLOCK | O_CLOEXEC);
        void *block = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        record(r, s, fd[s]);
        if (block == MAP_FAILED)
            wrong(r, "no memory");
        if (fd[s] >= 0 && is_regular(fd[s])) {
            if (writing)
                rng_fill(block, n, seed);
            record(r, s, writing ? pwrite(fd[s], block, n, at) : pread(fd[s], block, n, at));
            memcpy(r->buf[s], block, n);
        } else if (fd[s] >= 0) {
            record(r, s, 0);
        }
        (void)munmap(block, n);
        if (fd[s] >= 0)
            (void)close(fd[s]);
    }
    act_end(r);
    if (r->ret[OURS] > 0)
        compare_bytes(r, path, r->buf[OURS], r->buf[REF], (size_t)r->ret[OURS]);
}

static void do_copy(struct run *r)
{
    struct handle *from = live(r), *to = live(r);
    if (!from || !to)
        return;
    const size_t n = pick_size(r);
    const off_t in = (off_t)below(r, (uint64_t)size_of(from->fd[OURS]) + 100), out = pick_offset(r);
    say(r, "copy_file_range handle %ld at %lld to handle %ld (%s) at %lld: %zu bytes", number(r, from),
        (long long)in, number(r, to), to->path, (long long)out, n);
    watch(r, to->path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        off_t at_in = in, at_out = out;
        record(r, s, copy_file_range(from->fd[s], &at_in, to->fd[s], &at_out, n, 0));
    }
    act_end(r);
}

/* ---- sizes and holes ----------------------------------------------------- */

static void do_truncate(struct run *r)
{
    char path[PATH_CAP] = "";
    struct handle *h = chance(r, 70) ? live(r) : NULL;
    if (!h)
        pick_path(r, path);
    const off_t size = pick_offset(r);
    say(r, "truncate %s to %lld", h ? h->path : path, (long long)size);
    watch(r, h ? h->path : path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        const off_t n = lies(r, s, "truncate") ? size + 1 : size;
        if (h) {
            record(r, s, ftruncate(h->fd[s], n));
        } else {
            char whole[PATH_MAX];
            (void)snprintf(whole, sizeof(whole), "/proc/self/fd/%d/%s", r->root[s], path);
            record(r, s, truncate(whole, n));
        }
    }
    act_end(r);
}

static void do_fallocate(struct run *r)
{
    static const int modes[] = {0,
                                FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_ZERO_RANGE,
                                FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                FALLOC_FL_PUNCH_HOLE};
    struct handle *h = live(r);
    if (!h)
        return;
    const int mode = modes[below(r, 8)];
    const off_t at = pick_offset(r), n = (off_t)pick_size(r);
    say(r, "fallocate handle %ld (%s): mode %d, %lld bytes at %lld", number(r, h), h->path, mode,
        (long long)n, (long long)at);
    watch(r, h->path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        if ((mode & FALLOC_FL_PUNCH_HOLE) && n > 1 && lies(r, s, "punch"))
            record(r, s, fallocate(h->fd[s], mode, at + 1, n - 1));
        else
            record(r, s, fallocate(h->fd[s], mode, at, n));
    }
    act_end(r);
}

static void do_position(struct run *r)
{
    static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    struct handle *h = live(r);
    if (!h || !is_regular(h->fd[OURS])) /* positions in a folder are each file system's own */
        return;
    const off_t by = (off_t)below(r, 100000) - 20000;
    const int whence = whences[below(r, 3)];
    say(r, "lseek handle %ld: %lld from %d", number(r, h), (long long)by, whence);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, lseek(h->fd[s], by, whence));
    act_end(r);
}

/* ---- mappings ------------------------------------------------------------ */

static sigjmp_buf bus_error;

static void on_bus_error(int sig)
{
    (void)sig;
    siglongjmp(bus_error, 1);
}

/* Another process may have made the file shorter than the mapping: then the rest cannot be touched. */
static bool touch(uint8_t *to, const uint8_t *from, size_t n)
{
    struct sigaction catch = {.sa_handler = on_bus_error}, old;
    (void)sigaction(SIGBUS, &catch, &old);
    bool done = sigsetjmp(bus_error, 1) == 0;
    if (done)
        memcpy(to, from, n);
    (void)sigaction(SIGBUS, &old, NULL);
    return done;
}

/* What else happens to pages that a mapping has just changed. */
enum meanwhile { NOTHING, PWRITE, PREAD, PUNCH, SHORTER, LONGER, MEANWHILE };

static long meanwhile(struct run *r, int side, int fd, enum meanwhile what, off_t at, size_t n, off_t size)
{
    switch (what) {
    case PWRITE:
        return pwrite(fd, r->buf[side] + n / 2, n - n / 2, at + (off_t)(n / 3));
    case PREAD:
        return pread(fd, r->buf[side], n, at);
    case PUNCH:
        return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)(n / 2 + 1));
    case SHORTER:
        return ftruncate(fd, at + (off_t)(n / 2));
    case LONGER:
        return ftruncate(fd, size + 5000);
    default:
        return 0;
    }
}

static long store_mapped(struct run *r, int side, int fd, off_t at, size_t n, enum meanwhile what)
{
    const off_t page = at / 4096 * 4096, size = size_of(fd);
    const size_t lead = (size_t)(at - page);
    uint8_t *map = mmap(NULL, lead + n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, page);
    if (map == MAP_FAILED)
        return -1;
    long result = touch(map + lead, r->buf[side], n) ? 0 : 1;
    if (what != NOTHING)
        result = meanwhile(r, side, fd, what, at, n, size);
    int saved = errno;
    (void)msync(map, lead + n, MS_SYNC);
    (void)munmap(map, lead + n);
    if (fsync(fd))
        return -1;
    errno = saved;
    return result;
}

static void do_map_store(struct run *r)
{
    struct handle *h = live(r);
    const off_t size = h ? size_of(h->fd[OURS]) : 0;
    if (!h || size == 0)
        return;
    const off_t at = (off_t)below(r, (uint64_t)size);
    size_t n = 1 + pick_size(r);
    if ((off_t)n > size - at)
        n = (size_t)(size - at);
    const enum meanwhile what = chance(r, 50) ? NOTHING : (enum meanwhile)below(r, MEANWHILE);
    if (n > OP_MAX)
        n = OP_MAX;
    fill(r, n);
    say(r, "store through a mapping of handle %ld (%s): %zu bytes at %lld, meanwhile %d", number(r, h),
        h->path, n, (long long)at, (int)what);
    watch(r, h->path, true);
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, store_mapped(r, s, h->fd[s], at, n, what));
    act_end(r);
    if (what == PREAD && r->ret[OURS] > 0)
        compare_bytes(r, h->path, r->buf[OURS], r->buf[REF], (size_t)r->ret[OURS]);
}

static void do_map_load(struct run *r)
{
    struct handle *h = live(r);
    const off_t size = h ? size_of(h->fd[OURS]) : 0;
    if (!h || size == 0)
        return;
    const size_t n = size < OP_MAX ? (size_t)size : OP_MAX;
    const int kind = chance(r, 50) ? MAP_PRIVATE : MAP_SHARED;
    say(r, "load %zu bytes through a mapping of handle %ld", n, number(r, h));
    act_begin(r);
    for (int s = 0; s < r->sides; s++) {
        uint8_t *map = mmap(NULL, n, PROT_READ, kind, h->fd[s], 0);
        record(r, s, map == MAP_FAILED ? -1 : 0);
        if (map == MAP_FAILED)
            continue;
        if (!touch(r->buf[s], map, n) && r->sides == SIDES)
            record(r, s, 1);
        (void)munmap(map, n);
    }
    act_end(r);
    if (r->ret[OURS] == 0)
        compare_bytes(r, h->path, r->buf[OURS], r->buf[REF], n);
}

/* ---- the rest ------------------------------------------------------------ */

static void do_sync(struct run *r)
{
    struct handle *h = live(r);
    if (!h)
        return;
    const bool data_only = chance(r, 50);
    say(r, "%s handle %ld", data_only ? "fdatasync" : "fsync", number(r, h));
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, data_only ? fdatasync(h->fd[s]) : fsync(h->fd[s]));
    act_end(r);
}

/* What a handle leads to, named or not. */
static void do_fstat(struct run *r)
{
    struct handle *h = live(r);
    struct stat st[SIDES];
    if (!h)
        return;
    say(r, "fstat handle %ld", number(r, h));
    act_begin(r);
    for (int s = 0; s < r->sides; s++)
        record(r, s, fstat(h->fd[s], &st[s]));
    act_end(r);
    if (r->sides == SIDES && (st[OURS].st_nlink != st[REF].st_nlink || st[OURS].st_mode != st[REF].st_mode ||
                              (!S_ISDIR(st[OURS].st_mode) && st[OURS].st_size != st[REF].st_size)))
        wrong(r,
              "handle %ld (%s): ours %#o with %lu links and %lld bytes, the reference %#o with %lu and %lld",
              number(r, h), h->path, st[OURS].st_mode, (unsigned long)st[OURS].st_nlink,
              (long long)st[OURS].st_size, st[REF].st_mode, (unsigned long)st[REF].st_nlink,
              (long long)st[REF].st_size);
}

static void do_compare(struct run *r)
{
    char path[PATH_CAP];
    struct stat st;
    pick_path(r, path);
    /* alone nothing is compared, and others change the file meanwhile */
    if (r->sides < SIDES || fstatat(r->root[OURS], path, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
        return;
    say(r, "comparing %s", path);
    compare_file(r, path, chance(r, 50));
}

void op_data(struct run *r)
{
    static void (*const ops[])(struct run *) = {
        do_read,     do_read,      do_read,      do_read,      do_write,    do_write,     do_write,
        do_write,    do_write,     do_writev,    do_direct,    do_copy,     do_copy,      do_truncate,
        do_truncate, do_fallocate, do_fallocate, do_fallocate, do_position, do_map_store, do_map_store,
        do_map_load, do_sync,      do_fstat,     do_compare,   do_compare,
    };
    ops[below(r, sizeof(ops) / sizeof(ops[0]))](r);
}

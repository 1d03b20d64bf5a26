/*
 * attrs.c - attributes that change while others ask for them. An answer from before the change may reach the
 * kernel's cache after it, and would stay there: once all have stopped, what is kept must be what is asked.
 */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { ASKERS = 2, BURST = 8 };

static _Atomic bool stop;
static _Atomic unsigned begun;

/* In `a` and `b`: a file each, `file`, a folder `deep`. */
static const char *const looked_at[] = {"a", "b", "a/file", "a/deep"};

/* Each time the kernel has to ask: what is looked at changes all the time. */
static void *ask(void *arg)
{
    const char *const *paths = arg;
    struct stat st;
    bool first = true;
    while (!atomic_load(&stop)) {
        for (size_t i = 0; i < COUNT_OF(looked_at); i++)
            MUST(lstat(paths[i], &st) && errno != ENOENT ? -1 : 0);
        if (first)
            atomic_fetch_add(&begun, 1);
        first = false;
    }
    return NULL;
}

/* ---- changes: `i` counts them. What is made by an even one an odd one takes away. ------------------ */

static void create_remove(unsigned i)
{
    if (i % 2) {
        MUST(unlink("a/new"));
        return;
    }
    int fd = open("a/new", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    MUST(fd);
    MUST(close(fd));
}

static void mkdir_rmdir(unsigned i)
{
    MUST(i % 2 ? rmdir("a/new") : mkdir("a/new", 0755));
}

static void symlink_remove(unsigned i)
{
    MUST(i % 2 ? unlink("a/new") : symlink("x", "a/new"));
}

static void mknod_remove(unsigned i)
{
    MUST(i % 2 ? unlink("a/new") : mknod("a/new", S_IFIFO | 0600, 0));
}

static void link_remove(unsigned i)
{
    MUST(i % 2 ? unlink("a/new") : link("a/file", "a/new"));
}

static void link_unnamed(unsigned i)
{
    char path[32];
    if (i % 2) {
        MUST(unlink("a/new"));
        return;
    }
    int fd = open("a", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
    MUST(fd);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    MUST(linkat(AT_FDCWD, path, AT_FDCWD, "a/new", AT_SYMLINK_FOLLOW));
    MUST(close(fd));
}

static void move(unsigned i)
{
    MUST(i % 2 ? rename("b/file", "a/file") : rename("a/file", "b/file"));
}

static void move_folder(unsigned i)
{
    MUST(i % 2 ? rename("b/deep", "a/deep") : rename("a/deep", "b/deep"));
}

static void exchange(unsigned i)
{
    (void)i;
    MUST(renameat2(AT_FDCWD, "a/file", AT_FDCWD, "b/other", RENAME_EXCHANGE));
}

static void attribute(unsigned i)
{
    MUST(i % 2 ? removexattr("a/file", "user.x") : setxattr("a/file", "user.x", &i, sizeof(i), 0));
}

static void attribute_of_folder(unsigned i)
{
    MUST(setxattr("a", "user.x", &i, sizeof(i), 0));
}

static void with_file(unsigned i, int (*change)(int fd, unsigned i))
{
    int fd = open("a/file", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(change(fd, i));
    MUST(close(fd));
}

static int punch_it(int fd, unsigned i)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(fd, mode, (off_t)(i % BURST) * CACHE_PAGE, CACHE_PAGE);
}

static int write_it(int fd, unsigned i)
{
    return pwrite(fd, "x", 1, (off_t)(i % BURST) * CACHE_PAGE) == 1 ? 0 : -1;
}

static int size_it(int fd, unsigned i)
{
    return ftruncate(fd, (off_t)(BURST + i % 2) * CACHE_PAGE);
}

/* Written back when it is closed. */
static int store_it(int fd, unsigned i)
{
    char *map =
        mmap(NULL, CACHE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(i % BURST) * CACHE_PAGE);
    if (map == MAP_FAILED)
        return -1;
    map[0]++;
    return munmap(map, CACHE_PAGE);
}

static void punch(unsigned i)
{
    with_file(i, punch_it);
}

static void write_bytes(unsigned i)
{
    with_file(i, write_it);
}

static void store(unsigned i)
{
    with_file(i, store_it);
}

static void resize(unsigned i)
{
    with_file(i, size_it);
}

static void mode(unsigned i)
{
    MUST(chmod("a", i % 2 ? 0755 : 0750));
    MUST(chmod("a/file", i % 2 ? 0644 : 0640));
}

static const struct {
    const char *name;
    void (*change)(unsigned i);
} changes[] = {
    {"create", create_remove},
    {"mkdir", mkdir_rmdir},
    {"symlink", symlink_remove},
    {"mknod", mknod_remove},
    {"link", link_remove},
    {"link-unnamed", link_unnamed},
    {"rename", move},
    {"rename-dir", move_folder},
    {"exchange", exchange},
    {"setxattr", attribute},
    {"setxattr-dir", attribute_of_folder},
    {"punch", punch},
    {"write", write_bytes},
    {"store", store},
    {"truncate", resize},
    {"chmod", mode},
};

static void begin(void)
{
    static const char *const dirs[] = {"a", "b", "a/deep"};
    static const char *const files[] = {"a/file", "b/other"};
    for (size_t i = 0; i < COUNT_OF(dirs); i++)
        MUST(mkdir(dirs[i], 0755) && errno != EEXIST ? -1 : 0);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        int fd = open(files[i], O_CREAT | O_RDWR | O_CLOEXEC, 0644);
        MUST(fd);
        for (int k = 0; k < BURST; k++)
            MUST(pwrite(fd, "content", 7, (off_t)k * CACHE_PAGE));
        MUST(close(fd));
    }
}

/* An even number of changes beside those who ask; false: something else is kept than is asked. */
static bool burst(void (*change)(unsigned i), char why[256])
{
    pthread_t threads[ASKERS];
    atomic_store(&stop, false);
    atomic_store(&begun, 0);
    for (size_t t = 0; t < ASKERS; t++)
        MUST(-pthread_create(&threads[t], NULL, ask, (void *)(uintptr_t)looked_at));
    while (atomic_load(&begun) < ASKERS)
        (void)sched_yield();
    for (unsigned i = 0; i < BURST; i++)
        change(i);
    atomic_store(&stop, true);
    for (size_t t = 0; t < ASKERS; t++)
        MUST(-pthread_join(threads[t], NULL));
    for (size_t i = 0; i < COUNT_OF(looked_at); i++)
        if (!stat_agrees(AT_FDCWD, looked_at[i], why))
            return false;
    return true;
}

/* ---- times of what is stored through a mapping --------------------------------------------------- */

static int64_t ns_of(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Between a store and the end of the msync(2) that follows, or of another call that writes it back, both
 * times are set: to one of that span, if coarse clocks are allowed for. */
static bool stored_times(int (*sync)(int fd, char *map), char why[256])
{
    enum { COARSE_NS = 20000000 };
    const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct timespec from, to;
    struct stat st;
    int fd = open("a/file", O_RDWR | O_CLOEXEC);
    MUST(fd);
    char *map = mmap(NULL, CACHE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(map == MAP_FAILED ? -1 : 0);
    MUST(futimens(fd, old));
    MUST(clock_gettime(CLOCK_REALTIME, &from));
    map[1]++;
    MUST(sync(fd, map));
    MUST(clock_gettime(CLOCK_REALTIME, &to));
    MUST(stat("a/file", &st));
    MUST(munmap(map, CACHE_PAGE));
    MUST(close(fd));
    bool in_span = true;
    const int64_t times[] = {ns_of(st.st_mtim), ns_of(st.st_ctim)};
    for (size_t i = 0; i < COUNT_OF(times); i++)
        in_span = in_span && times[i] >= ns_of(from) - COARSE_NS && times[i] <= ns_of(to);
    if (!in_span)
        (void)snprintf(why, 256, "mtime %+lld, ctime %+lld ns after the store",
                       (long long)(times[0] - ns_of(from)), (long long)(times[1] - ns_of(from)));
    return in_span && stat_agrees(AT_FDCWD, "a/file", why);
}

static int by_msync(int fd, char *map)
{
    (void)fd;
    return msync(map, CACHE_PAGE, MS_SYNC);
}

static int by_fsync(int fd, char *map)
{
    (void)map;
    return fsync(fd);
}

static int by_fdatasync(int fd, char *map)
{
    (void)map;
    return fdatasync(fd);
}

/* FUSE writes it back when any descriptor is closed. */
static int by_close(int fd, char *map)
{
    (void)map;
    int other = dup(fd);
    return other < 0 ? -1 : close(other);
}

static void stored_run(void)
{
    static const struct {
        const char *name;
        int (*sync)(int fd, char *map);
    } ways[] = {
        {"msync", by_msync},
        {"fsync", by_fsync},
        {"fdatasync", by_fdatasync},
        {"close", by_close},
    };
    for (size_t k = 0; k < COUNT_OF(ways); k++) {
        char what[100], why[256];
        (void)snprintf(what, sizeof(what), "attrs.store.%s", ways[k].name);
        if (stored_times(ways[k].sync, why))
            say(what, NULL);
        else
            say(what, "%s", why);
    }
}

void attrs_run(unsigned rounds)
{
    begin();
    stored_run();
    for (size_t k = 0; k < COUNT_OF(changes); k++) {
        char what[100], why[256], first[256] = "";
        unsigned wrong = 0;
        for (unsigned i = 0; i < rounds; i++)
            if (!burst(changes[k].change, why) && !wrong++)
                memcpy(first, why, sizeof(first));
        (void)snprintf(what, sizeof(what), "attrs.%s", changes[k].name);
        if (wrong)
            say(what, "%u of %u rounds; the first: %s", wrong, rounds, first);
        else
            say(what, NULL);
    }
}

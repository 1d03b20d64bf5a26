/*
 * nomem.c - each allocation of the engine fails once: malloc, calloc, realloc, reallocarray and mmap; and
 * each thread that a compaction starts.
 *
 * A call that the fault hits must say -ENOMEM (maintenance may do without), hold no lock, and have changed
 * nothing: it is issued again at once and must succeed. At the end, and after opening again, everything is
 * there, and no change to the index took memory that it had not reserved before (table.h). The store lies on
 * the real file system. `nomem --nth N` runs one case again. ENGRAM_TEST_MODE=full: all, else every third. */
#include "hook.h"
#include "inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 40
#define SIZE 3000

static uint64_t calls, fail_at; /* fail_at 0: none */

static bool strikes(void)
{
    return ++calls == fail_at;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __real_pthread_mutex_lock(pthread_mutex_t *lock);
int __real_pthread_mutex_trylock(pthread_mutex_t *lock);
int __real_pthread_mutex_unlock(pthread_mutex_t *lock);
int __real_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __real_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __real_pthread_rwlock_unlock(pthread_rwlock_t *lock);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

static void *refuse(void)
{
    errno = ENOMEM;
    return NULL;
}
void *__wrap_malloc(size_t size)
{
    return strikes() ? refuse() : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return strikes() ? refuse() : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size)
{
    return strikes() ? refuse() : __real_realloc(p, size);
}
void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    return strikes() ? refuse() : __real_reallocarray(p, n, size);
}
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    if (!strikes())
        return __real_mmap64(at, len, prot, flags, fd, off);
    errno = ENOMEM;
    return MAP_FAILED;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    return strikes() ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

static const char *failed_call;
static int failed_with;

static struct eng *opened;
static struct schedule *schedule; /* of a compaction and its installer */

/* Locks that this thread holds, of the engine and of the tests. */
static _Thread_local int held;

int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    int r = __real_pthread_mutex_lock(lock);
    held += !r;
    return r;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *lock)
{
    int r = __real_pthread_mutex_trylock(lock);
    held += !r;
    return r;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *lock)
{
    int r = __real_pthread_mutex_unlock(lock);
    held -= !r;
    return r;
}

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    int r = __real_pthread_rwlock_rdlock(lock);
    held += !r;
    return r;
}

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    int r = __real_pthread_rwlock_wrlock(lock);
    held += !r;
    return r;
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    int r = __real_pthread_rwlock_unlock(lock);
    held -= !r;
    return r;
}

/* One call; after -ENOMEM once more, without the fault. */
#define MUST(call)                                                                                           \
    do {                                                                                                     \
        int must_held = held;                                                                                \
        long must_r = (long)(call);                                                                          \
        if (must_r == -ENOMEM && calls >= fail_at && fail_at)                                                \
            must_r = held != must_held ? -EDEADLK : (long)(call);                                            \
        if (must_r < 0) {                                                                                    \
            failed_call = #call;                                                                             \
            failed_with = (int)must_r;                                                                       \
            return false;                                                                                    \
        }                                                                                                    \
    } while (0)

static const struct eng_caller me = {0};

static void content(uint8_t *buf, int i, int round)
{
    memset(buf, 1 + i + round * 50, SIZE);
}

static bool verify(struct eng *eng, int round)
{
    uint8_t want[SIZE], got[SIZE + 1];
    for (int i = 0; i < FILES; i++) {
        char name[16];
        struct eng_attr attr;
        (void)snprintf(name, sizeof(name), "f%d", i);
        MUST(eng_lookup(eng, &me, ENG_ROOT_INO, name, &attr));
        content(want, i, round);
        ssize_t n = eng_read(eng, attr.ino, got, sizeof(got), 0);
        if (n == -ENOMEM)
            n = eng_read(eng, attr.ino, got, sizeof(got), 0);
        if (n != SIZE || memcmp(want, got, SIZE) != 0) {
            failed_call = "content";
            failed_with = (int)n;
            return false;
        }
    }
    return true;
}

static bool fill(struct eng *eng, int round)
{
    uint8_t buf[SIZE];
    for (int i = 0; i < FILES; i++) {
        char name[16];
        struct eng_attr attr;
        (void)snprintf(name, sizeof(name), "f%d", i);
        if (round == 0)
            MUST(eng_create(eng, &me, ENG_ROOT_INO, name, S_IFREG | 0600, 0, NULL, &attr));
        else
            MUST(eng_lookup(eng, &me, ENG_ROOT_INO, name, &attr));
        content(buf, i, round);
        MUST(eng_write(eng, attr.ino, buf, SIZE, 0));
        MUST(eng_setxattr(eng, attr.ino, "user.x", buf, 300, 0));
    }
    for (int i = 0; i < FILES; i += 3)
        eng_accessed(eng, (uint64_t)i + 2); /* the time may be forgotten, no more */
    MUST(eng_sync(eng));
    MUST(eng_tick(eng));
    return true;
}

static bool configure(struct eng *eng)
{
    MUST(eng_config_set(eng, "checkpoint_ops", "30"));
    return true;
}

static bool compact(struct eng *eng)
{
    uint64_t armed = fail_at;
    fail_at = 0; /* what the test itself allocates */
    schedule = schedule_new(eng, 1);
    fail_at = armed;
    MUST(eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL));
    return true;
}

static bool is_sound(struct eng *eng)
{
    struct eng_job_report report;
    MUST(eng_job_run(eng, ENG_JOB_CHECK, NULL, &report));
    if (report.check.problems)
        failed_call = "check";
    return report.check.problems == 0;
}

#define EXTRA 12

static int count_entry(void *arg, const struct eng_dirent *entry)
{
    (void)entry;
    ++*(unsigned *)arg;
    return 0;
}

static int pass_segment(void *arg, const struct eng_segment_info *info)
{
    (void)arg;
    return info->id == 0;
}

static int pass_file(void *arg, const struct eng_file *file)
{
    (void)arg;
    return file->name[0] == '\0';
}

static void pass_damage(void *arg, const struct eng_damage *d)
{
    (void)d;
    ++*(unsigned *)arg;
}

static bool put_extra(struct eng *eng)
{
    static uint8_t data[EXTRA][700];
    char names[EXTRA][8];
    struct eng_record records[EXTRA] = {0};
    struct eng_xattr_pair pair = {"user.x", data[1], 200};
    for (int i = 0; i < EXTRA; i++) {
        memset(data[i], i + 1, sizeof(data[i]));
        (void)snprintf(names[i], sizeof(names[i]), "x%d", i);
        records[i] = (struct eng_record){.parent = ENG_ROOT_INO,
                                         .name = names[i],
                                         .content = data[i],
                                         .size = sizeof(data[i]),
                                         .mode = S_IFREG | 0600,
                                         .xattrs = &pair,
                                         .n_xattrs = 1};
    }
    MUST(eng_put_many(eng, records, EXTRA));
    for (int i = 0; i < EXTRA; i++) {
        if (records[i].result == -ENOMEM)
            MUST(eng_put_many(eng, &records[i], 1));
        MUST(records[i].result);
    }
    return true;
}

/* The names as they must be after: x0 is y0, x1 is gone, x2 has a second name, a folder has come. */
static bool change_names(struct eng *eng)
{
    struct eng_attr attr;
    MUST(eng_rename(eng, &me, ENG_ROOT_INO, "x0", ENG_ROOT_INO, "y0", 0));
    MUST(eng_unlink(eng, ENG_ROOT_INO, "x1"));
    MUST(eng_lookup(eng, &me, ENG_ROOT_INO, "x2", &attr));
    MUST(eng_link(eng, &me, attr.ino, ENG_ROOT_INO, "y2", &attr));
    MUST(eng_create(eng, &me, ENG_ROOT_INO, "d", S_IFDIR | 0700, 0, NULL, &attr));
    MUST(eng_create(eng, &me, attr.ino, "link", S_IFLNK | 0777, 0, "target", &attr));
    return true;
}

static bool inspect_all(struct eng *eng)
{
    struct eng_job_report scrub = {0};
    struct eng_compact_estimate estimate;
    struct eng_space space;
    struct eng_stats stats;
    unsigned n = 0, damaged = 0;
    MUST(eng_readdir(eng, &me, ENG_ROOT_INO, 0, count_entry, &n));
    if (n != 2 + FILES + EXTRA + 1) { /* one less, one more, and the folder */
        failed_call = "names";
        failed_with = (int)n;
        return false;
    }
    MUST(eng_job_start(eng, ENG_JOB_SCRUB, NULL, NULL, NULL));
    MUST(eng_job_status(eng, ENG_JOB_SCRUB, &scrub));
    if (scrub.error == -ENOMEM) {
        MUST(eng_job_start(eng, ENG_JOB_SCRUB, NULL, NULL, NULL));
        MUST(eng_job_status(eng, ENG_JOB_SCRUB, &scrub));
    }
    MUST(scrub.error);
    MUST(eng_damaged(eng, pass_damage, &damaged));
    MUST(-(long)(scrub.scrub.damaged + damaged));
    MUST(eng_compact_estimate(eng, &estimate));
    MUST(eng_space(eng, &space));
    MUST(eng_stats(eng, &stats));
    MUST(eng_segments(eng, pass_segment, NULL));
    MUST(eng_hold(eng));
    MUST(eng_files(eng, pass_file, NULL));
    MUST(eng_release(eng));
    return true;
}

/* The store is released whatever closing returns, so that is not called again. */
static int close_store(void)
{
    struct eng *eng = opened;
    uint64_t overdrafts = chunk_pool_overdrafts(eng->idx.pool);
    opened = NULL;
    int r = eng_close(eng);
    schedule_free(schedule);
    schedule = NULL;
    return overdrafts ? -EPROTO : r;
}

static bool cycle(const char *dir)
{
    struct eng_options opt = {
        .no_background = true, .segment_size = ENG_SEGMENT_SIZE_MIN, .commit_ms = -1, .relatime = true};
    struct eng *eng;
    char why[256];
    MUST(eng_open(dir, &opt, &eng, why));
    opened = eng;
    bool ok = configure(eng) && fill(eng, 0) && fill(eng, 1) && put_extra(eng) && change_names(eng);
    ok = ok && compact(eng) && verify(eng, 1) && inspect_all(eng);
    int r = close_store();
    if (ok && r < 0 && r != -ENOMEM) {
        failed_call = "eng_close";
        failed_with = r;
        return false;
    }
    if (!ok)
        return false;
    MUST(eng_open(dir, &opt, &eng, why));
    opened = eng;
    ok = verify(eng, 1) && inspect_all(eng) && is_sound(eng);
    return close_store() != -EPROTO && ok;
}

static uint64_t n_passed, n_failed;

static void run(const char *base, uint64_t nth)
{
    char dir[300], command[320];
    (void)snprintf(dir, sizeof(dir), "%s/s", base);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    (void)mkdir(dir, 0700);
    calls = 0;
    fail_at = nth;
    (void)alarm(60);
    bool ok = cycle(dir);
    (void)alarm(0);
    n_passed += ok;
    n_failed += !ok;
    if (!ok)
        printf("FAILED: nomem --nth %" PRIu64 ": %s: %s\n", nth, failed_call, strerror(-failed_with));
    (void)fflush(stdout);
    fail_at = 0;
    (void)!system(command);
}

int main(int argc, char **argv)
{
    char base[256];
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(base, sizeof(base), "%s/nomem.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(base))
        return 2;
    if (argc == 3 && strcmp(argv[1], "--nth") == 0) {
        run(base, strtoull(argv[2], NULL, 0));
    } else {
        run(base, 0);
        const char *mode = getenv("ENGRAM_TEST_MODE");
        uint64_t total = calls, step = mode && strcmp(mode, "full") == 0 ? 1 : 3;
        if (argc == 2 && strcmp(argv[1], "--quick") == 0)
            step = 11;
        uint64_t n = 0;
        for (uint64_t nth = 1; nth <= total; nth += step, n++)
            run(base, nth);
        printf("%" PRIu64 " allocations, %" PRIu64 " of them failed\n", total, n);
    }
    (void)rmdir(base);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", n_passed, n_failed);
    return n_failed ? 1 : 0;
}

/*
 * nomem.c - each allocation of the engine fails once: malloc, calloc, realloc, reallocarray and mmap.
 *
 * A call that the fault hits must say -ENOMEM (maintenance may do without) and have changed nothing: it is
 * issued again at once, in the same thread, and must succeed, so a lock that was left held is a hang that
 * alarm() ends. At the end, and after opening again, everything is there. The store lies on the real file
 * system. `nomem --nth N` runs one case again.
 */
#include "engine.h"

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

static const char *failed_call;
static int failed_with;

/* One call; after -ENOMEM once more, without the fault. */
#define MUST(call)                                                                                           \
    do {                                                                                                     \
        long must_r = (long)(call);                                                                          \
        if (must_r == -ENOMEM && calls >= fail_at && fail_at)                                                \
            must_r = (long)(call);                                                                           \
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
    MUST(eng_sync(eng));
    MUST(eng_tick(eng));
    return true;
}

static bool cycle(const char *dir)
{
    struct eng_options opt = {.no_background = true, .segment_size = ENG_SEGMENT_SIZE_MIN, .commit_ms = -1};
    struct eng *eng;
    struct eng_check_report report;
    char why[256];
    MUST(eng_open(dir, &opt, &eng, why));
    MUST(eng_config_set(eng, "checkpoint_ops", "30"));
    bool ok = fill(eng, 0) && fill(eng, 1);
    if (ok) {
        MUST(eng_compact(eng, NULL));
        ok = verify(eng, 1);
    }
    int r = eng_close(eng); /* it releases the store whatever it returns, so it is not called again */
    if (ok && r < 0 && r != -ENOMEM) {
        failed_call = "eng_close";
        failed_with = r;
        return false;
    }
    if (!ok)
        return false;
    MUST(eng_open(dir, &opt, &eng, why));
    ok = verify(eng, 1);
    if (ok) {
        MUST(eng_check(eng, NULL, NULL, &report));
        if (report.problems) {
            failed_call = "eng_check";
            ok = false;
        }
    }
    (void)eng_close(eng);
    return ok;
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
        uint64_t total = calls, step = argc == 2 && strcmp(argv[1], "--quick") == 0 ? 11 : 1;
        uint64_t n = 0;
        for (uint64_t nth = 1; nth <= total; nth += step, n++)
            run(base, nth);
        printf("%" PRIu64 " allocations, %" PRIu64 " of them failed\n", total, n);
    }
    (void)rmdir(base);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", n_passed, n_failed);
    return n_failed ? 1 : 0;
}

/*
 * exchange_shim.c - for LD_PRELOAD: somebody is quick. When the program has looked at a path that ends in
 * EXCHANGE_NAME for the EXCHANGE_AFTER-th time, by whatever call, EXCHANGE_THIS and EXCHANGE_THAT change
 * places (renameat2). A program that looks once never sees what comes to be there. 0: before the first time.
 * EXCHANGE_DONE is a file that is made when they have changed places. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static int looks = -1, after;

/* 1 if it has looked often enough, once. */
static int due(int more)
{
    if (looks < 0) {
        const char *text = getenv("EXCHANGE_AFTER");
        looks = 0;
        after = text ? atoi(text) : -1;
    }
    looks += more;
    return looks == after;
}

static void exchange(void)
{
    int e = errno;
    const char *this = getenv("EXCHANGE_THIS"), *that = getenv("EXCHANGE_THAT"),
               *done = getenv("EXCHANGE_DONE");
    after = -1;
    if (this && that && done && renameat2(AT_FDCWD, this, AT_FDCWD, that, RENAME_EXCHANGE) == 0)
        (void)syscall(SYS_mknodat, AT_FDCWD, done, S_IFREG | 0600, 0);
    errno = e;
}

static int is_it(const char *path)
{
    const char *name = getenv("EXCHANGE_NAME");
    size_t n = name ? strlen(name) : 0, len = path ? strlen(path) : 0;
    return n && len >= n && !strcmp(path + len - n, name) && (len == n || path[len - n - 1] == '/');
}

static void before(const char *path)
{
    if (is_it(path) && due(0))
        exchange();
}

static void looked(const char *path)
{
    if (is_it(path) && due(1))
        exchange();
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define LOOK(type, name, args, call)                                                                         \
    type name args                                                                                           \
    {                                                                                                        \
        REAL(name);                                                                                          \
        before(path);                                                                                        \
        type r = real call;                                                                                  \
        looked(path);                                                                                        \
        return r;                                                                                            \
    }
#define LOOK_MODE(name, args, call)                                                                          \
    int name args                                                                                            \
    {                                                                                                        \
        va_list list;                                                                                        \
        va_start(list, flags);                                                                               \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;                            \
        va_end(list);                                                                                        \
        REAL(name);                                                                                          \
        before(path);                                                                                        \
        int r = real call;                                                                                   \
        looked(path);                                                                                        \
        return r;                                                                                            \
    }
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags);
char *__realpath_chk(const char *path, char *buf, size_t size);

LOOK_MODE(open, (const char *path, int flags, ...), (path, flags, mode))
LOOK_MODE(open64, (const char *path, int flags, ...), (path, flags, mode))
LOOK_MODE(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
LOOK_MODE(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
LOOK(int, __open_2, (const char *path, int flags), (path, flags))
LOOK(int, __open64_2, (const char *path, int flags), (path, flags))
LOOK(int, __openat_2, (int at, const char *path, int flags), (at, path, flags))
LOOK(int, __openat64_2, (int at, const char *path, int flags), (at, path, flags))
LOOK(DIR *, opendir, (const char *path), (path))
LOOK(int, stat, (const char *path, struct stat *st), (path, st))
LOOK(int, stat64, (const char *path, struct stat64 *st), (path, st))
LOOK(int, lstat, (const char *path, struct stat *st), (path, st))
LOOK(int, lstat64, (const char *path, struct stat64 *st), (path, st))
LOOK(int, statfs, (const char *path, struct statfs *st), (path, st))
LOOK(int, statfs64, (const char *path, struct statfs64 *st), (path, st))
LOOK(int, access, (const char *path, int mode), (path, mode))
LOOK(int, mkdir, (const char *path, mode_t mode), (path, mode))
LOOK(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
LOOK(char *, realpath, (const char *path, char *buf), (path, buf))
LOOK(char *, __realpath_chk, (const char *path, char *buf, size_t size), (path, buf, size))

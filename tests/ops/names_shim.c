/*
 * names_shim.c - for LD_PRELOAD: a file system that knows no files without a name (O_TMPFILE), nor
 * renameat2() with a flag, as NFS. If NAMES_SHIM is "pause", each fsetxattr() lets others run for a
 * millisecond, so that whoever looks at half a file sees it.
 *
 * If it is "no_openat2", the kernel is one before 5.6. If it is "swap", somebody is quick: the file SWAP_WITH
 * takes the place of the one whose name begins with SWAP_NAME just before that is opened for its attributes,
 * and of a special file just after it was made.
 *
 * NAMES_LOCKS is a file that gets a line, "locked" or "unlocked", for each file that changes its temporary
 * name for its own: whether another import could take it for one whose import is dead.
 *
 * NAMES_GONE is a file that gets a line, the name, for each name that is removed and is no temporary one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static int is(const char *word)
{
    const char *want = getenv("NAMES_SHIM");
    return want && !strcmp(want, word);
}

/* At the SWAP_LOOK-th look at the name: what a program finds out about it comes before what it does to it. */
static int is_time(const char *name)
{
    static int looks;
    const char *want = getenv("SWAP_NAME"), *which = getenv("SWAP_LOOK");
    return want && !strncmp(name, want, strlen(want)) && ++looks == (which ? atoi(which) : 1);
}

static void swap(int at, const char *name)
{
    const char *want = getenv("SWAP_NAME"), *with = getenv("SWAP_WITH");
    if (is("swap") && want && with && !strncmp(name, want, strlen(want)))
        (void)renameat(AT_FDCWD, with, at, name); /* ENOENT: done already */
}

static int open_at(const char *name, int at, const char *path, int flags, mode_t mode)
{
    int (*real)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, name);
    if (is("old") && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (flags & O_PATH && is_time(path))
        swap(at, path);
    return real(at, path, flags, mode);
}

static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int openat(int at, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return open_at("openat", at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return open_at("openat64", at, path, flags, mode);
}

long syscall(long number, ...)
{
    long (*real)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long a[6];
    va_list ap;
    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (number == SYS_openat2 && is("no_openat2")) {
        errno = ENOSYS;
        return -1;
    }
    if (number == SYS_openat2 && (((const struct open_how *)a[2])->flags & O_PATH) &&
        is_time((const char *)a[1]))
        swap((int)a[0], (const char *)a[1]);
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int mknodat(int at, const char *name, mode_t mode, dev_t dev)
{
    int (*real)(int, const char *, mode_t, dev_t) =
        (int (*)(int, const char *, mode_t, dev_t))dlsym(RTLD_NEXT, "mknodat");
    int r = real(at, name, mode, dev);
    if (!r)
        swap(at, name);
    return r;
}

static void note_lock(int at, const char *name)
{
    const char *notes = getenv("NAMES_LOCKS");
    struct stat st;
    if (!notes || strncmp(name, ".engramctl-", 11) != 0 || fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode))
        return;
    int fd = openat(at, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC),
        is_free = fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0;
    int to = open(notes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (to < 0 || dprintf(to, "%s\n", is_free ? "unlocked" : "locked") < 0)
        abort();
    close(to);
    if (fd >= 0)
        close(fd);
}

int unlinkat(int at, const char *name, int flags)
{
    int (*real)(int, const char *, int) = (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");
    const char *notes = getenv("NAMES_GONE");
    if (notes && strncmp(name, ".engramctl-", 11) != 0) {
        int to = open(notes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (to < 0 || dprintf(to, "%s\n", name) < 0)
            abort();
        close(to);
    }
    return real(at, name, flags);
}

int renameat(int from, const char *old, int to, const char *new)
{
    int (*real)(int, const char *, int, const char *) =
        (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    note_lock(from, old);
    return real(from, old, to, new);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
    int (*real)(int, const char *, int, const char *, unsigned) =
        (int (*)(int, const char *, int, const char *, unsigned))dlsym(RTLD_NEXT, "renameat2");
    note_lock(from, old);
    if (is("old") && flags) {
        errno = EINVAL;
        return -1;
    }
    return real(from, old, to, new, flags);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
    int (*real)(int, const char *, const void *, size_t, int) =
        (int (*)(int, const char *, const void *, size_t, int))dlsym(RTLD_NEXT, "fsetxattr");
    if (is("pause"))
        usleep(1000);
    return real(fd, name, value, size, flags);
}

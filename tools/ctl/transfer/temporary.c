/*
 * temporary.c - see temporary.h. No state. */
#include "ctl/transfer/temporary.h"

#include "ctl/transfer/beneath.h"
#include "shared/cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PREFIX ".engramctl-"
#define SUFFIX ".part"

uint64_t temporary_number(void)
{
    struct timespec ts;
    uint64_t n;
    if (getrandom(&n, sizeof n, 0) == sizeof n)
        return n;
    clock_gettime(CLOCK_MONOTONIC, &ts); /* a filter forbids it */
    return (uint64_t)ts.tv_sec << 32 ^ (uint64_t)ts.tv_nsec;
}

void temporary_name(char ret_name[TEMPORARY_BUF])
{
    snprintf(ret_name, TEMPORARY_BUF, PREFIX "%ld-%" PRIu64 SUFFIX, (long)getpid(), temporary_number());
}

static size_t digits(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && s[n] >= '0' && s[n] <= '9')
        n++;
    return n;
}

bool temporary_is(const char *name, size_t len)
{
    const size_t prefix = sizeof PREFIX - 1, suffix = sizeof SUFFIX - 1;
    if (len <= prefix + suffix || memcmp(name, PREFIX, prefix) != 0 ||
        memcmp(name + len - suffix, SUFFIX, suffix) != 0)
        return false;
    const char *s = name + prefix;
    size_t left = len - prefix - suffix, n = digits(s, left);
    if (n == 0 || n == left || s[n] != '-')
        return false;
    s += n + 1;
    left -= n + 1;
    return left > 0 && digits(s, left) == left;
}

/* Whether the name is the file's. */
static bool has_name(struct beneath *dirs, int fd, int at, const char *name)
{
    struct stat st, here;
    return fstat(fd, &st) == 0 && beneath_stat_at(dirs, at, name, &here) == 0 && st.st_dev == here.st_dev &&
           st.st_ino == here.st_ino;
}

int temporary_lock(struct beneath *dirs, int fd, int at, const char *name)
{
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EEXIST : 0; /* where there are no locks nobody removes it */
    return has_name(dirs, fd, at, name) ? 0 : -EEXIST;
}

int temporary_link_new(int fd, int to, const char *name)
{
    char path[64];
    if (linkat(fd, "", to, name, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != ENOENT) /* only root may do that, or who opened it; others by /proc */
        return -errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, path, to, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int temporary_link_over(int fd, int to, const char *name)
{
    char temporary[TEMPORARY_BUF];
    struct stat st, here;
    int r = -EEXIST;
    for (int i = 0; r == -EEXIST && i < TEMPORARY_TRIES; i++) {
        temporary_name(temporary);
        r = temporary_link_new(fd, to, temporary);
    }
    if (r < 0)
        return r;
    r = renameat(to, temporary, to, name) < 0 ? -errno : 0;
    /* Of two names of one file rename(2) leaves both. */
    if (fstatat(to, temporary, &here, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &st) == 0 &&
        st.st_ino == here.st_ino)
        (void)unlinkat(to, temporary, 0);
    return r;
}

/* Whoever has the lock has the file: its import is dead, or has not locked it yet, and takes another name. */
static void remove_one(struct beneath *dirs, int at, const char *name)
{
    struct stat st;
    if (beneath_stat_at(dirs, at, name, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        st.st_nlink != 1)
        return;
    int fd = beneath_open_at(dirs, at, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && has_name(dirs, fd, at, name) && unlinkat(at, name, 0) == 0)
        cli_warning("%s: removed; an import that has ended had not finished it", name);
    close(fd);
}

void temporary_sweep(struct beneath *dirs, int at)
{
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d && fd >= 0)
        close(fd);
    for (struct dirent *e; d && (e = readdir(d));)
        if (temporary_is(e->d_name, strlen(e->d_name)))
            remove_one(dirs, at, e->d_name);
    if (d)
        closedir(d);
}

/*
 * rights.c - what a file system takes away when somebody else writes: set-ID bits and capabilities. The
 * kernel is told neither, and must not go on with what it knew. As root, which acts for another user. */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { SOMEBODY = 5001 };

static int made; /* the descriptor that has made the file */
static char page[CACHE_PAGE] __attribute__((aligned(CACHE_PAGE)));

static int by_write(int fd)
{
    return write(fd, "x", 1) == 1 ? 0 : -1;
}

static int by_append(int fd)
{
    (void)fd;
    int more = open("rights", O_WRONLY | O_APPEND | O_CLOEXEC);
    return more < 0 || write(more, "x", 1) != 1 ? -1 : close(more);
}

static int by_direct_write(int fd)
{
    (void)fd;
    int direct = open("rights", O_WRONLY | O_DIRECT | O_CLOEXEC);
    return direct < 0 || pwrite(direct, page, CACHE_PAGE, 0) != CACHE_PAGE ? -1 : close(direct);
}

static int by_truncate(int fd)
{
    return ftruncate(fd, 100);
}

static int by_open(int fd)
{
    (void)fd;
    int again = open("rights", O_WRONLY | O_TRUNC | O_CLOEXEC);
    return again < 0 ? -1 : close(again);
}

static int by_fallocate(int fd)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1000);
}

static int by_copy(int fd)
{
    loff_t from = 0, to = CACHE_PAGE;
    return copy_file_range(fd, &from, fd, &to, 1000, 0) > 0 ? 0 : -1;
}

/* Through the descriptor that has made the file: the daemon copies. */
static int by_copy_made(int fd)
{
    (void)fd;
    return by_copy(made);
}

static int by_mapping(int fd)
{
    char *m = mmap(NULL, CACHE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if ((void *)m == MAP_FAILED)
        return -1;
    m[0] = 'm';
    return munmap(m, CACHE_PAGE);
}

static const struct {
    const char *name;
    int (*change)(int fd);
} ways[] = {{"write", by_write},
            {"append", by_append},
            {"write-direct", by_direct_write},
            {"truncate", by_truncate},
            {"open", by_open},
            {"fallocate", by_fallocate},
            {"copy-range", by_copy},
            {"copy-range-made", by_copy_made},
            {"store", by_mapping}};

/* Another user changes the file, in a process of his. */
static void as_somebody(int (*change)(int fd))
{
    pid_t child = fork();
    MUST(child);
    if (child == 0) {
        if (setgroups(0, NULL) || setresgid(SOMEBODY, SOMEBODY, SOMEBODY) ||
            setresuid(SOMEBODY, SOMEBODY, SOMEBODY))
            _exit(1);
        int fd = open("rights", O_RDWR | O_CLOEXEC);
        _exit(fd < 0 || change(fd));
    }
    int status;
    MUST(waitpid(child, &status, 0));
    MUST(status ? -1 : 0);
}

static void one(const char *name, int (*change)(int fd))
{
    /* as setcap(8) writes it, version 2: cap_net_raw */
    static const unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20};
    char what[100], why[256];
    struct stat st;
    (void)unlink("rights");
    int fd = open("rights", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    MUST(fd);
    made = fd;
    MUST(ftruncate(fd, 3 * CACHE_PAGE));
    MUST(pwrite(fd, page, CACHE_PAGE, 0));
    MUST(fchmod(fd, 0777));
    as_somebody(by_write); /* from now on the kernel knows that there is nothing to take */
    MUST(fchmod(fd, 06777));
    MUST(fstat(fd, &st));
    as_somebody(change);
    (void)snprintf(what, sizeof(what), "rights.%s", name);
    if (stat_agrees(AT_FDCWD, "rights", why))
        say(what, NULL);
    else
        say(what, "%s", why);
    bool stays = change == by_mapping; /* nothing is taken for a store */
    MUST(fstat(fd, &st));
    (void)snprintf(what, sizeof(what), "rights.%s.mode", name);
    say(what, (st.st_mode & 07777) == (stays ? 06777 : 0777) ? NULL : "%o", st.st_mode);
    MUST(ftruncate(fd, 3 * CACHE_PAGE));
    MUST(fsetxattr(fd, "security.capability", capability, sizeof(capability), 0));
    as_somebody(change);
    char got[64];
    ssize_t n = fgetxattr(fd, "security.capability", got, sizeof(got));
    (void)snprintf(what, sizeof(what), "rights.%s.capability", name);
    say(what, (n > 0) == stays ? NULL : "%zd bytes", n);
    MUST(close(fd));
}

void rights_run(void)
{
    struct stat st;
    MUST(stat(".", &st));
    if (geteuid() != 0) {
        printf("# rights: not root\n");
        return;
    }
    MUST(chmod(".", 0755));
    for (size_t i = 0; i < COUNT_OF(ways); i++)
        one(ways[i].name, ways[i].change);
}

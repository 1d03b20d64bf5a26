/*
 * names_cut_shim.c - for LD_PRELOAD: the program is killed at the CUT_AT-th change of a name, of those that
 * tell what a backup is: files that are being copied (.part) do not count. CUT_LOG gets a line for each such
 * change, and for each fsync() of a folder. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void log_line(const char *what, const char *from, const char *to)
{
    char line[512];
    const char *path = getenv("CUT_LOG");
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd < 0)
        return;
    int n = snprintf(line, sizeof line, "%s %s %s\n", what, from, to);
    if (write(fd, line, (size_t)n) != n)
        abort();
    close(fd);
}

static void change(const char *what, const char *from, const char *to)
{
    static int n;
    const char *at = getenv("CUT_AT");
    if (strstr(from, ".part") && !strstr(from, "names.part"))
        return;
    if (at && n++ == atoi(at))
        kill(getpid(), SIGKILL);
    log_line(what, from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    int (*real)(int, const char *, int, const char *) =
        (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");
    change("rename", from, to);
    return real(from_fd, from, to_fd, to);
}

int unlinkat(int fd, const char *name, int flags)
{
    int (*real)(int, const char *, int) = (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        change("unlink", name, "");
    return real(fd, name, flags);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        log_line("sync", "", "");
    return real(fd);
}

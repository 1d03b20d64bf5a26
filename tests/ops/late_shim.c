/*
 * late_shim.c - for LD_PRELOAD: somebody is quick. Just before the first renameat(2) or linkat(2) to a name
 * that does not begin with a dot the command LATE is run. For put.sh. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void come_before(const char *name)
{
    static int done;
    const char *command = getenv("LATE");
    if (!command || *name == '.' || done++)
        return;
    (void)unsetenv("LD_PRELOAD");
    if (system(command) != 0)
        abort();
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    int (*real)(int, const char *, int, const char *);
    *(void **)&real = dlsym(RTLD_NEXT, "renameat");
    come_before(to);
    return real(from_dir, from, to_dir, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    int (*real)(int, const char *, int, const char *, int);
    *(void **)&real = dlsym(RTLD_NEXT, "linkat");
    come_before(to);
    return real(from_dir, from, to_dir, to, flags);
}

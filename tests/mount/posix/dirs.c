/*
 * dirs.c - listings: positions in them, and what changes while they are read. */
#include "posix.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

enum { ENTRIES = 3000 };

static void fill(const char *dir)
{
    p_dir(dir, 0755);
    for (int i = 0; i < ENTRIES; i++)
        MUST(p_open(p_id("%s/a%d", dir, i), O_CREAT | O_EXCL | O_WRONLY, 0644));
}

static void empty(const char *dir)
{
    DIR *d = opendir(dir);
    MUST(d ? 0 : -1);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            (void)unlinkat(dirfd(d), e->d_name, 0);
    (void)closedir(d);
    X(p_id("dirs.%s.empty", dir), rmdir(dir), 0);
}

/* The number in a name of ours; -1: another name. */
static int number_of(const char *name)
{
    return (name[0] == 'a' || name[0] == 'b') && name[1] ? atoi(name + 1) : -1;
}

/* Position of each entry, and what comes after it. */
static void positions(void)
{
    static long where[ENTRIES + 8];
    static char name[ENTRIES + 8][16];
    int n = 0, wrong = 0;
    fill("seek");
    DIR *d = opendir("seek");
    MUST(d ? 0 : -1);
    for (;;) {
        where[n] = telldir(d);
        struct dirent *e = readdir(d);
        if (!e)
            break;
        (void)snprintf(name[n++], sizeof(name[0]), "%.15s", e->d_name);
    }
    p_equal("dirs.seek.listed", n, ENTRIES + 2);
    for (int i = n - 1; i >= 0; i -= 7) {
        seekdir(d, where[i]);
        const struct dirent *e = readdir(d);
        wrong += !e || strncmp(e->d_name, name[i], 15) != 0;
    }
    p_equal("dirs.seek.wrong", wrong, 0);
    seekdir(d, where[n]);
    p_true("dirs.seek.end", !readdir(d));
    /* the entry at a position, and its neighbours, are removed: the position holds; what was read may be
     * kept */
    for (int i = n / 2 - 1; i <= n / 2 + 1; i++)
        MUST(unlinkat(dirfd(d), name[i], 0));
    seekdir(d, where[n / 2]);
    const struct dirent *e = readdir(d);
    p_true("dirs.seek.removed",
           e && (strncmp(e->d_name, name[n / 2], 15) == 0 || strncmp(e->d_name, name[n / 2 + 2], 15) == 0));
    /* what was made is there after a rewind */
    MUST(p_open("seek/b1", O_CREAT | O_EXCL | O_WRONLY, 0644));
    rewinddir(d);
    int found = 0, all = 0;
    for (; (e = readdir(d)); all++)
        found += strcmp(e->d_name, "b1") == 0;
    p_equal("dirs.rewind.new", found, 1);
    p_equal("dirs.rewind.all", all, ENTRIES + 2 - 3 + 1);
    (void)closedir(d);
    empty("seek");
}

/* Each entry is changed when it is met: the listing must end, and have told all of those that were there. */
static void changed_while_listed(const char *name, void (*change)(int dir, const char *entry))
{
    static bool seen[ENTRIES];
    memset(seen, 0, sizeof(seen));
    fill(name);
    DIR *d = opendir(name);
    MUST(d ? 0 : -1);
    int met = 0, told = 0;
    for (struct dirent *e; met < 4 * ENTRIES && (e = readdir(d));) {
        int i = number_of(e->d_name);
        if (i < 0)
            continue;
        met++;
        told += i < ENTRIES && !seen[i];
        if (i < ENTRIES)
            seen[i] = true;
        change(dirfd(d), e->d_name);
    }
    (void)closedir(d);
    p_true(p_id("dirs.%s.ends", name), met < 4 * ENTRIES);
    p_equal(p_id("dirs.%s.told", name), told, ENTRIES);
    empty(name);
}

static void rename_it(int dir, const char *entry)
{
    MUST(renameat(dir, entry, dir, p_id("b%d.%d", number_of(entry), rand())));
}
static void copy_it(int dir, const char *entry)
{
    int fd = openat(dir, p_id("b%d.%d", number_of(entry), rand()), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    MUST(fd);
    MUST(close(fd));
}
static void link_it(int dir, const char *entry)
{
    MUST(linkat(dir, entry, dir, p_id("b%d.%d", number_of(entry), rand()), 0));
}
static void remove_it(int dir, const char *entry)
{
    MUST(unlinkat(dir, entry, 0));
}
static void remake_it(int dir, const char *entry)
{
    MUST(unlinkat(dir, entry, 0));
    copy_it(dir, entry);
}
/* As an editor saves: a new file takes the place of the old one. */
static void replace_it(int dir, const char *entry)
{
    int fd = openat(dir, "tmp", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    MUST(fd);
    MUST(close(fd));
    MUST(renameat(dir, "tmp", dir, entry));
}

static void calls(void)
{
    char buf[4096];
    p_dir("calls", 0755);
    p_file("calls/file", 0644, 1);
    int fd = open("calls", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        file = open("calls/file", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    MUST(file);
    X("dirs.getdents", syscall(SYS_getdents64, fd, buf, sizeof(buf)), 0);
    p_equal("dirs.getdents.end", syscall(SYS_getdents64, fd, buf, sizeof(buf)), 0);
    MUST(lseek(fd, 0, SEEK_SET));
    X("dirs.getdents.small", syscall(SYS_getdents64, fd, buf, 10), EINVAL);
    X("dirs.getdents.fault", syscall(SYS_getdents64, fd, (void *)1, sizeof(buf)), EFAULT);
    X("dirs.getdents.file", syscall(SYS_getdents64, file, buf, sizeof(buf)), ENOTDIR);
    X("dirs.lseek.negative", lseek(fd, -5, SEEK_SET), EINVAL);
    X("dirs.lseek.current", lseek(fd, 0, SEEK_CUR), 0);
    MUST(unlink("calls/file"));
    MUST(rmdir("calls"));
    MUST(lseek(fd, 0, SEEK_SET));
    X("dirs.getdents.removed", syscall(SYS_getdents64, fd, buf, sizeof(buf)), ENOENT);
    MUST(close(fd));
    MUST(close(file));
}

void dirs_run(void)
{
    positions();
    changed_while_listed("rename", rename_it);
    changed_while_listed("copy", copy_it);
    changed_while_listed("link", link_it);
    changed_while_listed("remove", remove_it);
    changed_while_listed("remake", remake_it);
    changed_while_listed("replace", replace_it);
    calls();
}

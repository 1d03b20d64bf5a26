/*
 * races.c - several processes at once on the same names: each call is whole,
 * so that what the others see is before it or after it, and one alone wins.
 *
 * Processes start together and do a fixed number of rounds; nothing depends on how they interleave. */
#include "posix.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PROCESSES = 4, ROUNDS = 300 };

/* Counted by all processes. */
static struct shared {
    _Atomic int started, count[ROUNDS], wrong;
} * shared;

static void together(void (*work)(int process))
{
    pid_t child[PROCESSES];
    memset(shared, 0, sizeof *shared);
    (void)fflush(stdout);
    for (int p = 0; p < PROCESSES; p++)
        if ((child[p] = fork()) == 0) {
            (void)alarm(60);
            shared->started++;
            while (shared->started < PROCESSES)
                (void)sched_yield();
            work(p);
            _exit(0);
        }
    for (int p = 0; p < PROCESSES; p++) {
        int status = 1;
        (void)waitpid(child[p], &status, 0);
        shared->wrong += status != 0;
    }
}

/* In each round one process makes the name, whatever is made. */
static void make_files(int process)
{
    (void)process;
    for (int i = 0; i < ROUNDS; i++)
        shared->count[i] += p_open(p_id("x%d", i), O_CREAT | O_EXCL | O_WRONLY, 0644) == 0;
}
static void make_directories(int process)
{
    (void)process;
    for (int i = 0; i < ROUNDS; i++)
        shared->count[i] += mkdir(p_id("d%d", i), 0755) == 0;
}
static void make_links(int process)
{
    for (int i = 0; i < ROUNDS; i++)
        shared->count[i] += link(p_id("own%d", process), p_id("l%d", i)) == 0;
}
static void make_all_kinds(int process)
{
    for (int i = 0; i < ROUNDS; i++) {
        const char *name = p_id("k%d", i);
        shared->count[i] += (process == 0   ? symlink("x", name)
                             : process == 1 ? mkdir(name, 0755)
                             : process == 2 ? mkfifo(name, 0644)
                                            : rename(p_id("spare%d", i), name)) == 0;
    }
}
static void remove_files(int process)
{
    (void)process;
    for (int i = 0; i < ROUNDS; i++)
        shared->count[i] += unlink(p_id("x%d", i)) == 0;
}
static void remove_directories(int process)
{
    (void)process;
    for (int i = 0; i < ROUNDS; i++)
        shared->count[i] += rmdir(p_id("d%d", i)) == 0;
}
static void rename_away(int process)
{
    for (int i = 0; i < ROUNDS; i++)
        shared->count[i] += rename(p_id("l%d", i), p_id("moved%d.%d", i, process)) == 0;
}
static void rename_without_replacing(int process)
{
    for (int i = 0; i < ROUNDS; i++)
        shared->count[i] +=
            renameat2(AT_FDCWD, p_id("r%d.%d", i, process), AT_FDCWD, p_id("n%d", i), RENAME_NOREPLACE) == 0;
}

static void one_wins(const char *name, void (*work)(int process))
{
    int not_one = 0;
    together(work);
    for (int i = 0; i < ROUNDS; i++)
        not_one += shared->count[i] != 1;
    p_equal(p_id("races.%s", name), not_one, 0);
    p_equal(p_id("races.%s.done", name), shared->wrong, 0);
}

/* A file that is replaced is always there, and always whole. */
static void replace_and_look(int process)
{
    char buf[64];
    for (int i = 0; i < ROUNDS; i++) {
        if (process < 2) {
            const char *mine = p_id("mine%d", process);
            int fd = open(mine, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
            memset(buf, 'A' + process, sizeof(buf));
            shared->wrong += write(fd, buf, sizeof(buf)) != sizeof(buf);
            (void)close(fd);
            shared->wrong += rename(mine, "replaced") != 0;
        } else {
            int fd = open("replaced", O_RDONLY | O_CLOEXEC);
            shared->wrong +=
                read(fd, buf, sizeof(buf)) != sizeof(buf) || memcmp(buf, buf + 1, sizeof(buf) - 1) != 0;
            (void)close(fd);
        }
    }
}

/* Two names are exchanged over and over: both are there, and are two files. */
static void exchange_and_look(int process)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct stat st;
        if (process == 0)
            shared->wrong += renameat2(AT_FDCWD, "left", AT_FDCWD, "right", RENAME_EXCHANGE) != 0;
        else
            shared->wrong += stat(process & 1 ? "left" : "right", &st) != 0;
    }
}

/* Directories that are moved into one another: never a loop, never lost. */
static void move_directories(int process)
{
    for (int i = 0; i < ROUNDS; i++) {
        (void)rename("t/a", process & 1 ? "t/b/a" : "t/a2");
        (void)rename("t/b", process & 1 ? "t/a/b" : "t/b2");
        (void)rename("t/b/a", "t/a");
        (void)rename("t/a/b", "t/b");
        (void)rename("t/a2", "t/a");
        (void)rename("t/b2", "t/b");
    }
}

static int count_tree(const char *path, int depth)
{
    DIR *d = depth > 10 ? NULL : opendir(path);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            n += 1 + count_tree(p_id("%s/%s", path, e->d_name), depth + 1);
    if (d)
        (void)closedir(d);
    return n;
}

/* A counter in a file, under each kind of lock; a lost update shows. */
static void count_up(int process)
{
    int fd = open("counter", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < ROUNDS; i++) {
        int value = -1;
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        shared->wrong += fcntl(fd, F_SETLKW, &lock) != 0;
        shared->wrong += pread(fd, &value, sizeof(value), 0) != sizeof(value);
        value++;
        shared->wrong += pwrite(fd, &value, sizeof(value), 0) != sizeof(value);
        lock.l_type = F_UNLCK;
        shared->wrong += fcntl(fd, F_SETLK, &lock) != 0;
    }
    (void)process;
}

/* All entries of a directory that stay are told by each listing, whatever else comes and goes. */
static void list_and_change(int process)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (process < 2) {
            const char *name = p_id("list/new%d.%d", process, i);
            shared->wrong += p_open(name, O_CREAT | O_EXCL | O_WRONLY, 0644) != 0;
            shared->wrong += unlink(name) != 0;
        } else {
            DIR *d = opendir("list");
            int kept = 0;
            for (struct dirent *e; d && (e = readdir(d));)
                kept += strncmp(e->d_name, "kept", 4) == 0;
            if (d)
                (void)closedir(d);
            shared->wrong += kept != 50;
        }
    }
}

static void hold(const char *name, void (*work)(int process))
{
    together(work);
    p_equal(p_id("races.%s", name), shared->wrong, 0);
}

void races_run(void)
{
    int value = -1;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(shared == MAP_FAILED ? -1 : 0);
    for (int p = 0; p < PROCESSES; p++)
        p_file(p_id("own%d", p), 0644, 1);
    for (int i = 0; i < ROUNDS; i++) {
        p_file(p_id("spare%d", i), 0644, 1);
        for (int p = 0; p < PROCESSES; p++)
            p_file(p_id("r%d.%d", i, p), 0644, 0);
    }
    one_wins("exclusive", make_files);
    one_wins("mkdir", make_directories);
    one_wins("link", make_links);
    one_wins("noreplace", rename_without_replacing);
    one_wins("unlink", remove_files);
    one_wins("rmdir", remove_directories);
    one_wins("rename", rename_away);
    long long links = 0;
    for (int p = 0; p < PROCESSES; p++)
        links += p_stat(p_id("own%d", p)).st_nlink;
    p_equal("races.link-counts", links, ROUNDS + PROCESSES);
    /* a rename replaces what the others have made, where it may: one of them wins, or two */
    together(make_all_kinds);
    int none = 0;
    struct stat st;
    for (int i = 0; i < ROUNDS; i++)
        none += shared->count[i] < 1 || shared->count[i] > 2 || lstat(p_id("k%d", i), &st) != 0;
    p_equal("races.all-kinds", none, 0);
    p_file("replaced", 0644, 0);
    MUST(truncate("replaced", 64));
    hold("replaced", replace_and_look);
    p_file("left", 0644, 1);
    p_file("right", 0644, 2);
    hold("exchanged", exchange_and_look);
    p_equal("races.exchanged.two", p_stat("left").st_ino != p_stat("right").st_ino, 1);
    p_dir("t", 0755);
    p_dir("t/a", 0755);
    p_dir("t/b", 0755);
    hold("moved", move_directories);
    p_equal("races.moved.left", count_tree("t", 0), 2);
    p_file("counter", 0644, 4);
    int fd = open("counter", O_RDWR | O_CLOEXEC);
    MUST(fd);
    value = 0;
    MUST(pwrite(fd, &value, sizeof(value), 0));
    hold("locked", count_up);
    MUST(pread(fd, &value, sizeof(value), 0));
    MUST(close(fd));
    p_equal("races.locked.count", value, PROCESSES * ROUNDS);
    p_dir("list", 0755);
    for (int i = 0; i < 50; i++)
        p_file(p_id("list/kept%d", i), 0644, 0);
    hold("listed", list_and_change);
}

/*
 * main.c - runs the subjects, or those that are named, in a directory.
 *
 *   posix DIRECTORY [SUBJECT...]
 *
 * Each subject runs in a child of its own and with an alarm, so that one that
 * hangs or crashes does not take the others along. Run as root: many checks
 * need two users. */
#include "posix.h"

#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

enum { SUBJECT_SECONDS = 120 };

const struct who alice = {5001, 5001, EXTRA_GROUP}, bob = {5002, 5002, 0};

const char *p_id(const char *format, ...)
{
    static char ids[64][160];
    static unsigned next;
    char *id = ids[next++ % COUNT_OF(ids)];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(id, sizeof(ids[0]), format, args);
    va_end(args);
    return id;
}

static const char *error_name(int err)
{
    const char *name = err == 0 ? "success" : strerrorname_np(err);
    return name ? name : "an unknown errno";
}

void p_errno(const char *id, long result, int err, int expected)
{
    int got = 0;
    if (result < 0)
        got = err ? err : -1; /* -1: it failed without saying why */
    if (got == expected)
        printf("ok - %s\n", id);
    else
        printf("not ok - %s: got %s, expected %s\n", id, error_name(got), error_name(expected));
}

void p_equal(const char *id, long long got, long long expected)
{
    if (got == expected)
        printf("ok - %s\n", id);
    else
        printf("not ok - %s: got %lld, expected %lld\n", id, got, expected);
}

void p_text(const char *id, const char *got, const char *expected)
{
    if (strcmp(got, expected) == 0)
        printf("ok - %s\n", id);
    else
        printf("not ok - %s: got '%s', expected '%s'\n", id, got, expected);
}

void p_true(const char *id, bool holds)
{
    printf(holds ? "ok - %s\n" : "not ok - %s: it does not hold\n", id);
}

void p_skip(const char *id, const char *why)
{
    printf("skip - %s: %s\n", id, why);
}

void p_must(long result, const char *what, const char *file, int line)
{
    if (result >= 0)
        return;
    printf("not ok - setup.%s.%d: %s: %s\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, what,
           error_name(errno));
    exit(1);
}

int p_open(const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CLOEXEC, mode);
    return fd < 0 ? -1 : close(fd);
}

void p_file(const char *path, mode_t mode, size_t size)
{
    char buf[4096];
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    MUST(fd);
    for (size_t at = 0; at < size; at += sizeof(buf)) {
        for (size_t i = 0; i < sizeof(buf); i++)
            buf[i] = (char)('a' + (at + i) % 26);
        MUST(write(fd, buf, size - at < sizeof(buf) ? size - at : sizeof(buf)));
    }
    MUST(fchmod(fd, mode)); /* after the content: writing drops suid */
    MUST(close(fd));
}

void p_dir(const char *path, mode_t mode)
{
    MUST(mkdir(path, 0700));
    MUST(chmod(path, mode));
}

struct stat p_stat(const char *path)
{
    struct stat st = {.st_mode = 0};
    MUST(lstat(path, &st));
    return st;
}

const char *p_content(const char *path)
{
    static char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0)
        (void)close(fd);
    return text;
}

void p_store_mapped(int fd)
{
    char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(m == MAP_FAILED ? -1 : 0);
    m[0] = 'M';
    MUST(msync(m, 4096, MS_SYNC));
    MUST(munmap(m, 4096));
}

void p_tick(void)
{
    struct timespec first, now;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &first);
    do {
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_sec == first.tv_sec && now.tv_nsec == first.tv_nsec);
}

static void wait_for(pid_t child, const char *what)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        printf("not ok - %s: no child\n", what);
    else if (WIFSIGNALED(status))
        printf("not ok - %s: ended by signal %d\n", what, WTERMSIG(status));
    /* an exit status other than 0 has said its line */
    (void)fflush(stdout);
}

static pid_t fork_flushed(void)
{
    (void)fflush(stdout);
    return fork();
}

void p_apart(void (*checks)(void))
{
    pid_t child = fork_flushed();
    if (child == 0) {
        checks();
        exit(0);
    }
    wait_for(child, "setup.child");
}

void p_as(const struct who *who, void (*checks)(void))
{
    pid_t child = fork_flushed();
    if (child == 0) {
        MUST(setgroups(who->extra ? 1 : 0, &who->extra));
        MUST(setresgid(who->gid, who->gid, who->gid));
        MUST(setresuid(who->uid, who->uid, who->uid));
        checks();
        exit(0);
    }
    wait_for(child, "setup.user");
}

static const struct subject {
    const char *name;
    void (*run)(void);
} subjects[] = {
    {"paths", paths_run},   {"open", open_run},   {"names", names_run},   {"rename", rename_run},
    {"modes", modes_run},   {"times", times_run}, {"stamps", stamps_run}, {"data", data_run},
    {"holes", holes_run},   {"io", io_run},       {"xattr", xattr_run},   {"locks", locks_run},
    {"watch", watch_run},   {"misc", misc_run},   {"dirs", dirs_run},     {"pages", pages_run},
    {"system", system_run}, {"races", races_run},
};

static void run_subject(const struct subject *subject)
{
    pid_t child = fork_flushed();
    if (child == 0) {
        (void)alarm(SUBJECT_SECONDS);
        p_dir(subject->name, 0755);
        MUST(chdir(subject->name));
        subject->run();
        exit(0);
    }
    wait_for(child, subject->name);
}

int main(int argc, char **argv)
{
    if (argc < 2 || chdir(argv[1]) != 0 || geteuid() != 0) {
        (void)fprintf(stderr, "usage: posix DIRECTORY [SUBJECT...], as root\n");
        return 2;
    }
    (void)umask(0);
    (void)signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < COUNT_OF(subjects); i++) {
        bool wanted = argc == 2;
        for (int a = 2; a < argc; a++)
            wanted = wanted || strcmp(argv[a], subjects[i].name) == 0;
        if (wanted)
            run_subject(&subjects[i]);
    }
    return 0;
}

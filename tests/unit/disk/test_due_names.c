/*
 * test_due_names.c - names that a backup has still to give: the list, and what a reader and a writer make of
 * it. */
#include "disk/due_names.h"
#include "disk/io.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static int fd;

static void setup(void)
{
    (void)snprintf(folder, sizeof folder, "/tmp/engramfs-due-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    fd = open(folder, O_RDONLY | O_DIRECTORY);
    cr_assert(fd >= 0);
}

static void put(const char *name, const char *text)
{
    int file = openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert(file >= 0);
    cr_assert_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(file);
}

static const char *get(struct eng_io *io, const char *name)
{
    static char *data;
    size_t size;
    free(data);
    data = NULL;
    return io_read_file(io, name, 1000, &data, &size) == 0 ? data : "none";
}

enum { NAMES_SIZE = 512 };

static int join(void *arg, const char *name)
{
    char *names = arg;
    size_t len = strlen(names);
    (void)snprintf(names + len, NAMES_SIZE - len, "%s ", name);
    return 0;
}

static int drop(void *arg, const char *name)
{
    (void)arg;
    return unlinkat(fd, name, 0);
}

static struct eng_io *io_of(void)
{
    struct eng_io *io;
    cr_assert_eq(io_posix_new(folder, false, &io), 0);
    return io;
}

static void teardown(void)
{
    (void)unlinkat(fd, DUE_LIST, 0);
    struct eng_io *io = io_of();
    cr_assert_eq(io->ops->list(io, drop, NULL), 0);
    io_posix_free(io);
    (void)close(fd);
    cr_assert_eq(rmdir(folder), 0);
}

TestSuite(due_names, .init = setup, .fini = teardown);

static const struct eng_due_name due[] = {{"s2.seg", false}, {"s1.seg", true}, {"config", false}};

/* s1 and s2 as they were, s3 in both; s2 and config wait. */
static void put_all(void)
{
    put("s1.seg", "old 1");
    put("s2.seg", "old 2");
    put("s3.seg", "both 3");
    put(DUE_PREFIX "s2.seg", "new 2");
    put(DUE_PREFIX "config", "new");
    put(DUE_PREFIX "s3.seg", "of another run");
}

static void expect_new(struct eng_io *io)
{
    cr_assert_str_eq(get(io, "s1.seg"), "none");
    cr_assert_str_eq(get(io, "s2.seg"), "new 2");
    cr_assert_str_eq(get(io, "s3.seg"), "both 3");
    cr_assert_str_eq(get(io, "config"), "new");
}

static bool has(const char *name)
{
    return faccessat(fd, name, F_OK, 0) == 0;
}

Test(due_names, whoever_reads_sees_what_is_due_and_changes_nothing)
{
    put_all();
    struct eng_io *before = io_of();
    cr_assert_str_eq(get(before, "s2.seg"), "old 2", "before there is a list");
    cr_assert_eq(eng_due_names_note(fd, due, 3), 0);
    cr_assert_eq(before->ops->lock(before, true), 0);
    expect_new(before); /* the lock was waited for */
    io_posix_free(before);
    for (int step = 0; step < 3; step++) { /* as far as a writer may have come */
        if (step == 1)
            cr_assert_eq(renameat(fd, DUE_PREFIX "s2.seg", fd, "s2.seg"), 0);
        if (step == 2)
            cr_assert_eq(unlinkat(fd, "s1.seg", 0), 0);
        struct eng_io *io = io_of();
        expect_new(io);
        char names[NAMES_SIZE] = "";
        cr_assert_eq(io->ops->list(io, join, names), 0);
        cr_assert(!strstr(names, "s1.seg") && strstr(names, "config"), "%s", names);
        io_posix_free(io);
    }
    cr_assert(has(DUE_LIST) && has(DUE_PREFIX "config") && !has("config"));
}

Test(due_names, each_name_is_listed_once)
{
    put_all();
    cr_assert_eq(eng_due_names_note(fd, due, 3), 0);
    struct eng_io *io = io_of();
    char names[NAMES_SIZE] = "";
    cr_assert_eq(io->ops->list(io, join, names), 0);
    const char *first = strstr(names, "s2.seg");
    unsigned plain = 0;
    for (const char *at = first; at; at = strstr(at + 1, "s2.seg"))
        plain += at == names || at[-1] == ' ';
    cr_assert_eq(plain, 1, "%s", names);
    io_posix_free(io);
}

Test(due_names, whoever_writes_gives_them_and_takes_the_list_away)
{
    put_all();
    cr_assert_eq(eng_due_names_note(fd, due, 3), 0);
    cr_assert_eq(renameat(fd, DUE_PREFIX "config", fd, "config"), 0); /* interrupted behind it */
    struct eng_io *io = io_of();
    cr_assert_eq(io->ops->lock(io, false), 0);
    expect_new(io);
    cr_assert(!has(DUE_LIST) && has("config") && !has(DUE_PREFIX "s2.seg") && !has("s1.seg"));
    io_posix_free(io);
    cr_assert_eq(eng_due_names_give(fd), 0, "there is none any more");
}

Test(due_names, a_list_that_is_damaged_is_no_list)
{
    char text[256];
    cr_assert_eq(eng_due_names_note(fd, due, 3), 0);
    int file = openat(fd, DUE_LIST, O_RDONLY);
    ssize_t n = read(file, text, sizeof text - 1);
    (void)close(file);
    cr_assert(n > 0);
    text[n] = '\0';
    struct eng_io *io;
    for (ssize_t i = 0; i < n; i++) {
        text[i] ^= 4;
        put(DUE_LIST, text);
        cr_assert_eq(eng_due_names_give(fd), -EBADMSG, "byte %zd", i);
        cr_assert_eq(io_posix_new(folder, false, &io), -EBADMSG);
        text[i] ^= 4;
    }
    for (ssize_t i = n - 1; i >= 0; i--) { /* a part of it; nothing of it is a list that was cut, too */
        text[i] = '\0';
        put(DUE_LIST, text);
        cr_assert_eq(eng_due_names_give(fd), -EBADMSG, "cut at %zd", i);
    }
}

Test(due_names, no_name_leads_out_of_the_folder)
{
    static const char *const bad[] = {"", "../x", "a/b", ".engram-backup.names", "a\nb", "S"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct eng_due_name name = {.goes = true};
        (void)snprintf(name.name, sizeof name.name, "%s", bad[i]);
        cr_assert_eq(eng_due_names_note(fd, &name, 1), -EINVAL, "%s", bad[i]);
    }
}

/* Whoever opens the folder would refuse it. */
Test(due_names, no_list_is_written_that_is_too_long_to_be_read)
{
    enum { N = 1100000 };
    struct eng_due_name *names = calloc(N, sizeof *names);
    cr_assert_not_null(names);
    for (unsigned i = 0; i < N; i++)
        (void)snprintf(names[i].name, sizeof names[i].name, "s%08x.seg", i);
    cr_assert_eq(eng_due_names_note(fd, names, N), -EFBIG);
    cr_assert_neq(faccessat(fd, ".engram-backup.names", F_OK, 0), 0);
    free(names);
}

/*
 * test_beneath.c - directories beneath a root, while their names come to lead elsewhere: by openat2, and by
 * the walk for kernels without it. */
#include "ctl/transfer/beneath.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[] = "/tmp/engramfs-beneath.XXXXXX";

static void fails(const char *what, long got)
{
    fprintf(stderr, "%s: %ld (%m)\n", what, got);
    _exit(1);
}
#define MUST(x)                                                                                              \
    do {                                                                                                     \
        long got_ = (long)(x);                                                                               \
        if (got_ < 0)                                                                                        \
            fails(#x, got_);                                                                                 \
    } while (0)
#define EQUAL(x, y)                                                                                          \
    do {                                                                                                     \
        long got_ = (long)(x);                                                                               \
        if (got_ != (long)(y))                                                                               \
            fails(#x, got_);                                                                                 \
    } while (0)

static void open_root(const char *path, bool one_mount, struct beneath **ret)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    MUST(fd);
    MUST(beneath_open(fd, one_mount, ret));
    MUST(close(fd));
}

static size_t add(struct beneath *b, size_t parent, const char *name, const char *path)
{
    struct stat st;
    size_t dir = 0;
    MUST(lstat(path, &st));
    MUST(beneath_add(b, parent, name, st.st_dev, st.st_ino, &dir));
    return dir;
}

/* Takes the descriptors of all directories away, by opening others. */
static void forget(struct beneath *b, size_t other)
{
    struct stat st;
    char name[32];
    for (int i = 0; i < 64; i++) {
        size_t dir;
        snprintf(name, sizeof name, "%d", i);
        MUST(fstatat(beneath_fd(b, other), name, &st, AT_SYMLINK_NOFOLLOW));
        MUST(beneath_add(b, other, name, st.st_dev, st.st_ino, &dir));
        MUST(beneath_fd(b, dir));
    }
}

static void work(void)
{
    struct beneath *b;
    size_t made;
    char name[32];
    MUST(chdir(top));
    MUST(mkdir("root", 0700));
    MUST(mkdir("outside", 0700));
    MUST(chdir("root"));
    MUST(mkdir("a", 0700));
    MUST(mkdir("a/b", 0700));
    MUST(mkdir("a/b/c", 0700));
    MUST(mkdir("other", 0700));
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "other/%d", i);
        MUST(mkdir(name, 0700));
    }
    open_root(".", true, &b);
    size_t a = add(b, 0, "a", "a"), ab = add(b, a, "b", "a/b"), abc = add(b, ab, "c", "a/b/c");
    size_t other = add(b, 0, "other", "other");
    MUST(beneath_fd(b, abc));
    MUST(beneath_fd(b, abc));
    forget(b, other);
    MUST(beneath_fd(b, abc)); /* found again by its path */
    forget(b, other);
    EQUAL(add(b, ab, "c", "a/b/c"), abc); /* one directory, one number */
    EQUAL(add(b, 0, "a", "a"), a);
    EQUAL(add(b, 0, "b", "a/b") == ab, false);
    MUST(rename("a/b", "a/kept"));
    EQUAL(beneath_fd(b, abc), -ENOENT);
    MUST(symlink("../../outside", "a/b"));
    EQUAL(beneath_fd(b, abc), -EREMCHG);
    EQUAL(beneath_fd(b, ab), -EREMCHG);
    MUST(unlink("a/b"));
    MUST(symlink("kept", "a/b")); /* not even to where it was */
    EQUAL(beneath_fd(b, abc), -EREMCHG);
    MUST(unlink("a/b"));
    MUST(mkdir("a/b", 0700));
    EQUAL(beneath_fd(b, ab), -EREMCHG); /* another directory */
    MUST(rmdir("a/b"));
    MUST(rename("a/kept", "a/b"));
    MUST(beneath_fd(b, abc));
    /* what was just made */
    EQUAL(beneath_add_made(b, 0, "a", &made), -EREMCHG); /* not empty */
    MUST(mkdir("new", 0755));
    EQUAL(beneath_add_made(b, 0, "new", &made), -EREMCHG); /* another mode */
    MUST(beneath_chmod(open("new", O_PATH | O_CLOEXEC), 0700));
    MUST(beneath_add_made(b, 0, "new", &made));
    MUST(symlink("new", "link"));
    EQUAL(beneath_add_made(b, 0, "link", &made), -EREMCHG);
    EQUAL(beneath_add(b, 0, "proc", 12345, 1, &made), -EXDEV); /* another mount */
    beneath_free(b);
}

/* Whether this process, in `top`, may mount something in a namespace of its own: root's. */
static bool has_namespace(void)
{
    MUST(chdir(top));
    if (unshare(CLONE_NEWNS) < 0)
        return false;
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    return true;
}

/* What is mounted on a folder and on a file, in a namespace of our own. */
static void mounted(void)
{
    struct beneath *b;
    struct stat st;
    if (!has_namespace())
        return;
    MUST(mkdir("m", 0700));
    MUST(mount("none", "m", "tmpfs", 0, NULL));
    MUST(mkdir("m/dir", 0700));
    MUST(close(open("m/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
    MUST(close(open("m/other", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
    open_root("m", true, &b);
    int at = beneath_root(b);
    MUST(mount("none", "m/dir", "tmpfs", 0, NULL));
    MUST(mount("m/other", "m/file", NULL, MS_BIND, NULL));
    static const int flags[] = {O_RDONLY, O_WRONLY, O_PATH};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        EQUAL(beneath_open_at(b, at, "file", flags[i] | O_NOFOLLOW | O_CLOEXEC), -EXDEV);
        MUST(beneath_open_at(b, at, "other", flags[i] | O_NOFOLLOW | O_CLOEXEC));
    }
    EQUAL(beneath_open_at(b, at, "dir", O_PATH | O_NOFOLLOW | O_CLOEXEC), -EXDEV);
    EQUAL(beneath_open_at(b, at, "none", O_RDONLY | O_CLOEXEC), -ENOENT);
    MUST(beneath_stat_at(b, at, "other", &st));
    EQUAL(beneath_has(b, st.st_dev), true);
    EQUAL(beneath_stat_at(b, at, "none", &st), -ENOENT);
    EQUAL(beneath_stat_at(b, at, "dir", &st), -EXDEV); /* not even if it answers */
    EQUAL(beneath_stat_at(b, at, "file", &st), -EXDEV);
    EQUAL(beneath_is_taken(b, at, "dir"), 1);
    EQUAL(beneath_is_taken(b, at, "other"), 1);
    EQUAL(beneath_is_taken(b, at, "none"), 0);
    MUST(stat("m/dir", &st));
    EQUAL(beneath_has(b, st.st_dev), false);
    EQUAL(beneath_answers(b), 0);
    beneath_free(b);
    /* in a plain tree what is mounted is part of it */
    open_root("m", false, &b);
    MUST(beneath_open_at(b, beneath_root(b), "dir", O_PATH | O_NOFOLLOW | O_CLOEXEC));
    beneath_free(b);
}

/* Of an ordinary user's, for all; never answers. */
static int mount_silent(const char *place, const char *mode)
{
    char options[128];
    int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (dev < 0)
        return -1;
    snprintf(options, sizeof options, "fd=%d,rootmode=%s,user_id=65534,group_id=65534,allow_other", dev,
             mode);
    return mount("silent", place, "fuse", MS_NOSUID | MS_NODEV, options);
}

/* Somebody mounts a file system of his own on what was there when it was looked at. */
static void planted(void)
{
    struct beneath *b;
    struct stat st;
    if (!has_namespace())
        return;
    MUST(mkdir("d", 0755));
    MUST(mkdir("d/sub", 0755));
    MUST(mkdir("roots", 0755));
    static const char *const files[] = {"file", "bound"};
    for (size_t i = 0; i < 2; i++)
        MUST(close(open(files[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
    MUST(mount("none", "roots", "tmpfs", 0, NULL));
    MUST(mkdir("roots/dir", 0755));
    MUST(close(open("roots/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)));
    MUST(mount("roots/file", "bound", NULL, MS_BIND, NULL));
    open_root(".", false, &b);
    int at = beneath_root(b);
    MUST(beneath_stat_wary(b, at, "d", &st));
    MUST(beneath_stat_wary(b, at, "file", &st));
    size_t d = add(b, 0, "d", "d"), sub = add(b, d, "sub", "d/sub"), roots = add(b, 0, "roots", "roots");
    size_t dir = add(b, roots, "dir", "roots/dir");
    if (mount_silent("d", "40000") < 0)
        return; /* no FUSE here */
    MUST(mount_silent("file", "100000"));
    (void)alarm(30);
    EQUAL(beneath_fd(b, sub), -EREMOTE);
    EQUAL(beneath_fd(b, d), -EREMOTE);
    EQUAL(beneath_stat_wary(b, at, "d", &st), -EREMOTE);
    EQUAL(beneath_open_at(b, at, "file", O_RDONLY | O_NOFOLLOW | O_CLOEXEC), -EREMOTE);
    EQUAL(beneath_open_at(b, at, "file", O_PATH | O_NOFOLLOW | O_CLOEXEC), -EREMOTE);
    /* what root has mounted is part of the tree */
    MUST(beneath_fd(b, dir));
    MUST(beneath_stat_wary(b, at, "bound", &st));
    MUST(beneath_open_at(b, at, "bound", O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    MUST(beneath_open_at(b, beneath_fd(b, roots), "file", O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    beneath_free(b);
}

static void forbid_openat2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    EQUAL(syscall(SYS_openat2, 0, "", NULL, 0), -1);
    EQUAL(errno, ENOSYS);
}

static void in_child(bool old_kernel, void (*what)(void))
{
    char command[64];
    int status;
    cr_assert(mkdtemp(top));
    pid_t pid = fork();
    if (!pid) {
        if (old_kernel)
            forbid_openat2();
        what();
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    snprintf(command, sizeof command, "rm -rf %s", top);
    cr_expect_eq(system(command), 0);
    cr_expect_eq(status, 0);
}

Test(beneath, a_name_that_leads_elsewhere_is_refused, .timeout = 60)
{
    in_child(false, work);
}

Test(beneath, without_openat2_too, .timeout = 60)
{
    in_child(true, work);
}

Test(beneath, what_is_mounted_on_a_name_is_not_asked, .timeout = 60)
{
    in_child(false, mounted);
}

Test(beneath, nor_without_openat2, .timeout = 60)
{
    in_child(true, mounted);
}

Test(beneath, what_somebody_mounts_after_a_look_is_not_asked, .timeout = 60)
{
    in_child(false, planted);
}

Test(beneath, nor_what_he_mounts_without_openat2, .timeout = 60)
{
    in_child(true, planted);
}

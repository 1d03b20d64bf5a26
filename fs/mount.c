/*
 * mount.c - mount points: what lies on them, cleaning one whose daemon died,
 * unmounting. No state, no locks. */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "messages.h"

#define FSTYPE "fuse.engramfs"

extern char **environ;

int mnt_absolute(const char *path, char **ret_path)
{
    char *whole = realpath(path, NULL);
    if (whole) {
        *ret_path = whole;
        return 0;
    }
    if (errno != ENOENT && errno != ENOTCONN)
        return -errno;
    /* The last component cannot be entered: resolve what comes before it. */
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = '\0';
    char *slash = strrchr(copy, '/');
    const char *base = slash ? slash + 1 : copy;
    if (slash)
        *slash = '\0';
    const char *dir = *copy ? copy : "/";
    char *parent = realpath(slash ? dir : ".", NULL);
    int r = 0;
    if (!parent)
        r = -errno;
    else if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
        r = -ENOENT;
    else if (asprintf(ret_path, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, base) < 0)
        r = -ENOMEM;
    free(parent);
    free(copy);
    return r;
}

/* Undoes mountinfo's octal escapes (\040 and the like), in place. */
static void unescape(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
            s[3] <= '7') {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

/* Is the topmost mount on `path` one of ours? Its source goes to `source`. */
static bool engramfs_on(const char *path, char *source, size_t cap)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return false;
    bool ours = false;
    char *line = NULL;
    size_t line_cap = 0;
    while (getline(&line, &line_cap, f) > 0) {
        char *fields[5] = {NULL}, *rest = line;
        for (int i = 0; i < 5; i++)
            fields[i] = strsep(&rest, " ");
        char *dash = rest ? strstr(rest, " - ") : NULL;
        if (!fields[4] || !dash)
            continue;
        unescape(fields[4]);
        if (strcmp(fields[4], path) != 0)
            continue;
        rest = dash + 3;
        const char *type = strsep(&rest, " ");
        char *from = strsep(&rest, " ");
        ours = strcmp(type, FSTYPE) == 0; /* the last line of a path is what one sees */
        if (from)
            unescape(from);
        (void)snprintf(source, cap, "%s", from ? from : "?");
    }
    free(line);
    (void)fclose(f);
    return ours;
}

/* A program that is run may meet somebody's FUSE that does not answer. */
enum { PROGRAM_MS = 5000, PROGRAM_STEP_MS = 10 };

static int wait_for_program(pid_t pid, int *ret_status)
{
    for (int left = PROGRAM_MS; left > 0; left -= PROGRAM_STEP_MS) {
        pid_t r = waitpid(pid, ret_status, WNOHANG);
        if (r == pid)
            return 0;
        if (r < 0 && errno != EINTR)
            return -errno;
        (void)nanosleep(&(struct timespec){.tv_nsec = PROGRAM_STEP_MS * 1000000}, NULL);
    }
    return -ETIMEDOUT;
}

/* Runs a program of PATH quietly, which has some seconds, and may be killed by all signals. -EBUSY: it
 * failed. */
static int run_program(char *const argv[])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    (void)sigemptyset(&none);
    (void)posix_spawnattr_init(&attributes);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int r = -posix_spawnp(&pid, argv[0], &actions, &attributes, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
    if (r)
        return r;
    int status;
    r = wait_for_program(pid, &status);
    if (r)
        return r;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

static int run_fusermount(bool lazy, const struct mnt_place *place)
{
    char program[] = "fusermount3", unmount[] = "-u", quiet[] = "-q", detach[] = "-z", end[] = "--";
    char *copy = NULL;
    /* As it may be called by others: it has descriptors of its own. */
    if (asprintf(&copy, "/proc/%d/fd/%d/%s", (int)getpid(), place->parent, place->name) < 0)
        return -ENOMEM;
    char *argv[7] = {program, unmount, quiet, NULL};
    int n = 3;
    if (lazy)
        argv[n++] = detach;
    argv[n++] = end;
    argv[n++] = copy;
    argv[n] = NULL;
    int r = run_program(argv);
    free(copy);
    return r;
}

int mnt_place_open(const char *path, struct mnt_place *ret_place)
{
    char *copy = strdup(path), *rest = copy ? copy + 1 : NULL, *name;
    int fd = copy ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    int r = fd < 0 ? -errno : 0;
    while (!r && (name = strsep(&rest, "/")) && rest) {
        int next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            r = -errno;
        (void)close(fd);
        fd = next;
    }
    free(copy);
    const char *last = strrchr(path, '/') + 1;
    if (!r)
        *ret_place = (struct mnt_place){.path = path, .name = *last ? last : ".", .parent = fd, .point = -1};
    return r;
}

static void close_point(struct mnt_place *place)
{
    if (place->point >= 0)
        (void)close(place->point);
    place->point = -1;
}

void mnt_place_close(struct mnt_place *place)
{
    close_point(place);
    if (place->parent >= 0)
        (void)close(place->parent);
    place->parent = -1;
}

/* Of what one sees there; 0: unknown. */
static dev_t device_of(const struct mnt_place *place)
{
    struct statx st;
    if (statx(place->parent, place->name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, 0, &st) != 0)
        return 0;
    return makedev(st.stx_dev_major, st.stx_dev_minor);
}

bool mnt_on_top(const struct mnt_place *place, dev_t device)
{
    return device && device_of(place) == device;
}

int mnt_open_root(const struct mnt_place *place)
{
    int fd = openat(place->parent, place->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* syncfs(2) needs a descriptor that was opened, which a root folder that nobody may read gives to nobody.
 * sync(2) begins with all filesystems at once, but waits for each: also for one that never answers, which
 * keeps a process of its own waiting. */
static void sync_mount(const struct mnt_place *place)
{
    char program[] = "sync";
    int fd = openat(place->parent, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        (void)run_program((char *[]){program, NULL});
        return;
    }
    (void)syncfs(fd);
    (void)close(fd);
}

void mnt_write_back(const struct mnt_place *place)
{
    struct statvfs st;
    int root = mnt_open_root(place);
    if (root < 0)
        return;
    sync_mount(place);
    (void)fstatvfs(root, &st); /* answered after them: requests are read in order */
    (void)close(root);
}

static int unmount(const struct mnt_place *place, int flags)
{
    char there[32 + NAME_MAX];
    (void)snprintf(there, sizeof there, "/proc/self/fd/%d/%s", place->parent, place->name);
    if (umount2(there, flags) == 0)
        return 0;
    /* Without /proc there remains a working directory of this thread alone. */
    if (errno != ENOENT || unshare(CLONE_FS) != 0 || fchdir(place->parent) != 0)
        return -errno;
    int r = umount2(place->name, flags) ? -errno : 0;
    (void)chdir("/");
    return r;
}

int mnt_unmount(const struct mnt_place *place, bool lazy)
{
    if (geteuid() != 0)
        return run_fusermount(lazy, place);
    if (!lazy)
        return unmount(place, UMOUNT_NOFOLLOW);
    int r = unmount(place, UMOUNT_NOFOLLOW | MNT_DETACH | MNT_FORCE);
    return r == -EPERM ? unmount(place, UMOUNT_NOFOLLOW | MNT_DETACH) : r; /* root of a container */
}

void mnt_abort(dev_t device)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/abort", minor(device));
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1)
        messages_line(ENG_LOG_WARNING, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
}

static int complain(char why[FS_WHY_MAX], int err, const char *path, const char *what)
{
    (void)snprintf(why, FS_WHY_MAX, "mount point %s: %s", path, what);
    return err;
}

static bool is_superblock(int folder, const char *file)
{
    static const char magic[] = "EENGFS01"; /* of the superblock, docs/FORMAT.md */
    char start[sizeof magic - 1];
    int fd = openat(folder, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool found =
        pread(fd, start, sizeof start, 0) == (ssize_t)sizeof start && memcmp(start, magic, sizeof start) == 0;
    (void)close(fd);
    return found;
}

/* Is this folder a store? Mounting over one means that the arguments were swapped, mostly. */
static bool is_store(int folder)
{
    return is_superblock(folder, "superblock") || is_superblock(folder, "superblock.copy");
}

/* What there is to be mounted on. */
static int check_point(const struct mnt_place *place, char why[FS_WHY_MAX])
{
    struct stat st;
    if (fstat(place->point, &st) != 0)
        return complain(why, -errno, place->path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return complain(why, -ENOTDIR, place->path, "not a directory");
    if (is_store(place->point))
        return complain(why, -EEXIST, place->path,
                        "it holds a store itself; the order is: engramfs STORE MOUNTPOINT, and MOUNTPOINT is "
                        "another, empty folder");
    if (geteuid() != 0 && faccessat(place->parent, place->name, W_OK, 0) != 0)
        return complain(why, -EACCES, place->path, "an ordinary user must be allowed to write there");
    return 0;
}

int mnt_prepare(struct mnt_place *place, char why[FS_WHY_MAX])
{
    char source[PATH_MAX];
    struct statvfs fs;
    close_point(place);
    place->point = openat(place->parent, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (place->point < 0)
        return complain(why, -errno, place->path, strerror(errno));
    /* stat(2) may be answered from the kernel's cache after the daemon has died; statfs(2) never is. */
    bool ours = engramfs_on(place->path, source, sizeof source);
    if (ours && fstatvfs(place->point, &fs) != 0 && errno == ENOTCONN) {
        int r = mnt_unmount(place, true);
        if (r)
            return complain(why, r, place->path,
                            "its engramfs daemon is dead, and it could not be unmounted; "
                            "unmount it as its owner or as root");
        return mnt_prepare(place, why); /* there may have been several, one above the other */
    }
    if (ours) {
        (void)snprintf(why, FS_WHY_MAX, "mount point %s: busy, %.200s is mounted there already", place->path,
                       source);
        return -EBUSY;
    }
    return check_point(place, why);
}

int mnt_session_args(const struct fs_options *opt, const char *store, struct fuse_args *args)
{
    char *list = NULL, *fsname = NULL;
    int failed = asprintf(&fsname, "fsname=%s", opt->fsname ? opt->fsname : store) < 0;
    failed = failed || fuse_opt_add_opt(&list, "subtype=engramfs");
    failed = failed || fuse_opt_add_opt_escaped(&list, fsname);
    if (!failed && !opt->noperm)
        failed = fuse_opt_add_opt(&list, "default_permissions");
    if (!failed && opt->allow_other)
        failed = fuse_opt_add_opt(&list, "allow_other");
    if (!failed && opt->read_only)
        failed = fuse_opt_add_opt(&list, "ro");
    if (!failed && *opt->mount_flags)
        failed = fuse_opt_add_opt(&list, opt->mount_flags);
    if (!failed && opt->debug)
        failed = fuse_opt_add_opt(&list, "debug");
    failed = failed || fuse_opt_add_arg(args, "engramfs") || fuse_opt_add_arg(args, "-o") ||
             fuse_opt_add_arg(args, list);
    free(list);
    free(fsname);
    return failed ? -ENOMEM : 0;
}

/* What was said to stderr while mounting, on one line; libfuse and fusermount3 explain themselves
 * there only. */
static void read_said(int fd, char *said, size_t cap)
{
    ssize_t n = pread(fd, said, cap - 1, 0);
    said[n > 0 ? n : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
}

/* libfuse takes a path, and so does fusermount3, which inherits the working directory. That of the process is
 * back when this returns; the engine, which runs by now, has no use for it. */
static int mount_at(struct fuse_session *fuse, const struct mnt_place *place)
{
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = fchdir(place->point) == 0 ? fuse_session_mount(fuse, ".") : -1;
    int error = errno;
    if (here < 0 || fchdir(here) != 0)
        (void)chdir("/");
    if (here >= 0)
        (void)close(here);
    errno = error;
    return r;
}

/* Those who start on one mount point at the same time look and mount one after the other. Others can have the
 * lock as well, and keep it: they make us wait for a while, and that is all. */
enum { POINT_LOCK_MS = 3000, POINT_LOCK_STEP_MS = 10 };

static int lock_point(const struct mnt_place *place)
{
    int fd = openat(place->point, ".", O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    for (int left = POINT_LOCK_MS; fd >= 0 && left > 0; left -= POINT_LOCK_STEP_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
            break;
        (void)nanosleep(&(struct timespec){.tv_nsec = POINT_LOCK_STEP_MS * 1000000}, NULL);
    }
    return fd;
}

/* The store has been opened since mnt_prepare(), for seconds maybe: does the name still lead to what was
 * found there? */
static int look_again(const struct mnt_place *place, char why[FS_WHY_MAX])
{
    struct statx found, now;
    const unsigned flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
    char source[PATH_MAX];
    if (statx(place->point, "", flags | AT_EMPTY_PATH, STATX_INO, &found) != 0 ||
        statx(place->parent, place->name, flags, STATX_INO, &now) != 0)
        return complain(why, -errno, place->path, strerror(errno));
    if (found.stx_ino == now.stx_ino && found.stx_dev_major == now.stx_dev_major &&
        found.stx_dev_minor == now.stx_dev_minor)
        return 0;
    if (!engramfs_on(place->path, source, sizeof source))
        return complain(why, -EBUSY, place->path,
                        "something else has been put there while the store was opened");
    (void)snprintf(why, FS_WHY_MAX, "mount point %s: busy, %.200s was mounted there meanwhile", place->path,
                   source);
    return -EBUSY;
}

/* Takes a mount away again that is on the folder, but not under the name that was asked for: somebody was
 * quicker than look_again(). A folder that something is mounted on keeps its own name. */
static void undo(const struct mnt_place *place)
{
    char link[40], path[PATH_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", place->point);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(path, '/');
    struct mnt_place there = {.path = path, .name = slash && slash[1] ? slash + 1 : ".", .point = -1};
    there.parent = openat(place->point, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct stat point;
    if (there.parent >= 0 && fstat(place->point, &point) == 0 && !mnt_on_top(&there, point.st_dev))
        (void)mnt_unmount(&there, true);
    mnt_place_close(&there);
}

static int mount_quietly(struct fuse_session *fuse, const struct mnt_place *place, char why[FS_WHY_MAX])
{
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    int said_fd = memfd_create("engramfs-mount", MFD_CLOEXEC);
    if (said_fd >= 0 && saved >= 0)
        (void)dup2(said_fd, STDERR_FILENO);
    int r = mount_at(fuse, place);
    int why_errno = errno;
    if (said_fd >= 0 && saved >= 0)
        (void)dup2(saved, STDERR_FILENO);
    char said[FS_WHY_MAX - 200] = "";
    if (said_fd >= 0)
        read_said(said_fd, said, sizeof said);
    if (r && access("/dev/fuse", R_OK | W_OK) != 0)
        (void)snprintf(why, FS_WHY_MAX,
                       "cannot mount on %.150s: /dev/fuse: %s; is the fuse module loaded, and may this user "
                       "open it (mode 0666 is usual)?",
                       place->path, strerror(errno));
    else if (r)
        (void)snprintf(why, FS_WHY_MAX, "cannot mount on %.150s: %s", place->path,
                       *said ? said : strerror(why_errno));
    else if (*said)
        messages_line(ENG_LOG_WARNING, "%s", said);
    if (said_fd >= 0)
        (void)close(said_fd);
    if (saved >= 0)
        (void)close(saved);
    return r ? -EIO : 0;
}

int mnt_mount(struct fuse_session *fuse, struct mnt_place *place, dev_t *ret_device, char why[FS_WHY_MAX])
{
    const int lock = lock_point(place);
    const dev_t before = device_of(place);
    int r = look_again(place, why);
    if (!r)
        r = mount_quietly(fuse, place, why);
    const dev_t device = r ? 0 : device_of(place);
    if (!r && device == before) {
        undo(place);
        r = complain(why, -ESTALE, place->path, "it was moved away while it was mounted on");
    }
    close_point(place);
    if (lock >= 0)
        (void)close(lock);
    if (!r)
        *ret_device = device;
    return r;
}

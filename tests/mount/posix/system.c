/*
 * system.c - what the rest of the system does with files: programs that are run with
 * other rights, mounts upon and of parts of the tree, descriptors without
 * access, namespaces of users, handles of open files, fanotify, deep trees. */
#include "posix.h"

#include <limits.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>

/* First line of what the program prints. */
static const char *output(const char *command)
{
    static char line[64];
    FILE *f = popen(command, "re");
    line[0] = '\0';
    if (f && fgets(line, sizeof(line), f))
        line[strcspn(line, "\n")] = '\0';
    if (f)
        (void)pclose(f);
    return line;
}

static void copy_program(const char *from, const char *to, mode_t mode)
{
    static char buf[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0755);
    MUST(in);
    MUST(out);
    for (ssize_t n; (n = read(in, buf, sizeof(buf))) > 0;)
        MUST(write(out, buf, (size_t)n));
    MUST(close(in));
    MUST(close(out));
    MUST(chmod(to, mode));
}

static void run_programs(void)
{
    p_text("system.exec.plain", output("./id -u"), "5001");
    p_text("system.exec.suid", output("./id-suid -u"), "0");
    p_text("system.exec.suid-real", output("./id-suid -ru"), "5001");
    p_text("system.exec.sgid", output("./id-sgid -g"), "4444");
    p_text("system.exec.unreadable", output("./id-unreadable -u"), "5001");
    p_text("system.exec.script", output("./script"), "run");
    X("system.exec.no-right", execl("./id-noexec", "id", (char *)NULL), EACCES);
}

static void programs(void)
{
    copy_program("/usr/bin/id", "id", 0755);
    copy_program("/usr/bin/id", "id-suid", 04755);
    copy_program("/usr/bin/id", "id-sgid", 0755);
    MUST(chown("id-sgid", 0, 4444));
    MUST(chmod("id-sgid", 02755));
    copy_program("/usr/bin/id", "id-unreadable", 0711);
    copy_program("/usr/bin/id", "id-noexec", 0644);
    int fd = open("script", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    MUST(fd);
    MUST(write(fd, "#!/bin/sh\necho run\n", 19));
    MUST(close(fd));
    p_as(&alice, run_programs);
}

/* In a namespace of its own, which takes the mounts along when it ends. */
static void mounts(void)
{
    MUST(unshare(CLONE_NEWNS));
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    p_dir("point", 0755);
    p_dir("part", 0755);
    p_dir("view", 0755);
    p_file("part/file", 0755, 3);
    p_file("target", 0644, 3);
    MUST(mknod("part/null", S_IFCHR | 0666, 1 << 8 | 3));
    MUST(symlink("file", "part/link"));
    X("system.mount.upon", mount("none", "point", "tmpfs", 0, NULL), 0);
    X("system.mount.rmdir", rmdir("point"), EBUSY);
    X("system.mount.rename", rename("point", "moved"), EBUSY);
    X("system.mount.rename-over", rename("view", "point"), EBUSY);
    X("system.mount.file", mount("part/file", "target", NULL, MS_BIND, NULL), 0);
    X("system.mount.unlink", unlink("target"), EBUSY);
    p_text("system.mount.file-seen", p_content("target"), "abc");
    X("system.bind", mount("part", "view", NULL, MS_BIND, NULL), 0);
    p_text("system.bind.seen", p_content("view/file"), "abc");
    p_equal("system.bind.same", p_stat("view/file").st_ino == p_stat("part/file").st_ino, 1);
    X("system.bind.link", link("view/file", "part/hard"), EXDEV);
    X("system.bind.rename", rename("view/file", "part/other"), EXDEV);
    X("system.bind.readonly",
      mount(NULL, "view", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NODEV | MS_NOEXEC, NULL), 0);
    X("system.bind.write", p_open("view/file", O_WRONLY, 0), EROFS);
    X("system.bind.create", p_open("view/new", O_CREAT | O_WRONLY, 0644), EROFS);
    X("system.bind.create-there", p_open("view/file", O_CREAT | O_RDONLY, 0644), 0);
    X("system.bind.mkdir-there", mkdir("view/file", 0755), EEXIST);
    X("system.bind.mkdir", mkdir("view/new", 0755), EROFS);
    X("system.bind.unlink", unlink("view/file"), EROFS);
    X("system.bind.unlink-missing", unlink("view/none"), EROFS);
    X("system.bind.chmod", chmod("view/file", 0600), EROFS);
    X("system.bind.utimes", utimensat(AT_FDCWD, "view/file", NULL, 0), EROFS);
    X("system.bind.truncate", truncate("view/file", 0), EROFS);
    X("system.bind.access", access("view/file", W_OK), EROFS);
    X("system.bind.tmpfile", p_open("view", O_TMPFILE | O_RDWR, 0600), EROFS);
    X("system.bind.device", p_open("view/null", O_RDONLY, 0), EACCES);
    X("system.bind.noexec", access("view/file", X_OK), EACCES);
    MUST(umount("view"));
    MUST(umount("target"));
    MUST(umount("point"));
    X("system.mount.freed", rmdir("point"), 0);
}

/* A descriptor opened with O_PATH names a file and does nothing else. */
static void by_descriptor(void)
{
    p_file("named", 0644, 10);
    int fd = open("named", O_PATH | O_CLOEXEC), again = -1;
    struct stat st;
    MUST(fd);
    X("system.path.stat", fstatat(fd, "", &st, AT_EMPTY_PATH), 0);
    X("system.path.chown", fchownat(fd, "", 3, 4, AT_EMPTY_PATH), 0);
    p_equal("system.path.chowned", p_stat("named").st_uid, 3);
    X("system.path.chmod", chmod(p_id("/proc/self/fd/%d", fd), 0640), 0);
    p_equal("system.path.chmoded", p_stat("named").st_mode & 07777, 0640);
    const struct timespec past[2] = {{5, 5}, {6, 6}};
    X("system.path.utimes", utimensat(AT_FDCWD, p_id("/proc/self/fd/%d", fd), past, 0), 0);
    p_equal("system.path.utimes-set", p_stat("named").st_mtim.tv_sec, 6);
    X("system.path.reopen", again = open(p_id("/proc/self/fd/%d", fd), O_RDWR | O_CLOEXEC), 0);
    /* rights are those of the time of opening */
    MUST(chmod("named", 0));
    X("system.open.write-later", write(again, "x", 1), 0);
    X("system.open.truncate-later", ftruncate(again, 5), 0);
    MUST(rename("named", "other"));
    X("system.path.renamed", fstatat(fd, "", &st, AT_EMPTY_PATH), 0);
    MUST(unlink("other"));
    X("system.path.unlinked", fstatat(fd, "", &st, AT_EMPTY_PATH), 0);
    p_equal("system.path.nlink", st.st_nlink, 0);
    MUST(close(again));
    MUST(close(fd));
    p_dir("from", 0755);
    p_dir("to", 0755);
    fd = open("from", O_PATH | O_DIRECTORY | O_CLOEXEC);
    MUST(fd);
    MUST(rename("from", "to/from"));
    X("system.dirfd.create", mkdirat(fd, "made", 0755), 0);
    X("system.dirfd.made", access("to/from/made", F_OK), 0);
    X("system.dirfd.parent", fstatat(fd, "..", &st, 0), 0);
    p_equal("system.dirfd.moved", st.st_ino == p_stat("to").st_ino, 1);
    MUST(close(fd));
}

static void descriptors_of_alice(void)
{
    /* an existing file is opened, not made: the directory's rights do not matter */
    X("system.create.existing", p_open("theirs/writable", O_CREAT | O_WRONLY, 0644), 0);
    X("system.create.existing-exclusive", p_open("theirs/writable", O_CREAT | O_EXCL | O_WRONLY, 0644),
      EEXIST);
    int fd = open("setgid", O_TMPFILE | O_RDWR | O_CLOEXEC, 02755);
    struct stat st = {.st_gid = 0};
    X("system.tmpfile.setgid", fd, 0);
    (void)fstat(fd, &st);
    p_equal("system.tmpfile.gid", st.st_gid, 4444);
    p_equal("system.tmpfile.mode", st.st_mode & 07777, 0755);
    X("system.tmpfile.no-right", p_open("theirs", O_TMPFILE | O_RDWR, 0600), EACCES);
    (void)umask(027);
    fd = open("setgid", O_TMPFILE | O_RDWR | O_CLOEXEC, 0777);
    X("system.tmpfile.umask", fd, 0);
    (void)fstat(fd, &st);
    p_equal("system.tmpfile.umask-mode", st.st_mode & 07777, 0750);
    p_equal("system.tmpfile.nlink", st.st_nlink, 0);
    X("system.tmpfile.named",
      linkat(AT_FDCWD, p_id("/proc/self/fd/%d", fd), AT_FDCWD, "setgid/named", AT_SYMLINK_FOLLOW), 0);
    p_equal("system.tmpfile.named-nlink", p_stat("setgid/named").st_nlink, 1);
    X("system.tmpfile.twice",
      linkat(AT_FDCWD, p_id("/proc/self/fd/%d", fd), AT_FDCWD, "setgid/again", AT_SYMLINK_FOLLOW), 0);
    MUST(unlink("setgid/named"));
    MUST(unlink("setgid/again"));
    X("system.tmpfile.late",
      linkat(AT_FDCWD, p_id("/proc/self/fd/%d", fd), AT_FDCWD, "setgid/late", AT_SYMLINK_FOLLOW), ENOENT);
    fd = open("setgid", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0777);
    X("system.tmpfile.exclusive",
      linkat(AT_FDCWD, p_id("/proc/self/fd/%d", fd), AT_FDCWD, "setgid/named", AT_SYMLINK_FOLLOW), ENOENT);
    /* root of a namespace of users is still alice outside */
    if (unshare(CLONE_NEWUSER) != 0) {
        p_skip("system.userns", "no namespaces of users");
        return;
    }
    X("system.userns.create", p_open("setgid/userns", O_CREAT | O_WRONLY, 0644), 0);
    X("system.userns.denied", p_open("theirs/new", O_CREAT | O_WRONLY, 0644), EACCES);
    X("system.userns.chown", chown("setgid/userns", 0, 0), EINVAL); /* no such number in there */
}

static void handle_of_open(void)
{
    union {
        struct file_handle h;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } u = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
    int mount_id, root = open(".", O_RDONLY | O_CLOEXEC), again = -1;
    char buf[8] = "";
    MUST(root);
    p_file("held", 0644, 5);
    int fd = open("held", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(name_to_handle_at(AT_FDCWD, "held", &u.h, &mount_id, 0));
    MUST(unlink("held"));
    X("system.handle.unlinked-open", again = open_by_handle_at(root, &u.h, O_RDONLY | O_CLOEXEC), 0);
    p_equal("system.handle.read", again < 0 ? -1 : read(again, buf, 5), 5);
    (void)close(again);
    MUST(close(fd));
    X("system.handle.closed", open_by_handle_at(root, &u.h, O_RDONLY | O_CLOEXEC), ESTALE);
    MUST(seteuid(alice.uid));
    X("system.handle.stranger", open_by_handle_at(root, &u.h, O_RDONLY | O_CLOEXEC), EPERM);
    MUST(seteuid(0));
    u.h.handle_bytes = 3;
    X("system.handle.small", name_to_handle_at(AT_FDCWD, ".", &u.h, &mount_id, 0), EOVERFLOW);
    MUST(close(root));
}

static void fanotify(void)
{
    struct fanotify_event_metadata event = {.fd = -1};
    int fan = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);
    if (fan < 0) {
        p_skip("system.fanotify", "no fanotify");
        return;
    }
    p_file("watched", 0644, 5);
    X("system.fanotify.mark",
      fanotify_mark(fan, FAN_MARK_ADD, FAN_MODIFY | FAN_CLOSE_WRITE, AT_FDCWD, "watched"), 0);
    int fd = open("watched", O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "x", 1));
    MUST(close(fd));
    p_true("system.fanotify.event", read(fan, &event, sizeof(event)) == sizeof(event));
    p_equal("system.fanotify.mask", (long long)event.mask, FAN_MODIFY | FAN_CLOSE_WRITE);
    if (event.fd >= 0)
        (void)close(event.fd);
    X("system.fanotify.mount", fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN, AT_FDCWD, "."), 0);
    X("system.fanotify.filesystem",
      fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "."), 0);
    (void)close(fan);
    fan = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);
    MUST(fan);
    X("system.fanotify.by-handle",
      fanotify_mark(fan, FAN_MARK_ADD, FAN_CREATE | FAN_DELETE | FAN_ONDIR, AT_FDCWD, "."), 0);
    X("system.fanotify.by-handle-all",
      fanotify_mark(fan, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_CREATE, AT_FDCWD, "."), 0);
    (void)close(fan);
}

/* Longer than any path, and still a tree. */
static void deep(void)
{
    enum { DEPTH = 600 };
    char name[32], cwd[PATH_MAX];
    memset(name, 'd', 20);
    name[20] = '\0';
    p_dir("deep", 0755);
    MUST(chdir("deep"));
    int made = 0;
    while (made < DEPTH && mkdir(name, 0755) == 0 && chdir(name) == 0)
        made++;
    p_equal("system.deep", made, DEPTH);
    X("system.deep.getcwd", syscall(SYS_getcwd, cwd, sizeof(cwd)), ENAMETOOLONG);
    p_file("bottom", 0644, 5);
    p_text("system.deep.read", p_content("bottom"), "abcde");
    MUST(unlink("bottom"));
    for (int i = 0; i < made; i++)
        MUST(chdir(".."));
    X("system.deep.into-itself", rename(name, p_id("%s/%s/%s/x", name, name, name)), EINVAL);
    X("system.deep.rename", rename(name, "moved"), 0);
    MUST(rename("moved", name));
    for (int i = 0; i < made; i++)
        MUST(chdir(name));
    int removed = 0;
    while (removed < made && chdir("..") == 0 && rmdir(name) == 0)
        removed++;
    p_equal("system.deep.removed", removed, DEPTH);
    MUST(chdir(".."));
}

static void generation(void)
{
    long version = -1;
    p_file("version", 0644, 1);
    int fd = open("version", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("system.ioctl.version", ioctl(fd, FS_IOC_GETVERSION, &version), 0);
    MUST(close(fd));
}

void system_run(void)
{
    p_dir("theirs", 0755);
    p_file("theirs/writable", 0666, 1);
    p_dir("setgid", 0755);
    MUST(chown("setgid", 0, 4444));
    MUST(chmod("setgid", 02777));
    programs();
    p_apart(mounts);
    by_descriptor();
    p_as(&alice, descriptors_of_alice);
    handle_of_open();
    fanotify();
    deep();
    generation();
}

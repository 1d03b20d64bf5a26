/* open.c - flags and modes of open(2): what they do, and what they refuse. */
#include "posix.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#ifndef O_TMPFILE
#define O_TMPFILE (020000000 | O_DIRECTORY)
#endif

static void types(void)
{
    static const struct {
        const char *id, *path;
        int flags, err;
    } table[] = {
        {"open.file.read", "file", O_RDONLY, 0},
        {"open.file.write", "file", O_WRONLY, 0},
        {"open.file.both", "file", O_RDWR, 0},
        {"open.file.directory", "file", O_RDONLY | O_DIRECTORY, ENOTDIR},
        {"open.file.path", "file", O_PATH, 0},
        {"open.file.exclusive", "file", O_CREAT | O_EXCL | O_WRONLY, EEXIST},
        {"open.file.create", "file", O_CREAT | O_WRONLY, 0},
        {"open.file.create-directory", "file", O_CREAT | O_DIRECTORY, EINVAL},
        {"open.file.noatime", "file", O_RDONLY | O_NOATIME, 0},
        {"open.file.direct", "file", O_RDONLY | O_DIRECT, 0},
        {"open.file.sync", "file", O_WRONLY | O_SYNC, 0},
        {"open.file.dsync", "file", O_WRONLY | O_DSYNC, 0},
        {"open.file.nonblock", "file", O_RDWR | O_NONBLOCK, 0},
        {"open.file.async", "file", O_RDWR | O_ASYNC, 0},
        {"open.dir.read", "dir", O_RDONLY, 0},
        {"open.dir.directory", "dir", O_RDONLY | O_DIRECTORY, 0},
        {"open.dir.write", "dir", O_WRONLY, EISDIR},
        {"open.dir.both", "dir", O_RDWR, EISDIR},
        {"open.dir.truncate", "dir", O_RDONLY | O_TRUNC, EISDIR},
        {"open.dir.create", "dir", O_CREAT | O_RDONLY, EISDIR},
        {"open.dir.exclusive", "dir", O_CREAT | O_EXCL, EEXIST},
        {"open.dir.direct", "dir", O_RDONLY | O_DIRECT, EINVAL},
        {"open.link.nofollow", "link", O_RDONLY | O_NOFOLLOW, ELOOP},
        {"open.link.nofollow-path", "link", O_PATH | O_NOFOLLOW, 0},
        {"open.link.exclusive", "link", O_CREAT | O_EXCL | O_WRONLY, EEXIST},
        {"open.dangling.read", "dangling", O_RDONLY, ENOENT},
        {"open.dangling.exclusive", "dangling", O_CREAT | O_EXCL | O_WRONLY, EEXIST},
        {"open.dangling.create", "dangling", O_CREAT | O_WRONLY, 0},
        {"open.dangling.made", "made", O_RDONLY, 0},
        {"open.missing.read", "none", O_RDONLY, ENOENT},
        {"open.missing.truncate", "none", O_WRONLY | O_TRUNC, ENOENT},
        {"open.socket.read", "socket", O_RDONLY, ENXIO},
        {"open.socket.write", "socket", O_WRONLY, ENXIO},
        {"open.fifo.nobody", "fifo", O_WRONLY | O_NONBLOCK, ENXIO},
        {"open.fifo.read", "fifo", O_RDONLY | O_NONBLOCK, 0},
        {"open.fifo.both", "fifo", O_RDWR, 0},
        {"open.device.null", "null", O_RDWR, 0},
        {"open.device.none", "nodevice", O_RDWR, ENXIO},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++)
        X(table[i].id, p_open(table[i].path, table[i].flags, 0644), table[i].err);
}

static void access_modes(void)
{
    char c = 'x';
    int fd = open("file", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("open.readonly.write", write(fd, &c, 1), EBADF);
    X("open.readonly.truncate", ftruncate(fd, 0), EINVAL);
    X("open.readonly.fallocate", fallocate(fd, 0, 0, 1), EBADF);
    X("open.readonly.fsync", fsync(fd), 0);
    X("open.readonly.fchmod", fchmod(fd, 0644), 0);
    MUST(close(fd));
    fd = open("file", O_WRONLY | O_CLOEXEC);
    MUST(fd);
    X("open.writeonly.read", read(fd, &c, 1), EBADF);
    X("open.writeonly.write", write(fd, &c, 1), 0);
    MUST(close(fd));
    fd = open("file", O_PATH | O_CLOEXEC);
    MUST(fd);
    X("open.path.read", read(fd, &c, 1), EBADF);
    X("open.path.fchmod", fchmod(fd, 0644), EBADF);
    MUST(close(fd));
    fd = open("dir", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("open.dir.fd-read", read(fd, &c, 1), EISDIR);
    X("open.dir.fd-pread", pread(fd, &c, 1, 0), EISDIR);
    X("open.dir.fd-truncate", ftruncate(fd, 0), EINVAL);
    X("open.dir.fd-fsync", fsync(fd), 0);
    X("open.dir.fd-fdatasync", fdatasync(fd), 0);
    X("open.dir.fd-syncfs", syncfs(fd), 0);
    MUST(close(fd));
}

static void creation(void)
{
    static const mode_t masks[] = {0, 022, 027, 077, 0777},
                        modes[] = {0777, 0666, 0600, 04755, 02755, 01777, 0};
    for (size_t u = 0; u < COUNT_OF(masks); u++)
        for (size_t m = 0; m < COUNT_OF(modes); m++) {
            (void)umask(masks[u]);
            MUST(p_open("new", O_CREAT | O_EXCL | O_RDWR, modes[m]));
            p_equal(p_id("open.umask.%03o.%04o", masks[u], modes[m]), p_stat("new").st_mode & 07777,
                    modes[m] & ~masks[u]);
            MUST(unlink("new"));
            MUST(mkdir("new", modes[m]));
            p_equal(p_id("open.umask.mkdir.%03o.%04o", masks[u], modes[m]), p_stat("new").st_mode & 07777,
                    modes[m] & ~masks[u] & 01777);
            MUST(rmdir("new"));
            MUST(mknod("new", S_IFIFO | modes[m], 0));
            p_equal(p_id("open.umask.mkfifo.%03o.%04o", masks[u], modes[m]), p_stat("new").st_mode & 07777,
                    modes[m] & ~masks[u]);
            MUST(unlink("new"));
        }
    (void)umask(0);
    /* the mode limits later opens, not this one */
    int fd = -1;
    X("open.create.mode-0", fd = open("new", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0), 0);
    X("open.create.mode-0-write", write(fd, "x", 1), 0);
    MUST(close(fd));
    p_equal("open.create.uid", p_stat("new").st_uid, 0);
    p_equal("open.create.nlink", p_stat("new").st_nlink, 1);
    MUST(truncate("new", 100));
    X("open.truncate", p_open("new", O_RDWR | O_TRUNC, 0), 0);
    p_equal("open.truncate.size", p_stat("new").st_size, 0);
    MUST(truncate("new", 100));
    X("open.truncate.readonly", p_open("new", O_RDONLY | O_TRUNC, 0), 0);
    p_equal("open.truncate.readonly-size", p_stat("new").st_size, 0);
    MUST(truncate("new", 100));
    X("open.truncate.create", p_open("new", O_CREAT | O_WRONLY | O_TRUNC, 0644), 0);
    p_equal("open.truncate.create-size", p_stat("new").st_size, 0);
    p_equal("open.truncate.create-mode", p_stat("new").st_mode & 07777, 0);
    MUST(unlink("new"));
}

static void tmpfile_checks(void)
{
    int fd = -1;
    X("open.tmpfile", fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), 0);
    X("open.tmpfile.write", write(fd, "x", 1), 0);
    X("open.tmpfile.link",
      linkat(AT_FDCWD, p_id("/proc/self/fd/%d", fd), AT_FDCWD, "linked", AT_SYMLINK_FOLLOW), 0);
    p_text("open.tmpfile.linked", p_content("linked"), "x");
    (void)close(fd);
    X("open.tmpfile.readonly", p_open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
    X("open.tmpfile.file", p_open("file", O_TMPFILE | O_RDWR, 0600), ENOTDIR);
}

/* Records of several processes, each of one letter: none torn, none lost. */
enum { WRITERS = 4, RECORDS = 200, RECORD_MAX = 5000 };

static void append_records(int writer)
{
    static char record[RECORD_MAX];
    int fd = open("appended", O_WRONLY | O_APPEND | O_CLOEXEC);
    MUST(fd);
    for (int i = 0; i < RECORDS; i++) {
        size_t n = (size_t)(10 + (i * 37 + writer * 911) % (RECORD_MAX - 10));
        memset(record, 'A' + writer, n);
        record[n - 1] = '\n';
        if (write(fd, record, n) != (ssize_t)n)
            _exit(1);
    }
    _exit(0);
}

static void appending(void)
{
    p_file("appended", 0644, 0);
    pid_t child[WRITERS];
    (void)fflush(stdout);
    for (int w = 0; w < WRITERS; w++)
        if ((child[w] = fork()) == 0)
            append_records(w);
    bool all = true;
    for (int w = 0; w < WRITERS; w++) {
        int status = 1;
        all = waitpid(child[w], &status, 0) == child[w] && status == 0 && all;
    }
    p_true("open.append.written", all);
    FILE *f = fopen("appended", "re");
    char line[RECORD_MAX + 8];
    int records = 0, torn = 0;
    while (f && fgets(line, sizeof(line), f)) {
        size_t n = strlen(line);
        records++;
        if (n < 10 || line[n - 1] != '\n')
            torn++;
        for (size_t i = 1; i + 1 < n; i++)
            if (line[i] != line[0]) {
                torn++;
                break;
            }
    }
    if (f)
        (void)fclose(f);
    p_equal("open.append.records", records, (long long)WRITERS * RECORDS);
    p_equal("open.append.torn", torn, 0);
    int fd = open("appended", O_RDWR | O_APPEND | O_TRUNC | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "one", 3));
    X("open.append.pwrite", pwrite(fd, "two", 3, 0), 0); /* Linux: goes to the end all the same */
    p_text("open.append.pwrite-at", p_content("appended"), "onetwo");
    MUST(lseek(fd, 0, SEEK_SET));
    MUST(write(fd, "3", 1));
    p_text("open.append.after-seek", p_content("appended"), "onetwo3");
    p_equal("open.append.position", lseek(fd, 0, SEEK_CUR), 7);
    MUST(fcntl(fd, F_SETFL, 0));
    MUST(pwrite(fd, "ONE", 3, 0));
    p_text("open.append.taken-off", p_content("appended"), "ONEtwo3");
    MUST(close(fd));
}

static void unlinked_but_open(void)
{
    char buf[16] = "";
    p_file("gone", 0644, 10);
    int fd = open("gone", O_RDWR | O_CLOEXEC);
    MUST(fd);
    X("open.unlinked.unlink", unlink("gone"), 0);
    struct stat st;
    MUST(fstat(fd, &st));
    p_equal("open.unlinked.nlink", st.st_nlink, 0);
    X("open.unlinked.read", pread(fd, buf, 10, 0), 0);
    p_text("open.unlinked.content", buf, "abcdefghij");
    X("open.unlinked.write", pwrite(fd, "Z", 1, 9), 0);
    MUST(pread(fd, buf, 10, 0));
    p_text("open.unlinked.written", buf, "abcdefghiZ");
    X("open.unlinked.truncate", ftruncate(fd, 3), 0);
    X("open.unlinked.chmod", fchmod(fd, 0600), 0);
    X("open.unlinked.chown", fchown(fd, 1, 2), 0);
    X("open.unlinked.times", futimens(fd, NULL), 0);
    X("open.unlinked.fsync", fsync(fd), 0);
    MUST(fstat(fd, &st));
    p_equal("open.unlinked.size", st.st_size, 3);
    p_equal("open.unlinked.uid", st.st_uid, 1);
    X("open.unlinked.link", linkat(fd, "", AT_FDCWD, "back", AT_EMPTY_PATH), ENOENT);
    X("open.unlinked.same-name", p_open("gone", O_CREAT | O_EXCL | O_RDWR, 0644), 0);
    MUST(fstat(fd, &st));
    p_equal("open.unlinked.other-file", st.st_size, 3);
    MUST(close(fd));
    /* a directory that is gone */
    p_dir("gonedir", 0755);
    fd = open("gonedir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(fd);
    MUST(rmdir("gonedir"));
    X("open.removed-dir.create", openat(fd, "x", O_CREAT | O_RDWR | O_CLOEXEC, 0644), ENOENT);
    X("open.removed-dir.mkdir", mkdirat(fd, "x", 0755), ENOENT);
    X("open.removed-dir.link", linkat(AT_FDCWD, "file", fd, "x", 0), ENOENT);
    X("open.removed-dir.rename", renameat(AT_FDCWD, "file", fd, "x"), ENOENT);
    X("open.removed-dir.symlink", symlinkat("x", fd, "x"), ENOENT);
    X("open.removed-dir.stat", fstat(fd, &st), 0);
    p_equal("open.removed-dir.nlink", st.st_nlink, 0);
    MUST(close(fd));
}

/* While a program runs its file is not written to, but may be replaced. */
static void running_text(void)
{
    int tube[2];
    MUST(pipe(tube));
    MUST(rename("program", "cat"));
    int in = open("/bin/cat", O_RDONLY | O_CLOEXEC), out = open("cat", O_WRONLY | O_TRUNC | O_CLOEXEC);
    char buf[65536];
    MUST(in);
    MUST(out);
    for (ssize_t n; (n = read(in, buf, sizeof(buf))) > 0;)
        MUST(write(out, buf, (size_t)n));
    (void)close(in);
    MUST(close(out));
    int back[2];
    MUST(pipe(back));
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(tube[0], 0);
        (void)dup2(back[1], 1);
        (void)close(tube[1]);
        (void)execl("./cat", "cat", (char *)NULL);
        _exit(127);
    }
    (void)close(back[1]);
    MUST(write(tube[1], "x", 1));
    MUST(read(back[0], buf, 1)); /* it runs */
    X("open.running.write", p_open("cat", O_WRONLY, 0), ETXTBSY);
    X("open.running.truncate", truncate("cat", 0), ETXTBSY);
    X("open.running.read", p_open("cat", O_RDONLY, 0), 0);
    X("open.running.unlink", unlink("cat"), 0);
    MUST(write(tube[1], "y", 1));
    p_equal("open.running.goes-on", read(back[0], buf, 1) == 1 && buf[0] == 'y', 1);
    (void)close(tube[1]);
    (void)close(tube[0]);
    (void)close(back[0]);
    (void)waitpid(child, NULL, 0);
}

static void busy_text(void)
{
    int in = open("/bin/true", O_RDONLY | O_CLOEXEC);
    int out = open("program", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    MUST(in);
    MUST(out);
    char buf[65536];
    for (ssize_t n; (n = read(in, buf, sizeof(buf))) > 0;)
        MUST(write(out, buf, (size_t)n));
    X("open.busy.exec", execl("program", "program", (char *)NULL), ETXTBSY);
    MUST(close(out));
    (void)close(in);
    pid_t child = fork();
    if (child == 0) {
        (void)execl("program", "program", (char *)NULL);
        _exit(127);
    }
    int status = -1;
    (void)waitpid(child, &status, 0);
    p_equal("open.exec", status, 0);
    running_text();
}

static void as_stranger(void)
{
    X("open.noatime.stranger", p_open("file", O_RDONLY | O_NOATIME, 0), EPERM);
    X("open.mode.write", p_open("file", O_WRONLY, 0), EACCES);
    X("open.mode.truncate", p_open("file", O_RDONLY | O_TRUNC, 0), EACCES);
    X("open.mode.read", p_open("file", O_RDONLY, 0), 0);
}

void open_run(void)
{
    p_file("file", 0644, 100);
    p_dir("dir", 0755);
    MUST(symlink("file", "link"));
    MUST(symlink("made", "dangling"));
    MUST(mkfifo("fifo", 0644));
    MUST(mknod("socket", S_IFSOCK | 0644, 0));
    MUST(mknod("null", S_IFCHR | 0666, 1 << 8 | 3));
    MUST(mknod("nodevice", S_IFCHR | 0666, 250 << 8 | 77));
    types();
    access_modes();
    creation();
    tmpfile_checks();
    appending();
    unlinked_but_open();
    p_apart(busy_text);
    p_as(&alice, as_stranger);
}

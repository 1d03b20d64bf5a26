/* locks.c - flock, POSIX and open-file-description locks, leases: who keeps whom out. */
#include "posix.h"

#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/wait.h>

static int fcntl_lock(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, cmd, &lock);
}

/* What another process meets. */
static int elsewhere(int (*attempt)(void))
{
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        errno = 0;
        int r = attempt();
        _exit(r < 0 ? errno : 0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
        errno = ECHILD;
        return -1;
    }
    errno = WEXITSTATUS(status);
    return errno ? -1 : 0;
}

static int try_flock_shared(void)
{
    int fd = open("f", O_RDWR | O_CLOEXEC);
    return flock(fd, LOCK_SH | LOCK_NB);
}
static int try_flock_exclusive(void)
{
    int fd = open("f", O_RDWR | O_CLOEXEC);
    return flock(fd, LOCK_EX | LOCK_NB);
}
static int try_write_low(void)
{
    return fcntl_lock(open("f", O_RDWR | O_CLOEXEC), F_SETLK, F_WRLCK, 0, 10);
}
static int try_write_high(void)
{
    return fcntl_lock(open("f", O_RDWR | O_CLOEXEC), F_SETLK, F_WRLCK, 100, 10);
}
static int try_read_low(void)
{
    return fcntl_lock(open("f", O_RDWR | O_CLOEXEC), F_SETLK, F_RDLCK, 0, 10);
}
static int try_all(void)
{
    return fcntl_lock(open("f", O_RDWR | O_CLOEXEC), F_SETLK, F_WRLCK, 0, 0);
}
static int ask_owner(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(open("f", O_RDWR | O_CLOEXEC), F_GETLK, &lock) != 0)
        return -1;
    errno = lock.l_type == F_WRLCK && lock.l_pid == getppid() && lock.l_start == 0 && lock.l_len == 50
                ? 0
                : EINVAL;
    return errno ? -1 : 0;
}

static void flocks(void)
{
    int fd = open("f", O_RDWR | O_CLOEXEC), fd2 = open("f", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(fd2);
    X("locks.flock.exclusive", flock(fd, LOCK_EX), 0);
    X("locks.flock.other-open", flock(fd2, LOCK_SH | LOCK_NB), EAGAIN);
    X("locks.flock.other-process", elsewhere(try_flock_shared), EAGAIN);
    X("locks.flock.down", flock(fd, LOCK_SH), 0);
    X("locks.flock.shared", elsewhere(try_flock_shared), 0);
    X("locks.flock.shared-keeps-out", elsewhere(try_flock_exclusive), EAGAIN);
    X("locks.flock.unlock", flock(fd, LOCK_UN), 0);
    X("locks.flock.free", elsewhere(try_flock_exclusive), 0);
    MUST(flock(fd, LOCK_EX));
    int copy = dup(fd);
    MUST(copy);
    MUST(close(fd));
    X("locks.flock.dup-keeps", elsewhere(try_flock_shared), EAGAIN);
    MUST(close(copy));
    X("locks.flock.close-frees", elsewhere(try_flock_shared), 0);
    X("locks.flock.flags", flock(fd2, 0), EINVAL);
    MUST(close(fd2));
    fd = open(".", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("locks.flock.dir", flock(fd, LOCK_EX), 0);
    MUST(close(fd));
}

static void posix_locks(void)
{
    int fd = open("f", O_RDWR | O_CLOEXEC), other = open("f", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(other);
    X("locks.posix.write", fcntl_lock(fd, F_SETLK, F_WRLCK, 0, 50), 0);
    X("locks.posix.same-process", fcntl_lock(other, F_SETLK, F_WRLCK, 0, 50), 0);
    X("locks.posix.other-process", elsewhere(try_write_low), EAGAIN);
    X("locks.posix.other-range", elsewhere(try_write_high), 0);
    X("locks.posix.read-kept-out", elsewhere(try_read_low), EAGAIN);
    X("locks.posix.owner", elsewhere(ask_owner), 0);
    X("locks.posix.independent-of-flock", elsewhere(try_flock_exclusive), 0);
    X("locks.posix.down", fcntl_lock(fd, F_SETLK, F_RDLCK, 0, 50), 0);
    X("locks.posix.shared", elsewhere(try_read_low), 0);
    X("locks.posix.split", fcntl_lock(fd, F_SETLK, F_UNLCK, 0, 10), 0);
    X("locks.posix.freed-part", elsewhere(try_write_low), 0);
    X("locks.posix.rest", elsewhere(try_all), EAGAIN);
    MUST(close(other)); /* any close of the file by the process frees them all */
    X("locks.posix.close-frees", elsewhere(try_all), 0);
    MUST(close(fd));
    fd = open("f", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("locks.posix.readonly", fcntl_lock(fd, F_SETLK, F_WRLCK, 0, 1), EBADF);
    X("locks.posix.negative", fcntl_lock(fd, F_SETLK, F_RDLCK, -1, 1), EINVAL);
    MUST(close(fd));
}

static void description_locks(void)
{
    int fd = open("f", O_RDWR | O_CLOEXEC), other = open("f", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(other);
    X("locks.ofd.write", fcntl_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 50), 0);
    X("locks.ofd.same-process", fcntl_lock(other, F_OFD_SETLK, F_WRLCK, 0, 50), EAGAIN);
    X("locks.ofd.other-range", fcntl_lock(other, F_OFD_SETLK, F_WRLCK, 100, 50), 0);
    X("locks.ofd.posix", elsewhere(try_write_low), EAGAIN);
    MUST(close(other));
    X("locks.ofd.close-of-other", elsewhere(try_write_low), EAGAIN);
    MUST(close(fd));
    X("locks.ofd.close-frees", elsewhere(try_write_low), 0);
}

/* One waits for another: who gets the lock is woken. */
static void waiting(void)
{
    int fd = open("f", O_RDWR | O_CLOEXEC);
    MUST(fd);
    int tube[2];
    MUST(pipe(tube));
    MUST(fcntl_lock(fd, F_SETLK, F_WRLCK, 0, 1));
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(30);
        int mine = open("f", O_RDWR | O_CLOEXEC);
        if (write(tube[1], "x", 1) != 1)
            _exit(2);
        _exit(fcntl_lock(mine, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 1);
    }
    char c;
    MUST(read(tube[0], &c, 1));
    MUST(fcntl_lock(fd, F_SETLK, F_UNLCK, 0, 1));
    int status = 1;
    (void)waitpid(child, &status, 0);
    p_equal("locks.posix.waiter", status, 0);
    MUST(close(tube[0]));
    MUST(close(tube[1]));
    MUST(close(fd));
}

/* Each has what the other wants: who asks last is told so. */
static void deadlock(void)
{
    int fd = open("f", O_RDWR | O_CLOEXEC), tube[2], status = 1;
    char c;
    MUST(fd);
    MUST(pipe(tube));
    MUST(fcntl_lock(fd, F_SETLK, F_WRLCK, 0, 1));
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(30);
        int mine = open("f", O_RDWR | O_CLOEXEC);
        if (fcntl_lock(mine, F_SETLK, F_WRLCK, 10, 1) != 0 || write(tube[1], "x", 1) != 1)
            _exit(2);
        _exit(fcntl_lock(mine, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : errno == EDEADLK ? 9 : 1);
    }
    MUST(read(tube[0], &c, 1));
    errno = 0;
    /* one of the two, whoever comes second */
    bool mine = fcntl_lock(fd, F_SETLKW, F_WRLCK, 10, 1) != 0 && errno == EDEADLK;
    MUST(close(fd));
    (void)waitpid(child, &status, 0);
    bool theirs = WIFEXITED(status) && WEXITSTATUS(status) == 9;
    p_true("locks.posix.deadlock", mine != theirs);
    MUST(close(tube[0]));
    MUST(close(tube[1]));
}

static void questions(void)
{
    int fd = open("f", O_RDWR | O_CLOEXEC), other = open("f", O_RDWR | O_CLOEXEC);
    MUST(fd);
    MUST(other);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    X("locks.ofd.get-free", fcntl(fd, F_OFD_GETLK, &lock), 0);
    p_equal("locks.ofd.get-free-type", lock.l_type, F_UNLCK);
    MUST(fcntl_lock(fd, F_OFD_SETLK, F_RDLCK, 5, 5));
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    X("locks.ofd.get", fcntl(other, F_OFD_GETLK, &lock), 0);
    p_equal("locks.ofd.get-what", lock.l_type == F_RDLCK && lock.l_start == 5 && lock.l_len == 5, 1);
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_END, .l_start = -10, .l_len = 0};
    X("locks.posix.from-end", fcntl(other, F_SETLK, &lock), 0);
    lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = INT64_MAX, .l_len = 10};
    X("locks.posix.overflow", fcntl(other, F_SETLK, &lock), EOVERFLOW);
    X("locks.posix.type", fcntl_lock(other, F_SETLK, 99, 0, 1), EINVAL);
    MUST(close(fd));
    MUST(close(other));
}

static int open_to_write(void)
{
    return open("f", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

static void leases(void)
{
    int fd = open("f", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("locks.lease.read", fcntl(fd, F_SETLEASE, F_RDLCK), 0);
    X("locks.lease.get", fcntl(fd, F_GETLEASE), 0);
    (void)signal(SIGIO, SIG_IGN);
    X("locks.lease.break", elsewhere(open_to_write), EWOULDBLOCK);
    MUST(close(fd));
    fd = open("f", O_RDWR | O_CLOEXEC);
    MUST(fd);
    X("locks.lease.write", fcntl(fd, F_SETLEASE, F_WRLCK), 0);
    p_equal("locks.lease.write-get", fcntl(fd, F_GETLEASE), F_WRLCK);
    X("locks.lease.none", fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    X("locks.lease.free", elsewhere(open_to_write), 0);
    MUST(close(fd));
}

void locks_run(void)
{
    p_file("f", 0644, 1000);
    flocks();
    p_apart(posix_locks);
    p_apart(description_locks);
    p_apart(waiting);
    p_apart(deadlock);
    p_apart(questions);
    p_apart(leases);
}
